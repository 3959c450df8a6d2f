//! What stands in the strings of a declaration: bytes, positions, slices, places and templates, as they are written.
//! Names are not looked up yet.

use super::types;
pub(super) use super::types::kind;
use crate::wire::layout::place::Type;
use crate::wire::layout::template::Show;
pub(super) use crate::wire::toml_file::{Piece as RawPiece, cut, is_name, template};

/// A position with the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawPos {
    pub base: i64,
    pub from_end: bool,
    pub names: Vec<String>,
}

impl RawPos {
    pub fn plain(base: i64, from_end: bool) -> RawPos {
        RawPos { base, from_end, names: Vec::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawSlice {
    pub from: RawPos,
    pub to: RawPos,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawPlace {
    pub kind: Type,
    pub from: RawPos,
    /// Of a slice.
    pub to: Option<RawPos>,
    pub mask: u64,
}

/// Bytes in hexadecimal, with or without spaces.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| c.to_digit(16).ok_or(c))
        .collect::<Result<_, char>>()
        .map_err(|c| {
            format!("{:?} holds {c:?}, which is no hexadecimal digit: write bytes as in \"7E 80\"", cut(text))
        })?;
    if digits.len() % 2 == 1 {
        return Err(format!(
            "{:?} ends within a byte: write two hexadecimal digits a byte, as in \"7E 80\"",
            cut(text)
        ));
    }
    Ok(digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

/// A slice `A..B`.
pub(super) fn slice(text: &str) -> Result<RawSlice, String> {
    let wrong = || format!("{:?} is not a slice: write A..B, as in \"4..-2\"; B may be left out", cut(text));
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let from = if from.trim().is_empty() { RawPos::plain(0, false) } else { pos(from)? };
    let to = if to.trim().is_empty() { RawPos::plain(0, true) } else { pos(to)? };
    Ok(RawSlice { from, to })
}

/// `12`, `-4`, a field's name, or a sum of those.
fn pos(text: &str) -> Result<RawPos, String> {
    let mut pos = RawPos::plain(0, false);
    for term in text.split('+').map(str::trim) {
        match term.parse::<i64>() {
            Ok(number) if number.unsigned_abs() > u64::from(u32::MAX >> 1) => {
                return Err(format!("{number} is beyond every frame: a frame has at most 4 GiB"));
            }
            Ok(number) => {
                pos.from_end |= term.starts_with('-');
                pos.base += number;
            }
            Err(_) if is_name(term) => pos.names.push(term.to_string()),
            Err(_) => {
                let shown = cut(text.trim());
                return Err(format!("{shown:?} is not a position: write a number, or the name of a field"));
            }
        }
    }
    match pos.from_end && pos.base > 0 {
        true => Err(format!(
            "{:?} is beyond the end of the frame: positions from the end are negative",
            cut(text)
        )),
        false => Ok(pos),
    }
}

/// Whether a text is meant to be a place, right or not.
pub(super) fn looks_like_place(text: &str) -> bool {
    let word = text.trim_start();
    let word = &word[..word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len())];
    kind(word).is_some() || text.contains('@') || text.contains("..")
}

/// `TYPE @ OFFSET [& MASK]`, or `TYPE A..B`.
pub(super) fn place(text: &str) -> Result<RawPlace, String> {
    let trimmed = text.trim();
    let (word, rest) =
        trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(trimmed.len()));
    // The order of its bytes is a part of a type's name.
    let ordered =
        ["-le", "_le", " le", "-be", "_be", " be", "_t"].into_iter().find(|order| rest_begins(rest, order));
    let word = ordered.map_or(word, |_| &trimmed[..trimmed.find(['@', '.']).unwrap_or(trimmed.len())]).trim();
    let rest = rest.trim();
    let Some(kind) = kind(word) else {
        return Err(types::unknown(word).unwrap_or_else(|| no_place(text)));
    };
    let is_integer = matches!(kind, Type::Uint { .. } | Type::Varint);
    if let Some(rest) = rest.strip_prefix('@') {
        let (offset, mask) = match rest.split_once('&') {
            Some((offset, mask)) => (offset, Some(mask.trim())),
            None => (rest, None),
        };
        let kind = match kind {
            Type::Digits => Type::DigitsEnded,
            kind if is_integer => kind,
            _ => return Err(format!("{word} stands in a slice: write {word} A..B, as in \"{word} 4..16\"")),
        };
        let mask = match mask {
            Some(_) if !is_integer => return Err(format!("{word} takes no mask: only integers do")),
            Some(mask) => read_mask(mask, kind)?,
            None => u64::MAX,
        };
        return Ok(RawPlace { kind, from: pos(offset)?, to: None, mask });
    }
    if is_integer {
        return Err(format!("{word} stands at an offset: write {word} @ OFFSET, as in \"{word} @ 2\""));
    }
    if rest.is_empty() {
        return Err(format!("{word} where? write {word} A..B, as in \"{word} 4..16\""));
    }
    let RawSlice { from, to } = slice(rest)?;
    Ok(RawPlace { kind, from, to: Some(to), mask: u64::MAX })
}

/// Whether an order of bytes stands next, and not the beginning of another word.
fn rest_begins(rest: &str, order: &str) -> bool {
    let behind = rest
        .get(..order.len())
        .filter(|begin| begin.eq_ignore_ascii_case(order))
        .map(|_| &rest[order.len()..]);
    behind.is_some_and(|behind| !behind.starts_with(|c: char| c.is_ascii_alphanumeric() && order != "_t"))
}

/// What is said of text that is no place. A number alone is what people write where they think of an offset or a size.
fn no_place(text: &str) -> String {
    let number = text.trim().parse::<u32>();
    let such = match number {
        Ok(number) => format!("write its type, as in \"u16 @ {number}\""),
        Err(_) => "write TYPE @ OFFSET as in \"u16 @ 2\", or TYPE A..B as in \"text 4..16\"".into(),
    };
    format!("{:?} is not a place: {such}", cut(text))
}

fn read_mask(text: &str, kind: Type) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => match digits.strip_prefix("0b") {
            Some(bits) => u64::from_str_radix(bits, 2),
            None => digits.parse(),
        },
    };
    let value = value.map_err(|_| format!("{:?} is not a mask: write a number, as in 0x03FF", cut(text)))?;
    match kind {
        _ if value == 0 => Err("the mask leaves nothing of the integer: name the bits that count".into()),
        Type::Uint { bytes, .. } if bytes < 8 && value >> (8 * bytes) != 0 => {
            Err(format!("the mask {text} has bits that {} has not: take a wider type", kind.name()))
        }
        _ => Ok(value),
    }
}

/// How a topic or a key shows a field.
pub(super) fn format(of: Option<&str>) -> Result<Show, String> {
    match of {
        None => Ok(Show::Plain),
        Some("int") => Ok(Show::Int),
        Some("hex") => Ok(Show::Hex),
        Some(other) => Err(format!(
            "unknown format {:?}: write {{field}}, {{field:int}} without leading zeros, or {{field:hex}}",
            cut(other)
        )),
    }
}
