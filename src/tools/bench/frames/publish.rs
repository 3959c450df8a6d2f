//! What a publisher sends, and when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ring::Ring;
use crate::core::limits::WRITES_REMEMBERED;

/// When which frame is due: those of all publishers in turn, evenly.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    per_s: f64,
    publishers: u64,
}

impl Schedule {
    /// `per_s` frames a second of all publishers together, from `start` on.
    pub fn new(start: Instant, per_s: f64, publishers: usize) -> Schedule {
        Schedule { start, per_s, publishers: publishers as u64 }
    }

    /// How many frames of all publishers are due by `now`: frame k is that of publisher k modulo their
    /// number.
    pub fn total(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.start).as_secs_f64() * self.per_s) as u64 + 1
    }

    /// When frame k of all is due.
    pub fn due(&self, k: u64) -> Instant {
        self.start + Duration::from_secs_f64(k as f64 / self.per_s)
    }

    /// When a publisher's n-th frame is due.
    pub fn due_of(&self, publisher: usize, n: u64) -> Instant {
        self.due(n * self.publishers + publisher as u64)
    }

    /// How many frames of a publisher are among the first `total` of all.
    pub fn of(&self, publisher: usize, total: u64) -> u64 {
        total.saturating_sub(publisher as u64).div_ceil(self.publishers)
    }
}

/// One publisher's frames, and how far it is.
///
/// `0 ≤ written ≤ allowed · frame length`, in bytes of the endless stream of its ring.
#[derive(Debug)]
pub struct Publisher {
    /// What it sends.
    pub ring: Ring,
    /// When it wrote, where no schedule says when frames were due.
    pub writes: Writes,
    written: u64,
    allowed: u64,
}

impl Publisher {
    /// It has sent nothing and may send nothing.
    pub fn new(ring: Ring) -> Publisher {
        Publisher { ring, writes: Writes::default(), written: 0, allowed: 0 }
    }

    /// It may send this many frames in all; never fewer than it has begun.
    pub fn allow(&mut self, frames: u64) {
        self.allowed = frames.max(self.begun());
    }

    /// Bytes of the stream that may be written.
    pub fn unwritten(&self) -> std::ops::Range<u64> {
        self.written..self.allowed.saturating_mul(self.ring.frame_len() as u64)
    }

    /// `n` of them were written by a write that began at `at`; it is remembered if `remember`.
    pub fn advance(&mut self, n: u64, at: Instant, remember: bool) {
        assert!(n <= self.unwritten().end - self.written, "no more than what may be written");
        let begun = self.begun();
        self.written += n;
        if remember && self.begun() > begun {
            self.writes.push(self.begun(), at);
        }
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.written
    }

    /// Frames of which at least one byte was written.
    pub fn begun(&self) -> u64 {
        self.written.div_ceil(self.ring.frame_len() as u64)
    }

    /// Frames that were written to their end.
    pub fn finished(&self) -> u64 {
        self.written / self.ring.frame_len() as u64
    }
}

/// When frames were begun: a bounded number of writes.
#[derive(Debug, Default)]
pub struct Writes {
    /// The number of the frame behind those that a write began, and when it was.
    entries: VecDeque<(u64, Instant)>,
}

impl Writes {
    fn push(&mut self, end: u64, at: Instant) {
        if self.entries.len() == WRITES_REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back((end, at));
    }

    /// When the n-th frame was begun, and the number behind those that were begun with it. What is
    /// forgotten counts as begun with the oldest that is known.
    pub fn begun_at(&self, n: u64) -> Option<(Instant, u64)> {
        let at = self.entries.partition_point(|(end, _)| *end <= n);
        self.entries.get(at).map(|&(end, at)| (at, end))
    }

    /// Nobody will ask for a frame before the n-th any more.
    pub fn forget_before(&mut self, n: u64) {
        while self.entries.front().is_some_and(|(end, _)| *end <= n) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::payload;
    use super::*;
    use crate::wire::Scheme;

    #[test]
    fn all_publishers_are_due_in_turn() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 1000.0, 3);
        let at = |us| start + Duration::from_micros(us);
        for (us, total, each) in
            [(0, 1, [1, 0, 0]), (999, 1, [1, 0, 0]), (1_001, 2, [1, 1, 0]), (6_500, 7, [3, 2, 2])]
        {
            assert_eq!(schedule.total(at(us)), total);
            assert_eq!([0, 1, 2].map(|publisher| schedule.of(publisher, total)), each);
        }
        assert_eq!(
            (schedule.due(6), schedule.due_of(0, 2), schedule.due_of(2, 1)),
            (at(6_000), at(6_000), at(5_000))
        );
    }

    #[test]
    fn frames_are_begun_and_finished_as_bytes_are_written() {
        let mut publisher = Publisher::new(Ring::new(1, "t", &payload(35), 4, &Scheme::Sha256));
        assert_eq!(publisher.unwritten(), 0..0);
        publisher.allow(3);
        assert_eq!(publisher.unwritten(), 0..300);
        let now = Instant::now();
        for (n, begun, finished) in [(1, 1, 0), (99, 1, 1), (150, 3, 2)] {
            publisher.advance(n, now, true);
            assert_eq!((publisher.begun(), publisher.finished()), (begun, finished));
        }
        // What was begun is finished.
        publisher.allow(0);
        assert_eq!(publisher.unwritten(), 250..300);
    }

    #[test]
    fn writes_say_when_a_frame_was_begun() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut writes = Writes::default();
        [(3, 1), (4, 2), (9, 3)].into_iter().for_each(|(end, ms)| writes.push(end, at(ms)));
        for (n, found) in
            [(0, Some((1, 3))), (2, Some((1, 3))), (3, Some((2, 4))), (8, Some((3, 9))), (9, None)]
        {
            assert_eq!(writes.begun_at(n), found.map(|(ms, end)| (at(ms), end)), "{n}");
        }
        writes.forget_before(4);
        assert_eq!(writes.begun_at(0), Some((at(3), 9)));
        for n in 0..2 * WRITES_REMEMBERED as u64 {
            writes.push(10 + n, at(n));
        }
        assert_eq!(writes.entries.len(), WRITES_REMEMBERED);
    }
}
