//! Which length would make frames of bytes of which the declared one makes none: for a person who took the wrong byte for
//! the first, or the wrong slice for the one that a length counts.

use super::form::{Bound, Layout, Shape};
use super::place::{Place, Type, View};
use crate::wire::digest::Scheme;

/// So many bytes may come before and behind those that are counted: a header, a digest, and what closes a frame.
const MORE_MAX: u64 = 64;
/// So many frames are looked at, and so many bytes of all.
const FRAMES_MAX: u32 = 4;
const BYTES_MAX: usize = 64 << 10;
/// So many bits must agree that could be anything: some 12 are spent on the lengths that are tried.
const EVIDENCE: u32 = 24;
/// That the last frame ends where all that came does.
const AT_THE_END: u32 = 10;

/// A length that is tried.
struct Tried<'a> {
    of: &'a Shape,
    place: Place,
    /// How many bytes a frame has that are not counted: of a length whose own bytes say where it ends, behind it.
    more: u64,
    /// The least is tried first: how far it is from what was declared.
    distance: u32,
}

impl Layout {
    /// What length would make frames of what begins with `bytes`, which was taken for this shape: as a declaration says it,
    /// `length = "u16le @ 2", counts = "4..-2"`. It is looked for where the declared one makes none, or one whose check is
    /// wrong.
    pub fn length_alike(&self, shape: usize, bytes: &[u8], scheme: &Scheme) -> Option<String> {
        let layout = self.declared()?;
        let of = layout.shapes.get(shape).filter(|of| of.escapes.is_none())?;
        let Bound::Length { place, from, after } = &of.bound else { return None };
        let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
        let mut all = Vec::new();
        for (place, far) in places(place) {
            // Nothing, all up to the place's end, or what was declared is likelier than another number.
            let end = end(&place);
            let declared = from.before(end as usize) + u64::from(*after);
            let far_off = Some(declared).filter(|more| *more > MORE_MAX);
            for more in (0..=MORE_MAX).chain(far_off) {
                let farther = match more {
                    _ if more == declared => 0,
                    _ if more == 0 || more == end => 3,
                    _ => 10,
                };
                all.push(Tried { of, place: place.clone(), more, distance: far + farther });
            }
        }
        all.sort_by_key(|tried| tried.distance);
        // The first is the declared one.
        all.iter().skip(1).find(|tried| tried.evidence(bytes, scheme) >= EVIDENCE).map(Tried::said)
    }
}

/// The place, the same bytes the other way round, and other integers that begin there.
fn places(declared: &Place) -> Vec<(Place, u32)> {
    let mut places = vec![(declared.clone(), 0)];
    let Type::Uint { bytes, little } = declared.kind else { return places };
    for (other, turned) in [1, 2, 3, 4, 8].into_iter().flat_map(|bytes| [(bytes, false), (bytes, true)]) {
        let kind = Type::Uint { bytes: other, little: little != turned };
        let is_same = other == bytes && !turned || other == 1 && turned;
        if !is_same {
            let far = if other == bytes { 2 } else { 8 };
            places.push((Place { kind, ..declared.clone() }, far));
        }
    }
    places
}

/// Where a place ends whose width is declared; 0 of one whose own bytes say that.
fn end(place: &Place) -> u64 {
    if place.kind.ends_itself() { 0 } else { place.from.base as u64 + place.width_min() as u64 }
}

impl Tried<'_> {
    /// How many bits of frames agree that could be anything.
    fn evidence(&self, bytes: &[u8], scheme: &Scheme) -> u32 {
        let Shape { start, end, checks, .. } = self.of;
        let (mut bits, mut rest) = (0, bytes);
        for number in 0..FRAMES_MAX {
            if rest.is_empty() {
                return bits + AT_THE_END;
            }
            // Of the last one not all may be there.
            let Some(len) = self.len(rest) else {
                return if number == 0 || start.is_empty() { 0 } else { bits };
            };
            if number > 0 {
                if !rest.starts_with(start) {
                    return 0;
                }
                bits += 8 * start.len() as u32;
            }
            if len < self.of.least || len == 0 {
                return 0;
            }
            let Some(frame) = rest.get(..len) else { return if number == 0 { 0 } else { bits } };
            if !frame.ends_with(end) || self.of.floats && !self.of.fits(frame) {
                return 0;
            }
            let view = View { shape: self.of, bytes: frame };
            if !checks.iter().all(|check| check.is_right(&view, scheme)) {
                return 0;
            }
            bits +=
                8 * end.len() as u32 + checks.iter().map(|check| check.algorithm.bits() as u32).sum::<u32>();
            rest = &rest[len..];
        }
        bits
    }

    /// How long a frame would be.
    fn len(&self, bytes: &[u8]) -> Option<usize> {
        let at = usize::try_from(self.place.from.base).ok()?;
        let end = self.place.end(at, bytes).ok()??;
        let value = self.place.number(bytes.get(at..end)?)?;
        let before = if self.place.kind.ends_itself() { end as u64 } else { 0 };
        usize::try_from(value.checked_add(before)?.checked_add(self.more)?).ok()
    }

    fn said(&self) -> String {
        let at = self.place.from.base;
        let kind = self.place.kind.name();
        let place = match self.place.kind {
            Type::Uint { .. } | Type::Varint | Type::DigitsEnded => format!("{kind} @ {at}"),
            _ => format!("{kind} {at}..{}", self.place.to.base),
        };
        let counts = match self.more.checked_sub(end(&self.place)) {
            Some(0) => return format!("length = \"{place}\", without counts"),
            Some(after) if self.place.kind.ends_itself() => format!("length..-{after}"),
            Some(after) => format!("{}..-{after}", end(&self.place)),
            // It counts a part of the header, or all of it.
            None => format!("{}..", self.more),
        };
        format!("length = \"{place}\", counts = \"{counts}\"")
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::Scheme;
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

    fn alike(length: &str, bytes: &[u8]) -> Option<String> {
        let check = "check = { is = \"crc-16/modbus\", over = \"0..-2\", at = \"u16le @ -2\" }";
        let text = format!("[layout.a]\ntopic = \"a\"\nstart = \"AB CD\"\n{length}\n{check}");
        let (layouts, _) = Layouts::parse(&text, "a.toml").unwrap_or_else(|wrong| panic!("{wrong:?}"));
        layouts.get("a").expect("it is declared").length_alike(0, bytes, &Scheme::Sha256)
    }

    #[test]
    fn the_length_that_makes_frames_is_found() {
        let right = "length = \"u16le @ 3\", counts = \"5..-2\"";
        let bytes = capture();
        for wrong in [
            "length = \"u16 @ 3\"\ncounts = \"5..-2\"",
            "length = \"u16le @ 3\"\ncounts = \"0..\"",
            "length = \"u16le @ 3\"",
            "length = \"u16 @ 3\"",
        ] {
            assert_eq!(alike(wrong, &bytes).as_deref(), Some(right), "{wrong}");
        }
        // Nothing makes frames of noise.
        let noise: Vec<u8> = (0..200u32).map(|at| (at * at * 31 % 251) as u8).collect();
        assert_eq!(alike("length = \"u16 @ 3\"", &[&[0xab, 0xcd][..], &noise].concat()), None);
    }
}
