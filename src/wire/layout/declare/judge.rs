//! What a shape asks of its frames, and whether its parts go together.

use super::shape::Drafted;
use super::table::Source;
use crate::wire::layout::check::Check;
use crate::wire::layout::form::{Bound, Declared, Field, From, Shape};
use crate::wire::layout::place::{Place, Pos, Type};
use crate::wire::layout::spaced_hex;
use crate::wire::layout::unescape::LENGTH_MAX;
use crate::wire::toml_file::Report;

/// Some bytes of every frame, with what they are called.
struct Span<'a> {
    key: &'a str,
    called: String,
    from: &'a Pos,
    to: Pos,
    /// The least bytes of a frame that has them.
    least: u64,
    kind: SpanOf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SpanOf {
    Length,
    Field { masked: bool },
    Check,
    Over,
}

/// What a shape is made of, as far as its parts can get into each other's way.
pub(in crate::wire::layout) struct Parts<'a> {
    pub start: usize,
    /// Bytes that end it: its `end`, or its `until`.
    pub tail: usize,
    pub bound: Option<&'a Bound>,
    pub fields: Vec<&'a Field>,
    pub checks: Vec<&'a Check>,
}

/// What is to be said of the parts of a shape.
pub(in crate::wire::layout) struct Judged {
    /// How long its frames are at least.
    pub least: usize,
    /// How far before the end the first of the places is that are counted from there.
    pub behind: usize,
    /// Whether a place depends on the frame.
    pub floats: bool,
    /// What is wrong, and of which key.
    pub wrong: Vec<(String, String)>,
}

