//! Cutting a stream of foreign frames.
//!
//! The boundary comes from the first bytes alone, never from a check. Everything that a length says is known from the
//! header, before a byte of the body is there; only an `until` is looked for, and never twice in the same bytes.

use std::fmt;

use super::form::{Bound, Declared, Field, From, Layout, Made, Shape, UNTILS_MAX};
use super::format::{CODE_IS_WRONG, CustomCutter};
use super::place::Place;
use super::unescape::{Begun, Unescaped};
use crate::core::limits::READ_MAX;

/// What a cutter says of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A whole frame of a shape at the beginning, of so many bytes.
    Frame {
        /// Bytes of the frame.
        len: usize,
        /// Its shape.
        shape: usize,
    },
    /// More bytes are needed: at least so many from the beginning. Of a frame whose header is there, all of them.
    More(usize),
    /// The stream cannot be cut here. A layout that scans goes on with [`Cut::Skip`].
    Malformed(Malformed),
    /// Scanning: so many bytes belong to no frame.
    Skip(usize),
}

/// Why a stream cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant says what its fields are")]
pub enum Malformed {
    /// No shape begins so.
    Start,
    /// Larger than `max-payload`; `len` is what it would have, as far as it is known.
    TooLarge { shape: usize, len: u64, max: usize },
    /// What ends it does not come within so many bytes, which may be held without knowing where it ends.
    Endless { shape: usize, max: usize },
    /// Shorter than its own places.
    TooShort { shape: usize, len: u64, least: usize },
    /// The length is no number.
    Length { shape: usize, why: &'static str },
    /// Other bytes stand last than the `end` of its shape.
    End { shape: usize, len: usize },
    /// An escape that is not listed, at this byte.
    Escape { shape: usize, at: usize },
    /// A byte that would begin a frame, and is not escaped.
    Unescaped { shape: usize, at: usize },
    /// A place that depends on the frame is not within it.
    Places { shape: usize, len: usize },
    /// This field says where another place is, and is no number, in a frame of so many bytes.
    Unplaced { shape: usize, field: u16, len: usize },
    /// This field has no end within the frame.
    Unended { shape: usize, field: u16, len: usize },
    /// The stream ends within it: it has so many bytes, and takes at least so many.
    Unfinished { len: usize, least: usize },
    /// What a format in code says of it.
    Said(&'static str),
    /// Bytes that a format in code skips.
    Dirt,
    /// The code of a format is wrong.
    Code(&'static str),
}

/// Where one connection's stream of foreign frames is cut. It holds no bytes of it.
#[derive(Clone, Debug)]
pub struct Cutter(State);

#[derive(Clone, Debug)]
enum State {
    Declared(DeclaredCutter),
    Custom(CustomCutter),
}

impl Default for Cutter {
    fn default() -> Cutter {
        Cutter(State::Declared(DeclaredCutter::default()))
    }
}

impl Cutter {
    /// Whether it looks for the next start.
    pub fn is_scanning(&self) -> bool {
        match &self.0 {
            State::Declared(cutter) => cutter.skip.is_some(),
            State::Custom(cutter) => cutter.is_skipping(),
        }
    }

    /// Whether it remembers nothing: a new one would go on as well.
    pub fn is_at_rest(&self) -> bool {
        match &self.0 {
            State::Declared(cutter) => *cutter == DeclaredCutter::default(),
            State::Custom(cutter) => *cutter == CustomCutter::default(),
        }
    }

    /// What begins at the first of `bytes`. They are those of the last call, and more behind them, or what is left of
    /// them behind the frame or the bytes to skip that it told of.
    pub fn next(&mut self, layout: &Layout, bytes: &[u8], max: usize) -> Cut {
        match (&mut self.0, &layout.made) {
            (State::Declared(cutter), Made::Declared(declared)) => match cutter.next(declared, bytes, max) {
                Cut::More(least) if cutter.is_over => cutter.next_at_end(declared, bytes, max, least),
                cut => cut,
            },
            (State::Custom(cutter), Made::Code(format)) => cutter.next(format, bytes, max),
            (state, Made::Code(_)) => {
                *state = State::Custom(CustomCutter::default());
                self.next(layout, bytes, max)
            }
            (State::Custom(_), Made::Declared(_)) => unreachable!("a connection speaks one layout"),
        }
    }

    /// Nothing more comes. Whether what is left is to be cut once more: where the next start is looked for, what has begun
    /// is no frame, but one may begin within it.
    pub fn end(&mut self, layout: &Layout) -> bool {
        match &mut self.0 {
            State::Declared(cutter) => layout.scans() && !std::mem::replace(&mut cutter.is_over, true),
            // It says itself what it skips.
            State::Custom(_) => false,
        }
    }
}

/// By a declaration.
///
/// Of each `until`, none begins in `start_max..looked` of the bytes that are looked at. Where one did not come within as
/// many bytes as may be held, it is `missing`: frames that begin in the first half of these and would end with it are
/// longer than the other half, and are malformed at once. Otherwise each byte of dirt that looks like a start would be
/// waited behind with all that may be held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct DeclaredCutter {
    looked: [u32; UNTILS_MAX],
    /// A bit each.
    missing: u8,
    /// Nothing more comes.
    is_over: bool,
    /// While scanning, how many bytes are skipped at least.
    skip: Option<u32>,
    unescaped: Unescaped,
}

impl DeclaredCutter {
    fn next(&mut self, layout: &Declared, bytes: &[u8], max: usize) -> Cut {
        if let Some(least) = self.skip {
            let at = next_start(layout, bytes, least as usize);
            self.skip = Some(least.saturating_sub(at as u32));
            match at {
                // Of a start that has only begun it is not known yet whether it is one.
                0 => match begun(layout, bytes) {
                    None => self.skip = None,
                    Some(least) => return Cut::More(least),
                },
                at => {
                    self.advance(at);
                    return Cut::Skip(at);
                }
            }
        }
        match self.cut(layout, bytes, max) {
            Ok(Cut::Frame { len, shape }) => {
                self.advance(len);
                Cut::Frame { len, shape }
            }
            Ok(cut) => cut,
            Err(malformed) => {
                if layout.scans {
                    self.skip = Some(malformed.skip(layout) as u32);
                }
                Cut::Malformed(malformed)
            }
        }
    }

    /// The same where what would take `least` bytes never comes.
    fn next_at_end(&mut self, layout: &Declared, bytes: &[u8], max: usize, least: usize) -> Cut {
        // What is larger than a read is not looked through for others.
        if bytes.is_empty() || least > READ_MAX {
            return Cut::More(least);
        }
        // Of bytes that are skipped, the last might have become a start.
        match self.skip.replace(1) {
            Some(_) => self.next(layout, bytes, max),
            None => Cut::Malformed(Malformed::Unfinished { len: bytes.len(), least }),
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.unescaped = Unescaped::default();
        self.looked.iter_mut().for_each(|looked| *looked = looked.saturating_sub(bytes as u32));
    }

    fn cut(&mut self, layout: &Declared, bytes: &[u8], max: usize) -> Result<Cut, Malformed> {
        let (shape, of) = match pick(layout, bytes)? {
            Picked::Shape(shape) => (shape, &layout.shapes[shape]),
            Picked::More(least) => return Ok(Cut::More(least)),
        };
        if let (Some(escapes), Bound::Length { .. } | Bound::Size(_)) = (&of.escapes, &of.bound) {
            return self.unescaped.cut(Begun { layout, shape, of, escapes, bytes }, max);
        }
        let len = match &of.bound {
            Bound::Size(size) => u64::from(*size),
            Bound::Length { place, from, after } => {
                match length(place, *from, bytes).map_err(|why| Malformed::Length { shape, why })? {
                    // A length that even a u64 cannot hold is too large as well.
                    Length::Known(len) => len.saturating_add(u64::from(*after)),
                    Length::More(least) => return Ok(Cut::More(least)),
                }
            }
            Bound::Until(until) => {
                let (until, most) = (usize::from(*until), max.min(READ_MAX));
                // So many bytes are known to hold no end.
                let known = self.looked[until] as usize + layout.untils[until].needle().len() - 1;
                let is_missing = self.missing & 1 << until != 0 && known > most / 2;
                self.missing &= !(u8::from(!is_missing) << until);
                let seen = &bytes[..bytes.len().min(if is_missing { known } else { most })];
                match self.until(layout, of, until, seen) {
                    Some(len) => len as u64,
                    None if is_missing || bytes.len() >= most => {
                        self.missing |= 1 << until;
                        return Err(match most == max {
                            true => Malformed::TooLarge { shape, len: max as u64 + 1, max },
                            false => Malformed::Endless { shape, max: most },
                        });
                    }
                    None => return Ok(Cut::More(bytes.len() + 1)),
                }
            }
        };
        if len > max as u64 {
            return Err(Malformed::TooLarge { shape, len, max });
        }
        if of.escapes.is_none() && len < of.least as u64 {
            return Err(Malformed::TooShort { shape, len, least: of.least });
        }
        let len = len as usize;
        let Some(frame) = bytes.get(..len) else { return Ok(Cut::More(len)) };
        if !ends(frame, &of.end) {
            return Err(Malformed::End { shape, len });
        }
        of.judge(layout, shape, frame)?;
        Ok(Cut::Frame { len, shape })
    }

    /// Where a frame ends that ends with certain bytes.
    fn until(&mut self, layout: &Declared, shape: &Shape, until: usize, bytes: &[u8]) -> Option<usize> {
        let finder = &layout.untils[until];
        let needle = finder.needle().len();
        // What begins before the longest start is over was not looked at for another shape: these are few.
        let near = shape.start.len()..(layout.start_max + needle - 1).min(bytes.len());
        if let Some(at) = bytes.get(near.clone()).and_then(|near| finder.find(near)) {
            return Some(near.start + at + needle);
        }
        let from = (self.looked[until] as usize).max(layout.start_max);
        let found = bytes.get(from..).and_then(|rest| finder.find(rest));
        let looked = found.map_or(bytes.len().saturating_sub(needle - 1), |at| from + at);
        self.looked[until] = self.looked[until].max(looked as u32);
        found.map(|at| from + at + needle)
    }
}

/// Whether bytes begin with others. To compare with nothing is not left to the C library: a pointer to no bytes is none,
/// and the masked load of one takes a hundred cycles on some processors.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    match with.first() {
        None => true,
        first => bytes.first() == first && bytes.starts_with(with),
    }
}

/// Whether bytes end with others.
fn ends(bytes: &[u8], with: &[u8]) -> bool {
    match with.last() {
        None => true,
        last => bytes.last() == last && bytes.ends_with(with),
    }
}

enum Picked {
    Shape(usize),
    More(usize),
}

/// The first shape that begins so.
fn pick(layout: &Declared, bytes: &[u8]) -> Result<Picked, Malformed> {
    if bytes.is_empty() {
        return Ok(Picked::More(1));
    }
    for (at, shape) in layout.shapes.iter().enumerate() {
        if begins(bytes, &shape.start) {
            return Ok(Picked::Shape(at));
        }
        if begins(&shape.start, bytes) {
            return Ok(Picked::More(shape.start.len()));
        }
    }
    Err(Malformed::Start)
}

enum Length {
    Known(u64),
    More(usize),
}

/// What the place of a length says, without what comes behind the counted bytes.
fn length(place: &Place, from: From, bytes: &[u8]) -> Result<Length, &'static str> {
    let at = place.from.base as usize;
    let Some(end) = place.end(at, bytes)? else {
        return Ok(Length::More((at + place.width_min()).max(bytes.len() + 1)));
    };
    let Some(raw) = bytes.get(at..end) else { return Ok(Length::More(end)) };
    let value = place.number(raw).ok_or_else(|| place.kind.why_no_length(raw))?;
    Ok(Length::Known(value.saturating_add(from.before(end))))
}

