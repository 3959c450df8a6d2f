//! Copies of fragments, where there is deduplication: the very bytes of one that is held, or whose message is on its way.
//!
//! A copy needs no room and changes nothing. When it is known what becomes of the message, it is told that: DUPLICATE
//! where it is done, or what the fragment itself is told.

use std::collections::HashMap;

use super::{Fragments, Outcome};
use crate::core::limits::{PART_COPIES, PART_OWED, REPLY_MAX};
use crate::core::memory::Charge;
use crate::gateway::acks::Acks;
use crate::gateway::acks::pending::PendingReply;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::runtime::net::Net;
use crate::wire::{Checked, DIGEST, Status};

/// The fragments that are held or whose messages are being hashed, by their digests, and the replies to their copies.
#[derive(Default)]
pub struct Copies {
    of: HashMap<[u8; DIGEST], Vec<PendingReply>>,
    replies: usize,
}

impl Copies {
    /// A part is held.
    pub fn begin(&mut self, digest: [u8; DIGEST]) {
        self.of.insert(digest, Vec::new());
    }

    /// It is known what becomes of the part: the replies to its copies.
    pub fn end(&mut self, digest: &[u8; DIGEST]) -> Vec<PendingReply> {
        let replies = self.of.remove(digest).unwrap_or_default();
        self.replies -= replies.len();
        replies
    }

    /// A fragment is not held any more: what becomes of it is decided, and those who sent copies wait for that.
    pub fn end_hold<S>(&mut self, conns: &mut Conns<S>, acks: &mut Acks, digest: &[u8; DIGEST]) {
        if let Some(replies) = self.of.get_mut(digest) {
            let held = std::mem::take(replies).into_iter();
            *replies = held.map(|reply| acks.end_hold(conns, reply)).collect();
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Copies::default();
    }

    /// Replies that wait.
    #[cfg(any(test, feature = "check"))]
    pub fn replies(&self) -> usize {
        self.replies
    }

    /// What they take beside the memory set aside for their bytes.
    pub fn cost(&self) -> usize {
        self.replies * PART_OWED
    }

    /// What they take in all.
    pub fn cost_in_all(&self) -> usize {
        self.replies * (PART_OWED + REPLY_MAX)
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self, parts: usize) {
        assert_eq!(self.replies, self.of.values().map(Vec::len).sum::<usize>());
        assert!(self.of.values().all(|replies| replies.len() <= PART_COPIES), "5: too many copies wait");
        assert!(self.of.len() <= parts, "{} of {parts} parts have copies", self.of.len());
    }
}

impl Fragments {
    /// Whether a fragment of this digest is held, or its message is on its way.
    pub fn knows(&self, digest: &[u8; DIGEST]) -> bool {
        self.copies.of.contains_key(digest)
    }

    /// The copy of one.
    pub(super) fn add_copy<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        id: ConnId,
        frame: &Checked<'_>,
        room: &mut Option<Charge>,
    ) -> Outcome {
        if !frame.header.want_reply {
            return Outcome::Copy;
        }
        if !self.may_wait_as_copy(conns, ctx, acks, &frame.digest) {
            let reason = "as many copies of fragments wait for their messages as may: send it again later";
            return Outcome::Refused(Status::Busy, reason.into());
        }
        let reply = acks.hold_reply(conns, id, &frame.header, Status::Duplicate, room);
        let reply = reply.expect("it asks for a reply");
        self.copies.of.get_mut(&frame.digest).expect("the fragment is held").push(reply);
        self.copies.replies += 1;
        self.charge_copies();
        Outcome::Copy
    }

    /// Whether one more copy of a fragment may wait. Those of connections that ended wait no more.
    fn may_wait_as_copy<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        acks: &mut Acks,
        digest: &[u8; DIGEST],
    ) -> bool {
        let replies = self.copies.end(digest);
        let (replies, unwanted): (Vec<PendingReply>, Vec<PendingReply>) =
            replies.into_iter().partition(|reply| acks.is_wanted(conns, reply));
        unwanted.into_iter().for_each(|reply| acks.complete(conns, ctx, reply));
        let count = replies.len();
        self.copies.replies += count;
        self.copies.of.insert(*digest, replies);
        self.charge_copies();
        count < PART_COPIES && self.has_room_for_copy()
    }
}
