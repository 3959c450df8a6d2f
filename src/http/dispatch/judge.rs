//! What an answer means for its request.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::core::limits::{DISPATCH_ANSWER_MAX, DISPATCH_QUOTE_MAX};
use crate::http::wire::status_text;

/// An answer, as far as it counts.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Where it says that it has moved to.
    pub location: Option<&'a str>,
    /// The body, or the beginning of it.
    pub body: &'a [u8],
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// What an answer means for its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server has it.
    Stored,
    /// Another try may do better, not before so long.
    Again(Reason, Option<Duration>),
    /// The server does not want it.
    Failed(Reason),
}

/// Why a request was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What it is counted under, in a few words.
    pub kind: String,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// The kind and what the server said, in one line.
    pub text: String,
}

/// What the JSON of an answer must hold beside a 2xx: a field, its parents before it, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OkWhen {
    path: Vec<String>,
    value: String,
}

impl Reason {
    /// A reason without an answer.
    pub fn of(kind: impl Into<String>, text: impl Into<String>) -> Reason {
        Reason { kind: kind.into(), status: None, text: text.into() }
    }

    fn said(answer: &Answer<'_>, kind: String) -> Reason {
        let quote = quote(answer.body);
        let text = if quote.is_empty() { kind.clone() } else { format!("{kind}: {quote}") };
        Reason { kind, status: Some(answer.status), text }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Judges an answer.
pub fn judge(answer: &Answer<'_>, ok_when: Option<&OkWhen>) -> Verdict {
    let named = status_text(answer.status);
    match answer.status {
        200..=299 => match ok_when.map(|ok_when| ok_when.check(answer)) {
            None | Some(Ok(())) => Verdict::Stored,
            Some(Err(why)) => Verdict::Failed(Reason::said(answer, format!("{named}, but {why}"))),
        },
        300..=399 => {
            let to = answer.location.map_or(String::new(), |to| format!(" to {}", one_line(to)));
            let mut reason = Reason::said(answer, named);
            reason.text = format!("{}, a redirect{to}: give the URL that it leads to", reason.kind);
            Verdict::Failed(reason)
        }
        408 | 425 | 429 | 500..=599 => Verdict::Again(Reason::said(answer, named), answer.retry_after),
        _ => Verdict::Failed(Reason::said(answer, named)),
    }
}

/// Whether a status says that there is too much at once.
pub fn is_overload(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// What a Retry-After asks for: a number of seconds, or a date, as seen at `now`.
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The first characters of a body, in one line.
fn quote(body: &[u8]) -> String {
    // Of a character that is cut off at the end nothing is shown, of bytes that are none a mark.
    one_line(&String::from_utf8_lossy(&body[..body.len().min(4 * DISPATCH_QUOTE_MAX)]))
}

fn one_line(text: &str) -> String {
    crate::core::units::one_line(text).chars().take(DISPATCH_QUOTE_MAX).collect()
}

impl OkWhen {
    fn check(&self, answer: &Answer<'_>) -> Result<(), String> {
        if !answer.is_whole {
            return Err(format!("of more than {DISPATCH_ANSWER_MAX} bytes, too many to be judged"));
        }
        let Ok(json) = serde_json::from_slice::<Value>(answer.body) else {
            return Err("no JSON".into());
        };
        let field = self.path.join(".");
        let mut at = &json;
        for name in &self.path {
            let next = match at {
                Value::Array(list) => name.parse::<usize>().ok().and_then(|index| list.get(index)),
                other => other.get(name),
            };
            at = next.ok_or_else(|| format!("without {field}"))?;
        }
        let is = match at {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if is == self.value { Ok(()) } else { Err(format!("{field}={}", one_line(&is))) }
    }
}

/// `FIELD=VALUE`, as on a command line; `data.code=0` for a field in another.
impl FromStr for OkWhen {
    type Err = String;

    fn from_str(text: &str) -> Result<OkWhen, String> {
        let wrong = || format!("'{text}' is no condition: write it as FIELD=VALUE, such as code=0");
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        let path: Vec<String> = path.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(OkWhen { path, value: value.trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer<'_> {
        Answer { status, retry_after: None, location: None, body: body.as_bytes(), is_whole: true }
    }

    #[test]
    fn statuses() {
        for (status, expected) in [
            (200, "stored"),
            (204, "stored"),
            (301, "failed"),
            (400, "failed"),
            (404, "failed"),
            (408, "again"),
            (409, "failed"),
            (425, "again"),
            (429, "again"),
            (500, "again"),
            (503, "again"),
            (599, "again"),
            (600, "failed"),
        ] {
            let got = match judge(&answer(status, ""), None) {
                Verdict::Stored => "stored",
                Verdict::Again(..) => "again",
                Verdict::Failed(_) => "failed",
            };
            assert_eq!(got, expected, "{status}");
        }
    }

    #[test]
    fn a_reason_holds_the_status_and_what_was_said() {
        let body = format!("<html>\n  <b>no\u{7}</b> {}", "ü".repeat(500));
        let Verdict::Failed(reason) = judge(&answer(422, &body), None) else { panic!() };
        assert_eq!((reason.kind.as_str(), reason.status), ("422 Unprocessable Entity", Some(422)));
        let said = reason.text.strip_prefix("422 Unprocessable Entity: ").unwrap();
        assert!(said.starts_with("<html> <b>no\\u{7}</b> ü") && said.chars().count() == 200, "{said}");
        let moved = Answer { location: Some("http://b/"), ..answer(307, "x") };
        let Verdict::Failed(reason) = judge(&moved, None) else { panic!() };
        assert_eq!(
            reason.text,
            "307 Temporary Redirect, a redirect to http://b/: give the URL that it leads to"
        );
    }

    #[test]
    fn the_body_decides_too() {
        for (condition, body, expected) in [
            ("code=0", r#"{"code":0}"#, ""),
            ("code=0", r#"{"code":"0"}"#, ""),
            ("data.0.ok=true", r#"{"data":[{"ok":true}]}"#, ""),
            ("code=0", r#"{"code":7,"message":"full"}"#, "200 OK, but code=7"),
            ("code=0", r#"{"data":{}}"#, "200 OK, but without code"),
            ("code=0", "<html>", "200 OK, but no JSON"),
            ("code=0", "[]", "200 OK, but without code"),
        ] {
            let ok_when: OkWhen = condition.parse().unwrap();
            match judge(&answer(200, body), Some(&ok_when)) {
                Verdict::Stored => assert_eq!(expected, ""),
                Verdict::Failed(reason) => {
                    assert_eq!(reason.kind, expected);
                    assert_eq!(reason.text, format!("{expected}: {body}"));
                }
                Verdict::Again(..) => panic!("{body}"),
            }
        }
        for wrong in ["", "code", "=0", "a..b=1"] {
            assert!(wrong.parse::<OkWhen>().unwrap_err().contains("FIELD=VALUE"), "{wrong}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value.as_bytes(), now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
