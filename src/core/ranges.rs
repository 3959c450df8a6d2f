//! Every number and time that can be set, with the least and the most that it may be.
//!
//! This table is the one place where that is said. Options, the settings' file, `ctl set` and
//! [`Config::check`](crate::gateway::Config::check) ask it, and a test compares it with the options that there are.

use std::fmt;
use std::time::Duration;

use crate::core::limits::{DURABLE_WINDOW_MAX, HANDLERS_MAX, PAYLOAD_MAX, WORKERS_MAX};
use crate::core::units::{Size, Time, TimeOrSize};

/// What a number or a time may be, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bounds {
    /// A whole number.
    Count(u64, u64),
    /// A number of bytes.
    Size(usize, usize),
    /// A length of time.
    Time(Duration, Duration),
    /// A length of time, or from 1 on a number of bytes, told apart by the unit.
    TimeOrSize(Duration, usize),
    /// So many a second.
    Rate(f64, f64),
}

/// The range of one option.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The last word of the command.
    pub command: &'static str,
    /// The option, which is also the name in the settings' file and of `ctl set`.
    pub option: &'static str,
    /// What it may be.
    pub bounds: Bounds,
    /// The word that it may be instead: for `off`, 0 is another way to say it.
    pub word: Option<&'static str>,
    /// Why no less and no more.
    pub why: &'static str,
}

/// 10 years: every clock can say when that is over.
const LONGEST: Duration = Duration::from_secs(10 * 31_557_600);
const MS: Duration = Duration::from_millis(1);
/// 100 ms: a log that grows by more than ten lines a second helps nobody.
const PATROL_LEAST: Duration = Duration::from_millis(100);

/// 16,777,216 connections, however many files the system allows: some allow a billion.
pub const CONNECTIONS_MOST: usize = MANY as usize;

/// 16,777,216: of what each takes a file, a folder or a place in memory.
const MANY: u64 = 1 << 24;
/// 65,536: one address has some 28,000 ports to connect from.
const REQUESTS: u64 = 1 << 16;
/// 1 PiB: more than any machine has, and sums of it are far from overflowing.
const PIB: usize = 1 << 50;

const TIME: Bounds = Bounds::Time(MS, LONGEST);
const TIME_OR_NONE: Bounds = Bounds::Time(Duration::ZERO, LONGEST);
const RATE: Bounds = Bounds::Rate(1.0 / 3600.0, 1e9);

const NO_TIME: &str = "in no time nothing can happen";
const SLIP: &str = "more is probably a typing error";
const ROOM: &str = "0 leaves no room";

const fn of_command(
    command: &'static str,
    option: &'static str,
    bounds: Bounds,
    word: Option<&'static str>,
    why: &'static str,
) -> Range {
    Range { command, option, bounds, word, why }
}

