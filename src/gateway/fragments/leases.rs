//! Leases that end, and connections that wait for room.

use std::time::Instant;

use super::reassembly::NO_ROOM;
use super::{Fragments, Held};
use crate::core::limits::{LEASES_TURN, PARTED_TURN};
use crate::core::reassembly::{Parts, Removed};
use crate::gateway::acks::Acks;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::runtime::net::Net;
use crate::wire::Status;

/// The reason of EXPIRED.
const LATE: &str = "the other fragments did not come within the lease";

/// Whether fragments may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They may.
    Open,
    /// Publishers are kept from sending.
    Kept,
    /// None can come any more, but of what waits for a digest or for room.
    Over,
}

impl Fragments {
    /// Ends the leases that are due, some a turn.
    pub fn end_leases<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        flow: impl FnOnce(&Ctx<N, P>, &Acks) -> Flow,
    ) {
        if self.parts.is_empty() {
            // A lease that begins after this is as long as any.
            self.kept = false;
            return;
        }
        if self.is_pressed() {
            let oldest = |parts: &mut Parts<Held>, _| {
                (parts.cost() > parts.bounds().bytes).then(|| parts.dismiss_oldest()).flatten()
            };
            self.end_some(conns, ctx, acks, LEASES_TURN, oldest, NO_ROOM);
        }
        let flow = flow(ctx, acks);
        if flow == Flow::Over && self.is_quiet() {
            // They make room for those who wait, one by one; or they will never be complete.
            let max = if self.parking.queue.is_empty() { LEASES_TURN } else { 1 };
            self.end_some(conns, ctx, acks, max, |parts, _| parts.dismiss_oldest(), "the gateway drains");
        } else if ctx.draining.is_none() && self.are_kept(flow) {
            self.not_before = Some(ctx.now + ctx.config.lease);
        } else if self.not_before.is_none_or(|at| at <= ctx.now) {
            self.not_before = None;
            self.end_some(conns, ctx, acks, LEASES_TURN, Parts::expire, LATE);
        }
    }

    /// Whether publishers are kept from sending, or were until now: there may have been no turn since the last look.
    fn are_kept(&mut self, flow: Flow) -> bool {
        let kept = flow == Flow::Kept;
        std::mem::replace(&mut self.kept, kept) || kept
    }

    fn end_some<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        max: usize,
        mut next: impl FnMut(&mut Parts<Held>, Instant) -> Option<Removed<Held>>,
        reason: &str,
    ) {
        let mut ended = 0;
        while ended < max
            && let Some(message) = next(&mut self.parts, ctx.now)
        {
            ended += message.parts.len();
            self.expire(conns, ctx, acks, message, reason);
        }
    }

    pub(super) fn expire<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        message: Removed<Held>,
        reason: &str,
    ) {
        self.close(&message);
        for part in message.parts {
            conns.count_rejected(ctx, part.from, Status::Expired);
            let copies = part.digest.map(|digest| self.copies.end(&digest)).unwrap_or_default();
            let reply = part.reply.map(|reply| *reply);
            for reply in reply.into_iter().chain(copies) {
                acks.refuse(conns, ctx, reply, Status::Expired, reason);
            }
        }
        self.charge_copies();
    }

    /// What is first in line of a connection waits for room.
    pub fn park(&mut self, id: ConnId) {
        self.parking.queue.push_back(id);
    }

    /// Whether what was tried last of this connection waits for room again.
    pub fn is_parked_again(&self, id: ConnId) -> bool {
        self.parking.queue.back() == Some(&id)
    }

    /// How many of those that wait for room are to be tried in this turn.
    pub fn tries(&mut self) -> usize {
        if std::mem::take(&mut self.parking.freed) {
            self.parking.untried = self.parking.queue.len();
        }
        self.parking.untried.min(PARTED_TURN)
    }

    /// The next that is to be tried.
    pub fn next_parked(&mut self) -> Option<ConnId> {
        self.parking.untried -= 1;
        self.parking.queue.pop_front()
    }

    /// At the end of draining: what is not complete, or not hashed, has no effect. How many fragments that were.
    pub fn forget(&mut self) -> u64 {
        let mut lost = 0;
        while let Some(message) = self.parts.dismiss_oldest() {
            self.close(&message);
            lost += message.parts.len() as u64;
        }
        let hashing = std::mem::take(&mut self.unhashed.hashing);
        lost += hashing.values().map(|message| message.fragments).sum::<u64>();
        let unhashed = self.unhashed.small.drain(..).chain(self.unhashed.large.drain(..));
        lost += unhashed.map(|(_, message)| message.fragments).sum::<u64>();
        self.unhashed.backlog = 0;
        self.copies.clear();
        self.parking.queue.clear();
        lost
    }
}
