//! Outboxes are written, to those that wait for little first.

use crate::core::limits::REPLIES_UNREAD;
use crate::gateway::conn::ConnId;
use crate::gateway::{CloseReason, Gate};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Writes to every connection that has something new, or room again: to those that wait for little
    /// first, so that they do not wait for what others get.
    pub(super) fn write_dirty(&mut self) {
        let dirty = self.distribution.egress.take_dirty(&mut self.conns, &mut self.ctx);
        self.ctx.fair.begin_writing();
        for (at, &id) in dirty.iter().enumerate() {
            if !self.ctx.fair.next_peer(dirty.len() - at) {
                self.ctx.fair.late = dirty.len() - at;
                self.conns.due.dirty.splice(..0, dirty[at..].iter().copied());
                break;
            }
            // It may have ended since.
            if let Some(conn) = self.conns.get_mut(id) {
                conn.writing.dirty = false;
                self.flush(id);
            }
        }
    }

    /// Writes what the socket takes, and lets go on who waited for that.
    fn flush(&mut self, id: ConnId) {
        if let Err(error) = self.distribution.egress.write_out(&mut self.conns, &mut self.ctx, id) {
            return self.conns.lose(id, CloseReason::Lost(error.kind()));
        }
        let conn = &self.conns[id];
        if conn.writing.slow.is_some()
            && conn.writing.outbox.pending() <= self.ctx.config.high_watermark() / 2
        {
            self.distribution.egress.release(&mut self.conns, id);
        }
        if self.conns[id].writing.replies_pending < REPLIES_UNREAD {
            self.conns.mark_runnable(id);
            self.handlers.resume_calls_of(&self.conns, id);
        }
        self.conns.mark_ending(id);
    }
}