/// Every option whose value is a number or a time, in the order of `--help`.
pub static RANGES: [Range; 62] = {
    use Bounds::{Count, Size, TimeOrSize};
    const OFF: Option<&str> = Some("off");
    const NONE: Option<&str> = None;
    [
        of_command("serve", "workers", Count(1, WORKERS_MAX as u64), NONE, SLIP),
        of_command("serve", "max-payload", Size(1, PAYLOAD_MAX), NONE, "every larger one is TOO_LARGE"),
        of_command("serve", "memory", Size(1, PIB), NONE, "the least follows from --max-payload"),
        of_command("serve", "max-connections", Count(1, MANY), NONE, "each takes an open file"),
        of_command("serve", "max-per-address", Count(0, MANY), NONE, "0 is any number"),
        of_command("serve", "idle-timeout", TIME, NONE, NO_TIME),
        of_command("serve", "frame-timeout", TIME, NONE, NO_TIME),
        of_command("serve", "outbox", Size(1, PIB), NONE, ROOM),
        of_command("serve", "slow-timeout", TIME, NONE, NO_TIME),
        of_command("serve", "dedup", TIME, OFF, "remembering for no time is off"),
        of_command(
            "serve",
            "patrol",
            Bounds::Time(PATROL_LEAST, LONGEST),
            OFF,
            "ten lines a second are enough",
        ),
        of_command("serve", "drain", TIME_OR_NONE, NONE, "0 waits for nothing"),
        of_command("serve", "handlers", Count(1, HANDLERS_MAX as u64), NONE, SLIP),
        of_command("serve", "handler-timeout", TIME, NONE, NO_TIME),
        of_command("serve", "max-in-flight", Count(1, MANY), NONE, "each takes some of --memory"),
        of_command("serve", "max-queued", Count(0, 1_000_000_000), NONE, "--memory bounds their bytes"),
        of_command("serve", "lease", TIME, NONE, NO_TIME),
        of_command("serve", "max-keys", Count(1, 1_000_000_000), NONE, "each takes some of --parts-memory"),
        of_command("serve", "parts-memory", Size(1, PIB), NONE, ROOM),
        of_command("serve", "max-parts", Count(2, u16::MAX as u64), NONE, "a header cannot say more"),
        of_command("serve", "store-rotate", TIME, NONE, NO_TIME),
        of_command(
            "serve",
            "store-keep",
            TimeOrSize(LONGEST, usize::MAX >> 1),
            NONE,
            "leave it out to keep all",
        ),
        of_command(
            "serve",
            "store-hold",
            TimeOrSize(LONGEST, usize::MAX >> 1),
            NONE,
            "leave it out to wait for nobody",
        ),
        of_command("serve", "store-topics", Count(1, MANY), NONE, "each takes a folder"),
        of_command("serve", "http-max-in-flight", Count(1, REQUESTS), NONE, "each takes a connection"),
        of_command("serve", "http-timeout", TIME, NONE, "in no time nothing is answered"),
        of_command("serve", "http-retries", Count(0, 1_000_000), NONE, SLIP),
        of_command("serve", "http-patience", TIME_OR_NONE, NONE, "0 waits for nothing"),
        of_command("send", "key", Count(0, u64::MAX), NONE, "a key has 64 bits"),
        of_command("send", "max-in-flight", Count(1, MANY), NONE, "at most 64MiB are under way"),
        of_command("send", "timeout", TIME, OFF, "in no time nothing is answered"),
        of_command("tail", "since", TIME_OR_NONE, NONE, "or an instant"),
        of_command("tail", "count", Count(1, u64::MAX), NONE, "leave it out for no end"),
        of_command(
            "tail",
            "window",
            Count(1, DURABLE_WINDOW_MAX as u64),
            NONE,
            "each run of them is remembered",
        ),
        of_command("tail", "timeout", TIME, OFF, "in no time nothing is answered"),
        of_command("frames", "publishers", Count(0, 1 << 20), NONE, SLIP),
        of_command("frames", "subscribers", Count(0, 1 << 20), NONE, SLIP),
        of_command("frames", "payload", Size(0, PAYLOAD_MAX), NONE, "no gateway takes more"),
        of_command("frames", "rate", RATE, Some("max"), "from one an hour to what a clock can tell apart"),
        of_command("frames", "duration", TIME, NONE, "in no time nothing is measured"),
        of_command("frames", "big", Count(0, 1 << 20), NONE, SLIP),
        of_command("frames", "big-payload", Size(0, PAYLOAD_MAX), NONE, "no gateway takes more"),
        of_command("frames", "idle", Count(0, 1 << 20), NONE, SLIP),
        of_command("frames", "fail-above", TIME_OR_NONE, NONE, "of a latency"),
        of_command("http", "connections", Count(1, 1 << 22), NONE, "an address has some 28,000 ports"),
        of_command(
            "http",
            "keepalive",
            Bounds::Time(Duration::from_secs(2), LONGEST),
            NONE,
            "half of it is to think",
        ),
        of_command("http", "think", TIME_OR_NONE, NONE, "0 is back to back"),
        of_command("http", "rate", RATE, NONE, "from one an hour to what a clock can tell apart"),
        of_command("http", "ramp", Count(1, 1 << 22), NONE, "none would never begin"),
        of_command("http", "ramp-every", TIME_OR_NONE, NONE, "0 opens all at once"),
        of_command("http", "timeout", TIME, NONE, "in no time nothing is answered"),
        of_command("http", "duration", TIME, NONE, "in no time nothing is measured"),
        of_command("http", "requests", Count(1, u64::MAX), NONE, "leave it out for no end"),
        of_command("http", "fail-above", TIME_OR_NONE, NONE, "of a latency"),
        of_command("post", "max-record", Size(1, 1 << 40), NONE, "each is read into memory whole"),
        of_command("post", "max-in-flight", Count(1, REQUESTS), NONE, "an address has some 28,000 ports"),
        of_command("post", "max-connections", Count(1, REQUESTS), NONE, "an address has some 28,000 ports"),
        of_command("post", "timeout", TIME, NONE, "in no time nothing is answered"),
        of_command("post", "retries", Count(0, 1_000_000), NONE, SLIP),
        of_command("post", "patience", TIME_OR_NONE, NONE, "0 waits for nothing"),
        of_command("check", "max-payload", Size(1, PAYLOAD_MAX), NONE, "no gateway takes more"),
        of_command("pause", "wait", TIME_OR_NONE, NONE, "0 does not wait"),
    ]
};

