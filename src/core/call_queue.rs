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
//! each goes once before any goes again. One that has had none since all others had their turn goes before them, so
//! that who calls seldom does not wait behind those who always call (as sparse flows do in FQ-CoDel, RFC 8290, 4.2).
//! What arrives when as many wait as may is left beyond the bound: its connection is not read until it has been let in.
//! What waits of a connection that may not be called takes nobody's room: it goes back beyond the bound, and is let in
//! once more in its turn.

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;

use crate::core::limits::FRESH_TURNS;

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
/// where `free` are the calls that could begin at once; a connection is in the ring or before it if it has calls
/// waiting, or had some until its turn comes. One that is set aside has none waiting, and some beyond; another is in the
/// line of those beyond if it has calls there.
#[derive(Debug)]
pub struct Calls {
    in_flight_max: usize,
    waiting_max: usize,
    open: bool,
    in_flight: usize,
    waiting: usize,
    /// Calls beyond the bound, of all connections.
    set_aside: usize,
    callers: HashMap<u64, Caller>,
    /// Numbers the connections.
    count: u64,
    /// Connections with calls that wait, the next first, and those that had some at their last turn.
    ring: Queue,
    /// Those with calls that wait that were not in the ring, the next first.
    fresh: Queue,
    /// How many of them went one after the other.
    fresh_turns: usize,
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
    /// It is not called, for a reason of its own: all its calls are beyond, and none is let in.
    aside: bool,
    /// It was, and has had no turn since: it is not fresh, however little it has waiting.
    was_aside: bool,
    /// It stands in the line of those beyond.
    in_line: bool,
    turn: Turn,
    reader: bool,
    /// It is to be woken.
    let_in: bool,
}

