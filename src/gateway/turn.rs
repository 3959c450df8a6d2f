//! One turn: the order of all decisions.
//!
//! It goes from what is finished to what is new, so that room is made before it is taken: verdicts are collected,
//! released in order and distributed; ready connections are read, and what they sent is cut and verified here or handed
//! to the workers; outboxes are written; those who wait for memory go on; and what is due by the clock is done.
//! Between these steps, and nowhere else, connections end.

use std::time::Instant;

use super::conn::ConnId;
use super::ingress::admission::{Admission, WaitQueue};
use super::ingress::order::Item;
use super::ingress::read::Came;
use super::{CloseReason, Gate};
use crate::core::limits::{INLINE_TURN, INLINE_TURN_BUSY, REPLIES_UNREAD, WRITE_SHARE};
use crate::runtime::net::{Event, Net};
use crate::runtime::pool::Pool;

impl<N: Net, P: Pool> Gate<N, P> {
    /// One turn at the instant `now`, which never goes back.
    pub fn turn(&mut self, now: Instant, events: &[Event]) {
        self.ctx.now = now;
        // What was left to read in the turn before says whether it keeps up.
        self.ctx.inline_left =
            if self.conns.due.runnable.is_empty() { INLINE_TURN } else { INLINE_TURN_BUSY };
        self.ctx.timing.begin_turn();
        self.ctx.fair.begin_turn();

        // What is finished makes room for what is new.
        self.notice_events(events);
        self.settle_ending();
        self.accept_waiting();
        self.hash_small_wholes();
        self.collect();
        self.acks.collect(&mut self.conns, &mut self.ctx);
        self.tend_handlers();
        self.refuse_late_calls();

        self.read_runnable();
        if self.ctx.timing.has_verified() {
            self.ctx.timing.end_reading(self.ctx.net.now().saturating_duration_since(now));
        }
        self.settle_ending();

        self.write_dirty();
        self.settle_ending();

        // What waited for the room that there is now, and for the clock.
        self.resume_lines();
        self.call_next();
        self.write_calls();
        self.expire();
        self.tend_parts();
        self.settle_ending();

        self.drain_on();
        self.egress.router.sweep(self.conns.is_empty());
        self.charge_entries();
        self.answer_quiet();
        self.survey_on();
    }

    fn notice_events(&mut self, events: &[Event]) {
        for event in events {
            match *event {
                Event::Accept => self.ingress.acceptor.ready(),
                // The verdicts are collected in every turn.
                Event::Woken => {}
                Event::Pipe { key, pipe } => {
                    self.calling.handlers.notice(key, pipe);
                }
                Event::Socket { key, readable, writable, read_closed, reset } => {
                    let id = ConnId::from_key(key);
                    let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.socket.is_some()) else {
                        continue;
                    };
                    conn.reading.readable |= readable;
                    conn.reading.read_closed |= read_closed;
                    if writable && !conn.writing.writable {
                        conn.writing.writable = true;
                        self.conns.mark_dirty(id);
                    }
                    if reset {
                        self.hang_up(id);
                    }
                    if readable {
                        self.conns.mark_runnable(id);
                    }
                }
            }
        }
    }

    /// Gives each connection that is ready one read, until the turn's budget is spent; those behind
    /// it are first in the next turn.
    fn read_runnable(&mut self) {
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
        let way = match self.admission(conn, first_in) {
            Admission::Read(way) => way,
            Admission::Wait(line, cause) => return self.leave_unread(id, cause, Some(line)),
            Admission::Blocked(cause) => return self.leave_unread(id, cause, None),
        };
        let conn = &mut self.conns[id];
        if self.observe.pauses.end(conn, self.ctx.now) {
            // The time that it could not go on is not its own.
            conn.reading.frame_since = self.ctx.now.into();
        }
        match self.ingress.read(conn, &mut self.ctx, way) {
            Came::Nothing => {}
            Came::Cut(batch, fault) => {
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
            Came::Piece(number) => {
                if self.ingress.hash_on(conn, &mut self.ctx, number) {
                    self.release(id);
                }
            }
            Came::End => self.end_of_stream(id),
            Came::Lost(kind) => self.conns.lose(id, CloseReason::Lost(kind)),
        }
        self.conns.mark_runnable(id);
        self.conns.arm(id, &self.ctx.config);
    }

    /// What was verified takes effect, or its place behind what a handler has.
    pub(super) fn give_effect(&mut self, id: ConnId, item: Item) {
        match self.calling.answers() {
            // A part waits for room, and this behind it.
            false if self.conns[id].order.is_parked() => self.line_up(id, item, false),
            false => self.effect_of(id, item),
            true => self.stage(id, item),
        }
    }

    /// What is next in its connection's order takes effect.
    pub(super) fn effect_of(&mut self, id: ConnId, item: Item) {
        match item {
            Item::Frames(verified) => self.distribute(id, verified),
            Item::Fault(fault) => {
                if self.conns[id].order.discard {
                    self.ctx.ledger.undelivered += 1;
                } else {
                    let about = fault.id();
                    self.conns.count_rejected(&mut self.ctx, id, fault.status());
                    self.conns.close(id, CloseReason::Fault(fault), about);
                }
            }
        }
    }

    /// Writes to every connection that has something new, or room again: to those that wait for little
    /// first, so that they do not wait for what others get.
    fn write_dirty(&mut self) {
        let dirty = self.take_dirty();
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

    /// Those who wait for little, then those for whom nothing was left in the turn before, then the others.
    fn take_dirty(&mut self) -> Vec<ConnId> {
        let mut late = std::mem::take(&mut self.conns.due.dirty);
        let mut dirty = late.split_off(std::mem::take(&mut self.ctx.fair.late));
        if late.len() + dirty.len() > 1 {
            self.egress.shared_at = Some(self.ctx.now);
        }
        let pending = |id: &ConnId| self.conns.get(*id).map_or(0, |conn| conn.writing.outbox.pending());
        dirty.sort_by_cached_key(pending);
        let little = dirty.partition_point(|id| pending(id) <= WRITE_SHARE);
        dirty.splice(little..little, late);
        dirty
    }

    /// Writes what the socket takes, and lets go on who waited for that.
    fn flush(&mut self, id: ConnId) {
        if let Err(error) = self.egress.write_out(&mut self.conns, &mut self.ctx, id) {
            return self.conns.lose(id, CloseReason::Lost(error.kind()));
        }
        let conn = &self.conns[id];
        if conn.writing.slow.is_some()
            && conn.writing.outbox.pending() <= self.ctx.config.high_watermark() / 2
        {
            self.egress.release(&mut self.conns, id);
        }
        if self.conns[id].writing.replies_pending < REPLIES_UNREAD {
            self.conns.mark_runnable(id);
            self.resume_calls_of(id);
        }
        self.conns.mark_ending(id);
    }
}
