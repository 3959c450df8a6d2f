//! What completes in any order is released in the order in which it began: the reorder window, for as many items as
//! have credit, and [`Steps`], for one item that very many may overtake.

use std::collections::{BTreeMap, VecDeque};

/// Items of one connection between `begin` and `release`.
///
/// Invariant: `slots[i]` belongs to sequence number `base + i`; `None` where it is not complete.
/// An empty window that was never used owns no memory.
#[derive(Debug)]
pub struct Reorder<T> {
    base: u64,
    slots: VecDeque<Option<T>>,
}

/// A window that emptied keeps room for this many items; a burst's memory is given back.
const KEEP: usize = 8;

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Reorder { base: 0, slots: VecDeque::new() }
    }
}

impl<T> Reorder<T> {
    /// Items begun and not released.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is between begin and release.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes the next sequence number.
    pub fn begin(&mut self) -> u64 {
        self.slots.push_back(None);
        self.base + self.slots.len() as u64 - 1
    }

    /// Whether nothing is before the item `seq`, which has begun.
    pub fn is_next(&self, seq: u64) -> bool {
        seq == self.base
    }

    /// Completes the item `seq`, which has begun, once.
    pub fn insert(&mut self, seq: u64, item: T) {
        let at = usize::try_from(seq - self.base).expect("a window fits in memory");
        let slot = self.slots.get_mut(at).expect("only what has begun completes");
        assert!(slot.is_none(), "an item completes once");
        *slot = Some(item);
    }

    /// The next item in order, once it is complete.
    pub fn release(&mut self) -> Option<T> {
        let item = self.slots.front_mut()?.take()?;
        self.slots.pop_front();
        self.base += 1;
        if self.slots.is_empty() && self.slots.capacity() > KEEP {
            self.slots = VecDeque::new();
        }
        Some(item)
    }
}

/// Steps of one connection between their beginning and their release, of which most have nothing to release.
///
/// However many overtake one that takes long, they leave no trace but a run of sequence numbers; what is held is what
/// still has an effect.
///
/// Invariants: every number from `base` to before `next` is open, held, or in one of the runs; runs do not touch; the
/// number `base`, if it has begun, is open or held. So there are at most as many runs as open and held ones together.
#[derive(Debug)]
pub struct Steps<T> {
    base: u64,
    next: u64,
    held: BTreeMap<u64, T>,
    /// What is done, by its first number, and the number behind its last.
    done: BTreeMap<u64, u64>,
}

impl<T> Default for Steps<T> {
    fn default() -> Self {
        Steps { base: 0, next: 0, held: BTreeMap::new(), done: BTreeMap::new() }
    }
}

impl<T> Steps<T> {
    /// Whether nothing is between its beginning and its release.
    pub fn is_empty(&self) -> bool {
        self.base == self.next
    }

    /// Takes the next sequence number.
    pub fn begin(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Whether nothing is before the step `seq`, which has begun.
    pub fn is_next(&self, seq: u64) -> bool {
        seq == self.base
    }

    /// The step `seq`, which has begun, is complete, once, with something to [release](Self::release).
    pub fn hold(&mut self, seq: u64, item: T) {
        assert!(self.is_open(seq), "a step completes once");
        self.held.insert(seq, item);
    }

    /// The step `seq`, which has begun, is complete, once, and there is nothing to release.
    pub fn done(&mut self, seq: u64) {
        assert!(self.is_open(seq), "a step completes once");
        if seq == self.base {
            return self.go_on();
        }
        let end = self.done.remove(&(seq + 1)).unwrap_or(seq + 1);
        match self.done.range_mut(..seq).next_back() {
            Some((_, before)) if *before == seq => *before = end,
            _ => drop(self.done.insert(seq, end)),
        }
    }

    /// The next thing to release, where everything before it is complete.
    pub fn release(&mut self) -> Option<T> {
        let item = self.held.remove(&self.base)?;
        self.go_on();
        Some(item)
    }

    /// How many entries it takes to know all of this.
    #[cfg(any(test, feature = "check"))]
    pub fn entries(&self) -> usize {
        self.held.len() + self.done.len()
    }

    fn is_open(&self, seq: u64) -> bool {
        let is_done = || self.done.range(..=seq).next_back().is_some_and(|(_, &end)| seq < end);
        (self.base..self.next).contains(&seq) && !self.held.contains_key(&seq) && !is_done()
    }

    /// The step `base` is over, and so is the run behind it.
    fn go_on(&mut self) {
        self.base += 1;
        if let Some(end) = self.done.remove(&self.base) {
            self.base = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_wait_for_those_before_them() {
        let mut window = Reorder::default();
        let [a, b, c] = [window.begin(), window.begin(), window.begin()];
        window.insert(c, 'c');
        window.insert(b, 'b');
        assert_eq!(window.release(), None);
        assert!(window.is_next(a) && !window.is_next(b));
        window.insert(a, 'a');
        assert_eq!([window.release(), window.release(), window.release()], [Some('a'), Some('b'), Some('c')]);
        assert!(window.is_empty());
        assert_eq!(window.begin(), c + 1);
    }

    #[test]
    fn however_many_overtake_one_step_they_are_one_run() {
        let mut steps = Steps::default();
        let slow = steps.begin();
        for _ in 0..100_000 {
            let seq = steps.begin();
            steps.done(seq);
            assert_eq!(steps.entries(), 1);
        }
        let [open, held, last] = [steps.begin(), steps.begin(), steps.begin()];
        steps.hold(held, 'h');
        steps.done(last);
        assert_eq!((steps.entries(), steps.release()), (3, None));
        steps.done(slow);
        assert!(steps.is_next(open) && steps.release().is_none());
        steps.done(open);
        assert_eq!((steps.release(), steps.release()), (Some('h'), None));
        assert!(steps.is_empty() && steps.entries() == 0);
    }

    #[test]
    fn runs_that_meet_become_one() {
        let mut steps = Steps::<()>::default();
        let seqs: Vec<u64> = (0..9).map(|_| steps.begin()).collect();
        for (at, entries) in [(2, 1), (4, 2), (6, 3), (3, 2), (5, 1), (8, 2), (7, 1), (1, 1)] {
            steps.done(seqs[at]);
            assert_eq!(steps.entries(), entries, "after {at}");
        }
        steps.done(seqs[0]);
        assert!(steps.is_empty() && steps.entries() == 0);
    }

    #[test]
    #[should_panic(expected = "once")]
    fn a_step_in_a_run_is_complete() {
        let mut steps = Steps::<()>::default();
        let [_, second, third] = [steps.begin(), steps.begin(), steps.begin()];
        steps.done(second);
        steps.done(third);
        steps.done(third);
    }

    #[test]
    #[should_panic(expected = "once")]
    fn a_second_verdict_is_our_own_fault() {
        let mut window = Reorder::default();
        let seq = window.begin();
        window.insert(seq, ());
        window.insert(seq, ());
    }
}
