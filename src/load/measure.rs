//! What a load writes down while it runs.

use std::time::{Duration, Instant};

use super::{Connections, Errors, Latency, Progress, Series};

/// What has happened since the start.
#[derive(Clone, Debug)]
pub struct Measure {
    started: Instant,
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
        self.done += count;
        self.bytes += bytes;
        self.latency.record(took, count);
        self.series.done(now, took, count, bytes);
    }

    /// Bytes were received that end nothing.
    pub fn bytes(&mut self, now: Instant, bytes: u64) {
        self.bytes += bytes;
        self.series.bytes(now, bytes);
    }

    /// `count` errors of a kind; `example` is asked for the first time only.
    pub fn errors(&mut self, now: Instant, kind: &'static str, count: u64, example: impl FnOnce() -> String) {
        self.errors.add(kind, count, example);
        self.series.errors(now, count);
    }

    /// So many connections are alive from now on.
    pub fn alive(&mut self, now: Instant, alive: usize) {
        self.connections.change(now.saturating_duration_since(self.started), alive);
        self.series.alive(now, alive);
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Things done.
    pub fn count(&self) -> u64 {
        self.done
    }

    /// Bytes received.
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
