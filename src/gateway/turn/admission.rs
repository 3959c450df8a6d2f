//! Who may be read: credits, and what is waited for.
//!
//! What a socket waits for follows from what is held at that moment; no flag can disagree with it.

use crate::core::limits::{
    BEGUN_RESERVE, BUFFER_OVERHEAD, CONN_BATCHES, CONN_BYTES, LARGE_BACKLOG, LIGHT_MIN, READ_MAX, READ_MIN,
    READ_NEW, REPLIES_UNREAD, read_need,
};
use crate::core::memory::Share;
use crate::gateway::Gate;
use crate::gateway::conn::{Conn, State};
use crate::gateway::ingress::read::ReadMode;
use crate::gateway::ingress::wait_queues::WaitQueue;
use crate::gateway::snapshot::PauseCause;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

/// What a connection that is ready to be read may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Be read.
    Read(ReadMode),
    /// Wait in a queue.
    Wait(WaitQueue, PauseCause),
    /// Not now; when the reason is gone it is marked runnable.
    Blocked(PauseCause),
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// What the connection may do now, and in which queue it is first, if in one. It does not pass those who wait
    /// in another, unless what it needs is set aside for it.
    pub(super) fn admission(&self, conn: &Conn<N::Socket>, first_in: Option<WaitQueue>) -> Admission {
        let passes = |queue| first_in == Some(queue) || !self.wait_queues.is_waited_for(queue);
        // Those that hold little are before all that hold more.
        let (small, reserve) = match conn.holds_little() {
            true => (WaitQueue::Light, BEGUN_RESERVE),
            false => (WaitQueue::Heavy, LIGHT_MIN),
        };
        let passes_small = passes(small) && passes(WaitQueue::Light);
        match conn.state {
            State::Open => {}
            State::Ending | State::Closing | State::Lingering => return Admission::Read(ReadMode::Discard),
            State::Draining | State::Lost | State::Gone => {
                let drains = self.ctx.draining.is_some();
                let cause = if drains { PauseCause::Draining } else { PauseCause::Ending };
                return Admission::Blocked(cause);
            }
        }
        if self.pause_state.is_paused() {
            return Admission::Blocked(PauseCause::Operator);
        }
        if conn.order.window.len() >= CONN_BATCHES || conn.order.bytes_in_flight as usize >= CONN_BYTES {
            return Admission::Blocked(PauseCause::InFlight);
        }
        if conn.dialect.as_ref().is_some_and(|dialect| dialect.is_keeping()) {
            // What the frames in flight make known is wanted for those behind them.
            return Admission::Blocked(PauseCause::InFlight);
        }
        if conn.reading.held_by.is_some() {
            return Admission::Blocked(PauseCause::Subscriber);
        }
        if conn.writing.replies_pending >= REPLIES_UNREAD {
            return Admission::Blocked(PauseCause::Replies);
        }
        if self.handlers.answers() {
            if !self.handlers.may_read(conn, self.ingress.frames_in_flight()) || conn.order.is_overtaken() {
                return Admission::Blocked(PauseCause::Handlers);
            }
        } else if conn.order.is_parked() {
            return Admission::Blocked(PauseCause::Parts);
        }
        // A connection that has published nothing yet may subscribe, or publish a first batch, but no large frame.
        let sinks_have_room = self.distribution.acks.has_room(&self.ctx);
        if !sinks_have_room && (conn.traffic.publishes || !self.distribution.acks.may_read_first(&self.ctx)) {
            return Admission::Blocked(PauseCause::Sinks);
        }
        // A read hands over at most one batch or one piece.
        let are_others_before = first_in.is_none() && self.wait_queues.is_waited_for(WaitQueue::Workers);
        if !self.ctx.takes_jobs() || self.distribution.fragments.is_behind() || are_others_before {
            return Admission::Wait(WaitQueue::Workers, PauseCause::Workers);
        }
        if let Some(large) = conn.reading.larges.last().filter(|large| !large.is_received()) {
            return match large.backlog() < LARGE_BACKLOG {
                true => Admission::Read(ReadMode::Large),
                false => Admission::Blocked(PauseCause::InFlight),
            };
        }
        if conn.dialect.as_ref().is_some_and(|dialect| dialect.is_large()) {
            return Admission::Read(ReadMode::Large);
        }
        let begun = conn.reading.partial.as_ref().and_then(|partial| partial.begun);
        if let Some(large) = begun.filter(|begun| begun.len() > READ_MAX) {
            if !sinks_have_room {
                return Admission::Blocked(PauseCause::Sinks);
            }
            let need = large.len() + BUFFER_OVERHEAD;
            // As a native frame it has its own header, and its answer.
            let room = conn.dialect.as_ref().map_or(0, |dialect| dialect.layout.room(1, large.len()));
            let has_room = self.ctx.memory.has_room(Share::Large, need)
                && (room == 0 || self.ctx.memory.has_room(Share::Small, room));
            return match passes(WaitQueue::Large) && has_room {
                true => Admission::Read(ReadMode::BeginLarge),
                false => Admission::Wait(WaitQueue::Large, PauseCause::Memory),
            };
        }
        let may_begin = passes(WaitQueue::Heavy);
        if let Some(need) = conn.reading.asked() {
            let is_granted = may_begin && self.ctx.memory.has_room(Share::Begun, need);
            let filled_max = begun.map_or(0, |begun| begun.len());
            return match is_granted {
                true => Admission::Read(ReadMode::Small { filled_max, has_room: false, may_begin }),
                false => Admission::Wait(WaitQueue::Heavy, PauseCause::Memory),
            };
        }
        // What is short is given out in small portions: a hundred that took large ones would keep everybody else waiting for
        // as long as it takes until those are done. Of somebody new it is not known whether it sends a whole frame at all.
        let waited = matches!(first_in, Some(WaitQueue::Light | WaitQueue::Heavy));
        let portion = match waited {
            true if conn.traffic.frames_read == 0 => READ_NEW,
            false if !self.handlers.are_crowded(self.ingress.frames_in_flight()) => READ_MAX,
            _ => READ_MIN,
        };
        let filled_max = conn.reading.fill_max(portion);
        match begun {
            _ if passes_small && self.ctx.memory.has_room(Share::Small, read_need(filled_max) + reserve) => {
                Admission::Read(ReadMode::Small { filled_max, has_room: true, may_begin })
            }
            // The frame that it began can always be finished.
            Some(begun) => {
                Admission::Read(ReadMode::Small { filled_max: begun.len(), has_room: false, may_begin })
            }
            None => Admission::Wait(small, PauseCause::Memory),
        }
    }
}
