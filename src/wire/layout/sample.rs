//! Frames made from a declaration: valid ones, with their start, length, end and checks filled in. For loads and tests.

use std::ops::Range;

use super::cut::{Cut, Cutter};
use super::explain::explain;
use super::form::{Bound, Declared, From, Layout, Shape};
use super::kept::Kept;
use super::place::{Place, Type, View, write_decimal};
use super::template::{Piece, Source};
use crate::core::limits::{PAYLOAD_MAX, READ_MAX};
use crate::wire::digest::Scheme;

/// So many fillings are tried until one is a frame: a byte of a check may happen to end it.
const TRIES: u64 = 64;

/// What a device of a layout sends: what makes it known, and then one frame after the other.
#[derive(Clone, Debug)]
pub struct Device {
    /// Frames that are sent first, of a login mostly.
    pub logins: Vec<Vec<u8>>,
    /// What is known of it behind those.
    pub kept: Kept,
    /// The shape of the frames that it sends from then on.
    pub shape: usize,
    seed: u64,
}

impl Layout {
    /// A device with frames of about `len` bytes that are published. `seed` tells it from others: it is in the digits of
    /// its fields.
    ///
    /// # Errors
    /// Why no frame of the layout can be made without knowing more than the declaration says.
    pub fn device(&self, seed: u64, len: usize, scheme: &Scheme) -> Result<Device, String> {
        let (mut logins, mut kept) = (Vec::new(), Kept::default());
        // A login first, whatever may be sent without one.
        for shape in (0..self.shapes()).filter(|shape| self.keeps(*shape)) {
            // Identities are short: an IMEI has 15 digits.
            let least = self.all_shapes()[shape].least;
            let login = [least + 15, least, least + 8, least + 17]
                .into_iter()
                .find_map(|len| self.sample(shape, len, seed, &kept, scheme));
            if let Some(login) = login {
                kept = explain(self, shape, &login, 0, &kept, scheme).kept;
                logins.push(login);
                break;
            }
        }
        let published: Vec<usize> =
            (0..self.shapes()).filter(|shape| self.all_shapes()[*shape].publish).collect();
        let nearest = |shapes: &mut dyn Iterator<Item = usize>| {
            let made = shapes.filter_map(|shape| {
                let frame = self.sample(shape, len, seed, &kept, scheme)?;
                Some((frame.len().abs_diff(len), shape))
            });
            made.min_by_key(|(far, _)| *far).map(|(_, shape)| shape)
        };
        let plain = nearest(&mut published.iter().copied().filter(|shape| !self.keeps(*shape)));
        // Every frame of it may be a login.
        match plain.or_else(|| nearest(&mut published.iter().copied())) {
            Some(shape) => Ok(Device { logins, kept, shape, seed }),
            None => Err(self.why_none(&published, len, seed, &kept, scheme)),
        }
    }

    /// Why none of these shapes has a frame.
    fn why_none(&self, published: &[usize], len: usize, seed: u64, kept: &Kept, scheme: &Scheme) -> String {
        let Some(declared) = self.declared() else { return "it is a format in code".into() };
        if published.is_empty() {
            return "it publishes nothing (publish = false), and what is published is counted".into();
        }
        let refused = published.iter().find_map(|&shape| {
            let of = &declared.shapes[shape];
            let frame = Draft::new(declared, of, len, seed, 0)?.finish(declared, of, scheme)?;
            let is_cut =
                Cutter::default().next(self, &frame, PAYLOAD_MAX) == Cut::Frame { len: frame.len(), shape };
            is_cut.then(|| explain(self, shape, &frame, 0, kept, scheme).refused).flatten()
        });
        match refused {
            Some(why) => format!("its frames would be refused: {why}"),
            None => "what stands in its frames depends on more than the declaration says".into(),
        }
    }

    /// A frame of a shape of about `len` bytes: no fewer than its places take, no more than its length can say. It is
    /// right, and it is accepted where `kept` is known. `None` where there is none.
    pub fn sample(
        &self,
        shape: usize,
        len: usize,
        seed: u64,
        kept: &Kept,
        scheme: &Scheme,
    ) -> Option<Vec<u8>> {
        let declared = self.declared()?;
        let of = declared.shapes.get(shape)?;
        (0..TRIES).find_map(|attempt| {
            let frame = Draft::new(declared, of, len, seed, attempt)?.finish(declared, of, scheme)?;
            let cut = Cutter::default().next(self, &frame, PAYLOAD_MAX);
            let is_cut = cut == Cut::Frame { len: frame.len(), shape };
            (is_cut && explain(self, shape, &frame, 0, kept, scheme).is_taken()).then_some(frame)
        })
    }
}

impl Device {
    /// Its `n`th frame, of about `len` bytes; never the same twice where there is room for the number.
    pub fn frame(&self, layout: &Layout, n: u64, len: usize, scheme: &Scheme) -> Option<Vec<u8>> {
        // The digits of the device stay: they may be its identity.
        let seed = self.seed.wrapping_add(n.wrapping_mul(NUMBERS));
        layout.sample(self.shape, len, seed, &self.kept, scheme)
    }
}

