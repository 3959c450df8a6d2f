//! How busy the workers are. They look at the clock only where they have nothing to do, so that
//! knowing it costs a busy worker nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The time that one worker has spent waiting for work, in nanoseconds since a common start.
#[derive(Debug)]
pub struct Idle {
    start: Instant,
    /// When it began to live, and when it ended; 0 while it lives.
    born: u64,
    ended: AtomicU64,
    /// Of waits that ended.
    waited: AtomicU64,
    /// When it began to wait; 0 while it works.
    waiting_since: AtomicU64,
}

impl Idle {
    /// A worker that begins to live now.
    pub fn new(start: Instant, now: Instant) -> Idle {
        let born = nanos(start, now);
        let [ended, waited, waiting_since] = [0, 0, 0].map(AtomicU64::new);
        Idle { start, born, ended, waited, waiting_since }
    }

    /// It waits.
    pub fn begin(&self, now: Instant) {
        self.waiting_since.store(nanos(self.start, now), Relaxed);
    }

    /// It works again.
    pub fn end(&self, now: Instant) {
        let since = self.waiting_since.swap(0, Relaxed);
        self.waited.fetch_add(nanos(self.start, now).saturating_sub(since), Relaxed);
    }

    /// It lives no more.
    pub fn finish(&self, now: Instant) {
        self.ended.store(nanos(self.start, now), Relaxed);
    }

    /// Whether it lives no more.
    pub fn is_finished(&self) -> bool {
        self.ended.load(Relaxed) != 0
    }

    /// The time that it worked until `now`. A look in the middle of a change may be off by one wait.
    pub fn busy(&self, now: Instant) -> Duration {
        let until = match self.ended.load(Relaxed) {
            0 => nanos(self.start, now),
            ended => ended,
        };
        let waiting = match self.waiting_since.load(Relaxed) {
            0 => 0,
            since => until.saturating_sub(since),
        };
        let idle = self.waited.load(Relaxed) + waiting;
        Duration::from_nanos(until.saturating_sub(self.born).saturating_sub(idle))
    }
}

/// At least 1, which 0 is not.
fn nanos(start: Instant, now: Instant) -> u64 {
    (now.saturating_duration_since(start).as_nanos() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_waiting_is_work() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let idle = Idle::new(start, at(10));
        assert_eq!(idle.busy(at(30)), Duration::from_millis(20));
        idle.begin(at(30));
        assert_eq!(idle.busy(at(90)), Duration::from_millis(20), "it waits still");
        idle.end(at(100));
        assert_eq!(idle.busy(at(105)), Duration::from_millis(25));
        idle.finish(at(110));
        assert!(idle.is_finished());
        assert_eq!(idle.busy(at(500)), Duration::from_millis(30));
    }
}