impl Shape {
    /// What only the whole frame shows.
    pub(super) fn judge(&self, layout: &Declared, shape: usize, frame: &[u8]) -> Result<(), Malformed> {
        if let Some(escapes) = &self.escapes {
            let (head, tail) = (self.start.len(), self.tail(layout));
            let body = &frame[head..frame.len() - tail];
            let plain = escapes.plain_len(body);
            let before = *plain.as_ref().err().unwrap_or(&body.len());
            if let Some(at) = escapes.find_plain(&body[..before], |byte| layout.firsts[usize::from(byte)]) {
                return Err(Malformed::Unescaped { shape, at: head + at });
            }
            let len = head + tail + plain.map_err(|at| Malformed::Escape { shape, at: head + at })?;
            if len < self.least {
                return Err(Malformed::TooShort { shape, len: len as u64, least: self.least });
            }
        }
        self.judge_places(layout, shape, frame)
    }

    /// The same where the escapes and the length are known to be right.
    pub(super) fn judge_places(
        &self,
        layout: &Declared,
        shape: usize,
        frame: &[u8],
    ) -> Result<(), Malformed> {
        if self.floats {
            let mut lent = Vec::new();
            let bytes = self.view(layout, frame, &mut lent).bytes;
            if !self.fits(bytes) {
                return Err(match self.unplaced(bytes) {
                    Some(field) => Malformed::Unplaced { shape, field, len: frame.len() },
                    None => match self.unended(bytes) {
                        Some(field) => Malformed::Unended { shape, field, len: frame.len() },
                        None => Malformed::Places { shape, len: frame.len() },
                    },
                });
            }
        }
        Ok(())
    }
}

