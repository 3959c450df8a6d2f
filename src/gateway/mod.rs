//! The gate: one thread, one turn, every connection and every decision about it.
//!
//! Each part is a struct whose fields are private to its folder. Its methods are given the connections and what all
//! share (`Conns`, `Ctx`), and the parts below it in this table; what is to be done above they return, or mark. So no
//! part calls up: only `turn`, the commands and the sleep between turns have the gate as a whole.
//!
//! | part | holds |
//! | --- | --- |
//! | `turn` | the order of all decisions, on one screen; who may be read, what a verdict does, how connections end |
//! | `ingress` | reading, cutting and verifying; lines of those who wait to be read |
//! | `handlers` | frames that a handler answers before they are distributed, and the programs that do |
//! | `distribution` | what a frame does when its turn has come, by way of the next three |
//! | `fragments` | messages that come in fragments |
//! | `acks` | what sinks confirm, the replies that wait for it, digests that were accepted |
//! | `access` | who a connection is and what it may do, where there is an access file; all other parts ask it |
//! | `secure` | TLS of a connection: its handshake, its records; what is read and written is by way of it |
//! | `durable` | subscriptions that are served from the store, and their positions |
//! | `egress` | who gets a frame, outboxes and how they are written |
//! | `dialect` | how a connection of a listener with a layout is cut, and what is written back |
//! | `conn` | the table of connections, how one comes and lives, what waits of it, and what is due for it |
//! | `observe` | what people see of it, and what the simulation asserts |
//!
//! A part marks what is to be done for a connection (to read it, to write to it, to end it), and the turn does it. So
//! nobody's work on a connection ends it in the middle.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub(crate) mod access;
pub(crate) mod acks;
mod commands;
mod config;
mod conn;
pub mod control;
mod ctx;
mod dialect;
mod distribution;
mod durable;
mod egress;
mod fragments;
mod handlers;
mod ingress;
pub mod ledger;
mod observe;
mod run;
mod secure;
mod sleep;
pub mod snapshot;
mod turn;

use std::time::Instant;

pub use crate::core::call_queue::Overflow;
pub use config::{AccessFile, BadDigestPolicy, Config, Listener, Pressure, SlowPolicy};
pub use conn::close_reason::CloseReason;
pub use durable::Where;
#[cfg(any(test, feature = "check"))]
pub use observe::invariants::Holdings;
pub use run::{Control, Gateway};

use commands::PauseState;
use conn::accept::Acceptor;
use conn::table::Conns;
use ctx::Ctx;
use distribution::Distribution;
use handlers::Handlers;
use ingress::Ingress;
use ingress::wait_queues::WaitQueues;
use observe::Observe;

use crate::gateway::ledger::Ledger;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::sinks::Sink;
use crate::sinks::store::feed::Feed;
use crate::wire::DIGEST;

/// The gateway's state, a part each, and its decisions, over any network and any pool.
pub struct Gate<N: Net, P: Pool> {
    ctx: Ctx<N, P>,
    conns: Conns<N::Socket>,
    acceptor: Acceptor,
    wait_queues: WaitQueues,
    ingress: Ingress,
    /// Where a handler answers frames before they are distributed.
    handlers: Handlers<N>,
    distribution: Distribution,
    pause_state: PauseState,
    observe: Observe,
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// A gate over a network and a pool. `config` was [checked](Config::check).
    pub fn new(net: N, pool: P, config: Config, now: Instant) -> Gate<N, P> {
        let ctx = Ctx::new(net, pool, config, now);
        let config = ctx.config.clone();
        Gate {
            conns: Conns::new(),
            acceptor: Acceptor::default(),
            wait_queues: WaitQueues::default(),
            ingress: Ingress::new(&config),
            handlers: Handlers::new(&config, now),
            distribution: Distribution::new(&config),
            pause_state: PauseState::default(),
            observe: Observe::new(now),
            ctx,
        }
    }

    /// From now on, every frame that is distributed goes to this sink as well, and its OK waits for it.
    pub fn add_sink(&mut self, sink: Box<dyn Sink>) {
        self.distribution.acks.add_sink(sink, self.ctx.now);
        self.ctx.ledger.sinks += 1;
    }

    /// From now on, what is stored feeds durable subscribers.
    pub fn set_feed(&mut self, feed: Feed) {
        self.distribution.durables.set_feed(feed);
    }

    /// Before the first turn: frames with these digests were accepted before this run, at these times, and the sink of
    /// this name has them. Where they come again within the window they go to the other sinks alone; what is told of
    /// them is what those say, or DUPLICATE where there are none.
    pub fn remember_stored(&mut self, sink: &str, digests: Vec<(Instant, [u8; DIGEST])>) {
        self.distribution.acks.remember_stored(sink, digests);
    }

    /// Starts the handlers, if there are to be some.
    ///
    /// # Errors
    /// What the system says of their program.
    pub fn start_handlers(&mut self) -> std::io::Result<()> {
        self.handlers.start_handlers(&mut self.ctx)
    }

    /// Calls with the handlers, and how many there may be.
    pub fn calls_in_flight(&self) -> (usize, usize) {
        self.handlers.in_flight()
    }

    /// Sets what time it is for the access file, where there is one: its instants are the calendar's, and turns go by a
    /// clock that nobody sets.
    pub fn set_clock(&mut self, now: Instant, time: impl FnOnce() -> std::time::SystemTime) {
        if self.ctx.access.is_used() {
            self.ctx.access.set_clock(now, time());
        }
    }

    /// The counts until now.
    pub fn ledger(&self) -> Ledger {
        self.ctx.ledger.clone()
    }
}
