//! How connections end. What ends them only marks them; the next step of each is decided at one point of the turn,
//! [`Gate::settle_ending`], and they leave the table in one place, [`Gate::reap`]. So a connection is there until the
//! work on it is done, whatever came of it.

use log::Level;

use crate::core::limits::LINGER;
use crate::core::memory::Buffer;
use crate::core::units::{about, many};
use crate::gateway::CloseReason;
use crate::gateway::Gate;
use crate::gateway::conn::{ConnId, End, State};
use crate::gateway::egress::Egress;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::egress::replies::encode_reply;
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::runtime::tls::TlsFault;
use crate::wire::Status;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Takes the next step of those that are ending, where it is time for it. Between the steps of a turn, so never in
    /// the middle of anybody's work.
    pub(super) fn settle_ending(&mut self) {
        for id in std::mem::take(&mut self.conns.due.ending) {
            self.conns[id].is_marked = false;
            self.settle(id);
        }
    }

    fn settle(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        match conn.state {
            State::Open => {}
            State::Draining if conn.end.is_some() => {
                if !conn.order.has_pending_replies() && !conn.is_delayed() {
                    self.say_last(id);
                }
            }
            State::Draining if conn.reading.ended && conn.order.is_answered() => {
                // It gets what it subscribed to until its own frames are done, then only the rest.
                self.distribution.leave(&mut self.conns, id);
                if self.conns[id].is_flushed() && self.say_end(id) {
                    self.say_closed(id, &CloseReason::Finished);
                    self.reap(id);
                }
            }
            State::Draining => {}
            State::Ending => self.say_last(id),
            State::Closing if conn.is_flushed() => {
                if !self.say_end(id) {
                    return;
                }
                let conn = &mut self.conns[id];
                conn.state = State::Lingering;
                conn.linger_until = conn.linger_until.min((self.ctx.now + LINGER).into());
                if conn.reading.ended && conn.order.is_quiet() {
                    self.reap(id);
                } else {
                    self.ctx.net.shutdown_write(conn.socket());
                    self.conns.arm(id, &self.ctx.config);
                }
            }
            State::Closing => {}
            State::Lingering if conn.reading.ended && conn.order.is_quiet() => self.reap(id),
            State::Lingering => {}
            State::Lost => {
                self.give_up(id);
                self.settle(id);
            }
            // What it is told is for nobody.
            State::Gone if conn.order.is_distributed() => self.reap(id),
            State::Gone => {}
        }
    }

    /// Ends a connection with a last reply, where the reason has a status.
    fn say_last(&mut self, id: ConnId) {
        let End { reason, frame_id } = *self.conns[id].end.take().expect("it is to end for a reason");
        let mut last = Vec::new();
        if let Some(status) = reason.status() {
            encode_reply(frame_id, status, &reason.to_string(), &self.ctx.config.scheme, &mut last);
        }
        self.end(id, reason, last);
    }

    /// The peer will send nothing more: what it sent is finished, then it is closed.
    pub(super) fn end_of_stream(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        conn.reading.ended = true;
        conn.reading.readable = false;
        if conn.state == State::Open {
            conn.state = State::Draining;
        }
        self.ctx.ledger.bytes_unfinished += conn.forget_begun();
        self.conns.mark_ending(id);
    }

    /// Ends a connection: what is in its outbox is still written, with `last` behind it.
    pub(super) fn end(&mut self, id: ConnId, reason: CloseReason, last: Vec<u8>) {
        let conn = &mut self.conns[id];
        // A frame that is partly written is written to its end, and the last word behind it.
        let patience = self.ctx.config.slow_timeout.max(LINGER);
        conn.linger_until = self.ctx.draining.unwrap_or(self.ctx.now + patience).into();
        conn.state = State::Closing;
        self.say_closed(id, &reason);
        self.distribution.leave(&mut self.conns, id);
        self.ctx.ledger.bytes_unfinished += self.conns[id].forget_begun();
        if reason == CloseReason::Slow {
            Egress::abandon_rest(&mut self.conns, &mut self.ctx, id);
        }
        // Who does not speak native frames does not understand a REPLY.
        if !last.is_empty() && self.conns[id].dialect.is_none() {
            let last = OutboxItem::Replies(Buffer::charged(&self.ctx.memory, last.into()));
            self.conns.push_last(id, last);
        }
        // What still comes is read, to be thrown away.
        self.conns.mark_runnable(id);
        self.conns.mark_dirty(id);
        self.conns.arm(id, &self.ctx.config);
    }

    /// Closes a dead socket. Others may have its place: what it sent is finished without it.
    fn give_up(&mut self, id: ConnId) {
        if let Some(end) = self.conns[id].end.take() {
            self.say_closed(id, &end.reason);
        }
        self.distribution.leave(&mut self.conns, id);
        self.ctx.ledger.bytes_unfinished += self.conns[id].forget_begun();
        Egress::abandon(&mut self.conns, &mut self.ctx, id);
        self.handlers.resume_calls_of(&self.conns, id);
        let conn = &mut self.conns[id];
        conn.state = State::Gone;
        conn.reading.readable = false;
        self.observe.end_pause(conn, self.ctx.now);
        self.conns.disarm(id);
        let listener = usize::from(self.conns[id].listener);
        if self.conns[id].is_shaking() {
            self.ctx.secure.end_handshake();
        }
        if self.conns[id].socket.is_some() {
            self.ctx.per_address.leave(self.conns[id].peer.ip());
        }
        self.conns[id].secure = None;
        let closed = u64::from(self.conns.close_socket(id));
        self.ctx.ledger.connections.closed += closed;
        self.ctx.ledger.listeners[listener].closed += closed;
    }

    /// The one place where a connection leaves the table, and its socket is closed.
    fn reap(&mut self, id: ConnId) {
        if self.conns[id].state != State::Gone {
            self.give_up(id);
        }
        let conn = self.conns.remove(id).expect("it was there until now");
        self.distribution.acks.forget_conn(&conn);
        self.handlers.forget_conn(id);
        // At the end of draining there may be some; else its window is empty, and its stage.
        let staged = conn.order.stage.as_ref().map_or(0, |stage| stage.frames);
        self.ctx.ledger.undelivered += self.ingress.forget_conn(&conn) + staged;
    }

    /// The time to drain is over: every connection ends, whatever it waits for.
    pub(super) fn reap_all(&mut self) {
        for id in self.conns.ids() {
            self.conns.lose(id, CloseReason::Draining);
            self.reap(id);
        }
        self.conns.due.ending.clear();
    }

    fn say_closed(&mut self, id: ConnId, reason: &CloseReason) {
        let conn = &self.conns[id];
        self.observe.closed(conn, reason, self.ctx.now);
        let notice = match reason {
            CloseReason::Fault(_) | CloseReason::AckAhead { .. } => Some(Notice::Fault),
            CloseReason::Slow => Some(Notice::Slow),
            CloseReason::FrameTimeout | CloseReason::Reclaimed => Some(Notice::Stalled),
            // Said with the frame.
            CloseReason::Unauthorized | CloseReason::BadDigest => None,
            CloseReason::Refused(_) | CloseReason::Certificate(_) => Some(Notice::Unauthorized),
            // Scanners and those who change their minds do that all day long.
            CloseReason::Tls(fault) if matches!(**fault, TlsFault::Cut) => None,
            CloseReason::Tls(fault) if matches!(**fault, TlsFault::NotTls(_)) => Some(Notice::NotTls),
            CloseReason::Tls(_) => Some(Notice::Tls),
            CloseReason::Finished | CloseReason::Lost(_) | CloseReason::Idle | CloseReason::Draining => None,
            CloseReason::Taken | CloseReason::Moved(_) => None,
        };
        if let Some(notice) = notice {
            let what = reason.status().unwrap_or(Status::Closing);
            let layout = conn.dialect.as_ref().map(|dialect| dialect.layout.name());
            let of = layout.map_or(String::new(), |name| format!(" (layout {name})"));
            let message = format_args!("{}{of} is closed ({what}): {reason}", conn.named());
            self.ctx.notices.say_at(conn.listener, notice, Level::Warn, self.ctx.now, message);
        }
        log::debug!(
            "{} closed after {}, {}, {}: {reason}",
            conn.named(),
            about(self.ctx.now.saturating_duration_since(conn.opened.get())),
            many(conn.traffic.frames_read, "frame"),
            many(conn.traffic.bytes_read, "byte")
        );
    }
}
