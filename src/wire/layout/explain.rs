//! What a frame says, for people: ranges, fields, checks, topic, key and reply.

use std::fmt;
use std::ops::Range;

use super::form::{Bound, Declared, Layout, Shape};
use super::kept::Kept;
use super::place::{Place, Type, View};
use super::spaced_hex;
use super::template::Context;
use crate::core::units::{many, plain};
use crate::wire::digest::Scheme;

/// A frame taken apart.
#[derive(Debug)]
pub struct Explained {
    /// Where it is in its stream.
    pub at: Range<usize>,
    /// The shape, as people call it.
    pub shape: String,
    /// Its bytes without escapes, where they differ.
    pub unescaped: Option<Vec<u8>>,
    /// What its shape is known and cut by: its start, its length and its end, where it has them.
    pub frame: Vec<ExplainedField>,
    /// Its fields, in the order of their places.
    pub fields: Vec<ExplainedField>,
    /// How many bytes the places are of: those of the frame, unescaped.
    pub len: usize,
    /// Its checks.
    pub checks: Vec<ExplainedCheck>,
    /// Whether it is published; else nothing comes of it but its reply.
    pub publish: bool,
    /// Its topic, or why it has none.
    pub topic: Result<String, String>,
    /// Its key, or why it has none.
    pub key: Result<u64, String>,
    /// What is written back when it is right, or why nothing can be.
    pub reply: Option<Result<Vec<u8>, String>>,
    /// What is written back when its check is wrong or it is refused.
    pub refuse: Option<Result<Vec<u8>, String>>,
    /// Why it is refused, where it is right.
    pub refused: Option<String>,
    /// What is known of the connection behind it.
    pub kept: Kept,
}

/// A field of a frame.
#[derive(Debug)]
#[allow(missing_docs, reason = "they are what they are called")]
pub struct ExplainedField {
    pub name: String,
    pub kind: String,
    pub at: Range<usize>,
    pub bytes: Vec<u8>,
    pub value: String,
    pub kept: bool,
}

/// A check of a frame.
#[derive(Debug)]
#[allow(missing_docs, reason = "they are what they are called")]
pub struct ExplainedCheck {
    pub name: String,
    pub over: Range<usize>,
    pub at: Range<usize>,
    pub stands: Vec<u8>,
    /// What would have to stand there.
    pub expected: Vec<u8>,
    pub is_right: bool,
}

impl Explained {
    /// Whether every check agrees.
    pub fn is_right(&self) -> bool {
        self.checks.iter().all(|check| check.is_right)
    }

    /// Whether it is right and nothing of it is refused.
    pub fn is_taken(&self) -> bool {
        self.is_right() && self.refused.is_none()
    }

    /// What is written back as it is: its reply, or where it is not accepted its refusal. Nothing for silence.
    pub fn answer(&self) -> Option<&Result<Vec<u8>, String>> {
        if self.is_taken() { self.reply.as_ref() } else { self.refuse.as_ref() }
    }
}

/// Takes a whole frame apart, which is at `at` in its stream and of a shape that the [`Cutter`](super::Cutter) told.
pub fn explain(
    layout: &Layout,
    shape: usize,
    frame: &[u8],
    at: usize,
    kept: &Kept,
    scheme: &Scheme,
) -> Explained {
    let declared = layout.declared().expect("a format in code says itself what its frames are");
    let of = &declared.shapes[shape];
    let mut lent = Vec::new();
    let view = of.view(declared, frame, &mut lent);
    let range = |range: Option<Range<usize>>| range.unwrap_or(0..0);
    let mut fields: Vec<ExplainedField> = (0u16..)
        .zip(&of.fields)
        .map(|(index, field)| {
            let kept = of.keep.iter().any(|(_, kept)| *kept == index);
            ExplainedField { kept, ..read(&field.name, &field.place, &view) }
        })
        .collect();
    fields.sort_by_key(|field| (field.at.start, field.at.end));
    let checks: Vec<ExplainedCheck> = of
        .checks
        .iter()
        .map(|check| {
            let (over, at) = (range(view.slice(&check.over)), range(view.place(&check.at)));
            let stands = view.bytes[at.clone()].to_vec();
            let mut expected = vec![0; stands.len()];
            check.write(&check.algorithm.of(&view.bytes[over.clone()], scheme), &mut expected);
            ExplainedCheck {
                name: check.name.to_string(),
                over,
                at,
                stands,
                expected,
                is_right: check.is_right(&view, scheme),
            }
        })
        .collect();
    let is_right = checks.iter().all(|check| check.is_right);
    let now = if is_right { kept.with(declared, shape, of, &view) } else { Ok(kept.clone()) };
    let unkept = now.as_ref().err().copied();
    let kept = now.unwrap_or_else(|_| kept.clone());
    let context = Context { layout: declared, shape, view, kept: &kept };
    let frame_bounds = bounds(declared, of, &view);
    let read = Read { at: at..at + frame.len(), frame: frame_bounds, fields, checks, unkept };
    answers(layout, &context, read, scheme)
}

