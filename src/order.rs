//! The reorder window: what completes in any order is released in the order in which it began.

use std::collections::VecDeque;

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
    #[should_panic(expected = "once")]
    fn a_second_verdict_is_our_own_fault() {
        let mut window = Reorder::default();
        let seq = window.begin();
        window.insert(seq, ());
        window.insert(seq, ());
    }
}