impl<'a> Parts<'a> {
    /// Of a shape whose frames all end with `tail` bytes.
    pub(super) fn drafted(drafted: &'a Drafted, tail: usize) -> Parts<'a> {
        let fields = drafted.fields.iter().filter(|field| !drafted.broken.contains(&*field.name)).collect();
        let checks = drafted.checks.iter().collect();
        Parts { start: drafted.start.len(), tail, bound: drafted.bound.as_ref(), fields, checks }
    }

    /// Of one that was compiled.
    pub fn of(layout: &Declared, shape: &'a Shape) -> Parts<'a> {
        let (fields, checks) = (shape.fields.iter().collect(), shape.checks.iter().collect());
        let (start, tail) = (shape.start.len(), shape.tail(layout));
        Parts { start, tail, bound: Some(&shape.bound), fields, checks }
    }

    /// What is wrong with them, and how long a frame is at least that has room for all.
    pub fn judge(&self) -> Judged {
        let (spans, floats) = self.spans();
        let ends = self.start + self.tail;
        let fixed = match self.bound {
            Some(Bound::Length { from: From::Start(from), after, .. }) => {
                u64::from(*from) + u64::from(*after)
            }
            _ => 0,
        };
        // What is counted from the beginning stands before what is counted from the end.
        let depth = |from_end: bool| {
            let positions = spans.iter().flat_map(|span| [span.from, &span.to]);
            let positions =
                positions.filter(|pos| pos.from_end == from_end).map(|pos| pos.base.unsigned_abs());
            positions.max().unwrap_or(0)
        };
        let before = depth(false).max(self.start as u64);
        let behind = depth(true).max(self.tail as u64);
        let size = match self.bound {
            Some(Bound::Size(size)) => Some(u64::from(*size)),
            _ => None,
        };
        let apart = if size.is_some() { 0 } else { before + behind };
        let least = spans.iter().map(|span| span.least).chain([ends as u64, fixed, apart]).max().unwrap_or(0);
        let mut wrong = Vec::new();
        if let Some(size) = size {
            for span in spans.iter().filter(|span| span.least > size) {
                let what = format!(
                    "{} is beyond the {size} bytes of the frame (size): it needs {}",
                    span.called, span.least
                );
                wrong.push((span.key.to_string(), what));
            }
            if ends as u64 > size {
                let what = format!("its start and end are longer than its {size} bytes: make size larger");
                wrong.push(("size".into(), what));
            }
        }
        empty(&spans, size, &mut wrong);
        self.apart(size, &mut wrong);
        overlaps(&spans, size, &mut wrong);
        let places =
            self.fields.iter().map(|field| &field.place).chain(self.checks.iter().map(|check| &check.at));
        let from_end = places.filter(|place| place.from.from_end).map(|place| place.from.base.unsigned_abs());
        let behind = from_end.max().unwrap_or(0);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Judged { least: bytes(least), behind: bytes(behind), floats, wrong }
    }

    /// A check does not cover its own place.
    fn apart(&self, size: Option<u64>, wrong: &mut Vec<(String, String)>) {
        let at = |pos: &Pos| match (pos.from_end, size) {
            (true, Some(size)) => (false, size as i64 + pos.base),
            (from_end, _) => (from_end, pos.base),
        };
        for Check { over, at: place, .. } in &self.checks {
            if !over.is_fixed() || !place.from.is_fixed() {
                continue;
            }
            let [(from_end, from), (to_end, to), (at_end, begin)] =
                [&over.from, &over.to, &place.from].map(at);
            let end = begin + place.width().unwrap_or(0) as i64;
            let overlaps = match (from_end, to_end, at_end) {
                (false, false, false) | (true, true, true) => begin < to && end > from,
                (false, true, false) => end > from,
                (false, true, true) => begin < to,
                _ => false,
            };
            if overlaps {
                let what = "the check covers its own place: end its slice before it, or begin behind it";
                wrong.push(("check".into(), what.into()));
            }
        }
    }

    /// Every place of a shape, and whether one depends on the frame.
    fn spans(&self) -> (Vec<Span<'a>>, bool) {
        let mut spans = Vec::new();
        let mut floats = false;
        if let Some(Bound::Length { place, .. }) = self.bound {
            spans.push(span("length", "its length".into(), place, SpanOf::Length));
        }
        for field in &self.fields {
            let masked = field.place.mask != u64::MAX;
            spans.push(span(&field.name, field.name.to_string(), &field.place, SpanOf::Field { masked }));
            floats |= !field.place.is_fixed();
        }
        for check in &self.checks {
            spans.push(span("check", format!("the place of {}", check.name), &check.at, SpanOf::Check));
            let (from, to) = (&check.over.from, &check.over.to);
            let called = format!("what {} covers", check.name);
            spans.push(Span {
                key: "check",
                called,
                from,
                to: to.clone(),
                least: least(from, to),
                kind: SpanOf::Over,
            });
            floats |= !check.at.is_fixed() || !check.over.is_fixed();
        }
        (spans, floats)
    }
}

fn span<'a>(key: &'a str, called: String, place: &'a Place, kind: SpanOf) -> Span<'a> {
    let to = match place.kind {
        Type::Uint { .. } | Type::Varint | Type::DigitsEnded => {
            Pos { base: place.from.base + place.width_min() as i64, ..place.from.clone() }
        }
        _ => place.to.clone(),
    };
    let least = least(&place.from, &to);
    Span { key, called, from: &place.from, to, least, kind }
}

/// The least bytes of a frame that has room from one position up to another.
fn least(from: &Pos, to: &Pos) -> u64 {
    let (before, behind) = (from.base.unsigned_abs(), to.base.unsigned_abs());
    match (from.from_end, to.from_end) {
        (false, false) => before.max(behind),
        (false, true) => before + behind,
        (true, _) => before,
    }
}

/// Places without a byte say nothing of a frame.
fn empty(spans: &[Span<'_>], size: Option<u64>, wrong: &mut Vec<(String, String)>) {
    let at = |pos: &Pos| match (pos.from_end, size) {
        (true, Some(size)) => (false, size as i64 + pos.base),
        (from_end, _) => (from_end, pos.base),
    };
    for span in spans.iter().filter(|span| span.from.plus == span.to.plus && at(span.from) == at(&span.to)) {
        let what = match span.kind {
            SpanOf::Over => format!("{} is empty: give it the slice that is checked", span.called),
            _ => "its place is empty: write a slice of some bytes".into(),
        };
        wrong.push((span.key.into(), what));
    }
}

/// Places that share some of their bytes and not all are a slip of the pen.
fn overlaps(spans: &[Span<'_>], size: Option<u64>, wrong: &mut Vec<(String, String)>) {
    let at = |pos: &Pos| match (pos.from_end, size) {
        (true, Some(size)) => size as i64 + pos.base,
        _ => pos.base,
    };
    let known = |span: &&Span<'_>| span.kind != SpanOf::Over && span.from.is_fixed() && span.to.is_fixed();
    let spans: Vec<&Span<'_>> = spans.iter().filter(known).collect();
    for (index, a) in spans.iter().enumerate() {
        for b in &spans[index + 1..] {
            let sides = [a.from, &a.to, b.from, &b.to].map(|pos| pos.from_end);
            if size.is_none() && sides.iter().any(|side| *side != sides[0]) {
                continue;
            }
            let (a_range, b_range) = (at(a.from)..at(&a.to), at(b.from)..at(&b.to));
            if a_range.start >= b_range.end || b_range.start >= a_range.end {
                continue;
            }
            let is_nested = a_range.start <= b_range.start && b_range.end <= a_range.end
                || b_range.start <= a_range.start && a_range.end <= b_range.end;
            let is_meant = match (a.kind, b.kind) {
                (SpanOf::Check, SpanOf::Check | SpanOf::Length) | (SpanOf::Length, SpanOf::Check) => false,
                (SpanOf::Field { masked: true }, SpanOf::Field { .. })
                | (SpanOf::Field { .. }, SpanOf::Field { masked: true }) => true,
                _ => is_nested,
            };
            if !is_meant {
                let what = format!(
                    "{} overlaps {}: both take byte {}",
                    b.called,
                    a.called,
                    a_range.start.max(b_range.start)
                );
                wrong.push((b.key.into(), format!("{what}; move one of them")));
            }
        }
    }
}

/// Keys that do not go together.
pub(super) fn together(source: &Source<'_>, drafted: &Drafted, report: &mut Report<'_>) {
    let is_until = matches!(drafted.bound, Some(Bound::Until(_)));
    if is_until && source.get("end").is_some() {
        report.problem(source.place("end"), "until says already what stands last: leave end out");
    }
    if drafted.escapes.is_some()
        && let Some(Bound::Length { place, .. }) = &drafted.bound
        && place.width_min() > LENGTH_MAX
    {
        let what = format!("within escapes it has at most {LENGTH_MAX} bytes: leave out its leading zeros");
        report.problem(source.place("length"), what);
    }
}

/// Each shape can be reached: no earlier one begins like it.
pub(super) fn reachable(sources: &[Source<'_>], shapes: &[Drafted], report: &mut Report<'_>) {
    for (later, shape) in shapes.iter().enumerate() {
        let Some(earlier) =
            shapes[..later].iter().position(|earlier| shape.start.starts_with(&earlier.start))
        else {
            continue;
        };
        let is_broken =
            |index: usize| sources[index].get("start").is_some() && shapes[index].start.is_empty();
        if is_broken(earlier) || is_broken(later) {
            continue;
        }
        let (number, start) = (earlier + 1, spaced_hex(&shapes[earlier].start));
        let what = if shape.start.is_empty() {
            "it has no start, as an earlier shape has none: give each but the last its start".to_string()
        } else if shapes[earlier].start.is_empty() {
            format!(
                "it is never reached, since shape {number} has no start: give that one its start, or put it last"
            )
        } else if shapes[earlier].start == shape.start {
            format!(
                "it is never reached, since shape {number} starts with {start}, too, and shapes are told apart by their \
                 first bytes alone: give each a start of its own, or make one shape of both"
            )
        } else {
            format!(
                "it is never reached, since shape {number} starts with {start}: put the longer start first"
            )
        };
        report.problem(sources[later].place("start"), what);
    }
}

/// What a layout must be to look for the next start without end.
pub(super) fn scannable(sources: &[Source<'_>], shapes: &[Drafted], report: &mut Report<'_>) {
    for (source, shape) in sources.iter().zip(shapes) {
        if shape.start.is_empty() && source.get("start").is_none() {
            let what = "on-malformed = \"scan\" looks for the next start, and this shape has none: give it one, or say \"close\"";
            report.problem(source.place("start"), what);
        }
        if shape.escapes.is_some() && shape.floats {
            let what = "with escapes and on-malformed = \"scan\" every place is fixed: write numbers for positions, or say \"close\"";
            report.problem(source.place("unescape"), what);
        }
        if shape.escapes.is_some() != shapes[0].escapes.is_some() {
            let what = "with on-malformed = \"scan\" all shapes have escapes or none: write them above the shapes, or say \"close\"";
            report.problem(source.place("unescape"), what);
        }
        let is_until = |shape: &Drafted| matches!(shape.bound, Some(Bound::Until(_)));
        let (Some(escapes), false) = (&shape.escapes, shape.bound.is_none() || is_until(shape)) else {
            continue;
        };
        if shapes.iter().any(is_until) {
            let what = "with escapes and on-malformed = \"scan\" all shapes have until or none: write it above the shapes, or say \"close\"";
            report.problem(source.place("unescape"), what);
        }
        let is_safe =
            |first: u8| escapes.has_pair_for(first) && !escapes.leads(first) && !escapes.follows(first);
        let firsts = shapes.iter().filter_map(|shape| shape.start.first());
        if let Some(first) = firsts.copied().find(|first| !is_safe(*first)) {
            let what = format!(
                "with a length or size and on-malformed = \"scan\" a pair stands for the {first:02X} that start begins with, \
                 and none has it: add that pair, or say \"close\""
            );
            report.problem(source.place("unescape"), what);
        }
    }
}
