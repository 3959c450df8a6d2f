//! The gate: one thread, one turn, every connection and every decision about it.
//!
//! [`turn`] is the order of all decisions, on one screen. What it calls lies in parts:
//!
//! | part | holds |
//! | --- | --- |
//! | [`conn`] | the table of connections, how one comes, lives and ends, and the marks of what is due for it |
//! | [`ingress`] | who may be read, reading and cutting, verdicts in order |
//! | [`egress`] | what a frame does, who gets it, outboxes and how they are written |
//! | [`handlers`] | frames that a handler answers before they are distributed |
//! | [`acks`] | what sinks confirm, the replies that wait for it, digests that were accepted |
//! | [`fragments`] | messages that come in parts |
//! | [`observe`] | what people see of it, and what the simulation asserts |
//!
//! A part marks what is to be done for a connection (to read it, to write to it, to end it), and the turn does it. So
//! nobody's work on a connection ends it in the middle.

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
mod sleep;
pub mod snapshot;
mod turn;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

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
use conn::ConnId;
use egress::router::Router;
use fragments::assembly::Assembly;
use handlers::calling::Calling;
use ingress::admission::Lines;
use observe::notices::Notices;
use observe::pauses::Pauses;
use observe::survey::{History, Surveyor};
use observe::timing::Timing;

use crate::core::memory::Memory;
use crate::gateway::ledger::Ledger;
use crate::runtime::net::{Deadlines, Net};
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
    /// When several connections had something new to write, the last time.
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

    /// The counts until now.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Sees to it that the connection is looked at when its next deadline is due.
    fn arm(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if let Some(at) = conn.deadline(&self.config) {
            self.deadlines.arm(id.key(), &mut conn.armed, at);
        }
    }
}
