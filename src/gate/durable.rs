//! What sinks have, and what waits for their word.
//!
//! Frames are put under a ticket. It is over when every sink has given its word on every put under it: then
//! the replies that are owed are sent, OK or, where a sink has refused, REJECTED.
//!
//! A frame that was accepted is always put: where a sink has no room, it waits here, and publishers are
//! not read until that is over. So no more waits than was in flight.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;

use super::Gate;
use super::conn::ConnId;
use super::owed::Owed;
use crate::frame::{Body, DIGEST, Status};
use crate::limits::{DURABLE_SHARE, DURABLE_WAKE_TURN, OUTCOMES_TURN, TICKET};
use crate::net::Net;
use crate::pool::Pool;
use crate::sinks::{Condition, OfTopic, Outcome, Put, Sink};
use crate::snapshot::{SinkUse, SinksUse, TopicUse};

/// Names what is confirmed together. One that is over is never named again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The sinks, and the tickets that are not over.
///
/// Invariant: a ticket's `words` are the puts under it that wait here or that a sink has, and one more where a put
/// is promised.
pub struct Durable {
    sinks: Vec<Line>,
    tickets: Slab<Pending>,
    /// Numbers the tickets.
    count: u32,
    /// Tickets in the order of their beginnings, and some that are over.
    ages: VecDeque<(Instant, Ticket)>,
    /// Tickets under which something will be put later.
    promised: usize,
    /// Digests of frames under tickets, where there is deduplication.
    digests: HashMap<[u8; DIGEST], Ticket>,
    /// Connections that are not read until there is room, in the order in which they came.
    held: VecDeque<ConnId>,
}

/// One sink.
struct Line {
    sink: Box<dyn Sink>,
    /// What it has no room for.
    waiting: VecDeque<Put>,
    /// What waits and what it has.
    puts: usize,
    bytes: usize,
}

/// What a ticket stands for.
struct Pending {
    count: u32,
    frames: u32,
    /// Puts on which there is no word yet.
    words: u32,
    refusal: Option<String>,
    owed: Vec<Owed>,
    digests: Vec<[u8; DIGEST]>,
}

