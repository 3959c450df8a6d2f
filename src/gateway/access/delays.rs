//! Who brought a wrong token hears of it a little later, and is not read until then: so guessing is slow, and nobody else
//! waits. How many are delayed is bounded; beyond that the one that has waited longest is closed at once.

use std::collections::VecDeque;
use std::time::Instant;

use crate::core::limits::{AUTH_DELAY, AUTH_DELAYED};
use crate::gateway::conn::ConnId;

/// How many are delayed at once.
pub const MAX: usize = AUTH_DELAYED;

/// Connections whose ends are delayed, the next first.
#[derive(Debug, Default)]
pub struct Delays {
    all: VecDeque<(Instant, ConnId)>,
}

impl Delays {
    /// How many there are; some may have hung up.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// One more.
    pub fn push(&mut self, id: ConnId, now: Instant) {
        if self.all.len() >= MAX
            && let Some(first) = self.all.iter_mut().find(|(at, _)| *at > now)
        {
            first.0 = now;
        }
        self.all.push_back((now + AUTH_DELAY, id));
    }

    /// Takes one whose time is over; all are where nothing more is taken in.
    pub fn pop(&mut self, now: Instant, drains: bool) -> Option<ConnId> {
        self.all.pop_front_if(|(at, _)| drains || *at <= now).map(|(_, id)| id)
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Instant> {
        self.all.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_ends_the_delay_of_the_oldest() {
        let (mut delays, now) = (Delays::default(), Instant::now());
        let id = |number: usize| ConnId::new(number, 1);
        for number in 0..MAX {
            delays.push(id(number), now);
        }
        assert_eq!((delays.pop(now, false), delays.next()), (None, Some(now + AUTH_DELAY)));
        for number in MAX..MAX + 2 {
            delays.push(id(number), now);
        }
        // They are ended between two steps of the turn, and then they are gone.
        assert_eq!([delays.pop(now, false), delays.pop(now, false)], [Some(id(0)), Some(id(1))]);
        assert_eq!((delays.pop(now, false), delays.len()), (None, MAX));
        assert_eq!(delays.pop(now + AUTH_DELAY, false), Some(id(2)));
        assert_eq!(delays.pop(now, true), Some(id(3)), "a drain waits for nobody's punishment");
    }
}
