//! Frames that a handler answers before they are distributed: their order, the calls, the programs, and what becomes of
//! a frame that was answered.
//!
//! What takes effect is handed to [`Distribution`](crate::gateway::distribution::Distribution), which knows no handlers.

mod answered;
mod answers;
mod calls;
mod drafts;
mod log_lines;
mod processes;
mod stage;
mod supervise;
mod waits;
mod with_workers;
mod write;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

pub use answers::ANSWERS;
use drafts::Purpose;
use processes::Processes;
use with_workers::WithWorkers;

use crate::core::call_queue::Calls;
use crate::core::memory::{Charge, Waiting};
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId};
use crate::gateway::ctx::Ctx;
use crate::gateway::distribution::Distribution;
use crate::gateway::snapshot::{CallsUse, Depth};
use crate::gateway::{Config, Overflow};
use crate::runtime::handler::Function;
use crate::runtime::net::{Net, Pipe};
use crate::wire::{DIGEST, Draft, Header, Rules, Verified};

/// What takes effect when its turn has come, and on what.
pub struct Downstream<'a, N: Net, P> {
    pub conns: &'a mut Conns<N::Socket>,
    pub ctx: &'a mut Ctx<N, P>,
    pub distribution: &'a mut Distribution,
}

/// The calls that wait, those that have begun, and who answers them. Without a handler there are none.
pub struct Handlers<N: Net> {
    rules: Rules,
    queue: Calls,
    overflow: Overflow,
    processes: Processes<N::Process>,
    /// The handler in Rust, if there is one, and the calls that it has.
    function: Option<Function>,
    with_workers: WithWorkers,
    retries: Retries,
    /// Calls that have begun, in order.
    begun: u64,
    /// Calls with the handlers that were not next in their connection's order when they began.
    ahead: usize,
    /// What an answer is expected to take as long as it waits, in bytes.
    length: usize,
    /// Numbers the calls: a call that is tried again is another for its handler.
    numbers: u64,
    drafts: Drafts,
    /// Frames with the very bytes of one that is called, by digest: they wait for what becomes of it.
    duplicates: HashMap<[u8; DIGEST], Vec<Call>>,
}

/// Calls that have begun and are with nobody.
#[derive(Default)]
struct Retries {
    /// Those that a handler has failed with, to be tried alone.
    alone: VecDeque<Call>,
    /// Those that were answered before their turn with no room for the answer: they are called again in it.
    again: Vec<Call>,
}

/// Frames that are made for calls.
#[derive(Default)]
struct Drafts {
    /// What is hashed, by the number of its call.
    purposes: HashMap<u64, Purpose>,
    /// What waits for room in the queues to be hashed.
    unhashed: VecDeque<(u64, Box<Draft>)>,
}

/// A frame that is called.
struct Call {
    conn: ConnId,
    /// Its place in its connection's order.
    seq: u64,
    header: Header,
    frame: Verified,
    /// With its digest it is found by its duplicates, where there is deduplication.
    digest: Option<[u8; DIGEST]>,
    /// As many calls began before it.
    begun: u64,
    /// It was not next in its connection's order when it began, and is with a handler.
    ahead: bool,
    /// What its answer takes until its turn comes; or it itself, as a copy that waits for what becomes of the first.
    waiting: Option<Waiting>,
    /// Sinks that have it since it came the first time: others refused it then.
    before: SinkSet,
    /// Handlers that failed with it.
    failed: u32,
    charge: Charge,
}

impl<N: Net> Handlers<N> {
    /// No calls yet, and no handler started.
    pub fn new(config: &Config, now: Instant) -> Handlers<N> {
        let Config { handler, handlers, handler_timeout, .. } = config;
        let programs = if config.function.is_some() || handler.is_empty() { 0 } else { *handlers };
        Handlers {
            rules: Rules { payload_max: config.payload_max as u32, replies: true },
            queue: Calls::new(config.max_in_flight, config.max_queued),
            overflow: config.overflow,
            processes: Processes::new(handler.clone(), programs, *handler_timeout, now),
            function: config.function.clone(),
            with_workers: WithWorkers::new(*handler_timeout),
            retries: Retries::default(),
            begun: 0,
            ahead: 0,
            length: 0,
            numbers: 0,
            drafts: Drafts::default(),
            duplicates: HashMap::new(),
        }
    }

