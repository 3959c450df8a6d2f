//! Subscribers that read more slowly than others write.
//!
//! Up to half of its outbox, a subscriber is nobody's business. Beyond that mark its publishers are
//! held for a moment, as long as it reads at all ([patience](crate::gateway::conn::Conn::is_patient)): a
//! reader that is merely slower than the publishers of this moment then sets their pace. One that is
//! frozen holds them for the blink that it takes to notice, once. Past its whole outbox, and past
//! patience, the policy applies.

use std::collections::VecDeque;

use crate::core::units::many;
use crate::gateway::CloseReason;
use crate::gateway::conn::{ConnId, Crowd};
use crate::gateway::egress::parcel::Parcel;
use crate::gateway::observe::notices::Notice;
use crate::gateway::{Gate, SlowPolicy};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Bytes in an outbox from which on its publishers are held.
    pub(in crate::gateway) fn crowd_mark(&self) -> usize {
        self.ctx.config.outbox_max() / 2
    }

    /// A run of `publisher` has put `id` over its mark.
    pub(in crate::gateway) fn crowd(&mut self, id: ConnId, publisher: ConnId) {
        // It may only not have been written to in this turn. That it is lost, or may end now, is seen
        // when its turn to be written comes: here its own frames may be in the middle of their effect.
        if self.write_out(id).is_err() {
            return;
        }
        let mark = self.crowd_mark();
        let conn = &mut self.conns[id];
        let pending = conn.outbox.pending();
        if pending <= mark || !conn.is_written() {
            return;
        }
        conn.crowd.get_or_insert_with(|| Box::new(Crowd { since: self.ctx.now, holding: VecDeque::new() }));
        if self.ctx.config.slow == SlowPolicy::Pause || conn.is_patient(self.ctx.now) {
            self.hold(publisher, id);
        } else if pending > self.ctx.config.outbox_max() {
            self.overflow(id);
        }
        self.conns.arm(id, &self.ctx.config);
    }

    /// The publisher is not read until the subscriber has caught up, or patience with it ends.
    fn hold(&mut self, publisher: ConnId, subscriber: ConnId) {
        let conn = &mut self.conns[publisher];
        if conn.held_by.is_some() {
            return;
        }
        conn.held_by = Some(subscriber);
        let crowd = self.conns[subscriber].crowd.as_mut().expect("it is behind");
        let mut holding = std::mem::take(&mut crowd.holding);
        self.conns.enlist(publisher, &mut holding);
        let crowd = self.conns[subscriber].crowd.as_mut().expect("it is behind");
        crowd.holding = holding;
    }

    /// Those whom it holds up go on.
    pub(in crate::gateway) fn release_held(&mut self, id: ConnId) {
        let Some(crowd) = self.conns[id].crowd.as_mut() else { return };
        for publisher in std::mem::take(&mut crowd.holding) {
            // It may have ended meanwhile.
            if let Some(conn) = self.conns.get_mut(publisher) {
                conn.held_by = None;
                self.conns.mark_runnable(publisher);
            }
        }
    }

    /// It has caught up, or ends.
    pub(in crate::gateway) fn uncrowd(&mut self, id: ConnId) {
        self.release_held(id);
        self.conns[id].crowd = None;
    }

    fn overflow(&mut self, id: ConnId) {
        match self.ctx.config.slow {
            SlowPolicy::Disconnect => self.conns.close(id, CloseReason::Slow, 0),
            SlowPolicy::Drop => {
                self.drop_oldest(id, self.crowd_mark());
            }
            SlowPolicy::Pause => unreachable!("its publishers are held instead"),
        }
    }

    /// Drops a subscriber's oldest frames until at most `keep` bytes wait for it. Whether there were any.
    pub(in crate::gateway) fn drop_oldest(&mut self, id: ConnId, keep: usize) -> bool {
        let conn = &mut self.conns[id];
        let (mut frames, mut items) = (0, 0);
        conn.outbox.drop_oldest(keep, |item| {
            items += 1;
            if let Parcel::Run(run) = &*item {
                run.drop_copy();
                frames += u64::from(run.frames());
            }
            item.let_go(&mut self.ctx.ledger);
        });
        self.egress.entries -= items;
        conn.lost += frames;
        conn.dropped += frames;
        let peer = conn.peer;
        if frames > 0 {
            self.ctx.ledger.drop_for(peer, frames);
            let (frames, are) = (many(frames, "frame"), if frames == 1 { "is" } else { "are" });
            let message = format_args!("{peer} reads too slowly: {frames} {are} dropped for it");
            self.ctx.notices.say(Notice::Dropped, log::Level::Warn, self.ctx.now, message);
            self.conns.mark_dirty(id);
        }
        frames > 0
    }
}
