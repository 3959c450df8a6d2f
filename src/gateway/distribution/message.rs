//! Messages that are complete, and what waits for them and for room.

use super::Distribution;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::fragments::Complete;
use crate::gateway::fragments::leases::Flow;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Draft, Status};

impl Distribution {
    /// Distributes the small messages that the turn before left without their digests.
    pub fn hash_small_messages<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
    ) {
        while let Some(message) = self.fragments.hash_small(conns, ctx, &mut self.acks) {
            self.message_is_hashed(conns, ctx, message);
        }
    }

    /// A worker has hashed a large message a piece further.
    pub fn message_hashed_on<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        number: u64,
        draft: Box<Draft>,
    ) {
        if let Some(message) = self.fragments.hashed_on(conns, ctx, &mut self.acks, number, draft) {
            self.message_is_hashed(conns, ctx, message);
        }
    }

    /// What waited for its digest is distributed, and what is behind it.
    fn message_is_hashed<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        message: Complete,
    ) {
        let from = message.from;
        self.distribute_message(conns, ctx, message);
        conns.stage_mut(from).hashing = false;
        self.unpark(conns, ctx, from);
    }

    pub(super) fn distribute_message<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        message: Complete,
    ) {
        let Complete { frame: made, from, fragments, replies, digests } = message;
        let before = self.acks.take_stored_before(&made, ctx.now).unwrap_or(SinkSet::NONE);
        digests.iter().for_each(|digest| self.acks.remember(ctx, *digest));
        ctx.ledger.fragments += fragments;
        ctx.ledger.reassembled += 1;
        let frame = made.iter().next().expect("it is one frame");
        if !before.is_empty() && self.acks.are_all_in(before) {
            conns.count_rejected(ctx, from, Status::Duplicate);
            for reply in replies {
                self.acks.refuse(conns, ctx, reply, Status::Duplicate, "");
            }
            return;
        }
        let ticket = self.acks.ticket(before, ctx.now);
        if let Some(ticket) = ticket {
            self.acks.enqueue(ctx, ticket, from, made.body(), 1);
            self.acks.know_message(ticket, frame.digest, digests);
        }
        match before.is_empty() {
            true => {
                let targets = self.egress.route(frame.topic).expect("a fragment's topic is checked");
                self.egress.hand_out(conns, ctx, from, made.body().clone(), 1, &targets);
            }
            // Subscribers had it the first time.
            false => ctx.ledger.delivered += 1,
        }
        for reply in replies {
            self.acks.complete_under(conns, ctx, ticket, reply);
        }
    }

    /// Ends the leases that are due, lets connections that wait for room go on, and has messages hashed.
    pub fn tend_fragments<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        nothing_comes: bool,
        is_paused: bool,
    ) {
        self.fragments.end_leases(conns, ctx, &mut self.acks, |ctx, acks| match nothing_comes {
            true => Flow::Over,
            false if is_paused || !acks.has_room(ctx) || acks.takes_nothing(ctx) => Flow::Kept,
            false => Flow::Open,
        });
        for _ in 0..self.fragments.tries() {
            let Some(id) = self.fragments.next_parked() else { break };
            self.unpark(conns, ctx, id);
        }
        self.fragments.hash_large(ctx);
    }

    /// What a connection waits with takes effect, as far as there is room and no digest is waited for.
    fn unpark<N: Net, P: Pool>(&mut self, conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>, id: ConnId) {
        while let Some(stage) = conns[id].order.stage.as_mut()
            && !stage.hashing
            && let Some(first) = stage.waiting.pop_front()
        {
            let frames = first.item.frames();
            conns.leave_line(frames);
            conns.unstage(id, frames);
            self.take_effect(conns, ctx, id, first.item);
            if self.fragments.is_parked_again(id) {
                return;
            }
        }
        conns.tidy_stage(id);
        conns.mark_runnable(id);
    }
}
