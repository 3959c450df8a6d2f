//! When a frame counts as done: what sinks confirm, replies that wait for it, and digests that were accepted.

pub(crate) mod dedup;
pub(in crate::gateway) mod known;
mod outcomes;
pub(in crate::gateway) mod pending;
pub(crate) mod sink_set;
pub(in crate::gateway) mod tickets;

use std::collections::VecDeque;
use std::time::Instant;

use dedup::Dedup;
use sink_set::{SINKS_MAX, SinkSet};
use tickets::{SinkQueue, Sinks};

use crate::core::limits::{DURABLE_SHARE, FIRST_SHARE};
use crate::gateway::Config;
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId};
use crate::gateway::ctx::Ctx;
use crate::gateway::snapshot::{DedupWindow, Depth, SinksUse};
use crate::sinks::Sink;
use crate::wire::DIGEST;

/// What is accepted and not confirmed, and what was.
pub struct Acks {
    /// What confirms what is distributed.
    sinks: Sinks,
    dedup: Option<Dedup>,
    /// Replies that wait, of all connections, but for those to fragments that are held.
    pending_replies: usize,
}

impl Acks {
    /// No sinks yet.
    pub fn new(config: &Config) -> Acks {
        let dedup = config.dedup.map(|window| Dedup::new(window, config.memory));
        Acks { sinks: Sinks::new(), dedup, pending_replies: 0 }
    }

    /// From now on, every frame that is distributed goes to this sink as well, and its OK waits for it.
    pub fn add_sink(&mut self, sink: Box<dyn Sink>, now: Instant) {
        let (waiting, pending, bytes) = (VecDeque::new(), 0, 0);
        assert!(self.sinks.each.len() < SINKS_MAX, "at most {SINKS_MAX} sinks");
        self.sinks.each.push(SinkQueue { sink, waiting, pending, bytes, heard: now });
    }

    /// Frames with these digests were accepted before this run, at these times, and the sink of this name has them.
    pub fn remember_stored(&mut self, sink: &str, mut digests: Vec<(Instant, [u8; DIGEST])>) {
        let place = self.sinks.each.iter().position(|line| line.sink.name() == sink);
        if let (Some(dedup), Some(place)) = (&mut self.dedup, place) {
            digests.sort_unstable_by_key(|&(at, _)| at);
            for (at, digest) in digests {
                dedup.remember(digest, SinkSet::one(place).with(SinkSet::SUBSCRIBERS), at);
            }
        }
    }

    /// Whether there are sinks.
    pub fn has_sinks(&self) -> bool {
        !self.sinks.is_empty()
    }

    /// Whether some sink wants each frame alone.
    pub fn judges_frames(&self) -> bool {
        self.sinks.judges_frames()
    }

    /// Whether all sinks are in a set.
    pub fn are_all_in(&self, set: SinkSet) -> bool {
        set.covers(self.sinks.all())
    }

    /// Whether there is deduplication.
    pub fn knows_duplicates(&self) -> bool {
        self.dedup.is_some()
    }

    /// Whether publishers may be read, as far as the sinks are concerned.
    pub fn has_room<N, P>(&self, ctx: &Ctx<N, P>) -> bool {
        self.sinks.has_room(ctx.memory.limit())
    }

    /// Whether a connection that has published nothing yet may be read where others may not: what first batches take
    /// of the memory is bounded, however many connections come and go.
    pub fn may_read_first<N, P>(&self, ctx: &Ctx<N, P>) -> bool {
        let limit = ctx.memory.limit();
        ctx.memory.used() < limit / DURABLE_SHARE + limit / FIRST_SHARE
    }

    /// Whether some sink confirms nothing of what it has, so that publishers may be waiting for it.
    pub fn takes_nothing<N, P>(&self, ctx: &Ctx<N, P>) -> bool {
        // Where leases are short it shows sooner, so that none ends meanwhile.
        self.sinks.takes_nothing(ctx.config.lease / 2, ctx.now)
    }

    /// A connection is not read until there is room.
    pub fn hold<S>(&mut self, id: ConnId, conns: &Conns<S>) {
        self.sinks.hold(id, conns);
    }

    /// Whether someone waits for room that is there.
    pub fn may_wake<N, P>(&self, ctx: &Ctx<N, P>) -> bool {
        self.sinks.may_wake(ctx.memory.limit())
    }

    /// What tickets take, in bytes, and the digests of what is under them.
    pub fn cost(&self) -> usize {
        self.sinks.cost()
    }

    /// Whether every sink has answered for everything.
    pub fn is_idle(&self) -> bool {
        self.sinks.is_idle()
    }

    /// Whether replies to some connection wait, but for those to fragments that are held.
    pub fn has_pending_replies(&self) -> bool {
        self.pending_replies > 0
    }

    /// A connection is no more: no reply to it waits.
    pub fn forget_conn<S>(&mut self, conn: &Conn<S>) {
        self.pending_replies -= conn.order.stage.as_ref().map_or(0, |stage| stage.pending_replies as usize);
    }

    /// At the end of draining: what the sinks have not confirmed is not waited for.
    pub fn forget(&mut self) {
        self.sinks.forget();
    }

    /// All buffers together have so many bytes.
    pub fn set_memory(&mut self, bytes: usize) {
        self.sinks.set_memory(bytes);
        if let Some(dedup) = &mut self.dedup {
            dedup.set_memory(bytes);
        }
    }

    /// Has the sink of this name send at most so many requests at once; false if there is none.
    pub fn set_max_in_flight(&mut self, name: &str, most: usize) -> bool {
        self.sinks.set_max_in_flight(name, most)
    }

    /// Before a sleep: whether nothing came meanwhile.
    pub fn prepare_sleep(&mut self) -> bool {
        self.sinks.prepare_sleep()
    }

    /// After a sleep.
    pub fn end_sleep(&mut self) {
        self.sinks.end_sleep();
    }

    /// Why some sink will never answer again, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.sinks.failure()
    }

    /// What the sinks have, for people; none where there are none.
    pub fn describe(&self, now: Instant) -> Option<SinksUse> {
        self.has_sinks().then(|| self.sinks.describe(now))
    }

    /// How many digests are remembered, and how far back they go, where they are.
    pub fn describe_dedup(&self, now: Instant) -> (Depth, Option<DedupWindow>) {
        let depth = |dedup: &Dedup| Depth { now: dedup.len() as u64, max: dedup.max() as u64 };
        let window = |dedup: &Dedup| DedupWindow {
            window: dedup.window(),
            reach: dedup.reach(now),
            forgotten_early: dedup.forgotten_early(),
        };
        (self.dedup.as_ref().map_or(Depth::default(), depth), self.dedup.as_ref().map(window))
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants<S>(&self, conns: &Conns<S>) {
        self.sinks.check_invariants();
        let stages = conns.iter().filter_map(|conn| conn.order.stage.as_ref());
        assert_eq!(self.pending_replies, stages.map(|stage| stage.pending_replies as usize).sum::<usize>());
    }
}