    /// Takes over what can change while it runs.
    pub fn configure(&mut self, config: &Config, now: Instant) {
        self.queue.set_in_flight_max(config.max_in_flight);
        self.queue.set_waiting_max(config.max_queued);
        self.overflow = config.overflow;
        if self.function.is_none() {
            self.processes.set_wanted(config.handlers, now);
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
            set_aside: self.queue.set_aside() as u64,
            retried: (self.retries.alone.len() + self.retries.again.len()) as u64,
            handlers: self.processes.describe(now),
        }
    }

    /// Every call that has begun is with one handler, or waits to be tried alone.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        let elsewhere = self.retries.alone.len() + self.retries.again.len() + self.with_workers.len();
        assert_eq!(self.queue.in_flight(), self.processes.calls() + elsewhere);
        assert!(self.ahead <= self.queue.in_flight());
    }

    /// Calls that have begun and have not taken their places in the order: those that are with handlers, that wait for
    /// others with the same bytes, and whose answers are hashed.
    #[cfg(any(test, feature = "check"))]
    pub fn begun_now(&self) -> usize {
        self.queue.in_flight()
            + self.duplicates.values().map(Vec::len).sum::<usize>()
            + self.drafts.purposes.len()
    }

    /// Bytes that are charged for what programs logged last.
    #[cfg(any(test, feature = "check"))]
    pub fn logged(&self) -> usize {
        self.processes.logged()
    }

    /// Whether nothing is left.
    #[cfg(any(test, feature = "check"))]
    pub fn is_empty(&self) -> bool {
        let none_waits = self.retries.alone.is_empty() && self.retries.again.is_empty() && self.ahead == 0;
        self.queue.is_empty() && none_waits && self.drafts.purposes.is_empty() && self.duplicates.is_empty()
    }

    /// What its programs have written, or may be written, comes as an event.
    pub fn notice(&mut self, key: u64, pipe: Pipe) {
        self.processes.notice(key, pipe);
    }

    /// Calls with the handlers, and how many there may be.
    pub fn in_flight(&self) -> (usize, usize) {
        let max = if self.answers() { self.queue.in_flight_max() } else { 0 };
        (self.queue.in_flight(), max)
    }

    /// When the next turn must be at the latest.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let late = self.with_workers.next_deadline(now);
        [self.processes.next_deadline(now), late].into_iter().flatten().min()
    }

    /// Ends the programs in peace: there is nothing for them any more.
    pub fn end(&mut self, now: Instant) {
        self.processes.set_wanted(0, now);
    }

    /// Ends the programs at once.
    pub fn kill(&mut self, now: Instant) {
        self.processes.kill_all(now);
    }

    /// Whether no program runs any more.
    pub fn are_gone(&self) -> bool {
        self.processes.are_gone()
    }

    /// A connection is no more, nor are its calls that have not begun.
    pub fn forget_conn(&mut self, id: ConnId) {
        self.queue.forget(id.key());
    }

    /// Whether there is a handler.
    pub fn answers(&self) -> bool {
        self.function.is_some() || self.processes.has_program()
    }

    /// Whether a connection may be read: whatever it sends could wait, or be refused, beside the frames of all connections
    /// that are in flight already. One that has nothing waiting, nor in flight, is read though others have filled the
    /// queue: its calls are let in in turn with theirs, and not after all of theirs.
    pub fn may_read<S>(&self, conn: &Conn<S>, in_flight: usize) -> bool {
        let key = conn.id.key();
        let has_none = || conn.order.window.is_empty() && self.queue.has_none_waiting(key);
        !self.queue.is_beyond(key) && (!self.are_crowded(in_flight) || has_none())
    }

    /// Whether frames that come wait until others are done, beside those of all connections that are in flight already.
    pub fn are_crowded(&self, in_flight: usize) -> bool {
        self.answers() && self.overflow == Overflow::Pause && self.queue.room() <= in_flight
    }

    /// Forgets every call: their connections are gone.
    pub fn forget(&mut self) {
        self.retries.alone.clear();
        self.retries.again.clear();
        self.ahead = 0;
        self.with_workers.clear();
        self.drafts.purposes.clear();
        self.drafts.unhashed.clear();
        self.duplicates.clear();
        self.queue.give_up();
    }
}
