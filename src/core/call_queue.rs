//! Who is called next: so many calls at once, so many waiting, fair between connections.
//!
//! A call is a frame that a handler answers before it is distributed. This room counts them; the frames
//! themselves are with the caller.
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
use std::str::FromStr;

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

impl FromStr for Overflow {
    type Err = String;

    fn from_str(text: &str) -> Result<Overflow, String> {
        let all = [Overflow::Pause, Overflow::Reject];
        let found = all.into_iter().find(|policy| policy.name() == text);
        found.ok_or_else(|| format!("invalid policy '{text}' for overflow: choose pause or reject"))
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
    callers: HashMap<u64, Caller>,
    /// Numbers the connections.
    count: u64,
    /// Connections with calls that wait, the next first.
    ring: Queue,
    /// Connections with calls beyond the bound, the next first.
    beyond: Queue,
    /// Connections that would be read if there were room, the next first.
    readers: Queue,
    /// Connections all of whose calls were let in since they were asked for, and of those that wait to be read, those
    /// all of whose calls have begun.
    let_in: Queue,
}

/// The calls of one connection. One that has none and waits for nothing has no entry.
#[derive(Clone, Copy, Debug, Default)]
struct Caller {
    /// No other connection ever has it.
    number: u64,
    waiting: usize,
    beyond: usize,
    /// It is not called, for a reason of its own.
    aside: bool,
    reader: bool,
    /// It is to be woken.
    let_in: bool,
}

/// Connections in the order of their turns, with their numbers. One that is forgotten leaves its entry
/// behind, which is passed over; where more than half are such, all of them are swept out. So it costs a constant time
/// to forget one, and no memory for long.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<(u64, u64)>,
    /// How many of them were forgotten.
    forgotten: usize,
    /// Entries that were looked at.
    #[cfg(test)]
    looks: usize,
}

impl Queue {
    fn push(&mut self, conn: u64, caller: &Caller) {
        self.entries.push_back((conn, caller.number));
    }

    /// Adds a connection that is to be woken, unless it is there already.
    fn push_once(&mut self, conn: u64, caller: &mut Caller) {
        if !std::mem::replace(&mut caller.let_in, true) {
            self.push(conn, caller);
        }
    }

    fn pop(&mut self, callers: &HashMap<u64, Caller>) -> Option<u64> {
        while let Some(entry) = self.entries.pop_front() {
            #[cfg(test)]
            (self.looks += 1);
            if is_of(callers, entry) {
                return Some(entry.0);
            }
            self.forgotten -= 1;
        }
        None
    }

    /// One of those in it has no entry any more.
    fn forget_one(&mut self, callers: &HashMap<u64, Caller>) {
        self.forgotten += 1;
        if self.forgotten > self.entries.len() / 2 {
            #[cfg(test)]
            (self.looks += self.entries.len());
            self.entries.retain(|&entry| is_of(callers, entry));
            self.entries.shrink_to(2 * self.entries.len());
            self.forgotten = 0;
        }
    }

    #[cfg(any(test, feature = "check"))]
    fn is_empty(&self) -> bool {
        self.entries.len() == self.forgotten
    }
}

