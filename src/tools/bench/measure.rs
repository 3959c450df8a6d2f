//! What a load writes down while it runs.

use std::time::{Duration, Instant};

use super::{Connections, Errors, Latency, Progress, Series};

/// What has happened since the start.
///
/// Rates and the series are of what happens until it is [closed](Self::close). What was begun before and
/// ends later still counts among the latencies and the errors: leaving out what is slow would flatter.
#[derive(Clone, Debug)]
pub struct Measure {
    started: Instant,
    closed: Option<Instant>,
    latency: Latency,
    series: Series,
    errors: Errors,
    done: u64,
    bytes: u64,
    connections: Connections,
}

impl Measure {
    /// Nothing has happened by `now`; so many connections are wanted.
    pub fn new(now: Instant, target: usize) -> Measure {
        Measure {
            started: now,
            closed: None,
            latency: Latency::default(),
            series: Series::new(now),
            errors: Errors::default(),
            done: 0,
            bytes: 0,
            connections: Connections { target, ..Connections::default() },
        }
    }

    /// `count` things were done that took so long each, `bytes` received for them.
    pub fn done(&mut self, now: Instant, took: Duration, count: u64, bytes: u64) {
        self.latency.record(took, count);
        if self.closed.is_none() {
            self.done += count;
            self.bytes += bytes;
            self.series.done(now, took, count, bytes);
        }
    }

    /// Bytes were received that end nothing.
    pub fn bytes(&mut self, now: Instant, bytes: u64) {
        if self.closed.is_none() {
            self.bytes += bytes;
            self.series.bytes(now, bytes);
        }
    }

    /// `count` errors of a kind; `example` is asked for the first time only.
    pub fn errors(&mut self, now: Instant, kind: &'static str, count: u64, example: impl FnOnce() -> String) {
        self.errors.add(kind, count, example);
        if self.closed.is_none() {
            self.series.errors(now, count);
        }
    }

    /// So many connections are alive from now on.
    pub fn alive(&mut self, now: Instant, alive: usize) {
        if self.closed.is_none() {
            self.connections.change(now.saturating_duration_since(self.started), alive);
            self.series.alive(now, alive);
        }
    }

    /// Measuring ends; what is still under way may end.
    pub fn close(&mut self, now: Instant) {
        self.closed.get_or_insert(now);
    }

    /// Whether measuring has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// When measuring ended; `now` where it did not.
    pub fn ended(&self, now: Instant) -> Instant {
        self.closed.unwrap_or(now)
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Things done until it was closed.
    pub fn count(&self) -> u64 {
        self.done
    }

    /// Bytes received until it was closed.
    pub fn bytes_received(&self) -> u64 {
        self.bytes
    }

    /// What went wrong so far.
    pub fn error_kinds(&self) -> &Errors {
        &self.errors
    }

    /// How long things took.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// What happened when.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// How many connections there are and were.
    pub fn connections(&self) -> Connections {
        self.connections
    }

    /// How far it is, of a run that ends after `duration` where that is known.
    pub fn progress(&self, now: Instant, duration: Option<Duration>) -> Progress {
        let latest = self.series.latest();
        Progress {
            elapsed: now.saturating_duration_since(self.started),
            duration,
            alive: self.connections.end,
            target: self.connections.target,
            done: self.done,
            per_s: latest.done as f64 / latest.seconds.max(1e-9),
            errors: self.errors.total(),
            latency_us: latest.latency_us_p50.zip(latest.latency_us_p99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_after_measuring_counts_as_slow_not_as_fast() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut measure = Measure::new(start, 1);
        measure.alive(start, 1);
        measure.done(at(10), Duration::from_millis(10), 5, 50);
        measure.close(at(100));
        measure.close(at(500));
        measure.done(at(200), Duration::from_millis(150), 1, 10);
        measure.bytes(at(200), 7);
        measure.errors(at(200), "lost", 1, String::new);
        measure.alive(at(200), 0);
        assert_eq!((measure.count(), measure.bytes_received(), measure.ended(at(900))), (5, 50, at(100)));
        assert_eq!((measure.latency().count(), measure.error_kinds().total()), (6, 1));
        assert_eq!(measure.connections().end, 1);
        let progress = measure.progress(at(50), Some(Duration::from_secs(1)));
        assert_eq!((progress.done, progress.errors, progress.target), (5, 1, 1));
    }
}
