//! What all parts share.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::Config;
use super::access::AccessControl;
use super::conn::per_address::PerAddress;
use super::egress::fair::Fair;
use super::ledger::{Ledger, OfListener};
use super::observe::notices::Notices;
use super::observe::timing::Timing;
use super::secure::SecureControl;
use crate::core::limits::JOBS;
use crate::core::memory::Memory;
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool};
use crate::wire::layout::Layouts;

/// What is outside of the gate, what bounds it, and what it is to tell: no part's own.
pub struct Ctx<N, P> {
    pub net: N,
    pub pool: P,
    /// Jobs with the pool.
    pub jobs: usize,
    pub config: Rc<Config>,
    pub memory: Arc<Memory>,
    pub ledger: Ledger,
    /// Who may do what.
    pub access: AccessControl,
    /// TLS of connections.
    pub secure: SecureControl,
    /// How many connections each address has.
    pub per_address: PerAddress,
    /// What streams look like that a layout cannot cut.
    pub layouts: Layouts,
    pub notices: Notices,
    pub timing: Timing,
    /// Lent to each read; a read that fills it keeps it.
    pub scratch: Box<[u8]>,
    /// What this turn may still read and write.
    pub fair: Fair,
    /// This turn's instant.
    pub now: Instant,
    /// Nothing more is taken in, and until then what was taken in is finished.
    pub draining: Option<Instant>,
    /// Bytes that the reactor may still verify itself this turn.
    pub inline_left: usize,
}

impl<N, P> Ctx<N, P> {
    /// Frames were cut from a connection of a listener.
    pub fn count_read(&mut self, listener: u16, frames: u32) {
        self.ledger.read += u64::from(frames);
        self.ledger.listeners[usize::from(listener)].read += u64::from(frames);
    }

    /// Bytes between frames were skipped at a listener.
    pub fn count_skipped(&mut self, listener: u16, bytes: usize) {
        self.ledger.bytes_skipped += bytes as u64;
        self.ledger.listeners[usize::from(listener)].bytes_skipped += bytes as u64;
    }
}

impl<N: Net, P: Pool> Ctx<N, P> {
    /// The instant of the first turn is `now`, or later.
    pub fn new(net: N, pool: P, config: Config, now: Instant) -> Ctx<N, P> {
        let memory = match config.calls() {
            false => Memory::new(config.memory, config.frame_max()),
            true => Memory::with_answers(config.memory, config.frame_max(), config.answer_room()),
        };
        memory.keep(config.digests_bytes());
        let scratch = memory.buffer();
        let named = |name: String| OfListener { name, ..OfListener::default() };
        let others = config.listeners.iter().map(|each| named(each.to_string()));
        let listeners = std::iter::once(named("native".into())).chain(others).collect();
        let ledger = Ledger { listeners, ..Ledger::default() };
        Ctx {
            net,
            pool,
            jobs: 0,
            memory,
            ledger,
            access: AccessControl::new(&config, now),
            secure: SecureControl::new(&config),
            per_address: PerAddress::new(config.per_address_max),
            layouts: config.layouts(),
            config: Rc::new(config),
            notices: Notices::default(),
            timing: Timing::default(),
            scratch,
            fair: Fair::default(),
            now,
            draining: None,
            inline_left: 0,
        }
    }

    /// Hands a job to the workers. The caller saw that there [is room](Self::takes_jobs).
    pub fn submit(&mut self, job: Job) {
        self.jobs += 1;
        self.pool.submit(job);
    }

    /// Whether the queues to the workers have room.
    pub fn takes_jobs(&self) -> bool {
        self.jobs < JOBS
    }
}
