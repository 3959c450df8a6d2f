//! The last 15 minutes, a sample a second.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::core::histogram::Histogram;
use crate::core::limits::HISTORY_SAMPLES;
use crate::gateway::snapshot::{PauseCause, Snapshot};

/// What happened within one second, or was so at its end. Rates are a second; latencies, in
/// microseconds, are none where nothing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Milliseconds since the Unix epoch, at its end.
    pub time_ms: u64,
    /// Frames read.
    pub frames_in: f64,
    /// Copies of frames written to subscribers.
    pub frames_out: f64,
    /// Bytes read.
    pub bytes_in: f64,
    /// Bytes written.
    pub bytes_out: f64,
    /// Frames refused.
    pub rejected: f64,
    /// Copies dropped, and not delivered where a subscriber went.
    pub lost: f64,
    /// From reading to verdict.
    pub verified_us_p50: Option<u64>,
    /// Likewise.
    pub verified_us_p99: Option<u64>,
    /// From verdict to written.
    pub written_us_p50: Option<u64>,
    /// Likewise.
    pub written_us_p99: Option<u64>,
    /// The longest turn of the loop.
    pub turn_us_max: Option<u64>,
    /// Open.
    pub connections: u64,
    /// Paused for a reason that is not its own frames in flight.
    pub paused: u64,
    /// Charged.
    pub memory_bytes: u64,
    /// With the workers.
    pub jobs: u64,
    /// In all outboxes; none where nobody watched.
    pub pending_bytes: Option<u64>,
    /// Share of the workers' time.
    pub workers_busy: f64,
}

impl Sample {
    /// What lies between two looks at one gateway; none if no time does.
    pub fn between(earlier: &Snapshot, now: &Snapshot, time_ms: u64) -> Option<Sample> {
        let time = now.uptime.checked_sub(earlier.uptime)?.as_secs_f64();
        if time <= 0.0 {
            return None;
        }
        let rate = |now: u64, earlier: u64| round(now.saturating_sub(earlier) as f64 / time);
        let (ledger, before) = (&now.ledger, &earlier.ledger);
        let lost =
            |ledger: &crate::gateway::ledger::Ledger| ledger.copies.dropped + ledger.copies.undelivered;
        let verified = now.stages.read_to_verified.since(&earlier.stages.read_to_verified);
        let written = now.stages.verified_to_written.since(&earlier.stages.verified_to_written);
        let busy = now.workers.busy.saturating_sub(earlier.workers.busy).as_secs_f64();
        Some(Sample {
            time_ms,
            frames_in: rate(ledger.read, before.read),
            frames_out: rate(ledger.copies.written, before.copies.written),
            bytes_in: rate(ledger.bytes_read, before.bytes_read),
            bytes_out: rate(ledger.bytes_written, before.bytes_written),
            rejected: rate(ledger.rejected.total(), before.rejected.total()),
            lost: rate(lost(ledger), lost(before)),
            verified_us_p50: verified.quantile(0.5),
            verified_us_p99: verified.quantile(0.99),
            written_us_p50: written.quantile(0.5),
            written_us_p99: written.quantile(0.99),
            turn_us_max: Histogram::since(&now.stages.turn, &earlier.stages.turn).largest(),
            connections: now.queues.connections.now,
            paused: now.paused.iter().map(|by| by.now).sum::<u64>()
                - now.paused[PauseCause::InFlight as usize].now,
            memory_bytes: now.memory.used_bytes,
            jobs: now.queues.jobs.now,
            pending_bytes: now.survey.as_ref().map(|survey| survey.pending_bytes),
            workers_busy: round(busy / (time * now.workers.threads.max(1) as f64)),
        })
    }
}

/// To a thousandth: more digits say nothing, and go over the wire.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The last samples, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
}

impl History {
    /// Adds the latest.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.len() == HISTORY_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// All of them.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The latest.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }
}

/// How far apart samples are.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::watch::tests::some_snapshot;

    #[test]
    fn a_sample_is_what_lies_between() {
        let earlier = some_snapshot();
        let mut now = some_snapshot();
        now.uptime += Duration::from_millis(500);
        now.ledger.read += 50;
        now.ledger.copies.dropped += 1;
        now.stages.read_to_verified.record_many(64, 10);
        now.workers.busy += Duration::from_millis(250);
        let sample = Sample::between(&earlier, &now, 7).unwrap();
        assert_eq!((sample.time_ms, sample.frames_in, sample.lost), (7, 100.0, 2.0));
        assert_eq!((sample.verified_us_p50, sample.written_us_p50), (Some(60), None));
        assert_eq!(sample.workers_busy, 0.25, "of two workers");
        assert_eq!(sample.paused, 3);
        assert_eq!(Sample::between(&now, &now, 8), None);
        assert_eq!(Sample::between(&now, &earlier, 8), None);
    }

    #[test]
    fn old_samples_go() {
        let mut history = History::default();
        for time_ms in 0..2_000 {
            history.push(Sample { time_ms, ..Sample::default() });
        }
        assert_eq!(history.samples().count(), HISTORY_SAMPLES);
        assert_eq!(history.last().unwrap().time_ms, 1999);
    }
}
