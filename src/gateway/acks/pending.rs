//! Replies that are ready, and wait until what they promise is confirmed.
//!
//! OK says that everything is done that the gateway is set to do. Where something of that is confirmed
//! later (a frame is on the disk, another server has it), its reply is pending until then. A connection is
//! not quiet, so not closed in peace, while a reply to it is pending.
//!
//! The reply to a fragment that is held is pending, too, but when it comes others decide: a connection that has nothing
//! else to wait for and is closed for a reason does not wait for it.

use super::Acks;
use super::tickets::Ticket;
use crate::core::limits::{BUFFER_OVERHEAD, REPLY_MAX};
use crate::core::memory::{Buffer, Charge};
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::egress::replies::encode_refusal;
use crate::runtime::net::Net;
use crate::wire::{Header, Status};

/// Replies to one connection, pending until [`Acks::complete`] or [`Acks::refuse`] has them: they are the only ways
/// to end it, so no reply is sent twice.
#[derive(Debug)]
#[must_use = "its connection stays open until it is completed or refused"]
pub struct PendingReply {
    conn: ConnId,
    /// It is that of a part that is held.
    held: bool,
    reply: Reply,
}

/// What is to be said.
#[derive(Debug)]
pub enum Reply {
    /// Replies as they are if all goes well.
    Ready(OutboxItem),
    /// The reply to one frame, and the memory set aside for it.
    One { id: u64, status: Status, room: Charge },
}

impl Acks {
    /// Takes note of replies that a connection waits for.
    fn begin_reply<S>(&mut self, conns: &mut Conns<S>, id: ConnId, reply: Reply) -> PendingReply {
        conns[id].order.stage.get_or_insert_default().pending_replies += 1;
        self.pending_replies += 1;
        PendingReply { conn: id, held: false, reply }
    }

    /// The reply to one frame, if it asked for one, waits until a ticket is over.
    pub fn reply_under<S>(
        &mut self,
        conns: &mut Conns<S>,
        id: ConnId,
        ticket: Ticket,
        header: &Header,
        status: Status,
        room: &mut Option<Charge>,
    ) {
        if !header.is_answered() {
            return;
        }
        let room = room.as_mut().expect("memory is set aside for each frame that is answered");
        let room = room.split(REPLY_MAX);
        let pending = self.begin_reply(conns, id, Reply::One { id: header.id, status, room });
        self.sinks.add_reply(ticket, pending);
    }

    /// Takes note of the reply to one frame, if it asks for one, which comes when what it promises is so.
    pub fn hold_until<S>(
        &mut self,
        conns: &mut Conns<S>,
        id: ConnId,
        header: &Header,
        room: &mut Option<Charge>,
    ) -> Option<PendingReply> {
        let room = header.want_reply.then(|| {
            room.as_mut().expect("memory is set aside for each frame that is answered").split(REPLY_MAX)
        })?;
        Some(self.begin_reply(conns, id, Reply::One { id: header.id, status: Status::Ok, room }))
    }

    /// Sends replies, at once or when a ticket is over.
    pub fn send<S>(&mut self, conns: &mut Conns<S>, id: ConnId, replies: OutboxItem, ticket: Option<Ticket>) {
        match ticket {
            None => conns.push_reply(id, replies),
            Some(ticket) => {
                let pending = self.begin_reply(conns, id, Reply::Ready(replies));
                self.sinks.add_reply(ticket, pending);
            }
        }
    }

    /// Sends the replies to the frames of a batch, in the memory that is set aside for them.
    pub fn send_all<S>(
        &mut self,
        conns: &mut Conns<S>,
        id: ConnId,
        bytes: Vec<u8>,
        room: Option<Charge>,
        ticket: Option<Ticket>,
    ) {
        if bytes.is_empty() {
            return;
        }
        let mut charge = room.expect("memory is set aside for each frame that is answered");
        charge.resize(bytes.len() + BUFFER_OVERHEAD);
        self.send(conns, id, OutboxItem::Replies(Buffer::new(bytes.into(), charge)), ticket);
    }

    /// Takes note of the reply to a part which is held, if it asks for one.
    pub fn hold_reply<S>(
        &mut self,
        conns: &mut Conns<S>,
        id: ConnId,
        header: &Header,
        status: Status,
        room: &mut Option<Charge>,
    ) -> Option<PendingReply> {
        let room = header.want_reply.then(|| {
            room.as_mut().expect("memory is set aside for each frame that is answered").split(REPLY_MAX)
        })?;
        conns[id].order.stage.get_or_insert_default().held_replies += 1;
        Some(PendingReply { conn: id, held: true, reply: Reply::One { id: header.id, status, room } })
    }

    /// The part is not held any more: what becomes of it is decided, and its connection waits for that.
    pub fn end_hold<S>(&mut self, conns: &mut Conns<S>, mut pending: PendingReply) -> PendingReply {
        if std::mem::take(&mut pending.held)
            && let Some(stage) = conns.get_mut(pending.conn).and_then(|conn| conn.order.stage.as_mut())
        {
            stage.held_replies -= 1;
            stage.pending_replies += 1;
            self.pending_replies += 1;
        }
        pending
    }

    /// Whether there is still somebody to be told.
    pub fn is_wanted<S>(&self, conns: &Conns<S>, pending: &PendingReply) -> bool {
        conns.get(pending.conn).is_some_and(|conn| conn.is_written())
    }

    /// What they promise is confirmed: they are sent.
    pub fn complete<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        pending: PendingReply,
    ) {
        let pending = self.end_hold(conns, pending);
        match pending.reply {
            Reply::Ready(replies) => conns.push_reply(pending.conn, replies),
            Reply::One { id, status, room } => push_one(conns, ctx, pending.conn, id, status, "", room),
        }
        self.settle(conns, pending.conn);
    }

    /// It failed for good: each that says it did not fail becomes `status` with a reason.
    pub fn refuse<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        pending: PendingReply,
        status: Status,
        reason: &str,
    ) {
        let pending = self.end_hold(conns, pending);
        match pending.reply {
            Reply::One { id, room, .. } => push_one(conns, ctx, pending.conn, id, status, reason, room),
            Reply::Ready(replies) => {
                let mut bytes = Vec::new();
                replies.each_reply(|header: &Header, frame: &[u8]| {
                    if header.status == Status::Ok as u16 {
                        encode_refusal(header.id, status, reason, &ctx.config.scheme, &mut bytes);
                    } else {
                        bytes.extend_from_slice(frame);
                    }
                });
                let replies = OutboxItem::Replies(Buffer::charged(&ctx.memory, bytes.into()));
                conns.push_reply(pending.conn, replies);
            }
        }
        self.settle(conns, pending.conn);
    }

    fn settle<S>(&mut self, conns: &mut Conns<S>, id: ConnId) {
        // It may be gone: at the end of draining, or where the frame was a part that was held.
        if let Some(stage) = conns.get_mut(id).and_then(|conn| conn.order.stage.as_mut()) {
            stage.pending_replies -= 1;
            self.pending_replies -= 1;
            conns.tidy_stage(id);
        }
    }
}

fn push_one<N: Net, P>(
    conns: &mut Conns<N::Socket>,
    ctx: &mut Ctx<N, P>,
    conn: ConnId,
    id: u64,
    status: Status,
    reason: &str,
    mut room: Charge,
) {
    let mut bytes = Vec::new();
    encode_refusal(id, status, reason, &ctx.config.scheme, &mut bytes);
    room.resize(bytes.len() + BUFFER_OVERHEAD);
    conns.push_reply(conn, OutboxItem::Replies(Buffer::new(bytes.into(), room)));
}
