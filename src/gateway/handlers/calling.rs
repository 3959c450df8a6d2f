//! Frames that a handler answers before they are distributed.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::time::Instant;

use crate::core::call_queue::Calls;
use crate::core::limits::{CALL, WORKERS_CALLS};
use crate::core::memory::{Charge, Share, Waiting};
use crate::core::units::plain;
use crate::gateway::acks::known::Seen;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::conn::{ConnId, State};
use crate::gateway::handlers::answers::ANSWERS;
use crate::gateway::handlers::drafts::Purpose;
use crate::gateway::handlers::processes::Handlers;
use crate::gateway::handlers::with_workers::WithWorkers;
use crate::gateway::ingress::order::Item;
use crate::gateway::snapshot::{CallsUse, Depth};
use crate::gateway::{Config, Gate, Overflow};
use crate::runtime::handler::{Function, Task};
use crate::runtime::net::{Net, Process};
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{DIGEST, Draft, Header, Scheme, Status, Verified};

/// The calls that wait, those that have begun, and who answers them. Without a handler there are none.
pub struct Calling<H> {
    pub queue: Calls,
    pub overflow: Overflow,
    pub handlers: Handlers<H>,
    /// The handler in Rust, if there is one, and the calls that it has.
    function: Option<Function>,
    pub with_workers: WithWorkers,
    /// Calls that a handler has failed with, to be tried alone.
    pub alone: VecDeque<Call>,
    /// Calls that were answered before their turn with no room for the answer: they are called again in it.
    pub again: Vec<Call>,
    /// Calls that have begun, in order.
    begun: u64,
    /// Calls with the handlers that were not next in their connection's order when they began.
    pub ahead: usize,
    /// What an answer is expected to take as long as it waits, in bytes.
    pub length: usize,
    /// Numbers the calls: a call that is tried again is another for its handler.
    pub numbers: u64,
    /// What is hashed, by the number of its call.
    pub drafts: HashMap<u64, Purpose>,
    /// What waits for room in the queues to be hashed.
    pub unhashed: VecDeque<(u64, Box<Draft>)>,
    /// Frames in all stages, and those of them whose turn to be called has not come.
    pub staged: u64,
    pub lined_up: u64,
    /// Frames with the very bytes of one that is called, by digest: they wait for what becomes of it.
    pub twins: HashMap<[u8; DIGEST], Vec<Call>>,
}

/// A frame that is called.
pub struct Call {
    pub conn: ConnId,
    /// Its place in its connection's order.
    pub seq: u64,
    pub header: Header,
    pub frame: Verified,
    /// With its digest it is found by its twins, where there is deduplication.
    pub digest: Option<[u8; DIGEST]>,
    /// As many calls began before it.
    pub begun: u64,
    /// It was not next in its connection's order when it began, and is with a handler.
    pub ahead: bool,
    /// What its answer takes until its turn comes; or it itself, as a copy that waits for what becomes of the first.
    pub waiting: Option<Waiting>,
    /// Sinks that have it since it came the first time: others refused it then.
    pub before: SinkSet,
    /// Handlers that failed with it.
    failed: u32,
    pub charge: Charge,
}

impl<H: Process> Calling<H> {
    /// No calls yet, and no handler started.
    pub fn new(config: &Config, now: Instant) -> Calling<H> {
        let Config { handler, handlers, handler_timeout, .. } = config;
        let programs = if config.function.is_some() || handler.is_empty() { 0 } else { *handlers };
        Calling {
            queue: Calls::new(config.max_in_flight, config.max_queued),
            overflow: config.overflow,
            handlers: Handlers::new(handler.clone(), programs, *handler_timeout, now),
            function: config.function.clone(),
            with_workers: WithWorkers::new(*handler_timeout),
            alone: VecDeque::new(),
            again: Vec::new(),
            begun: 0,
            ahead: 0,
            length: 0,
            numbers: 0,
            drafts: HashMap::new(),
            unhashed: VecDeque::new(),
            staged: 0,
            lined_up: 0,
            twins: HashMap::new(),
        }
    }

    /// Takes over what can change while it runs.
    pub fn configure(&mut self, config: &Config, now: Instant) {
        self.queue.set_in_flight_max(config.max_in_flight);
        self.queue.set_waiting_max(config.max_queued);
        self.overflow = config.overflow;
        if self.function.is_none() {
            self.handlers.set_wanted(config.handlers, now);
        }
    }

    fn count(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// How many calls there are, and who has them.
    pub fn describe(&self, now: Instant) -> CallsUse {
        let depth = |now: usize, max: usize| Depth { now: now as u64, max: max as u64 };
        CallsUse {
            in_flight: depth(self.queue.in_flight(), self.queue.in_flight_max()),
            queued: depth(self.queue.waiting(), self.queue.waiting_max()),
            retried: (self.alone.len() + self.again.len()) as u64,
            handlers: self.handlers.describe(now),
        }
    }

    /// Every call that has begun is with one handler, or waits to be tried alone.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        let elsewhere = self.alone.len() + self.again.len() + self.with_workers.len();
        assert_eq!(self.queue.in_flight(), self.handlers.calls() + elsewhere);
        assert!(self.ahead <= self.queue.in_flight());
    }

