//! Digests that were accepted lately, and which sinks have what they stand for.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use slab::Slab;

use crate::core::limits::{DEDUP_ENTRY, DEDUP_SHARE};
use crate::gateway::acks::sink_set::SinkSet;
use crate::wire::DIGEST;

/// The digests accepted within a window of time, as many as its part of the memory holds.
///
/// Invariant: every entry is in the table under its digest, once, and in the list, which is ordered by `at`.
#[derive(Debug)]
pub struct Dedup {
    window: Duration,
    max: usize,
    entries: Slab<Entry>,
    table: HashTable<u32>,
    hasher: RandomState,
    /// The oldest, and the latest.
    first: u32,
    last: u32,
    /// When the last of those was accepted that were forgotten early, and how many they are.
    forgotten: Option<Instant>,
    early: u64,
}

#[derive(Debug)]
struct Entry {
    digest: [u8; DIGEST],
    at: Instant,
    before: u32,
    after: u32,
    /// Sinks that have it. While it is on its way to others, who gives effect to it knows that.
    done: SinkSet,
}

/// No entry.
const NONE: u32 = u32::MAX;

impl Dedup {
    /// Remembers for `window`, in a part of `memory` bytes.
    pub fn new(window: Duration, memory: usize) -> Dedup {
        let mut dedup = Dedup {
            window,
            max: 0,
            entries: Slab::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            first: NONE,
            last: NONE,
            forgotten: None,
            early: 0,
        };
        dedup.set_memory(memory);
        dedup
    }

    /// Changes the memory of which it has its part. Where that is less, two old digests go for each new.
    pub fn set_memory(&mut self, memory: usize) {
        self.max = Dedup::max_in(memory);
    }

    /// How many digests the part of so much memory holds.
    pub fn max_in(memory: usize) -> usize {
        (memory / DEDUP_SHARE / DEDUP_ENTRY).clamp(1, NONE as usize)
    }

    /// Digests remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Digests remembered at most.
    pub fn max(&self) -> usize {
        self.max
    }

    /// For how long.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Digests that were forgotten before their time, for want of room.
    pub fn forgotten_early(&self) -> u64 {
        self.early
    }

    /// How far back everything that was accepted is remembered: the window, or less where digests were forgotten
    /// early.
    pub fn reach(&self, now: Instant) -> Duration {
        self.forgotten.map_or(self.window, |at| now.saturating_duration_since(at).min(self.window))
    }

    /// Whether the next new digest makes it forget the oldest early.
    pub fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    /// The sinks that have what the digest stands for, if it is remembered.
    pub fn find(&mut self, digest: &[u8; DIGEST], now: Instant) -> Option<SinkSet> {
        self.forget_old(now);
        self.place(self.hasher.hash_one(digest), digest).map(|at| self.entries[at as usize].done)
    }

    /// Remembers a digest from now on. If it was remembered, that is over.
    pub fn accept(&mut self, digest: [u8; DIGEST], done: SinkSet, now: Instant) {
        self.forget_old(now);
        self.remember(digest, done, now);
    }

    /// Remembers a digest that was accepted at `at`, and which sinks have it: what is read from a store at the start.
    /// Later ones after earlier ones is fast, any order is right.
    pub fn remember(&mut self, digest: [u8; DIGEST], done: SinkSet, at: Instant) {
        let hash = self.hasher.hash_one(digest);
        if let Some(at) = self.place(hash, &digest) {
            self.remove(at);
        }
        // Two, so that a window that was made smaller shrinks.
        for _ in 0..2 {
            if self.is_full() {
                let oldest = self.entries[self.first as usize].at;
                self.early += 1;
                self.forgotten = self.forgotten.max(Some(oldest.min(at)));
                if oldest > at {
                    return;
                }
                self.remove(self.first);
            }
        }
        let mut before = self.last;
        while before != NONE && self.entries[before as usize].at > at {
            before = self.entries[before as usize].before;
        }
        if self.entries.len() == self.entries.capacity() {
            // By a quarter: doubled, they would take more than is charged for them.
            self.entries.reserve_exact((self.entries.len() / 4).max(4));
        }
        let after = if before == NONE { self.first } else { self.entries[before as usize].after };
        let entry = self.entries.insert(Entry { digest, at, before, after, done });
        let entry = u32::try_from(entry).expect("as many as its bound allows");
        self.link(before, after, entry, entry);
        let Dedup { entries, table, hasher, .. } = self;
        let hash_of = |&at: &u32| hasher.hash_one(entries[at as usize].digest);
        table.insert_unique(hash, entry, hash_of);
    }

