//! Sizes and times as people write them, on the command line and in TOML alike; and counts, times and names as
//! messages say them.

mod figures;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::de::{Deserialize, Deserializer, Error, Visitor};

pub use figures::{about, bytes, grouped, held, latency, many, rate, seconds, short};

/// A number of bytes: `64KiB`, `16MiB`, or a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

/// A length of time: `250ms`, `30s`, `5m`, or a bare number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A [`Time`], or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOrOff(pub Option<Duration>);

impl From<Size> for usize {
    fn from(Size(bytes): Size) -> usize {
        bytes
    }
}

impl From<Time> for Duration {
    fn from(Time(time): Time) -> Duration {
        time
    }
}

impl From<TimeOrOff> for Option<Duration> {
    fn from(TimeOrOff(time): TimeOrOff) -> Option<Duration> {
        time
    }
}

/// A [`Time`] or a [`Size`], told apart by its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOrSize {
    /// `7d`.
    Time(Duration),
    /// `10GiB`.
    Size(usize),
}

impl FromStr for TimeOrSize {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeOrSize, String> {
        let bare = text.trim().parse::<f64>().is_ok();
        let time = text.parse().map(|Time(time)| TimeOrSize::Time(time));
        let either = time.or_else(|_| text.parse().map(|Size(bytes)| TimeOrSize::Size(bytes)));
        either.ok().filter(|_| !bare).ok_or_else(|| {
            format!("invalid time or size '{text}': expected 30m or 7d, or 10GiB, with its unit")
        })
    }
}

impl fmt::Display for TimeOrSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TimeOrSize::Time(time) => Time(time).fmt(f),
            TimeOrSize::Size(bytes) => Size(bytes).fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for TimeOrSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeOrSize, D::Error> {
        deserializer.deserialize_any(Written::new("a time such as \"7d\" or a size such as \"10GiB\""))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let wrong = || format!("invalid size '{text}': expected 64KiB or 16MiB, or a number of bytes");
        // bytesize would read "1.5" as an error and "20000000000000000GiB" as the largest number there is.
        let size: bytesize::ByteSize = text.trim().parse().map_err(|_| wrong())?;
        match usize::try_from(size.as_u64()) {
            Ok(bytes) if size.as_u64() < u64::MAX => Ok(Size(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        let text = text.trim();
        let bare = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        bare.or_else(|| humantime::parse_duration(text).ok()).map(Time).ok_or_else(|| {
            format!("invalid time '{text}': expected 250ms, 30s or 5m, or a number of seconds")
        })
    }
}

impl FromStr for TimeOrOff {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeOrOff, String> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(TimeOrOff(None));
        }
        // Remembering for no time at all is not remembering.
        let Time(time) = text.parse().map_err(|wrong| format!("{wrong}, or off"))?;
        Ok(TimeOrOff((!time.is_zero()).then_some(time)))
    }
}

/// The units of sizes, the decimal ones as far as they are written.
const UNITS: [(&str, usize); 5] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000)];

/// A size that was computed, as it would be written: `8.7MiB`, not `9174465`.
pub fn rounded(bytes: usize) -> String {
    let exact = Size(bytes).to_string();
    match UNITS[..3].iter().find(|(_, one)| bytes >= *one) {
        Some((unit, one)) if exact.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{:.1}{unit}", bytes as f64 / *one as f64).replace(".0", "")
        }
        _ => exact,
    }
}

/// The largest unit that divides it exactly, so that what is shown can be given back.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, one) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(one) {
                return write!(f, "{}{unit}", self.0 / one);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Spaces would make two arguments of it.
        f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}

impl fmt::Display for TimeOrOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => Time(time).fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        deserializer.deserialize_any(Written::new("a size such as \"64KiB\", or a number of bytes"))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        deserializer.deserialize_any(Written::new("a time such as \"30s\", or a number of seconds"))
    }
}

impl<'de> Deserialize<'de> for TimeOrOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeOrOff, D::Error> {
        deserializer.deserialize_any(Written::new("a time such as \"30s\", a number of seconds, or \"off\""))
    }
}

/// What the system says of a file that cannot be written, with the mend where it is not a matter of the disk.
pub fn of_file(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::FileTooLarge => {
            format!("{why}: the limit of file sizes is reached: raise it (ulimit -f, LimitFSIZE= of systemd)")
        }
        _ => why.to_string(),
    }
}

/// So much after `at`. What is beyond the end of the system's clock is a hundred years after it, which is as good.
pub fn later(at: Instant, by: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 31_557_600);
    at.checked_add(by).unwrap_or_else(|| at + CENTURY)
}

