//! Products that come in parts: held until they are whole, then distributed as one frame.
//!
//! ```text
//! part ──► held ──last part──► hashed ──► distributed, each part told OK
//!   │        └───lease ends──► each part told EXPIRED
//!   └─► refused, or its connection waits for room
//! ```
//!
//! A whole has its place in the order where its last part stood. Where its digest is made later (in the next
//! turn, or by a worker if it is large), what its connection sent behind that part waits for it.
//!
//! Where there is deduplication, the very bytes of a part that is held, or whose whole is on its way, are a copy: it
//! needs no room, and is told what becomes of the whole.
//!
//! A part for which there is no room stops its connection: it and what was released behind it wait in the
//! connection's stage, in order, and nothing more is read there. Room comes when a product is whole, or when
//! its lease ends. Leases do not end while publishers are kept from sending, and for one lease after that.

#[cfg(any(test, feature = "check"))]
use std::collections::HashSet;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::core::limits::{
    INLINE_BATCH, LEASES_TURN, PART_COPIED, PART_KNOWN, PART_OWED, PARTED_TURN, REPLY_MAX, WHOLE_COST,
    WHOLES_UNHASHED,
};
use crate::core::memory::Charge;
use crate::core::reassembly::{Bounds, Part, Parted, Parts, Room};
use crate::gateway::acks::pending::PendingReply;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::conn::ConnId;
use crate::gateway::egress::distribute::Effect;
use crate::gateway::fragments::copies::Copies;
use crate::gateway::snapshot::{Depth, PartsUse};
use crate::gateway::{Config, Gate, Pressure};
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Body, Checked, DIGEST, Draft, HEADER, Header, Kind, Status, Verified};

/// The tickets of wholes that are hashed. No connection has this key.
pub(in crate::gateway) const WHOLES: u64 = 1 << 63 | 1;

/// The reasons of EXPIRED.
const LATE: &str = "the other fragments did not come within the lease";
const NO_ROOM: &str = "there was no room for more fragments (lease-pressure expire)";

/// Open products, and wholes on their way.
pub struct Fragments {
    parts: Parts<Held>,
    pressure: Pressure,
    /// Parts of open products.
    held: u64,
    /// Bytes of held parts that another share of the memory is charged for.
    shared: usize,
    /// Wholes that are hashed here in the next turn, or wait for room in the queue to the workers, and those that
    /// workers have, by the numbers of their jobs. There is one of a connection at most.
    small: VecDeque<(Draft, Message)>,
    large: VecDeque<(Draft, Message)>,
    hashing: HashMap<u64, Message>,
    numbers: u64,
    /// What all of them take.
    backlog: usize,
    /// Of all those parts.
    pub(in crate::gateway) copies: Copies,
    /// Connections that wait for room, in the order in which they came.
    parked: VecDeque<ConnId>,
    /// Since they were tried there is more room; and how many of them are to be tried again for it.
    freed: bool,
    untried: usize,
    /// Whether publishers were kept from sending, at the last look. No lease ends before then.
    kept: bool,
    not_before: Option<Instant>,
}

/// A part that is held.
struct Held {
    from: ConnId,
    payload: Payload,
    owed: Option<Box<PendingReply>>,
    /// Where there is deduplication.
    digest: Option<Box<[u8; DIGEST]>>,
}

enum Payload {
    /// A copy.
    Own(Box<[u8]>),
    /// A large frame as it came.
    Large(Body, Header),
}

/// What comes of a whole that is hashed.
struct Message {
    /// Whose part was the last.
    from: ConnId,
    parts: u64,
    /// What it takes until it is hashed.
    cost: usize,
    owed: Vec<PendingReply>,
    digests: Vec<[u8; DIGEST]>,
}

impl Fragments {
    /// No products yet.
    pub fn new(config: &Config) -> Fragments {
        let bounds = Bounds {
            products: config.max_keys,
            bytes: config.parts_max(),
            parts: config.max_parts,
            payload: config.payload_max,
        };
        Fragments {
            parts: Parts::new(config.lease, bounds),
            pressure: config.lease_pressure,
            held: 0,
            shared: 0,
            small: VecDeque::new(),
            large: VecDeque::new(),
            hashing: HashMap::new(),
            numbers: 0,
            backlog: 0,
            copies: Copies::default(),
            parked: VecDeque::new(),
            freed: false,
            untried: 0,
            kept: false,
            not_before: None,
        }
    }

