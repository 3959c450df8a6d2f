//! How long the stages take. A gate is told the time once a turn, and once more when all that the turn read is
//! verified. So what begins and ends in one turn is counted, and takes as long as its part of the turn did when that
//! is known: a batch that the reactor verified itself until then, and a run that it wrote from then on.

use std::time::{Duration, Instant};

use crate::gateway::snapshot::Stages;

/// The histograms, and what began and ended in this turn.
#[derive(Debug, Default)]
pub struct Timing {
    stages: Stages,
    /// A turn whose length is not known yet.
    open: bool,
    /// How long it took until all that it read was verified, if it verified something itself.
    reading: Duration,
    verified: u64,
    written: u64,
}

impl Timing {
    /// What was measured until now.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.open = true;
    }

    /// Whether something that was read in this turn has its verdict.
    pub fn has_verified(&self) -> bool {
        self.verified > 0
    }

    /// All that was read in this turn has its verdict, so long after it began.
    pub fn end_reading(&mut self, time: Duration) {
        self.reading = time;
    }

    /// The turn took so long.
    pub fn end_turn(&mut self, time: Duration) {
        let reading = std::mem::take(&mut self.reading);
        if !std::mem::take(&mut self.open) {
            return;
        }
        let us = micros(time);
        self.stages.turn.record(us);
        self.stages.turn_longest = self.stages.turn_longest.max(time);
        let verified = std::mem::take(&mut self.verified);
        if verified > 0 {
            // Some may have been read later in the turn, as memory came free.
            let time = if reading.is_zero() { time } else { reading };
            self.stages.read_to_verified.record_many(micros(time), verified);
        }
        let written = std::mem::take(&mut self.written);
        if written > 0 {
            let time = time.saturating_sub(reading).max(Duration::from_nanos(1));
            self.stages.verified_to_written.record_many(micros(time), written);
        }
    }

    /// A batch was cut.
    pub fn batch(&mut self, frames: u32, bytes: usize) {
        self.stages.batch_frames.record(u64::from(frames));
        self.stages.batch_bytes.record(bytes as u64);
    }

    /// What was read at `read` has its verdict.
    pub fn verified(&mut self, read: Instant, now: Instant) {
        if read == now {
            self.verified += 1;
        } else {
            self.stages.read_to_verified.record(micros(now.saturating_duration_since(read)));
        }
    }

    /// A run that was distributed at `distributed` is written to one subscriber.
    pub fn written(&mut self, distributed: Instant, now: Instant) {
        if distributed == now {
            self.written += 1;
        } else {
            self.stages.verified_to_written.record(micros(now.saturating_duration_since(distributed)));
        }
    }
}

/// Rounded up, so that nothing seems to take no time.
fn micros(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + u64::from(time.subsec_nanos().div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_written_in_one_turn_is_told_apart() {
        let (mut timing, start) = (Timing::default(), Instant::now());
        timing.begin_turn();
        assert!(!timing.has_verified());
        timing.verified(start, start);
        assert!(timing.has_verified());
        timing.end_reading(Duration::from_micros(50));
        timing.written(start, start);
        timing.written(start, start + Duration::from_micros(512));
        timing.end_turn(Duration::from_micros(63));
        let stages = timing.stages();
        assert_eq!((stages.read_to_verified.count(), stages.read_to_verified.sum()), (1, 50));
        assert_eq!((stages.verified_to_written.count(), stages.verified_to_written.sum()), (2, 13 + 512));
        // A turn that reads nothing writes all the time.
        timing.begin_turn();
        timing.written(start, start);
        timing.end_turn(Duration::from_micros(8));
        assert_eq!(timing.stages().verified_to_written.sum(), 13 + 512 + 8);
    }

    #[test]
    fn what_begins_and_ends_in_one_turn_takes_as_long_as_the_turn() {
        let (mut timing, start) = (Timing::default(), Instant::now());
        timing.end_turn(Duration::from_secs(9));
        assert_eq!(timing.stages().turn.count(), 0, "no turn had begun");
        timing.begin_turn();
        timing.verified(start, start);
        timing.verified(start, start + Duration::from_micros(512));
        timing.written(start, start);
        assert_eq!(timing.stages().verified_to_written.count(), 0, "it is not known yet");
        timing.end_turn(Duration::from_nanos(63_001));
        let stages = timing.stages();
        assert_eq!((stages.turn.sum(), stages.turn_longest), (64, Duration::from_nanos(63_001)));
        assert_eq!((stages.read_to_verified.count(), stages.read_to_verified.sum()), (2, 64 + 512));
        assert_eq!((stages.verified_to_written.count(), stages.verified_to_written.sum()), (1, 64));
    }
}
