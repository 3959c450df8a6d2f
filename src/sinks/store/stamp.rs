//! A frame's place in the order of everything that was stored.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a frame was stored, in nanoseconds since 1970, and never the same as another's: each is at
/// least one more than the one before, whatever the clock does. So it is a time and a sequence number
/// at once, and needs no state beyond the files that are named by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// 10 s: clocks are set right by less than that all the time, and nobody asks for an age so exactly.
const AHEAD: Duration = Duration::from_secs(10);

/// So many frames later, where they follow each other.
pub fn stamp_after(stamp: Stamp, frames: u64) -> Stamp {
    Stamp(stamp.0 + frames)
}

/// Gives stamps out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// The least that may be given.
    next: u64,
}

impl Clock {
    /// Gives as many stamps as there are `frames` at the instant `now`; returns the first.
    pub fn take(&mut self, now: Stamp, frames: u32) -> Stamp {
        let first = self.next.max(now.0.min(Stamp::CLOCK_MAX));
        self.next = first + u64::from(frames);
        Stamp(first)
    }

    /// By how much the stamps to be given run ahead of the clock, where it is enough to matter: the clock was ahead
    /// once, or is set back.
    pub fn ahead_of(&self, now: Stamp) -> Option<Duration> {
        let ahead = Duration::from_nanos(self.next.saturating_sub(now.0));
        (ahead >= AHEAD).then_some(ahead)
    }

    /// The least that may be given.
    pub fn next(&self) -> Stamp {
        Stamp(self.next)
    }

    /// What lies before `end` was given already.
    pub fn pass(&mut self, end: u64) {
        self.next = self.next.max(end);
    }
}

impl Stamp {
    /// The year 2262: a clock that says more is wrong.
    const CLOCK_MAX: u64 = i64::MAX as u64;

    /// The last that is read; what claims to be later was not written by a store. Between a clock at its
    /// end and this, and between this and what a number holds, there is room for more than all the frames
    /// that will ever be stored, so no sum of the two overflows.
    pub const MAX: Stamp = Stamp(Stamp::CLOCK_MAX + (1 << 62));

    /// The stamp of an instant.
    pub fn at(time: SystemTime) -> Stamp {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The instant.
    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

/// As files are named by it: `20260728T101530.123456789Z`, all of the same length, so that they sort.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = humantime::format_rfc3339_nanos(self.time()).to_string();
        f.write_str(&written.replace(['-', ':'], ""))
    }
}

impl FromStr for Stamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Stamp, Self::Err> {
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let rest = text.get(13..).unwrap_or_default();
        let written =
            format!("{}-{}-{}{}:{}:{rest}", part(0, 4), part(4, 6), part(6, 8), part(8, 11), part(11, 13));
        let stamp = Stamp::at(humantime::parse_rfc3339(&written)?);
        // Only what is written as a stamp is one.
        if stamp <= Stamp::MAX && stamp.to_string() == text {
            Ok(stamp)
        } else {
            Err(humantime::TimestampError::InvalidFormat)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_written_so_that_it_sorts_and_can_be_read() {
        let mut before = String::new();
        for nanos in [0, 1, 999_999_999, 1_000_000_000, 1_785_233_730_123_456_789, Stamp::MAX.0] {
            let written = Stamp(nanos).to_string();
            assert_eq!((written.len(), written.parse()), (26, Ok(Stamp(nanos))));
            assert!(written > before);
            before = written;
        }
        assert_eq!(Stamp(1_785_233_730_123_456_789).to_string(), "20260728T101530.123456789Z");
        let late = Stamp(Stamp::MAX.0 + 1).to_string();
        for text in
            ["", "20260728T101530Z", "2026-07-28T10:15:30.123456789Z", "20261328T101530.123456789Z", &late]
        {
            assert!(text.parse::<Stamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn stamps_are_given_once_whatever_the_clock_does() {
        let mut clock = Clock::default();
        assert_eq!(clock.take(Stamp(100), 5), Stamp(100));
        assert_eq!(clock.take(Stamp(101), 2), Stamp(105));
        assert_eq!(clock.take(Stamp(3), 1), Stamp(107));
        assert_eq!(clock.take(Stamp(1000), 1), Stamp(1000));
        clock.pass(5000);
        assert_eq!(clock.take(Stamp(1001), 1), Stamp(5000));
        clock.pass(Stamp::MAX.0);
        assert_eq!(clock.take(Stamp(u64::MAX), u32::MAX), Stamp::MAX);
        let seconds = |n: u64| Stamp(1_000_000_000 * n);
        let mut clock = Clock::default();
        assert_eq!(clock.ahead_of(seconds(0)), None);
        clock.pass(seconds(1000).0);
        assert_eq!((clock.ahead_of(seconds(991)), clock.ahead_of(seconds(2000))), (None, None));
        assert_eq!(clock.ahead_of(seconds(940)), Some(Duration::from_secs(60)));
        let mut clock = Clock::default();
        assert!(clock.take(Stamp(u64::MAX), 1) < Stamp::MAX, "what is given can be read again");
    }
}
