//! What a SUBSCRIBE with lines asks for: a durable subscription, or a replay of what is stored.
//!
//! ```text
//! durable: billing
//! from: oldest
//! window: 1000
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::core::limits::{
    DURABLE_EXPIRE, DURABLE_EXPIRE_MAX, DURABLE_EXPIRE_MIN, DURABLE_LINES, DURABLE_NAME, DURABLE_WINDOW,
    DURABLE_WINDOW_MAX,
};
use crate::core::units::{Time, plain};

/// The lines of a SUBSCRIBE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The name under which the position is kept; a replay has none.
    pub name: Option<Box<str>>,
    /// Where to begin, where the name has no position yet.
    pub from: Option<Start>,
    /// Begins there though the name has a position.
    pub reset: bool,
    /// Frames that are delivered and not acknowledged at most.
    pub window: Option<u32>,
    /// A name that was not used for so long is forgotten.
    pub expire: Option<Duration>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next frame that is stored.
    #[default]
    New,
    /// With the oldest that is kept.
    Oldest,
    /// With this sequence.
    Seq(u64),
    /// With what was stored since then.
    Time(SystemTime),
    /// With what was stored since so long ago.
    Ago(Duration),
}

impl Options {
    /// Reads the lines of a SUBSCRIBE.
    ///
    /// # Errors
    /// What is wrong with the first line that is, and how it is written.
    pub fn parse(payload: &[u8]) -> Result<Options, String> {
        if payload.len() > DURABLE_LINES {
            return Err(format!("the lines have more than {DURABLE_LINES} bytes: leave out what is no line"));
        }
        let text = std::str::from_utf8(payload).map_err(|_| "the lines are not UTF-8".to_string())?;
        let mut options = Options::default();
        let mut given: Vec<&str> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) =
                line.split_once(':').ok_or_else(|| wrong_line(line, "write it as 'name: value'"))?;
            let (key, value) = (key.trim(), value.trim());
            if given.contains(&key) {
                return Err(format!("'{}' stands there twice: leave one out", shown(key)));
            }
            given.push(key);
            match key {
                "durable" => options.name = Some(name(value)?.into()),
                "from" => options.from = Some(Start::of_line(value)?),
                "reset" => {
                    options.reset = match value {
                        "yes" => true,
                        "no" => false,
                        _ => return Err(wrong_line(line, "write 'reset: yes', or leave it out")),
                    }
                }
                "window" => options.window = Some(window(value)?),
                "expire" => options.expire = Some(expire(value)?),
                _ => {
                    return Err(wrong_line(line, "there are durable, from, reset, window and expire"));
                }
            }
        }
        if given.is_empty() {
            return Err("the payload holds no line: send an empty one, or 'durable: NAME'".into());
        }
        if options.name.is_none() {
            let of_names = ["reset", "window", "expire"];
            if let Some(key) = given.iter().find(|key| of_names.contains(key)) {
                return Err(format!("'{key}' is for a durable name: add 'durable: NAME', or leave it out"));
            }
        }
        if options.reset && options.from.is_none() {
            return Err("'reset: yes' without where to begin: add 'from: oldest' or another place".into());
        }
        Ok(options)
    }

    /// The one line of an UNSUBSCRIBE: the name to forget.
    ///
    /// # Errors
    /// What is wrong, and how it is written.
    pub fn parse_forget(payload: &[u8]) -> Result<Box<str>, String> {
        let options = Options::parse(payload)?;
        let only = Options { name: options.name.clone(), ..Options::default() };
        match options.name.clone() {
            Some(name) if options == only => Ok(name),
            _ => Err("an UNSUBSCRIBE holds 'durable: NAME' to forget that name, or nothing".into()),
        }
    }

    /// The lines, as [`parse`](Self::parse) reads them.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        let mut line = |key: &str, value: &dyn fmt::Display| lines += &format!("{key}: {value}\n");
        if let Some(name) = &self.name {
            line("durable", name);
        }
        if let Some(from) = &self.from {
            line("from", from);
        }
        if self.reset {
            line("reset", &"yes");
        }
        if let Some(window) = self.window {
            line("window", &window);
        }
        if let Some(expire) = self.expire {
            line("expire", &Time(expire));
        }
        lines
    }

    /// Frames that are delivered and not acknowledged at most; a replay is not acknowledged.
    pub fn window(&self) -> Option<u32> {
        self.name.as_ref().map(|_| self.window.unwrap_or(DURABLE_WINDOW))
    }

    /// After how long an unused name is forgotten.
    pub fn expire(&self) -> Duration {
        self.expire.unwrap_or(DURABLE_EXPIRE)
    }
}