/// What stands at a place.
fn read(name: &str, place: &Place, view: &View<'_>) -> ExplainedField {
    // Of what is no value, the place is empty.
    let at = view.place(place).or_else(|| view.pos(&place.from).map(|at| at..at)).unwrap_or(0..0);
    let mut value = Vec::new();
    let (bytes, kind) = (view.bytes[at.clone()].to_vec(), place.kind);
    let is_value = kind != Type::Bytes && kind.write(&bytes, place.mask, &mut value);
    ExplainedField {
        name: name.into(),
        kind: kind.name(),
        value: match (is_value, kind) {
            (true, _) => String::from_utf8_lossy(&value).into_owned(),
            (false, Type::Bytes) => format!("\"{}\"", bytes.escape_ascii()),
            (false, _) => format!("not {}", kind.name()),
        },
        kept: false,
        at,
        bytes,
    }
}

/// What the shape of a frame is known and cut by.
fn bounds(layout: &Declared, of: &Shape, view: &View<'_>) -> Vec<ExplainedField> {
    let fixed = |name: &str, at: Range<usize>| ExplainedField {
        name: name.into(),
        kind: String::new(),
        value: String::new(),
        kept: false,
        bytes: view.bytes[at.clone()].to_vec(),
        at,
    };
    let len = view.bytes.len();
    let mut bounds = vec![fixed("start", 0..of.start.len())];
    if let Bound::Length { place, .. } = &of.bound {
        bounds.push(read("length", place, view));
    }
    match of.bound {
        Bound::Until(_) => bounds.push(fixed("until", len - of.tail(layout)..len)),
        _ => bounds.push(fixed("end", len - of.end.len()..len)),
    }
    bounds.retain(|bound| !bound.at.is_empty());
    bounds
}

/// What stands in a frame.
struct Read {
    at: Range<usize>,
    frame: Vec<ExplainedField>,
    fields: Vec<ExplainedField>,
    checks: Vec<ExplainedCheck>,
    /// Why what it makes known cannot be kept.
    unkept: Option<super::Refusal>,
}

fn answers(layout: &Layout, context: &Context<'_>, read: Read, scheme: &Scheme) -> Explained {
    let View { shape: of, bytes } = context.view;
    let Read { at, frame, fields, checks, unkept } = read;
    let mut lent = Vec::new();
    let mut topic = Vec::new();
    let is_right = checks.iter().all(|check| check.is_right);
    let say = |refusal: super::Refusal| refusal.say(layout);
    let topic = context.topic(&mut topic).map(|()| String::from_utf8_lossy(&topic).into_owned()).map_err(say);
    let key = context.key(&mut lent).map_err(say);
    let mut answer = |reply: &Option<super::template::Reply>| {
        reply.as_ref().map(|reply| {
            let mut out = Vec::new();
            context.reply(reply, scheme, &mut lent, &mut out).map(|()| out).map_err(say)
        })
    };
    let (reply, refuse) = (answer(&of.reply), answer(&of.refuse));
    let published = [key.as_ref().err(), topic.as_ref().err()].into_iter().flatten().next();
    let refused = unkept
        .map(say)
        .or_else(|| published.filter(|_| of.publish).cloned())
        .or_else(|| reply.as_ref().and_then(|reply| reply.as_ref().err()).cloned());
    Explained {
        at,
        shape: layout.shape_name(context.shape),
        unescaped: of.escapes.is_some().then(|| bytes.to_vec()),
        frame,
        fields,
        len: bytes.len(),
        checks,
        publish: of.publish,
        topic,
        key,
        reply,
        refuse,
        refused: refused.filter(|_| is_right),
        kept: context.kept.clone(),
    }
}

/// As many bytes of a field are shown.
const SHOWN: usize = 16;