    /// What open products take beside what is charged for their bytes elsewhere.
    pub fn cost(&self) -> usize {
        self.parts.cost() - self.shared + self.copies.cost()
    }

    /// Changes what open products may take.
    pub fn set_bytes(&mut self, bytes: usize) {
        self.parts.set_bytes(bytes);
        self.freed = true;
    }

    /// The replies to copies take part of what open products may.
    pub(in crate::gateway) fn charge_copies(&mut self) {
        self.parts.set_beside(self.copies.cost_in_all());
    }

    /// Whether one more copy may wait.
    pub(in crate::gateway) fn has_room_for_copy(&self) -> bool {
        let taken = self.parts.cost() + self.copies.cost_in_all();
        taken + PART_OWED + REPLY_MAX <= self.parts.bounds().bytes
    }

    /// Parts of open products.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Replies owed to them and to their copies, at most.
    #[cfg(any(test, feature = "check"))]
    pub fn replies(&self) -> usize {
        self.held as usize + self.copies.replies()
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.hashing.is_empty() && self.small.is_empty() && self.large.is_empty()
    }

    /// Whether some whole is hashed in the next turn.
    pub fn has_to_hash(&self) -> bool {
        !self.small.is_empty()
    }

    /// Whether as many wholes wait for their digests as may.
    pub fn is_behind(&self) -> bool {
        self.backlog >= WHOLES_UNHASHED
    }

    /// Whether there is no product either.
    pub fn is_empty(&self) -> bool {
        self.is_quiet() && self.parts.is_empty()
    }

    /// Whether the oldest products are to make room: what they may take was lowered.
    fn is_pressed(&self) -> bool {
        self.pressure == Pressure::Expire && self.parts.cost() > self.parts.bounds().bytes
    }

    /// When a lease ends, or something can be tried again.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.is_pressed() {
            return Some(now);
        }
        if (self.freed || self.untried > 0) && !self.parked.is_empty() {
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
            keys: depth(self.parts.len(), bounds.products),
            bytes: depth(self.parts.cost(), bounds.bytes),
            held: self.held,
            oldest,
            parked: self.parked.len() as u64,
        }
    }

    /// A product is closed: what its parts cost is free.
    fn close(&mut self, product: &Parted<Held>) {
        self.held -= product.parts.len() as u64;
        self.shared -= product.parts.iter().map(Held::shared).sum::<usize>();
        self.freed = true;
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        assert!(self.parts.len() <= self.parts.bounds().products && self.shared <= self.parts.cost());
        assert!(self.held >= self.parts.len() as u64);
        assert_eq!(self.held == 0, self.parts.is_empty());
        let unhashed = self.small.iter().chain(&self.large).map(|(_, whole)| whole);
        let wholes: Vec<&Message> = unhashed.chain(self.hashing.values()).collect();
        let known = wholes.iter().map(|whole| whole.digests.len()).sum::<usize>();
        self.copies.check_invariants(known + self.held as usize);
        assert_eq!(self.backlog, wholes.iter().map(|whole| whole.cost).sum::<usize>());
        let from: HashSet<u64> = wholes.iter().map(|whole| whole.from.key()).collect();
        assert_eq!(from.len(), wholes.len(), "what is behind a whole did not wait for it");
    }
}

