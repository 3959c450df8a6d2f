//! One peer, and all of them: how a connection comes, lives and ends.

pub(in crate::gateway) mod accept;
mod close;
pub(in crate::gateway) mod close_reason;
mod drain;
mod expire;
mod hang_up;
mod marks;
pub(in crate::gateway) mod table;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::core::limits::{PATIENCE_IDLE, PATIENCE_TOTAL, READ_MAX, READ_MIN};
use crate::core::memory::Charge;
use crate::core::reorder::Reorder;
use crate::gateway::CloseReason;
use crate::gateway::config::{Config, SlowPolicy};
use crate::gateway::egress::parcel::Parcel;
use crate::gateway::handlers::stage::Stage;
use crate::gateway::ingress::admission::Line;
use crate::gateway::ingress::large::Large;
use crate::gateway::observe::pauses::Pause;
use crate::runtime::net::{Moment, Outbox};
use crate::wire::{Fault, Header, Status, Verified};

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
/// [`settle_ending`](crate::gateway::Gate::settle_ending) alone.
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

/// What the reorder window holds.
#[derive(Debug)]
pub enum Item {
    /// Verified frames.
    Frames(Verified),
    /// The end of the stream; it takes its turn after what came before it.
    Fault(Fault),
}

impl Item {
    /// How many frames it stands for.
    pub fn frames(&self) -> u64 {
        match self {
            Item::Frames(verified) => u64::from(verified.frames()),
            Item::Fault(_) => 1,
        }
    }
}

/// The beginning of a small frame (or of a large one that waits for memory), and the memory in which
/// it can be finished.
#[derive(Debug)]
pub struct Partial {
    /// The bytes that came.
    pub bytes: Box<[u8]>,
    /// Known once enough bytes came.
    pub header: Option<Header>,
    /// Covers the whole frame and its reply, unless it is a large one that waits.
    pub charge: Charge,
}

/// A subscriber that is behind, and whom it holds up.
#[derive(Debug)]
pub struct SlowConsumer {
    /// Since when.
    pub since: Instant,
    /// Publishers that are not read until it has caught up or patience ends.
    pub holding: VecDeque<ConnId>,
}

/// Frames of one peer that were refused.
#[derive(Clone, Copy, Debug)]
pub struct Rejects {
    pub count: u64,
    /// The last of them.
    pub last: Status,
    pub at: Instant,
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

    // Reading
    /// The socket may have something to read.
    pub readable: bool,
    /// After what is readable comes the end.
    pub read_closed: bool,
    /// The end was read.
    pub ended: bool,
    /// The system said that the connection is no more; what is readable may still be read.
    pub reset: bool,
    /// It is on the list of those to be read this turn or the next.
    pub queued: bool,
    /// It waits for room with the sinks.
    pub sink_held: bool,
    /// The line in which it stands.
    pub waiting: Option<Line>,
    /// It was ready and the gateway did not read it.
    pub paused: Option<Pause>,
    /// At most [`READ_MAX`].
    pub read_size: u32,
    /// The mean length of the frames that came last.
    pub frame_len: u32,
    pub partial: Option<Box<Partial>>,
    /// Large frames: those being hashed, and last the one that is being read.
    pub larges: Vec<Large>,
    pub last_read: Moment,
    /// When the frame that is being read began, or came a good piece further.
    pub frame_since: Moment,
    /// How far it was then, in bytes.
    pub frame_mark: u32,

    // Verifying, in order
    pub authorized: bool,
    pub window: Reorder<Item>,
    /// Less than the credit and one read.
    pub bytes_in_flight: u32,
    pub frames_in_flight: u32,
    /// What follows in its stream has no effect any more.
    pub discard: bool,
    /// What was released and is not over, where handlers or confirmations are waited for.
    pub stage: Option<Box<Stage>>,

    // Writing
    pub writable: bool,
    pub dirty: bool,
    pub outbox: Outbox<Parcel>,
    pub replies_pending: usize,
    pub last_write: Moment,

    // Subscribing
    /// Frames dropped for it since the last GAP.
    pub lost: u64,
    pub slow: Option<Box<SlowConsumer>>,
    pub held_by: Option<ConnId>,

