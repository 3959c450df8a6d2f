//! Messages that come in fragments: held until they are complete, then distributed as one frame.
//!
//! ```text
//! fragment ──► held ──the last──► hashed ──► distributed, each fragment told OK
//!     │          └───lease ends──► each fragment told EXPIRED
//!     └─► refused, or its connection waits for room
//! ```
//!
//! A message has its place in the order where its last fragment stood. Where its digest is made later (in the next
//! turn, or by a worker if it is large), what its connection sent behind that fragment waits for it.
//!
//! Where there is deduplication, the very bytes of a fragment that is held, or whose message is on its way, are a copy:
//! it needs no room, and is told what becomes of the message.
//!
//! A fragment for which there is no room stops its connection: it and what was released behind it wait in the
//! connection's stage, in order, and nothing more is read there. Room comes when a message is complete, or when its
//! lease ends. Leases do not end while publishers are kept from sending, and for one lease after that.

mod copies;
pub mod leases;
mod reassembly;

#[cfg(any(test, feature = "check"))]
use std::collections::HashSet;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use copies::Copies;

use crate::core::limits::{MESSAGES_UNHASHED, PART_OWED, REPLY_MAX};
use crate::core::reassembly::{Bounds, Parts, Removed};
use crate::gateway::acks::pending::PendingReply;
use crate::gateway::conn::ConnId;
use crate::gateway::snapshot::{Depth, PartsUse};
use crate::gateway::{Config, Pressure};
use crate::wire::{Body, DIGEST, Draft, Header, Status, Verified};

/// The tickets of messages that are hashed. No connection has this key.
pub const MESSAGES: u64 = 1 << 63 | 1;

/// Open messages, and those that are complete on their way.
pub struct Fragments {
    parts: Parts<Held>,
    pressure: Pressure,
    /// Parts of open messages.
    held: u64,
    /// Bytes of held parts that another share of the memory is charged for.
    shared: usize,
    unhashed: Unhashed,
    /// Of all those parts.
    copies: Copies,
    parking: Parking,
    /// Whether publishers were kept from sending, at the last look. No lease ends before then.
    kept: bool,
    not_before: Option<Instant>,
}

/// Messages that are hashed here in the next turn, or wait for room in the queue to the workers, and those that workers
/// have, by the numbers of their jobs. There is one of a connection at most.
#[derive(Default)]
struct Unhashed {
    small: VecDeque<(Draft, Message)>,
    large: VecDeque<(Draft, Message)>,
    hashing: HashMap<u64, Message>,
    numbers: u64,
    /// What all of them take.
    backlog: usize,
}

/// Connections that wait for room, in the order in which they came.
#[derive(Default)]
struct Parking {
    queue: VecDeque<ConnId>,
    /// Since they were tried there is more room; and how many of them are to be tried again for it.
    freed: bool,
    untried: usize,
}

/// A part that is held.
struct Held {
    from: ConnId,
    payload: Payload,
    reply: Option<Box<PendingReply>>,
    /// Where there is deduplication.
    digest: Option<Box<[u8; DIGEST]>>,
}

enum Payload {
    /// A copy.
    Own(Box<[u8]>),
    /// A large frame as it came.
    Large(Body, Header),
}

/// What comes of a message that is hashed.
struct Message {
    /// Whose part was the last.
    from: ConnId,
    fragments: u64,
    /// What it takes until it is hashed.
    cost: usize,
    replies: Vec<PendingReply>,
    digests: Vec<[u8; DIGEST]>,
}

/// What becomes of a fragment.
pub enum Outcome {
    /// It is held.
    Held,
    /// It was the last: the message is complete.
    Complete(Box<Complete>),
    /// It was the last, and the digest of the message is made later: what is behind it waits.
    Hashing,
    /// There is no room: it waits, and what is behind it.
    NoRoom,
    /// It is a copy, and its reply waits for what becomes of the first.
    Copy,
    /// It is refused.
    Refused(Status, String),
}

/// A message that is to be distributed.
pub struct Complete {
    pub frame: Verified,
    /// Whose fragment was the last.
    pub from: ConnId,
    pub fragments: u64,
    /// To those who sent its fragments, and copies of them.
    pub replies: Vec<PendingReply>,
    /// Of its fragments, where there is deduplication.
    pub digests: Vec<[u8; DIGEST]>,
}

