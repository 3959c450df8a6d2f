//! One turn: the order of all decisions.
//!
//! It goes from what is finished to what is new, so that room is made before it is taken: verdicts are collected,
//! released in order and distributed; ready connections are read, and what they sent is cut and verified here or handed
//! to the workers; outboxes are written; those who wait for memory go on; and what is due by the clock is done.
//! Between these steps, and nowhere else, connections end.
//!
//! Here, and nowhere else, parts are brought together: none of them can call what is in this folder.

mod admission;
mod drain;
mod end;
mod expire;
mod hang_up;
mod read;
mod run;
mod verdicts;
mod wait_queues;
mod write;

use std::time::Instant;

use super::Gate;
use super::conn::ConnId;
use crate::core::limits::{INLINE_TURN, INLINE_TURN_BUSY};
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
        self.handlers.tend_handlers(&mut self.conns, &mut self.ctx, &mut self.distribution);
        self.handlers.refuse_late_calls(&mut self.conns, &mut self.ctx, &mut self.distribution);

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
        self.handlers.write_calls(&mut self.ctx);
        self.expire();
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

    /// Calls begin, as many as may.
    fn call_next(&mut self) {
        // What is with the handlers is finished in a pause, and at the end all that was accepted.
        let open = !self.pause_state.is_paused() || self.ctx.draining.is_some();
        self.handlers.call_next(&mut self.conns, &mut self.ctx, &mut self.distribution, open);
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
