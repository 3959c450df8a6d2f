//! What happened when: a bounded number of intervals, which grow as the run goes on.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::core::limits::{LATENCY_MAX, SERIES_FIRST, SERIES_POINTS};

/// Intervals of equal length since the start. When there are [`SERIES_POINTS`] of them, each two
/// become one, and new ones are twice as long.
///
/// Invariants: `points` is never empty and never longer than [`SERIES_POINTS`]; the last one is the one
/// that time is in.
#[derive(Clone, Debug)]
pub struct Series {
    started: Instant,
    every: Duration,
    /// When the last interval ends.
    end: Instant,
    points: Vec<Point>,
}

#[derive(Clone, Debug)]
struct Point {
    done: u64,
    bytes: u64,
    errors: u64,
    /// Connections at the end, and the fewest.
    alive: usize,
    alive_min: usize,
    /// In µs, within 1 %; of many intervals, so smaller than [`Latency`](super::Latency).
    latency: Option<Histogram<u32>>,
}

/// One interval, as the report shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// When it ended, since the start.
    pub end_s: f64,
    /// How long it was.
    pub seconds: f64,
    /// Things done in it.
    pub done: u64,
    /// Bytes received in it.
    pub bytes: u64,
    /// Errors in it.
    pub errors: u64,
    /// Connections at its end.
    pub alive: usize,
    /// The fewest connections in it.
    pub alive_min: usize,
    /// What half of what was done took; none where nothing was.
    pub latency_us_p50: Option<f64>,
    /// 99 in 100.
    pub latency_us_p99: Option<f64>,
    /// The slowest.
    pub latency_us_max: Option<f64>,
}

impl Series {
    /// Nothing has happened by `now`.
    pub fn new(now: Instant) -> Series {
        Series { started: now, every: SERIES_FIRST, end: now + SERIES_FIRST, points: vec![Point::new(0)] }
    }

    /// Things were done, `bytes` of them received.
    pub fn done(&mut self, now: Instant, took: Duration, count: u64, bytes: u64) {
        let point = self.at(now);
        point.done += count;
        point.bytes += bytes;
        let us = u64::try_from(took.min(LATENCY_MAX).as_micros()).expect("an hour fits");
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let latency = point.latency.get_or_insert_with(|| Histogram::new(2).expect("2 digits are possible"));
        latency.record_n(us, count).expect("it grows to an hour");
    }

    /// Bytes were received that end nothing.
    pub fn bytes(&mut self, now: Instant, bytes: u64) {
        self.at(now).bytes += bytes;
    }

    /// Things went wrong.
    pub fn errors(&mut self, now: Instant, count: u64) {
        self.at(now).errors += count;
    }

    /// So many connections are alive from now on.
    pub fn alive(&mut self, now: Instant, alive: usize) {
        let at_start = now <= self.started;
        let point = self.at(now);
        point.alive = alive;
        point.alive_min = if at_start { alive } else { point.alive_min.min(alive) };
    }

    /// The last interval that is over, or the first.
    pub fn latest(&self) -> Interval {
        self.shown(self.points.len().saturating_sub(2), self.end)
    }

    /// Every interval; the last one ends at `now`.
    pub fn intervals(&self, now: Instant) -> Vec<Interval> {
        (0..self.points.len()).map(|at| self.shown(at, now)).collect()
    }

    fn shown(&self, at: usize, now: Instant) -> Interval {
        let point = &self.points[at];
        let start = self.every * at as u32;
        let end = (start + self.every).min(now.saturating_duration_since(self.started)).max(start);
        let latency = |percentile| Some(point.latency.as_ref()?.value_at_percentile(percentile) as f64);
        Interval {
            end_s: end.as_secs_f64(),
            seconds: (end - start).as_secs_f64(),
            done: point.done,
            bytes: point.bytes,
            errors: point.errors,
            alive: point.alive,
            alive_min: point.alive_min,
            latency_us_p50: latency(50.0),
            latency_us_p99: latency(99.0),
            latency_us_max: latency(100.0),
        }
    }

    /// The interval that `now` is in; of one that is over, the last.
    fn at(&mut self, now: Instant) -> &mut Point {
        while now >= self.end {
            if self.points.len() == SERIES_POINTS {
                self.double();
            } else {
                let alive = self.points.last().expect("there is one").alive;
                self.points.push(Point::new(alive));
                self.end += self.every;
            }
        }
        self.points.last_mut().expect("there is one")
    }

    fn double(&mut self) {
        self.points = self
            .points
            .chunks_mut(2)
            .map(|two| {
                let mut both = two[0].clone();
                if let Some(second) = two.get(1) {
                    both.append(second);
                }
                both
            })
            .collect();
        self.every *= 2;
        self.end = self.started + self.every * self.points.len() as u32;
    }
}

impl Point {
    fn new(alive: usize) -> Point {
        Point { done: 0, bytes: 0, errors: 0, alive, alive_min: alive, latency: None }
    }

    fn append(&mut self, next: &Point) {
        self.done += next.done;
        self.bytes += next.bytes;
        self.errors += next.errors;
        self.alive = next.alive;
        self.alive_min = self.alive_min.min(next.alive_min);
        match (&mut self.latency, &next.latency) {
            (Some(latency), Some(more)) => latency.add(more).expect("it grows to an hour"),
            (latency @ None, more) => latency.clone_from(more),
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_and_nothing_is_lost() {
        let start = Instant::now();
        let mut series = Series::new(start);
        let total = 3 * SERIES_POINTS as u32 + 7;
        for n in 0..total {
            let now = start + SERIES_FIRST * n;
            series.alive(now, n as usize + 1);
            series.done(now, Duration::from_millis(u64::from(n % 100)), 2, 10);
            series.errors(now, 1);
            assert!(series.points.len() <= SERIES_POINTS);
        }
        let now = start + SERIES_FIRST * (total - 1) + SERIES_FIRST / 2;
        let all = series.intervals(now);
        let sum = |of: fn(&Interval) -> u64| all.iter().map(of).sum::<u64>();
        assert_eq!(sum(|one| one.done), 2 * u64::from(total));
        assert_eq!(sum(|one| one.bytes), 10 * u64::from(total));
        assert_eq!(sum(|one| one.errors), u64::from(total));
        assert!((all.iter().map(|one| one.seconds).sum::<f64>() - all.last().unwrap().end_s).abs() < 1e-9);
        assert_eq!(all[0].seconds, SERIES_FIRST.as_secs_f64() * 4.0, "doubled twice");
        assert_eq!((all[1].alive_min, all[1].alive), (4, 8));
        // Four intervals of 0 to 3 ms became one.
        assert!((all[0].latency_us_max.unwrap() / 3e3 - 1.0).abs() < 0.02);
    }

    #[test]
    fn silence_is_an_interval_too() {
        let start = Instant::now();
        let mut series = Series::new(start);
        series.alive(start, 5);
        let later = start + SERIES_FIRST * 3 + SERIES_FIRST / 4;
        series.bytes(later, 1);
        let all = series.intervals(later);
        assert_eq!(all.len(), 4);
        assert_eq!(all.iter().map(|one| one.alive_min).collect::<Vec<_>>(), [5, 5, 5, 5]);
        assert_eq!((all[2].done, all[2].latency_us_p50), (0, None));
        assert!((all[3].seconds - SERIES_FIRST.as_secs_f64() / 4.0).abs() < 1e-9);
        assert_eq!(series.latest(), all[2]);
    }
}
