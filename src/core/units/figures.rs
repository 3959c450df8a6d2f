//! Counts, sizes, rates and times as reports, status and log lines say them.
//!
//! A setting is said as it would be written, [`Size`](super::Size) and [`Time`](super::Time). Of what was
//! measured, memory is said in powers of 1,024 as its bounds are written, and what was transferred in powers of 1,000 as
//! links are; a length of time as [`about`] says it, and a latency with three digits.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 frame`, `1,000 frames`.
pub fn many(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// About how long something took or has lasted, for a message: `250ms`, `2.1s`, `1m 5s`, `2d 7h`.
pub fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    // The smaller unit, where there is some of it.
    let two = |large: u64, unit: char, small: u64, rest: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{rest}"),
    };
    match seconds {
        0 if time.as_millis() == 0 && !time.is_zero() => "under 1ms".to_string(),
        0 => format!("{}ms", time.as_millis()),
        1..10 if time.subsec_millis() >= 100 => format!("{seconds}.{}s", time.subsec_millis() / 100),
        1..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, 'm', seconds % 60, 's'),
        3_600..86_400 => two(seconds / 3_600, 'h', seconds / 60 % 60, 'm'),
        _ => two(seconds / 86_400, 'd', seconds / 3_600 % 24, 'h'),
    }
}

/// A number of bytes that were transferred, in powers of 1,000: `98.2 MB`.
pub fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

/// A number of bytes that are held, in powers of 1,024: `1.5 KiB`.
pub fn held(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// How long a command took: `1.93 s`.
pub fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

/// Things done in so many seconds, a second.
pub fn rate(done: u64, seconds: f64) -> u64 {
    (done as f64 / seconds.max(1e-6)) as u64
}

/// Microseconds of a latency in the unit that suits them: `210 µs`, `1.50 ms`, `2.00 s`.
pub fn latency(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 999.5 => (us, "µs"),
        us if us < 999_500.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A number in powers of 1,000: `2.41 M`.
pub fn short(number: f64) -> String {
    match number {
        n if n < 999.5 => three_digits(n),
        n if n < 999_500.0 => format!("{} k", three_digits(n / 1e3)),
        n if n < 999_500_000.0 => format!("{} M", three_digits(n / 1e6)),
        n => format!("{} G", three_digits(n / 1e9)),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_counts_and_times() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!((many(1, "frame"), many(0, "frame")), ("1 frame".into(), "0 frames".into()));
        assert_eq!(many(1000, "frame"), "1,000 frames");
        for (ms, text) in [
            (0.0, "0ms"),
            (0.2, "under 1ms"),
            (250.0, "250ms"),
            (2_199.0, "2.1s"),
            (3_000.0, "3s"),
            (59_999.0, "59s"),
            (60_000.0, "1m"),
            (65_000.0, "1m 5s"),
            (3_725_000.0, "1h 2m"),
            (200_000_000.0, "2d 7h"),
        ] {
            assert_eq!(about(Duration::from_secs_f64(ms / 1e3)), text);
        }
    }

    #[test]
    fn times_and_numbers_have_three_digits() {
        for (us, text) in [
            (0.0, "0.00 µs"),
            (9.996, "10.0 µs"),
            (210.0, "210 µs"),
            (999.6, "1.00 ms"),
            (1_504.0, "1.50 ms"),
            (99_960.0, "100 ms"),
            (2e6, "2.00 s"),
            (3.6e9, "3600 s"),
        ] {
            assert_eq!(latency(us), text);
        }
        for (number, text) in [(0.0, "0.00"), (645.2, "645"), (2_410_000.0, "2.41 M"), (1e9, "1.00 G")] {
            assert_eq!(short(number), text);
        }
        assert_eq!((bytes(98_200_000), held(1536)), ("98.2 MB".into(), "1.5 KiB".into()));
        assert_eq!((seconds(1.934), rate(10, 4.0), rate(1, 0.0)), ("1.93 s".into(), 2, 1_000_000));
    }
}
