//! TLS of connections: what each session holds, and which handshakes are under way.
//!
//! ```text
//! accepted ─► shaking ─┬─ whole records: wait for a worker, the newest first ─► open ─► judged and read as all others
//!                      └─ 10 s, a cut, no certificate, what is not TLS ───────► closed with its reason
//! ```
//!
//! The event loop moves bytes; a handshake's arithmetic is a job of the workers ([`Handshake`]). Behind it the loop opens
//! what comes and seals what goes: a read of an open connection gives bytes as a socket gives them, and so does a write.

mod channel;

use std::collections::VecDeque;
use std::time::Instant;

pub use channel::{ReadHandshake, Secure, read, write};

use crate::core::limits::{
    HANDSHAKE_COST, HANDSHAKES, HANDSHAKES_SHARE, HANDSHAKES_WORKER, LISTED, READ_MAX,
};
use crate::gateway::Config;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::control::{Answer, Reviewed};
use crate::gateway::snapshot::{CertificateUse, Depth, TlsUse};
use crate::runtime::tls::{Peer, SharedSetup, TLS_FAULTS, TlsFault};

/// The setups in force, the handshakes under way, and what came of those before.
pub struct SecureControl {
    /// By listener; none where it is in the clear.
    setups: Vec<Option<SharedSetup>>,
    /// Counts their changes.
    generation: u32,
    /// Lent to each read, for records as they come; nothing where no listener speaks TLS.
    pub scratch: Box<[u8]>,
    /// Handshakes at most.
    max: usize,
    /// Connections that are not agreed yet.
    shaking: usize,
    /// The same in the order in which they came, and some that are not any more.
    oldest: VecDeque<ConnId>,
    /// Those for which a step can be done, the newest last, and some that are no more.
    ready: VecDeque<ConnId>,
    /// Steps with the workers.
    with_workers: usize,
    review: Review,
    full: u64,
    resumed: u64,
    refused: [u64; TLS_FAULTS.len()],
    closed: u64,
}

/// Setups have changed: how far connections were looked at, and who waits for that.
#[derive(Debug, Default)]
struct Review {
    cursor: Option<usize>,
    closed: u64,
    asked: Vec<Answer<Reviewed>>,
}

impl SecureControl {
    /// As a configuration has it.
    pub fn new(config: &Config) -> SecureControl {
        let others = config.listeners.iter().map(|listener| listener.tls.clone());
        let setups: Vec<_> = std::iter::once(None).chain(others).collect();
        let is_used = setups.iter().any(Option::is_some);
        SecureControl {
            setups,
            generation: 0,
            scratch: if is_used { vec![0; READ_MAX].into() } else { Box::default() },
            max: (config.memory / HANDSHAKES_SHARE / HANDSHAKE_COST).clamp(2, HANDSHAKES),
            shaking: 0,
            oldest: VecDeque::new(),
            ready: VecDeque::new(),
            with_workers: 0,
            review: Review::default(),
            full: 0,
            resumed: 0,
            refused: [0; TLS_FAULTS.len()],
            closed: 0,
        }
    }

    /// Whether some listener speaks TLS.
    pub fn is_used(&self) -> bool {
        self.setups.iter().any(Option::is_some)
    }

    /// What a listener's sessions are made of, where it speaks TLS, and the number of the change that it came with.
    pub fn setup(&self, listener: usize) -> Option<(SharedSetup, u32)> {
        self.setups[listener].clone().map(|setup| (setup, self.generation))
    }

    /// A connection begins its handshake. The one that is to make room for it, where there are too many.
    pub fn begin<S>(&mut self, id: ConnId, conns: &Conns<S>) -> Option<ConnId> {
        let is_shaking = |id: &ConnId| conns.get(*id).is_some_and(|conn| conn.is_shaking());
        if self.oldest.len() >= 2 * self.shaking + LISTED {
            self.oldest.retain(is_shaking);
        }
        self.shaking += 1;
        self.oldest.push_back(id);
        if self.shaking <= self.max {
            return None;
        }
        while let Some(first) = self.oldest.pop_front() {
            if is_shaking(&first) {
                return Some(first);
            }
        }
        None
    }

    /// A connection's handshake is over, or it is no more.
    pub fn end_handshake(&mut self) {
        self.shaking -= 1;
    }

