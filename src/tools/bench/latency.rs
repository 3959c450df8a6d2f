//! How long things took.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::core::limits::LATENCY_MAX;

/// The latencies of any number of things, each within 0.1 %, in at most 260 KiB.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

/// What most, nearly all and the slowest took. In JSON, numbers of microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The fastest.
    pub min: f64,
    /// The average.
    pub mean: f64,
    /// Half took at most so long.
    pub p50: f64,
    /// 90 in 100.
    pub p90: f64,
    /// 99 in 100.
    pub p99: f64,
    /// 999 in 1,000.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency(Histogram::new_with_max(nanos(LATENCY_MAX), 3).expect("3 digits are possible"))
    }
}

impl Latency {
    /// `count` things took so long each.
    pub fn record(&mut self, took: Duration, count: u64) {
        self.0.saturating_record_n(nanos(took), count);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What they took; none where nothing was recorded.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |percentile| us(self.0.value_at_percentile(percentile));
        (!self.0.is_empty()).then(|| Percentiles {
            min: us(self.0.min()),
            mean: self.0.mean() / 1e3,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: us(self.0.max()),
        })
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles(), None);
        for us in 1..=10_000 {
            latency.record(Duration::from_micros(us), 1);
        }
        let found = latency.percentiles().unwrap();
        for (found, expected) in [
            (found.min, 1.0),
            (found.mean, 5_000.5),
            (found.p50, 5_000.0),
            (found.p90, 9_000.0),
            (found.p99, 9_900.0),
            (found.p999, 9_990.0),
            (found.max, 10_000.0),
        ] {
            assert!((found / expected - 1.0).abs() < 1.5e-3, "{found} should be {expected}");
        }
    }

    #[test]
    fn what_takes_for_ever_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.record(Duration::MAX, 3);
        assert_eq!(latency.count(), 3);
        let max = latency.percentiles().unwrap().max;
        assert!((max / LATENCY_MAX.as_micros() as f64 - 1.0).abs() < 2e-3, "{max}");
    }
}