/// A durable name.
///
/// # Errors
/// Why it is none.
pub fn name(text: &str) -> Result<&str, String> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.len() {
        1..=DURABLE_NAME if text.chars().all(is_right) => Ok(text),
        _ => Err(format!(
            "'{}' is not a durable name: write 1 to {DURABLE_NAME} of A-Z a-z 0-9 . _ -",
            shown(text)
        )),
    }
}

fn window(text: &str) -> Result<u32, String> {
    let number: Option<u32> = text.parse().ok();
    number.filter(|number| (1..=DURABLE_WINDOW_MAX).contains(number)).ok_or_else(|| {
        format!("'window: {}': write a number of frames from 1 to {DURABLE_WINDOW_MAX}", shown(text))
    })
}

fn expire(text: &str) -> Result<Duration, String> {
    let time: Option<Time> = text.parse().ok();
    let time = time.map(|Time(time)| time);
    time.filter(|time| (DURABLE_EXPIRE_MIN..=DURABLE_EXPIRE_MAX).contains(time)).ok_or_else(|| {
        format!(
            "'expire: {}': write a time such as 12h or 7d, from {} to {}",
            shown(text),
            Time(DURABLE_EXPIRE_MIN),
            humantime::format_duration(DURABLE_EXPIRE_MAX)
        )
    })
}

/// What is shown of something that came over the wire.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    plain(&short)
}

fn wrong_line(line: &str, mend: &str) -> String {
    format!("the line '{}' is not understood: {mend}", shown(line))
}

const WHERE: &str = "write new, oldest, seq 17, time 2026-11-29T22:00:00Z or ago 2h";

impl Start {
    /// As a line has it.
    fn of_line(text: &str) -> Result<Start, String> {
        let wrong = || format!("'from: {}' is no place to begin: {WHERE}", shown(text));
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match (word, rest) {
            ("new", "") => Ok(Start::New),
            ("oldest", "") => Ok(Start::Oldest),
            ("seq", number) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                number.map(Start::Seq).ok_or_else(|| format!("{}; sequences begin at 1", wrong()))
            }
            ("time", time) => instant(time).map(Start::Time).ok_or_else(wrong),
            ("ago", time) => time.parse().map(|Time(time)| Start::Ago(time)).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// As people write it: also `2h` and `2026-11-29T22:00Z` alone.
impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        let text = text.trim();
        if let Ok(start) = Start::of_line(text) {
            return Ok(start);
        }
        let bare = text.parse::<f64>().is_ok();
        if let (Ok(Time(ago)), false) = (text.parse(), bare) {
            return Ok(Start::Ago(ago));
        }
        instant(text).map(Start::Time).ok_or_else(|| {
            format!(
                "invalid place '{}': expected new, oldest, seq 17, 2h (that long ago) or 2026-11-29T22:00Z",
                shown(text)
            )
        })
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::New => f.write_str("new"),
            Start::Oldest => f.write_str("oldest"),
            Start::Seq(seq) => write!(f, "seq {seq}"),
            Start::Time(time) => write!(f, "time {}", humantime::format_rfc3339(*time)),
            Start::Ago(ago) => {
                write!(f, "ago {}", humantime::format_duration(*ago).to_string().replace(' ', ""))
            }
        }
    }
}

