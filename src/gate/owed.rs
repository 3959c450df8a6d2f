//! Replies that are ready, and wait until what they promise is confirmed.
//!
//! OK says that everything is done that the gateway is set to do. Where something of that is confirmed
//! later (a frame is on the disk, another server has it), its reply is owed until then. A connection is
//! not quiet, so not closed in peace, while something is owed to it.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Gate;
use super::conn::{ConnId, State};
use super::distribute::encode_reply;
use super::parcel::Parcel;
use crate::error::CloseReason;
use crate::frame::{Header, Status};
use crate::memory::Buffer;
use crate::net::Net;
use crate::pool::Pool;

/// Replies to one connection, owed until [`Gate::pay`] or [`Gate::refuse`] has them: they are the only ways
/// to end it, so no reply is sent twice.
#[derive(Debug)]
#[must_use = "its connection stays open until it is paid or refused"]
pub(super) struct Owed {
    conn: ConnId,
    replies: Parcel,
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// From now on, replies to what is distributed are owed until they are [confirmed](Self::confirm_next).
    pub fn defer_replies(&mut self) {
        self.deferred.get_or_insert_default();
    }

    /// What the oldest of the replies that are owed promise is confirmed; or it failed for good, for a
    /// reason. Whether there were any.
    pub fn confirm_next(&mut self, outcome: Result<(), &str>) -> bool {
        let Some(owed) = self.deferred.as_mut().and_then(VecDeque::pop_front) else { return false };
        match outcome {
            Ok(()) => self.pay(owed),
            Err(reason) => self.refuse(owed, Status::Rejected, reason),
        }
        true
    }

    /// Takes note of replies that are ready and owed to a connection.
    pub(super) fn owe(&mut self, id: ConnId, replies: Parcel) -> Owed {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.stage.get_or_insert_default().owed += 1;
            self.owed += 1;
        }
        Owed { conn: id, replies }
    }

    /// What they promise is confirmed: they are sent.
    pub(super) fn pay(&mut self, owed: Owed) {
        self.push_reply(owed.conn, owed.replies);
        self.owe_less(owed.conn);
    }

    /// It failed for good: each OK among them becomes `status` with a reason.
    pub(super) fn refuse(&mut self, owed: Owed, status: Status, reason: &str) {
        let mut bytes = Vec::new();
        owed.replies.each_reply(|header: &Header, frame: &[u8]| {
            if header.status == Status::Ok as u16 {
                encode_reply(header.id, status, reason, &self.config.scheme, &mut bytes);
            } else {
                bytes.extend_from_slice(frame);
            }
        });
        self.push_reply(owed.conn, Parcel::Replies(Buffer::charged(&self.memory, bytes.into())));
        self.owe_less(owed.conn);
    }

    fn owe_less(&mut self, id: ConnId) {
        // At the end of draining its connection may be gone.
        let Some(stage) = self.conns.get_mut(id).and_then(|conn| conn.stage.as_mut()) else { return };
        stage.owed -= 1;
        self.owed -= 1;
        if stage.owed == 0
            && let Some((reason, frame_id)) = stage.ending.take()
        {
            self.close_about(id, reason, frame_id);
        }
        self.tidy_stage(id);
    }

    /// Puts off an end that has its place behind replies which are still owed. Whether it did.
    pub(super) fn ends_later(&mut self, id: ConnId, reason: &CloseReason, frame_id: u64) -> bool {
        let in_turn =
            matches!(reason, CloseReason::Fault(_) | CloseReason::Unauthorized | CloseReason::BadDigest);
        let Some(conn) = self.conns.get_mut(id).filter(|_| in_turn) else { return false };
        let written = conn.is_written();
        let Some(stage) = conn.stage.as_mut().filter(|stage| stage.owed > 0) else { return false };
        if written {
            stage.ending = Some((reason.clone(), frame_id));
            conn.state = State::Draining;
        }
        true
    }

    /// Adds replies to the outbox of the peer that they are for.
    pub(super) fn push_reply(&mut self, id: ConnId, replies: Parcel) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.is_written() {
            return;
        }
        conn.replies_pending += replies.reply_bytes();
        conn.outbox.push(Rc::new(replies));
        self.entries += 1;
        self.mark_dirty(id);
    }
}