impl Ticket {
    fn slot(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

impl Line {
    fn put(&mut self, put: Put) {
        self.puts += 1;
        self.bytes += put.body.len();
        self.waiting.push_back(put);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while self.sink.room() > 0
            && let Some(put) = self.waiting.pop_front()
        {
            self.sink.put(put);
        }
    }

    fn collect(&mut self) -> Option<Outcome> {
        let outcome = self.sink.collect()?;
        self.puts -= 1;
        self.bytes -= outcome.bytes;
        Some(outcome)
    }
}

impl Durable {
    fn new() -> Durable {
        Durable {
            sinks: Vec::new(),
            tickets: Slab::new(),
            count: 0,
            ages: VecDeque::new(),
            promised: 0,
            digests: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    /// Whether some sink wants each frame alone.
    pub fn judges_frames(&self) -> bool {
        self.sinks.iter().any(|line| line.sink.judges_frames())
    }

    /// Whether publishers may be read: each sink takes more, and together they hold little of the memory.
    pub fn has_room(&self, memory: usize) -> bool {
        let takes = |line: &Line| {
            line.waiting.is_empty() && line.sink.room() > 0 && line.bytes < memory / DURABLE_SHARE
        };
        self.sinks.iter().all(takes)
    }

    /// What the tickets take, in bytes.
    pub fn cost(&self) -> usize {
        self.tickets.len() * TICKET
    }

    /// Has the sink of this name send at most so many requests at once; false if there is none.
    pub fn set_max_in_flight(&mut self, name: &str, most: usize) -> bool {
        let mut named = self.sinks.iter_mut().filter(|line| line.sink.name() == name);
        named.next().map(|line| line.sink.set_max_in_flight(most)).is_some()
    }

    /// Whether every sink has given its word on everything.
    pub fn is_idle(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Whether someone waits for room that is there.
    pub fn may_wake(&self, memory: usize) -> bool {
        !self.held.is_empty() && self.has_room(memory)
    }

    /// A connection is not read until there is room.
    pub fn hold(&mut self, id: ConnId) {
        self.held.push_back(id);
    }

    /// Before a sleep: whether nothing came meanwhile.
    pub fn prepare_sleep(&mut self) -> bool {
        self.sinks.iter_mut().all(|line| line.sink.prepare_sleep())
    }

    /// After a sleep.
    pub fn end_sleep(&mut self) {
        self.sinks.iter_mut().for_each(|line| line.sink.end_sleep());
    }

    /// A ticket with nothing under it.
    fn begin(&mut self, now: Instant) -> Ticket {
        self.count = self.count.wrapping_add(1);
        let count = self.count;
        let (words, owed, digests) = (0, Vec::new(), Vec::new());
        let slot = self.tickets.insert(Pending { count, frames: 0, words, refusal: None, owed, digests });
        let ticket = Ticket(u64::from(count) << 32 | slot as u64);
        self.ages.push_back((now, ticket));
        if self.ages.len() > 2 * self.tickets.len() + 64 {
            let tickets = &self.tickets;
            self.ages.retain(|&(_, ticket)| is_open(tickets, ticket));
        }
        ticket
    }

    fn get(&mut self, ticket: Ticket) -> Option<&mut Pending> {
        let pending = self.tickets.get_mut(ticket.slot())?;
        (u64::from(pending.count) == ticket.0 >> 32).then_some(pending)
    }

    /// The ticket of a frame with this digest that is not confirmed yet.
    pub fn unconfirmed(&self, digest: &[u8; DIGEST]) -> Option<Ticket> {
        self.digests.get(digest).copied()
    }

    /// A frame under a ticket has this digest.
    pub fn know(&mut self, ticket: Ticket, digest: [u8; DIGEST]) {
        self.digests.insert(digest, ticket);
        if let Some(pending) = self.get(ticket) {
            pending.digests.push(digest);
        }
    }

    /// Puts frames under a ticket.
    pub fn put(&mut self, ticket: Ticket, from: u64, body: &Body, frames: u32) {
        let sinks = self.sinks.len() as u32;
        let pending = self.get(ticket).expect("it was begun just now");
        pending.frames += frames;
        pending.words += sinks;
        for line in &mut self.sinks {
            line.put(Put { ticket: ticket.0, from, body: body.clone(), frames });
        }
    }

    /// A ticket under which one frame of this digest will be put.
    fn promise(&mut self, digest: [u8; DIGEST], now: Instant) -> Ticket {
        let ticket = self.begin(now);
        self.get(ticket).expect("it was begun just now").words = 1;
        self.promised += 1;
        self.know(ticket, digest);
        ticket
    }

    /// What was promised was put, or for the reason in `refusal` will not be. What was under the ticket, if that
    /// ends it.
    fn end_promise(&mut self, ticket: Ticket, refusal: Option<&str>) -> Option<Pending> {
        self.promised -= 1;
        self.word(ticket, refusal.map(str::to_owned))
    }

    /// Owes replies until the ticket is over.
    pub fn owe(&mut self, ticket: Ticket, owed: Owed) {
        self.get(ticket).expect("it is not over").owed.push(owed);
    }

    /// Takes a sink's word. What was under the ticket, if that was the last.
    fn take(&mut self, name: &'static str, outcome: Outcome) -> Option<Pending> {
        self.word(Ticket(outcome.ticket), outcome.refusal.map(|why| format!("{name}: {why}")))
    }

    /// One of the words on a ticket is given. What was under it, if that was the last.
    fn word(&mut self, ticket: Ticket, refusal: Option<String>) -> Option<Pending> {
        // At the end of draining it was forgotten.
        let pending = self.get(ticket)?;
        pending.words -= 1;
        if pending.refusal.is_none() {
            pending.refusal = refusal;
        }
        if pending.words > 0 {
            return None;
        }
        let pending = self.tickets.remove(ticket.slot());
        for digest in &pending.digests {
            // Where the window is shorter than this took, the same bytes may be under a later ticket.
            if self.digests.get(digest) == Some(&ticket) {
                self.digests.remove(digest);
            }
        }
        while self.ages.front().is_some_and(|&(_, ticket)| !is_open(&self.tickets, ticket)) {
            self.ages.pop_front();
        }
        Some(pending)
    }

    /// What the sinks have, for people.
    pub fn describe(&self, now: Instant) -> SinksUse {
        let oldest = self.ages.front().map_or(Duration::ZERO, |&(at, _)| now.saturating_duration_since(at));
        let each = |line: &Line| {
            let Condition { done, now, topics, failures, trouble } = line.sink.condition();
            let (lag, lag_bytes) = (line.puts as u64, line.bytes as u64);
            let topic = |OfTopic { topic, frames, bytes }| TopicUse { topic, frames, bytes };
            let topics = topics.into_iter().map(topic).collect();
            SinkUse { name: line.sink.name(), lag, lag_bytes, done, now, topics, failures, trouble }
        };
        SinksUse { oldest, each: self.sinks.iter().map(each).collect() }
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        let words: usize = self.tickets.iter().map(|(_, pending)| pending.words as usize).sum();
        let puts = self.sinks.iter().map(|line| line.puts).sum::<usize>();
        let promised = self.promised;
        let is_right = words == puts + promised || self.tickets.is_empty();
        assert!(is_right, "{words} words on {puts} puts and {promised} promised ones are waited for");
        assert!(self.tickets.iter().all(|(_, pending)| pending.words > 0), "a ticket for nothing");
        assert_eq!(self.ages.is_empty(), self.tickets.is_empty());
        assert!(self.digests.values().all(|&ticket| is_open(&self.tickets, ticket)), "a digest of nothing");
    }
}

fn is_open(tickets: &Slab<Pending>, ticket: Ticket) -> bool {
    tickets.get(ticket.slot()).is_some_and(|pending| u64::from(pending.count) == ticket.0 >> 32)
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// From now on, every frame that is distributed goes to this sink as well, and its OK waits for it.
    pub fn add_sink(&mut self, sink: Box<dyn Sink>) {
        let (waiting, puts, bytes) = (VecDeque::new(), 0, 0);
        let durable = self.durable.get_or_insert_with(|| Box::new(Durable::new()));
        durable.sinks.push(Line { sink, waiting, puts, bytes });
    }

    /// Whether publishers may be read, as far as the sinks are concerned.
    pub(super) fn sinks_have_room(&self) -> bool {
        self.durable.as_ref().is_none_or(|durable| durable.has_room(self.memory.limit()))
    }

    /// A ticket under which something will be put at once; none without sinks.
    pub(super) fn ticket(&mut self) -> Option<Ticket> {
        let now = self.now;
        self.durable.as_mut().map(|durable| durable.begin(now))
    }

    /// A ticket under which the frame of this digest will be put in its turn, so that its copies can be told when
    /// it is confirmed; none without sinks.
    pub(super) fn promise(&mut self, digest: [u8; DIGEST]) -> Option<Ticket> {
        let now = self.now;
        self.durable.as_mut().map(|durable| durable.promise(digest, now))
    }

    /// What was promised was put.
    pub(super) fn keep_promise(&mut self, ticket: Ticket) {
        let over = self.durable.as_mut().and_then(|durable| durable.end_promise(ticket, None));
        debug_assert!(over.is_none(), "no sink has given its word yet");
    }

    /// What was promised will not be put.
    pub(super) fn break_promise(&mut self, ticket: Ticket, why: &str) {
        if let Some(pending) =
            self.durable.as_mut().and_then(|durable| durable.end_promise(ticket, Some(why)))
        {
            self.conclude(pending);
        }
    }

    /// Puts a connection's frames under a ticket.
    pub(super) fn put(&mut self, ticket: Ticket, id: ConnId, body: &Body, frames: u32) {
        self.ledger.borrow_mut().sunk.put += u64::from(frames);
        if let Some(durable) = &mut self.durable {
            durable.put(ticket, id.key(), body, frames);
        }
    }

    /// Takes the sinks' word on what they have, hands over what waits, and lets publishers go on.
    pub(super) fn collect_outcomes(&mut self) {
        let sinks = self.durable.as_ref().map_or(0, |durable| durable.sinks.len());
        for at in 0..sinks {
            // What is left is there before the next sleep.
            let mut left = OUTCOMES_TURN;
            while left > 0
                && let Some(durable) = &mut self.durable
                && let Some(outcome) = durable.sinks[at].collect()
            {
                left -= 1;
                let name = durable.sinks[at].sink.name();
                if let Some(pending) = durable.take(name, outcome) {
                    left = left.saturating_sub(pending.owed.len());
                    self.conclude(pending);
                }
            }
            if let Some(durable) = &mut self.durable {
                durable.sinks[at].hand_over();
            }
        }
        let limit = self.memory.limit();
        for _ in 0..DURABLE_WAKE_TURN {
            let Some(durable) = self.durable.as_mut().filter(|durable| durable.has_room(limit)) else {
                break;
            };
            let Some(id) = durable.held.pop_front() else { break };
            if let Some(conn) = self.conns.get_mut(id) {
                conn.sink_held = false;
            }
            self.mark_runnable(id);
        }
    }

    /// Every sink has given its word.
    fn conclude(&mut self, pending: Pending) {
        let Pending { frames, refusal, owed, digests, .. } = pending;
        {
            let sunk = &mut self.ledger.borrow_mut().sunk;
            let fate = if refusal.is_none() { &mut sunk.confirmed } else { &mut sunk.refused };
            *fate += u64::from(frames);
        }
        if let (Some(dedup), Some(_)) = (&mut self.dedup, &refusal) {
            // Whoever sends it again means it.
            digests.iter().for_each(|digest| dedup.forget(digest));
        }
        for owed in owed {
            match &refusal {
                None => self.pay(owed),
                Some(why) => self.refuse(owed, Status::Rejected, why),
            }
        }
    }

    /// At the end of draining: what the sinks have not confirmed is not waited for.
    pub(super) fn forget_tickets(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        durable.tickets.clear();
        durable.ages.clear();
        durable.digests.clear();
        durable.promised = 0;
        for line in &mut durable.sinks {
            line.puts -= line.waiting.len();
            line.bytes -= line.waiting.drain(..).map(|put| put.body.len()).sum::<usize>();
        }
    }
}
