//! Parts until their message is complete, or nothing more comes.
//!
//! Parts with the same topic and key belong together. Each part renews its message's lease; a message
//! whose lease ends is dismissed, and its parts are handed back. All leases are equally long, so the order in
//! which they end is that of the last parts: a list in which a renewed message moves to the end.
//! Finding, adding, renewing and dismissing take constant time, however many are open.
//!
//! ```text
//! (none) ──part──► open ──last part──► complete
//!                  │  ▲ └──lease ends──► dismissed
//!                  └──┘ part: renewed
//! ```

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use slab::Slab;

use crate::core::limits::{MESSAGE_COST, MESSAGE_RESERVE, PART_COST, PART_SHARDS};

/// What bounds the parts that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages at once.
    pub messages: usize,
    /// What all of them cost, in bytes.
    pub bytes: usize,
    /// Parts of one.
    pub parts: u16,
    /// Bytes of payload of one.
    pub payload: usize,
}

/// What a part says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The topic and the key that its message is known by.
    pub topic: &'a [u8],
    /// See `topic`.
    pub key: u64,
    /// Which part it is, from 0.
    pub index: u16,
    /// How many there are.
    pub count: u16,
    /// Bytes of its payload.
    pub payload: usize,
    /// Bytes that holding it takes, beside [`PART_COST`].
    pub held: usize,
}

/// Why a part is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant says what its fields are")]
pub enum Refusal {
    /// No message has such a part.
    Impossible { index: u16, count: u16 },
    /// More parts than a message may have.
    TooMany { count: u16, max: u16 },
    /// The other parts say that there are `held`.
    OtherCount { count: u16, held: u16 },
    /// It is there already.
    Again { index: u16 },
    /// The message would be larger than it may be.
    TooLarge { max: usize },
    /// Its message would take more than all messages may.
    TooCostly { max: usize },
}

/// Whether a part can be added now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Yes,
    /// Not before a message is complete or dismissed. Its own lease was renewed, once, if it has one.
    No,
}

/// The parts of a message in the order of their indexes, or of one that was dismissed in the order in which they came.
#[derive(Debug, PartialEq, Eq)]
pub struct Removed<T> {
    /// Its topic.
    pub topic: Rc<[u8]>,
    /// Its key.
    pub key: u64,
    /// What it costs, which is no longer counted.
    pub cost: usize,
    /// Its parts.
    pub parts: Vec<T>,
}

/// Open messages.
///
/// Invariants: every message is in the table under its topic and key, and in the list; the list is
/// ordered by `since`; `cost` is the sum of what the messages cost; a topic is in `topics` as long as a
/// message has it.
#[derive(Debug)]
pub struct Parts<T> {
    lease: Duration,
    bounds: Bounds,
    messages: Slab<Message<T>>,
    /// Places in `messages`, in many small tables: one that grows moves few of them at once.
    table: Box<[HashTable<u32>]>,
    hasher: RandomState,
    topics: HashSet<Rc<[u8]>>,
    /// The one whose lease ends first, and last.
    first: u32,
    last: u32,
    cost: usize,
    /// What is beside them and shares their bound.
    beside: usize,
}

#[derive(Debug)]
struct Message<T> {
    topic: Rc<[u8]>,
    key: u64,
    /// When its last part came.
    since: Instant,
    before: u32,
    after: u32,
    count: u16,
    have: Have,
    payload: usize,
    cost: usize,
    parts: Vec<(u16, T)>,
}

/// Which parts came.
#[derive(Debug)]
enum Have {
    Few(u64),
    Many(Box<[u64]>),
}

/// No message.
const NONE: u32 = u32::MAX;

impl Have {
    fn none(count: u16) -> Have {
        match usize::from(count) {
            0..=64 => Have::Few(0),
            count => Have::Many(vec![0; count.div_ceil(64)].into_boxed_slice()),
        }
    }

