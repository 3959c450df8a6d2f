//! What a frame says, for people: ranges, fields, checks, topic, key and reply.

use std::fmt::{self, Write as _};
use std::ops::Range;

use super::form::Layout;
use super::kept::Kept;
use super::place::{Type, View};
use super::spaced_hex;
use super::template::Context;
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
    /// Its fields, in the order of their places.
    pub fields: Vec<ExplainedField>,
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
        let published = !self.publish || self.topic.is_ok() && self.key.is_ok();
        self.is_right() && published && !matches!(self.reply, Some(Err(_)))
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
    let of = &layout.shapes[shape];
    let mut lent = Vec::new();
    let view = of.view(layout, frame, &mut lent);
    let range = |range: Option<Range<usize>>| range.unwrap_or(0..0);
    let mut fields: Vec<ExplainedField> = (0u16..)
        .zip(&of.fields)
        .map(|(index, field)| {
            let at = range(view.place(&field.place));
            let mut value = Vec::new();
            let bytes = view.bytes[at.clone()].to_vec();
            let kind = field.place.kind;
            let is_value = kind != Type::Bytes && kind.write(&bytes, field.place.mask, &mut value);
            ExplainedField {
                name: field.name.to_string(),
                kind: kind.name(),
                value: match (is_value, kind) {
                    (true, _) => String::from_utf8_lossy(&value).into_owned(),
                    (false, Type::Bytes) => format!("\"{}\"", bytes.escape_ascii()),
                    (false, _) => format!("not {}", kind.name()),
                },
                kept: of.keep.iter().any(|(_, kept)| *kept == index),
                at,
                bytes,
            }
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
    let now = if is_right { kept.with(shape, of, &view) } else { None };
    let kept = now.unwrap_or_else(|| kept.clone());
    answers(&Context { layout, shape, view, kept: &kept }, fields, checks, scheme, at..at + frame.len())
}

fn answers(
    context: &Context<'_>,
    fields: Vec<ExplainedField>,
    checks: Vec<ExplainedCheck>,
    scheme: &Scheme,
    at: Range<usize>,
) -> Explained {
    let (layout, View { shape: of, bytes }) = (context.layout, context.view);
    let mut lent = Vec::new();
    let mut topic = Vec::new();
    let say = |refusal: super::Refusal| refusal.say(layout);
    let topic = context.topic(&mut topic).map(|()| String::from_utf8_lossy(&topic).into_owned()).map_err(say);
    let key = context.key(&mut lent).map_err(say);
    let mut answer = |reply: &Option<super::template::Reply>| {
        reply.as_ref().map(|reply| {
            let mut out = Vec::new();
            context.reply(reply, scheme, &mut lent, &mut out).map(|()| out).map_err(say)
        })
    };
    Explained {
        at,
        shape: layout.shape_name(context.shape),
        unescaped: of.escapes.is_some().then(|| bytes.to_vec()),
        fields,
        checks,
        publish: of.publish,
        topic,
        key,
        reply: answer(&of.reply),
        refuse: answer(&of.refuse),
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
        writeln!(f, "{start}..{end}  {} bytes, {}: {verdict}", end - start, self.shape)?;
        if let Some(bytes) = &self.unescaped {
            writeln!(f, "  unescaped, {} bytes: {}", bytes.len(), cut_hex(bytes))?;
        }
        let mut rows = Vec::new();
        for field in &self.fields {
            let kept = if field.kept { " (kept)" } else { "" };
            let last = format!("{}{kept}", field.value);
            rows.push([show(&field.at), field.name.clone(), field.kind.clone(), cut_hex(&field.bytes), last]);
        }
        for check in &self.checks {
            let mut last = String::new();
            match check.is_right {
                true => write!(last, "right, over {}", show(&check.over))?,
                false => {
                    write!(last, "wrong, over {}: would be {}", show(&check.over), cut_hex(&check.expected))?
                }
            }
            rows.push([show(&check.at), "check".into(), check.name.clone(), cut_hex(&check.stands), last]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        for [at, name, kind, bytes, value] in &rows {
            let [a, b, c, d] = widths;
            writeln!(f, "  {at:>a$}  {name:b$}  {kind:c$}  {bytes:d$}  {value}")?;
        }
        match (&self.topic, &self.key, self.publish) {
            (_, _, false) => writeln!(f, "  not published")?,
            (Ok(topic), Ok(key), true) => writeln!(f, "  topic {topic}  key {key}")?,
            (Err(why), _, true) | (_, Err(why), true) => writeln!(f, "  refused: {why}")?,
        }
        for (name, answer) in [("reply", &self.reply), ("refuse", &self.refuse)] {
            match answer {
                Some(Ok(bytes)) => writeln!(f, "  {name:6} {}", spaced_hex(bytes))?,
                Some(Err(why)) => writeln!(f, "  {name:6} none: {why}")?,
                None => {}
            }
        }
        Ok(())
    }
}

fn show(range: &Range<usize>) -> String {
    format!("{}..{}", range.start, range.end)
}
