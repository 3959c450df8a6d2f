//! Places and slices: where values stand in a frame, and how they are read.

use std::ops::Range;

use super::form::Shape;

/// What a position adds that only the frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// The value of a field of the shape.
    Field(u16),
    /// Where the place of the length ends.
    Length,
}

/// A position in a frame: so far from its beginning or its end, and what the frame adds to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pos {
    /// Not negative from the beginning, not positive from the end.
    pub base: i64,
    pub from_end: bool,
    pub plus: Box<[Term]>,
}

impl Pos {
    pub fn start(at: u32) -> Pos {
        Pos { base: i64::from(at), from_end: false, plus: Box::default() }
    }

    /// Whether the declaration alone says where it is, given the frame's length.
    pub fn is_fixed(&self) -> bool {
        self.plus.is_empty()
    }
}

/// Bytes of a frame, from one position up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub from: Pos,
    pub to: Pos,
}

impl Slice {
    pub fn is_fixed(&self) -> bool {
        self.from.is_fixed() && self.to.is_fixed()
    }

    /// The least bytes of a frame that has it, without what fields add.
    pub fn least(&self) -> usize {
        let (from, to) = (self.from.base.unsigned_abs() as usize, self.to.base.unsigned_abs() as usize);
        if self.from.from_end == self.to.from_end { from.max(to) } else { from + to }
    }

    /// Its length, where the declaration alone says it.
    pub fn width(&self) -> Option<usize> {
        let known = self.from.plus == self.to.plus && self.from.from_end == self.to.from_end;
        usize::try_from(self.to.base - self.from.base).ok().filter(|_| known)
    }
}

/// How the bytes at a place are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// An integer of so many bytes.
    Uint { bytes: u8, little: bool },
    /// LEB128.
    Varint,
    /// ASCII decimal, with the one byte that ends it.
    DigitsEnded,
    /// ASCII decimal.
    Digits,
    /// ASCII hexadecimal.
    Hex,
    /// Two decimal digits a byte.
    Bcd,
    /// UTF-8, without trailing NUL and spaces.
    Text,
    /// Any bytes.
    Bytes,
}

/// The most bytes of a number whose end its bytes say themselves: a `u64` takes ten groups of seven bits.
pub(super) const VARINT_MAX: usize = 10;
/// As many digits as a `u64` may have.
pub(super) const DIGITS_MAX: usize = 20;

impl Type {
    /// Whether the bytes of a value say themselves where it ends.
    pub fn ends_itself(self) -> bool {
        matches!(self, Type::Varint | Type::DigitsEnded)
    }

    /// The end of a value that says itself how long it is, at the beginning of `bytes`: how many bytes it takes.
    /// `None` while more bytes may come, an error where none would make it one.
    pub fn ended(self, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        match self {
            Type::Varint => match bytes.iter().take(VARINT_MAX).position(|byte| byte & 0x80 == 0) {
                Some(at) if at + 1 == VARINT_MAX && bytes[at] > 1 => Err("its varint is more than 64 bits"),
                Some(at) => Ok(Some(at + 1)),
                None if bytes.len() >= VARINT_MAX => Err("its varint has no end within 10 bytes"),
                None => Ok(None),
            },
            Type::DigitsEnded => {
                match bytes.iter().take(DIGITS_MAX + 1).position(|byte| !byte.is_ascii_digit()) {
                    Some(0) => Err("there is no digit where its digits should begin"),
                    Some(at) => Ok(Some(at + 1)),
                    None if bytes.len() > DIGITS_MAX => Err("its digits have no end within 21 bytes"),
                    None => Ok(None),
                }
            }
            _ => unreachable!("only these say themselves how long they are"),
        }
    }