/// The range of an option of a command.
pub fn of(command: &str, option: &str) -> Option<&'static Range> {
    RANGES.iter().find(|range| range.command == command && range.option == option)
}

/// Whether a text begins as numbers do.
pub fn is_like_a_number(text: &str) -> bool {
    text.trim_start().starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
}

/// The value of a setting of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number: of bytes, where the setting is a size.
    Number(usize),
    /// A length of time.
    Time(Duration),
    /// A text that has no range.
    Word(String),
}

impl Value {
    /// A word that the command line has for it.
    pub fn word(word: &str) -> Value {
        Value::Word(word.into())
    }
}

/// Says of the value of a setting of `serve` that it is out of its range.
///
/// # Errors
/// What it is and what it may be, in one line.
pub fn check(option: &str, value: &Value) -> Result<(), String> {
    match of("serve", option) {
        Some(range) if !range.bounds.allow(value) => {
            Err(format!("{option} {}: {}", written(option, value), range.allowed()))
        }
        _ => Ok(()),
    }
}

/// The value of a setting of `serve` as it would be written on the command line.
pub fn written(option: &str, value: &Value) -> String {
    let is_size = || {
        let bounds = of("serve", option).map(|range| range.bounds);
        matches!(bounds, Some(Bounds::Size(..) | Bounds::TimeOrSize(..)))
    };
    match value {
        Value::Number(bytes) if is_size() => Size(*bytes).to_string(),
        Value::Number(number) => number.to_string(),
        Value::Time(time) => Time(*time).to_string(),
        Value::Word(word) => word.clone(),
    }
}

impl Range {
    /// Checks a value as it is written. What is none of its unit is told so, with an example.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let text = text.trim();
        if self.word.is_some_and(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(());
        }
        // What begins like a number may be one that is beyond what its type can say.
        let none = |wrong: String| match is_like_a_number(text) {
            true => format!("{wrong}; {}", self.allowed()),
            false => wrong,
        };
        let allowed = match self.bounds {
            Bounds::Count(..) => {
                let number: i128 = match text.parse() {
                    Ok(number) => number,
                    Err(_) => return Err(none(format!("invalid number '{text}': write it in digits"))),
                };
                u64::try_from(number).is_ok_and(|number| self.bounds.allow_count(number))
            }
            Bounds::Size(..) => self.bounds.allow_size(text.parse::<Size>().map_err(none)?.0),
            Bounds::Time(..) => {
                let Time(time) = text.parse().map_err(none)?;
                self.word == Some("off") && time.is_zero() || self.bounds.allow_time(time)
            }
            Bounds::TimeOrSize(..) => match text.parse().map_err(none)? {
                TimeOrSize::Time(time) => self.bounds.allow_time(time),
                TimeOrSize::Size(bytes) => self.bounds.allow_size(bytes),
            },
            Bounds::Rate(least, most) => match text.parse::<f64>() {
                Ok(rate) => (least..=most).contains(&rate),
                Err(_) => {
                    return Err(none(format!(
                        "invalid rate '{text}': expected a number a second such as 500"
                    )));
                }
            },
        };
        if allowed { Ok(()) } else { Err(self.allowed()) }
    }

    /// `allowed is 1 to 4096 (more is probably a typing error)`.
    fn allowed(&self) -> String {
        let word = self.word.map_or(String::new(), |word| format!("{word}, or "));
        format!("allowed is {word}{} ({})", self.bounds, self.why)
    }
}

impl Bounds {
    fn allow(&self, value: &Value) -> bool {
        match *value {
            Value::Number(number) => self.allow_count(number as u64) || self.allow_size(number),
            Value::Time(time) => self.allow_time(time),
            Value::Word(_) => true,
        }
    }

    fn allow_count(&self, value: u64) -> bool {
        matches!(*self, Bounds::Count(least, most) if (least..=most).contains(&value))
    }

    fn allow_size(&self, value: usize) -> bool {
        match *self {
            Bounds::Size(least, most) => (least..=most).contains(&value),
            Bounds::TimeOrSize(_, most) => (1..=most).contains(&value),
            _ => false,
        }
    }

    fn allow_time(&self, value: Duration) -> bool {
        match *self {
            Bounds::Time(least, most) => (least..=most).contains(&value),
            Bounds::TimeOrSize(most, _) => (MS..=most).contains(&value),
            _ => false,
        }
    }
}

/// As it is written on the command line.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Bounds::Count(least, most) => write!(f, "{least} to {most}"),
            Bounds::Size(least, most) => write!(f, "{} to {}", Size(least), Size(most)),
            Bounds::Time(least, most) => write!(f, "{} to {}", Time(least), Time(most)),
            Bounds::TimeOrSize(time, size) => {
                write!(f, "{} to {}, or 1 to {}", Time(MS), Time(time), Size(size))
            }
            Bounds::Rate(least, most) => write!(f, "{least:.6} to {most}"),
        }
    }
}