    /// Calls that have begun and have not taken their places in the order: those that are with handlers, that wait for
    /// others with the same bytes, and whose answers are hashed.
    #[cfg(any(test, feature = "check"))]
    pub fn begun_now(&self) -> usize {
        self.queue.in_flight() + self.twins.values().map(Vec::len).sum::<usize>() + self.drafts.len()
    }

    /// Whether nothing is left.
    #[cfg(any(test, feature = "check"))]
    pub fn is_empty(&self) -> bool {
        let none_waits = self.alone.is_empty() && self.again.is_empty() && self.ahead == 0;
        self.queue.is_empty() && none_waits && self.drafts.is_empty() && self.twins.is_empty()
    }

    /// Whether there is a handler.
    pub fn answers(&self) -> bool {
        self.function.is_some() || self.handlers.has_program()
    }

    /// Whether a connection may be read: whatever it sends could wait, or be refused. One that has nothing waiting is
    /// read though others have filled the queue: its calls are let in in turn with theirs, and not after all of theirs.
    pub fn may_read(&self, id: ConnId) -> bool {
        let room = self.overflow == Overflow::Reject || self.queue.room() > 0;
        !self.queue.is_beyond(id.key()) && (room || self.queue.has_none_waiting(id.key()))
    }
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// Begins as many calls as may be at once; those that are tried alone first.
    pub(in crate::gateway) fn call_next(&mut self) {
        if !self.calling.answers() {
            return;
        }
        self.hash_waiting();
        self.call_alone();
        self.repeat_calls();
        // What is with the handlers is finished in a pause, and at the end all that was accepted.
        let open = !self.pause_state.is_paused() || self.ctx.draining.is_some();
        self.calling
            .queue
            .set_open(open && (self.calling.function.is_some() || self.calling.handlers.is_open()));
        while self.ctx.takes_jobs() && self.ctx.memory.has_room(Share::Answer, CALL) {
            let calling = &mut self.calling;
            if !calling.may_begin(&self.ctx.memory) {
                break;
            }
            let seat = match calling.function {
                Some(_) if calling.with_workers.len() < WORKERS_CALLS => None,
                Some(_) => break,
                None => match calling.handlers.seat(!calling.alone.is_empty()) {
                    Some(seat) => Some(seat),
                    // Among those that are tried alone may be none that a handler can answer.
                    None if calling.handlers.tries() => None,
                    None => break,
                },
            };
            let (conns, ahead) = (&self.conns, calling.may_begin_ahead(&self.ctx.memory));
            let ready = |key| {
                let conn = &conns[ConnId::from_key(key)];
                conn.may_call() && (ahead || conn.order.has_nothing_called())
            };
            let Some(key) = calling.queue.begin(ready) else { break };
            self.begin_call(ConnId::from_key(key), seat);
        }
        let mut woken = Vec::new();
        let conns = &self.conns;
        self.calling.queue.wake(|key| {
            let id = ConnId::from_key(key);
            woken.push(id);
            // One that ends, or of which nothing is left to read, would not use the room that another waits for.
            conns[id].reading.readable && conns[id].state == State::Open
        });
        woken.into_iter().for_each(|id| self.conns.mark_runnable(id));
    }

    /// The connection's next call takes its place in the order, and goes to a handler.
    fn begin_call(&mut self, id: ConnId, seat: Option<usize>) {
        let conn = &mut self.conns[id];
        let stage = conn.order.stage.as_mut().expect("its calls wait there");
        let first = stage.waiting.pop_front().expect("as many as are counted");
        let Item::Frames(frame) = stage.part(first, 1) else { unreachable!("a call is first in line") };
        self.calling.lined_up -= 1;
        conn.traffic.publishes = true;
        let ahead = !stage.steps.is_empty();
        let seq = stage.steps.begin();
        let checked = frame.iter().next().expect("it is one frame");
        let (header, digest) = (checked.header, self.acks.dedup.as_ref().map(|_| checked.digest));
        let begun = self.calling.count();
        let (before, waiting, failed) = (SinkSet::NONE, None, 0);
        let charge = self.ctx.memory.charge(Share::Answer, CALL);
        let mut call = Call {
            conn: id,
            seq,
            header,
            frame,
            digest,
            begun,
            ahead: false,
            before,
            waiting,
            failed,
            charge,
        };
        let calling = &mut self.calling;
        if let Some(twins) = digest.and_then(|digest| calling.twins.get_mut(&digest)) {
            calling.queue.done();
            // It takes nothing of what is kept for the answer that it waits for.
            call.waiting = Some(self.ctx.memory.wait(CALL));
            twins.push(call);
            return self.stage_on(id);
        }
        match digest.map_or(Seen::Never, |digest| self.acks.seen(&digest, self.ctx.now)) {
            Seen::Pending(ticket) => {
                self.end_call_early();
                self.owe_twin(call, ticket);
            }
            Seen::Done => {
                self.end_call_early();
                self.refuse_call(call, Status::Duplicate, "");
            }
            seen @ (Seen::Never | Seen::Partly(_)) => {
                if let Seen::Partly(before) = seen {
                    call.before = before;
                }
                let calling = &mut self.calling;
                calling.ahead += usize::from(ahead);
                call.ahead = ahead;
                if let Some(digest) = digest {
                    calling.twins.insert(digest, Vec::new());
                }
                match seat {
                    Some(seat) => self.give(seat, call),
                    None if calling.function.is_none() => calling.alone.push_front(call),
                    None => self.call_function(call),
                }
            }
        }
        self.stage_on(id);
    }

