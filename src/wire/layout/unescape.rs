//! Where a frame ends whose bytes are escaped, and whose length counts what they stand for.
//!
//! How many bytes come is not known from the header: as far as they came, they are looked at once each, and what is
//! remembered is how far that was. A byte that may begin a frame is never taken for one of a body, where the escapes
//! have a pair for it: the next frame begins there. So scanning looks at each byte a few times, however the dirt is.

use std::num::NonZeroU32;

use super::cut::{Cut, Malformed};
use super::escape::Escapes;
use super::form::{Bound, Declared, From, Shape};
use super::place::Place;
use crate::core::limits::READ_MAX;

/// 32 bytes for a length within escaped bytes: more than the digits of any number that is one.
pub(super) const LENGTH_MAX: usize = 32;

/// How far the frame at the first byte was unescaped: `raw` bytes stand for `plain` ones, and a whole frame has `total`
/// of these, once that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unescaped {
    raw: u32,
    plain: u32,
    total: Option<NonZeroU32>,
}

/// What stands at a position.
enum Step {
    /// A byte that so many stand for.
    Byte(u8, usize),
    /// Its end did not come yet.
    More,
    Wrong(Malformed),
}

/// A shape of which a frame has begun.
#[derive(Clone, Copy)]
pub(super) struct Begun<'a> {
    pub layout: &'a Declared,
    /// The number of the shape, and the shape.
    pub shape: usize,
    pub of: &'a Shape,
    pub escapes: &'a Escapes,
    pub bytes: &'a [u8],
}

impl Begun<'_> {
    fn step(&self, at: usize) -> Step {
        let Some(&byte) = self.bytes.get(at) else { return Step::More };
        if at < self.of.start.len() {
            return Step::Byte(byte, 1);
        }
        let shape = self.shape;
        if self.escapes.leads(byte) {
            return match self.bytes.get(at + 1) {
                None => Step::More,
                Some(second) => match self.escapes.plain([byte, *second]) {
                    Some(plain) => Step::Byte(plain, 2),
                    None => Step::Wrong(Malformed::Escape { shape, at }),
                },
            };
        }
        match self.layout.firsts[usize::from(byte)] && self.escapes.has_pair_for(byte) {
            true => Step::Wrong(Malformed::Unescaped { shape, at }),
            false => Step::Byte(byte, 1),
        }
    }

    /// What the place of the length says of the whole frame, from the position on that is the place's first. `None`
    /// while more of it may come.
    fn total(&self, place: &Place, from: From, mut at: usize) -> Result<Option<u64>, Malformed> {
        let shape = self.shape;
        let why = |why| Malformed::Length { shape, why };
        let (mut raw, mut len) = ([0; LENGTH_MAX], 0);
        let len = loop {
            match place.end(0, &raw[..len]).map_err(why)? {
                Some(end) if end <= len => break end,
                _ => match self.step(at) {
                    Step::Byte(byte, bytes) => {
                        raw[len] = byte;
                        (at, len) = (at + bytes, len + 1);
                    }
                    Step::More => return Ok(None),
                    Step::Wrong(malformed) => return Err(malformed),
                },
            }
        };
        let value = place.number(&raw[..len]).ok_or_else(|| why(place.kind.why_no_length(&raw[..len])))?;
        Ok(Some(value.saturating_add(from.before(place.from.base as usize + len))))
    }
}

impl Unescaped {
    /// What begins at the first of `bytes`, which is a frame of a shape with escapes that has a length or a size. They are
    /// those of the last call, and more behind them.
    pub fn cut(&mut self, begun: Begun<'_>, max: usize) -> Result<Cut, Malformed> {
        let Begun { layout, shape, of, bytes, .. } = begun;
        let most = max.min(READ_MAX);
        let more = match bytes.len() {
            len if len >= max => Err(Malformed::TooLarge { shape, len: max as u64 + 1, max }),
            len if len >= most => Err(Malformed::Endless { shape, max: most }),
            len => Ok(Cut::More(len + 1)),
        };
        let begun = Begun { bytes: &bytes[..bytes.len().min(most)], ..begun };
        // The shape is known, so all of its start is there.
        let start = of.start.len() as u32;
        (self.raw, self.plain) = (self.raw.max(start), self.plain.max(start));
        let total = match self.total {
            Some(total) => total.get() as usize,
            None => {
                let Some(total) = self.total(&begun)? else { return more };
                if total > max as u64 {
                    return Err(Malformed::TooLarge { shape, len: total, max });
                }
                if total < of.least as u64 {
                    return Err(Malformed::TooShort { shape, len: total, least: of.least });
                }
                self.total = NonZeroU32::new(total as u32);
                total as usize
            }
        };
        if !self.walk(&begun, total - of.end.len())? {
            return more;
        }
        let len = self.raw as usize + of.end.len();
        let Some(frame) = begun.bytes.get(..len) else { return more };
        if !frame.ends_with(&of.end) {
            return Err(Malformed::End { shape, len });
        }
        of.judge_places(layout, shape, frame)?;
        Ok(Cut::Frame { len, shape })
    }

    fn total(&mut self, begun: &Begun<'_>) -> Result<Option<u64>, Malformed> {
        match &begun.of.bound {
            Bound::Size(size) => Ok(Some(u64::from(*size))),
            Bound::Length { place, from, after } => {
                let at = place.from.base as usize;
                // A place within the start is where it says.
                let from_raw = match at < begun.of.start.len() {
                    true => at,
                    false if self.walk(begun, at)? => self.raw as usize,
                    false => return Ok(None),
                };
                let total = begun.total(place, *from, from_raw)?;
                Ok(total.map(|total| total.saturating_add(u64::from(*after))))
            }
            Bound::Until(_) => unreachable!("such frames are cut without looking at their escapes"),
        }
    }

    /// Goes on until so many bytes are unescaped. False while more are needed for that.
    fn walk(&mut self, begun: &Begun<'_>, plain: usize) -> Result<bool, Malformed> {
        while (self.plain as usize) < plain {
            match begun.step(self.raw as usize) {
                Step::Byte(_, bytes) => (self.raw, self.plain) = (self.raw + bytes as u32, self.plain + 1),
                Step::More => return Ok(false),
                Step::Wrong(malformed) => return Err(malformed),
            }
        }
        Ok(true)
    }
}