    /// The value as an integer, where the bytes are one that fits.
    pub fn number(self, bytes: &[u8]) -> Option<u64> {
        match self {
            Type::Uint { little, .. } => {
                let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
                Some(if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) })
            }
            Type::Varint => bytes
                .iter()
                .rev()
                .try_fold(0u64, |value, byte| Some(value.checked_mul(128)? + u64::from(byte & 0x7f))),
            Type::DigitsEnded => decimal(bytes.split_last()?.1.iter().copied()),
            Type::Digits => decimal(bytes.iter().copied()),
            Type::Text => decimal(trimmed(bytes).iter().copied()),
            Type::Bcd => {
                decimal(nibbles(bytes).map(|nibble| if nibble < 10 { b'0' + nibble } else { nibble }))
            }
            Type::Hex => {
                let digits = bytes.iter().map(|&byte| char::from(byte).to_digit(16));
                let join = |value: u64, digit: Option<u32>| Some(value.checked_mul(16)? + u64::from(digit?));
                digits.into_iter().try_fold(0, join).filter(|_| !bytes.is_empty())
            }
            Type::Bytes => None,
        }
    }

    /// Why the bytes of a length are no number.
    pub fn why_no_length(self, bytes: &[u8]) -> &'static str {
        let all = |bytes: &[u8], is: fn(&u8) -> bool| bytes.iter().all(is);
        let (are_digits, what) = match self {
            Type::Digits => (all(bytes, u8::is_ascii_digit), "its length is not decimal digits"),
            Type::Hex => (all(bytes, u8::is_ascii_hexdigit), "its length is not hexadecimal digits"),
            Type::Bcd => {
                (nibbles(bytes).all(|nibble| nibble < 10), "its length is not two decimal digits a byte")
            }
            // Where these end, their bytes say: so far they are right.
            _ => (true, ""),
        };
        if are_digits { "its length is more than 64 bits" } else { what }
    }

    /// Appends the value as it stands, integers in decimal; false where the bytes are no such value.
    pub fn write(self, bytes: &[u8], mask: u64, out: &mut Vec<u8>) -> bool {
        match self {
            Type::Uint { .. } | Type::Varint => match self.number(bytes) {
                Some(value) => write_decimal(value & mask, out),
                None => return false,
            },
            Type::DigitsEnded | Type::Digits => {
                let digits =
                    if self == Type::Digits { bytes } else { &bytes[..bytes.len().saturating_sub(1)] };
                if !digits.iter().all(u8::is_ascii_digit) {
                    return false;
                }
                out.extend_from_slice(digits);
            }
            Type::Hex => {
                if !bytes.iter().all(u8::is_ascii_hexdigit) {
                    return false;
                }
                out.extend_from_slice(bytes);
            }
            Type::Bcd => {
                if nibbles(bytes).any(|nibble| nibble > 9) {
                    return false;
                }
                out.extend(nibbles(bytes).map(|nibble| b'0' + nibble));
            }
            Type::Text => {
                if std::str::from_utf8(bytes).is_err() {
                    return false;
                }
                out.extend_from_slice(trimmed(bytes));
            }
            Type::Bytes => out.extend_from_slice(bytes),
        }
        true
    }

    /// What it is called in a declaration.
    pub fn name(self) -> String {
        match self {
            Type::Uint { bytes, little } => {
                format!("u{}{}", 8 * u32::from(bytes), if little { "le" } else { "" })
            }
            Type::Varint => "varint".into(),
            Type::DigitsEnded | Type::Digits => "digits".into(),
            Type::Hex => "hex".into(),
            Type::Bcd => "bcd".into(),
            Type::Text => "text".into(),
            Type::Bytes => "bytes".into(),
        }
    }
}

/// Appends a number in decimal.
pub(super) fn write_decimal(mut value: u64, out: &mut Vec<u8>) {
    let (mut digits, mut at) = ([0; DIGITS_MAX], DIGITS_MAX);
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The number that digits are, if there is one and all are digits.
fn decimal(digits: impl Iterator<Item = u8>) -> Option<u64> {
    let mut any = false;
    let value = digits.into_iter().try_fold(0u64, |value, digit| {
        any = true;
        let digit = u64::from(char::from(digit).to_digit(10)?);
        value.checked_mul(10)?.checked_add(digit)
    });
    value.filter(|_| any)
}

fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15])
}

/// Without the NUL and spaces that fill a field up.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |at| at + 1);
    &bytes[..end]
}

/// Where a value stands, and how it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub kind: Type,
    pub from: Pos,
    /// Where it ends; of a value that ends itself, where it begins.
    pub to: Pos,
    /// Of the integer, these bits.
    pub mask: u64,
}

