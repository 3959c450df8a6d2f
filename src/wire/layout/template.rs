//! Topics, keys and replies, made of fields.

use super::form::{Declared, Field, Layout, Shape};
use super::format::CODE_IS_WRONG;
use super::kept::{Entry, KEPT_VALUE_MAX, Kept};
#[cfg(feature = "layouts")]
use super::place::Slice;
use super::place::{Type, View, write_decimal};
use crate::wire::digest::Scheme;

/// Where a template finds a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In the frame itself.
    Own(u16),
    /// In what is kept, by its slot.
    Kept(u8),
}

/// How a field is shown in a topic or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// As it stands, integers in decimal.
    Plain,
    /// In decimal without leading zeros.
    Int,
    /// The bytes in hexadecimal.
    Hex,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    Field(Source, Show),
}

/// What a topic or a key is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template(pub Box<[Piece]>);

impl Template {
    /// As a declaration has it.
    pub fn declared(&self, layout: &Declared, shape: &Shape) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Field(source, format) => {
                let name = match *source {
                    Source::Own(field) => &shape.fields[usize::from(field)].name,
                    Source::Kept(slot) => &layout.kept[usize::from(slot)],
                };
                let format = match format {
                    Show::Plain => "",
                    Show::Int => ":int",
                    Show::Hex => ":hex",
                };
                format!("{{{name}{format}}}")
            }
        };
        self.0.iter().map(piece).collect()
    }
}

/// Why a frame that is whole and right is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A field that its topic, key or reply wants is not kept yet: its slot.
    NotKept(u8),
    /// A field is not what its type says, or not the number that is wanted of it.
    Value(Named),
    /// This field is empty, and a topic has no empty token.
    Empty(Named),
    /// Its topic would be longer than a topic may be.
    LongTopic,
    /// Its key does not fit in 64 bits.
    Key,
    /// Its reply would be longer than a reply may be.
    LongReply,
    /// A value is too long to be kept.
    LongKept(Named),
    /// A value would make a topic of a later frame longer than a topic may be.
    LongForTopic(Named),
    /// A value is needed in a key of a later frame, which would not fit in 64 bits.
    LongForKey(Named),
    /// What a format in code says.
    Said(&'static str),
    /// What is wrong with what it says.
    Code(&'static str),
}

/// A field of a shape, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub(super) shape: u16,
    pub(super) field: u16,
}

impl Refusal {
    /// What the peer, the log and `layout check` are told.
    pub fn say(&self, layout: &Layout) -> String {
        let kept = layout.declared().map_or(&[][..], |declared| &declared.kept);
        match self {
            Refusal::NotKept(slot) => {
                format!("{} is not known on this connection yet", kept[usize::from(*slot)])
            }
            Refusal::Value(named) => {
                let Field { name, place } = named.field(layout);
                format!("{name} is not the {} or the number that it is declared to be", place.kind.name())
            }
            Refusal::Empty(named) => {
                format!("{} is empty, and a topic has no empty token", named.field(layout).name)
            }
            Refusal::LongTopic => format!("its topic is longer than {TOPIC_MAX} bytes"),
            Refusal::Key => "its key does not fit in 64 bits".into(),
            Refusal::LongReply => format!("its reply is longer than {REPLY_MAX} bytes"),
            Refusal::LongKept(named) => {
                format!(
                    "{} is longer than {KEPT_VALUE_MAX} bytes: too long to be kept",
                    named.field(layout).name
                )
            }
            Refusal::LongForTopic(named) => {
                format!("{} makes topics longer than {TOPIC_MAX} bytes", named.field(layout).name)
            }
            Refusal::LongForKey(named) => {
                format!("{} makes keys that do not fit in 64 bits", named.field(layout).name)
            }
            Refusal::Said(why) => (*why).into(),
            Refusal::Code(what) => format!("{CODE_IS_WRONG}: {what}"),
        }
    }
}

impl Named {
    fn field(self, layout: &Layout) -> &Field {
        &layout.all_shapes()[usize::from(self.shape)].fields[usize::from(self.field)]
    }
}

/// The longest topic of the wire, in bytes.
pub(super) const TOPIC_MAX: usize = 255;
/// 1 KiB for one reply to a device, before it is escaped: it says that a frame came, not what is in it.
pub(super) const REPLY_MAX: usize = 1024;

/// A whole frame, and all that templates find fields in.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub layout: &'a Declared,
    pub shape: usize,
    pub view: View<'a>,
    pub kept: &'a Kept,
}

/// A value with what it is.
struct Value<'a> {
    bytes: &'a [u8],
    kind: Type,
    mask: u64,
    named: Named,
}

