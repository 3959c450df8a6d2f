//! A layout as it is compiled: what the loader made of a declaration, and all that the path needs of it.

use std::sync::Arc;

use memchr::memmem::Finder;

use super::check::Check;
use super::escape::Escapes;
use super::format::Custom;
use super::place::{Place, Term, View};
use super::template::{Reply, Template};
use crate::core::limits::BUFFER_OVERHEAD;

/// A format of frames: compiled from its declaration, or in code.
#[derive(Debug)]
pub struct Layout {
    pub(super) name: Box<str>,
    /// The longest topic that it makes.
    pub(super) topic_max: usize,
    /// The longest reply and the longest refusal, together.
    pub(super) answers_max: usize,
    pub(super) made: Made,
}

/// What says where a frame ends and what becomes of it.
#[derive(Debug)]
pub(super) enum Made {
    Declared(Declared),
    Code(Custom),
}

/// What a declaration says.
#[derive(Debug)]
pub(super) struct Declared {
    pub shapes: Box<[Shape]>,
    /// What is done where a stream cannot be cut: whether the next start is looked for.
    pub scans: bool,
    /// What frames of its shapes end with.
    pub untils: Box<[Finder<'static>]>,
    /// The fields that are kept, by their slots.
    pub kept: Box<[Box<str>]>,
    /// Which bytes a start begins with.
    pub firsts: Box<[bool; 256]>,
    /// The longest start.
    pub start_max: usize,
    pub needs_secret: bool,
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
    /// How far before its end the first of the places is that are counted from there.
    pub behind: usize,
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

impl From {
    /// How many bytes come before those that are counted, where the length's place ends at `end`.
    pub fn before(self, end: usize) -> u64 {
        match self {
            From::Start(from) => u64::from(from),
            From::Behind(more) => end as u64 + u64::from(more),
        }
    }
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
        matches!(self.made, Made::Code(_))
    }

    /// What was declared; nothing of a format in code.
    pub(super) fn declared(&self) -> Option<&Declared> {
        match &self.made {
            Made::Declared(declared) => Some(declared),
            Made::Code(_) => None,
        }
    }

    /// Its shapes; none of a format in code.
    pub(super) fn all_shapes(&self) -> &[Shape] {
        self.declared().map_or(&[], |declared| &declared.shapes)
    }

    /// How many shapes it has.
    pub fn shapes(&self) -> usize {
        self.all_shapes().len()
    }

    /// Whether its checks want the listener's secret.
    pub fn needs_secret(&self) -> bool {
        self.declared().is_some_and(|declared| declared.needs_secret)
    }

    /// Whether the next start is looked for where a stream cannot be cut (`on-malformed = "scan"`).
    pub fn scans(&self) -> bool {
        self.declared().is_some_and(|declared| declared.scans)
    }

    /// Whether a frame of this shape may change what is known of its connection. A run of frames that holds one is
    /// finished before the next one of the connection begins, so that what is kept is known in order.
    pub fn keeps(&self, shape: usize) -> bool {
        match &self.made {
            Made::Declared(declared) => !declared.shapes[shape].keep.is_empty(),
            // Its cutter has asked it.
            Made::Code(_) => shape > 0,
        }
    }

    /// Whether it ever answers.
    pub fn answers(&self) -> bool {
        self.answers_max > 0
    }

    /// The names of its checks, each once.
    pub fn checks(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for check in self.all_shapes().iter().flat_map(|shape| &shape.checks) {
            if !names.contains(&&*check.name) {
                names.push(&check.name);
            }
        }
        names
    }

    /// The topics of the shapes that are published as they are declared, each once.
    pub fn topics(&self) -> Vec<String> {
        let mut topics = Vec::new();
        let shapes =
            self.declared().map(|declared| declared.shapes.iter().map(move |shape| (declared, shape)));
        for (declared, shape) in shapes.into_iter().flatten().filter(|(_, shape)| shape.publish) {
            let topic = shape.topic.declared(declared, shape);
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
        let start = self.all_shapes().get(shape).map_or(&[][..], |of| &of.start);
        match (self.shapes(), start.is_empty()) {
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
        place.end(usize::try_from(place.from.base).ok()?, frame).ok()?
    }

    /// Whether every place is within a frame, and none that another field gives reaches into those at its end. Of a value
    /// that says itself where it ends, that is so where its bytes are none: its frame is refused if the value is needed.
    pub fn fits(&self, frame: &[u8]) -> bool {
        let view = View { shape: self, bytes: frame };
        let fits = |place: &Place| {
            if place.kind.ends_itself() {
                return !view.is_unended(place);
            }
            let may_reach = place.is_fixed() || place.from.from_end;
            view.place(place).is_some_and(|place| may_reach || place.end + self.behind <= frame.len())
        };
        self.fields.iter().map(|field| &field.place).all(fits)
            && self.checks.iter().all(|check| view.slice(&check.over).is_some() && fits(&check.at))
    }

    /// The first field whose value has no end in a frame.
    pub fn unended(&self, frame: &[u8]) -> Option<u16> {
        let view = View { shape: self, bytes: frame };
        let mut fields = (0u16..).zip(&self.fields);
        fields.find_map(|(at, field)| {
            (field.place.kind.ends_itself() && view.is_unended(&field.place)).then_some(at)
        })
    }

    /// The first field that says where another place is, and is no number.
    pub fn unplaced(&self, frame: &[u8]) -> Option<u16> {
        let view = View { shape: self, bytes: frame };
        let places = self.fields.iter().map(|field| &field.place);
        let positions = places
            .chain(self.checks.iter().map(|check| &check.at))
            .flat_map(|place| [&place.from, &place.to]);
        let positions =
            positions.chain(self.checks.iter().flat_map(|check| [&check.over.from, &check.over.to]));
        positions.flat_map(|pos| &pos.plus).find_map(|term| match term {
            Term::Field(field) => view.number(*field).is_none().then_some(*field),
            Term::Length => None,
        })
    }

    /// The frame as places see it. `lent` is filled where it is escaped.
    pub fn view<'a>(&'a self, layout: &Declared, frame: &'a [u8], lent: &'a mut Vec<u8>) -> View<'a> {
        let Some(escapes) = &self.escapes else { return View { shape: self, bytes: frame } };
        let (head, tail) = (self.start.len(), frame.len() - self.tail(layout));
        lent.clear();
        lent.extend_from_slice(&frame[..head]);
        escapes.undo(&frame[head..tail], lent);
        lent.extend_from_slice(&frame[tail..]);
        View { shape: self, bytes: lent }
    }

    /// Whether bytes are what ends a frame and is never escaped.
    pub fn is_tail(&self, layout: &Declared, bytes: &[u8]) -> bool {
        match self.bound {
            Bound::Until(until) => layout.untils[usize::from(until)].needle() == bytes,
            _ => !self.end.is_empty() && *self.end == *bytes,
        }
    }

    /// How many bytes at the end of a frame are never escaped.
    pub fn tail(&self, layout: &Declared) -> usize {
        match self.bound {
            Bound::Until(until) => layout.untils[usize::from(until)].needle().len(),
            _ => self.end.len(),
        }
    }
}
