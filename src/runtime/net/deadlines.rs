//! When to look at something again.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Moment;

/// Deadlines by key: at most one of each, so that there are never more than there are owners.
///
/// A deadline that moved later stays where it is: it comes early and its owner says when it is really due, so that
/// activity costs nothing. One that moved earlier is moved. Each owner keeps the note of where its entry is.
#[derive(Debug, Default)]
pub struct Deadlines {
    entries: BTreeSet<(Moment, u64)>,
}

impl Deadlines {
    /// Looks at `key` again at `at`, or earlier. `armed` is its owner's note: where its entry is, if it has one.
    pub fn arm(&mut self, key: u64, armed: &mut Option<Moment>, at: Instant) {
        let at = Moment::from(at);
        if armed.is_none_or(|armed| at < armed) {
            self.cancel(key, armed);
            self.entries.insert((at, key));
            *armed = Some(at);
        }
    }

    /// Does not look at `key` again.
    pub fn cancel(&mut self, key: u64, armed: &mut Option<Moment>) {
        if let Some(armed) = armed.take() {
            let was_there = self.entries.remove(&(armed, key));
            debug_assert!(was_there, "an owner knows where its entry is");
        }
    }

    /// The next instant at which something may be due.
    pub fn next(&self) -> Option<Instant> {
        self.entries.first().map(|(at, _)| at.get())
    }

    /// A key whose entry is due at `now`; its owner has none any more.
    pub fn pop_due(&mut self, now: Instant) -> Option<u64> {
        if self.next()? > now {
            return None;
        }
        self.entries.pop_first().map(|(_, key)| key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
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
            deadlines.arm(key, &mut None, at(ms));
        }
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(20)), Some(1));
        assert_eq!(deadlines.pop_due(at(20)), Some(2));
        assert_eq!(deadlines.pop_due(at(20)), None);
    }

    #[test]
    fn each_key_has_one_entry_however_often_it_moves() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut deadlines, mut armed) = (Deadlines::default(), None);
        for ms in [300, 30, 200, 10, 10] {
            deadlines.arm(7, &mut armed, at(ms));
            assert_eq!(deadlines.len(), 1);
        }
        assert_eq!((armed, deadlines.next()), (Some(at(10).into()), Some(at(10))));
        deadlines.cancel(7, &mut armed);
        deadlines.cancel(7, &mut armed);
        assert!(armed.is_none() && deadlines.is_empty());
    }
}
