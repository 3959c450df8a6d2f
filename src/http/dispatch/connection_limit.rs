//! How many connections may be open at once.

use std::time::{Duration, Instant};

use crate::core::backoff::Backoff;
use crate::core::limits::{DISPATCH_PROBE_FIRST, DISPATCH_PROBE_MAX, DISPATCH_UNREACHABLE_MAX};

/// 5 connections are opened in a millisecond, beside one for each that was answered meanwhile: as many as the
/// smallest queue of connections to accept in use (that of Python's `http.server`) holds at once.
pub(super) const BURST: usize = 5;
/// See [`BURST`].
pub(super) const TICK: Duration = Duration::from_millis(1);

/// How many connections may be open: at most what was asked for, fewer where the server refuses more. What stands
/// when one is refused is what the server takes; now and then one more is tried. 1 ≤ allowed ≤ most.
///
/// Where a connection cannot be made and none stands, the server is unreachable: one connection at a time is tried, with
/// growing pauses.
///
/// They are opened a few at a time, since a server's system drops those that its program does not accept in time.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    most: usize,
    allowed: usize,
    /// When one more is tried, and the pauses before that.
    probe: Option<Instant>,
    pauses: Backoff,
    unreachable: Option<Unreachable>,
    /// When this [`TICK`] began, and how many were opened in it without an answer since.
    tick: Option<Instant>,
    unanswered: usize,
}

#[derive(Clone, Copy, Debug)]
struct Unreachable {
    since: Instant,
    tried: u32,
    next: Instant,
}

impl ConnectionLimit {
    /// At most `most` connections.
    pub fn new(most: usize) -> ConnectionLimit {
        let most = most.max(1);
        ConnectionLimit {
            most,
            allowed: most,
            probe: None,
            pauses: Backoff::new(DISPATCH_PROBE_FIRST, DISPATCH_PROBE_MAX),
            unreachable: None,
            tick: None,
            unanswered: 0,
        }
    }

    /// At most `most` connections from now on.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.max(1);
        // What the server took before is found out again.
        self.allowed = self.most;
    }

    /// How many more may be opened at `now`, where so many are open or being opened.
    pub fn room(&mut self, now: Instant, open: usize) -> usize {
        if let Some(known) = self.unreachable {
            return usize::from(open == 0 && now >= known.next);
        }
        if self.probe.is_some_and(|at| now >= at) {
            self.probe = None;
            self.allowed = (self.allowed + 1).min(self.most);
        }
        if self.tick.is_some_and(|tick| now >= tick + TICK) {
            (self.tick, self.unanswered) = (None, 0);
        }
        self.allowed.saturating_sub(open).min(BURST.saturating_sub(self.unanswered))
    }

    /// A connection was begun.
    pub fn opened(&mut self, now: Instant) {
        self.tick.get_or_insert(now);
        self.unanswered += 1;
    }

    /// When there may be more room.
    pub fn next(&self) -> Option<Instant> {
        let tick = self.tick.filter(|_| self.unanswered >= BURST).map(|tick| tick + TICK);
        self.unreachable.map(|known| known.next).or([tick, self.probe].into_iter().flatten().min())
    }

    /// How many are allowed.
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// A connection was refused while `standing` others stood.
    pub fn refused(&mut self, now: Instant, standing: usize) {
        self.allowed = self.allowed.min(standing).max(1);
        // Many that are refused together are one that is.
        if self.probe.is_none_or(|at| at <= now) {
            self.probe = Some(now + self.pauses.pause());
        }
    }

    /// A connection could not be made, and none stands.
    pub fn unreachable(&mut self, now: Instant, pause: Duration) {
        let (since, tried) = self.unreachable.map_or((now, 0), |known| (known.since, known.tried));
        // Many that fail together are one that does.
        if self.unreachable.is_none_or(|known| now >= known.next) {
            self.unreachable = Some(Unreachable {
                since,
                tried: tried + 1,
                next: now + pause.min(DISPATCH_UNREACHABLE_MAX),
            });
        }
    }

    /// How often the server was tried since it is unreachable, and since when.
    pub fn tried(&self) -> Option<(u32, Instant)> {
        self.unreachable.map(|known| (known.tried, known.since))
    }

    /// A connection stands.
    pub fn stood(&mut self) {
        self.unreachable = None;
    }

    /// A new connection brought an answer, so the server took it: where there are fewer than wanted, more may follow.
    pub fn took(&mut self, now: Instant, open: usize) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.allowed < self.most && open >= self.allowed {
            self.pauses.reset();
            self.probe = Some(now + DISPATCH_PROBE_FIRST);
            self.allowed = (self.allowed + self.allowed / 10).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_what_the_server_takes() {
        let now = Instant::now();
        let mut limit = ConnectionLimit::new(1000);
        assert_eq!(limit.room(now, 0), BURST);
        for standing in (100..1000).rev() {
            limit.refused(now, standing);
        }
        assert_eq!((limit.allowed(), limit.room(now, 100)), (100, 0));
        // One more is tried, later and later, as long as it is refused.
        let mut at = now;
        for _ in 0..20 {
            let next = limit.next().unwrap();
            assert!(next > at && next <= at + 2 * DISPATCH_PROBE_MAX);
            at = next;
            assert_eq!(limit.room(at, 100), 1);
            limit.refused(at, 100);
        }
        // It takes more now.
        at = limit.next().unwrap();
        assert_eq!(limit.room(at, 100), 1);
        limit.took(at, 101);
        assert_eq!((limit.allowed(), limit.room(at, 101)), (111, BURST));
    }

    #[test]
    fn a_server_that_is_unreachable_is_tried_one_at_a_time() {
        let now = Instant::now();
        let pause = Duration::from_secs(1);
        let mut limit = ConnectionLimit::new(10);
        (0..10).for_each(|_| limit.unreachable(now, pause));
        assert_eq!(limit.tried(), Some((1, now)));
        assert_eq!(limit.room(now, 0), 0);
        assert_eq!(limit.room(now + pause, 0), 1);
        assert_eq!(limit.room(now + pause, 1), 0);
        limit.unreachable(now + pause, pause);
        assert_eq!(limit.tried(), Some((2, now)));
        limit.stood();
        assert_eq!((limit.tried(), limit.room(now, 6), limit.room(now, 1)), (None, 4, BURST));
    }

    #[test]
    fn a_few_are_opened_at_a_time_and_one_for_each_that_is_answered() {
        let start = Instant::now();
        let mut limit = ConnectionLimit::new(1000);
        (0..BURST).for_each(|_| limit.opened(start));
        assert_eq!((limit.room(start, BURST), limit.next()), (0, Some(start + TICK)));
        limit.took(start, BURST);
        assert_eq!(limit.room(start, BURST), 1);
        limit.opened(start);
        assert_eq!((limit.room(start, BURST + 1), limit.room(start + TICK, BURST + 1)), (0, BURST));
        assert_eq!(limit.next(), None);
    }
}
