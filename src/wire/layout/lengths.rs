//! Which length would make frames of bytes of which the declared one makes none: for a person who took the wrong byte for
//! the first, or the wrong slice for the one that a length counts.

use super::alike::Hint;
use super::cut::{Cut, Cutter};
use super::declare::Parts;
use super::form::{Bound, Declared, From, Layout, Shape};
use super::place::{Place, Pos, Type, View};
use crate::core::limits::PAYLOAD_MAX;
use crate::wire::digest::Scheme;

/// So many bytes may come before and behind those that are counted: a header, a digest, and what closes a frame.
const MORE_MAX: u64 = 64;
/// The place of a length is looked for so many bytes before and behind the declared one.
const FAR_MAX: i64 = 4;
/// So many frames are looked at, and so many bytes of all.
const FRAMES_MAX: u32 = 8;
pub const BYTES_MAX: usize = 64 << 10;
/// A length that is told makes frames by chance in one of so many captures: `SURE` is hardly so, `MAYBE` is said with that.
const SURE: f64 = 500.0;
const MAYBE: f64 = 16.0;
/// How far the first frame speaks for a length: whichever place is looked at, with some number of bytes more it makes one.
const FIRST_MAX: u32 = 8;

/// A length that is tried.
struct Tried<'a> {
    layout: &'a Layout,
    declared: &'a Declared,
    /// The shape that has it, and its number.
    of: &'a Shape,
    shape: usize,
    place: Place,
    /// How many bytes a frame has that are not counted: of a length whose own bytes say where it ends, behind it.
    more: u64,
    /// The least is tried first: how far it is from what was declared.
    distance: u32,
}

/// What speaks for a length.
#[derive(Clone, Copy, Default)]
struct Evidence {
    /// How many bits of frames agree that could be anything.
    bits: u32,
    /// Whole frames.
    frames: u32,
}

