//! Who is called next: so many calls at once, so many waiting, fair between connections.
//!
//! A call is a frame that a handler answers before it is distributed. This room counts them; the frames
//! themselves are with whoever asks.
//!
//! ```text
//!           ┌► waiting ─┐
//! arrive ───┤     ▲     ├─► in flight ─► done
//!           └► beyond   │
//! ```
//!
//! A connection's calls go in the order in which they arrived; of the connections that have calls waiting,
//! each goes once before any goes again. What arrives when as many wait as may is left beyond the bound:
//! its connection is not read until it has been let in.

use std::collections::{HashMap, VecDeque};

/// What happens to a frame that finds as many waiting for a handler as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its connection is not read until there is room.
    Pause,
    /// It is told BUSY. One that asks for no reply pauses its connection all the same.
    Reject,
}

impl Overflow {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Overflow::Pause => "pause",
            Overflow::Reject => "reject",
        }
    }
}

/// The calls of all connections.
///
/// Invariants: `in_flight ≤ in_flight_max` and `waiting ≤ waiting_max + free` whenever a call is let in,
/// where `free` are the calls that could begin at once; a connection is in the ring if it has calls
/// waiting and is not set aside, and beyond if it has calls there.
#[derive(Debug)]
pub struct Calls {
    in_flight_max: usize,
    waiting_max: usize,
    open: bool,
    in_flight: usize,
    waiting: usize,
    lines: HashMap<u64, Line>,
    /// Connections with calls that wait, the next first.
    ring: VecDeque<u64>,
    /// Connections with calls beyond the bound, the next first.
    beyond: VecDeque<u64>,
    /// Connections that would be read if there were room, the next first.
    readers: VecDeque<u64>,
    /// Connections all of whose calls were let in since they were asked for.
    let_in: Vec<u64>,
}

/// The calls of one connection. One that has none and waits for nothing has no line.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    waiting: usize,
    beyond: usize,
    /// It is not called, for a reason of its own.
    aside: bool,
    reader: bool,
}

impl Calls {
    /// At most `in_flight_max` calls at once and `waiting_max` waiting. Nothing is called before
    /// [`set_open`](Self::set_open).
    pub fn new(in_flight_max: usize, waiting_max: usize) -> Calls {
        Calls {
            in_flight_max,
            waiting_max,
            open: false,
            in_flight: 0,
            waiting: 0,
            lines: HashMap::new(),
            ring: VecDeque::new(),
            beyond: VecDeque::new(),
            readers: VecDeque::new(),
            let_in: Vec::new(),
        }
    }

    /// Calls begun and not done.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Calls that wait within the bound.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Calls at once, at most.
    pub fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    /// Calls waiting, at most.
    pub fn waiting_max(&self) -> usize {
        self.waiting_max
    }

    /// How many calls would be let in now: as many as may wait, and as many as could begin at once.
    pub fn room(&self) -> usize {
        let free = if self.open { self.in_flight_max.saturating_sub(self.in_flight) } else { 0 };
        (self.waiting_max + free).saturating_sub(self.waiting)
    }

    /// `n` calls of a connection arrive, in order. Returns how many of them are let in: none while earlier
    /// ones are beyond the bound. The rest is refused, or [left beyond](Self::leave_beyond).
    pub fn arrive(&mut self, conn: u64, n: usize) -> usize {
        let behind = self.lines.get(&conn).is_some_and(|line| line.beyond > 0);
        let n = if behind { 0 } else { n.min(self.room()) };
        self.admit(conn, n);
        n
    }

    /// `n` calls, which just arrived and were not let in, wait until they are.
    pub fn leave_beyond(&mut self, conn: u64, n: usize) {
        if n == 0 {
            return;
        }
        let line = self.lines.entry(conn).or_default();
        if line.beyond == 0 {
            self.beyond.push_back(conn);
        }
        line.beyond += n;
    }

    /// Whether the connection has calls beyond the bound.
    pub fn is_beyond(&self, conn: u64) -> bool {
        self.lines.get(&conn).is_some_and(|line| line.beyond > 0)
    }

    /// A connection would be read if there were room.
    pub fn wait_to_read(&mut self, conn: u64) {
        let line = self.lines.entry(conn).or_default();
        if !line.reader {
            line.reader = true;
            self.readers.push_back(conn);
        }
    }

