//! What is read of one connection.

use std::time::{Duration, Instant};

use super::large::Large;
use super::wait_queues::WaitQueue;
use crate::core::limits::{READ_MAX, READ_MIN};
use crate::core::memory::Charge;
use crate::gateway::conn::ConnId;
use crate::gateway::observe::pauses::Pause;
use crate::runtime::net::Moment;
use crate::wire::Header;

/// What came of a connection and is no batch yet, and whether more may come.
pub struct Reading {
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
    pub waiting: Option<WaitQueue>,
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
    /// The subscriber that is behind, and holds it up.
    pub held_by: Option<ConnId>,
}

/// The beginning of a frame, and the memory in which it can be finished, unless it waits for that.
#[derive(Debug)]
pub struct Partial {
    /// The bytes that came.
    pub bytes: Box<[u8]>,
    /// Known once enough bytes came.
    pub begun: Option<Begun>,
    /// Covers the whole frame and its reply, or where these are asked for, what came.
    pub charge: Charge,
    /// Memory that it takes to finish it and that it does not have, for a frame that is not large.
    pub asked: Option<usize>,
}

/// What is known of a frame that was begun.
#[derive(Clone, Copy, Debug)]
pub enum Begun {
    /// Its header.
    Native(Header),
    /// Of a foreign one, how many bytes it may have.
    Foreign(usize),
}

impl Begun {
    /// Bytes up to which it can be read.
    pub fn len(&self) -> usize {
        match *self {
            Begun::Native(header) => header.frame_len(),
            Begun::Foreign(len) => len,
        }
    }

    /// Its publisher's id, else 0.
    pub fn id(&self) -> u64 {
        match self {
            Begun::Native(header) => header.id,
            Begun::Foreign(_) => 0,
        }
    }
}

impl Reading {
    /// Nothing came yet.
    pub fn new(now: Moment) -> Reading {
        Reading {
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
            last_read: now,
            frame_since: now,
            frame_mark: 0,
            held_by: None,
        }
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
            _ => self.partial.as_ref().and_then(|partial| partial.begun).map_or(0, |begun| begun.id()),
        }
    }

    /// Bytes of memory that a begun frame holds.
    pub fn begun_charge(&self) -> usize {
        match self.larges.last() {
            Some(large) if !large.is_received() => large.total(),
            _ => self.partial.as_ref().map_or(0, |partial| partial.charge.bytes()),
        }
    }

    /// Memory that it takes to finish the frame that was begun, where it waits for that.
    pub fn asked(&self) -> Option<usize> {
        self.partial.as_ref().and_then(|partial| partial.asked)
    }

    /// How full the lent buffer may get in the next read: where the last frame that fits is expected to end,
    /// so that it need not be kept until the rest of it comes and then moved. At most about `read_max` bytes are read.
    pub fn fill_max(&self, read_max: usize) -> usize {
        let tail = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let begun = self.partial.as_ref().and_then(|partial| partial.begun);
        // A frame that was begun is one portion: its bytes would be moved once more for each further one.
        let first = begun.map_or(0, |begun| begun.len());
        let max = (tail + read_max.min(self.read_size as usize)).max(first).min(READ_MAX);
        let frame_len = self.frame_len as usize;
        match first {
            first if tail > 0 && begun.is_none() || first > max || frame_len == 0 => max,
            first if first == 0 && frame_len > max => max,
            first => first + (max - first) / frame_len * frame_len,
        }
    }

    /// Lets go of a frame that will never be whole. How many bytes of it came.
    pub fn forget_begun(&mut self) -> u64 {
        let begun = self.begun().unwrap_or(0);
        self.partial = None;
        self.larges.pop_if(|large| !large.is_received());
        begun as u64
    }

    /// For how long the peer has not gone on with a frame that it began, if it did.
    pub fn stalled_for(&self, now: Instant) -> Option<Duration> {
        let stalled = self.begun().is_some() && !self.readable && self.paused.is_none();
        stalled.then(|| now.saturating_duration_since(self.last_read.get()))
    }
}
