//! Whether one publisher's frames come in order, each once: told from ids that come again.

use std::ops::Range;

use crate::core::limits::MISSING_RANGES;

/// What a subscriber has got from one publisher. The id of a frame is only its number modulo the length of
/// the ring; of what it could mean, the nearest number to what is due is taken.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The number that is due.
    next: u64,
    /// Numbers before it that did not come yet, ascending.
    missing: Vec<Range<u64>>,
}

/// What an arrived frame is, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// The one that was due.
    InOrder(u64),
    /// A later one: so many before it did not come.
    Skipped(u64, u64),
    /// One that was skipped before.
    Late(u64),
    /// One that came before, or was given up.
    Twice(u64),
}

impl Sequence {
    /// The number that is due.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The frame in `slot` of a ring of `slots` has come.
    pub fn arrive(&mut self, slot: u64, slots: u64) -> Arrived {
        let ahead = (slot + slots - self.next % slots) % slots;
        if ahead == 0 {
            self.next += 1;
            return Arrived::InOrder(self.next - 1);
        }
        let behind = slots - ahead;
        if let Some(number) = self.next.checked_sub(behind) {
            if self.take_missing(number) {
                return Arrived::Late(number);
            }
            if behind < ahead {
                return Arrived::Twice(number);
            }
        }
        if self.missing.len() == MISSING_RANGES {
            self.missing.remove(0);
        }
        self.missing.push(self.next..self.next + ahead);
        self.next += ahead + 1;
        Arrived::Skipped(self.next - 1, ahead)
    }

    /// The first number that did not come, of those that are remembered.
    pub fn first_missing(&self) -> Option<u64> {
        self.missing.first().map(|range| range.start)
    }

    fn take_missing(&mut self, number: u64) -> bool {
        let Some(at) = self.missing.iter().position(|range| range.contains(&number)) else { return false };
        let range = self.missing.remove(at);
        // The bound may be passed by one: a range that was parted.
        let parts = [range.start..number, number + 1..range.end];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        self.missing.splice(at..at, parts);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Arrived::*;

    /// What a ring of 16 makes of these numbers.
    fn arrived(numbers: &[u64]) -> Vec<Arrived> {
        let mut sequence = Sequence::default();
        numbers.iter().map(|number| sequence.arrive(number % 16, 16)).collect()
    }

    #[test]
    fn what_became_of_each() {
        assert_eq!(arrived(&[0, 1, 2]), [InOrder(0), InOrder(1), InOrder(2)]);
        assert_eq!(arrived(&[0, 2, 1, 3]), [InOrder(0), Skipped(2, 1), Late(1), InOrder(3)]);
        assert_eq!(arrived(&[0, 4, 2, 2, 1]), [InOrder(0), Skipped(4, 3), Late(2), Twice(2), Late(1)]);
        assert_eq!(arrived(&[0, 1, 1, 0, 2]), [InOrder(0), InOrder(1), Twice(1), Twice(0), InOrder(2)]);
        assert_eq!(arrived(&[3, 4]), [Skipped(3, 3), InOrder(4)]);
        // Before the first there is none to come twice.
        assert_eq!(arrived(&[15]), [Skipped(15, 15)]);
    }

    #[test]
    fn numbers_go_on_after_the_ring() {
        let numbers: Vec<u64> = (0..100).filter(|number| ![20, 47].contains(number)).collect();
        let mut expected: Vec<Arrived> = numbers.iter().map(|number| InOrder(*number)).collect();
        (expected[20], expected[46]) = (Skipped(21, 1), Skipped(48, 1));
        assert_eq!(arrived(&numbers), expected);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut sequence = Sequence::default();
        for number in (0..10_000).step_by(2) {
            sequence.arrive(number % 1024, 1024);
            assert!(sequence.missing.len() <= MISSING_RANGES);
        }
        let first = sequence.first_missing().unwrap();
        assert_eq!(sequence.arrive(first % 1024, 1024), Late(first));
        assert!(matches!(sequence.arrive((first - 2) % 1024, 1024), Twice(_)));
    }
}
