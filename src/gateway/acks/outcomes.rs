//! What is enqueued for the sinks, and what becomes of it when they have answered.

use std::time::Instant;

use super::Acks;
use super::pending::PendingReply;
use super::sink_set::SinkSet;
use super::tickets::{Pending, Ticket};
use crate::core::limits::{DURABLE_WAKE_TURN, OUTCOMES_TURN};
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::runtime::net::Net;
use crate::wire::{Body, DIGEST, Status};

impl Acks {
    /// A ticket under which something will be enqueued at once, that some sinks have already; none without sinks.
    pub fn ticket(&mut self, before: SinkSet, now: Instant) -> Option<Ticket> {
        (!self.sinks.is_empty()).then(|| self.sinks.begin(before, now))
    }

    /// A ticket under which the frame of this digest will be enqueued in its turn, so that its copies can be told when
    /// it is confirmed; none without sinks.
    pub fn promise(&mut self, digest: [u8; DIGEST], before: SinkSet, now: Instant) -> Option<Ticket> {
        (!self.sinks.is_empty()).then(|| self.sinks.promise(digest, before, now))
    }

    /// What was promised was enqueued.
    pub fn keep_promise(&mut self, ticket: Ticket) {
        let over = self.sinks.end_promise(ticket, None);
        debug_assert!(over.is_none(), "no sink has answered yet");
    }

    /// What was promised will not be enqueued.
    pub fn break_promise<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        ticket: Ticket,
        why: &str,
    ) {
        if let Some(pending) = self.sinks.end_promise(ticket, Some(why)) {
            self.conclude(conns, ctx, pending);
        }
    }

    /// Enqueues a connection's frames under a ticket.
    pub fn enqueue<N, P>(
        &mut self,
        ctx: &mut Ctx<N, P>,
        ticket: Ticket,
        id: ConnId,
        body: &Body,
        frames: u32,
    ) {
        ctx.ledger.to_sinks.put += u64::from(frames);
        self.sinks.enqueue(ticket, id.key(), body, frames, ctx.now);
    }

    /// Enqueues a frame that was distributed before for the sinks that do not have it. The ticket, under which it is
    /// enqueued once at least.
    pub fn enqueue_again<N, P>(
        &mut self,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        body: &Body,
        digest: [u8; DIGEST],
        before: SinkSet,
    ) -> Option<Ticket> {
        let ticket = self.ticket(before, ctx.now)?;
        // Subscribers had it the first time.
        ctx.ledger.delivered += 1;
        self.enqueue(ctx, ticket, id, body, 1);
        self.sinks.know(ticket, digest);
        Some(ticket)
    }

    /// A frame under a ticket has this digest.
    pub fn know(&mut self, ticket: Ticket, digest: [u8; DIGEST]) {
        if self.dedup.is_some() {
            self.sinks.know(ticket, digest);
        }
    }

    /// What is under a ticket is a message with this digest, of fragments with those.
    pub fn know_message(&mut self, ticket: Ticket, digest: [u8; DIGEST], fragments: Vec<[u8; DIGEST]>) {
        if self.dedup.is_some() {
            fragments.into_iter().for_each(|fragment| self.sinks.know(ticket, fragment));
            self.sinks.know_message(ticket, digest);
        }
    }

    /// A reply is sent when a ticket is over; at once without one.
    pub fn complete_under<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        ticket: Option<Ticket>,
        reply: PendingReply,
    ) {
        match ticket {
            Some(ticket) => self.sinks.add_reply(ticket, reply),
            None => self.complete(conns, ctx, reply),
        }
    }

    /// Takes the sinks' outcomes, hands over what waits, and lets publishers go on.
    pub fn collect<N: Net, P>(&mut self, conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>) {
        let sinks = self.sinks.each.len();
        for at in 0..sinks {
            // What is left is there before the next sleep.
            let mut left = OUTCOMES_TURN;
            while left > 0
                && let Some(outcome) = self.sinks.each[at].collect(ctx.now)
            {
                left -= 1;
                let refused = outcome.refusal.is_some().then_some(Ticket(outcome.ticket));
                if let Some(pending) = self.sinks.take(at, outcome) {
                    left = left.saturating_sub(pending.replies.len());
                    self.conclude(conns, ctx, pending);
                } else if let Some(ticket) = refused {
                    self.tell_refused(conns, ctx, ticket);
                }
            }
            self.sinks.each[at].hand_over();
        }
        let limit = ctx.memory.limit();
        let has_room = self.sinks.has_room(limit);
        for _ in 0..DURABLE_WAKE_TURN {
            let Some(id) = self.sinks.held.pop_front_if(|_| has_room) else { break };
            // It may have ended meanwhile.
            if let Some(conn) = conns.get_mut(id) {
                conn.reading.sink_held = false;
                conns.mark_runnable(id);
            }
        }
    }

    /// A sink has refused what another has not answered: whatever that says, it is REJECTED.
    fn tell_refused<N: Net, P>(&mut self, conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>, ticket: Ticket) {
        if let Some((why, replies)) = self.sinks.take_refused(ticket) {
            for reply in replies {
                self.refuse(conns, ctx, reply, Status::Rejected, &why);
            }
        }
    }

    /// Every sink has answered.
    fn conclude<N: Net, P>(&mut self, conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>, pending: Pending) {
        let done = pending.done();
        let Pending { frames, refusal, replies, digests, message, .. } = pending;
        {
            let given = &mut ctx.ledger.to_sinks;
            let fate = if refusal.is_none() { &mut given.confirmed } else { &mut given.refused };
            *fate += u64::from(frames);
        }
        if let (Some(dedup), Some(_)) = (&mut self.dedup, &refusal) {
            // If it is sent again, that is meant: for the sinks that do not have it, or for all where it was not
            // distributed.
            for digest in &digests {
                match done.is_empty() || message.is_some() {
                    true => dedup.forget(digest),
                    false => dedup.set_done(digest, done),
                }
            }
            // Fragments that come again are put together again, and it is found by its own.
            if let Some(message) = message.filter(|_| !done.is_empty()) {
                dedup.accept(message, done, ctx.now);
            }
        }
        for reply in replies {
            match &refusal {
                None => self.complete(conns, ctx, reply),
                Some(why) => self.refuse(conns, ctx, reply, Status::Rejected, why),
            }
        }
    }
}
