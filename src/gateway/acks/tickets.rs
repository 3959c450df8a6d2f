//! What sinks have, and what waits for their outcomes.
//!
//! Frames are enqueued under a ticket. It is over when every sink has answered for everything under it: then the
//! replies that wait for it are sent, OK or, where a sink has refused, REJECTED. That one has refused is told at once,
//! since no other outcome can change it; the ticket and its digests stay until all have answered.
//!
//! Where there is deduplication, a digest is remembered with the sinks that have its frame. When some refused it, the
//! same bytes go to those alone the next time, under a ticket of their own; subscribers have had them.
//!
//! A frame that was accepted is always enqueued: where a sink has no room, it waits here, and publishers are
//! not read until that is over. So no more waits than was in flight.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::core::limits::{DURABLE_SHARE, PART_KNOWN, TICKET};
use crate::gateway::acks::pending::PendingReply;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::snapshot::{SinkUse, SinksUse, TopicUse};
use crate::sinks::{Condition, OfTopic, Outcome, Put, Sink};
use crate::wire::{Body, DIGEST};

/// Room for this many tickets, and for this many entries that wait for a sink, is kept where there are none.
const KEEP: usize = 64;

/// Names what is confirmed together. One that is over is never named again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(super) u64);

/// The sinks, and the tickets that are not over.
///
/// Invariant: a ticket's `outcomes` are the entries under it that wait here or that a sink has, and one more where one
/// is promised.
pub struct Sinks {
    pub(super) each: Vec<SinkQueue>,
    tickets: Slab<Pending>,
    /// Numbers the tickets.
    count: u32,
    /// Tickets in the order of their beginnings, and some that are over.
    ages: VecDeque<(Instant, Ticket)>,
    /// Tickets under which something will be enqueued later.
    promised: usize,
    /// Digests of frames under tickets, where there is deduplication.
    digests: HashMap<[u8; DIGEST], Ticket>,
    /// Connections that are not read until there is room, in the order in which they came.
    pub(super) held: VecDeque<ConnId>,
}

/// One sink.
pub(super) struct SinkQueue {
    pub(super) sink: Box<dyn Sink>,
    /// What it has no room for.
    pub(super) waiting: VecDeque<Put>,
    /// What waits and what it has.
    pub(super) pending: usize,
    pub(super) bytes: usize,
    /// When it answered last, or got the first of what it has.
    pub(super) heard: Instant,
}

/// What a ticket stands for.
pub(super) struct Pending {
    pub(super) count: u32,
    pub(super) frames: u32,
    /// Entries without an outcome yet.
    pub(super) outcomes: u32,
    /// Sinks that had it before, those that it was enqueued for, and those of them that refused it.
    pub(super) before: SinkSet,
    pub(super) into: SinkSet,
    pub(super) refused: SinkSet,
    pub(super) refusal: Option<String>,
    pub(super) replies: Vec<PendingReply>,
    pub(super) digests: Vec<[u8; DIGEST]>,
    /// Of a message: its own digest. The others are those of its fragments.
    pub(super) message: Option<[u8; DIGEST]>,
}