    /// Bytes beside its own.
    fn bytes(count: u16) -> usize {
        if count <= 64 { 0 } else { usize::from(count).div_ceil(64) * 8 }
    }

    fn contains(&self, index: u16) -> bool {
        match self {
            Have::Few(bits) => bits >> index & 1 == 1,
            Have::Many(words) => words[usize::from(index) / 64] >> (index % 64) & 1 == 1,
        }
    }

    fn insert(&mut self, index: u16) {
        match self {
            Have::Few(bits) => *bits |= 1 << index,
            Have::Many(words) => words[usize::from(index) / 64] |= 1 << (index % 64),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Impossible { index, count } => {
                write!(
                    f,
                    "there is no fragment {index} of {count}: a message has 2 fragments or more, numbered from 0"
                )
            }
            Refusal::TooMany { count, max } => {
                write!(f, "{count} fragments are more than {max} (max-parts)")
            }
            Refusal::OtherCount { count, held } => {
                write!(f, "it says {count} fragments, those that came before say {held}")
            }
            Refusal::Again { index } => write!(f, "fragment {index} came before"),
            Refusal::TooLarge { max } => write!(f, "the message would be larger than {max} bytes"),
            Refusal::TooCostly { max } => {
                write!(f, "its message would take more than all may, {max} bytes (parts-memory, memory)")
            }
        }
    }
}

impl<T> Parts<T> {
    /// Messages with leases of this length.
    pub fn new(lease: Duration, bounds: Bounds) -> Parts<T> {
        Parts {
            lease,
            bounds,
            messages: Slab::new(),
            table: (0..PART_SHARDS).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
            topics: HashSet::new(),
            first: NONE,
            last: NONE,
            cost: 0,
            beside: 0,
        }
    }

    /// Open messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What they cost, in bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// What bounds them.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Changes what all of them may cost. Where they cost more, no part is added before they do not.
    pub fn set_bytes(&mut self, bytes: usize) {
        self.bounds.bytes = bytes;
    }

    /// Changes how many bytes beside them share their bound.
    pub fn set_beside(&mut self, bytes: usize) {
        self.beside = bytes;
    }

    /// When the last part came of the message whose lease ends first.
    pub fn oldest(&self) -> Option<Instant> {
        self.message(self.first).map(|message| message.since)
    }

    /// When the next lease ends.
    pub fn next_due(&self) -> Option<Instant> {
        self.oldest().map(|since| since + self.lease)
    }

    /// Whether a part is one, and whether there is room for it now.
    ///
    /// # Errors
    /// Why it is none; what is held stays as it is.
    pub fn judge(&mut self, part: &Part<'_>, now: Instant) -> Result<Room, Refusal> {
        let Part { index, count, payload, .. } = *part;
        if count < 2 || index >= count {
            return Err(Refusal::Impossible { index, count });
        }
        if count > self.bounds.parts {
            return Err(Refusal::TooMany { count, max: self.bounds.parts });
        }
        let found = self.find(part.topic, part.key);
        let held = found.map_or(0, |at| self.messages[at as usize].payload);
        let message = found.map(|at| &self.messages[at as usize]);
        if let Some(message) = message {
            if message.count != count {
                return Err(Refusal::OtherCount { count, held: message.count });
            }
            if message.have.contains(index) {
                return Err(Refusal::Again { index });
            }
        }
        if held + payload > self.bounds.payload {
            return Err(Refusal::TooLarge { max: self.bounds.payload });
        }
        let cost = cost_of(part, message.is_none());
        if message.map_or(0, |message| message.cost) + cost > self.bounds.bytes {
            // It would wait for room that never comes.
            return Err(Refusal::TooCostly { max: self.bounds.bytes });
        }
        // What is open may still take what new messages may not, so that it can become complete.
        let (messages, bytes) = match message {
            Some(_) => (self.len(), self.bounds.bytes),
            None => (self.len() + 1, self.bounds.bytes - self.bounds.bytes / MESSAGE_RESERVE),
        };
        let fits = messages <= self.bounds.messages && self.cost + self.beside + cost <= bytes;
        // One alone may take all there is.
        if fits || self.is_empty() {
            return Ok(Room::Yes);
        }
        if let Some(at) = found {
            self.renew(at, now);
        }
        Ok(Room::No)
    }

