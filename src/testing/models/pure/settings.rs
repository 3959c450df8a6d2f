//! Sizes, times and ranges as people write them against what they were written of; and texts fit for a line of a log.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use serde::de::value::{Error, F64Deserializer, I64Deserializer, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};

use super::choices::Choices;
use crate::core::backoff::{self, Backoff};
use crate::core::random::Rng;
use crate::core::ranges::{self, Bounds, RANGES, Value};
use crate::core::units::{self, Size, Time, TimeOrOff, TimeOrSize};

/// More of a text finds nothing new.
const TEXT_MAX: usize = 40;

const SIZES: [(&str, u64); 6] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GB", 1_000_000_000), ("TiB", 1 << 40)];
const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("", 1_000), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// 100 years: what is longer has other names for its units.
const LONG: Duration = Duration::from_secs(100 * 31_557_600);

/// What is written of a number is read as that number, and what is shown of a value is read as that value.
pub fn check_settings(data: &[u8]) {
    let mut choices = Choices::new(data);
    let number = choices.number() >> choices.below(64);
    let range = &RANGES[choices.below(RANGES.len())];
    check_size(number, SIZES[choices.below(SIZES.len())]);
    check_time(number, TIMES[choices.below(TIMES.len())]);
    let count = choices.number() >> choices.below(64);
    check_told(number, count);
    check_figures(number, count);
    check_pauses(number, count);
    let text = String::from_utf8_lossy(choices.bytes(TEXT_MAX)).into_owned();
    let text = match choices.below(6) {
        4 => range.word.unwrap_or("OFF").to_owned(),
        5 => format!("{}d", number >> 50),
        0 => Size(number as usize).to_string(),
        1 => Time(Duration::from_millis(number >> 20)).to_string(),
        2 => number.to_string(),
        _ => text,
    };
    check_range(range, &text);
    check_serve(range, number);
    check_text(&text);
    // It compares with every name.
    if choices.below(16) == 1 {
        check_nearest(&text);
        check_nearest(range.option);
    }
}

fn check_size(number: u64, (unit, one): (&str, u64)) {
    // The library computes with floating point above this.
    let number = number >> 12;
    let written = format!("{number}{unit}");
    let expected = number.checked_mul(one).filter(|_| number < 1 << 50).map(|bytes| Size(bytes as usize));
    if let Some(expected) = expected {
        assert_eq!(written.parse(), Ok(expected), "{written}");
        assert_eq!(expected.to_string().parse(), Ok(expected), "{expected} shown of {written}");
        let rounded = units::rounded(expected.0);
        let Size(near) = rounded.parse().expect("what is shown can be read");
        assert!(near.abs_diff(expected.0) <= expected.0 / 15, "{rounded} shown of {written}");
        if !unit.is_empty() {
            let either = TimeOrSize::Size(expected.0);
            assert_eq!(written.parse(), Ok(either));
            assert_eq!(either.to_string(), expected.to_string());
        }
    }
    let bare = I64Deserializer::<Error>::new(number as i64);
    assert_eq!(Size::deserialize(bare).map(usize::from), Ok(number as usize));
}

fn check_time(number: u64, (unit, ms): (&str, u64)) {
    let number = number >> 24;
    let Some(time) = number.checked_mul(ms).map(Duration::from_millis).filter(|time| *time < LONG) else {
        return;
    };
    let written = format!("{number}{unit}");
    assert_eq!(written.parse(), Ok(Time(time)), "{written}");
    let shown = Time(time).to_string();
    assert_eq!(shown.parse().map(|read: Time| Duration::from(read)), Ok(time), "{shown} shown of {written}");
    let off = TimeOrOff((!time.is_zero()).then_some(time));
    assert_eq!(written.parse(), Ok(off));
    assert_eq!(Option::<Duration>::from(off), off.0);
    assert_eq!(off.to_string().parse(), Ok(off));
    if !unit.is_empty() {
        let either = TimeOrSize::Time(time);
        assert_eq!(written.parse(), Ok(either));
        assert_eq!(either.to_string(), shown);
    }
    let told = StrDeserializer::<Error>::new(&written);
    assert_eq!(TimeOrOff::deserialize(told), Ok(off));
    let seconds = F64Deserializer::<Error>::new(number as f64);
    assert_eq!(Time::deserialize(seconds).is_ok(), Duration::try_from_secs_f64(number as f64).is_ok());
}

