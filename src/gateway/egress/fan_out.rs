//! Into outboxes, and out of those that are given up.

use std::rc::Rc;

use super::Egress;
use super::outbox_item::{FrameRange, OutboxItem};
use crate::core::memory::Share;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::runtime::net::{Net, Segments};
use crate::wire::Body;

impl Egress {
    /// Hands frames to their subscribers, and sees what that means for their publisher.
    pub fn hand_out<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        publisher: ConnId,
        mut body: Body,
        frames: u32,
        targets: &[ConnId],
    ) {
        // A subscriber that is behind would keep a large buffer for the sake of a small part of it.
        if body.is_fragment() && targets.iter().any(|&target| !conns[target].writing.writable) {
            body = body.copied(&ctx.memory, Share::Small);
        }
        ctx.fair.hand_out(body.len());
        if targets.is_empty() {
            ctx.ledger.unmatched += u64::from(frames);
        }
        let item = Rc::new(OutboxItem::Range(FrameRange::new(body, frames, ctx.now)));
        for &target in targets {
            let conn = &mut conns[target];
            // It may be about to end.
            if conn.is_written() {
                ctx.fair.copy(if conn.writing.writable { item.bytes() } else { 0 });
                conn.writing.outbox.push(item.clone());
                let is_behind = conn.writing.outbox.pending() > ctx.config.high_watermark();
                conns.add_entry();
                conns.mark_dirty(target);
                if is_behind {
                    self.curb(conns, ctx, target, publisher);
                }
            }
        }
        item.let_go(&mut ctx.ledger);
    }

    /// It subscribes to nothing more, and holds nobody up.
    pub fn leave<S>(&mut self, conns: &mut Conns<S>, id: ConnId) {
        self.router.leave(id);
        self.release(conns, id);
    }

    /// Its outbox is given up.
    pub fn abandon<N: Net, P>(conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>, id: ConnId) {
        let conn = &mut conns[id];
        let mut items = 0;
        conn.writing.lost = 0;
        conn.writing.replies_pending = 0;
        for unsent in conn.writing.outbox.abandon() {
            if let OutboxItem::Range(range) = &*unsent.item {
                ctx.ledger.copies.undelivered += u64::from(range.end_copy(unsent.written));
            }
            unsent.item.let_go(&mut ctx.ledger);
            items += 1;
        }
        conns.remove_entries(items);
    }

    /// Its outbox is given up, but for what is being written.
    pub fn abandon_rest<N: Net, P>(conns: &mut Conns<N::Socket>, ctx: &mut Ctx<N, P>, id: ConnId) {
        let conn = &mut conns[id];
        let mut items = 0;
        conn.writing.lost = 0;
        conn.writing.outbox.abandon_rest(|item| {
            items += 1;
            match &*item {
                OutboxItem::Range(range) => ctx.ledger.copies.undelivered += u64::from(range.end_copy(0)),
                OutboxItem::Stored(_) => {}
                OutboxItem::Replies(_) | OutboxItem::Frame(_) => {
                    conn.writing.replies_pending -= item.reply_bytes()
                }
            }
            item.let_go(&mut ctx.ledger);
        });
        conns.remove_entries(items);
    }
}

impl<S> Conns<S> {
    /// Adds replies to the outbox of the peer that they are for, if it is still there.
    pub fn push_reply(&mut self, id: ConnId, replies: OutboxItem) {
        let Some(conn) = self.get_mut(id).filter(|conn| conn.is_written()) else { return };
        match &mut conn.dialect {
            None => self.push_last(id, replies),
            Some(dialect) => {
                dialect.take_replies(&replies);
                self.push_answers(id);
            }
        }
    }

    /// What is decided of the answers to foreign frames, and waits for nothing before it.
    pub fn push_answers(&mut self, id: ConnId) {
        let conn = &mut self[id];
        let is_written = conn.is_written();
        if let Some(answers) =
            conn.dialect.as_mut().filter(|_| is_written).and_then(|dialect| dialect.ready())
        {
            self.push_last(id, answers);
        }
    }

    /// The same for the last that is said to a connection which is closing.
    pub fn push_last(&mut self, id: ConnId, replies: OutboxItem) {
        let conn = &mut self[id];
        conn.writing.replies_pending += replies.reply_bytes();
        conn.writing.outbox.push(Rc::new(replies));
        self.add_entry();
        self.mark_dirty(id);
    }
}