impl Ticket {
    fn slot(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

impl SinkQueue {
    fn enqueue(&mut self, put: Put, now: Instant) {
        if self.pending == 0 {
            self.heard = now;
        }
        self.pending += 1;
        self.bytes += put.body.len();
        self.waiting.push_back(put);
        self.hand_over();
    }

    pub(super) fn hand_over(&mut self) {
        while self.sink.room() > 0
            && let Some(put) = self.waiting.pop_front()
        {
            self.sink.put(put);
        }
        if self.waiting.is_empty() && self.waiting.capacity() > KEEP {
            self.waiting = VecDeque::new();
        }
    }

    pub(super) fn collect(&mut self, now: Instant) -> Option<Outcome> {
        let outcome = self.sink.collect()?;
        self.heard = now;
        self.pending -= 1;
        self.bytes -= outcome.bytes;
        Some(outcome)
    }
}

impl Sinks {
    /// No sinks yet.
    pub fn new() -> Sinks {
        Sinks {
            each: Vec::new(),
            tickets: Slab::new(),
            count: 0,
            ages: VecDeque::new(),
            promised: 0,
            digests: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    /// Whether there is no sink.
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Why some sink will never answer again, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.each.iter().find_map(|line| line.sink.failure())
    }

    /// Whether some sink wants each frame alone.
    pub fn judges_frames(&self) -> bool {
        self.each.iter().any(|line| line.sink.judges_frames())
    }

    /// Whether publishers may be read: each sink takes more, and together they hold little of the memory.
    pub fn has_room(&self, memory: usize) -> bool {
        let takes = |line: &SinkQueue| {
            line.waiting.is_empty() && line.sink.room() > 0 && line.bytes < memory / DURABLE_SHARE
        };
        self.each.iter().all(takes)
    }

    /// Whether some sink has something and confirms nothing: it says so, or has not answered for so long.
    pub fn takes_nothing(&self, silence: Duration, now: Instant) -> bool {
        let is_stuck = |line: &SinkQueue| {
            let is_silent = now.saturating_duration_since(line.heard) >= silence;
            line.pending > 0 && (is_silent || line.sink.is_in_trouble())
        };
        self.each.iter().any(is_stuck)
    }

    /// All sinks.
    pub fn all(&self) -> SinkSet {
        SinkSet::first(self.each.len())
    }

    /// The tables of tickets keep the room of the most that there were until there is none, and then next to nothing.
    fn tables(&self) -> usize {
        if self.tickets.is_empty() {
            return 0;
        }
        let waiting: usize = self.each.iter().map(|line| line.waiting.capacity()).sum();
        self.tickets.capacity() * size_of::<Pending>()
            + self.ages.capacity() * size_of::<(Instant, Ticket)>()
            + waiting * size_of::<Put>()
    }

    /// What the tickets take, in bytes, and the digests of what is under them.
    pub fn cost(&self) -> usize {
        self.tickets.len() * TICKET + self.digests.len() * PART_KNOWN + self.tables()
    }

    /// Has the sink of this name send at most so many requests at once; false if there is none.
    pub fn set_max_in_flight(&mut self, name: &str, most: usize) -> bool {
        let mut named = self.each.iter_mut().filter(|line| line.sink.name() == name);
        named.next().map(|line| line.sink.set_max_in_flight(most)).is_some()
    }

    /// Tells every sink how many bytes all buffers together have.
    pub fn set_memory(&mut self, bytes: usize) {
        self.each.iter_mut().for_each(|line| line.sink.set_memory(bytes));
    }

    /// Whether every sink has answered for everything.
    pub fn is_idle(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Whether someone waits for room that is there.
    pub fn may_wake(&self, memory: usize) -> bool {
        !self.held.is_empty() && self.has_room(memory)
    }

    /// A connection is not read until there is room.
    pub fn hold<S>(&mut self, id: ConnId, conns: &Conns<S>) {
        conns.enlist(id, &mut self.held);
    }

    /// Before a sleep: whether nothing came meanwhile.
    pub fn prepare_sleep(&mut self) -> bool {
        self.each.iter_mut().all(|line| line.sink.prepare_sleep())
    }

    /// After a sleep.
    pub fn end_sleep(&mut self) {
        self.each.iter_mut().for_each(|line| line.sink.end_sleep());
    }

    /// A ticket with nothing under it, for what some sinks have already.
    pub fn begin(&mut self, before: SinkSet, now: Instant) -> Ticket {
        self.count = self.count.wrapping_add(1);
        let count = self.count;
        let slot = self.tickets.insert(Pending {
            count,
            frames: 0,
            outcomes: 0,
            before,
            into: SinkSet::NONE,
            refused: SinkSet::NONE,
            refusal: None,
            replies: Vec::new(),
            digests: Vec::new(),
            message: None,
        });
        let ticket = Ticket(u64::from(count) << 32 | slot as u64);
        self.ages.push_back((now, ticket));
        if self.ages.len() > 2 * self.tickets.len() + 64 {
            let tickets = &self.tickets;
            self.ages.retain(|&(_, ticket)| is_open(tickets, ticket));
        }
        ticket
    }

    pub(super) fn get(&mut self, ticket: Ticket) -> Option<&mut Pending> {
        let pending = self.tickets.get_mut(ticket.slot())?;
        (u64::from(pending.count) == ticket.0 >> 32).then_some(pending)
    }

    /// Why what is under a ticket is refused, if it is, and the replies that waited for it: no other outcome changes it.
    pub(super) fn take_refused(&mut self, ticket: Ticket) -> Option<(String, Vec<PendingReply>)> {
        let pending = self.get(ticket)?;
        let why = pending.refusal.clone()?;
        Some((why, std::mem::take(&mut pending.replies)))
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

    /// What is under a ticket is the message with this digest.
    pub fn know_message(&mut self, ticket: Ticket, digest: [u8; DIGEST]) {
        if let Some(pending) = self.get(ticket) {
            pending.message = Some(digest);
        }
    }

    /// Enqueues frames under a ticket, for every sink that does not have them.
    pub fn enqueue(&mut self, ticket: Ticket, from: u64, body: &Body, frames: u32, now: Instant) {
        let all = self.all();
        let pending = self.get(ticket).expect("it was begun just now");
        let into = all.without(pending.before);
        pending.frames += frames;
        pending.outcomes += into.len();
        pending.into = into;
        for (place, line) in self.each.iter_mut().enumerate() {
            if into.covers(SinkSet::one(place)) {
                line.enqueue(Put { ticket: ticket.0, from, body: body.clone(), frames }, now);
            }
        }
    }

    /// A ticket under which one frame of this digest will be enqueued.
    pub(super) fn promise(&mut self, digest: [u8; DIGEST], before: SinkSet, now: Instant) -> Ticket {
        let ticket = self.begin(before, now);
        self.get(ticket).expect("it was begun just now").outcomes = 1;
        self.promised += 1;
        self.know(ticket, digest);
        ticket
    }

    /// What was promised was enqueued, or for the reason in `refusal` will not be. What was under the ticket, if that
    /// ends it.
    pub(super) fn end_promise(&mut self, ticket: Ticket, refusal: Option<&str>) -> Option<Pending> {
        self.promised -= 1;
        self.settle(ticket, refusal.map(|why| (SinkSet::NONE, why.to_owned())))
    }

    /// Replies wait until the ticket is over.
    pub fn add_reply(&mut self, ticket: Ticket, reply: PendingReply) {
        let all = &mut self.get(ticket).expect("it is not over").replies;
        if all.is_empty() {
            // Most have one: the room of four would be charged to nobody.
            all.reserve_exact(1);
        }
        all.push(reply);
    }

    /// Takes the outcome of the sink in a place. What was under the ticket, if that was the last.
    pub(super) fn take(&mut self, place: usize, outcome: Outcome) -> Option<Pending> {
        let name = self.each[place].sink.name();
        let refusal = outcome.refusal.map(|why| (SinkSet::one(place), format!("{name}: {why}")));
        self.settle(Ticket(outcome.ticket), refusal)
    }

    /// One of the outcomes under a ticket: confirmed, or refused by whom and why. What was under it, if that was the
    /// last.
    fn settle(&mut self, ticket: Ticket, refusal: Option<(SinkSet, String)>) -> Option<Pending> {
        // At the end of draining it was forgotten.
        let pending = self.get(ticket)?;
        pending.outcomes -= 1;
        if let Some((by, why)) = refusal {
            pending.refused = pending.refused.with(by);
            pending.refusal.get_or_insert(why);
        }
        if pending.outcomes > 0 {
            return None;
        }
        let mut pending = self.tickets.remove(ticket.slot());
        let digests = &mut self.digests;
        // Where the window is shorter than this took, the same bytes may be under a later ticket.
        pending.digests.retain(|digest| {
            let is_its_own = digests.get(digest) == Some(&ticket);
            is_its_own && digests.remove(digest).is_some()
        });
        while self.ages.front().is_some_and(|&(_, ticket)| !is_open(&self.tickets, ticket)) {
            self.ages.pop_front();
        }
        self.give_back();
        Some(pending)
    }

    /// At the end of draining: what the sinks have not confirmed is not waited for.
    pub fn forget(&mut self) {
        self.tickets.clear();
        self.ages.clear();
        self.digests.clear();
        self.promised = 0;
        for line in &mut self.each {
            line.pending -= line.waiting.len();
            line.bytes -=
                std::mem::take(&mut line.waiting).into_iter().map(|put| put.body.len()).sum::<usize>();
        }
        self.give_back();
    }

    /// Where no ticket is left, what a sink in trouble left behind is charged to nobody any more.
    fn give_back(&mut self) {
        if self.tickets.is_empty() && self.tickets.capacity() > KEEP {
            self.tickets = Slab::new();
            self.ages = VecDeque::new();
            self.digests = HashMap::new();
        }
    }

    /// What the sinks have, for people.
    pub fn describe(&self, now: Instant) -> SinksUse {
        let oldest = self.ages.front().map_or(Duration::ZERO, |&(at, _)| now.saturating_duration_since(at));
        let each = |line: &SinkQueue| {
            let Condition { done, now, topics, failures, trouble } = line.sink.condition();
            let (lag, lag_bytes) = (line.pending as u64, line.bytes as u64);
            let topic = |OfTopic { topic, frames, bytes }| TopicUse { topic, frames, bytes };
            let topics = topics.into_iter().map(topic).collect();
            SinkUse { name: line.sink.name(), lag, lag_bytes, done, now, topics, failures, trouble }
        };
        SinksUse { oldest, each: self.each.iter().map(each).collect() }
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        let outcomes: usize = self.tickets.iter().map(|(_, pending)| pending.outcomes as usize).sum();
        let pending = self.each.iter().map(|line| line.pending).sum::<usize>();
        let promised = self.promised;
        let is_right = outcomes == pending + promised || self.tickets.is_empty();
        assert!(
            is_right,
            "{outcomes} outcomes of {pending} pending and {promised} promised ones are waited for"
        );
        assert!(self.tickets.iter().all(|(_, pending)| pending.outcomes > 0), "a ticket for nothing");
        assert_eq!(self.ages.is_empty(), self.tickets.is_empty());
        assert!(self.digests.values().all(|&ticket| is_open(&self.tickets, ticket)), "a digest of nothing");
    }
}

impl Pending {
    /// Who has what was under it: what was enqueued was distributed, too.
    pub(super) fn done(&self) -> SinkSet {
        let had = if self.into.is_empty() { SinkSet::NONE } else { SinkSet::SUBSCRIBERS };
        self.before.with(self.into.without(self.refused)).with(had)
    }
}

fn is_open(tickets: &Slab<Pending>, ticket: Ticket) -> bool {
    tickets.get(ticket.slot()).is_some_and(|pending| u64::from(pending.count) == ticket.0 >> 32)
}
