//! Connections that wait go on, and memory is taken back for them from peers that have stalled.

use std::cmp::Reverse;

use super::admission::Admission;
use crate::core::limits::{
    GONE, OUTBOX_ENTRY, PATIENCE_IDLE, RECLAIM_AFTER, RECLAIM_ENTRIES, RECLAIM_SHARE, RECLAIM_TURN,
};
use crate::gateway::conn::{Conn, ConnId, State};
use crate::gateway::ingress::wait_queues::WaitQueue;
use crate::gateway::{CloseReason, Gate, SlowPolicy};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Lets those that wait go on, first come, first served, as far as there is room. For small frames those come first that
    /// hold little, so that a hundred whose frames wait for a slow part do not share all memory among themselves. One of the
    /// others is among them as soon as what it held is done.
    pub(super) fn resume_waiting(&mut self) {
        self.charge_entries();
        let mut went_on = false;
        self.wait_queues.begin();
        self.wait_queues.lighten(&mut self.conns);
        for queue in [WaitQueue::Workers, WaitQueue::Large, WaitQueue::Light, WaitQueue::Heavy] {
            went_on |= self.resume_queue(queue);
        }
        // Whether or not somebody went on meanwhile: with the little that one peer gave back it would begin again.
        if self.wait_queues.goes_on_reclaiming(self.ctx.memory.small_is_eased())
            || self.has_to_reclaim_early()
            || self.wait_queues.is_reclaim_due(went_on, self.ctx.now)
        {
            self.reclaim();
        }
    }

    /// Charges what is held beside buffers, as it is now.
    pub(super) fn charge_entries(&self) {
        let entries = self.conns.entries() * OUTBOX_ENTRY + self.conns.gone() * GONE;
        self.distribution.charge_entries(&self.ctx, entries);
    }

    /// Whether some connection went on.
    fn resume_queue(&mut self, queue: WaitQueue) -> bool {
        let mut went_on = false;
        // A connection that comes back into the queue in this turn waits for the next.
        for _ in 0..self.wait_queues.len(queue) {
            let Some(id) = self.wait_queues.first(queue) else { break };
            if !self.ctx.fair.may_read() {
                self.wait_queues.cut();
                return true;
            }
            let verdict = self.conns.get(id).map(|conn| self.admission(conn, Some(queue)));
            let waits_on = |verdict| matches!(verdict, Some(Admission::Wait(what, _)) if what == queue);
            if waits_on(verdict) {
                break;
            }
            self.wait_queues.leave_first(queue);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.reading.waiting = None;
                self.read_one(id, Some(queue));
                went_on |= !matches!(verdict, Some(Admission::Wait(..)));
            }
        }
        went_on
    }

    /// Whether to take memory back though nobody has waited for long: it is nearly full, and much of that is held by
    /// peers that have stalled. They have had their time; with what comes next, everyone else would wait as long.
    fn has_to_reclaim_early(&mut self) -> bool {
        if !self.wait_queues.may_look_early(self.ctx.now) || self.ctx.memory.small_is_eased() {
            return false;
        }
        self.wait_queues.looked_early(self.ctx.now);
        let held: usize = self.conns.iter().map(|conn| self.reclaimable(conn)).sum();
        held >= self.ctx.memory.small_may() / RECLAIM_SHARE
    }

    /// Takes memory back from the peers that hold most of it and have stalled, so that those who stall cannot keep
    /// everyone else waiting, however many they are: from one at least, and from as many as it takes until small
    /// frames have room again and nobody waits, some of them a turn.
    fn reclaim(&mut self) {
        let reclaimable = |conn: &Conn<N::Socket>| (self.reclaimable(conn), conn.id);
        let mut stalled: Vec<_> =
            self.conns.iter().map(reclaimable).filter(|&(bytes, _)| bytes > 0).collect();
        stalled.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        let enough_entries = self.conns.entries().saturating_sub(RECLAIM_ENTRIES);
        for &(bytes, id) in stalled.iter().take(RECLAIM_TURN) {
            log::debug!("{bytes} bytes are taken back");
            self.give_up_stalled(id);
            // Its memory is free when its end is seen to.
            self.settle_ending();
            self.charge_entries();
            if self.ctx.memory.small_is_eased() || self.conns.entries() < enough_entries {
                break;
            }
        }
        self.wait_queues.reclaimed(!stalled.is_empty(), self.ctx.now);
    }

    /// Bytes that giving up a peer would free (at most: others may share them).
    fn reclaimable(&self, conn: &Conn<N::Socket>) -> usize {
        let unread = match self.ctx.config.slow {
            // What it is given is bounded, and it is never too slow.
            _ if self.distribution.durables.has(conn.id) => conn.writing.replies_pending,
            // Its publishers wait by choice, for as long as the slow timeout says.
            SlowPolicy::Pause => conn.writing.replies_pending,
            SlowPolicy::Disconnect | SlowPolicy::Drop => conn.writing.outbox.pending(),
        };
        match conn.state {
            State::Open | State::Draining => {
                let unread = if self.is_behind(conn) { unread } else { 0 };
                let begun = if self.has_stopped_sending(conn) { conn.reading.begun_charge() } else { 0 };
                unread + begun
            }
            // It was to have time for its last word.
            State::Closing if self.is_behind(conn) => conn.writing.outbox.pending(),
            State::Ending | State::Closing | State::Lingering | State::Lost | State::Gone => 0,
        }
    }

    /// Whether a peer has taken nothing of what is meant for it for so long that memory may be taken back from it: the
    /// less is free, the less of it may wait for a peer that does not read. So the many that stop reading at once are
    /// given up before what they hold is all there is.
    fn is_behind(&self, conn: &Conn<N::Socket>) -> bool {
        let outbox = &conn.writing.outbox;
        let held = outbox.pending() + outbox.len() * OUTBOX_ENTRY;
        let longest = if held > self.ctx.memory.small_free() { PATIENCE_IDLE } else { RECLAIM_AFTER };
        conn.writing.unread_for(self.ctx.now).is_some_and(|time| time >= longest)
    }

    /// Whether nothing has come of what a peer has begun to send for as long.
    fn has_stopped_sending(&self, conn: &Conn<N::Socket>) -> bool {
        conn.reading.stalled_for(self.ctx.now).is_some_and(|time| time >= RECLAIM_AFTER)
    }

    fn give_up_stalled(&mut self, id: ConnId) {
        let conn = &self.conns[id];
        if conn.state == State::Closing {
            return self.conns.lose(id, CloseReason::Reclaimed);
        }
        if self.has_stopped_sending(conn) {
            self.conns.close(id, CloseReason::Reclaimed, 0);
        } else if self.is_behind(conn) {
            // Under the drop policy a subscriber is closed only where nothing is left to drop.
            let drops = self.ctx.config.slow == SlowPolicy::Drop
                && self.distribution.egress.drop_oldest(&mut self.conns, &mut self.ctx, id, 0);
            if !drops {
                self.conns.close(id, CloseReason::Slow, 0);
            }
        }
    }
}