impl Held {
    /// Bytes of it that are charged beside: a large frame, and what is set aside for a reply.
    fn shared(&self) -> usize {
        let frame = match &self.payload {
            Payload::Own(_) => 0,
            Payload::Large(body, _) => body.len(),
        };
        frame + if self.owed.is_some() { REPLY_MAX } else { 0 }
    }
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// A part of a product: held, or refused, or its connection waits with it.
    pub(in crate::gateway) fn part(
        &mut self,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'_>,
        room: &mut Option<Charge>,
    ) -> Effect {
        let header = frame.header;
        let refuse = |reason: String| Effect::Reject(Status::Rejected, reason);
        if self.calling.answers() {
            return refuse("fragments are not reassembled where a handler answers: send whole frames".into());
        }
        if let Err(error) = self.egress.router.route(frame.topic) {
            return refuse(error.to_string());
        }
        // It needs no room.
        if let Some(effect) = self.copy_of_part(id, frame, room) {
            return effect;
        }
        let is_large = !verified.body().is_slice();
        let copied = if is_large { header.frame_len() } else { header.payload_len as usize + PART_COPIED };
        let part = Part {
            topic: frame.topic,
            key: header.key,
            index: header.part_index,
            count: header.part_count,
            payload: header.payload_len as usize,
            held: copied
                + if header.want_reply { PART_OWED + REPLY_MAX } else { 0 }
                + if self.acks.dedup.is_some() { PART_KNOWN } else { 0 },
        };
        loop {
            match self.fragments.parts.judge(&part, self.ctx.now) {
                Err(refusal) => return refuse(refusal.to_string()),
                Ok(Room::Yes) => break,
                Ok(Room::No) if self.fragments.pressure == Pressure::Expire => {
                    let Some(oldest) = self.fragments.parts.dismiss_oldest() else { break };
                    self.expire_product(oldest, NO_ROOM);
                }
                Ok(Room::No) => return Effect::Park,
            }
        }
        let payload = if is_large {
            Payload::Large(verified.body().clone(), header)
        } else {
            let at = frame.at + HEADER + header.topic_len as usize;
            Payload::Own(verified.body().bytes(at..at + header.payload_len as usize).into())
        };
        let owed = self.owe_part(id, &header, Status::Ok, room).map(Box::new);
        let digest = self.acks.dedup.as_ref().map(|_| Box::new(frame.digest));
        let assembly = &mut self.fragments;
        if let Some(digest) = &digest {
            assembly.copies.begin(**digest);
        }
        assembly.held += 1;
        let held = Held { from: id, payload, owed, digest };
        assembly.shared += held.shared();
        match assembly.parts.add(&part, held, self.ctx.now) {
            None => Effect::Hold,
            Some(product) => {
                assembly.close(&product);
                self.put_together(id, product)
            }
        }
    }

    /// All parts are there, the last from this connection: they become one frame, whose digest is made at once,
    /// in the next turn, or by a worker.
    fn put_together(&mut self, from: ConnId, product: Parted<Held>) -> Effect {
        let header = Header { key: product.key, ..Header::new(Kind::Data) };
        let mut draft = Draft::new(header, &self.ctx.config.scheme);
        draft.topic(product.topic.to_vec(), &self.ctx.memory);
        let mut whole = Message {
            from,
            parts: product.parts.len() as u64,
            cost: 0,
            owed: Vec::new(),
            digests: Vec::new(),
        };
        for part in product.parts {
            let owed = part.owed.map(|owed| self.acks.end_hold(&mut self.conns, *owed));
            whole.owed.extend(owed);
            whole.digests.extend(part.digest.map(|digest| *digest));
            match part.payload {
                // Small parts lie together once they are hashed.
                Payload::Own(bytes) => draft.payload_piece(bytes, &self.ctx.memory),
                Payload::Large(body, header) => draft.payload_of(&body, &header),
            }
        }
        whole.digests.iter().for_each(|digest| self.end_hold_of_copies(digest));
        let bytes = draft.unhashed();
        if bytes <= INLINE_BATCH.min(self.ctx.inline_left) {
            self.ctx.inline_left -= bytes;
            self.distribute_whole(draft.hashed(), whole);
            return Effect::Hold;
        }
        whole.cost = bytes + WHOLE_COST;
        self.fragments.backlog += whole.cost;
        let queue = if bytes <= INLINE_BATCH { &mut self.fragments.small } else { &mut self.fragments.large };
        queue.push_back((draft, whole));
        self.conns[from].order.stage.get_or_insert_default().hashing = true;
        Effect::Hash
    }

    /// Makes the digests that the turn before left, as far as this turn's budget goes.
    pub(in crate::gateway) fn hash_small_wholes(&mut self) {
        while let Some((draft, whole)) =
            self.fragments.small.pop_front_if(|(draft, _)| draft.unhashed() <= self.ctx.inline_left)
        {
            self.ctx.inline_left -= draft.unhashed();
            self.whole_is_hashed(draft.hashed(), whole);
        }
    }

