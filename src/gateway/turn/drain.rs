//! Ending without losing what was accepted.

use std::io;
use std::time::Instant;

use crate::gateway::CloseReason;
use crate::gateway::Gate;
use crate::gateway::conn::State;
use crate::gateway::distribution::Distribution;
use crate::gateway::egress::replies::encode_reply;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::Status;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Begins to listen where the address is only reserved yet.
    ///
    /// # Errors
    /// What the system says of the address.
    pub fn listen(&mut self) -> io::Result<()> {
        self.ctx.net.listen()
    }

    /// Takes nothing more in. What was read is finished, outboxes are written until the drain
    /// timeout, and everyone is closed.
    pub fn begin_drain(&mut self, now: Instant) {
        if self.ctx.draining.is_some() {
            return;
        }
        self.ctx.now = now;
        self.ctx.draining = Some(now + self.ctx.config.drain);
        self.ctx.net.stop_listening();
        self.acceptor.stop();
        for id in self.conns.ids() {
            if self.conns[id].is_shaking() {
                self.conns.lose(id, CloseReason::Draining);
            }
            let conn = &mut self.conns[id];
            if conn.state == State::Open {
                conn.state = State::Draining;
            }
        }
    }

    /// Whether draining has ended: nothing is left.
    pub fn is_drained(&self) -> bool {
        let Distribution { egress, acks, fragments, .. } = &self.distribution;
        self.ctx.draining.is_some()
            && self.conns.is_empty()
            && fragments.is_empty()
            && !egress.has_to_sweep()
            && self.handlers.are_gone()
            && acks.is_idle()
    }

    /// Takes the next step of draining, if it is time for it.
    pub(super) fn drain_on(&mut self) {
        let Some(deadline) = self.ctx.draining else { return };
        if self.ctx.now >= deadline {
            if self.handlers.answers() {
                // A frame waits in a stage for its own answer, or for that of one before it.
                self.ctx.ledger.unanswered += self.conns.staged().frames;
            }
            self.reap_all();
            self.handlers.forget();
            self.ctx.ledger.undelivered += self.distribution.fragments.forget();
            self.distribution.acks.forget();
            self.handlers.kill(self.ctx.now);
        } else if self.ingress.in_flight() == 0
            && self.conns.staged().frames == 0
            && !self.distribution.acks.has_pending_replies()
            && self.distribution.fragments.is_empty()
        {
            self.handlers.end(self.ctx.now);
            // Everything accepted is in the outboxes. Publishers hear that no more is taken, and subscribers that
            // this is a drain and no crash.
            for id in self.conns.ids() {
                let conn = &self.conns[id];
                // Who is to be told why it ends hears that.
                if conn.state != State::Draining || conn.reading.ended || conn.end.is_some() {
                    continue;
                }
                let mut last = Vec::new();
                if conn.traffic.publishes
                    || self.distribution.egress.is_subscriber(id)
                    || self.distribution.durables.has(id)
                    || conn.reading.readable
                    || conn.reading.begun().is_some()
                {
                    let reason = CloseReason::Draining.to_string();
                    encode_reply(
                        conn.reading.begun_id(),
                        Status::Closing,
                        &reason,
                        &self.ctx.config.scheme,
                        &mut last,
                    );
                }
                self.end(id, CloseReason::Draining, last);
            }
        }
    }
}
