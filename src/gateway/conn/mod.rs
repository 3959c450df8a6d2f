//! One peer, and all of them: how a connection comes, lives and ends.

pub(in crate::gateway) mod accept;
pub(in crate::gateway) mod close_reason;
mod marks;
pub(in crate::gateway) mod per_address;
pub(in crate::gateway) mod stage;
pub(in crate::gateway) mod table;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Instant;

use crate::core::limits::{FRAME_MIN, READ_MIN};
use crate::gateway::CloseReason;
use crate::gateway::access::Standing;
use crate::gateway::config::{Config, SlowPolicy};
use crate::gateway::dialect::Dialect;
use crate::gateway::egress::writing::Writing;
use crate::gateway::ingress::order::Order;
use crate::gateway::ingress::reading::Reading;
use crate::gateway::observe::traffic::Traffic;
use crate::gateway::secure::Secure;
use crate::runtime::net::Moment;
use crate::wire::access::Who;

/// Names a connection for ever: a slot that is used again has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(NonZeroU64);

impl ConnId {
    /// The slot's connection of this generation, which is not 0.
    pub fn new(slot: usize, generation: u32) -> ConnId {
        let slot = u32::try_from(slot).expect("file descriptors are fewer");
        ConnId::from_key(u64::from(generation) << 32 | u64::from(slot))
    }

    /// The slot, which no other connection has at that time.
    pub fn slot(self) -> usize {
        (self.key() & u64::from(u32::MAX)) as usize
    }

    /// As a key for sockets and jobs.
    pub fn key(self) -> u64 {
        self.0.get()
    }

    /// What [`key`](Self::key) gave, which is never 0.
    pub fn from_key(key: u64) -> ConnId {
        ConnId(NonZeroU64::new(key).unwrap_or(NonZeroU64::MAX))
    }
}

/// The life of a connection. Others only mark that it is to end; the steps from there on are taken by
/// [`settle_ending`](crate::gateway::Gate::turn) alone.
///
/// ```text
/// Open ──► Draining ──► Ending ──► Closing ──► Lingering ──► (reaped)
///   │          │           │          │            │
///   └──────────┴───────────┴──────────┴────────────┴─► Lost ──► Gone ──► (reaped)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is read and written.
    Open,
    /// Nothing more is read: its sending side ended, or the gateway drains. What came is finished.
    Draining,
    /// It is to end, and nothing is added for it any more: its last word is next.
    Ending,
    /// The last bytes are in its outbox. What still comes is thrown away.
    Closing,
    /// Our sending side ended too; the peer has until then to end its own. Closing at once could
    /// destroy the last reply on its way.
    Lingering,
    /// The socket is dead, and is to be given up.
    Lost,
    /// The socket is closed. Only what it sent, and is not distributed, is waited for.
    Gone,
}

/// Why a connection is to end. Taken when that is said.
#[derive(Debug)]
pub struct End {
    pub reason: CloseReason,
    /// The frame that it is about, by its publisher's number.
    pub frame_id: u64,
}

/// One peer. An idle one owns no buffer.
pub struct Conn<S> {
    pub id: ConnId,
    /// None once it is [gone](State::Gone).
    pub socket: Option<S>,
    pub peer: SocketAddr,
    pub state: State,
    /// Why it is to end, as long as that is not said.
    pub end: Option<Box<End>>,
    pub opened: Moment,

    pub reading: Reading,
    pub order: Order,
    pub writing: Writing,
    pub traffic: Traffic,
    /// Whose it is, where there is an access file.
    pub standing: Option<Box<Standing>>,
    /// Where its listener has a layout.
    pub dialect: Option<Box<Dialect>>,
    /// Where its listener speaks TLS.
    pub secure: Option<Box<Secure>>,
    /// The place of its listener among all.
    pub listener: u16,

    /// It is on the list of those whose next step towards their end is looked at when the turn ends.
    pub is_marked: bool,
    /// The earliest entry it has among the deadlines.
    pub armed: Option<Moment>,
    /// When Closing and Lingering end, whatever the peer does.
    pub linger_until: Moment,
}

