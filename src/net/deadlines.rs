//! When to look at something again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Deadlines by key. A deadline that moved later is not searched for: its entry fires early and its
/// owner says when it is really due, so that activity costs nothing.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Deadlines {
    /// Looks at `key` again at `at`.
    pub fn push(&mut self, at: Instant, key: u64) {
        self.heap.push(Reverse((at, key)));
    }

    /// The next instant at which something may be due.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A key whose entry is due at `now`, and the entry's instant.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, u64)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn entries_come_in_the_order_they_are_due() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        for (ms, key) in [(30, 3), (10, 1), (20, 2)] {
            deadlines.push(at(ms), key);
        }
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(20)), Some((at(10), 1)));
        assert_eq!(deadlines.pop_due(at(20)), Some((at(20), 2)));
        assert_eq!(deadlines.pop_due(at(20)), None);
    }
}
