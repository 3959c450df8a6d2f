//! Topics, keys and replies of all shapes, once it is known what each keeps; and the layout of it all.

use memchr::memmem::Finder;

use super::covered::{Uncovered, uncovered};
use super::shape::{Drafted, LayoutDraft, unknown_field};
use super::table::{Source, called, string};
use super::text::{self, RawPiece};
use crate::wire::check_topic;
use crate::wire::layout::check::Algorithm;
use crate::wire::layout::form::{Declared, Field, Layout, Made, Shape};
use crate::wire::layout::kept::KEPT_VALUE_MAX;
use crate::wire::layout::place::{Place, Type};
use crate::wire::layout::template::{
    Part, Piece, REPLY_MAX, Reply, Show, Source as From, TOPIC_MAX, Template,
};
use crate::wire::toml_file::Report;

/// The layout, if nothing was wrong that keeps it from being made.
pub(super) fn compile(
    draft: LayoutDraft<'_>,
    sources: &[Source<'_>],
    shapes: Vec<Drafted>,
    report: &mut Report<'_>,
) -> Option<Layout> {
    let answers: Vec<Answers> = (0..shapes.len())
        .map(|index| Answering { draft: &draft, sources, shapes: &shapes, index, report }.all())
        .collect();
    let topic_max = answers.iter().map(|answers| answers.topic_max).max().unwrap_or(0);
    let answers_max = answers.iter().map(|answers| answers.answers_max).max().unwrap_or(0);
    let needs_secret =
        |check: &crate::wire::layout::check::Check| matches!(check.algorithm, Algorithm::HmacSha256);
    let needs_secret = shapes.iter().any(|shape| shape.checks.iter().any(needs_secret));
    let mut firsts = Box::new([false; 256]);
    for shape in &shapes {
        match shape.start.first() {
            Some(first) => firsts[usize::from(*first)] = true,
            None => firsts.fill(true),
        }
    }
    let start_max = shapes.iter().map(|shape| shape.start.len()).max().unwrap_or(0);
    let shapes = shapes.into_iter().zip(answers).map(|(shape, answers)| {
        Some(Shape {
            start: shape.start.into(),
            end: shape.end.into(),
            bound: shape.bound?,
            escapes: shape.escapes,
            least: shape.least,
            behind: shape.behind,
            floats: shape.floats,
            fields: shape.fields.into(),
            checks: shape.checks.into(),
            keep: shape.keep.into(),
            publish: shape.publish,
            topic: answers.topic,
            key: answers.key,
            reply: answers.reply,
            refuse: answers.refuse,
        })
    });
    let declared = Declared {
        shapes: shapes.collect::<Option<_>>()?,
        scans: draft.scans,
        untils: draft.untils.iter().map(|until| Finder::new(until).into_owned()).collect(),
        kept: draft.kept.iter().map(|name| name.as_str().into()).collect(),
        firsts,
        start_max,
        needs_secret,
    };
    let topic_max = topic_max.min(TOPIC_MAX);
    Some(Layout { name: draft.name.into(), topic_max, answers_max, made: Made::Declared(declared) })
}

#[derive(Default)]
struct Answers {
    topic: Template,
    key: Template,
    reply: Option<Reply>,
    refuse: Option<Reply>,
    topic_max: usize,
    answers_max: usize,
}

/// A shape whose templates are read.
struct Answering<'a, 'b, 't> {
    draft: &'a LayoutDraft<'a>,
    sources: &'a [Source<'a>],
    shapes: &'a [Drafted],
    index: usize,
    report: &'b mut Report<'t>,
}

/// A field that a template may mean: the shape that has it, and what it is there.
type Meant<'a> = (usize, &'a Field);

impl<'a> Answering<'a, '_, '_> {
    fn all(&mut self) -> Answers {
        let mut answers = Answers::default();
        if self.shape().publish {
            self.topic(&mut answers);
            self.key(&mut answers);
        }
        (answers.reply, answers.refuse) = (self.reply("reply"), self.reply("refuse"));
        let escaped = if self.shape().escapes.is_some() { 2 } else { 1 };
        let longest = |reply: &Option<Reply>| reply.as_ref().map_or(0, |reply| self.longest(reply) * escaped);
        answers.answers_max = longest(&answers.reply) + longest(&answers.refuse);
        answers
    }