    /// Adds a part for which there [is room](Self::judge). Returns the complete message, if this was the last.
    pub fn add(&mut self, part: &Part<'_>, item: T, now: Instant) -> Option<Removed<T>> {
        let found = self.find(part.topic, part.key);
        let cost = cost_of(part, found.is_none());
        let at = match found {
            Some(at) => {
                self.renew(at, now);
                at
            }
            None => self.open(part, now),
        };
        let message = &mut self.messages[at as usize];
        debug_assert!(message.count == part.count && !message.have.contains(part.index), "it was judged");
        message.have.insert(part.index);
        message.payload += part.payload;
        message.cost += cost;
        self.cost += cost;
        message.parts.push((part.index, item));
        let is_complete = message.parts.len() == usize::from(message.count);
        is_complete.then(|| {
            self.messages[at as usize].parts.sort_unstable_by_key(|&(index, _)| index);
            self.close(at)
        })
    }

    /// The next message whose lease has ended.
    pub fn expire(&mut self, now: Instant) -> Option<Removed<T>> {
        if self.next_due()? > now {
            return None;
        }
        self.dismiss_oldest()
    }

    /// The message whose lease ends first, before it does.
    pub fn dismiss_oldest(&mut self) -> Option<Removed<T>> {
        (self.first != NONE).then(|| self.close(self.first))
    }

    fn open(&mut self, part: &Part<'_>, now: Instant) -> u32 {
        let topic = match self.topics.get(part.topic) {
            Some(topic) => topic.clone(),
            None => {
                let topic: Rc<[u8]> = part.topic.into();
                self.topics.insert(topic.clone());
                topic
            }
        };
        let at = u32::try_from(self.messages.insert(Message {
            topic,
            key: part.key,
            since: now,
            before: NONE,
            after: NONE,
            count: part.count,
            have: Have::none(part.count),
            payload: 0,
            cost: 0,
            // Most of a million that are open at once may never get another.
            parts: Vec::with_capacity(1),
        }));
        let at = at.expect("the bound on messages is below");
        self.append(at, now);
        let hash = self.hasher.hash_one((part.topic, part.key));
        let Parts { table, messages, hasher, .. } = self;
        let hash_of = |at: &u32| {
            let message = &messages[*at as usize];
            hasher.hash_one((&*message.topic, message.key))
        };
        table[shard(hash, PART_SHARDS)].insert_unique(hash, at, hash_of);
        at
    }

    fn close(&mut self, at: u32) -> Removed<T> {
        self.take_out(at);
        let message = self.messages.remove(at as usize);
        let hash = self.hasher.hash_one((&*message.topic, message.key));
        let table = &mut self.table[shard(hash, PART_SHARDS)];
        table.find_entry(hash, |other| *other == at).expect("every message is in the table").remove();
        if table.is_empty() {
            *table = HashTable::new();
        }
        self.cost -= message.cost;
        // Its own, and the set's.
        if Rc::strong_count(&message.topic) == 2 {
            self.topics.remove(&message.topic);
        }
        if self.messages.is_empty() {
            self.messages = Slab::new();
        }
        let Message { topic, key, cost, parts, .. } = message;
        Removed { topic, key, cost, parts: parts.into_iter().map(|(_, item)| item).collect() }
    }

    fn find(&self, topic: &[u8], key: u64) -> Option<u32> {
        let hash = self.hasher.hash_one((topic, key));
        let is_it = |at: &u32| {
            let message = &self.messages[*at as usize];
            message.key == key && *message.topic == *topic
        };
        self.table[shard(hash, PART_SHARDS)].find(hash, is_it).copied()
    }