/// The name that was probably meant by `given`, if one is near enough.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // 0.7 is what clap takes for the options themselves.
    let near = names.into_iter().map(|name| (strsim::jaro_winkler(given, name), name));
    near.filter(|(likeness, _)| *likeness > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Bytes as lowercase hexadecimal digits, as digests are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

/// Text from elsewhere, fit for a line on a terminal or in a log: what would be obeyed there is shown instead.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Whether a character is not shown but obeyed: a terminal moves or changes its colours, the line ends, or what follows
/// is written in another direction.
pub fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reads a string or a bare number as the command line would.
struct Written<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T> Written<T> {
    fn new(expected: &'static str) -> Written<T> {
        Written { expected, value: PhantomData }
    }
}

impl<T: FromStr<Err = String>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// A text from elsewhere in one line, as [`plain`] has it.
pub fn one_line(text: &str) -> String {
    plain(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A length of time as seconds in JSON.
///
/// # Errors
/// What the serializer says.
pub fn serialize_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_micros() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[0x00, 0x1a, 0xff]), "001aff");
        assert_eq!(hex(&[]), "");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("123", Some(123)),
            ("64KiB", Some(64 << 10)),
            ("64 kib", Some(64 << 10)),
            ("16MiB", Some(16 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("1MB", Some(1_000_000)),
            ("512B", Some(512)),
            ("", None),
            ("-1", None),
            ("MiB", None),
            ("1.5", None),
            ("16 miles", None),
            ("20000000000000000GiB", None),
        ] {
            assert_eq!(text.parse::<Size>().ok(), bytes.map(Size), "{text:?}");
        }
    }

    #[test]
    fn times() {
        for (text, ms) in [
            ("0", Some(0)),
            ("30", Some(30_000)),
            ("0.5", Some(500)),
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h 30m", Some(5_400_000)),
            ("", None),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("1e300", None),
            ("soon", None),
            ("5 parsecs", None),
        ] {
            assert_eq!(text.parse::<Time>().ok(), ms.map(|ms| Time(Duration::from_millis(ms))), "{text:?}");
        }
        assert_eq!("off".parse(), Ok(TimeOrOff(None)));
        assert_eq!("0".parse(), Ok(TimeOrOff(None)));
        assert_eq!("2s".parse(), Ok(TimeOrOff(Some(Duration::from_secs(2)))));
        assert!("on".parse::<TimeOrOff>().unwrap_err().ends_with("or off"));
    }

    #[test]
    fn times_and_sizes_are_told_apart_by_their_units() {
        for (text, is) in [
            ("7d", Some(TimeOrSize::Time(Duration::from_secs(7 * 86_400)))),
            ("30s", Some(TimeOrSize::Time(Duration::from_secs(30)))),
            ("10GiB", Some(TimeOrSize::Size(10 << 30))),
            ("64KiB", Some(TimeOrSize::Size(64 << 10))),
            ("10", None),
            ("1.5", None),
            ("", None),
            ("much", None),
        ] {
            assert_eq!(text.parse().ok(), is, "{text:?}");
            assert!(is.is_none_or(|is| is.to_string().parse() == Ok(is)));
        }
    }

    #[test]
    fn the_name_that_was_meant_and_texts_of_others() {
        let names = ["memory", "max-payload", "max-parts"];
        assert_eq!(nearest("memroy", names), Some("memory"));
        assert_eq!(nearest("max-pay", names), Some("max-payload"));
        assert_eq!(nearest("zzz", names), None);
        assert_eq!(plain("gr\u{fc}n \x1b[2J\n\u{9b}"), "gr\u{fc}n \\u{1b}[2J\\n\\u{9b}");
    }

    #[test]
    fn what_is_shown_can_be_given_back() {
        for bytes in [0, 1, 1023, 1024, 1536, 16 << 20, 3 << 30, (1 << 20) + 1, 300_000_000] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        for (bytes, exact, about) in [
            (9_174_465, "9174465", "8.7MiB"),
            (300_000_000, "300MB", "300MB"),
            ((1 << 20) + 1, "1048577", "1MiB"),
            (64 << 20, "64MiB", "64MiB"),
            (1023, "1023", "1023"),
        ] {
            assert_eq!((Size(bytes).to_string().as_str(), rounded(bytes).as_str()), (exact, about));
        }
        for ms in [1, 250, 1_000, 90_000, 86_400_001] {
            let time = Time(Duration::from_millis(ms));
            assert_eq!(time.to_string().parse(), Ok(time));
            assert!(!time.to_string().contains(' '));
        }
    }

    #[test]
    fn toml_takes_text_and_bare_numbers() {
        #[derive(serde::Deserialize)]
        struct Settings {
            size: Size,
            time: Time,
            dedup: TimeOrOff,
        }
        let read = |text: &str| toml::from_str::<Settings>(text).map_err(|wrong| wrong.message().to_string());
        let settings = read("size = '64KiB'\ntime = 1.5\ndedup = 'off'").unwrap();
        assert_eq!(settings.size, Size(65536));
        assert_eq!(settings.time, Time(Duration::from_millis(1500)));
        assert_eq!(settings.dedup, TimeOrOff(None));
        assert_eq!(read("size = 7\ntime = 30\ndedup = 2").unwrap().size, Size(7));
        for (text, fault) in [
            ("size = -1\ntime = 1\ndedup = 1", "invalid size '-1'"),
            ("size = true\ntime = 1\ndedup = 1", "expected a size such as"),
            ("size = 1\ntime = 'x'\ndedup = 1", "invalid time 'x'"),
        ] {
            let message = read(text).err().unwrap();
            assert!(message.contains(fault), "{message}");
        }
    }
}