    /// Names the connections that may be read again: all of whose calls were let in, and of those that wait
    /// for room as many as there is room for.
    pub fn wake(&mut self, mut go: impl FnMut(u64)) {
        self.let_in.drain(..).for_each(&mut go);
        for _ in 0..self.room() {
            let Some(conn) = self.readers.pop_front() else { break };
            if let Some(line) = self.lines.get_mut(&conn) {
                line.reader = false;
            }
            self.tidy(conn);
            go(conn);
        }
    }

    /// The next call begins, of a connection that is `ready`; those that are not are set aside until they
    /// [are](Self::resume). Returns whose call it is.
    pub fn begin(&mut self, mut ready: impl FnMut(u64) -> bool) -> Option<u64> {
        if !self.open || self.in_flight >= self.in_flight_max {
            return None;
        }
        while let Some(conn) = self.ring.pop_front() {
            let line = self.lines.get_mut(&conn).expect("whoever is in the ring has calls");
            if !ready(conn) {
                line.aside = true;
                continue;
            }
            line.waiting -= 1;
            if line.waiting > 0 {
                self.ring.push_back(conn);
            }
            self.waiting -= 1;
            self.in_flight += 1;
            self.tidy(conn);
            return Some(conn);
        }
        None
    }

    /// A connection that was set aside is ready again; of another nothing changes.
    pub fn resume(&mut self, conn: u64) {
        let Some(line) = self.lines.get_mut(&conn) else { return };
        if std::mem::take(&mut line.aside) && line.waiting > 0 {
            self.ring.push_back(conn);
        }
        self.tidy(conn);
    }

    /// A call is done.
    pub fn done(&mut self) {
        self.in_flight = self.in_flight.checked_sub(1).expect("a call is done once");
        self.let_in_beyond();
    }

    /// The connection is no more, nor are its calls that have not begun.
    pub fn forget(&mut self, conn: u64) {
        let Some(line) = self.lines.remove(&conn) else { return };
        self.waiting -= line.waiting;
        for list in [&mut self.ring, &mut self.beyond, &mut self.readers] {
            list.retain(|&other| other != conn);
        }
        self.let_in_beyond();
    }

    /// Whether calls begin.
    pub fn set_open(&mut self, open: bool) {
        self.open = open;
        self.let_in_beyond();
    }

    /// Changes how many calls there are at once: up at once, down as calls are done.
    pub fn set_in_flight_max(&mut self, max: usize) {
        self.in_flight_max = max;
        self.let_in_beyond();
    }

    /// Changes how many calls may wait. Those that do are never put out.
    pub fn set_waiting_max(&mut self, max: usize) {
        self.waiting_max = max;
        self.let_in_beyond();
    }

    fn admit(&mut self, conn: u64, n: usize) {
        if n == 0 {
            return;
        }
        let line = self.lines.entry(conn).or_default();
        if line.waiting == 0 && !line.aside {
            self.ring.push_back(conn);
        }
        line.waiting += n;
        self.waiting += n;
    }

    /// One call of each connection in turn, as long as there is room.
    fn let_in_beyond(&mut self) {
        while self.room() > 0
            && let Some(conn) = self.beyond.pop_front()
        {
            let line = self.lines.get_mut(&conn).expect("whoever is beyond has calls");
            line.beyond -= 1;
            if line.beyond > 0 {
                self.beyond.push_back(conn);
            } else {
                self.let_in.push(conn);
            }
            self.admit(conn, 1);
        }
    }

    fn tidy(&mut self, conn: u64) {
        if let Some(Line { waiting: 0, beyond: 0, aside: false, reader: false }) = self.lines.get(&conn) {
            self.lines.remove(&conn);
        }
    }

    /// Whether nothing is counted for anyone.
    #[cfg(any(test, feature = "check"))]
    pub fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.lines.is_empty() && self.ring.is_empty() && self.beyond.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(in_flight_max: usize, waiting_max: usize) -> Calls {
        let mut calls = Calls::new(in_flight_max, waiting_max);
        calls.set_open(true);
        calls
    }

    fn begin_all(calls: &mut Calls) -> Vec<u64> {
        std::iter::from_fn(|| calls.begin(|_| true)).collect()
    }