fn cut_hex(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { " …" } else { "" };
    spaced_hex(&bytes[..bytes.len().min(SHOWN)]) + more
}

impl fmt::Display for Explained {
    /// Lines for a terminal: ranges aligned, then fields by name with their bytes and values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.at;
        let verdict = match (self.is_taken(), self.is_right(), self.checks.is_empty()) {
            (_, false, _) => "the check is wrong",
            (false, true, _) => "refused",
            (true, true, true) => "not checked",
            (true, true, false) => "right",
        };
        writeln!(f, "{start}..{end}  {}, {}: {verdict}", many((end - start) as u64, "byte"), self.shape)?;
        if let Some(bytes) = &self.unescaped {
            writeln!(f, "  unescaped, {}: {}", many(bytes.len() as u64, "byte"), cut_hex(bytes))?;
        }
        let rows = self.rows();
        let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max();
        let [a, b, c, d] = [
            width(|row| &row.range),
            width(|row| &row.name),
            width(|row| &row.kind),
            width(|row| &row.bytes),
        ]
        .map(Option::unwrap_or_default);
        for Row { range, name, kind, bytes, value, .. } in &rows {
            let line = format!("  {range:>a$}  {name:b$}  {kind:c$}  {bytes:d$}  {value}");
            writeln!(f, "{}", line.trim_end())?;
        }
        match (&self.refused, &self.topic, &self.key) {
            (Some(why), ..) => writeln!(f, "  refused: {why}")?,
            (None, ..) if !self.publish => writeln!(f, "  not published")?,
            (None, Ok(topic), Ok(key)) if self.is_right() => writeln!(f, "  topic {topic}  key {key}")?,
            (None, Ok(topic), Ok(key)) => {
                writeln!(f, "  dropped; if it were right: topic {topic}  key {key}")?
            }
            (None, Err(why), _) | (None, _, Err(why)) => {
                writeln!(f, "  dropped; if it were right, refused: {why}")?
            }
        }
        let name = if self.is_taken() { "reply" } else { "refuse" };
        match self.answer() {
            Some(Ok(bytes)) => writeln!(f, "  {name:6} {}", spaced_hex(bytes)),
            Some(Err(why)) => writeln!(f, "  {name:6} none: {why}"),
            None => Ok(()),
        }
    }
}

/// A line of what is shown of a frame.
struct Row {
    at: Range<usize>,
    range: String,
    name: String,
    kind: String,
    bytes: String,
    value: String,
}

impl Explained {
    /// All that is declared of the frame, in the order of the bytes, and the bytes of which nothing is.
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut row = |at: &Range<usize>, name: &str, kind: &str, bytes: String, value: String| {
            let range = show(at);
            rows.push(Row { at: at.clone(), range, name: name.into(), kind: kind.into(), bytes, value });
        };
        for field in self.frame.iter().chain(&self.fields) {
            let kept = if field.kept { " (kept)" } else { "" };
            let value = format!("{}{kept}", cut_text(&field.value));
            row(&field.at, &field.name, &field.kind, cut_hex(&field.bytes), value);
        }
        for check in &self.checks {
            let over = show(&check.over);
            let value = match check.is_right {
                true => format!("right, over {over}"),
                false => format!("wrong, over {over}: would be {}", spaced_hex(&check.expected)),
            };
            row(&check.at, "check", &check.name, spaced_hex(&check.stands), value);
        }
        rows.sort_by_key(|row| (row.at.start, row.at.end));
        let mut gaps = Vec::new();
        let mut covered = 0;
        for row in rows.iter().map(|row| row.at.clone()).chain(std::iter::once(self.len..self.len)) {
            if row.start > covered {
                gaps.push(covered..row.start);
            }
            covered = covered.max(row.end);
        }
        for at in gaps {
            let (bytes, value) = (many((at.end - at.start) as u64, "byte"), String::new());
            let range = show(&at);
            rows.push(Row { at, range, name: "-".into(), kind: String::new(), bytes, value });
        }
        rows.sort_by_key(|row| (row.at.start, row.at.end));
        rows
    }
}

/// As many characters of a value are shown.
const SHOWN_TEXT: usize = 64;

fn cut_text(text: &str) -> String {
    match text.char_indices().nth(SHOWN_TEXT) {
        Some((at, _)) => format!("{} …", plain(&text[..at])),
        None => plain(text),
    }
}

fn show(range: &Range<usize>) -> String {
    format!("{}..{}", range.start, range.end)
}