/// Seeds count devices below this, and frames above.
const NUMBERS: u64 = 1 << 32;

/// So many bytes of a frame may be escaped: most of it is letters.
const ESCAPED: usize = 64;

/// A frame, unescaped, in the making.
struct Draft {
    bytes: Vec<u8>,
    /// What is written and stays so.
    fixed: Vec<bool>,
    seed: u64,
    attempt: u64,
}

impl Draft {
    fn new(layout: &Declared, of: &Shape, len: usize, seed: u64, attempt: u64) -> Option<Draft> {
        let (start, tail) = (of.start.len(), of.tail(layout));
        let least = of.least.max(start + tail).max(start + of.end.len());
        // Of what ends somewhere there are at most so many bytes, and some of them become two.
        let is_open = of.escapes.is_some() || matches!(of.bound, Bound::Until(_));
        let wanted = if is_open { len.min(READ_MAX - ESCAPED) } else { len }.max(least);
        let (len, length) = match &of.bound {
            Bound::Size(size) => (*size as usize, None),
            Bound::Until(_) => (wanted, None),
            Bound::Length { place, from, after } => {
                let (len, at, bytes) = length(place, *from, *after as usize, wanted)?;
                (len, Some((at, bytes)))
            }
        };
        let mut draft = Draft { bytes: Vec::with_capacity(len), fixed: vec![false; len], seed, attempt };
        let number = (seed / NUMBERS).wrapping_mul(31).wrapping_add(attempt.wrapping_mul(7));
        draft.bytes.extend((0..len as u64).map(|at| letter(at.wrapping_add(number))));
        draft.fix(0, &of.start)?;
        if let Some((at, bytes)) = length {
            draft.fix(at, &bytes)?;
        }
        if let Bound::Until(until) = of.bound {
            draft.fix(len - tail, layout.untils[usize::from(until)].needle())?;
        }
        draft.fix(len.checked_sub(of.end.len())?, &of.end)?;
        Some(draft)
    }

    /// Writes bytes that stay; none where others stand there already.
    fn fix(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        for (at, byte) in (at..).zip(bytes) {
            if *self.fixed.get(at)? && self.bytes[at] != *byte {
                return None;
            }
            self.bytes[at] = *byte;
            self.fixed[at] = true;
        }
        Some(())
    }

    /// Writes bytes where nothing is that stays.
    fn fill(&mut self, at: usize, bytes: impl Iterator<Item = u8>) {
        for (at, byte) in (at..self.bytes.len()).zip(bytes) {
            if !self.fixed[at] {
                self.bytes[at] = byte;
            }
        }
    }

    fn finish(mut self, layout: &Declared, of: &Shape, scheme: &Scheme) -> Option<Vec<u8>> {
        // A field may say where another one is, so that they are filled twice.
        for _ in 0..2 {
            for (index, field) in (0u16..).zip(&of.fields) {
                self.field(of, &field.place, is_named(of, index));
            }
        }
        self.number(of);
        // A check may cover another one.
        for _ in 0..2 {
            for check in &of.checks {
                let view = View { shape: of, bytes: &self.bytes };
                let (over, at) = (view.slice(&check.over)?, view.place(&check.at)?);
                let sum = check.algorithm.of(&self.bytes[over], scheme);
                check.write(&sum, &mut self.bytes[at]);
            }
        }
        let Some(escapes) = &of.escapes else { return Some(self.bytes) };
        let (head, tail) = (of.start.len(), self.bytes.len() - of.tail(layout));
        let mut raw = self.bytes[..head].to_vec();
        escapes.apply(&self.bytes[head..tail], &mut raw);
        raw.extend_from_slice(&self.bytes[tail..]);
        Some(raw)
    }