impl Value<'_> {
    fn number(&self) -> Result<u64, Refusal> {
        let value = self.kind.number(self.bytes).ok_or(Refusal::Value(self.named))?;
        Ok(value & self.mask)
    }

    /// The number, if it fits in so many bytes.
    fn number_within(&self, bytes: u8) -> Result<u64, Refusal> {
        let most = u64::MAX >> (64 - 8 * u32::from(bytes));
        Some(self.number()?).filter(|number| *number <= most).ok_or(Refusal::Value(self.named))
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self.kind.write(self.bytes, self.mask, out) {
            true => Ok(()),
            false => Err(Refusal::Value(self.named)),
        }
    }
}

impl<'a> Context<'a> {
    fn value(&self, source: Source) -> Result<Value<'a>, Refusal> {
        let (shape, field, bytes) = match source {
            Source::Own(field) => {
                let named = Named { shape: self.shape as u16, field };
                (self.shape as u16, field, self.view.raw(field).ok_or(Refusal::Value(named))?)
            }
            Source::Kept(slot) => {
                let entry = self.kept.get(slot).ok_or(Refusal::NotKept(slot))?;
                (entry.shape, entry.field, entry.bytes)
            }
        };
        let place = &self.layout.shapes[usize::from(shape)].fields[usize::from(field)].place;
        Ok(Value { bytes, kind: place.kind, mask: place.mask, named: Named { shape, field } })
    }

    /// Appends the topic.
    pub fn topic(&self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let start = out.len();
        for piece in &self.of().topic.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(source, format) => {
                    token(&self.value(*source)?, *format, out)?;
                }
            }
            if out.len() - start > TOPIC_MAX {
                return Err(Refusal::LongTopic);
            }
        }
        Ok(())
    }

    /// The key; 0 where the shape has none. `lent` is for templates of several pieces.
    pub fn key(&self, lent: &mut Vec<u8>) -> Result<u64, Refusal> {
        match &*self.of().key.0 {
            [] => Ok(0),
            [Piece::Field(source, _)] => self.value(*source)?.number(),
            pieces => {
                lent.clear();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => lent.extend_from_slice(text.as_bytes()),
                        Piece::Field(source, format) => show(&self.value(*source)?, *format, lent)?,
                    }
                }
                Type::Digits.number(lent).ok_or(Refusal::Key)
            }
        }
    }

    /// Appends a reply, escaped as the shape's frames are. `lent` holds it before that.
    pub fn reply(
        &self,
        reply: &Reply,
        scheme: &Scheme,
        lent: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        lent.clear();
        let mut seals = 0;
        for part in &reply.0 {
            match part {
                Part::Bytes(bytes) => lent.extend_from_slice(bytes),
                Part::Field(source) => lent.extend_from_slice(self.value(*source)?.bytes),
                Part::Number(source, bytes, little) => {
                    let value = self.value(*source)?;
                    let (number, bytes) = (value.number_within(*bytes)?, usize::from(*bytes));
                    match little {
                        true => lent.extend_from_slice(&number.to_le_bytes()[..bytes]),
                        false => lent.extend_from_slice(&number.to_be_bytes()[8 - bytes..]),
                    }
                }
                Part::Seal(width) => {
                    seals += 1;
                    lent.resize(lent.len() + usize::from(*width), 0);
                }
            }
            if lent.len() > REPLY_MAX {
                return Err(Refusal::LongReply);
            }
        }
        if seals > 0 {
            self.seal(reply, scheme, lent)?;
        }
        self.escape(lent, out);
        Ok(())
    }

    /// Fills the seals in, each with the check of its number over the same slice of the reply.
    fn seal(&self, reply: &Reply, scheme: &Scheme, bytes: &mut [u8]) -> Result<(), Refusal> {
        let (mut at, mut checks) = (0, self.of().checks.iter());
        for part in &reply.0 {
            match part {
                Part::Bytes(bytes) => at += bytes.len(),
                Part::Field(source) => at += self.value(*source)?.bytes.len(),
                Part::Number(_, bytes, _) => at += usize::from(*bytes),
                Part::Seal(width) => {
                    let check = checks.next().expect("the loader counts seals and checks");
                    let view = View { shape: self.of(), bytes };
                    // The loader has seen that the slice is within the shortest reply.
                    let over = view.slice(&check.over).expect("the loader checks the slice");
                    let sum = check.algorithm.of(&bytes[over], scheme);
                    check.write(&sum, &mut bytes[at..at + usize::from(*width)]);
                    at += usize::from(*width);
                }
            }
        }
        Ok(())
    }

    /// Appends `plain`, escaped between a start and an end that are the shape's.
    fn escape(&self, plain: &[u8], out: &mut Vec<u8>) {
        let shape = self.of();
        let Some(escapes) = &shape.escapes else { return out.extend_from_slice(plain) };
        let (head, rest) =
            plain.split_at(if plain.starts_with(&shape.start) { shape.start.len() } else { 0 });
        let tail = shape.tail(self.layout);
        let is_ended = rest.len() >= tail && shape.is_tail(self.layout, &rest[rest.len() - tail..]);
        let (body, tail) = rest.split_at(rest.len() - if is_ended { tail } else { 0 });
        out.extend_from_slice(head);
        escapes.apply(body, out);
        out.extend_from_slice(tail);
    }

    fn of(&self) -> &'a Shape {
        self.view.shape
    }
}