    /// Hands large wholes to the workers, a piece at a time.
    fn hash_large_wholes(&mut self) {
        while self.ctx.takes_jobs()
            && let Some((draft, whole)) = self.fragments.large.pop_front()
        {
            self.fragments.numbers += 1;
            let number = self.fragments.numbers;
            self.fragments.hashing.insert(number, whole);
            self.submit_whole(number, Box::new(draft));
        }
    }

    fn submit_whole(&mut self, number: u64, draft: Box<Draft>) {
        let ticket = Ticket { conn: WHOLES, number, since: self.ctx.now };
        self.ctx.submit(Job { ticket, work: Work::Draft(draft) });
    }

    /// A worker has hashed a large whole a piece further.
    pub(in crate::gateway) fn whole_hashed_on(&mut self, number: u64, draft: Box<Draft>) {
        if draft.unhashed() > 0 {
            // In the place of the job that is done.
            return self.submit_whole(number, draft);
        }
        // None, if it was forgotten.
        if let Some(whole) = self.fragments.hashing.remove(&number) {
            self.whole_is_hashed(draft.finish(), whole);
        }
    }

    /// What waited for its digest is distributed, and what is behind it.
    fn whole_is_hashed(&mut self, made: Verified, whole: Message) {
        self.fragments.backlog -= whole.cost;
        let from = whole.from;
        self.distribute_whole(made, whole);
        self.conns[from].order.stage.as_mut().expect("it waits for the digest").hashing = false;
        self.unpark(from);
    }

    fn distribute_whole(&mut self, made: Verified, whole: Message) {
        let Message { from, parts, mut owed, digests, .. } = whole;
        let copies: Vec<PendingReply> =
            digests.iter().flat_map(|digest| self.fragments.copies.end(digest)).collect();
        // Those that came while it was hashed.
        owed.extend(copies.into_iter().map(|owed| self.acks.end_hold(&mut self.conns, owed)));
        self.fragments.charge_copies();
        let before = self.acks.take_stored_before(&made, self.ctx.now).unwrap_or(SinkSet::NONE);
        digests.iter().for_each(|digest| self.acks.remember(&mut self.ctx, *digest));
        {
            let ledger = &mut self.ctx.ledger;
            ledger.assembled += parts;
            ledger.wholes += 1;
        }
        let frame = made.iter().next().expect("it is one frame");
        if !before.is_empty() && before.covers(self.acks.sinks.all()) {
            self.conns.count_rejected(&mut self.ctx, from, Status::Duplicate);
            owed.into_iter().for_each(|owed| {
                self.acks.refuse(&mut self.conns, &mut self.ctx, owed, Status::Duplicate, "")
            });
            return;
        }
        let ticket = self.acks.ticket(before, self.ctx.now);
        if let Some(ticket) = ticket {
            self.acks.put(&mut self.ctx, ticket, from, made.body(), 1);
            if self.acks.dedup.is_some() {
                digests.into_iter().for_each(|digest| self.acks.sinks.know(ticket, digest));
                self.acks.sinks.know_whole(ticket, frame.digest);
            }
        }
        match before.is_empty() {
            true => {
                let targets = self.egress.router.route(frame.topic).expect("a part's topic is checked");
                self.egress.hand_out(&mut self.conns, &mut self.ctx, from, made.body().clone(), 1, &targets);
            }
            // Whoever subscribes had it the first time.
            false => self.ctx.ledger.delivered += 1,
        }
        for owed in owed {
            match ticket {
                Some(ticket) => self.acks.sinks.owe(ticket, owed),
                None => self.acks.pay(&mut self.conns, &mut self.ctx, owed),
            }
        }
    }

    fn expire_product(&mut self, product: Parted<Held>, reason: &str) {
        self.fragments.close(&product);
        for part in product.parts {
            self.conns.count_rejected(&mut self.ctx, part.from, Status::Expired);
            let copies = part.digest.map(|digest| self.fragments.copies.end(&digest)).unwrap_or_default();
            let owed = part.owed.map(|owed| *owed);
            for owed in owed.into_iter().chain(copies) {
                self.acks.refuse(&mut self.conns, &mut self.ctx, owed, Status::Expired, reason);
            }
        }
        self.fragments.charge_copies();
    }

