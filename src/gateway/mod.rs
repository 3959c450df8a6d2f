//! The gate: one thread, one turn, every connection and every decision about it.
//!
//! A turn goes from what is finished to what is new, so that room is made before it is taken:
//! verdicts are collected, released in order and distributed; ready connections are read, and what
//! they sent is cut and verified here or handed to the workers; outboxes are written; those who wait
//! for memory go on; and what is due by the clock is done.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub(crate) mod acks;
mod commands;
mod config;
mod conn;
pub mod control;
mod egress;
mod fragments;
mod handlers;
mod ingress;
pub mod ledger;
mod observe;
mod run;
pub mod snapshot;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::core::call_queue::Overflow;
pub use config::{BadDigestPolicy, Config, Pressure, SlowPolicy};
pub use conn::close_reason::CloseReason;
#[cfg(any(test, feature = "check"))]
pub use observe::invariants::Holdings;
pub use run::{Control, Gateway};

use acks::dedup::Dedup;
use acks::tickets::Sinks;
use commands::Gatekeeper;
use conn::accept::Acceptor;
use conn::table::Conns;
use conn::{ConnId, State};
use egress::router::Router;
use fragments::assembly::Assembly;
use handlers::calling::Calling;
use ingress::admission::Lines;
use observe::notices::Notices;
use observe::pauses::Pauses;
use observe::survey::{History, Surveyor};
use observe::timing::Timing;

use crate::core::limits::{INLINE_TURN, INLINE_TURN_BUSY};
use crate::core::memory::Memory;
use crate::gateway::ledger::Ledger;
use crate::runtime::net::{Deadlines, Event, Net};
use crate::runtime::pool::Pool;
use crate::wire::Rules;

/// The gateway's state and its decisions, over any network and any pool.
pub struct Gate<N: Net, P: Pool> {
    net: N,
    pool: P,
    config: Rc<Config>,
    rules: Rules,
    memory: Arc<Memory>,
    ledger: Ledger,
    notices: Notices,

    conns: Conns<N::Socket>,
    acceptor: Acceptor,
    router: Router,
    dedup: Option<Dedup>,
    deadlines: Deadlines,
    draining: Option<Instant>,
    /// Where a handler answers frames before they are distributed.
    calling: Calling<N::Process>,
    /// What confirms what is distributed.
    sinks: Sinks,
    assembly: Assembly,
    keeper: Gatekeeper,

    started: Instant,
    timing: Timing,
    pauses: Pauses,
    surveyor: Surveyor,
    history: History,

    /// Who was closed and why, for the simulation.
    #[cfg(any(test, feature = "check"))]
    closed: Vec<(std::net::SocketAddr, crate::gateway::CloseReason)>,
    /// Connections that were reset while they were not read, by the cause of that, likewise.
    #[cfg(any(test, feature = "check"))]
    reset_while: [u64; crate::gateway::snapshot::PauseCause::ALL.len()],

    /// This turn's instant.
    now: Instant,
    /// Ready to be read, this turn or the next.
    runnable: VecDeque<ConnId>,
    /// With something new to write.
    dirty: Vec<ConnId>,
    /// Whose next step towards their end is looked at when the turn ends.
    settling: Vec<ConnId>,
    /// When several had, the last time.
    shared_at: Option<Instant>,
    lines: Lines,
    /// Jobs with the pool.
    jobs: usize,
    /// Numbers the large frames.
    large_count: u64,
    /// Batches and large frames in all windows.
    in_flight: usize,
    /// Frames in all stages, and those of them whose turn to be called has not come.
    staged: u64,
    lined_up: u64,
    /// Replies owed to all connections, but for those of parts that are held.
    owed: usize,
    /// Entries in all outboxes.
    entries: usize,
    /// Bytes that the reactor may still verify itself this turn.
    inline_left: usize,
    /// Lent to each read; a read that fills it keeps it.
    scratch: Box<[u8]>,
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// A gate over a network and a pool. `config` was [checked](Config::check).
    pub fn new(net: N, pool: P, config: Config, now: Instant) -> Gate<N, P> {
        let calls = config.calls();
        let memory = match calls {
            false => Memory::new(config.memory, config.frame_max()),
            true => Memory::with_answers(config.memory, config.frame_max(), config.answer_room()),
        };
        memory.keep(config.digests_bytes());
        Gate {
            net,
            pool,
            rules: Rules { payload_max: config.payload_max as u32, replies: false },
            ledger: Ledger::default(),
            notices: Notices::default(),
            conns: Conns::new(),
            acceptor: Acceptor::default(),
            router: Router::new(config.subscriptions_max()),
            dedup: config.dedup.map(|window| Dedup::new(window, config.memory)),
            deadlines: Deadlines::default(),
            draining: None,
            calling: Calling::new(&config, now),
            sinks: Sinks::new(),
            assembly: Assembly::new(&config),
            keeper: Gatekeeper::default(),
            started: now,
            timing: Timing::default(),
            pauses: Pauses::new(now),
            surveyor: Surveyor::default(),
            history: History::default(),
            #[cfg(any(test, feature = "check"))]
            closed: Vec::new(),
            #[cfg(any(test, feature = "check"))]
            reset_while: Default::default(),
            now,
            runnable: VecDeque::new(),
            dirty: Vec::new(),
            settling: Vec::new(),
            shared_at: None,
            lines: Lines::default(),
            jobs: 0,
            large_count: 0,
            in_flight: 0,
            staged: 0,
            lined_up: 0,
            owed: 0,
            entries: 0,
            inline_left: 0,
            scratch: memory.buffer(),
            memory,
            config: Rc::new(config),
        }
    }