/// Appends a value as a part of a topic's token.
fn token(value: &Value<'_>, format: Show, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let from = out.len();
    show(value, format, out)?;
    if out.len() == from {
        return Err(Refusal::Empty(value.named));
    }
    encode_token(out, from);
    Ok(())
}

impl Entry<'_> {
    /// Whether it is a value of its type, and what every topic, key and reply needs in which it is used: each by itself,
    /// since the others may be known later.
    pub fn judge(&self, layout: &Declared) -> Result<(), Refusal> {
        let place = &layout.shapes[usize::from(self.shape)].fields[usize::from(self.field)].place;
        let named = Named { shape: self.shape, field: self.field };
        let value = Value { bytes: self.bytes, kind: place.kind, mask: place.mask, named };
        value.write(&mut Vec::new())?;
        let is_used = |source: &Source| *source == Source::Kept(self.slot);
        for shape in &layout.shapes {
            let mut topic = Vec::new();
            for piece in &shape.topic.0 {
                match piece {
                    Piece::Text(text) => topic.extend_from_slice(text.as_bytes()),
                    Piece::Field(source, format) if is_used(source) => token(&value, *format, &mut topic)?,
                    Piece::Field(..) => {}
                }
            }
            if topic.len() > TOPIC_MAX {
                return Err(Refusal::LongForTopic(named));
            }
            match &*shape.key.0 {
                [Piece::Field(source, _)] if is_used(source) => {
                    value.number()?;
                }
                [_] => {}
                pieces => {
                    let mut digits = Vec::new();
                    for piece in pieces {
                        if let Piece::Field(source, format) = piece
                            && is_used(source)
                        {
                            show(&value, *format, &mut digits)?;
                        }
                    }
                    if !digits.iter().all(u8::is_ascii_digit) {
                        return Err(Refusal::Value(named));
                    }
                    if !digits.is_empty() && Type::Digits.number(&digits).is_none() {
                        return Err(Refusal::LongForKey(named));
                    }
                }
            }
            for part in shape.reply.iter().flat_map(|reply| &reply.0) {
                if let Part::Number(source, bytes, _) = part
                    && is_used(source)
                {
                    value.number_within(*bytes)?;
                }
            }
        }
        Ok(())
    }
}

fn show(value: &Value<'_>, format: Show, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match format {
        Show::Plain => value.write(out),
        Show::Hex => {
            out.extend_from_slice(crate::core::units::hex(value.bytes).as_bytes());
            Ok(())
        }
        Show::Int if matches!(value.kind, Type::Bcd | Type::Digits | Type::DigitsEnded | Type::Text) => {
            let from = out.len();
            value.write(out)?;
            if out.len() == from || !out[from..].iter().all(u8::is_ascii_digit) {
                return Err(Refusal::Value(value.named));
            }
            let zeros = out[from..out.len() - 1].iter().take_while(|digit| **digit == b'0').count();
            out.drain(from..from + zeros);
            Ok(())
        }
        Show::Int => {
            write_decimal(value.number()?, out);
            Ok(())
        }
    }
}

/// Percent-encodes what makes no token of a topic in `out[from..]`: dots, wildcards, white space, control characters,
/// what is not UTF-8, and `%` itself.
pub(super) fn encode_token(out: &mut Vec<u8>, from: usize) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>' | b'%');
    if out[from..].iter().all(is_plain) {
        return;
    }
    let raw = out.split_off(from);
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).as_bytes();
            match c {
                '.' | '*' | '>' | '%' => percent(bytes, out),
                c if c.is_control() || c.is_whitespace() => percent(bytes, out),
                _ => out.extend_from_slice(bytes),
            }
        }
        percent(chunk.invalid(), out);
    }
}

fn percent(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// What is written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply(pub Box<[Part]>);

impl Reply {
    /// Whether a slice that a check covers is within every reply, where the check is made over it as well.
    #[cfg(feature = "layouts")]
    pub fn takes_seal(&self, shape: &Shape, over: &Slice) -> bool {
        if !self.0.iter().any(|part| matches!(part, Part::Seal(_))) {
            return true;
        }
        let least = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Number(_, bytes, _) | Part::Seal(bytes) => usize::from(*bytes),
            Part::Field(Source::Own(field)) => shape.fields[usize::from(*field)].place.width_min(),
            // Which of the shapes sets it is not known here.
            Part::Field(Source::Kept(_)) => 0,
        };
        over.is_fixed() && over.least() <= self.0.iter().map(least).sum()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Bytes(Box<[u8]>),
    /// A field's bytes as they came.
    Field(Source),
    /// A field's value as an integer of so many bytes, little-endian or not.
    Number(Source, u8, bool),
    /// The next check of the layout, of so many bytes.
    Seal(u8),
}