    /// Ends the leases that are due, some a turn, lets go on who waits for room, and has wholes hashed.
    pub(in crate::gateway) fn tend_parts(&mut self) {
        if self.fragments.parts.is_empty() {
            // A lease that begins after this is as long as any.
            self.fragments.kept = false;
        } else {
            if self.fragments.is_pressed() {
                let oldest = |parts: &mut Parts<Held>, _| {
                    (parts.cost() > parts.bounds().bytes).then(|| parts.dismiss_oldest()).flatten()
                };
                self.end_leases(LEASES_TURN, oldest, NO_ROOM);
            }
            if self.nothing_comes() && self.fragments.is_quiet() {
                let parked = !self.fragments.parked.is_empty();
                // They make room for those who wait, one by one; or they will never be whole.
                let max = if parked { 1 } else { LEASES_TURN };
                self.end_leases(max, |parts, _| parts.dismiss_oldest(), "the gateway drains");
            } else if self.ctx.draining.is_none() && self.are_kept() {
                self.fragments.not_before = Some(self.ctx.now + self.ctx.config.lease);
            } else if self.fragments.not_before.is_none_or(|at| at <= self.ctx.now) {
                self.fragments.not_before = None;
                self.end_leases(LEASES_TURN, Parts::expire, LATE);
            }
        }
        if std::mem::take(&mut self.fragments.freed) {
            self.fragments.untried = self.fragments.parked.len();
        }
        for _ in 0..self.fragments.untried.min(PARTED_TURN) {
            self.fragments.untried -= 1;
            let Some(id) = self.fragments.parked.pop_front() else { break };
            self.unpark(id);
        }
        self.hash_large_wholes();
    }

    /// Whether publishers are kept from sending, or were until now: there may have been no turn since the last look.
    fn are_kept(&mut self) -> bool {
        let kept = self.pause_state.is_paused() || !self.sinks_have_room() || self.sinks_take_nothing();
        std::mem::replace(&mut self.fragments.kept, kept) || kept
    }

    /// Whether no part can come any more, but of what waits for a digest or for room.
    pub(in crate::gateway) fn nothing_comes(&self) -> bool {
        self.ctx.draining.is_some() && self.ingress.in_flight == 0 && !self.calling.answers()
    }

    fn end_leases(
        &mut self,
        max: usize,
        mut next: impl FnMut(&mut Parts<Held>, Instant) -> Option<Parted<Held>>,
        reason: &str,
    ) {
        let mut ended = 0;
        while ended < max
            && let Some(product) = next(&mut self.fragments.parts, self.ctx.now)
        {
            ended += product.parts.len();
            self.expire_product(product, reason);
        }
    }

    /// What is first in line of a connection waits for room.
    pub(in crate::gateway) fn park(&mut self, id: ConnId) {
        self.fragments.parked.push_back(id);
    }

    /// What a connection waits with takes effect, as far as there is room and no digest is waited for.
    fn unpark(&mut self, id: ConnId) {
        while let Some(stage) = self.conns[id].order.stage.as_mut()
            && !stage.hashing
            && let Some(first) = stage.waiting.pop_front()
        {
            let frames = first.item.frames();
            stage.frames -= frames;
            self.calling.staged -= frames;
            self.calling.lined_up -= frames;
            self.effect_of(id, first.item);
            if self.fragments.parked.back() == Some(&id) {
                return;
            }
        }
        self.conns.tidy_stage(id);
        self.conns.mark_runnable(id);
    }

    /// At the end of draining: what is not whole, or not hashed, has no effect.
    pub(in crate::gateway) fn forget_parts(&mut self) {
        let mut lost = 0;
        while let Some(product) = self.fragments.parts.dismiss_oldest() {
            self.fragments.close(&product);
            lost += product.parts.len() as u64;
        }
        let hashing = std::mem::take(&mut self.fragments.hashing);
        lost += hashing.values().map(|whole| whole.parts).sum::<u64>();
        let Fragments { small, large, .. } = &mut self.fragments;
        lost += small.drain(..).chain(large.drain(..)).map(|(_, whole)| whole.parts).sum::<u64>();
        self.fragments.backlog = 0;
        self.fragments.copies.clear();
        self.fragments.parked.clear();
        self.ctx.ledger.undelivered += lost;
    }
}