impl Fragments {
    /// No messages yet.
    pub fn new(config: &Config) -> Fragments {
        let bounds = Bounds {
            messages: config.max_keys,
            bytes: config.parts_max(),
            parts: config.max_parts,
            payload: config.payload_max,
        };
        Fragments {
            parts: Parts::new(config.lease, bounds),
            pressure: config.lease_pressure,
            held: 0,
            shared: 0,
            unhashed: Unhashed::default(),
            copies: Copies::default(),
            parking: Parking::default(),
            kept: false,
            not_before: None,
        }
    }

    /// What open messages take beside what is charged for their bytes elsewhere.
    pub fn cost(&self) -> usize {
        self.parts.cost() - self.shared + self.copies.cost()
    }

    /// Changes what open messages may take.
    pub fn set_bytes(&mut self, bytes: usize) {
        self.parts.set_bytes(bytes);
        self.parking.freed = true;
    }

    /// The replies to copies take part of what open messages may.
    pub fn charge_copies(&mut self) {
        self.parts.set_beside(self.copies.cost_in_all());
    }

    /// Whether one more copy may wait.
    pub fn has_room_for_copy(&self) -> bool {
        let taken = self.parts.cost() + self.copies.cost_in_all();
        taken + PART_OWED + REPLY_MAX <= self.parts.bounds().bytes
    }

    /// Parts of open messages.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Replies to them and to their copies, at most.
    #[cfg(any(test, feature = "check"))]
    pub fn replies(&self) -> usize {
        self.held as usize + self.copies.replies()
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.unhashed.hashing.is_empty() && self.unhashed.small.is_empty() && self.unhashed.large.is_empty()
    }

    /// Whether some message is hashed in the next turn.
    pub fn has_to_hash(&self) -> bool {
        !self.unhashed.small.is_empty()
    }

    /// Whether as many messages wait for their digests as may.
    pub fn is_behind(&self) -> bool {
        self.unhashed.backlog >= MESSAGES_UNHASHED
    }

    /// Whether there is no message either.
    pub fn is_empty(&self) -> bool {
        self.is_quiet() && self.parts.is_empty()
    }

    /// Whether the oldest messages are to make room: what they may take was lowered.
    fn is_pressed(&self) -> bool {
        self.pressure == Pressure::Expire && self.parts.cost() > self.parts.bounds().bytes
    }

    /// When a lease ends, or something can be tried again.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.is_pressed() {
            return Some(now);
        }
        if (self.parking.freed || self.parking.untried > 0) && !self.parking.queue.is_empty() {
            return Some(now);
        }
        let due = self.parts.next_due()?;
        Some(self.not_before.map_or(due, |at| due.max(at)))
    }

    /// What there is, for people.
    pub fn describe(&self, now: Instant) -> PartsUse {
        let bounds = self.parts.bounds();
        let depth = |now: usize, max: usize| Depth { now: now as u64, max: max as u64 };
        let oldest = self.parts.oldest().map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        PartsUse {
            keys: depth(self.parts.len(), bounds.messages),
            bytes: depth(self.parts.cost(), bounds.bytes),
            held: self.held,
            oldest,
            parked: self.parking.queue.len() as u64,
        }
    }

    /// A message is removed: what its parts cost is free.
    fn close(&mut self, message: &Removed<Held>) {
        self.held -= message.parts.len() as u64;
        self.shared -= message.parts.iter().map(Held::shared).sum::<usize>();
        self.parking.freed = true;
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        assert!(self.parts.len() <= self.parts.bounds().messages && self.shared <= self.parts.cost());
        assert!(self.held >= self.parts.len() as u64);
        assert_eq!(self.held == 0, self.parts.is_empty());
        let unhashed = self.unhashed.small.iter().chain(&self.unhashed.large).map(|(_, message)| message);
        let messages: Vec<&Message> = unhashed.chain(self.unhashed.hashing.values()).collect();
        let known = messages.iter().map(|message| message.digests.len()).sum::<usize>();
        self.copies.check_invariants(known + self.held as usize);
        assert_eq!(self.unhashed.backlog, messages.iter().map(|message| message.cost).sum::<usize>());
        let from: HashSet<u64> = messages.iter().map(|message| message.from.key()).collect();
        assert_eq!(from.len(), messages.len(), "what is behind a message did not wait for it");
    }
}

impl Held {
    /// Bytes of it that are charged beside: a large frame, and what is set aside for a reply.
    fn shared(&self) -> usize {
        let frame = match &self.payload {
            Payload::Own(_) => 0,
            Payload::Large(body, _) => body.len(),
        };
        frame + if self.reply.is_some() { REPLY_MAX } else { 0 }
    }
}