/// An instant in UTC; its seconds may be left out.
fn instant(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let is_short = text.trim_end_matches('Z').len() == "2026-11-29T22:00".len();
    let whole = if is_short { format!("{}:00Z", text.trim_end_matches('Z')) } else { text.to_string() };
    humantime::parse_rfc3339_weak(&whole).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_written() {
        for (text, options) in [
            ("durable: a", Options { name: Some("a".into()), ..Options::default() }),
            ("from: seq 7\n", Options { from: Some(Start::Seq(7)), ..Options::default() }),
            (
                "durable: A-z.0_9\r\nfrom: oldest\r\nreset: yes\r\nwindow: 5\r\nexpire: 2d\r\n",
                Options {
                    name: Some("A-z.0_9".into()),
                    from: Some(Start::Oldest),
                    reset: true,
                    window: Some(5),
                    expire: Some(Duration::from_secs(2 * 86_400)),
                },
            ),
            (
                "durable:b\n\nfrom:ago 90m",
                Options {
                    name: Some("b".into()),
                    from: Some(Start::Ago(Duration::from_secs(5400))),
                    ..Options::default()
                },
            ),
        ] {
            let read = Options::parse(text.as_bytes()).unwrap();
            assert_eq!(read, options);
            assert_eq!(Options::parse(read.lines().as_bytes()), Ok(options));
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let options = Options::parse(b"from: time 2001-09-09T01:46:40Z").unwrap();
        assert_eq!(options.from, Some(Start::Time(at)));
        assert_eq!(Options::parse(options.lines().as_bytes()), Ok(options));
        assert_eq!(Options::parse_forget(b"durable: x"), Ok("x".into()));
        assert!(Options::parse_forget(b"durable: x\nwindow: 3").is_err());
        assert!(Options::parse_forget(b"from: new").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_mend() {
        let long = format!("durable: {}", "x".repeat(65));
        let many = "durable: a\n".repeat(1000);
        for (text, said) in [
            (&b""[..], "holds no line"),
            (b"\n \n", "holds no line"),
            (b"\xff", "not UTF-8"),
            (many.as_bytes(), "more than 1024 bytes"),
            (b"durable", "write it as 'name: value'"),
            (b"durable:", "write 1 to 64 of"),
            (b"durable: a b", "write 1 to 64 of"),
            (b"durable: caf\xc3\xa9", "write 1 to 64 of"),
            (long.as_bytes(), "write 1 to 64 of"),
            (b"durable: a\ndurable: b", "'durable' stands there twice"),
            (b"Durable: a", "there are durable, from, reset, window and expire"),
            (b"durable: a\nstart: new", "there are durable"),
            (b"durable: a\nfrom: yesterday", "write new, oldest, seq 17"),
            (b"durable: a\nfrom: seq", "sequences begin at 1"),
            (b"durable: a\nfrom: seq 0", "sequences begin at 1"),
            (b"durable: a\nfrom: seq -1", "sequences begin at 1"),
            (b"durable: a\nfrom: seq 18446744073709551616", "sequences begin at 1"),
            (b"durable: a\nfrom: time noon", "write new"),
            (b"durable: a\nfrom: ago", "write new"),
            (b"durable: a\nfrom: new 5", "write new"),
            (b"durable: a\nreset: true", "write 'reset: yes'"),
            (b"durable: a\nreset: yes", "add 'from: oldest'"),
            (b"durable: a\nwindow: 0", "from 1 to"),
            (b"durable: a\nwindow: many", "from 1 to"),
            (b"durable: a\nwindow: 99999999", "from 1 to"),
            (b"durable: a\nexpire: 0", "write a time such as"),
            (b"durable: a\nexpire: never", "write a time such as"),
            (b"from: new\nwindow: 5", "'window' is for a durable name"),
            (b"from: new\nexpire: 1h", "'expire' is for a durable name"),
            (b"window: 5", "'window' is for a durable name"),
            (b"from: oldest\nreset: yes", "'reset' is for a durable name"),
        ] {
            let wrong = Options::parse(text).unwrap_err();
            assert!(wrong.contains(said), "{:?}: {wrong}", String::from_utf8_lossy(text));
            assert!(!wrong.contains('\n'), "{wrong}");
        }
    }

    #[test]
    fn places_as_people_write_them() {
        let at = |seconds| Start::Time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (text, start) in [
            ("new", Start::New),
            (" oldest ", Start::Oldest),
            ("seq 17", Start::Seq(17)),
            ("2h", Start::Ago(Duration::from_secs(7200))),
            ("ago 2h", Start::Ago(Duration::from_secs(7200))),
            ("2001-09-09T01:46Z", at(999_999_960)),
            ("2001-09-09T01:46:40Z", at(1_000_000_000)),
            ("time 2001-09-09T01:46:40Z", at(1_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(start), "{text}");
            assert_eq!(start.to_string().parse(), Ok(start), "{start}");
        }
        for text in ["", "17", "seq", "tomorrow", "2001-09-09"] {
            assert!(text.parse::<Start>().unwrap_err().contains("expected new, oldest"), "{text}");
        }
    }
}