    /// Waits from `now` until there is something to do, then adds what the network says to `events`.
    ///
    /// # Errors
    /// What the system says; or that a thread beside this one panicked.
    pub fn poll(&mut self, now: Instant, events: &mut Vec<Event>) -> std::io::Result<()> {
        self.timing.end_turn(now.saturating_duration_since(self.now));
        let timeout = self.next_deadline().map(|at| at.saturating_duration_since(now));
        let timeout = match timeout {
            Some(Duration::ZERO) => timeout,
            _ if self.help() => Some(Duration::ZERO),
            // A verdict that came since the last look is as good as an event.
            _ if !self.pool.prepare_sleep() => Some(Duration::ZERO),
            _ if !self.sinks.prepare_sleep() => Some(Duration::ZERO),
            _ => timeout,
        };
        let result = self.net.poll(timeout, events);
        self.pool.end_sleep();
        self.sinks.end_sleep();
        self.check_threads()?;
        result
    }

    /// A thread that panicked brings nothing back any more, so its connections would stand still for ever.
    fn check_threads(&self) -> std::io::Result<()> {
        let failure = self.pool.failure();
        let failure = failure.or_else(|| self.sinks.failure());
        failure.map_or(Ok(()), |why| Err(std::io::Error::other(why)))
    }

    /// Rather than wait for workers that cannot keep up, does one of the jobs that wait for them. Whether
    /// there was one.
    pub(crate) fn help(&mut self) -> bool {
        let helped = self.pool.help();
        self.ledger.verified.helped += u64::from(helped);
        helped
    }

    /// One turn at the instant `now`, which never goes back.
    pub fn turn(&mut self, now: Instant, events: &[Event]) {
        self.now = now;
        // What was left to read in the turn before says whether it keeps up.
        self.inline_left = if self.runnable.is_empty() { INLINE_TURN } else { INLINE_TURN_BUSY };
        self.timing.begin_turn();
        self.notice_events(events);
        self.accept_waiting();
        self.hash_small_wholes();
        self.collect();
        self.collect_outcomes();
        self.tend_handlers();
        self.refuse_late_calls();
        self.read_runnable();
        if self.timing.has_verified() {
            self.timing.end_reading(self.net.now().saturating_duration_since(now));
        }
        self.write_dirty();
        self.resume_lines();
        self.call_next();
        self.write_calls();
        self.expire();
        self.tend_parts();
        self.settle_ending();
        self.drain_on();
        self.router.sweep(self.conns.is_empty());
        self.charge_entries();
        self.answer_quiet();
        self.survey_on();
    }

    /// When the next turn must be at the latest; none if only an event can bring something.
    pub fn next_deadline(&self) -> Option<Instant> {
        let at_once = !self.runnable.is_empty()
            || !self.dirty.is_empty()
            || self.acceptor.is_ready(self.now)
            || self.surveyor.is_asked()
            || self.assembly.has_to_hash()
            || self.router.is_leaving()
            || self.nothing_comes() && !self.assembly.is_empty() && self.assembly.is_quiet()
            || self.sinks.may_wake(self.memory.limit());
        if at_once || self.has_answers() || self.has_calls_to_write() || self.has_calls_to_repeat() {
            return Some(self.now);
        }
        [
            self.deadlines.next(),
            self.acceptor.retry_at(),
            self.lines.reclaim_at(),
            // Once it is over, handlers alone are waited for.
            self.draining.filter(|&until| until > self.now),
            self.keeper.next_deadline(),
            self.assembly.next_deadline(self.now),
            self.calling.handlers.next_deadline(self.now),
            self.calling.with_workers.next_deadline(self.now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The counts until now.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    fn notice_events(&mut self, events: &[Event]) {
        for event in events {
            match *event {
                Event::Accept => self.acceptor.ready(),
                // The verdicts are collected in every turn.
                Event::Woken => {}
                Event::Pipe { key, pipe } => {
                    self.calling.handlers.notice(key, pipe);
                }
                Event::Socket { key, readable, writable, read_closed, reset } => {
                    let id = ConnId::from_key(key);
                    let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.socket.is_some()) else {
                        continue;
                    };
                    conn.readable |= readable;
                    conn.read_closed |= read_closed;
                    if writable && !conn.writable {
                        conn.writable = true;
                        self.mark_dirty(id);
                    }
                    if reset {
                        self.hang_up(id);
                    }
                    if readable {
                        self.mark_runnable(id);
                    }
                }
            }
        }
    }

    /// Puts a connection on the list of those to be read.
    fn mark_runnable(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if conn.readable && !conn.queued && conn.waiting.is_none() && !matches!(conn.state, State::Gone(_)) {
            conn.queued = true;
            self.runnable.push_back(id);
        }
    }

    /// Puts a connection on the list of those to be written.
    fn mark_dirty(&mut self, id: ConnId) {
        if !std::mem::replace(&mut self.conns[id].dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Sees to it that the connection is looked at when its next deadline is due.
    fn arm(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if let Some(at) = conn.deadline(&self.config) {
            self.deadlines.arm(id.key(), &mut conn.armed, at);
        }
    }
}