#[cfg(test)]
#[allow(missing_docs, reason = "only tests see it")]
pub mod tests {
    use super::*;

    /// What to try of a range, as it is written: what must be taken, and what must be refused.
    pub fn cases(range: &Range) -> (Vec<String>, Vec<String>) {
        let second = |time: Duration| format!("{}ns", time.as_nanos());
        let (mut taken, mut refused) = match range.bounds {
            Bounds::Count(least, most) => (
                vec![least.to_string(), most.to_string()],
                [(least as i128) - 1, i128::from(most) + 1].map(|number| number.to_string()).into(),
            ),
            Bounds::Size(least, most) => (
                vec![least.to_string(), most.to_string(), Size(most).to_string()],
                vec![(least as i128 - 1).to_string(), (most + 1).to_string(), "20000000000000000GiB".into()],
            ),
            Bounds::Time(least, most) => {
                let more = most + Duration::from_nanos(1);
                let mut refused = vec![second(more), "1e19".into(), "-1".into(), "99999999999999999y".into()];
                if range.word != Some("off") && !least.is_zero() {
                    refused.push("0".into());
                }
                refused.extend(
                    least.checked_sub(Duration::from_nanos(1)).filter(|less| !less.is_zero()).map(second),
                );
                (vec![second(least), second(most), Time(most).to_string()], refused)
            }
            Bounds::TimeOrSize(time, size) => (
                vec!["1ms".into(), second(time), "1B".into(), format!("{size}B")],
                vec![
                    "0s".into(),
                    "0B".into(),
                    second(time + Duration::from_nanos(1)),
                    format!("{}B", size + 1),
                    "20000000000000000GiB".into(),
                ],
            ),
            Bounds::Rate(least, most) => (
                vec![least.to_string(), most.to_string()],
                vec![
                    "0".into(),
                    "-1".into(),
                    (least * 0.99).to_string(),
                    (most * 1.01).to_string(),
                    "1e300".into(),
                ],
            ),
        };
        if let Bounds::Count(..) = range.bounds {
            // Where it wraps around to a small number: 2^64, 2^64 + 1, and what no type of numbers holds.
            let beyond =
                ["18446744073709551616", "18446744073709551617", "1000000000000000000000000000000000000000"];
            refused.extend(beyond.map(String::from));
        }
        taken.extend(range.word.map(String::from));
        if range.word == Some("off") {
            taken.push("0".into());
        }
        (taken, refused)
    }

    #[test]
    fn every_range_takes_its_ends_and_nothing_beyond_them() {
        for range in &RANGES {
            let (taken, refused) = cases(range);
            for text in taken {
                assert_eq!(range.check(&text), Ok(()), "{range:?} {text}");
            }
            for text in refused {
                let said = range.check(&text).expect_err(&format!("{range:?} {text}"));
                assert!(said.contains(&format!("{} (", range.bounds)), "{range:?} {text}: {said}");
            }
        }
    }

    #[test]
    fn what_is_said_can_be_given() {
        let said = |option, text| of("serve", option).unwrap().check(text).unwrap_err();
        assert_eq!(said("workers", "0"), "allowed is 1 to 4096 (more is probably a typing error)");
        assert!(said("idle-timeout", "1e19").starts_with("allowed is 1ms to 10years ("));
        assert!(said("dedup", "11y").starts_with("allowed is off, or 1ms to 10years ("));
        assert_eq!("10years".parse(), Ok(Time(LONGEST)));
        assert!(said("memory", "much").ends_with("or a number of bytes"), "what is no number has no range");
        let said = check("idle-timeout", &Value::Time(Duration::MAX)).unwrap_err();
        assert!(said.contains(": allowed is 1ms to 10years"), "{said}");
        for (option, written) in [("max-queued", "18446744073709551615"), ("memory", "18446744073709551615")]
        {
            let said = check(option, &Value::Number(usize::MAX)).unwrap_err();
            assert!(said.starts_with(&format!("{option} {written}: allowed is ")), "{said}");
        }
        assert_eq!(written("memory", &Value::Number(64 << 20)), "64MiB");
        assert_eq!(written("max-queued", &Value::Number(1 << 20)), "1048576");
    }

    #[test]
    fn no_option_stands_twice() {
        for (at, range) in RANGES.iter().enumerate() {
            let again = of(range.command, range.option).unwrap();
            assert!(std::ptr::eq(again, &RANGES[at]), "{range:?}");
        }
    }
}