/// Where a connection waits for its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    /// It has nothing to wait for.
    #[default]
    None,
    /// Before the ring.
    Fresh,
    /// In the ring.
    Ring,
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

    /// Adds a connection, unless it is there already, which `is_there` of its caller says.
    fn push_once(&mut self, conn: u64, caller: &mut Caller, is_there: fn(&mut Caller) -> &mut bool) {
        if !std::mem::replace(is_there(caller), true) {
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
            set_aside: 0,
            callers: HashMap::new(),
            count: 0,
            ring: Queue::default(),
            fresh: Queue::default(),
            fresh_turns: 0,
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
        let n = n.min(self.room());
        match self.callers.get_mut(&conn) {
            // They wait where its others do: as many of them are not refused as there is room for.
            Some(caller) if caller.aside => {
                caller.beyond += n;
                self.set_aside += n;
            }
            Some(caller) if caller.beyond > 0 => return 0,
            _ => self.admit(conn, n),
        }
        n
    }

    /// `n` calls, which just arrived and were not let in, wait until they are.
    pub fn leave_beyond(&mut self, conn: u64, n: usize) {
        if n == 0 {
            return;
        }
        let caller = caller_of(&mut self.callers, &mut self.count, conn);
        caller.beyond += n;
        self.set_aside += n;
        if !caller.aside {
            self.beyond.push_once(conn, caller, |caller| &mut caller.in_line);
        }
    }

    /// How many calls are beyond the bound: they wait for room, or for their connection to be called again.
    pub fn set_aside(&self) -> usize {
        self.set_aside
    }

    /// Whether the connection has calls beyond the bound.
    pub fn is_beyond(&self, conn: u64) -> bool {
        self.callers.get(&conn).is_some_and(|caller| caller.beyond > 0)
    }

    /// Whether no call of the connection waits, within the bound or beyond it.
    pub fn has_none_waiting(&self, conn: u64) -> bool {
        self.callers.get(&conn).is_none_or(|caller| caller.waiting == 0 && caller.beyond == 0)
    }

    /// A connection would be read if there were room, or if none of its calls waited. One that is set aside is woken when
    /// its calls were let in.
    pub fn wait_to_read(&mut self, conn: u64) {
        let caller = caller_of(&mut self.callers, &mut self.count, conn);
        if !caller.aside {
            self.readers.push_once(conn, caller, |caller| &mut caller.reader);
        }
    }

    /// Names the connections that may be read again: all of whose calls were let in, or have begun, and of those that
    /// wait for room as many as there is room for beside `coming` calls. One that `go` says no of, since it is not to be
    /// read any more, takes none.
    /// One that was [forgotten](Self::forget) is never named.
    pub fn wake(&mut self, coming: usize, mut go: impl FnMut(u64) -> bool) {
        while let Some(conn) = self.let_in.pop(&self.callers) {
            if let Some(caller) = self.callers.get_mut(&conn) {
                caller.let_in = false;
            }
            self.tidy(conn);
            go(conn);
        }
        let mut room = self.room().saturating_sub(coming);
        while room > 0 {
            let Some(conn) = self.readers.pop(&self.callers) else { break };
            let caller = self.callers.get_mut(&conn).expect("each that waits has an entry");
            caller.reader = false;
            if !caller.aside {
                self.tidy(conn);
                room -= usize::from(go(conn));
            }
        }
    }

    /// The next call begins, of a connection that is `ready`; those that are not are set aside until they
    /// [are](Self::resume). Returns whose call it is.
    pub fn begin(&mut self, mut ready: impl FnMut(u64) -> bool) -> Option<u64> {
        if !self.open || self.in_flight >= self.in_flight_max {
            return None;
        }
        while let Some((conn, is_fresh)) = self.next_turn() {
            let caller = self.callers.get_mut(&conn).expect("a connection in the ring has an entry");
            caller.turn = Turn::None;
            if caller.waiting == 0 {
                self.tidy(conn);
                continue;
            }
            if !ready(conn) {
                (caller.aside, caller.was_aside) = (true, true);
                self.waiting -= caller.waiting;
                self.set_aside += caller.waiting;
                caller.beyond += std::mem::take(&mut caller.waiting);
                self.let_in_beyond();
                continue;
            }
            // What counts are calls that begin: an entry of the ring that has none was nobody's turn.
            self.fresh_turns = if is_fresh { self.fresh_turns + 1 } else { 0 };
            caller.waiting -= 1;
            // Also with its last call: until its next turn it is not fresh.
            (caller.turn, caller.was_aside) = (Turn::Ring, false);
            self.ring.push(conn, caller);
            if caller.waiting == 0 && caller.reader && caller.beyond == 0 {
                self.let_in.push_once(conn, caller, |caller| &mut caller.let_in);
            }
            self.waiting -= 1;
            self.in_flight += 1;
            return Some(conn);
        }
        None
    }

    /// Whose turn it is, and whether that one is fresh: of the fresh ones, and of the others at least now and then.
    fn next_turn(&mut self) -> Option<(u64, bool)> {
        let is_rings = self.fresh_turns >= FRESH_TURNS && !self.ring.is_empty();
        let fresh = if is_rings { None } else { self.fresh.pop(&self.callers) };
        fresh.map(|conn| (conn, true)).or_else(|| Some((self.ring.pop(&self.callers)?, false)))
    }

    /// A connection that was set aside is ready again; of another nothing changes.
    pub fn resume(&mut self, conn: u64) {
        let Some(caller) = self.callers.get_mut(&conn) else { return };
        if std::mem::take(&mut caller.aside) {
            self.beyond.push_once(conn, caller, |caller| &mut caller.in_line);
            self.let_in_beyond();
        }
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
        self.set_aside -= caller.beyond;
        match caller.turn {
            Turn::None => {}
            Turn::Fresh => self.fresh.forget_one(&self.callers),
            Turn::Ring => self.ring.forget_one(&self.callers),
        }
        if caller.in_line {
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
        if caller.turn == Turn::None {
            let turns = if caller.was_aside { &mut self.ring } else { &mut self.fresh };
            caller.turn = if caller.was_aside { Turn::Ring } else { Turn::Fresh };
            turns.push(conn, caller);
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
            caller.in_line = false;
            if caller.aside {
                continue;
            }
            caller.beyond -= 1;
            self.set_aside -= 1;
            if caller.beyond > 0 {
                self.beyond.push_once(conn, caller, |caller| &mut caller.in_line);
            } else {
                self.let_in.push_once(conn, caller, |caller| &mut caller.let_in);
            }
            self.admit(conn, 1);
        }
    }

    fn tidy(&mut self, conn: u64) {
        let is_over = |caller: &Caller| {
            caller.waiting + caller.beyond == 0
                && !(caller.aside || caller.reader || caller.let_in || caller.turn != Turn::None)
        };
        if self.callers.get(&conn).is_some_and(is_over) {
            self.callers.remove(&conn);
        }
    }

    /// Whether nothing is counted for anyone, but that some had their turn.
    #[cfg(any(test, feature = "check"))]
    pub fn is_empty(&self) -> bool {
        let queues = [&self.fresh, &self.beyond, &self.readers, &self.let_in];
        let rests = |caller: &Caller| caller.turn == Turn::Ring && caller.waiting + caller.beyond == 0;
        self.in_flight == 0 && self.callers.values().all(rests) && queues.iter().all(|queue| queue.is_empty())
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
mod tests;
