//! The report of `send`, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::client::Report;
use crate::core::units::{bytes, grouped, many, plain, rate, seconds as took};

/// One line: `sent 1,234,567 frames, 98.2 MB in 1.93 s (640,000 frames/s): OK 1,234,567`.
pub fn text(report: &Report, seconds: f64) -> String {
    let mut line =
        format!("sent {}, {} in {}", many(report.frames, "frame"), bytes(report.bytes), took(seconds));
    if report.frames > 1 {
        let _ = write!(line, " ({} frames/s)", grouped(rate(report.frames, seconds)));
    }
    let mut parts = Vec::new();
    for (status, count, reason) in report.answers.iter() {
        let reason = reason.map_or(String::new(), |reason| format!(" ({})", plain(reason)));
        parts.push(format!("{status} {}{reason}", grouped(count)));
    }
    for (count, what) in [
        (report.unanswered, "without an answer"),
        (report.unsent, "not sent"),
        (report.unconfirmed, "unconfirmed (the connection they were written to was lost)"),
        (report.unasked, "read by the gateway; they ask for no reply, so what became of them is not known"),
        (report.resent, "sent again"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    }
    for (index, part) in parts.iter().enumerate() {
        let _ = write!(line, "{}{part}", if index == 0 { ": " } else { ", " });
    }
    match report.answers.unmatched() {
        0 => {}
        1 => line += "; 1 frame matched no subscriber and no sink: nobody has it",
        lost => {
            let _ =
                write!(line, "; {} frames matched no subscriber and no sink: nobody has them", grouped(lost));
        }
    }
    line
}

/// The same as one JSON object.
pub fn json(report: &Report, seconds: f64) -> String {
    let mut statuses = Map::new();
    let mut reasons = Map::new();
    for (status, count, reason) in report.answers.iter() {
        statuses.insert(status.name().to_string(), count.into());
        if let Some(reason) = reason {
            reasons.insert(status.name().to_string(), reason.into());
        }
    }
    json!({
        "frames": report.frames,
        "bytes": report.bytes,
        "seconds": seconds,
        "frames_per_s": rate(report.frames, seconds),
        "statuses": Value::Object(statuses),
        "reasons": Value::Object(reasons),
        "unmatched": report.answers.unmatched(),
        "unanswered": report.unanswered,
        "unsent": report.unsent,
        "unconfirmed": report.unconfirmed,
        "unasked": report.unasked,
        "resent": report.resent,
        "error": report.error.as_ref().map(ToString::to_string),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Answers;
    use crate::wire::Status;

    fn report() -> Report {
        Report {
            frames: 1_234_567,
            bytes: 98_200_000,
            answers: Answers::default(),
            unanswered: 0,
            unsent: 0,
            unconfirmed: 0,
            unasked: 0,
            resent: 0,
            error: None,
        }
    }

    #[test]
    fn what_is_not_done_is_said() {
        assert_eq!(text(&report(), 2.0), "sent 1,234,567 frames, 98.2 MB in 2.00 s (617,283 frames/s)");
        let bad = Report { frames: 1, unanswered: 1, resent: 2, ..report() };
        assert_eq!(text(&bad, 1.0), "sent 1 frame, 98.2 MB in 1.00 s: 1 without an answer, 2 sent again");
        let mut answers = Answers::default();
        answers.add(Status::Rejected, b"it's no 'utf-8' \x1b[2J\n");
        let refused = Report { answers, ..report() };
        assert!(
            text(&refused, 1.0).ends_with("REJECTED 1 (it's no 'utf-8' \\u{1b}[2J\\n)"),
            "{}",
            text(&refused, 1.0)
        );
        let unasked = Report { unasked: 3, ..report() };
        assert!(text(&unasked, 1.0).ends_with(
            ": 3 read by the gateway; they ask for no reply, so what became of them is not known"
        ));
        let parsed: Value = serde_json::from_str(&json(&bad, 1.0)).unwrap();
        assert_eq!((&parsed["unanswered"], &parsed["error"]), (&json!(1), &Value::Null));
    }
}
