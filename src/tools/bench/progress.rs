//! How far a load is.

use std::fmt;
use std::time::{Duration, Instant};

use crate::core::limits::PROGRESS_EVERY;
use crate::core::units::{grouped, latency, many};

/// How far a load is, for one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// How long it lasts; none if until it is ended.
    pub duration: Option<Duration>,
    /// Connections alive, of so many.
    pub alive: usize,
    /// See `alive`.
    pub target: usize,
    /// Things done since the start.
    pub done: u64,
    /// Things done a second, of late.
    pub per_s: f64,
    /// Errors since the start.
    pub errors: u64,
    /// p50 and p99 of late; none where nothing was done.
    pub latency_us: Option<(f64, f64)>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.elapsed.as_secs())?;
        if let Some(duration) = self.duration {
            write!(f, " of {}s", duration.as_secs())?;
        }
        let (alive, target) = (grouped(self.alive as u64), grouped(self.target as u64));
        write!(f, "  {alive} of {target} connections  {}/s", grouped(self.per_s as u64))?;
        if let Some((p50, p99)) = self.latency_us {
            write!(f, "  p50 {}  p99 {}", latency(p50), latency(p99))?;
        }
        write!(f, "  {}", many(self.errors, "error"))
    }
}

/// Tells now and then how far a load is.
pub struct Ticker<'a> {
    next: Instant,
    show: &'a mut dyn FnMut(&Progress),
}

impl<'a> Ticker<'a> {
    /// Calls `show` each [`PROGRESS_EVERY`] from `now` on.
    pub fn new(now: Instant, show: &'a mut dyn FnMut(&Progress)) -> Ticker<'a> {
        Ticker { next: now + PROGRESS_EVERY, show }
    }

    /// When it has something to show next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Shows, if it is due.
    pub fn tick(&mut self, now: Instant, progress: impl FnOnce() -> Progress) {
        if now >= self.next {
            (self.show)(&progress());
            self.next = now + PROGRESS_EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_line() {
        let mut progress = Progress {
            elapsed: Duration::from_millis(12_700),
            duration: Some(Duration::from_secs(60)),
            alive: 9_998,
            target: 10_000,
            done: 7_000,
            per_s: 645.4,
            errors: 2,
            latency_us: Some((210.0, 1_500.0)),
        };
        let line = "12s of 60s  9,998 of 10,000 connections  645/s  p50 210 µs  p99 1.50 ms  2 errors";
        assert_eq!(progress.to_string(), line);
        (progress.duration, progress.latency_us) = (None, None);
        assert_eq!(progress.to_string(), "12s  9,998 of 10,000 connections  645/s  2 errors");
    }

    #[test]
    fn it_ticks_when_it_is_due() {
        let start = Instant::now();
        let progress = super::super::Measure::new(start, 1).progress(start, None);
        let mut shown = 0;
        let mut show = |_: &Progress| shown += 1;
        let mut ticker = Ticker::new(start, &mut show);
        ticker.tick(start, || unreachable!("not due"));
        let due = ticker.next();
        ticker.tick(due, || progress);
        ticker.tick(due, || unreachable!("not due again"));
        assert_eq!(ticker.next(), due + PROGRESS_EVERY);
        assert_eq!(shown, 1);
    }
}