    fn renew(&mut self, at: u32, now: Instant) {
        self.take_out(at);
        self.append(at, now);
    }

    /// Adds a message at the end of the list.
    fn append(&mut self, at: u32, now: Instant) {
        let last = std::mem::replace(&mut self.last, at);
        let message = &mut self.messages[at as usize];
        (message.before, message.after, message.since) = (last, NONE, now);
        match last {
            NONE => self.first = at,
            last => self.messages[last as usize].after = at,
        }
    }

    fn take_out(&mut self, at: u32) {
        let Message { before, after, .. } = self.messages[at as usize];
        match before {
            NONE => self.first = after,
            before => self.messages[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.messages[after as usize].before = before,
        }
    }

    fn message(&self, at: u32) -> Option<&Message<T>> {
        self.messages.get(at as usize)
    }
}

fn cost_of(part: &Part<'_>, is_first: bool) -> usize {
    let message = if is_first { MESSAGE_COST + part.topic.len() + Have::bytes(part.count) } else { 0 };
    message + PART_COST + part.held
}

/// The table of a hash, of so many. The first get twice as many messages as the last, so that they grow one after
/// another: were all as full as each other, all would grow in the same turn. A table's own use of a hash takes its
/// first and last bits.
fn shard(hash: u64, shards: usize) -> usize {
    let at = f64::from((hash >> 24) as u32) / (1_u64 << 32) as f64;
    // It is 2^at - 1, to a thousandth or so of all: from 0 to 1, twice as steep there.
    let skewed = at * (0.6565 + 0.3435 * at);
    ((skewed * shards as f64) as usize).min(shards - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_grow_one_after_another() {
        let mut counts = [0_u64; 256];
        for at in 0..1_u64 << 20 {
            counts[shard(at << 36, 256)] += 1;
        }
        assert!(shard(u64::MAX, 256) == 255 && shard(0, 256) == 0);
        // How many messages there are when a table outgrows each capacity in turn.
        let mut grows: Vec<f64> = counts.iter().map(|&count| (1 << 20) as f64 / count as f64).collect();
        assert!(grows[255] / grows[0] > 1.9);
        grows.sort_by(f64::total_cmp);
        let span = grows[255] - grows[0];
        assert!(grows.windows(5).all(|some| some[4] - some[0] < span / 16.0), "{grows:?}");
    }

    const LEASE: Duration = Duration::from_secs(30);
    const BOUNDS: Bounds = Bounds { messages: 3, bytes: 100_000, parts: 100, payload: 1_000 };

    fn part(key: u64, index: u16, count: u16) -> Part<'static> {
        Part { topic: b"a", key, index, count, payload: 10, held: 20 }
    }

    fn add(parts: &mut Parts<u16>, part: Part<'_>, now: Instant) -> Option<Vec<u16>> {
        assert_eq!(parts.judge(&part, now), Ok(Room::Yes));
        parts.add(&part, part.index, now).map(|message| message.parts)
    }

    #[test]
    fn a_complete_message_is_in_the_order_of_its_parts_whatever_came_first() {
        let (mut parts, now) = (Parts::new(LEASE, BOUNDS), Instant::now());
        for count in [2, 64, 65, 100] {
            for first in 0..count {
                // 37 has no factor in common with any of them: every index comes once.
                let order: Vec<u16> = (0..count).map(|i| (first + i * 37) % count).collect();
                let (last, others) = order.split_last().unwrap();
                for &index in others {
                    assert_eq!(add(&mut parts, part(7, index, count), now), None);
                }
                assert_eq!(add(&mut parts, part(7, *last, count), now), Some((0..count).collect()));
            }
        }
        assert!(parts.is_empty() && parts.cost() == 0 && parts.topics.is_empty());
        assert!(parts.table.iter().all(|table| table.capacity() == 0));
    }

    #[test]
    fn what_is_no_part_is_refused_and_the_others_stay() {
        let (mut parts, now) = (Parts::new(LEASE, BOUNDS), Instant::now());
        add(&mut parts, part(1, 1, 3), now);
        let large = Part { payload: 991, ..part(1, 0, 3) };
        for (refused, why) in [
            (part(1, 3, 3), "there is no fragment 3 of 3"),
            (part(1, 0, 0), "there is no fragment 0 of 0"),
            (part(1, 1, 1), "there is no fragment 1 of 1"),
            (part(2, 0, 101), "101 fragments are more than 100 (max-parts)"),
            (part(1, 0, 4), "it says 4 fragments, those that came before say 3"),
            (part(1, 1, 3), "fragment 1 came before"),
            (large, "larger than 1000 bytes"),
        ] {
            let refusal = parts.judge(&refused, now).unwrap_err().to_string();
            assert!(refusal.contains(why), "{refusal}");
        }
        assert_eq!(add(&mut parts, Part { topic: b"b", ..part(1, 0, 3) }, now), None, "another message");
        assert_eq!(add(&mut parts, part(1, 0, 3), now), None);
        assert_eq!(add(&mut parts, part(1, 2, 3), now), Some(vec![0, 1, 2]));
    }

    #[test]
    fn leases_end_in_the_order_of_the_last_parts() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut parts = Parts::new(LEASE, BOUNDS);
        for (key, index, second) in [(1, 0, 0), (2, 0, 1), (3, 0, 2), (1, 2, 10), (2, 1, 11)] {
            add(&mut parts, part(key, index, 5), at(second));
        }
        assert_eq!((parts.oldest(), parts.next_due()), (Some(at(2)), Some(at(32))));
        assert_eq!(parts.expire(at(31)), None);
        let ended: Vec<_> =
            std::iter::from_fn(|| parts.expire(at(40))).map(|it| (it.key, it.parts)).collect();
        assert_eq!(ended, [(3, vec![0]), (1, vec![0, 2])]);
        assert_eq!(parts.dismiss_oldest().unwrap().key, 2);
        assert_eq!((parts.dismiss_oldest(), parts.next_due(), parts.cost()), (None, None, 0));
    }