    #[test]
    fn exactly_as_many_as_may_are_let_in() {
        let mut calls = open(2, 3);
        assert_eq!(calls.arrive(1, 10), 5, "two that begin at once, three that wait");
        assert_eq!(begin_all(&mut calls), [1, 1]);
        assert_eq!((calls.in_flight(), calls.waiting(), calls.room()), (2, 3, 0));
        assert_eq!(calls.arrive(2, 1), 0);
        calls.done();
        assert_eq!((calls.room(), calls.arrive(2, 4)), (1, 1));
        let mut shut = Calls::new(2, 3);
        assert_eq!(shut.arrive(1, 10), 3, "none begins");
    }

    #[test]
    fn each_connection_goes_once_before_any_goes_again() {
        let mut calls = open(100, 100);
        for (conn, n) in [(1, 4), (2, 1), (3, 2)] {
            assert_eq!(calls.arrive(conn, n), n);
        }
        assert_eq!(begin_all(&mut calls), [1, 2, 3, 1, 3, 1, 1]);
        assert!(calls.lines.is_empty());
    }

    #[test]
    fn what_is_beyond_is_let_in_one_of_each_in_turn() {
        let mut calls = open(1, 1);
        assert_eq!(calls.arrive(1, 9), 2);
        calls.leave_beyond(1, 2);
        calls.leave_beyond(2, 1);
        assert!(calls.is_beyond(1) && calls.is_beyond(2));
        assert_eq!(begin_all(&mut calls), [1]);
        let mut woken = Vec::new();
        for expected in [&[][..], &[2], &[1]] {
            calls.done();
            woken.clear();
            calls.wake(|conn| woken.push(conn));
            assert_eq!(woken, expected);
            assert_eq!(begin_all(&mut calls).len(), 1);
        }
        assert!(!calls.is_beyond(1) && !calls.is_beyond(2));
    }

    #[test]
    fn as_many_readers_are_woken_as_there_is_room_for() {
        let mut calls = open(1, 0);
        assert_eq!((calls.arrive(9, 1), begin_all(&mut calls)), (1, vec![9]));
        for conn in [1, 2, 1, 3] {
            calls.wait_to_read(conn);
        }
        let mut woken = Vec::new();
        calls.wake(|conn| woken.push(conn));
        assert!(woken.is_empty());
        calls.done();
        calls.wake(|conn| woken.push(conn));
        assert_eq!(woken, [1]);
        calls.set_in_flight_max(9);
        calls.wake(|conn| woken.push(conn));
        assert_eq!(woken, [1, 2, 3]);
    }

    #[test]
    fn whoever_is_not_ready_is_passed_over() {
        let mut calls = open(10, 10);
        calls.arrive(1, 2);
        calls.arrive(2, 2);
        assert_eq!(calls.begin(|conn| conn != 1), Some(2));
        assert_eq!(calls.begin(|_| true), Some(2), "the first is still aside");
        assert_eq!(calls.begin(|_| true), None);
        calls.arrive(1, 1);
        assert_eq!(calls.begin(|_| true), None);
        calls.resume(1);
        assert_eq!(begin_all(&mut calls), [1, 1, 1]);
    }

    #[test]
    fn limits_change_while_it_runs() {
        let mut calls = open(4, 10);
        calls.arrive(1, 14);
        assert_eq!(begin_all(&mut calls).len(), 4);
        calls.set_in_flight_max(2);
        for left in [3, 2, 1] {
            assert_eq!(calls.begin(|_| true), None);
            calls.done();
            assert_eq!(calls.in_flight(), left);
        }
        assert_eq!(begin_all(&mut calls).len(), 1);
        calls.set_in_flight_max(6);
        assert_eq!(begin_all(&mut calls).len(), 4);
        calls.set_waiting_max(0);
        assert_eq!((calls.waiting(), calls.room()), (5, 0), "nobody is put out");
        calls.set_open(false);
        calls.done();
        assert_eq!(calls.begin(|_| true), None);
    }

    #[test]
    fn a_connection_that_ends_takes_its_calls_with_it() {
        let mut calls = open(1, 2);
        calls.arrive(1, 3);
        calls.leave_beyond(1, 5);
        calls.leave_beyond(2, 1);
        assert_eq!(begin_all(&mut calls), [1]);
        calls.forget(1);
        assert_eq!((calls.in_flight(), calls.waiting()), (1, 1), "the one beyond was let in");
        calls.done();
        assert_eq!(begin_all(&mut calls), [2]);
        calls.done();
        assert!(calls.is_empty());
    }
}
