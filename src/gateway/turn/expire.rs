//! What is due by the clock.

use crate::gateway::CloseReason;
use crate::gateway::conn::{ConnId, State};
use crate::gateway::{Gate, SlowPolicy};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::runtime::tls::TlsFault;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Looks at every connection that has a deadline now.
    pub(super) fn expire(&mut self) {
        while let Some(key) = self.conns.deadlines.pop_due(self.ctx.now) {
            let id = ConnId::from_key(key);
            self.conns[id].armed = None;
            self.expire_one(id);
            self.conns.arm(id, &self.ctx.config);
        }
    }

    fn expire_one(&mut self, id: ConnId) {
        let conn = &self.conns[id];
        match conn.state {
            State::Ending | State::Lost | State::Gone => {}
            State::Closing | State::Lingering => {
                if self.ctx.now >= conn.linger_until.get() {
                    self.conns.lose(id, CloseReason::Finished);
                }
            }
            State::Open | State::Draining => self.expire_open(id),
        }
    }

    fn expire_open(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if let Some(until) = conn.handshake_deadline() {
            if until <= self.ctx.now {
                self.refuse_tls(id, TlsFault::Late);
            }
            return;
        }
        if conn
            .standing
            .as_ref()
            .and_then(|standing| standing.deadline())
            .is_some_and(|at| at <= self.ctx.now)
            && let Err(refusal) = self.ctx.access.look_again(conn, self.ctx.now)
        {
            return self.expel(id, CloseReason::Refused(Box::new(refusal)));
        }
        let conn = &mut self.conns[id];
        // Where bytes are there and were not read, the gateway is what the peer waits for.
        let is_ours = conn.reading.readable || conn.reading.paused.is_some();
        if conn.has_begun() && self.ctx.now >= conn.reading.frame_since.get() + self.ctx.config.frame_timeout
        {
            if !is_ours {
                return self.conns.lose(id, CloseReason::FrameTimeout);
            }
            conn.reading.frame_since = self.ctx.now.into();
        }
        if let Some(slow) = &conn.writing.slow {
            if self.ctx.config.slow == SlowPolicy::Pause {
                if self.ctx.now >= conn.writing.slow_since(slow) + self.ctx.config.slow_timeout {
                    return self.conns.close(id, CloseReason::Slow, 0);
                }
            } else if !conn.writing.is_patient(self.ctx.now) {
                self.distribution.egress.release_publishers(&mut self.conns, id);
            }
        }
        let conn = &mut self.conns[id];
        if self.ctx.now
            >= conn.reading.last_read.max(conn.writing.last_write).get() + self.ctx.config.idle_timeout
        {
            // While the gateway is paused it gives nobody anything either.
            if !is_ours && conn.order.is_answered() && !self.pause_state.is_paused() {
                return self.conns.lose(id, CloseReason::Idle);
            }
            conn.reading.last_read = self.ctx.now.into();
        }
    }
}
