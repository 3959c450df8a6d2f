//! A layout as it is compiled: what the loader made of a declaration, and all that the path needs of it.

use std::sync::Arc;

use memchr::memmem::Finder;

use super::check::Check;
use super::escape::Escapes;
use super::format::Custom;
use super::place::{Place, Type, View};
use super::template::{Reply, Template};
use crate::core::limits::BUFFER_OVERHEAD;

/// A format of frames, compiled from its declaration.
#[derive(Debug)]
pub struct Layout {
    pub(super) name: Box<str>,
    pub(super) shapes: Box<[Shape]>,
    /// What is done where a stream cannot be cut: whether the next start is looked for.
    pub(super) scans: bool,
    /// What frames of its shapes end with.
    pub(super) untils: Box<[Finder<'static>]>,
    /// The fields that are kept, by their slots.
    pub(super) kept: Box<[Box<str>]>,
    /// Which bytes a start begins with.
    pub(super) firsts: Box<[bool; 256]>,
    /// The longest start.
    pub(super) start_max: usize,
    /// The longest topic that it makes.
    pub(super) topic_max: usize,
    /// The longest reply and the longest refusal, together.
    pub(super) answers_max: usize,
    pub(super) needs_secret: bool,
    /// Code in the place of all that.
    pub(super) custom: Option<Custom>,
}

/// One form that a frame of a layout may have.
#[derive(Debug)]
pub(super) struct Shape {
    pub start: Box<[u8]>,
    pub end: Box<[u8]>,
    pub bound: Bound,
    pub escapes: Option<Arc<Escapes>>,
    /// The least bytes, unescaped, that have room for every place.
    pub least: usize,
    /// Whether a place depends on the frame, so that more than its length is looked at.
    pub floats: bool,
    pub fields: Box<[Field]>,
    pub checks: Box<[Check]>,
    /// Slots, and the fields that set them.
    pub keep: Box<[(u8, u16)]>,
    pub publish: bool,
    pub topic: Template,
    pub key: Template,
    pub reply: Option<Reply>,
    pub refuse: Option<Reply>,
}

/// A value of a frame with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub name: Box<str>,
    pub place: Place,
}

/// How the end of a frame is found.
#[derive(Debug)]
pub(super) enum Bound {
    /// A place of the header says how many bytes follow `from`, and `after` more come behind them.
    Length {
        place: Place,
        from: From,
        after: u32,
    },
    Size(u32),
    /// The finder with this index.
    Until(u8),
}

/// Where a length begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Start(u32),
    /// So many bytes behind the length's own place.
    Behind(u32),
}

/// Distinct `until`s of a layout: what a [`Cutter`](super::Cutter) remembers of each is all that it remembers.
pub(super) const UNTILS_MAX: usize = 4;

impl Layout {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a [`Format`](super::Format), in code.
    pub(crate) fn is_code(&self) -> bool {
        self.custom.is_some()
    }

    /// How many shapes it has.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    /// Whether its checks want the listener's secret.
    pub fn needs_secret(&self) -> bool {
        self.needs_secret
    }

    /// Whether the next start is looked for where a stream cannot be cut (`on-malformed = "scan"`).
    pub fn scans(&self) -> bool {
        self.scans
    }

    /// Whether a frame of this shape may change what is known of its connection. A run of frames that holds one is
    /// finished before the next one of the connection begins, so that what is kept is known in order.
    pub fn keeps(&self, shape: usize) -> bool {
        match &self.custom {
            None => !self.shapes[shape].keep.is_empty(),
            // Its cutter has asked it.
            Some(_) => shape > 0,
        }
    }

    /// Whether it ever answers.
    pub fn answers(&self) -> bool {
        self.answers_max > 0
    }

    /// The names of its checks, each once.
    pub fn checks(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for check in self.shapes.iter().flat_map(|shape| &shape.checks) {
            if !names.contains(&&*check.name) {
                names.push(&check.name);
            }
        }
        names
    }