/// As a serializer writes them.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        units::serialize_seconds(&self.0, f)
    }
}

/// Numbers and times in messages.
fn check_told(number: u64, count: u64) {
    let grouped = units::grouped(number);
    assert_eq!(grouped.replace(',', "").parse(), Ok(number));
    assert!(grouped.split(',').skip(1).all(|three| three.len() == 3), "{grouped}");
    assert_eq!(units::many(count, "frame").ends_with("frame"), count == 1);
    let time = Duration::from_micros(number);
    let about = units::about(time);
    if time >= Duration::from_millis(1) {
        let Time(told) = about.parse().expect("it is told as it could be written");
        assert!(told <= time && time - told <= time / 10 + Duration::from_millis(1), "{about} of {time:?}");
    }
    let seconds: f64 = Seconds(time).to_string().parse().expect("a number");
    assert!((seconds - time.as_secs_f64()).abs() < 1e-3 + seconds / 1e6);
    let [full, other] = [io::ErrorKind::FileTooLarge, io::ErrorKind::NotFound].map(io::Error::from);
    assert!(units::of_file(&full).contains("ulimit -f"));
    assert_eq!(units::of_file(&other), other.to_string());
    let now = Instant::now();
    assert!(units::later(now, Duration::from_secs(number)) >= now);
}