    /// These sinks have it, if it is still remembered.
    pub fn set_done(&mut self, digest: &[u8; DIGEST], done: SinkSet) {
        if let Some(at) = self.place(self.hasher.hash_one(digest), digest) {
            self.entries[at as usize].done = done;
        }
    }

    /// Forgets a digest: what had it was refused after all.
    pub fn forget(&mut self, digest: &[u8; DIGEST]) {
        if let Some(at) = self.place(self.hasher.hash_one(digest), digest) {
            self.remove(at);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(entry) = self.entries.get(self.first as usize)
            && now.saturating_duration_since(entry.at) >= self.window
        {
            self.remove(self.first);
        }
    }

    fn place(&self, hash: u64, digest: &[u8; DIGEST]) -> Option<u32> {
        let is_it = |&at: &u32| self.entries[at as usize].digest == *digest;
        self.table.find(hash, is_it).copied()
    }

    fn remove(&mut self, at: u32) {
        let Entry { digest, before, after, .. } = self.entries.remove(at as usize);
        self.link(before, after, after, before);
        let hash = self.hasher.hash_one(digest);
        self.table.find_entry(hash, |&other| other == at).expect("every entry is in the table").remove();
    }

    /// What is behind `before` is `next`, and what is before `after` is `previous`.
    fn link(&mut self, before: u32, after: u32, next: u32, previous: u32) {
        match before {
            NONE => self.first = next,
            before => self.entries[before as usize].after = next,
        }
        match after {
            NONE => self.last = previous,
            after => self.entries[after as usize].before = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> [u8; DIGEST] {
        [n; DIGEST]
    }

    #[test]
    fn digests_are_remembered_for_the_window_and_within_the_bound() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut dedup = Dedup::new(Duration::from_secs(10), 3 * DEDUP_SHARE * DEDUP_ENTRY);
        dedup.accept(digest(1), SinkSet::ALL, at(0));
        assert_eq!(dedup.find(&digest(1), at(9)), Some(SinkSet::ALL));
        assert_eq!(dedup.find(&digest(1), at(10)), None);
        for n in 1..4 {
            assert!(!dedup.is_full());
            dedup.accept(digest(n), SinkSet::ALL, at(10 + u64::from(n)));
        }
        assert!(dedup.is_full());
        assert_eq!((dedup.reach(at(13)), dedup.forgotten_early()), (Duration::from_secs(10), 0));
        dedup.accept(digest(4), SinkSet::ALL, at(14));
        assert_eq!(dedup.find(&digest(1), at(14)), None, "it was forgotten early");
        assert_eq!((dedup.len(), dedup.forgotten_early()), (3, 1));
        assert_eq!(dedup.reach(at(14)), Duration::from_secs(3));
        assert_eq!(dedup.reach(at(60)), Duration::from_secs(10), "that is over");
    }

    #[test]
    fn what_is_forgotten_and_accepted_again_is_remembered_as_long() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut dedup = Dedup::new(Duration::from_secs(4), 1 << 20);
        dedup.accept(digest(1), SinkSet::NONE, at(0));
        dedup.forget(&digest(1));
        assert_eq!(dedup.len(), 0, "it takes no room");
        dedup.accept(digest(1), SinkSet::ALL, at(3_000));
        assert_eq!(dedup.find(&digest(1), at(4_300)), Some(SinkSet::ALL));
        assert_eq!(dedup.find(&digest(1), at(7_000)), None);
    }

    #[test]
    fn an_entry_takes_what_is_charged_for_it() {
        let (now, mut dedup) = (Instant::now(), Dedup::new(Duration::from_secs(10), 64 << 20));
        for n in 0..50_000_u64 {
            let mut digest = [0; DIGEST];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            dedup.accept(digest, SinkSet::ALL, now);
            let entries = dedup.entries.capacity() * size_of::<Entry>();
            let taken = entries + dedup.table.allocation_size();
            assert!(n < 64 || taken <= dedup.len() * DEDUP_ENTRY, "{taken} bytes for {}", dedup.len());
        }
    }
}