impl Malformed {
    /// How many bytes certainly begin no frame.
    fn skip(&self, layout: &Declared) -> usize {
        match *self {
            // Every frame that begins before the wrong byte and goes on to where it ends holds it, too: looking at each would
            // take for ever.
            Malformed::Escape { shape, at } | Malformed::Unescaped { shape, at }
                if layout.shapes.iter().all(|of| of.escapes.is_some())
                    && matches!(layout.shapes[shape].bound, Bound::Until(_)) =>
            {
                at.max(layout.shapes[shape].start.len()).max(1)
            }
            // Of a frame that is larger than a read, what begins within it is not looked for.
            Malformed::End { len, .. }
            | Malformed::Places { len, .. }
            | Malformed::Unplaced { len, .. }
            | Malformed::Unended { len, .. }
                if len > READ_MAX =>
            {
                len
            }
            _ => 1,
        }
    }
}

/// Where the next start of any shape is, or the beginning of one at the end: not before `least`, at the latest at the end.
fn next_start(layout: &Declared, bytes: &[u8], least: usize) -> usize {
    let mut at = least.min(bytes.len());
    while let Some(more) = bytes[at..].iter().position(|byte| layout.firsts[usize::from(*byte)]) {
        at += more;
        let rest = &bytes[at..];
        let may_begin = |shape: &Shape| begins(rest, &shape.start) || begins(&shape.start, rest);
        if layout.shapes.iter().any(may_begin) {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

impl Layout {
    /// The shape that bytes are taken for which begin a frame, once its start is there.
    pub fn shape_of(&self, bytes: &[u8]) -> Option<usize> {
        match pick(self.declared()?, bytes) {
            Ok(Picked::Shape(shape)) => Some(shape),
            Ok(Picked::More(_)) | Err(_) => None,
        }
    }
}

/// How many bytes it takes to know of a start, where none is there as a whole.
fn begun(layout: &Declared, bytes: &[u8]) -> Option<usize> {
    let is_whole = layout.shapes.iter().any(|shape| bytes.starts_with(&shape.start));
    let starts = layout.shapes.iter().map(|shape| &shape.start).filter(|start| start.starts_with(bytes));
    if is_whole { None } else { starts.map(|start| start.len()).min() }
}

impl Malformed {
    /// The shape that it was taken for.
    pub fn shape(&self) -> Option<usize> {
        match *self {
            Malformed::Start
            | Malformed::Unfinished { .. }
            | Malformed::Said(_)
            | Malformed::Dirt
            | Malformed::Code(_) => None,
            Malformed::TooLarge { shape, .. }
            | Malformed::Endless { shape, .. }
            | Malformed::TooShort { shape, .. }
            | Malformed::Length { shape, .. }
            | Malformed::End { shape, .. }
            | Malformed::Escape { shape, .. }
            | Malformed::Unescaped { shape, .. }
            | Malformed::Places { shape, .. }
            | Malformed::Unplaced { shape, .. }
            | Malformed::Unended { shape, .. } => Some(shape),
        }
    }

    /// The same for people who know the layout: with the names of fields.
    pub fn say(&self, layout: &Layout) -> String {
        let of = |shape: usize, field: u16| &layout.all_shapes()[shape].fields[usize::from(field)];
        match *self {
            Malformed::Unended { shape, field, len } => {
                let Field { name, place } = of(shape, field);
                format!(
                    "{name} ({}) does not end where it may within the {len} bytes of the frame",
                    place.kind.name()
                )
            }
            Malformed::Unplaced { shape, field, .. } => {
                let Field { name, place } = of(shape, field);
                format!("{name}, which says where another place is, is not a number ({})", place.kind.name())
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Start => f.write_str("no shape of the layout starts so"),
            Malformed::TooLarge { len, max, .. } => {
                write!(f, "a frame of {len} bytes or more is larger than the {max} allowed (max-payload)")
            }
            Malformed::Endless { max, .. } => {
                write!(
                    f,
                    "no end within {max} bytes, the most for a frame whose length is not in its first bytes"
                )
            }
            Malformed::TooShort { len, least, .. } => {
                write!(f, "a frame of {len} bytes is shorter than its own places, which take {least}")
            }
            Malformed::Length { why, .. } => f.write_str(why),
            Malformed::End { len, .. } => {
                write!(f, "the {len} bytes of the frame do not end as its shape does")
            }
            Malformed::Escape { at, .. } => write!(f, "byte {at} begins an escape that is not listed"),
            Malformed::Unescaped { at, .. } => write!(f, "byte {at} begins a frame, or should be escaped"),
            Malformed::Places { len, .. } => {
                write!(f, "a place that another field gives is beyond the {len} bytes of the frame")
            }
            Malformed::Unended { len, .. } => {
                write!(f, "a field does not end within the {len} bytes of the frame")
            }
            Malformed::Unplaced { .. } => {
                f.write_str("a field that says where another place is, is not a number")
            }
            Malformed::Unfinished { len, least } => {
                write!(f, "the stream ends behind {len} bytes of a frame that takes {least} or more")
            }
            Malformed::Said(why) => f.write_str(why),
            Malformed::Dirt => f.write_str("bytes that belong to no frame"),
            Malformed::Code(what) => write!(f, "{CODE_IS_WRONG}: {what}"),
        }
    }
}