    /// A call that was begun needs no handler.
    fn end_call_early(&mut self) {
        self.calling.queue.done();
    }

    /// Gives calls that a handler has failed with to others, each alone.
    fn call_alone(&mut self) {
        while !self.calling.alone.is_empty()
            && let Some(seat) = self.calling.handlers.idle_seat()
            && let Some(call) = self.calling.alone.pop_front()
        {
            self.give(seat, call);
            if let Some(running) = self.calling.handlers.running(seat) {
                running.alone = true;
            }
        }
    }

    /// A worker calls the handler in Rust.
    fn call_function(&mut self, call: Call) {
        let (payload_max, memory) = (self.ctx.config.payload_max, self.ctx.memory.clone());
        let calling = &mut self.calling;
        let Some(function) = calling.function.clone() else { return };
        calling.numbers += 1;
        let number = calling.numbers;
        let (header, frame) = (call.header, call.frame.body().clone());
        let begun = calling.with_workers.insert(number, call);
        let task = Box::new(Task { function, header, frame, payload_max, memory, begun });
        let ticket = Ticket { conn: ANSWERS, number, since: self.ctx.now };
        self.ctx.submit(Job { ticket, work: Work::Call(task) });
    }

    pub(in crate::gateway) fn give(&mut self, seat: usize, call: Call) {
        let now = self.ctx.now;
        let calling = &mut self.calling;
        calling.numbers += 1;
        let number = calling.numbers;
        let running = calling.handlers.running(seat).expect("its seat was asked for");
        // A handler checks and makes digests without any secret: its pipes are the gateway's own.
        let mut draft = Draft::new(Header { id: number, ..call.header }, &Scheme::Sha256);
        draft.topic_of(call.frame.body(), &call.header);
        draft.payload_of(call.frame.body(), &call.header);
        if running.calls.is_empty() {
            running.first_since = now;
        }
        running.calls.insert(number, call);
        let purpose = Purpose::Give(running.key);
        self.draft(number, purpose, draft);
    }

    /// A handler that does not start had this call: another gets it, behind those that wait for one.
    pub(in crate::gateway) fn try_later(&mut self, call: Call) {
        self.calling.alone.push_back(call);
    }

    /// A handler failed while it had this call: another gets it, once.
    pub(in crate::gateway) fn try_again(&mut self, mut call: Call, why: impl Display) {
        call.failed += 1;
        let calling = &mut self.calling;
        if call.failed < 2 {
            self.ctx.ledger.calls.tried_again += 1;
            return calling.alone.push_back(call);
        }
        self.ctx.ledger.calls.failed += 1;
        calling.done(&mut call);
        let peer = self.conns[call.conn].peer;
        let frame = call.frame.iter().next().expect("it is one frame");
        log::warn!(
            "a second handler {why}, alone with the frame {} of {} (topic '{}', key {}, {} bytes): it is REJECTED",
            call.header.id,
            peer,
            plain(&String::from_utf8_lossy(frame.topic)),
            call.header.key,
            call.header.payload_len,
        );
        self.refuse_call(
            call,
            Status::Rejected,
            format_args!("two handlers failed with it; the second {why}"),
        );
    }

    /// Calls with the handlers, and how many there may be.
    pub fn calls_in_flight(&self) -> (usize, usize) {
        let max = if self.calling.answers() { self.calling.queue.in_flight_max() } else { 0 };
        (self.calling.queue.in_flight(), max)
    }

    /// Forgets every call: their connections are gone.
    pub(in crate::gateway) fn forget_calls(&mut self) {
        let calling = &mut self.calling;
        calling.alone.clear();
        calling.again.clear();
        calling.ahead = 0;
        calling.with_workers.clear();
        calling.drafts.clear();
        calling.unhashed.clear();
        calling.twins.clear();
        calling.queue.give_up();
    }
}
