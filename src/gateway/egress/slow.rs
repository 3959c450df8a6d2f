//! Subscribers that read more slowly than others write.
//!
//! Up to half of its outbox, a subscriber is nobody's business. Beyond that mark its publishers are
//! held for a moment, as long as it reads at all ([patience](crate::gateway::conn::Conn::is_patient)): a
//! reader that is merely slower than the publishers of this moment then sets their pace. One that is
//! frozen holds them for the blink that it takes to notice, once. Past its whole outbox, and past
//! patience, the policy applies.

use std::collections::VecDeque;

use super::Egress;
use crate::core::units::many;
use crate::gateway::CloseReason;
use crate::gateway::SlowPolicy;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::egress::writing::SlowConsumer;
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::Net;

impl Egress {
    /// Frames of `publisher` have put `id` over its high watermark.
    pub fn curb<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        publisher: ConnId,
    ) {
        // It may only not have been written to in this turn. That it is lost is seen when its turn to be written comes.
        if self.write_out(conns, ctx, id).is_err() {
            return;
        }
        let high = ctx.config.high_watermark();
        let conn = &mut conns[id];
        let pending = conn.writing.outbox.pending();
        if pending <= high || !conn.is_written() {
            return;
        }
        let since = ctx.now;
        conn.writing.slow.get_or_insert_with(|| Box::new(SlowConsumer { since, holding: VecDeque::new() }));
        if ctx.config.slow == SlowPolicy::Pause || conn.writing.is_patient(ctx.now) {
            self.hold(conns, publisher, id);
        } else if pending > ctx.config.outbox_max() {
            match ctx.config.slow {
                SlowPolicy::Disconnect => conns.close(id, CloseReason::Slow, 0),
                SlowPolicy::Drop => _ = self.drop_oldest(conns, ctx, id, high),
                SlowPolicy::Pause => unreachable!("its publishers are held instead"),
            }
        }
        conns.arm(id, &ctx.config);
    }

    /// The publisher is not read until the subscriber has caught up, or patience with it ends.
    fn hold<S>(&mut self, conns: &mut Conns<S>, publisher: ConnId, subscriber: ConnId) {
        if conns[publisher].reading.held_by.is_some() {
            return;
        }
        conns[publisher].reading.held_by = Some(subscriber);
        let slow = conns[subscriber].writing.slow.as_mut().expect("it is behind");
        let mut holding = std::mem::take(&mut slow.holding);
        conns.enlist(publisher, &mut holding);
        conns[subscriber].writing.slow.as_mut().expect("it is behind").holding = holding;
    }

    /// The publishers that it holds up go on.
    pub fn release_publishers<S>(&mut self, conns: &mut Conns<S>, id: ConnId) {
        let slow = conns[id].writing.slow.as_mut();
        let held = slow.map(|slow| std::mem::take(&mut slow.holding)).unwrap_or_default();
        for publisher in held {
            // It may have ended meanwhile.
            if let Some(conn) = conns.get_mut(publisher) {
                conn.reading.held_by = None;
                conns.mark_runnable(publisher);
            }
        }
    }

    /// It has caught up, or ends.
    pub fn release<S>(&mut self, conns: &mut Conns<S>, id: ConnId) {
        self.release_publishers(conns, id);
        conns[id].writing.slow = None;
    }

    /// Drops a subscriber's oldest frames until at most `keep` bytes wait for it. Whether there were any.
    pub fn drop_oldest<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        keep: usize,
    ) -> bool {
        let conn = &mut conns[id];
        let (mut frames, mut items) = (0, 0);
        conn.writing.outbox.drop_oldest(keep, |item| {
            items += 1;
            if let OutboxItem::Range(range) = &*item {
                range.drop_copy();
                frames += u64::from(range.frames());
            }
            item.let_go(&mut ctx.ledger);
        });
        conns.remove_entries(items);
        let conn = &mut conns[id];
        conn.writing.lost += frames;
        conn.traffic.dropped += frames;
        let (peer, listener) = (conn.peer, conn.listener);
        if frames > 0 {
            ctx.ledger.drop_for(peer, frames);
            let (frames, are) = (many(frames, "frame"), if frames == 1 { "is" } else { "are" });
            let message = format_args!("{peer} reads too slowly: {frames} {are} dropped for it");
            ctx.notices.say_at(listener, Notice::Dropped, log::Level::Warn, ctx.now, message);
            conns.mark_dirty(id);
        }
        frames > 0
    }
}