    #[test]
    fn at_a_bound_there_is_no_room_and_what_is_open_has_more() {
        let (mut parts, now) = (Parts::new(LEASE, BOUNDS), Instant::now());
        for key in 1..=3 {
            add(&mut parts, part(key, 0, 3), now);
        }
        assert_eq!(parts.judge(&part(4, 0, 3), now), Ok(Room::No));
        add(&mut parts, part(1, 1, 3), now);
        assert_eq!(add(&mut parts, part(1, 2, 3), now), Some(vec![0, 1, 2]));
        add(&mut parts, part(4, 0, 3), now);

        let later = now + LEASE;
        let bytes = parts.cost() + 2 * (PART_COST + 20);
        let mut parts = Parts::new(LEASE, Bounds { bytes, ..BOUNDS });
        add(&mut parts, part(1, 0, 3), now);
        add(&mut parts, part(2, 0, 3), now);
        assert_eq!(parts.judge(&part(3, 0, 3), now), Ok(Room::No));
        let never = Part { held: bytes, ..part(1, 1, 3) };
        assert_eq!(parts.judge(&never, later), Err(Refusal::TooCostly { max: bytes }));
        let large = Part { held: bytes / 2, ..part(1, 1, 3) };
        assert_eq!(parts.judge(&large, later), Ok(Room::No));
        assert_eq!(parts.oldest(), Some(now), "only the lease of the message that it belongs to is renewed");
        assert_eq!(parts.dismiss_oldest().unwrap().key, 2);
        assert_eq!(parts.dismiss_oldest().unwrap().key, 1);
        add(&mut parts, large, later);
    }
}
