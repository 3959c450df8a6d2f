//! How connections end. What ends them only marks them; the next step of each is decided at one point of the turn,
//! [`Gate::settle_ending`], and they leave the table in one place, [`Gate::reap`]. So whoever works on a connection finds
//! it there until its work is done, whatever came of it.

use std::rc::Rc;

use log::Level;

use crate::core::limits::LINGER;
use crate::core::memory::Buffer;
use crate::core::units::{about, many};
use crate::gateway::CloseReason;
use crate::gateway::Gate;
use crate::gateway::conn::{ConnId, State};
use crate::gateway::egress::distribute::encode_reply;
use crate::gateway::egress::parcel::Parcel;
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::Status;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Ends a connection with a last reply, where the reason has a status.
    pub(in crate::gateway) fn close(&mut self, id: ConnId, reason: CloseReason) {
        let frame_id = match &reason {
            CloseReason::Fault(fault) => fault.id(),
            _ => 0,
        };
        self.close_about(id, reason, frame_id);
    }

    /// Ends a connection because of the frame that it numbered `frame_id`.
    pub(in crate::gateway) fn close_about(&mut self, id: ConnId, reason: CloseReason, frame_id: u64) {
        if self.ends_later(id, &reason, frame_id) {
            return;
        }
        match reason.status() {
            Some(status) => {
                let mut reply = Vec::new();
                encode_reply(frame_id, status, &reason.to_string(), &self.config.scheme, &mut reply);
                self.end(id, reason, reply);
            }
            None => self.end(id, reason, Vec::new()),
        }
    }

    /// Ends a connection: what is in its outbox is still written, with `last` behind it.
    pub(in crate::gateway) fn end(&mut self, id: ConnId, reason: CloseReason, last: Vec<u8>) {
        let conn = &mut self.conns[id];
        if !conn.is_written() {
            return;
        }
        // A frame that is partly written is written to its end, and the last word behind it.
        let patience = self.config.slow_timeout.max(LINGER);
        conn.linger_until = self.draining.unwrap_or(self.now + patience).into();
        conn.state = State::Closing(reason.clone());
        self.say_closed(id, &reason);
        self.leave(id);
        self.forget_begun(id);
        if reason == CloseReason::Slow {
            self.abandon_rest(id);
        }
        if !last.is_empty() {
            let buffer = Buffer::charged(&self.memory, last.into());
            let conn = &mut self.conns[id];
            conn.replies_pending += buffer.len();
            conn.outbox.push(Rc::new(Parcel::Replies(buffer)));
            self.entries += 1;
        }
        // What still comes is read, to be thrown away.
        self.mark_runnable(id);
        self.mark_dirty(id);
        self.arm(id);
    }

    /// Ends a connection whose socket is dead, or whose peer is not worth a word.
    pub(in crate::gateway) fn lose(&mut self, id: ConnId, reason: CloseReason) {
        let conn = &mut self.conns[id];
        let reason = match std::mem::replace(&mut conn.state, State::Open) {
            // It was closed before, for that reason.
            State::Closing(first) | State::Lingering(first) | State::Gone(first) => first,
            State::Open | State::Draining => {
                self.say_closed(id, &reason);
                reason
            }
        };
        self.leave(id);
        self.forget_begun(id);
        self.abandon(id);
        let conn = &mut self.conns[id];
        conn.state = State::Gone(reason);
        conn.readable = false;
        self.pauses.end(conn, self.now);
        self.deadlines.cancel(id.key(), &mut conn.armed);
        // Others may have its place: what it sent is finished without it.
        if self.conns.close_socket(id) {
            self.ledger.connections.closed += 1;
        }
        self.settle_later(id);
    }

    /// It may be time for the next step of a connection, if it is ending: that is looked at when the turn ends.
    pub(in crate::gateway) fn settle_later(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if !matches!(conn.state, State::Open) && !conn.settles {
            conn.settles = true;
            self.settling.push(id);
        }
    }

    /// Takes the next step of those that are ending, where it is time for it.
    pub(in crate::gateway) fn settle_ending(&mut self) {
        for id in std::mem::take(&mut self.settling) {
            self.conns[id].settles = false;
            self.settle(id);
        }
    }

    fn settle(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        let (quiet, answered) = (conn.is_quiet(), conn.is_answered());
        let distributed = conn.is_distributed();
        match &conn.state {
            State::Open => {}
            State::Draining if conn.ended && answered => {
                // It gets what it subscribed to until its own frames are done, then only the rest.
                self.leave(id);
                if self.conns[id].outbox.is_empty() {
                    self.say_closed(id, &CloseReason::Finished);
                    self.reap(id);
                }
            }
            State::Draining => {}
            State::Closing(reason) if conn.outbox.is_empty() => {
                conn.state = State::Lingering(reason.clone());
                conn.linger_until = conn.linger_until.min((self.now + LINGER).into());
                if conn.ended && quiet {
                    self.reap(id);
                } else {
                    conn.socket.iter_mut().for_each(|socket| self.net.shutdown_write(socket));
                    self.arm(id);
                }
            }
            State::Closing(_) => {}
            State::Lingering(_) if conn.ended && quiet => self.reap(id),
            State::Lingering(_) => {}
            // What it is told is for nobody.
            State::Gone(_) if distributed => self.reap(id),
            State::Gone(_) => {}
        }
    }

    /// The one place where a connection leaves the table, and its socket is closed.
    fn reap(&mut self, id: ConnId) {
        self.leave(id);
        self.forget_begun(id);
        self.abandon(id);
        let mut conn = self.conns.remove(id).expect("it was there until now");
        self.pauses.end(&mut conn, self.now);
        self.deadlines.cancel(id.key(), &mut conn.armed);
        self.in_flight -= conn.window.len();
        let staged = conn.stage.as_ref().map_or(0, |stage| stage.frames);
        self.staged -= staged;
        self.lined_up -= conn.stage.as_ref().map_or(0, |stage| stage.lined_up());
        self.owed -= conn.stage.as_ref().map_or(0, |stage| stage.owed as usize);
        self.calling.queue.forget(id.key());
        let ledger = &mut self.ledger;
        ledger.connections.closed += u64::from(conn.socket.is_some());
        // At the end of draining there may be some; else its window is empty, and its stage.
        ledger.undelivered += u64::from(conn.frames_in_flight) + staged;
    }

    /// The time to drain is over: every connection ends, whatever it waits for.
    pub(in crate::gateway) fn reap_all(&mut self) {
        for id in self.conns.ids() {
            self.lose(id, CloseReason::Draining);
            self.reap(id);
        }
        self.settling.clear();
    }

    /// It subscribes to nothing more, and holds nobody up.
    fn leave(&mut self, id: ConnId) {
        self.router.leave(id);
        self.uncrowd(id);
    }

    /// Its outbox is given up.
    fn abandon(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        conn.lost = 0;
        conn.replies_pending = 0;
        self.entries -= conn.outbox.len();
        let mut missed = 0;
        for unsent in conn.outbox.abandon() {
            if let Parcel::Run(run) = &*unsent.item {
                missed += u64::from(run.end_copy(unsent.written));
            }
            unsent.item.let_go(&mut self.ledger);
        }
        self.ledger.copies.undelivered += missed;
        self.resume_calls_of(id);
    }

    /// Its outbox is given up, but for what is being written.
    fn abandon_rest(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        conn.lost = 0;
        let (mut missed, mut items, mut replies) = (0, 0, 0);
        conn.outbox.abandon_rest(|item| {
            items += 1;
            match &*item {
                Parcel::Run(run) => missed += u64::from(run.end_copy(0)),
                Parcel::Replies(_) | Parcel::Frame(_) => replies += item.reply_bytes(),
            }
            item.let_go(&mut self.ledger);
        });
        conn.replies_pending -= replies;
        self.entries -= items;
        self.ledger.copies.undelivered += missed;
    }

    fn say_closed(&mut self, id: ConnId, reason: &CloseReason) {
        let conn = &self.conns[id];
        self.history.push(conn.described(self.now), reason.clone(), self.now);
        #[cfg(any(test, feature = "check"))]
        self.closed.push((conn.peer, reason.clone()));
        let notice = match reason {
            CloseReason::Fault(_) => Some(Notice::Fault),
            CloseReason::Slow => Some(Notice::Slow),
            CloseReason::FrameTimeout | CloseReason::Reclaimed => Some(Notice::Stalled),
            // Said with the frame.
            CloseReason::Unauthorized | CloseReason::BadDigest => None,
            CloseReason::Finished | CloseReason::Lost(_) | CloseReason::Idle | CloseReason::Draining => None,
        };
        if let Some(notice) = notice {
            let what = reason.status().unwrap_or(Status::Closing);
            let message = format_args!("{} is closed ({what}): {reason}", conn.peer);
            self.notices.say(notice, Level::Warn, self.now, message);
        }
        log::debug!(
            "{} closed after {}, {}, {}: {reason}",
            conn.peer,
            about(self.now.saturating_duration_since(conn.opened.get())),
            many(conn.frames_read, "frame"),
            many(conn.bytes_read, "byte")
        );
    }
}
