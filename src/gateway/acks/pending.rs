//! Replies that are ready, and wait until what they promise is confirmed.
//!
//! OK says that everything is done that the gateway is set to do. Where something of that is confirmed
//! later (a frame is on the disk, another server has it), its reply is owed until then. A connection is
//! not quiet, so not closed in peace, while something is owed to it.
//!
//! A part that is held is owed a reply too, but when that comes others decide: a connection that has nothing else to
//! wait for and is closed for a reason does not wait for it.

use crate::core::limits::BUFFER_OVERHEAD;
use crate::core::memory::{Buffer, Charge};
use crate::gateway::Gate;
use crate::gateway::conn::ConnId;
use crate::gateway::egress::distribute::encode_refusal;
use crate::gateway::egress::parcel::Parcel;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Header, Status};

/// Replies to one connection, owed until [`Gate::pay`] or [`Gate::refuse`] has them: they are the only ways
/// to end it, so no reply is sent twice.
#[derive(Debug)]
#[must_use = "its connection stays open until it is paid or refused"]
pub(in crate::gateway) struct Owed {
    conn: ConnId,
    /// It is that of a part that is held.
    held: bool,
    reply: Reply,
}

/// What is owed.
#[derive(Debug)]
pub(in crate::gateway) enum Reply {
    /// Replies as they are if all goes well.
    Ready(Parcel),
    /// The reply to one frame, and the memory set aside for it.
    One { id: u64, status: Status, room: Charge },
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// Takes note of replies that are owed to a connection.
    pub(in crate::gateway) fn owe(&mut self, id: ConnId, reply: Reply) -> Owed {
        self.conns[id].order.stage.get_or_insert_default().owed += 1;
        self.acks.owed += 1;
        Owed { conn: id, held: false, reply }
    }

    /// Takes note of the reply that is owed to a part which is held.
    pub(in crate::gateway) fn owe_held(&mut self, id: ConnId, reply: Reply) -> Owed {
        self.conns[id].order.stage.get_or_insert_default().held += 1;
        Owed { conn: id, held: true, reply }
    }

    /// The part is not held any more: what becomes of it is decided, and its connection waits for that.
    pub(in crate::gateway) fn end_hold(&mut self, mut owed: Owed) -> Owed {
        if std::mem::take(&mut owed.held)
            && let Some(stage) = self.conns.get_mut(owed.conn).and_then(|conn| conn.order.stage.as_mut())
        {
            stage.held -= 1;
            stage.owed += 1;
            self.acks.owed += 1;
        }
        owed
    }

    /// Whether there is still somebody to be told.
    pub(in crate::gateway) fn is_wanted(&self, owed: &Owed) -> bool {
        self.conns.get(owed.conn).is_some_and(|conn| conn.is_written())
    }

    /// What they promise is confirmed: they are sent.
    pub(in crate::gateway) fn pay(&mut self, owed: Owed) {
        let owed = self.end_hold(owed);
        match owed.reply {
            Reply::Ready(replies) => self.egress.push_reply(&mut self.conns, owed.conn, replies),
            Reply::One { id, status, room } => self.push_one(owed.conn, id, status, "", room),
        }
        self.owe_less(owed.conn);
    }

    /// It failed for good: each that says it did not fail becomes `status` with a reason.
    pub(in crate::gateway) fn refuse(&mut self, owed: Owed, status: Status, reason: &str) {
        let owed = self.end_hold(owed);
        match owed.reply {
            Reply::One { id, room, .. } => self.push_one(owed.conn, id, status, reason, room),
            Reply::Ready(replies) => {
                let mut bytes = Vec::new();
                replies.each_reply(|header: &Header, frame: &[u8]| {
                    if header.status == Status::Ok as u16 {
                        encode_refusal(header.id, status, reason, &self.ctx.config.scheme, &mut bytes);
                    } else {
                        bytes.extend_from_slice(frame);
                    }
                });
                let replies = Parcel::Replies(Buffer::charged(&self.ctx.memory, bytes.into()));
                self.egress.push_reply(&mut self.conns, owed.conn, replies);
            }
        }
        self.owe_less(owed.conn);
    }

    fn push_one(&mut self, conn: ConnId, id: u64, status: Status, reason: &str, mut room: Charge) {
        let mut bytes = Vec::new();
        encode_refusal(id, status, reason, &self.ctx.config.scheme, &mut bytes);
        room.resize(bytes.len() + BUFFER_OVERHEAD);
        self.egress.push_reply(&mut self.conns, conn, Parcel::Replies(Buffer::new(bytes.into(), room)));
    }

    fn owe_less(&mut self, id: ConnId) {
        // It may be gone: at the end of draining, or where the frame was a part that was held.
        let Some(stage) = self.conns.get_mut(id).and_then(|conn| conn.order.stage.as_mut()) else { return };
        stage.owed -= 1;
        self.acks.owed -= 1;
        self.tidy_stage(id);
    }
}