fn is_of(callers: &HashMap<u64, Caller>, (conn, number): (u64, u64)) -> bool {
    callers.get(&conn).is_some_and(|caller| caller.number == number)
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
            callers: HashMap::new(),
            count: 0,
            ring: Queue::default(),
            beyond: Queue::default(),
            readers: Queue::default(),
            let_in: Queue::default(),
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
        let behind = self.callers.get(&conn).is_some_and(|caller| caller.beyond > 0);
        let n = if behind { 0 } else { n.min(self.room()) };
        self.admit(conn, n);
        n
    }

    /// `n` calls, which just arrived and were not let in, wait until they are.
    pub fn leave_beyond(&mut self, conn: u64, n: usize) {
        if n == 0 {
            return;
        }
        let caller = caller_of(&mut self.callers, &mut self.count, conn);
        if caller.beyond == 0 {
            self.beyond.push(conn, caller);
        }
        caller.beyond += n;
    }

    /// Whether the connection has calls beyond the bound.
    pub fn is_beyond(&self, conn: u64) -> bool {
        self.callers.get(&conn).is_some_and(|caller| caller.beyond > 0)
    }

    /// Whether no call of the connection waits, within the bound or beyond it.
    pub fn has_none_waiting(&self, conn: u64) -> bool {
        self.callers.get(&conn).is_none_or(|caller| caller.waiting == 0 && caller.beyond == 0)
    }

    /// A connection would be read if there were room, or if none of its calls waited.
    pub fn wait_to_read(&mut self, conn: u64) {
        let caller = caller_of(&mut self.callers, &mut self.count, conn);
        if !caller.reader {
            caller.reader = true;
            self.readers.push(conn, caller);
        }
    }

    /// Names the connections that may be read again: all of whose calls were let in, or have begun, and of those that
    /// wait for room as many as there is room for. One that `go` says no of, since it is not to be read any more, takes none.
    /// One that was [forgotten](Self::forget) is never named.
    pub fn wake(&mut self, mut go: impl FnMut(u64) -> bool) {
        while let Some(conn) = self.let_in.pop(&self.callers) {
            if let Some(caller) = self.callers.get_mut(&conn) {
                caller.let_in = false;
            }
            self.tidy(conn);
            go(conn);
        }
        let mut room = self.room();
        while room > 0 {
            let Some(conn) = self.readers.pop(&self.callers) else { break };
            if let Some(caller) = self.callers.get_mut(&conn) {
                caller.reader = false;
            }
            self.tidy(conn);
            room -= usize::from(go(conn));
        }
    }

    /// The next call begins, of a connection that is `ready`; those that are not are set aside until they
    /// [are](Self::resume). Returns whose call it is.
    pub fn begin(&mut self, mut ready: impl FnMut(u64) -> bool) -> Option<u64> {
        if !self.open || self.in_flight >= self.in_flight_max {
            return None;
        }
        while let Some(conn) = self.ring.pop(&self.callers) {
            let caller = self.callers.get_mut(&conn).expect("a connection in the ring has calls");
            if !ready(conn) {
                caller.aside = true;
                continue;
            }
            caller.waiting -= 1;
            if caller.waiting > 0 {
                self.ring.push(conn, caller);
            } else if caller.reader && caller.beyond == 0 {
                self.let_in.push_once(conn, caller);
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
        let Some(caller) = self.callers.get_mut(&conn) else { return };
        if std::mem::take(&mut caller.aside) && caller.waiting > 0 {
            self.ring.push(conn, caller);
        }
        self.tidy(conn);
    }

    /// A call is done.
    pub fn done(&mut self) {
        self.in_flight = self.in_flight.checked_sub(1).expect("a call is done once");
        self.let_in_beyond();
    }

    /// Nobody waits any more for what is in flight.
    pub fn give_up(&mut self) {
        self.in_flight = 0;
    }

    /// The connection is no more, nor are its calls that have not begun.
    pub fn forget(&mut self, conn: u64) {
        let Some(caller) = self.callers.remove(&conn) else { return };
        self.waiting -= caller.waiting;
        if caller.waiting > 0 && !caller.aside {
            self.ring.forget_one(&self.callers);
        }
        if caller.beyond > 0 {
            self.beyond.forget_one(&self.callers);
        }
        if caller.reader {
            self.readers.forget_one(&self.callers);
        }
        if caller.let_in {
            self.let_in.forget_one(&self.callers);
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
        let caller = caller_of(&mut self.callers, &mut self.count, conn);
        if caller.waiting == 0 && !caller.aside {
            self.ring.push(conn, caller);
        }
        caller.waiting += n;
        self.waiting += n;
    }

    /// One call of each connection in turn, as long as there is room.
    fn let_in_beyond(&mut self) {
        while self.room() > 0
            && let Some(conn) = self.beyond.pop(&self.callers)
        {
            let caller = self.callers.get_mut(&conn).expect("a connection that is beyond has calls");
            caller.beyond -= 1;
            if caller.beyond > 0 {
                self.beyond.push(conn, caller);
            } else {
                self.let_in.push_once(conn, caller);
            }
            self.admit(conn, 1);
        }
    }

    fn tidy(&mut self, conn: u64) {
        let caller = self.callers.get(&conn);
        if let Some(Caller { waiting: 0, beyond: 0, aside: false, reader: false, let_in: false, .. }) = caller
        {
            self.callers.remove(&conn);
        }
    }

    /// Whether nothing is counted for anyone.
    #[cfg(any(test, feature = "check"))]
    pub fn is_empty(&self) -> bool {
        let queues = [&self.ring, &self.beyond, &self.readers, &self.let_in];
        self.in_flight == 0 && self.callers.is_empty() && queues.iter().all(|queue| queue.is_empty())
    }
}

/// The entry of a connection, which it has from now on.
fn caller_of<'a>(callers: &'a mut HashMap<u64, Caller>, count: &mut u64, conn: u64) -> &'a mut Caller {
    callers.entry(conn).or_insert_with(|| {
        *count += 1;
        Caller { number: *count, ..Caller::default() }
    })
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

    fn wake_all(calls: &mut Calls) -> Vec<u64> {
        let mut woken = Vec::new();
        calls.wake(|conn| {
            woken.push(conn);
            true
        });
        woken
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
        assert!(calls.callers.is_empty());
    }

    #[test]
    fn what_is_beyond_is_let_in_one_of_each_in_turn() {
        let mut calls = open(1, 1);
        assert_eq!(calls.arrive(1, 9), 2);
        calls.leave_beyond(1, 2);
        calls.leave_beyond(2, 1);
        assert!(calls.is_beyond(1) && calls.is_beyond(2));
        assert_eq!(begin_all(&mut calls), [1]);
        for expected in [&[][..], &[2], &[1]] {
            calls.done();
            assert_eq!(wake_all(&mut calls), expected);
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
        assert!(wake_all(&mut calls).is_empty());
        calls.done();
        assert_eq!(wake_all(&mut calls), [1]);
        calls.set_in_flight_max(9);
        assert_eq!(wake_all(&mut calls), [2, 3]);
    }

    #[test]
    fn a_reader_is_woken_when_the_last_of_its_calls_begins() {
        let mut calls = open(1, 1);
        assert_eq!((calls.arrive(1, 2), calls.arrive(2, 5)), (2, 0));
        calls.leave_beyond(2, 5);
        assert_eq!(begin_all(&mut calls), [1]);
        calls.wait_to_read(1);
        for expected in [&[][..], &[1]] {
            let woken = wake_all(&mut calls);
            assert_eq!((&*woken, calls.room()), (expected, 0), "others have filled the queue");
            assert_eq!(calls.has_none_waiting(1), !expected.is_empty());
            calls.done();
            assert_eq!(begin_all(&mut calls).len(), 1);
        }
        assert!(!calls.has_none_waiting(2));
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
    fn however_many_connections_end_together_each_costs_a_constant_time() {
        const CONNS: u64 = 10_000;
        let mut calls = open(0, CONNS as usize);
        for conn in 0..CONNS {
            assert_eq!(calls.arrive(conn, 1), 1);
            calls.wait_to_read(conn);
        }
        for conn in 0..CONNS {
            calls.leave_beyond(conn, 1);
        }
        // From the back, so that none that is forgotten is first in a queue.
        for conn in (0..CONNS).rev() {
            calls.set_waiting_max(0);
            calls.forget(conn);
            let left = conn as usize;
            for queue in [&calls.ring, &calls.beyond, &calls.readers, &calls.let_in] {
                assert!(queue.entries.len() <= 2 * left + 1, "{} for {left}", queue.entries.len());
                assert!(queue.looks <= 3 * CONNS as usize, "{} looks", queue.looks);
            }
        }
        assert!(calls.is_empty());
    }

    #[test]
    fn one_that_is_not_to_be_read_any_more_takes_nobodys_room() {
        let mut calls = open(1, 0);
        assert_eq!(calls.arrive(1, 1), 1);
        assert_eq!(calls.begin(|_| true), Some(1));
        calls.wait_to_read(2);
        calls.wait_to_read(3);
        calls.done();
        let mut woken = Vec::new();
        calls.wake(|conn| {
            woken.push(conn);
            conn != 2
        });
        assert_eq!(woken, [2, 3]);
    }

    #[test]
    fn one_that_is_forgotten_is_not_woken() {
        let mut calls = open(1, 1);
        assert_eq!(calls.arrive(1, 2), 2);
        [2, 3].into_iter().for_each(|conn| calls.leave_beyond(conn, 1));
        assert_eq!(calls.begin(|_| true), Some(1));
        // What the first leaves is let in, and the second of these leaves before anybody is told.
        calls.forget(1);
        calls.set_waiting_max(9);
        calls.forget(2);
        assert_eq!(wake_all(&mut calls), [3]);
        calls.forget(3);
        calls.done();
        assert!(calls.is_empty());
    }

    #[test]
    fn one_that_is_forgotten_and_comes_again_has_one_turn() {
        let mut calls = open(9, 9);
        for conn in [1, 2, 3] {
            calls.arrive(conn, 1);
        }
        calls.forget(1);
        calls.arrive(1, 1);
        assert_eq!(begin_all(&mut calls), [2, 3, 1]);
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
        calls.wake(|conn| conn == 2);
        assert!(calls.is_empty());
    }
}