    fn shape(&self) -> &'a Drafted {
        &self.shapes[self.index]
    }

    fn source(&self) -> &'a Source<'a> {
        &self.sources[self.index]
    }

    fn problem(&mut self, key: &str, what: impl Into<String>) {
        self.report.problem(self.sources[self.index].place(key), what);
    }

    /// The text of a key; none where it is not said, or is not text.
    fn text(&mut self, key: &str) -> Option<&'a str> {
        let entry = self.source().get(key)?;
        let text = string(entry.value);
        if text.is_none() {
            self.problem(key, format!("it is {}: write text, as in {key} = \"…\"", called(entry.value)));
        }
        text
    }

    /// The field with a name: in the frame, or kept.
    fn find(&mut self, key: &str, name: &str) -> Option<From> {
        let shape = self.shape();
        if shape.broken.contains(name) {
            return None;
        }
        if let Some(at) = shape.fields.iter().position(|field| &*field.name == name) {
            return Some(From::Own(at as u16));
        }
        if let Some(slot) = self.draft.kept.iter().position(|kept| kept == name) {
            return Some(From::Kept(slot as u8));
        }
        if self.shapes.iter().any(|shape| shape.broken.contains(name)) {
            return None;
        }
        let has = |shape: &Drafted| shape.fields.iter().any(|field| &*field.name == name);
        let what = match self.shapes.iter().position(has) {
            Some(other) => format!(
                "unknown field {name}: shape {} has it and does not keep it: write keep = [\"{name}\"] there, or declare it here",
                other + 1
            ),
            None if matches!(name, "seal" | "check" | "length") => not_a_field(name, key),
            None => {
                let own = shape.fields.iter().map(|field| &*field.name);
                unknown_field(name, own.chain(self.draft.kept.iter().map(String::as_str)), "of this shape")
            }
        };
        self.problem(key, what);
        None
    }

    /// What a source may stand for: the field itself, or all that set a kept one.
    fn meant(&self, from: From) -> Vec<Meant<'a>> {
        match from {
            From::Own(field) => vec![(self.index, &self.shape().fields[usize::from(field)])],
            From::Kept(slot) => {
                let setters = self.shapes.iter().enumerate().flat_map(|(index, shape)| {
                    let set = shape.keep.iter().filter(move |(of, _)| *of == slot);
                    set.map(move |(_, field)| (index, &shape.fields[usize::from(*field)]))
                });
                setters.collect()
            }
        }
    }

    fn pieces(&mut self, key: &str, text: &str) -> Option<Vec<Piece>> {
        let raw = match text::template(text) {
            Ok(raw) => raw,
            Err(wrong) => {
                self.problem(key, wrong);
                return None;
            }
        };
        let mut pieces = Some(Vec::new());
        for piece in raw {
            let piece = match piece {
                RawPiece::Text(text) => Some(Piece::Text(text.into())),
                RawPiece::Field(name, format) => {
                    let format =
                        text::format(format.as_deref()).map_err(|wrong| self.problem(key, wrong)).ok();
                    self.find(key, &name).zip(format).and_then(|(from, format)| {
                        let is_bytes =
                            self.meant(from).iter().any(|(_, field)| field.place.kind == Type::Bytes);
                        if format == Show::Int && is_bytes {
                            self.problem(
                                key,
                                format!("{name} is bytes and has no decimal: write {{{name}:hex}}"),
                            );
                            return None;
                        }
                        self.covered(key, &name, from);
                        Some(Piece::Field(from, format))
                    })
                }
            };
            match (piece, &mut pieces) {
                (Some(piece), Some(pieces)) => pieces.push(piece),
                _ => pieces = None,
            }
        }
        pieces
    }

    /// Warns of a topic or key that anyone could have written.
    fn covered(&mut self, key: &str, name: &str, from: From) {
        for (index, field) in self.meant(from) {
            let shape = &self.shapes[index];
            let tail = self.draft.tail(shape);
            let Some(by) = uncovered(shape, tail, &field.place).filter(|_| shape.are_checks_known) else {
                continue;
            };
            let makes = format!("so that a flipped bit makes another {key}");
            let what = match by {
                _ if shape.checks.is_empty() => {
                    format!("its shape has no check, so that anyone can write any {key} of it")
                }
                Uncovered::Itself => format!("no check covers it, {makes}"),
                Uncovered::By(of) => {
                    let of = &shape.fields[usize::from(of)].name;
                    format!("no check covers {of}, which says where it stands, {makes}")
                }
            };
            let what = format!("{name} is not verified: {what}");
            self.report.warn(self.sources[index].place(name), what);
        }
    }

    fn topic(&mut self, answers: &mut Answers) {
        if self.source().get("topic").is_none() {
            return self
                .problem("topic", "nothing says the topic of its frames: write topic, or publish = false");
        }
        let Some(text) = self.text("topic") else { return };
        let Some(pieces) = self.pieces("topic", text) else { return };
        if pieces.is_empty() {
            return self.problem("topic", "it is empty: write a topic, or publish = false");
        }
        let sample: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Field(..) => "x",
            })
            .collect();
        if let Err(wrong) = check_topic(sample.as_bytes()) {
            return self.problem("topic", format!("{wrong}: write tokens between single dots"));
        }
        if sample.len() > TOPIC_MAX {
            return self.problem("topic", format!("it is longer than {TOPIC_MAX} bytes: shorten it"));
        }
        let longest = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Field(from, format) => {
                let meant = self.meant(*from);
                meant.iter().map(|(_, field)| shown_max(&field.place, *format)).max().unwrap_or(0)
            }
        };
        answers.topic_max = pieces.iter().map(longest).sum();
        answers.topic = Template(pieces.into());
    }

    fn key(&mut self, answers: &mut Answers) {
        let Some(text) = self.text("key") else { return };
        let Some(pieces) = self.pieces("key", text) else { return };
        if pieces.is_empty() {
            return self.problem("key", "it is empty: write a field, or leave it out");
        }
        // The greatest that it may be, as far as the declaration says.
        let mut most = 0;
        for piece in &pieces {
            let more = match piece {
                Piece::Text(text) if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let what =
                        format!("{text:?} is no number, and a key is one of 64 bits: put it into the topic");
                    return self.problem("key", what);
                }
                Piece::Text(text) => Most { digits: text.len(), value: text.parse().unwrap_or(u128::MAX) },
                Piece::Field(_, Show::Hex) => {
                    return self.problem(
                        "key",
                        "hexadecimal is no key, which is a number: write {field} or {field:int}",
                    );
                }
                Piece::Field(from, _) => match self.key_most(*from) {
                    Some(most) => most,
                    None => return,
                },
            };
            let shift = u32::try_from(more.digits).ok().and_then(|digits| 10u128.checked_pow(digits));
            most = shift.unwrap_or(u128::MAX).saturating_mul(most).saturating_add(more.value);
        }
        if most > u128::from(u64::MAX) {
            let (is, mend) = match pieces[..] {
                [Piece::Text(_)] => ("is", "write a smaller one"),
                _ => ("may be", "leave a part of it out, or put it into the topic"),
            };
            let what = format!("it {is} larger than a key can be, {} (64 bits): {mend}", u64::MAX);
            return self.problem("key", what);
        }
        answers.key = Template(pieces.into());
    }

    /// The greatest that a field may be in a key, as far as the declaration says; `None` if it cannot be in one.
    fn key_most(&mut self, from: From) -> Option<Most> {
        let mut greatest = Most::default();
        for (_, field) in self.meant(from) {
            let (name, width) = (&field.name, field.place.width());
            let put = "put it into the topic";
            let digits = |digits: usize| Most { digits, value: 10u128.pow(digits as u32) - 1 };
            let (most, wrong) = match (field.place.kind, width) {
                (Type::Bytes, _) => {
                    let what = format!("{name} is bytes and no number: declare it as an integer, or {put}");
                    (Most::default(), Some(what))
                }
                (Type::Bcd, Some(width)) if width > 9 => {
                    let what =
                        format!("{name} has {} digits and a key has 64 bits, 19 digits: {put}", 2 * width);
                    (Most::default(), Some(what))
                }
                (Type::Digits, Some(width)) if width > 19 => {
                    let what = format!("{name} has {width} digits and a key has 64 bits, 19 digits: {put}");
                    (Most::default(), Some(what))
                }
                (Type::Hex, Some(width)) if width > 16 => {
                    let what = format!(
                        "{name} has {width} hexadecimal digits and a key has 64 bits, 16 of them: {put}"
                    );
                    (Most::default(), Some(what))
                }
                (Type::Text, Some(width)) if width > 20 => {
                    let what =
                        format!("{name} has {width} characters and a key has 64 bits, 19 digits: {put}");
                    (Most::default(), Some(what))
                }
                (Type::Text, Some(width)) if width > 16 => {
                    let what = format!(
                        "a key is a number: frames whose {name} is not all digits (a VIN is not) are refused; else {put}"
                    );
                    self.report.warn(self.sources[self.index].place("key"), what);
                    (Most::default(), None)
                }
                (Type::Uint { bytes, .. }, _) => {
                    let value = u128::from(u64::MAX >> (64 - 8 * u32::from(bytes)) & field.place.mask);
                    (Most { digits: value.to_string().len(), value }, None)
                }
                (Type::Bcd, Some(width)) => (digits(2 * width), None),
                (Type::Digits, Some(width)) => (digits(width), None),
                // What it is, the frame says: where it is too large, that is refused.
                _ => (Most::default(), None),
            };
            if let Some(wrong) = wrong {
                self.problem("key", wrong);
                return None;
            }
            if greatest.digits <= most.digits {
                greatest = Most { value: most.value.max(greatest.value), ..most };
            }
        }
        Some(greatest)
    }

    fn reply(&mut self, key: &str) -> Option<Reply> {
        let text = self.text(key)?;
        let raw = text::template(text).map_err(|wrong| self.problem(key, wrong)).ok()?;
        let (mut parts, mut seals, mut is_right) = (Vec::new(), 0, true);
        for piece in raw {
            let part = match piece {
                RawPiece::Text(text) => match text::bytes(&text) {
                    Ok(bytes) if bytes.is_empty() => continue,
                    Ok(bytes) => Some(Part::Bytes(bytes.into())),
                    Err(wrong) => {
                        self.problem(key, wrong);
                        None
                    }
                },
                RawPiece::Field(name, None) if name == "seal" => {
                    seals += 1;
                    self.seal(key, seals)
                }
                RawPiece::Field(name, Some(_)) if name == "seal" => {
                    self.problem(key, "{seal} is the layout's check, as wide as its place: write {seal}");
                    None
                }
                RawPiece::Field(name, format) => self.part(key, &name, format.as_deref()),
            };
            is_right &= part.is_some();
            parts.extend(part);
        }
        if !is_right {
            return None;
        }
        let reply = Reply(parts.into());
        if seals > 0 && seals != self.shape().checks.len() {
            let checks = self.shape().checks.len();
            self.problem(
                key,
                format!(
                    "it has {seals} of the layout's {checks} checks: write {{seal}} for each, in their order"
                ),
            );
            return None;
        }
        let shortest = self.shortest(&reply);
        if seals > 0 {
            for check in &self.shape().checks {
                if !check.over.is_fixed() || check.over.least() > shortest {
                    let why = if check.over.is_fixed() {
                        "is not within the reply"
                    } else {
                        "depends on the frame"
                    };
                    let what = format!(
                        "{{seal}} covers the slice of the check, and that {why}: write its bytes out"
                    );
                    self.problem(key, what);
                    return None;
                }
            }
        }
        if shortest > REPLY_MAX {
            self.problem(key, format!("it has {shortest} bytes: a reply has at most {REPLY_MAX}"));
            return None;
        }
        if reply.0.is_empty() {
            self.problem(key, "it is empty: write bytes, or leave it out for silence");
            return None;
        }
        Some(reply)
    }

    fn seal(&mut self, key: &str, number: usize) -> Option<Part> {
        if !self.shape().are_checks_known {
            return None;
        }
        if self.shape().checks.is_empty() {
            self.problem(key, "{seal} is the layout's check, and this shape has none: write its bytes out");
            return None;
        }
        // One too many is said once all are counted.
        let check = self.shape().checks.get(number - 1).or(self.shape().checks.last())?;
        Some(Part::Seal(u8::try_from(check.at.width()?).ok()?))
    }

    fn part(&mut self, key: &str, name: &str, format: Option<&str>) -> Option<Part> {
        let from = self.find(key, name)?;
        let Some(format) = format else { return Some(Part::Field(from)) };
        let Some(Type::Uint { bytes, little }) = text::kind(format) else {
            let what = format!(
                "unknown type {format:?}: write {{{name}}} for its bytes, or {{{name}:u32}} for its value"
            );
            self.problem(key, what);
            return None;
        };
        for (_, field) in self.meant(from) {
            let place = &field.place;
            let most = match place.kind {
                Type::Bytes => {
                    self.problem(key, format!("{name} is bytes and no number: write {{{name}}}"));
                    return None;
                }
                Type::Uint { bytes, .. } => u64::MAX >> (64 - 8 * u32::from(bytes)) & place.mask,
                _ => 0,
            };
            if bytes < 8 && most >> (8 * bytes) != 0 {
                let what = format!(
                    "{name} is {} and may not fit in {format}: write a wider type",
                    place.kind.name()
                );
                self.problem(key, what);
                return None;
            }
        }
        Some(Part::Number(from, bytes, little))
    }

    fn shortest(&self, reply: &Reply) -> usize {
        self.sum(reply, |place| place.width_min(), |a, b| a.min(b))
    }

    fn longest(&self, reply: &Reply) -> usize {
        let width = |place: &Place| place.width().unwrap_or(REPLY_MAX);
        self.sum(reply, width, |a, b| a.max(b)).min(REPLY_MAX)
    }

    fn sum(
        &self,
        reply: &Reply,
        width: impl Fn(&Place) -> usize,
        join: impl Fn(usize, usize) -> usize,
    ) -> usize {
        let part = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Number(_, bytes, _) | Part::Seal(bytes) => usize::from(*bytes),
            Part::Field(from) => {
                let meant = self.meant(*from);
                meant.iter().map(|(_, field)| width(&field.place)).reduce(&join).unwrap_or(KEPT_VALUE_MAX)
            }
        };
        reply.0.iter().map(part).sum()
    }
}

