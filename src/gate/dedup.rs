//! Digests that were accepted lately.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::Gate;
use crate::frame::DIGEST;
use crate::limits::{DEDUP_ENTRY, DEDUP_SHARE};
use crate::net::Net;
use crate::pool::Pool;

/// The digests accepted within a window of time, as many as its part of the memory holds.
#[derive(Debug)]
pub struct Dedup {
    window: Duration,
    max: usize,
    seen: HashSet<[u8; DIGEST]>,
    order: VecDeque<(Instant, [u8; DIGEST])>,
}

impl Dedup {
    /// Remembers for `window`, in a part of `memory` bytes.
    pub fn new(window: Duration, memory: usize) -> Dedup {
        let mut dedup = Dedup { window, max: 0, seen: HashSet::new(), order: VecDeque::new() };
        dedup.set_memory(memory);
        dedup
    }

    /// Changes the memory of which it has its part. Where that is less, two old digests go for each new.
    pub fn set_memory(&mut self, memory: usize) {
        self.max = (memory / DEDUP_SHARE / DEDUP_ENTRY).max(1);
    }

    /// Digests remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Digests remembered at most.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Whether the digest is remembered.
    pub fn is_known(&mut self, digest: &[u8; DIGEST], now: Instant) -> bool {
        self.forget_old(now);
        self.seen.contains(digest)
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(&(at, oldest)) = self.order.front()
            && (now.saturating_duration_since(at) >= self.window)
        {
            self.order.pop_front();
            self.seen.remove(&oldest);
        }
    }

    /// Remembers the digest; whether it is new.
    pub fn accept(&mut self, digest: [u8; DIGEST], now: Instant) -> bool {
        if self.is_known(&digest, now) {
            return false;
        }
        // Two, so that a window that was made smaller shrinks.
        for _ in 0..2 {
            if self.is_full()
                && let Some((_, oldest)) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
        self.seen.insert(digest);
        self.order.push_back((now, digest));
        true
    }

    /// Remembers a digest that was accepted `at` that time, before this gateway began; the oldest come first.
    pub fn remember(&mut self, digest: [u8; DIGEST], at: Instant) {
        if !self.is_full() && self.seen.insert(digest) {
            self.order.push_back((at, digest));
        }
    }

    /// Forgets a digest: what had it was refused after all. Its place in the order stays, so that if it comes again
    /// it may be forgotten early.
    pub fn forget(&mut self, digest: &[u8; DIGEST]) {
        self.seen.remove(digest);
    }

    /// Whether the next new digest makes it forget the oldest early.
    pub fn is_full(&self) -> bool {
        self.order.len() >= self.max
    }
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// What was accepted and stored before this gateway began, as its store tells it: when, and which digest; the
    /// oldest first. Does nothing without deduplication.
    pub fn remember(&mut self, recent: Vec<(Instant, [u8; DIGEST])>) {
        if let Some(dedup) = &mut self.dedup {
            recent.into_iter().for_each(|(at, digest)| dedup.remember(digest, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_before_the_start_ends_with_its_own_window() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let digest = |n| [n; DIGEST];
        let mut dedup = Dedup::new(Duration::from_secs(10), 3 * DEDUP_SHARE * DEDUP_ENTRY);
        for (n, s) in [(1, 0), (2, 5), (2, 6)] {
            dedup.remember(digest(n), at(s));
        }
        assert_eq!(dedup.len(), 2);
        assert!(!dedup.accept(digest(1), at(9)) && !dedup.accept(digest(2), at(9)));
        assert!(dedup.accept(digest(1), at(10)) && !dedup.accept(digest(2), at(14)));
        assert!(dedup.accept(digest(2), at(15)));
    }

    #[test]
    fn digests_are_remembered_for_the_window_and_within_the_bound() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let digest = |n| [n; DIGEST];
        let mut dedup = Dedup::new(Duration::from_secs(10), 3 * DEDUP_SHARE * DEDUP_ENTRY);
        assert!(dedup.accept(digest(1), at(0)));
        assert!(!dedup.accept(digest(1), at(9)));
        assert!(dedup.accept(digest(1), at(10)));
        assert!(dedup.accept(digest(2), at(11)));
        assert!(!dedup.is_full());
        assert!(dedup.accept(digest(3), at(11)));
        assert!(dedup.is_full());
        assert!(dedup.accept(digest(4), at(11)));
        assert!(dedup.accept(digest(1), at(11)), "it was forgotten early");
        assert_eq!(dedup.seen.len(), 3);
    }
}