/// Figures of reports: what is told is near what was measured.
fn check_figures(number: u64, count: u64) {
    let exact = number as f64;
    let near = |told: &str, units: &[(&str, f64)], off: f64| {
        let (value, unit) = told.split_once(' ').unwrap_or((told, ""));
        let value: f64 = value.parse().expect("a number comes first");
        let (_, one) = units.iter().find(|(name, _)| *name == unit).expect("a unit that there is");
        assert!((value * one - exact).abs() <= off * exact + 0.006, "{told} of {exact}");
    };
    near(&units::latency(exact), &[("µs", 1.0), ("ms", 1e3), ("s", 1e6)], 0.006);
    near(&units::short(exact), &[("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)], 0.006);
    let decimal = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].map(|unit| (unit, 1e3));
    let binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].map(|unit| (unit, 1024.0));
    for (told, units) in [(units::bytes(number), decimal), (units::held(number), binary)] {
        let mut power = 0;
        let units = units.map(|(unit, base): (&str, f64)| {
            power += 1;
            (unit, base.powi(power - 1))
        });
        near(&told, &units, 0.06);
    }
    let [took, slow] = [exact / 1e3, exact / 1e3 + 1.0];
    let told = units::seconds(took);
    let told: f64 = told.strip_suffix(" s").expect("its unit").parse().expect("a number");
    assert!((told - took).abs() <= 0.006 + took / 1e9, "{told} of {took}");
    assert!(units::rate(count, slow) <= units::rate(count, took), "more slowly is less a second");
}

/// Pauses between tries double up to the longest, by memory and by number; a jittered one has half of it at least.
fn check_pauses(number: u64, count: u64) {
    let [first, max] = [number, count].map(Duration::from_micros);
    let mut pauses = Backoff::new(first, max);
    let day = Duration::from_secs(86_400);
    let (mut expected, longest) = (first.min(max).min(day), max.min(day));
    let mut rng = Rng::from_seed(count);
    for tries in 1..=6 {
        assert_eq!(pauses.after(tries), expected);
        assert_eq!(pauses.pause(), expected);
        let jittered = backoff::jittered(expected, &mut rng);
        assert!(jittered <= expected && jittered + Duration::from_nanos(1) >= expected / 2);
        expected = (2 * expected).min(longest);
    }
    pauses.reset();
    assert_eq!(pauses.pause(), pauses.after(0));
    assert!(rng.below(number | 1) < number | 1);
}

/// A text is allowed where the number that it is read as is within the bounds.
fn check_range(range: &ranges::Range, text: &str) {
    let within = match range.bounds {
        Bounds::Count(least, most) => {
            text.trim().parse::<i128>().is_ok_and(|n| (i128::from(least)..=i128::from(most)).contains(&n))
        }
        Bounds::Size(least, most) => text.parse().is_ok_and(|Size(n)| (least..=most).contains(&n)),
        Bounds::Time(least, most) => text.parse().is_ok_and(|Time(time)| {
            (least..=most).contains(&time) || range.word == Some("off") && time.is_zero()
        }),
        Bounds::TimeOrSize(most, bytes) => text.parse().is_ok_and(|either| match either {
            TimeOrSize::Time(time) => (Duration::from_millis(1)..=most).contains(&time),
            TimeOrSize::Size(n) => (1..=bytes).contains(&n),
        }),
        Bounds::Rate(least, most) => {
            text.trim().parse().is_ok_and(|rate: f64| (least..=most).contains(&rate))
        }
    };
    let is_word = range.word.is_some_and(|word| text.trim().eq_ignore_ascii_case(word));
    let checked = range.check(text);
    assert_eq!(checked.is_ok(), within || is_word, "--{} {text:?}: {checked:?}", range.option);
    assert_eq!(ranges::of(range.command, range.option).map(|range| range.why), Some(range.why));
    if let Err(wrong) = checked {
        assert!(wrong.contains(&range.bounds.to_string()) || !ranges::is_like_a_number(text), "{wrong}");
    }
}

/// A value of `serve` that was not written anywhere: it is allowed where what is shown of it may be given.
fn check_serve(range: &ranges::Range, number: u64) {
    if range.command != "serve" {
        return;
    }
    let is_time = matches!(range.bounds, Bounds::Time(..));
    let is_either = matches!(range.bounds, Bounds::TimeOrSize(..));
    // What is shown of a size for which there is a time, too, needs its unit.
    let number = if is_either { number >> 20 << 20 } else { number };
    let word = Value::word(range.why);
    assert_eq!(
        (ranges::written(range.option, &word).as_str(), ranges::check(range.option, &word)),
        (range.why, Ok(()))
    );
    let values = [Value::Number(number as usize), Value::Time(Duration::from_micros(number))];
    for (value, fits) in values.into_iter().zip([!is_time, is_time || is_either]) {
        let checked = ranges::check(range.option, &value);
        let shown = ranges::written(range.option, &value);
        let is_off = range.word == Some("off") && value == Value::Time(Duration::ZERO);
        let may_be_given = fits && !is_off && range.check(&shown).is_ok();
        assert_eq!(checked.is_ok(), may_be_given, "{} {value:?} {shown}: {checked:?}", range.option);
    }
}

/// Any text: it is read or refused, never both or neither, and nothing of it is obeyed by a terminal.
fn check_text(text: &str) {
    let (time, size, either): (Result<Time, _>, Result<Size, _>, Result<TimeOrSize, _>) =
        (text.parse(), text.parse(), text.parse());
    let bare = text.trim().parse::<f64>().is_ok();
    assert_eq!(either.is_ok(), !bare && (time.is_ok() || size.is_ok()), "{text:?}");
    for wrong in [time.err(), size.err(), either.err()].into_iter().flatten() {
        assert!(wrong.contains(text.trim()), "{wrong}");
    }
    assert_eq!(
        TimeOrSize::deserialize(text.into_deserializer()).map_err(|error: Error| error.to_string()),
        text.parse()
    );
    assert!(
        TimeOrSize::deserialize(().into_deserializer())
            .is_err_and(|error: Error| error.to_string().contains("7d"))
    );
    let plain = units::plain(text);
    assert!(!plain.contains(units::is_obeyed));
    assert_eq!(text == plain, !text.contains(units::is_obeyed));
    assert!(!units::one_line(text).contains(['\n', '\r', '\u{2028}']));
}

/// Of the names that there are, the one that is meant by itself is the nearest.
fn check_nearest(text: &str) {
    let options = RANGES.iter().map(|range| range.option);
    match options.clone().find(|option| *option == text) {
        Some(option) => assert_eq!(units::nearest(text, options), Some(option)),
        None => assert!(units::nearest(text, options).is_none_or(|near| near != text)),
    }
}
