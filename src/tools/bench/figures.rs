//! What every load reports.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::page::Page;
use super::{BAD_STATUS, Doubt, Errors, Interval, Measure, Own, Percentiles, Spent};
use crate::core::units::{bytes, grouped, latency, plain};

/// What every load reports, beside what it alone does. The keys of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// How long it was measured.
    pub seconds: f64,
    /// Whether a signal ended it early.
    pub interrupted: bool,
    /// Things done (frames received, responses) in that time.
    pub done: u64,
    /// The same a second.
    pub done_per_s: f64,
    /// Bytes received in that time.
    pub bytes_received: u64,
    /// How long things took; none where nothing was done.
    pub latency_us: Option<Percentiles>,
    /// How many connections there were.
    pub connections: Connections,
    /// What went wrong, by kind.
    pub errors: Errors,
    /// What the generator itself spent.
    pub generator: Own,
    /// Why the figures may not be what they seem.
    pub doubts: Vec<Doubt>,
    /// What happened when.
    pub series: Vec<Interval>,
}

/// How many connections there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Connections {
    /// How many were wanted.
    pub target: usize,
    /// When there were so many, since the start; none if there never were.
    pub reached_s: Option<f64>,
    /// The fewest since then (or the most there ever were, if there never were so many).
    pub min: usize,
    /// How many there were at the end.
    pub end: usize,
}

impl Connections {
    pub(super) fn change(&mut self, elapsed: Duration, alive: usize) {
        self.end = alive;
        if self.reached_s.is_some() {
            self.min = self.min.min(alive);
        } else if alive >= self.target {
            self.reached_s = Some(elapsed.as_secs_f64());
            self.min = alive;
        } else {
            self.min = self.min.max(alive);
        }
    }
}

impl Figures {
    /// What was measured until the measure was closed, or until `now`; `own` is what the generator spent
    /// until then. Further doubts of a load's own can be pushed.
    pub fn new(measure: &Measure, own: Own, now: Instant, interrupted: bool) -> Figures {
        let now = measure.ended(now);
        let seconds = now.saturating_duration_since(measure.started()).as_secs_f64();
        let mut figures = Figures {
            seconds,
            interrupted,
            done: measure.count(),
            done_per_s: measure.count() as f64 / seconds.max(1e-9),
            bytes_received: measure.bytes_received(),
            latency_us: measure.latency().percentiles(),
            connections: measure.connections(),
            errors: measure.error_kinds().clone(),
            generator: own,
            doubts: Vec::new(),
            series: measure.series().intervals(now),
        };
        figures.doubts = Doubt::find(&figures);
        figures
    }

    /// Things that were tried: done, or ended with an error.
    pub fn tried(&self) -> u64 {
        self.done + self.errors.total() - self.errors.of(BAD_STATUS)
    }

    /// The rows about what went wrong.
    pub fn show_errors(&self, page: &mut Page) {
        if self.errors.total() == 0 {
            page.row("errors", "none");
        }
        for (at, (kind, count, example)) in self.errors.iter().enumerate() {
            let label = if at == 0 { "errors" } else { "" };
            page.row(label, format!("{} {kind}: {}", grouped(count), plain(example)));
        }
    }

    /// The rows about what is doubtful.
    pub fn show_doubts(&self, page: &mut Page) {
        for (at, doubt) in self.doubts.iter().enumerate() {
            page.row(if at == 0 { "doubts" } else { "" }, format!("- {doubt}"));
        }
    }
}

impl Own {
    /// For a row of a report. `each` is what each thing cost, or nothing.
    pub fn shown(&self, each: &str) -> String {
        let memory = self.rss_bytes_max.map_or(String::new(), |rss| format!(", {}", bytes(rss)));
        let slip = self.slip_us.map_or(String::new(), |slip| {
            format!("; late by {} (p50), {} (p99)", latency(slip.p50), latency(slip.p99))
        });
        format!("{:.2} cores{each}{memory}{slip}", self.cores)
    }
}

impl Spent {
    /// For a row of a report. `each` is what each thing cost, or nothing.
    pub fn shown(&self, each: &str) -> String {
        format!(
            "{:.2} cores{each}, {} (at most {})",
            self.cores,
            bytes(self.rss_bytes),
            bytes(self.rss_bytes_max)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_connections_count_from_when_all_were_there() {
        let mut connections = Connections { target: 3, ..Connections::default() };
        for (ms, alive, reached, min) in [
            (0, 1, None, 1),
            (1, 2, None, 2),
            (2, 1, None, 2),
            (3, 3, Some(0.003), 3),
            (4, 2, Some(0.003), 2),
            (5, 3, Some(0.003), 2),
        ] {
            connections.change(Duration::from_millis(ms), alive);
            assert_eq!((connections.reached_s, connections.min, connections.end), (reached, min, alive));
        }
    }
}
