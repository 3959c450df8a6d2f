//! What is waited for and was overtaken: others that were begun later are over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Something that a connection has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// When.
    pub at: Instant,
    /// The connection's place in the table.
    pub index: usize,
    /// Which connection of that place it was.
    pub serial: usize,
}

/// What is waited for, in the order in which it was begun.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Of some the end has come already: only the connection knows.
    waiting: VecDeque<Begun>,
    /// When the latest one was begun of all that came to their end.
    newest: Option<Instant>,
}

impl Line {
    /// Another one, behind all others.
    pub fn began(&mut self, begun: Begun) {
        self.waiting.push_back(begun);
    }

    /// One that was begun then came to its end, whether it stood here or not.
    pub fn ended(&mut self, began: Instant) {
        self.newest = self.newest.max(Some(began));
    }

    /// Leaves out those that do not wait any more.
    pub fn retain(&mut self, waits: impl Fn(&Begun) -> bool) {
        self.waiting.retain(waits);
    }

    /// Takes out the next one that still `waits`, was overtaken, and was begun `patience` or longer before `now`.
    pub fn next_by(
        &mut self,
        now: Instant,
        patience: Duration,
        waits: impl Fn(&Begun) -> bool,
    ) -> Option<Begun> {
        while self.waiting.front().is_some_and(|begun| !waits(begun)) {
            self.waiting.pop_front();
        }
        let due = self.due(patience)?;
        if due <= now { self.waiting.pop_front() } else { None }
    }

    /// When there will be one, as far as is known.
    pub fn due(&self, patience: Duration) -> Option<Instant> {
        let first = self.waiting.front()?;
        self.newest.filter(|newest| *newest > first.at).map(|_| first.at + patience)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When each of those was begun that were begun after `since`, the earliest first.
    pub fn begun_after(&self, since: Option<Instant>) -> impl ExactSizeIterator<Item = Instant> {
        let first = self.waiting.partition_point(|begun| Some(begun.at) <= since);
        self.waiting.range(first..).map(|begun| begun.at)
    }

    /// When the latest one was begun.
    pub fn latest(&self) -> Option<Instant> {
        self.waiting.back().map(|begun| begun.at)
    }
}