    /// It is on the list of those whose next step towards their end is looked at when the turn ends.
    pub settles: bool,
    /// The earliest entry it has among the deadlines.
    pub armed: Option<Moment>,
    /// When Closing and Lingering end, whatever the peer does.
    pub linger_until: Moment,
    /// Frames and bytes that came and went, for people.
    pub frames_read: u64,
    pub bytes_read: u64,
    pub frames_written: u64,
    pub bytes_written: u64,
    /// Frames dropped for it.
    pub dropped: u64,
    /// Its frames that were refused, if some were.
    pub rejects: Option<Box<Rejects>>,
    /// Whether it ever sent DATA.
    pub publishes: bool,
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
            readable: false,
            read_closed: false,
            ended: false,
            reset: false,
            queued: false,
            sink_held: false,
            waiting: None,
            paused: None,
            read_size: READ_MIN as u32,
            frame_len: 0,
            partial: None,
            larges: Vec::new(),
            last_read: moment,
            frame_since: moment,
            frame_mark: 0,
            authorized,
            window: Reorder::default(),
            bytes_in_flight: 0,
            frames_in_flight: 0,
            discard: false,
            settles: false,
            stage: None,
            writable: false,
            dirty: false,
            outbox: Outbox::default(),
            replies_pending: 0,
            last_write: moment,
            lost: 0,
            slow: None,
            held_by: None,
            armed: None,
            linger_until: moment,
            frames_read: 0,
            bytes_read: 0,
            frames_written: 0,
            bytes_written: 0,
            dropped: 0,
            rejects: None,
            publishes: false,
        }
    }

    /// Its socket: only one that is gone has none, and that is neither read nor written.
    pub fn socket(&mut self) -> &mut S {
        self.socket.as_mut().expect("only a connection that is gone has no socket")
    }

    /// Bytes of a begun frame that came, if one is begun.
    pub fn begun(&self) -> Option<usize> {
        match self.larges.last() {
            Some(large) if !large.is_received() => Some(large.received()),
            _ => self.partial.as_ref().map(|partial| partial.bytes.len()),
        }
    }

    /// The id of a begun frame, where it could be read, else 0.
    pub fn begun_id(&self) -> u64 {
        match self.larges.last() {
            Some(large) if !large.is_received() => large.id,
            _ => self.partial.as_ref().and_then(|partial| partial.header).map_or(0, |header| header.id),
        }
    }

    /// Bytes of memory that a begun frame holds.
    pub fn begun_charge(&self) -> usize {
        match self.larges.last() {
            Some(large) if !large.is_received() => large.total(),
            _ => self.partial.as_ref().map_or(0, |partial| partial.charge.bytes()),
        }
    }

    /// How full the lent buffer may get in the next read: where the last frame that fits is expected to end,
    /// so that it need not be kept until the rest of it comes and then moved.
    pub fn fill_max(&self) -> usize {
        let tail = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let begun = self.partial.as_ref().and_then(|partial| partial.header);
        let max = (tail + self.read_size as usize).min(READ_MAX);
        let frame_len = self.frame_len as usize;
        match begun.map_or(0, |header| header.frame_len()) {
            first if tail > 0 && begun.is_none() || first > max || frame_len == 0 => max,
            first if first == 0 && frame_len > max => max,
            first => first + (max - first) / frame_len * frame_len,
        }
    }

    /// Whether frames that were released wait in its stage, or would.
    pub fn is_parked(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.hashing || !stage.waiting.is_empty())
    }

    /// Whether replies and frames may still be added for it.
    pub fn is_written(&self) -> bool {
        matches!(self.state, State::Open | State::Draining)
    }

    /// Whether everything that it sent has been released and distributed or is held, whoever is told of it.
    pub fn is_distributed(&self) -> bool {
        let staged = self.stage.as_ref().is_some_and(|stage| stage.frames > 0 || stage.hashing);
        self.window.is_empty() && !staged
    }

    /// Whether everything that it sent has been released and distributed or is held, and no reply is owed but to
    /// parts that are held.
    pub fn is_quiet(&self) -> bool {
        self.is_distributed() && !self.is_owed()
    }

    /// Whether replies are owed to it, but to parts that are held.
    pub fn is_owed(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.owed > 0)
    }

    /// Whether it is told everything that it will be.
    pub fn is_answered(&self) -> bool {
        self.is_quiet() && self.stage.as_ref().is_none_or(|stage| stage.held == 0)
    }

    /// Whether this subscriber reads, only more slowly than others write: for that moment its
    /// publishers are held instead of applying the slow policy to it.
    pub fn is_patient(&self, now: Instant) -> bool {
        self.patience_ends().is_none_or(|end| now < end)
    }

    fn patience_ends(&self) -> Option<Instant> {
        let slow = self.slow.as_ref()?;
        Some((slow.since + PATIENCE_TOTAL).min(self.slow_since(slow) + PATIENCE_IDLE))
    }

    /// The next instant at which this connection must be looked at.
    pub fn deadline(&self, config: &Config) -> Option<Instant> {
        match self.state {
            State::Ending | State::Lost | State::Gone => None,
            State::Closing | State::Lingering => Some(self.linger_until.get()),
            State::Open | State::Draining => {
                let idle = self.last_read.max(self.last_write).get() + config.idle_timeout;
                let frame = self.begun().map(|_| self.frame_since.get() + config.frame_timeout);
                let slow = self.slow.as_ref().and_then(|slow| match config.slow {
                    SlowPolicy::Pause => Some(self.slow_since(slow) + config.slow_timeout),
                    _ if slow.holding.is_empty() => None,
                    _ => self.patience_ends(),
                });
                [Some(idle), frame, slow].into_iter().flatten().min()
            }
        }
    }

    /// When a slow consumer last took something.
    pub fn slow_since(&self, slow: &SlowConsumer) -> Instant {
        self.last_write.get().max(slow.since)
    }

    /// For how long the peer has not taken what is meant for it, if something is.
    pub fn unread_for(&self, now: Instant) -> Option<Duration> {
        (!self.outbox.is_empty()).then(|| now.saturating_duration_since(self.last_write.get()))
    }

    /// For how long the peer has not gone on with a frame that it began, if it did.
    pub fn stalled_for(&self, now: Instant) -> Option<Duration> {
        let stalled = self.begun().is_some() && !self.readable && self.paused.is_none();
        stalled.then(|| now.saturating_duration_since(self.last_read.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // 10,000 of them, with a deadline each, are to add at most 5 MiB.
        assert!(size_of::<Conn<mio::net::TcpStream>>() <= 408, "{}", size_of::<Conn<mio::net::TcpStream>>());
    }
}
