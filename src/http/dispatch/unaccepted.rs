//! Which connections the server has not taken.
//!
//! A connection stands as soon as the server's system agrees to it. Its program may accept it much later or never:
//! where few may wait (five, of Python's `http.server`), the others' packets are dropped, and those that were accepted
//! are used again and again. Nothing tells of that but that others are answered.

use std::time::{Duration, Instant};

use super::overtaken::{Begun, Line};

/// 1 s at least: less than that a lost packet takes, too.
const LEAST: Duration = Duration::from_secs(1);

/// 3 times as long as the slowest answer of late takes nothing that is being worked on.
const TIMES: u32 = 3;

/// The slowest answer is forgotten by one in 256 with each one that is faster.
const FORGOTTEN: u32 = 256;

/// First requests that were not answered yet. One that waits for much longer than others took which began after it
/// is on a connection that the server has not taken.
#[derive(Debug, Default)]
pub struct Unaccepted {
    line: Line,
    slowest: Duration,
}

impl Unaccepted {
    /// A connection's first request was begun.
    pub fn began(&mut self, first: Begun) {
        self.line.began(first);
    }

    /// Any request was answered.
    pub fn answered(&mut self, began: Instant, took: Duration) {
        self.line.ended(began);
        self.slowest = took.max(self.slowest - self.slowest / FORGOTTEN);
    }

    /// The next one that still `waits` and is given up by `now`, if there is one.
    pub fn next_by(&mut self, now: Instant, waits: impl Fn(&Begun) -> bool) -> Option<Begun> {
        self.line.next_by(now, self.patience(), waits)
    }

    /// When there will be one, as far as is known.
    pub fn due(&self) -> Option<Instant> {
        self.line.due(self.patience())
    }

    fn patience(&self) -> Duration {
        LEAST.max(self.slowest.saturating_mul(TIMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_while_later_ones_are_answered_is_not_taken() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let first = |index, at| Begun { at: ms(at), index, serial: index };
        let mut unaccepted = Unaccepted::default();
        (0..3).for_each(|index| unaccepted.began(first(index, 10 * index as u64)));
        // Alone, an answer to what was begun before says nothing of it.
        unaccepted.answered(ms(0), Duration::from_millis(600));
        let waits = |first: &Begun| first.index != 0;
        assert_eq!((unaccepted.next_by(ms(60_000), waits), unaccepted.due()), (None, None));
        // Answers to what was begun later do, after three times the slowest of them.
        unaccepted.answered(ms(15), Duration::from_millis(200));
        let slowest = Duration::from_millis(600) - Duration::from_millis(600) / FORGOTTEN;
        assert_eq!(unaccepted.due(), Some(ms(10) + 3 * slowest));
        assert_eq!(unaccepted.next_by(ms(1000), waits), None);
        assert_eq!(unaccepted.next_by(ms(10) + 3 * slowest, waits), Some(first(1, 10)));
        // The third one was begun after all that was answered.
        assert_eq!((unaccepted.due(), unaccepted.next_by(ms(60_000), waits)), (None, None));
    }

    #[test]
    fn nothing_is_given_up_within_a_second() {
        let start = Instant::now();
        let mut unaccepted = Unaccepted::default();
        unaccepted.began(Begun { at: start, index: 0, serial: 0 });
        unaccepted.answered(start + Duration::from_millis(1), Duration::from_millis(1));
        assert_eq!(unaccepted.due(), Some(start + LEAST));
    }
}
