//! One turn: the order of all decisions.
//!
//! It goes from what is finished to what is new, so that room is made before it is taken: verdicts are collected,
//! released in order and distributed; ready connections are read, and what they sent is cut and verified here or handed
//! to the workers; outboxes are written; those who wait for memory go on; and what is due by the clock is done.
//! Between these steps, and nowhere else, connections end.
//!
//! Here, and nowhere else, parts are brought together: none of them can call what is in this folder.

mod access;
mod admission;
mod drain;
mod end;
mod expire;
mod hang_up;
mod run;
mod secure;
mod verdicts;
mod wait_queues;

use std::time::Instant;

use admission::Admission;
use secure::note_record;

use super::conn::ConnId;
use super::distribution::Distribution;
use super::handlers::{Downstream, Handlers};
use super::ingress::order::Item;
use super::ingress::read::{ReadMode, ReadOutcome};
use super::ingress::wait_queues::WaitQueue;
use super::snapshot::PauseCause;
use super::{CloseReason, Gate};
use crate::core::limits::{INLINE_TURN, INLINE_TURN_BUSY, REPLIES_UNREAD};
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
        self.acceptor.accept(&mut self.conns, &mut self.ctx);
        self.distribution.hash_small_messages(&mut self.conns, &mut self.ctx);
        self.collect();
        self.distribution.acks.collect(&mut self.conns, &mut self.ctx);
        let Distribution { durables, acks, .. } = &mut self.distribution;
        durables.collect(&mut self.conns, &mut self.ctx, acks);
        let (handlers, mut to) = self.handlers();
        handlers.tend_handlers(&mut to);
        handlers.refuse_late_calls(&mut to);

        self.read_runnable();
        // Behind the reads: what came in this turn is with the workers before the next sleep.
        self.begin_steps();
        if self.ctx.timing.has_verified() {
            self.ctx.timing.end_reading(self.ctx.net.now().saturating_duration_since(now));
        }
        self.settle_ending();

        self.distribution.durables.open_asked();
        self.write_dirty();
        self.settle_ending();

        // What waited for the room that there is now, and for the clock.
        self.resume_waiting();
        self.call_next();
        self.handlers.write_calls(&mut self.ctx);
        self.expire();
        self.tend_access();
        self.tend_secure();
        self.tend_fragments();
        self.settle_ending();

        self.drain_on();
        self.distribution.egress.sweep(self.conns.is_empty());
        self.charge_entries();
        self.answer_quiet();
        self.survey_on();
    }

    fn notice_events(&mut self, events: &[Event]) {
        for event in events {
            match *event {
                Event::Accept => self.acceptor.ready(),
                // The verdicts are collected in every turn.
                Event::Woken => {}
                Event::Pipe { key, pipe } => self.handlers.notice(key, pipe),
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
        if conn.is_shaking() {
            return self.read_handshake(id);
        }
        let mode = match self.admission(conn, first_in) {
            Admission::Read(mode) => mode,
            Admission::Wait(queue, cause) => return self.leave_unread(id, cause, Some(queue)),
            Admission::Blocked(cause) => return self.leave_unread(id, cause, None),
        };
        if mode == ReadMode::BeginLarge && self.conns[id].is_stranger() {
            self.refuse_stranger(id, 0);
            if self.conns[id].is_refused() {
                return;
            }
        }
        let conn = &mut self.conns[id];
        if self.observe.end_pause(conn, self.ctx.now) {
            // The time that it could not go on is not its own.
            conn.reading.frame_since = self.ctx.now.into();
        }
        let before = (conn.secure.as_ref().is_some_and(|secure| secure.is_amid()), conn.traffic.bytes_read);
        let outcome = self.ingress.read(conn, &mut self.ctx, mode);
        note_record(conn, before, self.ctx.now);
        match outcome {
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
                if self.conns[id].is_stranger() {
                    self.refuse_stranger_early(id);
                }
            }
            ReadOutcome::Foreign(foreign) => self.take_foreign(id, *foreign),
            ReadOutcome::Piece(number) => {
                if self.ingress.hash_on(conn, &mut self.ctx, number) {
                    self.release(id);
                }
            }
            ReadOutcome::End => self.end_of_stream_at(id),
            ReadOutcome::Lost(kind) => match conn.secure.as_mut().and_then(|secure| secure.take_fault()) {
                Some(fault) => self.refuse_tls(id, fault),
                None => self.conns.lose(id, CloseReason::Lost(kind)),
            },
        }
        self.conns.mark_runnable(id);
        self.conns.arm(id, &self.ctx.config);
    }

    /// A connection that is ready is not read now: it waits for what it lacks, unless it is over.
    fn leave_unread(&mut self, id: ConnId, cause: PauseCause, queue: Option<WaitQueue>) {
        if self.is_over_unread(id, cause) {
            return;
        }
        let conn = &mut self.conns[id];
        self.observe.begin_pause(conn, cause, self.ctx.now);
        match (queue, cause) {
            (Some(queue), _) => self.wait_queues.join(&mut self.conns, id, queue, self.ctx.now),
            (None, PauseCause::Sinks) => {
                if !std::mem::replace(&mut conn.reading.sink_held, true) {
                    self.distribution.acks.hold(id, &self.conns);
                }
            }
            (None, _) => self.handlers.wait_for_calls(&self.conns, id, self.ingress.frames_in_flight()),
        }
        self.conns.arm(id, &self.ctx.config);
    }

    /// What was verified takes effect, or its place behind what a handler has.
    fn give_effect(&mut self, id: ConnId, item: Item) {
        if let Item::Run(converted) = item {
            return self.give_effect_to_run(id, *converted);
        }
        if self.conns[id].standing.is_some() {
            self.ctx.access.judge(&mut self.conns[id], &item, self.ctx.now);
        }
        let (handlers, mut to) = self.handlers();
        match handlers.answers() {
            false => to.distribution.take_effect_in_order(to.conns, to.ctx, id, item),
            true => handlers.stage(&mut to, id, item),
        }
    }

    /// Writes to every connection that has something new, or room again: to those that wait for little
    /// first, so that they do not wait for what others get.
    fn write_dirty(&mut self) {
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

    /// Writes what the socket takes, and lets connections that waited for that go on.
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

    /// Calls begin, as many as may.
    fn call_next(&mut self) {
        // What is with the handlers is finished in a pause, and at the end all that was accepted.
        let open = !self.pause_state.is_paused() || self.ctx.draining.is_some();
        let in_flight = self.ingress.frames_in_flight();
        let (handlers, mut to) = self.handlers();
        handlers.call_next(&mut to, open, in_flight);
    }

    /// The handlers, and what their frames go to.
    fn handlers(&mut self) -> (&mut Handlers<N>, Downstream<'_, N, P>) {
        let Gate { handlers, conns, ctx, distribution, .. } = self;
        (handlers, Downstream { conns, ctx, distribution })
    }

    fn tend_fragments(&mut self) {
        let (nothing_comes, is_paused) = (self.nothing_comes(), self.pause_state.is_paused());
        self.distribution.tend_fragments(&mut self.conns, &mut self.ctx, nothing_comes, is_paused);
    }

    /// Whether no fragment can come any more, but of what waits for a digest or for room.
    pub(super) fn nothing_comes(&self) -> bool {
        self.ctx.draining.is_some() && self.ingress.in_flight() == 0 && !self.handlers.answers()
    }
}
