//! The types of places, and what is meant by names that are none: people write those of the language that they know.

use crate::core::units::nearest;
use crate::wire::layout::place::Type;

const TYPES: [(&str, Type); 16] = [
    ("u8", Type::Uint { bytes: 1, little: false }),
    ("u16", Type::Uint { bytes: 2, little: false }),
    ("u24", Type::Uint { bytes: 3, little: false }),
    ("u32", Type::Uint { bytes: 4, little: false }),
    ("u64", Type::Uint { bytes: 8, little: false }),
    ("u8le", Type::Uint { bytes: 1, little: true }),
    ("u16le", Type::Uint { bytes: 2, little: true }),
    ("u24le", Type::Uint { bytes: 3, little: true }),
    ("u32le", Type::Uint { bytes: 4, little: true }),
    ("u64le", Type::Uint { bytes: 8, little: true }),
    ("varint", Type::Varint),
    ("digits", Type::Digits),
    ("hex", Type::Hex),
    ("bcd", Type::Bcd),
    ("text", Type::Text),
    ("bytes", Type::Bytes),
];

/// What others call them.
const ALIASES: [(&str, &str); 27] = [
    ("byte", "u8"),
    ("uchar", "u8"),
    ("bool", "u8"),
    ("word", "u16"),
    ("ushort", "u16"),
    ("dword", "u32"),
    ("uint", "u32"),
    ("ulong", "u32"),
    ("qword", "u64"),
    ("leb128", "varint"),
    ("uleb128", "varint"),
    ("vlq", "varint"),
    ("decimal", "digits"),
    ("dec", "digits"),
    ("number", "digits"),
    ("hexadecimal", "hex"),
    ("hexstring", "hex"),
    ("string", "text"),
    ("str", "text"),
    ("ascii", "text"),
    ("utf8", "text"),
    ("char", "text"),
    ("chars", "text"),
    ("raw", "bytes"),
    ("blob", "bytes"),
    ("buffer", "bytes"),
    ("octets", "bytes"),
];

/// Of a type's name, what it is: `u16le` is two bytes, the lower first.
pub(super) fn kind(name: &str) -> Option<Type> {
    TYPES.iter().find(|(of, _)| *of == name).map(|(_, kind)| *kind)
}

/// What is said of a type that does not exist, as far as it is known what is meant: `uint8_t`, `U8`, `u16-le`, `i16`, `f32`.
pub(super) fn unknown(word: &str) -> Option<String> {
    let lower = word.to_ascii_lowercase();
    let bare: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    let say = |what: String| Some(format!("unknown type {word:?}: {what}"));
    let (bare, order) = match (bare.strip_suffix("le"), bare.strip_suffix("be")) {
        (Some(bare), _) if bare.ends_with(|c: char| c.is_ascii_digit() || c == 't') => (bare, "le"),
        (_, Some(bare)) if bare.ends_with(|c: char| c.is_ascii_digit() || c == 't') => (bare, ""),
        _ => (&*bare, ""),
    };
    let bare =
        bare.strip_suffix('t').filter(|rest| rest.ends_with(|c: char| c.is_ascii_digit())).unwrap_or(bare);
    let letters = bare.trim_end_matches(|c: char| c.is_ascii_digit());
    let bits = &bare[letters.len()..];
    let unsigned = |bits: &str| Some(format!("u{bits}{order}")).filter(|name| kind(name).is_some());
    match (letters, bits) {
        ("u" | "uint" | "unsigned" | "le" | "be", bits) if !bits.is_empty() => match unsigned(bits) {
            Some(meant) => say(format!("did you mean {meant}?")),
            None => {
                say("integers are u8, u16, u24, u32 and u64, with le behind if the lower byte comes first"
                    .into())
            }
        },
        ("i" | "int" | "s" | "sint", bits) if !bits.is_empty() => match unsigned(bits) {
            Some(meant) => say(format!("integers have no sign here: {meant} takes the same bytes")),
            None => say("integers are u8, u16, u24, u32 and u64, and have no sign".into()),
        },
        ("short" | "int" | "long", "") => {
            let meant = if letters == "short" { "u16" } else { "u32" };
            say(format!("integers have no sign here: {meant} takes the same bytes"))
        }
        ("f" | "float" | "double", bits) => {
            let bytes = if bits == "64" || letters == "double" { 8 } else { 4 };
            say(format!(
                "there are no fractions: bytes A..A+{bytes} takes it as it is, and subscribers read it"
            ))
        }
        _ => {
            let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, meant)| *meant);
            let same = || kind(&lower).is_some().then_some(&*lower);
            let near = || nearest(&lower, TYPES.iter().map(|(name, _)| *name));
            let meant = alias
                .or_else(same)
                .or_else(near)
                .filter(|_| word.starts_with(|c: char| c.is_ascii_alphabetic()))?;
            say(format!("did you mean {meant}?"))
        }
    }
}
