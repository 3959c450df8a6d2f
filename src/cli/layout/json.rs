//! The same as lines of JSON. Bytes are hexadecimal digits, ranges are `[from, to]`.

use std::io::{self, Write};
use std::ops::Range;

use serde_json::{Value, json};

use super::report::{Mends, Totals};
use crate::core::units::hex;
use crate::wire::layout::{Explained, ExplainedField, Hint};

/// As many bytes are shown of what is no frame.
const SHOWN: usize = 64;

pub fn write(value: &Value, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn range(range: &Range<usize>) -> Value {
    json!([range.start, range.end])
}

fn field(field: &ExplainedField) -> Value {
    json!({
        "name": field.name,
        "type": field.kind,
        "at": range(&field.at),
        "bytes": hex(&field.bytes),
        "value": field.value,
        "kept": field.kept,
    })
}

/// A frame, and what would agree where its checks are wrong: those that are hardly so by chance, and others.
pub fn frame(frame: &Explained, mends: &Mends) -> Value {
    let alike = |is_sure| {
        let hints = mends.checks.iter().filter(|hint| hint.is_sure == is_sure);
        hints.map(|hint| hint.lines.clone()).collect::<Vec<_>>()
    };
    let verdict = match (frame.is_right(), frame.is_taken(), frame.checks.is_empty()) {
        (false, ..) => "wrong",
        (true, false, _) => "refused",
        (true, true, true) => "unchecked",
        (true, true, false) => "right",
    };
    let checks: Vec<Value> = frame
        .checks
        .iter()
        .map(|check| {
            json!({
                "is": check.name,
                "over": range(&check.over),
                "at": range(&check.at),
                "bytes": hex(&check.stands),
                "expected": hex(&check.expected),
                "right": check.is_right,
            })
        })
        .collect();
    let answer = |answer: &Option<Result<Vec<u8>, String>>| {
        answer.as_ref().and_then(|answer| answer.as_ref().ok()).map(|bytes| hex(bytes))
    };
    let (taken, refused) = (frame.is_taken(), !frame.is_taken());
    json!({
        "frame": range(&frame.at),
        "shape": frame.shape,
        "verdict": verdict,
        "unescaped": frame.unescaped.as_ref().map(|bytes| hex(bytes)),
        "bounds": frame.frame.iter().map(field).collect::<Vec<_>>(),
        "fields": frame.fields.iter().map(field).collect::<Vec<_>>(),
        "checks": checks,
        "would_agree": alike(true),
        "may_agree": alike(false),
        "would_fit": fits(mends.length.as_ref(), true),
        "may_fit": fits(mends.length.as_ref(), false),
        "publish": frame.publish,
        "topic": frame.topic.as_ref().ok().filter(|_| frame.publish),
        "key": frame.key.as_ref().ok().filter(|_| frame.publish),
        "reply": answer(&frame.reply).filter(|_| taken),
        "refuse": answer(&frame.refuse).filter(|_| refused),
        "refused_because": frame.refused,
    })
}

/// A length that would make frames, if that is hardly so by chance, or if it may be.
fn fits(length: Option<&Hint>, is_sure: bool) -> Option<&str> {
    length.filter(|hint| hint.is_sure == is_sure).map(|hint| &*hint.lines)
}

/// The same of what is no frame.
pub fn with_length(mut found: Value, length: Option<&Hint>) -> Value {
    found["would_fit"] = fits(length, true).into();
    found["may_fit"] = fits(length, false).into();
    found
}

pub fn malformed(at: u64, bytes: &[u8], why: &str, shape: Option<&str>, looks_like: Option<&str>) -> Value {
    let bytes = hex(&bytes[..bytes.len().min(SHOWN)]);
    json!({ "malformed": at, "why": why, "shape": shape, "bytes": bytes, "looks_like": looks_like })
}

pub fn skipped(from: u64, to: u64) -> Value {
    json!({ "skipped": [from, to] })
}

pub fn unfinished(at: u64, bytes: &[u8], least: usize) -> Value {
    let here = bytes.len();
    json!({ "unfinished": at, "has": here, "takes": least, "bytes": hex(&bytes[..here.min(SHOWN)]) })
}

pub fn totals(totals: &Totals) -> Value {
    json!({ "totals": {
        "frames": totals.frames,
        "right": totals.right,
        "unchecked": totals.unchecked,
        "wrong": totals.wrong,
        "refused": totals.refused,
        "malformed": totals.malformed,
        "malformed_counted": totals.counted,
        "skipped_bytes": totals.skipped,
        "unfinished_bytes": totals.unfinished,
        "bytes": totals.bytes,
    }})
}
