//! The gate: one thread, one turn, every connection and every decision about it.
//!
//! `turn` is the order of all decisions, on one screen. What it calls lies in parts:
//!
//! | part | holds |
//! | --- | --- |
//! | `conn` | the table of connections, how one comes, lives and ends, and the marks of what is due for it |
//! | `ingress` | who may be read, reading and cutting, verdicts in order |
//! | `egress` | what a frame does, who gets it, outboxes and how they are written |
//! | `handlers` | frames that a handler answers before they are distributed |
//! | `acks` | what sinks confirm, the replies that wait for it, digests that were accepted |
//! | `fragments` | messages that come in parts |
//! | `observe` | what people see of it, and what the simulation asserts |
//!
//! A part marks what is to be done for a connection (to read it, to write to it, to end it), and the turn does it. So
//! nobody's work on a connection ends it in the middle.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub(crate) mod acks;
mod commands;
mod config;
mod conn;
pub mod control;
mod ctx;
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

use std::time::Instant;

pub use crate::core::call_queue::Overflow;
pub use config::{BadDigestPolicy, Config, Pressure, SlowPolicy};
pub use conn::close_reason::CloseReason;
#[cfg(any(test, feature = "check"))]
pub use observe::invariants::Holdings;
pub use run::{Control, Gateway};

use acks::Acks;
use commands::PauseState;
use conn::table::Conns;
use ctx::Ctx;
use egress::Egress;
use fragments::assembly::Fragments;
use handlers::calling::Calling;
use ingress::Ingress;
use observe::Observe;

use crate::gateway::ledger::Ledger;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

/// The gateway's state, a part each, and its decisions, over any network and any pool.
pub struct Gate<N: Net, P: Pool> {
    ctx: Ctx<N, P>,
    conns: Conns<N::Socket>,
    ingress: Ingress,
    egress: Egress,
    /// Where a handler answers frames before they are distributed.
    calling: Calling<N::Process>,
    acks: Acks,
    fragments: Fragments,
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
            ingress: Ingress::new(&config, &ctx.memory),
            egress: Egress::new(&config),
            calling: Calling::new(&config, now),
            acks: Acks::new(&config),
            fragments: Fragments::new(&config),
            pause_state: PauseState::default(),
            observe: Observe::new(now),
            ctx,
        }
    }

    /// The counts until now.
    pub fn ledger(&self) -> Ledger {
        self.ctx.ledger.clone()
    }
}