impl Layout {
    /// What length would make frames of what begins with `bytes`, which was taken for this shape: the lines of a declaration,
    /// `length = "u16le @ 2"` and `counts = "4..-2"`. It is looked for where the declared one makes none, or one whose
    /// check is wrong. Its frames have right checks, begin one behind the other, and end where all does that came.
    pub fn length_alike(&self, shape: usize, bytes: &[u8], scheme: &Scheme) -> Option<Hint> {
        let declared = self.declared()?;
        let of = declared.shapes.get(shape).filter(|of| of.escapes.is_none())?;
        let Bound::Length { place, from, after } = &of.bound else { return None };
        let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
        let own = from.before(end(place) as usize) + u64::from(*after);
        let mut all = Vec::new();
        for (place, far) in places(place) {
            // Nothing, all up to the place's end, or what was declared is likelier than another number.
            let far_off = Some(own).filter(|more| *more > MORE_MAX);
            for more in (0..=MORE_MAX).chain(far_off) {
                let farther = match more {
                    _ if more == own => 0,
                    _ if more == 0 || more == end(&place) => 3,
                    _ => 10,
                };
                let (place, distance) = (place.clone(), far + farther);
                all.push(Tried { layout: self, declared, of, shape, place, more, distance });
            }
        }
        all.sort_by_key(|tried| tried.distance);
        // The first is the declared one. Of others, the nearest that is hardly so by chance, or the one that is least so.
        let mut best: Option<(&Tried<'_>, f64)> = None;
        for (number, tried) in all.iter().enumerate().skip(1) {
            let Evidence { bits, frames } = tried.evidence(bytes, scheme);
            // Of one frame, some number of bytes always fits.
            let at_least = if frames > 1 { 0.0 } else { 2.0 / SURE };
            let by_chance = (number as f64 * (-f64::from(bits)).exp2()).max(at_least);
            if by_chance * SURE <= 1.0 {
                return Some(Hint { lines: tried.said(), is_sure: true });
            }
            if by_chance * MAYBE <= 1.0 && best.is_none_or(|(_, least)| by_chance < least) {
                best = Some((tried, by_chance));
            }
        }
        best.map(|(tried, _)| Hint { lines: tried.said(), is_sure: false })
    }
}

/// The place, the same bytes the other way round, other numbers that begin there, and places near to it.
fn places(declared: &Place) -> Vec<(Place, u32)> {
    let mut places = vec![(declared.clone(), 0)];
    let kinds: Vec<(Type, u32)> = match declared.kind {
        Type::Uint { bytes, little } if declared.mask == u64::MAX => {
            let others = [1, 2, 3, 4, 8].into_iter().flat_map(|bytes| [(bytes, little), (bytes, !little)]);
            let others = others.filter(|of| *of != (bytes, little) && *of != (1, !little));
            let others = others.map(|(other, little)| {
                (Type::Uint { bytes: other, little }, if other == bytes { 2 } else { 8 })
            });
            others.chain([(Type::Varint, 8)]).collect()
        }
        Type::Uint { bytes, little } => vec![(Type::Uint { bytes, little: !little }, 2)],
        Type::Varint => vec![
            (Type::Uint { bytes: 1, little: false }, 2),
            (Type::Uint { bytes: 2, little: false }, 8),
            (Type::Uint { bytes: 2, little: true }, 8),
        ],
        Type::Digits | Type::Hex | Type::Bcd => {
            let others = [Type::Digits, Type::Hex, Type::Bcd].into_iter();
            others.filter(|kind| *kind != declared.kind).map(|kind| (kind, 2)).collect()
        }
        _ => Vec::new(),
    };
    places.extend(kinds.into_iter().map(|(kind, far)| (Place { kind, ..declared.clone() }, far)));
    if matches!(declared.kind, Type::Uint { .. } | Type::Varint) {
        // A number may be written in letters.
        for (kind, width) in [(Type::Digits, 2), (Type::Hex, 2), (Type::Digits, 4), (Type::Hex, 4)] {
            let to = Pos { base: declared.from.base + width, ..declared.from.clone() };
            places.push((Place { kind, to, mask: u64::MAX, ..declared.clone() }, 9));
        }
    }
    let near = (-FAR_MAX..=FAR_MAX).filter(|far| *far != 0 && declared.from.base + far >= 0);
    let moved: Vec<(Place, u32)> = near
        .flat_map(|by| {
            places.iter().map(move |(place, far)| {
                let mut place = place.clone();
                place.from.base += by;
                place.to.base += by;
                (place, far + 8 + by.unsigned_abs() as u32)
            })
        })
        .collect();
    places.extend(moved);
    places
}

/// Where a place ends whose width is declared; 0 of one whose own bytes say that.
fn end(place: &Place) -> u64 {
    if place.kind.ends_itself() { 0 } else { place.from.base as u64 + place.width_min() as u64 }
}

impl Tried<'_> {
    /// What speaks for it: the lengths of all frames but the last lead to the start of another one, that of the last one to
    /// the end of all that came, their ends and checks are right, and the layout is accepted with it.
    fn evidence(&self, bytes: &[u8], scheme: &Scheme) -> Evidence {
        let Shape { end, checks, .. } = self.of;
        let (mut evidence, mut rest) = (Evidence::default(), bytes);
        let mut bound = None;
        while evidence.frames < FRAMES_MAX {
            if rest.is_empty() {
                // A number of so many bits that is just this one.
                evidence.bits += (8 * self.place.width_min() as u32).min(16);
                return evidence;
            }
            let is_first = evidence.frames == 0;
            let Some(shape) = self.layout.shape_of(rest) else {
                let is_begun = self.declared.shapes.iter().any(|shape| shape.start.starts_with(rest));
                return if is_begun && !is_first { evidence } else { Evidence::default() };
            };
            if !is_first {
                evidence.bits += 8 * self.declared.shapes[shape].start.len() as u32;
            }
            if shape != self.shape {
                match Cutter::default().next(self.layout, rest, PAYLOAD_MAX) {
                    Cut::Frame { len, .. } => rest = &rest[len..],
                    Cut::More(_) => return evidence,
                    _ => return Evidence::default(),
                }
                evidence.frames += 1;
                continue;
            }
            // Of the last one not all may be there.
            let Some(len) = self.len(rest) else {
                return if is_first || self.of.start.is_empty() { Evidence::default() } else { evidence };
            };
            let least = *bound.get_or_insert_with(|| self.least());
            if least.is_none_or(|least| len < least) || len == 0 {
                return Evidence::default();
            }
            let Some(frame) = rest.get(..len) else {
                let is_cut = bytes.len() >= BYTES_MAX || !self.of.start.is_empty();
                return if is_first || !is_cut { Evidence::default() } else { evidence };
            };
            if !frame.ends_with(end) || self.of.floats && !self.of.fits(frame) {
                return Evidence::default();
            }
            let view = View { shape: self.of, bytes: frame };
            if !checks.iter().all(|check| check.is_right(&view, scheme)) {
                return Evidence::default();
            }
            evidence.bits += 8 * end.len() as u32;
            evidence.bits += checks.iter().map(|check| check.algorithm.bits() as u32).sum::<u32>();
            // A number that could be anything is mostly beyond all that came; a byte of zeros is nothing rare.
            let room = usize::BITS - rest.len().leading_zeros();
            evidence.bits += (8 * self.place.width_min() as u32).saturating_sub(room).min(8);
            if is_first {
                evidence.bits = evidence.bits.min(FIRST_MAX);
            }
            evidence.frames += 1;
            rest = &rest[len..];
        }
        evidence
    }