    /// A step of a connection's handshake can be done.
    pub fn enqueue<S>(&mut self, id: ConnId, conns: &Conns<S>) {
        if self.ready.len() >= 2 * self.shaking + LISTED {
            self.ready.retain(|&id| conns.get(id).is_some());
        }
        self.ready.push_back(id);
    }

    /// The newest whose step can be done, as long as few enough are with so many workers.
    pub fn next_ready(&mut self, workers: usize) -> Option<ConnId> {
        if self.with_workers >= HANDSHAKES_WORKER * workers.max(1) {
            return None;
        }
        self.ready.pop_back()
    }

    /// A step goes to the workers.
    pub fn submitted(&mut self) {
        self.with_workers += 1;
    }

    /// A step came back.
    pub fn came_back(&mut self) {
        self.with_workers -= 1;
    }

    /// A handshake has succeeded.
    pub fn count_opened(&mut self, peer: &Peer) {
        *if peer.is_resumed { &mut self.resumed } else { &mut self.full } += 1;
    }

    /// A session has ended for a reason of TLS.
    pub fn count_fault(&mut self, fault: &TlsFault) {
        self.refused[fault.index()] += 1;
    }

    /// Puts other setups into force for these listeners. Every live connection of theirs is to be looked at.
    pub fn replace(&mut self, setups: Vec<(usize, SharedSetup)>) {
        for (listener, setup) in setups {
            if let Some(place) = self.setups.get_mut(listener).filter(|place| place.is_some()) {
                *place = Some(setup);
            }
        }
        self.generation += 1;
        self.review.cursor = Some(0);
        self.review.closed = 0;
    }

    /// Who wants to know what came of a change.
    pub fn ask(&mut self, answer: Answer<Reviewed>) {
        self.review.asked.push(answer);
    }

    /// Whether connections are still to be looked at.
    pub fn goes_on(&self) -> bool {
        self.review.cursor.is_some()
    }

    /// The next slot to be looked at, below so many.
    pub fn next_slot(&mut self, slots: usize) -> Option<usize> {
        let cursor = self.review.cursor.as_mut()?;
        *cursor += 1;
        Some(*cursor - 1).filter(|slot| *slot < slots)
    }

    /// All were looked at: how many were closed, and who is to be told.
    pub fn end_review(&mut self) -> (u64, Vec<Answer<Reviewed>>) {
        self.review.cursor = None;
        (self.review.closed, std::mem::take(&mut self.review.asked))
    }

    /// A live connection is closed, since its certificate is not taken any more.
    pub fn count_closed(&mut self) {
        self.closed += 1;
        self.review.closed += 1;
    }

    /// What people see of it, where it is used.
    pub fn describe(&self, config: &Config) -> Option<TlsUse> {
        if !self.is_used() {
            return None;
        }
        let certificates = self.setups.iter().enumerate().filter_map(|(at, setup)| {
            let (_, until) = setup.as_ref()?.validity()?;
            let listener = at.checked_sub(1).map_or("native".into(), |at| config.listeners[at].to_string());
            Some(CertificateUse { listener, until })
        });
        Some(TlsUse {
            handshakes: Depth { now: self.shaking as u64, max: self.max as u64 },
            full: self.full,
            resumed: self.resumed,
            refused: TLS_FAULTS.into_iter().zip(self.refused).collect(),
            closed: self.closed,
            certificates: certificates.collect(),
        })
    }

    /// What is counted agrees with what is there.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants<S>(&self, conns: &Conns<S>) {
        assert_eq!(
            self.shaking,
            conns.iter().filter(|conn| conn.socket.is_some() && conn.is_shaking()).count()
        );
        assert!(self.shaking <= self.max + 1);
    }
}

impl<S> crate::gateway::conn::Conn<S> {
    /// Whether its TLS is not agreed on yet.
    pub fn is_shaking(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.is_shaking())
    }

    /// Whether all that was meant for it was given to the system.
    pub fn is_flushed(&self) -> bool {
        self.writing.outbox.is_empty() && self.secure.as_ref().is_none_or(|secure| !secure.holds_back())
    }

    /// When its handshake must be over.
    pub fn handshake_deadline(&self) -> Option<Instant> {
        self.secure.as_ref().filter(|secure| secure.is_shaking()).map(|secure| secure.deadline())
    }
}