impl Place {
    /// How many bytes it has, where the declaration alone says it.
    pub fn width(&self) -> Option<usize> {
        match self.kind {
            kind if kind.ends_itself() => None,
            Type::Uint { bytes, .. } => Some(usize::from(bytes)),
            _ => Slice { from: self.from.clone(), to: self.to.clone() }.width(),
        }
    }

    /// The least bytes that it has.
    pub fn width_min(&self) -> usize {
        match self.kind {
            Type::Varint => 1,
            Type::DigitsEnded => 2,
            _ => self.width().unwrap_or(0),
        }
    }

    /// Whether the declaration alone says where it is, given the frame's length.
    pub fn is_fixed(&self) -> bool {
        self.from.is_fixed() && self.to.is_fixed() && !self.kind.ends_itself()
    }

    /// Where it ends if it begins at `from` in `bytes`, and is as wide as the declaration or its own bytes say. `None`
    /// while more bytes may tell that, an error where none would.
    pub fn end(&self, from: usize, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        if !self.kind.ends_itself() {
            return Ok(Some(from + self.width_min()));
        }
        let Some(rest) = bytes.get(from..) else { return Ok(None) };
        Ok(self.kind.ended(rest)?.map(|len| from + len))
    }

    /// The integer that its bytes say, with its mask.
    pub fn number(&self, bytes: &[u8]) -> Option<u64> {
        Some(self.kind.number(bytes)? & self.mask)
    }
}

/// A whole frame of a shape, unescaped.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub shape: &'a Shape,
    pub bytes: &'a [u8],
}

impl<'a> View<'a> {
    /// Where a position is; none beyond the frame.
    pub fn pos(&self, pos: &Pos) -> Option<usize> {
        let from = if pos.from_end { self.bytes.len() } else { 0 };
        let mut at = from.checked_add_signed(isize::try_from(pos.base).ok()?)?;
        for term in &pos.plus {
            at = at.checked_add(match term {
                // The loader sees to it that such a field does not depend on another one.
                Term::Field(field) => usize::try_from(self.number(*field)?).ok()?,
                Term::Length => self.shape.length_end(self.bytes)?,
            })?;
        }
        (at <= self.bytes.len()).then_some(at)
    }

    /// Where a slice is; none where it is not within the frame.
    pub fn slice(&self, slice: &Slice) -> Option<Range<usize>> {
        let range = self.pos(&slice.from)?..self.pos(&slice.to)?;
        (range.start <= range.end).then_some(range)
    }

    /// Where a place is; none where it is not within the frame, and of a value that says itself where it ends, where the
    /// bytes are no such value. What is counted from the end of the frame is never read as a part of one.
    pub fn place(&self, place: &Place) -> Option<Range<usize>> {
        let from = self.pos(&place.from)?;
        let to = match place.kind {
            kind if kind.ends_itself() => place.end(from, self.before_the_end(place)).ok()??,
            Type::Uint { .. } => place.end(from, self.bytes).ok()??,
            _ => self.pos(&place.to)?,
        };
        (from <= to && to <= self.bytes.len()).then_some(from..to)
    }

    /// Whether a value that says itself where it ends does not end within the frame.
    pub fn is_unended(&self, place: &Place) -> bool {
        let Some(from) = self.pos(&place.from) else { return true };
        matches!(place.end(from, self.before_the_end(place)), Ok(None))
    }

    /// The bytes in which such a value may stand.
    fn before_the_end(&self, place: &Place) -> &'a [u8] {
        let behind = if place.from.from_end { 0 } else { self.shape.behind };
        &self.bytes[..self.bytes.len().saturating_sub(behind)]
    }

    /// The bytes of a field, as they came.
    pub fn raw(&self, field: u16) -> Option<&'a [u8]> {
        Some(&self.bytes[self.place(&self.shape.fields[usize::from(field)].place)?])
    }

    /// The value of a field as an integer.
    pub fn number(&self, field: u16) -> Option<u64> {
        let place = &self.shape.fields[usize::from(field)].place;
        place.number(self.raw(field)?)
    }
}