    /// How long a frame would be.
    fn len(&self, bytes: &[u8]) -> Option<usize> {
        let at = usize::try_from(self.place.from.base).ok()?;
        let end = self.place.end(at, bytes).ok()??;
        let value = self.place.number(bytes.get(at..end)?)?;
        let before = if self.place.kind.ends_itself() { end as u64 } else { 0 };
        usize::try_from(value.checked_add(before)?.checked_add(self.more)?).ok()
    }

    /// The least bytes of a frame; none if the layout would not be accepted.
    fn least(&self) -> Option<usize> {
        let (from, after) = self.counts()?;
        let bound = Bound::Length { place: self.place.clone(), from, after };
        let judged = Parts { bound: Some(&bound), ..Parts::of(self.declared, self.of) }.judge();
        judged.wrong.is_empty().then_some(judged.least)
    }

    /// What it counts, and how many bytes follow that.
    fn counts(&self) -> Option<(From, u32)> {
        let more = u32::try_from(self.more).ok()?;
        if self.place.kind.ends_itself() {
            return Some((From::Behind(0), more));
        }
        let end = u32::try_from(end(&self.place)).ok()?;
        Some(match more.checked_sub(end) {
            Some(after) => (From::Start(end), after),
            // It counts a part of the header, or all of it.
            None => (From::Start(more), 0),
        })
    }

    /// As a declaration has it, both lines: what it counts is said even where that could be left out, since another
    /// slice may stand there.
    fn said(&self) -> String {
        let counts = match self.counts() {
            Some((From::Start(from), 0)) => format!("{from}.."),
            Some((From::Start(from), after)) => format!("{from}..-{after}"),
            Some((From::Behind(_), 0)) | None => "length..".into(),
            Some((From::Behind(_), after)) => format!("length..-{after}"),
        };
        format!("length = \"{}\"\ncounts = \"{counts}\"", self.of.place_said(&self.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::layout::Layouts;

    /// Frames of a start, a kind, a length of 16 bits with the lower byte first, of the payload, and its CRC.
    fn capture() -> Vec<u8> {
        let crc = super::super::crc::Crc::new(super::super::catalog::named("crc-16/modbus").unwrap());
        let frame = |payload: &[u8]| {
            let mut frame = vec![0xab, 0xcd, 7, payload.len() as u8, 0];
            frame.extend_from_slice(payload);
            frame.extend_from_slice(&crc.of(&frame).to_le_bytes()[..2]);
            frame
        };
        [frame(b"hello"), frame(b"a longer one"), frame(b"x")].concat()
    }

    fn alike(length: &str, bytes: &[u8]) -> Option<Hint> {
        let check = "check = { is = \"crc-16/modbus\", over = \"0..-2\", at = \"u16le @ -2\" }";
        let text = format!("[layout.a]\ntopic = \"a\"\nstart = \"AB CD\"\n{length}\n{check}");
        let (layouts, _) = Layouts::parse(&text, "a.toml").unwrap_or_else(|wrong| panic!("{wrong:?}"));
        layouts.get("a").expect("it is declared").length_alike(0, bytes, &Scheme::Sha256)
    }

    #[test]
    fn the_length_that_makes_frames_is_found() {
        let right = "length = \"u16le @ 3\"\ncounts = \"5..-2\"";
        let bytes = capture();
        for wrong in [
            "length = \"u16 @ 3\"\ncounts = \"5..-2\"",
            "length = \"u16le @ 3\"\ncounts = \"0..\"",
            "length = \"u16le @ 3\"",
            "length = \"u16 @ 3\"",
        ] {
            let right = Hint { lines: right.into(), is_sure: true };
            assert_eq!(alike(wrong, &bytes), Some(right), "{wrong}");
        }
        // Nothing makes frames of noise.
        let noise: Vec<u8> = (0..200u32).map(|at| (at * at * 31 % 251) as u8).collect();
        assert_eq!(alike("length = \"u16 @ 3\"", &[&[0xab, 0xcd][..], &noise].concat()), None);
    }
}