    /// Fills a field with a value of its type. One that is in a topic or a key `is_named` and has the same in all frames of
    /// a device, as devices have it.
    fn field(&mut self, of: &Shape, place: &Place, is_named: bool) {
        let view = View { shape: of, bytes: &self.bytes };
        let Some(from) = view.pos(&place.from) else { return };
        let device = self.seed % NUMBERS;
        match place.kind {
            // Where a place depends on a field, small values are within the frame; a text of 0 bytes would name nothing.
            Type::Uint { bytes, little } if of.floats => {
                let value = ((self.attempt + 8) % 16).to_be_bytes();
                let value = &value[8 - usize::from(bytes)..];
                match little {
                    true => self.fill(from, value.iter().rev().copied()),
                    false => self.fill(from, value.iter().copied()),
                }
            }
            Type::Varint if of.floats => self.fill(from, [((self.attempt + 8) % 16) as u8].into_iter()),
            Type::DigitsEnded => {
                let digit = b'0' + ((self.attempt + 8) % 10) as u8;
                self.fill(from, [digit, b' '].into_iter());
            }
            Type::Uint { .. } | Type::Varint | Type::Bytes if is_named => {
                let Some(Range { start, end }) = view.place(place) else { return };
                let letters = (start as u64..end as u64).map(|at| letter(at + 7 * self.attempt));
                self.fill(start, letters.collect::<Vec<_>>().into_iter());
            }
            Type::Uint { .. } | Type::Varint | Type::Bytes => {}
            kind => {
                let Some(Range { start, end }) = view.place(place) else { return };
                let bytes = end - start;
                let digits = if kind == Type::Bcd { 2 * bytes } else { bytes };
                // A number with all digits that there are, and 1 in front where it would be 0 otherwise.
                let mut text = Vec::new();
                write_decimal(device, &mut text);
                let text: Vec<u8> =
                    if text.len() < digits { [vec![b'0'; digits - text.len()], text].concat() } else { text };
                let mut text = text[text.len() - digits..].to_vec();
                if let Some(first) = text.first_mut().filter(|first| **first == b'0' && kind != Type::Hex) {
                    *first = b'1';
                }
                match kind {
                    Type::Bcd => {
                        let pairs = text.chunks_exact(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0'));
                        self.fill(start, pairs);
                    }
                    _ => self.fill(start, text.into_iter()),
                }
            }
        }
    }

    /// Writes the number of the frame as digits into bytes of which nothing is declared, so that frames differ.
    fn number(&mut self, of: &Shape) {
        let mut taken = self.fixed.clone();
        let view = View { shape: of, bytes: &self.bytes };
        let places =
            of.fields.iter().map(|field| &field.place).chain(of.checks.iter().map(|check| &check.at));
        for range in places.filter_map(|place| view.place(place)) {
            taken[range].fill(true);
        }
        let mut digits = Vec::new();
        write_decimal(self.seed / NUMBERS, &mut digits);
        let free = (0..taken.len()).rev().filter(|at| !taken[*at]);
        for (at, digit) in free.zip(digits.into_iter().rev()) {
            self.bytes[at] = digit;
        }
    }
}

/// Letters are no digits, no escapes, and no start of anything.
fn letter(number: u64) -> u8 {
    b'a' + (number % 26) as u8
}

/// Whether a field is in the topic or the key of its shape.
fn is_named(of: &Shape, field: u16) -> bool {
    let names = |piece: &Piece| matches!(piece, Piece::Field(Source::Own(own), _) if *own == field);
    of.topic.0.iter().chain(&of.key.0).any(names)
}

/// Of a frame of about `wanted` bytes: how many it has, and where its length stands with which bytes.
fn length(place: &Place, from: From, after: usize, wanted: usize) -> Option<(usize, usize, Vec<u8>)> {
    let at = usize::try_from(place.from.base).ok()?;
    let widths = match place.kind.ends_itself() {
        true => place.width_min()..=super::place::DIGITS_MAX,
        false => place.width()?..=place.width()?,
    };
    widths.into_iter().find_map(|width| {
        let end = at + width;
        let before = usize::try_from(from.before(end)).ok()?;
        let least = (before + after).max(end);
        let value = wanted.max(least) - before - after;
        // As much as it can say.
        let most = match place.kind {
            Type::Uint { bytes, .. } => place.mask & (u64::MAX >> (64 - 8 * u32::from(bytes))),
            Type::Digits | Type::Text => 10u64.saturating_pow(width as u32) - 1,
            Type::Bcd => 10u64.saturating_pow(2 * width as u32) - 1,
            Type::Hex => 16u64.saturating_pow(width as u32) - 1,
            _ => u64::MAX,
        };
        let value = u64::try_from(value).ok()?.min(most);
        let bytes = written(place.kind, value, width)?;
        let len = usize::try_from(value).ok()? + before + after;
        (len >= end && value & place.mask == value).then_some((len, at, bytes))
    })
}

/// A number as it stands at a place of `width` bytes; none where it has another width.
fn written(kind: Type, value: u64, width: usize) -> Option<Vec<u8>> {
    let decimal = |digits: usize| format!("{value:0digits$}").into_bytes();
    let bytes = match kind {
        Type::Uint { little: true, .. } => value.to_le_bytes()[..width].to_vec(),
        Type::Uint { .. } => value.to_be_bytes()[8 - width..].to_vec(),
        Type::Varint => {
            let (mut bytes, mut rest) = (Vec::new(), value);
            while rest > 0x7f {
                bytes.push(rest as u8 & 0x7f | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            bytes
        }
        Type::DigitsEnded => [decimal(1), vec![b' ']].concat(),
        Type::Digits | Type::Text => decimal(width),
        Type::Hex => format!("{value:0width$X}").into_bytes(),
        Type::Bcd => {
            decimal(2 * width).chunks_exact(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect()
        }
        Type::Bytes => return None,
    };
    (bytes.len() == width).then_some(bytes)
}