/// What is said of keys of the language that are taken for fields.
fn not_a_field(name: &str, key: &str) -> String {
    let mend = match (name, key) {
        ("length", _) => "declare one at its place, as in len = \"u16 @ 2\", and write {len}",
        (_, "reply" | "refuse") => {
            "{seal} is the check of the reply; for the one that came declare a field at its place, as in sum = \"u16 @ -2\""
        }
        _ => "declare a field at the place of the check, as in sum = \"u16 @ -2\", and write {sum}",
    };
    format!("{name} is not a field: {mend}")
}

/// The greatest that a part of a key may be.
#[derive(Clone, Copy, Default)]
struct Most {
    digits: usize,
    value: u128,
}

/// The most bytes that a field takes in a topic.
fn shown_max(place: &Place, format: Show) -> usize {
    let width = place.width().unwrap_or(TOPIC_MAX);
    match (place.kind, format) {
        (_, Show::Hex) | (Type::Bcd, _) => 2 * width,
        (Type::Uint { bytes, .. }, _) => [0, 3, 5, 8, 10, 0, 0, 0, 20][usize::from(bytes)],
        (Type::Varint | Type::DigitsEnded, _) => 20,
        (Type::Digits | Type::Hex, _) => width,
        (Type::Text | Type::Bytes, _) => 3 * width,
    }
}