impl<S> Conn<S> {
    /// One that was just accepted.
    pub fn new(id: ConnId, socket: S, peer: SocketAddr, authorized: bool, now: Instant) -> Conn<S> {
        let moment = Moment::from(now);
        Conn {
            id,
            socket: Some(socket),
            peer,
            state: State::Open,
            end: None,
            opened: moment,
            reading: Reading::new(moment),
            order: Order { authorized, ..Order::default() },
            writing: Writing::new(moment),
            traffic: Traffic::default(),
            standing: None,
            dialect: None,
            secure: None,
            listener: 0,
            is_marked: false,
            armed: None,
            linger_until: moment,
        }
    }

    /// Whether what it has sent and is not over is little: one small read at most.
    pub fn holds_little(&self) -> bool {
        let staged = self.order.stage.as_ref().map_or(0, |stage| {
            let begun = stage.frames - stage.lined_up();
            // What is with handlers is known by its number.
            stage.lined_up_bytes() + begun as usize * (self.reading.frame_len as usize).max(FRAME_MIN)
        });
        self.order.bytes_in_flight as usize + staged <= READ_MIN
    }

    /// Lets go of a frame that will never be whole. How many bytes of it came.
    pub fn forget_begun(&mut self) -> u64 {
        let large = self.dialect.as_mut().and_then(|dialect| dialect.take_large());
        self.reading.forget_begun() + large.map_or(0, |large| large.received as u64)
    }

    /// Whether a frame has begun and is not whole, or a record of TLS.
    pub fn has_begun(&self) -> bool {
        self.reading.begun().is_some() || self.secure.as_ref().is_some_and(|secure| secure.is_amid())
    }

    /// Its socket: only one that is gone has none, and that is neither read nor written.
    pub fn socket(&mut self) -> &mut S {
        self.socket.as_mut().expect("only a connection that is gone has no socket")
    }

    /// Whether its end waits, for it brought a wrong token.
    pub fn is_delayed(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.is_delayed())
    }

    /// Whether nobody knows it until it says who it is.
    pub fn is_stranger(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.is_stranger())
    }

    /// Whether it may not be here.
    pub fn is_refused(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.refusal().is_some())
    }

    /// Who it is, for people.
    pub fn named(&self) -> PeerName {
        let who = self.standing.as_ref().and_then(|standing| standing.who()).cloned();
        PeerName { address: self.peer, who }
    }

    /// Whether replies and frames may still be added for it.
    pub fn is_written(&self) -> bool {
        matches!(self.state, State::Open | State::Draining)
    }

    /// The next instant at which this connection must be looked at.
    pub fn deadline(&self, config: &Config) -> Option<Instant> {
        match self.state {
            State::Ending | State::Lost | State::Gone => None,
            State::Closing | State::Lingering => Some(self.linger_until.get()),
            State::Open | State::Draining if self.is_shaking() => self.handshake_deadline(),
            State::Open | State::Draining => {
                let idle = self.reading.last_read.max(self.writing.last_write).get() + config.idle_timeout;
                let frame = self.has_begun().then(|| self.reading.frame_since.get() + config.frame_timeout);
                let slow = self.writing.slow.as_ref().and_then(|slow| match config.slow {
                    SlowPolicy::Pause => Some(self.writing.slow_since(slow) + config.slow_timeout),
                    _ if slow.holding.is_empty() => None,
                    _ => self.writing.patience_ends(),
                });
                let access = self.standing.as_ref().and_then(|standing| standing.deadline());
                [Some(idle), frame, slow, access].into_iter().flatten().min()
            }
        }
    }
}

/// An address, and behind it the name of its identity where there is one.
#[derive(Clone, Debug)]
pub struct PeerName {
    pub address: SocketAddr,
    pub who: Option<Who>,
}

impl PeerName {
    /// The name of its identity.
    pub fn name(&self) -> Option<&str> {
        self.who.as_ref().and_then(Who::name)
    }
}

impl PartialEq for PeerName {
    fn eq(&self, other: &PeerName) -> bool {
        self.address == other.address && self.name() == other.name()
    }
}

impl std::fmt::Display for PeerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.address),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // 10,000 of them, with a deadline each, are to add at most 5 MiB.
        assert!(size_of::<Conn<mio::net::TcpStream>>() <= 424, "{}", size_of::<Conn<mio::net::TcpStream>>());
        // And this beside it, where it speaks a layout.
        assert!(size_of::<Dialect>() <= 48, "{}", size_of::<Dialect>());
    }
}
