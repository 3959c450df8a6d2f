//! Connections are read, and what came of them takes effect or is handed to the workers.

use super::admission::Admission;
use crate::gateway::conn::ConnId;
use crate::gateway::ingress::order::Item;
use crate::gateway::ingress::read::ReadOutcome;
use crate::gateway::ingress::wait_queues::WaitQueue;
use crate::gateway::snapshot::PauseCause;
use crate::gateway::{CloseReason, Gate};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Gives each connection that is ready one read, until the turn's budget is spent; those behind
    /// it are first in the next turn.
    pub(super) fn read_runnable(&mut self) {
        for _ in 0..self.conns.due.runnable.len() {
            if !self.ctx.fair.may_read() {
                break;
            }
            let Some(id) = self.conns.due.runnable.pop_front() else { break };
            // It may have ended since.
            if let Some(conn) = self.conns.get_mut(id) {
                conn.reading.queued = false;
                conn.reading.read_size = conn.reading.read_size.min(self.ctx.fair.read_max() as u32);
                self.read_one(id, None);
            }
        }
    }

    /// One read, if the connection may be read now; else it waits for what it lacks.
    pub(super) fn read_one(&mut self, id: ConnId, first_in: Option<WaitQueue>) {
        let conn = &self.conns[id];
        if !conn.reading.readable || conn.reading.ended {
            return;
        }
        let mode = match self.admission(conn, first_in) {
            Admission::Read(mode) => mode,
            Admission::Wait(line, cause) => return self.leave_unread(id, cause, Some(line)),
            Admission::Blocked(cause) => return self.leave_unread(id, cause, None),
        };
        let conn = &mut self.conns[id];
        if self.observe.end_pause(conn, self.ctx.now) {
            // The time that it could not go on is not its own.
            conn.reading.frame_since = self.ctx.now.into();
        }
        match self.ingress.read(conn, &mut self.ctx, mode) {
            ReadOutcome::Nothing => {}
            ReadOutcome::Cut(batch, fault) => {
                if let Some(verified) =
                    batch.and_then(|batch| self.ingress.verify(conn, &mut self.ctx, batch))
                {
                    self.give_effect(id, Item::Frames(verified));
                    self.conns.mark_ending(id);
                }
                if let Some(fault) = fault {
                    self.ingress.end_with(&mut self.conns[id], &mut self.ctx, fault);
                    self.release(id);
                }
            }
            ReadOutcome::Foreign(foreign) => self.take_foreign(id, *foreign),
            ReadOutcome::Piece(number) => {
                if self.ingress.hash_on(conn, &mut self.ctx, number) {
                    self.release(id);
                }
            }
            ReadOutcome::End => self.end_of_stream_at(id),
            ReadOutcome::Lost(kind) => self.conns.lose(id, CloseReason::Lost(kind)),
        }
        self.conns.mark_runnable(id);
        self.conns.arm(id, &self.ctx.config);
    }

    /// A connection that is ready is not read now: it waits for what it lacks, unless it is over.
    fn leave_unread(&mut self, id: ConnId, cause: PauseCause, line: Option<WaitQueue>) {
        if self.is_over_unread(id, cause) {
            return;
        }
        let conn = &mut self.conns[id];
        self.observe.begin_pause(conn, cause, self.ctx.now);
        match (line, cause) {
            (Some(line), _) => self.wait_queues.join(&mut self.conns, id, line, self.ctx.now),
            (None, PauseCause::Sinks) => {
                if !std::mem::replace(&mut conn.reading.sink_held, true) {
                    self.distribution.acks.hold(id, &self.conns);
                }
            }
            (None, _) => self.handlers.wait_for_calls(&self.conns, id),
        }
        self.conns.arm(id, &self.ctx.config);
    }

    /// What was verified takes effect, or its place behind what a handler has.
    pub(super) fn give_effect(&mut self, id: ConnId, item: Item) {
        if let Item::Run(converted) = item {
            return self.give_effect_to_run(id, *converted);
        }
        let (conns, ctx) = (&mut self.conns, &mut self.ctx);
        match self.handlers.answers() {
            false => self.distribution.take_effect_in_order(conns, ctx, id, item),
            true => self.handlers.stage(conns, ctx, &mut self.distribution, id, item),
        }
    }
}
