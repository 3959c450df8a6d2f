//! Which statuses of responses are right.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// The statuses that are no errors: those of some ranges, or those below 400 where none is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OkStatus(Vec<StatusRange>);

/// Statuses from one to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRange(RangeInclusive<u16>);

impl OkStatus {
    /// Those of these ranges and no others; below 400 if there are none.
    pub fn new(ranges: Vec<StatusRange>) -> OkStatus {
        OkStatus(ranges)
    }

    /// Whether a status is no error.
    pub fn holds(&self, status: u16) -> bool {
        if self.0.is_empty() { status < 400 } else { self.0.iter().any(|range| range.0.contains(&status)) }
    }
}

/// `404`, `200-299`, or `2xx`, which is the same.
impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<StatusRange, String> {
        let wrong = || format!("'{text}' is no status: write it as 404, 200-299 or 2xx");
        let one = |digits: &str| match digits.trim().parse::<u16>() {
            Ok(status @ 200..=999) => Ok(status),
            _ => Err(wrong()),
        };
        if let Some(hundreds) = text.trim().to_ascii_lowercase().strip_suffix("xx") {
            let first = one(&format!("{hundreds}00"))?;
            return Ok(StatusRange(first..=first + 99));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (one(first)?, one(last)?);
        if first > last {
            return Err(format!("'{text}' begins above its end: write it as {last}-{first}"));
        }
        Ok(StatusRange(first..=last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(texts: &[&str]) -> OkStatus {
        OkStatus::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn statuses_that_are_right() {
        for (ranges, right, wrong) in [
            (&[][..], &[200, 204, 302, 399][..], &[400, 404, 500, 999][..]),
            (&["200"], &[200], &[199, 201, 404]),
            (&["200-299", "404"], &[200, 299, 404], &[300, 403, 405]),
            (&["2xx", " 5XX "], &[200, 299, 500, 599], &[300, 499, 600]),
        ] {
            let ok = ok(ranges);
            assert!(right.iter().all(|&status| ok.holds(status)), "{ranges:?}");
            assert!(!wrong.iter().any(|&status| ok.holds(status)), "{ranges:?}");
        }
    }

    #[test]
    fn what_is_no_status() {
        for text in ["", "x", "99", "1000", "199", "0xx", "xx", "10xx", "200-", "-200", "200-2xx", "2 00"] {
            let said = text.parse::<StatusRange>().unwrap_err();
            assert!(said.contains("write it as 404, 200-299 or 2xx"), "{text}: {said}");
        }
        assert!("299-200".parse::<StatusRange>().unwrap_err().contains("write it as 200-299"));
    }
}
