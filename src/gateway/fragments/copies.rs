//! Copies of parts, where there is deduplication: the very bytes of a part that is held, or whose whole is on its way.
//!
//! A copy needs no room and changes nothing. When it is known what becomes of the whole, it is told that: DUPLICATE
//! where it is done, or what the part itself is told.

use std::collections::HashMap;

use crate::core::limits::{PART_COPIES, PART_OWED, REPLY_MAX};
use crate::core::memory::Charge;
use crate::gateway::Gate;
use crate::gateway::acks::known::Seen;
use crate::gateway::acks::pending::{PendingReply, Reply};
use crate::gateway::conn::ConnId;
use crate::gateway::egress::distribute::Effect;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Checked, DIGEST, Header, Status};

/// The parts that are held or whose wholes are being hashed, by their digests, and the replies to their copies.
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

impl<N: Net, P: Pool> Gate<N, P> {
    /// What becomes of a part that is a copy; none, if it is not.
    pub(in crate::gateway) fn copy_of_part(
        &mut self,
        id: ConnId,
        frame: &Checked<'_>,
        room: &mut Option<Charge>,
    ) -> Option<Effect> {
        self.acks.dedup.as_ref()?;
        let (header, digest) = (frame.header, frame.digest);
        if !self.fragments.copies.of.contains_key(&digest) {
            return match self.acks.seen(&digest, self.ctx.now) {
                Seen::Pending(ticket) => Some(Effect::Twin(ticket)),
                Seen::Done => Some(Effect::Reject(Status::Duplicate, String::new())),
                // Sinks have wholes: a part is never known to be with some of them.
                Seen::Never | Seen::Partly(_) => None,
            };
        }
        if !header.want_reply {
            return Some(Effect::Copy);
        }
        if !self.may_wait_as_copy(&digest) {
            let reason = "as many copies of fragments wait for their messages as may: send it again later";
            return Some(Effect::Reject(Status::Busy, reason.into()));
        }
        let owed = self.owe_part(id, &header, Status::Duplicate, room).expect("it asks for a reply");
        let copies = &mut self.fragments.copies;
        copies.of.get_mut(&digest).expect("the part is held").push(owed);
        copies.replies += 1;
        self.fragments.charge_copies();
        Some(Effect::Copy)
    }

    /// Whether one more copy of a part may wait. Those of connections that ended wait no more.
    fn may_wait_as_copy(&mut self, digest: &[u8; DIGEST]) -> bool {
        let replies = self.fragments.copies.end(digest);
        let (replies, unwanted): (Vec<PendingReply>, Vec<PendingReply>) =
            replies.into_iter().partition(|owed| self.acks.is_wanted(&self.conns, owed));
        unwanted.into_iter().for_each(|owed| self.acks.pay(&mut self.conns, &mut self.ctx, owed));
        let copies = &mut self.fragments.copies;
        let count = replies.len();
        copies.replies += count;
        copies.of.insert(*digest, replies);
        self.fragments.charge_copies();
        count < PART_COPIES && self.fragments.has_room_for_copy()
    }

    /// The reply to a part, if it asked for one, which is owed as long as it is held.
    pub(in crate::gateway) fn owe_part(
        &mut self,
        conn: ConnId,
        header: &Header,
        status: Status,
        room: &mut Option<Charge>,
    ) -> Option<PendingReply> {
        let room = header.want_reply.then(|| {
            room.as_mut().expect("memory is set aside for each frame that is answered").split(REPLY_MAX)
        })?;
        Some(self.acks.owe_held(&mut self.conns, conn, Reply::One { id: header.id, status, room }))
    }

    /// A part is not held any more: what becomes of it is decided, and those who sent copies wait for that.
    pub(in crate::gateway) fn end_hold_of_copies(&mut self, digest: &[u8; DIGEST]) {
        let Some(replies) = self.fragments.copies.of.get_mut(digest).map(std::mem::take) else { return };
        let replies = replies.into_iter().map(|owed| self.acks.end_hold(&mut self.conns, owed)).collect();
        self.fragments.copies.of.insert(*digest, replies);
    }
}