    /// The topics of the shapes that are published as they are declared, each once.
    pub fn topics(&self) -> Vec<String> {
        let mut topics = Vec::new();
        for shape in self.shapes.iter().filter(|shape| shape.publish) {
            let topic = shape.topic.declared(self, shape);
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        topics
    }

    /// The most frames that one read of `filled` bytes makes a run of: as native frames they take no more of the memory
    /// than is set aside for any read of so many bytes.
    pub fn frames_max(&self, filled: usize) -> usize {
        use crate::core::limits::REPLY_MAX;
        use crate::wire::{DIGEST, HEADER};
        let reply = if self.answers() { REPLY_MAX } else { 0 };
        let each = HEADER + DIGEST + self.topic_max + self.answers_max + size_of::<super::Fate>() + reply;
        (filled / (HEADER + DIGEST) * REPLY_MAX / each).max(1)
    }

    /// The memory that a run of `frames` frames of together `bytes` bytes may take beside them: as native frames, and
    /// for their answers.
    pub fn room(&self, frames: usize, bytes: usize) -> usize {
        use crate::wire::{DIGEST, HEADER};
        let each = HEADER + DIGEST + self.topic_max + self.answers_max;
        // A large frame is not copied.
        let copied = if frames == 1 && bytes >= super::run::LARGE { 0 } else { bytes };
        copied + frames * (each + size_of::<super::Fate>()) + 2 * BUFFER_OVERHEAD
    }

    /// How a shape is called where people read of it.
    pub fn shape_name(&self, shape: usize) -> String {
        let start = self.shapes.get(shape).map_or(&[][..], |of| &of.start);
        match (self.shapes.len(), start.is_empty()) {
            (0 | 1, _) => "the only shape".into(),
            (_, true) => format!("shape {}", shape + 1),
            (_, false) => format!("shape {} (start {})", shape + 1, super::spaced_hex(start)),
        }
    }
}

impl Shape {
    /// Where the place of the length ends in a whole frame.
    pub fn length_end(&self, frame: &[u8]) -> Option<usize> {
        let Bound::Length { place, .. } = &self.bound else { return None };
        let from = usize::try_from(place.from.base).ok()?;
        Some(match place.kind {
            Type::Varint | Type::DigitsEnded => from + place.kind.ended(frame.get(from..)?).ok()??,
            _ => from + place.width()?,
        })
    }

    /// Whether every place is within a frame, and none that another field gives reaches into those at its end.
    pub fn fits(&self, frame: &[u8]) -> bool {
        let view = View { shape: self, bytes: frame };
        let behind =
            |place: &Place| if place.from.from_end { place.from.base.unsigned_abs() as usize } else { 0 };
        let fields = || self.fields.iter().map(|field| &field.place);
        let behind = fields().chain(self.checks.iter().map(|check| &check.at)).map(behind).max().unwrap_or(0);
        let fits = |place: &Place| {
            let may_reach = place.is_fixed() || place.from.from_end;
            view.place(place).is_some_and(|place| may_reach || place.end + behind <= frame.len())
        };
        fields().all(fits)
            && self.checks.iter().all(|check| view.slice(&check.over).is_some() && fits(&check.at))
    }

    /// The frame as places see it. `lent` is filled where it is escaped.
    pub fn view<'a>(&'a self, layout: &Layout, frame: &'a [u8], lent: &'a mut Vec<u8>) -> View<'a> {
        let Some(escapes) = &self.escapes else { return View { shape: self, bytes: frame } };
        let (head, tail) = (self.start.len(), frame.len() - self.tail(layout));
        lent.clear();
        lent.extend_from_slice(&frame[..head]);
        escapes.undo(&frame[head..tail], lent);
        lent.extend_from_slice(&frame[tail..]);
        View { shape: self, bytes: lent }
    }

    /// Whether bytes are what ends a frame and is never escaped.
    pub fn is_tail(&self, layout: &Layout, bytes: &[u8]) -> bool {
        match self.bound {
            Bound::Until(until) => layout.untils[usize::from(until)].needle() == bytes,
            _ => !self.end.is_empty() && *self.end == *bytes,
        }
    }

    /// How many bytes at the end of a frame are never escaped.
    pub fn tail(&self, layout: &Layout) -> usize {
        match self.bound {
            Bound::Until(until) => layout.untils[usize::from(until)].needle().len(),
            _ => self.end.len(),
        }
    }
}
