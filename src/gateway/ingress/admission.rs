//! Who may be read: credits, and the lines of those who wait for memory.
//!
//! What a socket waits for follows from what is held at that moment; no flag can disagree with it.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::core::limits::{
    BUFFER_OVERHEAD, CONN_BATCHES, CONN_BYTES, GONE, LARGE_BACKLOG, OUTBOX_ENTRY, READ_MAX, RECLAIM_AFTER,
    RECLAIM_ENTRIES, RECLAIM_SHARE, RECLAIM_TURN, REPLIES_UNREAD, read_need,
};
use crate::core::memory::Share;
use crate::gateway::CloseReason;
use crate::gateway::conn::{Conn, ConnId, State};
use crate::gateway::snapshot::PauseCause;
use crate::gateway::{Gate, SlowPolicy};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;

/// What a connection that is ready to be read may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Admission {
    /// Be read.
    Read(Way),
    /// Wait in line.
    Wait(WaitQueue, PauseCause),
    /// Not now; whoever lifts the reason marks it runnable.
    Blocked(PauseCause),
}

/// How a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the lent buffer, at most until so many bytes are in it.
    Small { filled_max: usize },
    /// Into the large frame that it began.
    Large,
    /// The large frame begins whose header came.
    BeginLarge,
    /// To throw it away.
    Discard,
}

/// What is waited for in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitQueue {
    /// Room in the queues to the workers. It is a line of its own: whoever stands in it may hold the memory that
    /// others wait for, and need none to go on.
    Workers,
    /// Memory for small frames.
    Small,
    /// Memory for a large frame.
    Large,
}

/// Connections that wait for memory or for room in the queues, in the order in which they came.
#[derive(Debug, Default)]
pub struct WaitQueues {
    workers: VecDeque<ConnId>,
    small: VecDeque<ConnId>,
    large: VecDeque<ConnId>,
    /// Since when someone waits and nobody went on.
    starved_since: Option<Instant>,
    /// When to look for someone who holds memory and has stalled.
    reclaim_at: Option<Instant>,
    /// Memory is being taken back, and there is not enough of it yet.
    is_reclaiming: bool,
    /// When it was looked whether to begin before someone waits.
    early_at: Option<Instant>,
    /// A turn had read enough before everyone who could go on did.
    is_cut: bool,
}

/// 100 ms until the next look for someone who stalled, where none was found.
const RECLAIM_RETRY: Duration = Duration::from_millis(100);

impl WaitQueues {
    /// Whether someone goes on in the next turn.
    pub fn go_on(&self) -> bool {
        self.is_cut
    }

    pub fn reclaim_at(&self) -> Option<Instant> {
        self.reclaim_at
    }

    /// How many wait for memory for small frames, and for a large one.
    pub fn lengths(&self) -> [u64; 2] {
        [self.small.len() as u64, self.large.len() as u64]
    }

    /// Whether the connection stands in a line.
    #[cfg(any(test, feature = "check"))]
    pub fn contains(&self, id: ConnId) -> bool {
        [&self.workers, &self.small, &self.large].into_iter().any(|line| line.contains(&id))
    }

    /// How long the longest of them is.
    #[cfg(any(test, feature = "check"))]
    pub fn longest(&self) -> usize {
        [&self.workers, &self.small, &self.large].into_iter().map(VecDeque::len).max().unwrap_or(0)
    }

    fn of(&mut self, line: WaitQueue) -> &mut VecDeque<ConnId> {
        match line {
            WaitQueue::Workers => &mut self.workers,
            WaitQueue::Small => &mut self.small,
            WaitQueue::Large => &mut self.large,
        }
    }

    fn is_waited_for(&self, line: WaitQueue) -> bool {
        match line {
            WaitQueue::Workers => !self.workers.is_empty(),
            WaitQueue::Small => !self.small.is_empty(),
            WaitQueue::Large => !self.large.is_empty(),
        }
    }

    fn are_empty(&self) -> bool {
        self.workers.is_empty() && self.small.is_empty() && self.large.is_empty()
    }
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// What the connection may do now, and in which line it is first, if in one. It does not pass those who wait
    /// in another, unless what it needs is set aside for it.
    pub(in crate::gateway) fn admission(
        &self,
        conn: &Conn<N::Socket>,
        first_in: Option<WaitQueue>,
    ) -> Admission {
        let passes = |line| first_in == Some(line) || !self.ingress.lines.is_waited_for(line);
        match conn.state {
            State::Open => {}
            State::Ending | State::Closing | State::Lingering => return Admission::Read(Way::Discard),
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
        if conn.reading.held_by.is_some() {
            return Admission::Blocked(PauseCause::Subscriber);
        }
        if conn.writing.replies_pending >= REPLIES_UNREAD {
            return Admission::Blocked(PauseCause::Replies);
        }
        if self.calling.answers() {
            if !self.calling.may_read(conn.id) || conn.order.is_overtaken() {
                return Admission::Blocked(PauseCause::Handlers);
            }
        } else if conn.order.is_parked() {
            return Admission::Blocked(PauseCause::Parts);
        }
        // Whoever has published nothing yet may subscribe, or publish a first batch, but no large frame.
        let sinks_have_room = self.sinks_have_room();
        if !sinks_have_room && (conn.traffic.publishes || !self.may_read_first()) {
            return Admission::Blocked(PauseCause::Sinks);
        }
        // A read hands over at most one batch or one piece.
        let are_others_before = first_in.is_none() && self.ingress.lines.is_waited_for(WaitQueue::Workers);
        if !self.ctx.takes_jobs() || self.fragments.is_behind() || are_others_before {
            return Admission::Wait(WaitQueue::Workers, PauseCause::Workers);
        }
        if let Some(large) = conn.reading.larges.last().filter(|large| !large.is_received()) {
            return match large.backlog() < LARGE_BACKLOG {
                true => Admission::Read(Way::Large),
                false => Admission::Blocked(PauseCause::InFlight),
            };
        }
        let begun = conn.reading.partial.as_ref().and_then(|partial| partial.header);
        if let Some(header) = begun.filter(|header| header.frame_len() > READ_MAX) {
            if !sinks_have_room {
                return Admission::Blocked(PauseCause::Sinks);
            }
            let need = header.frame_len() + BUFFER_OVERHEAD;
            return match passes(WaitQueue::Large) && self.ctx.memory.has_room(Share::Large, need) {
                true => Admission::Read(Way::BeginLarge),
                false => Admission::Wait(WaitQueue::Large, PauseCause::Memory),
            };
        }
        let filled_max = conn.reading.fill_max();
        match begun {
            _ if passes(WaitQueue::Small)
                && self.ctx.memory.has_room(Share::Small, read_need(filled_max)) =>
            {
                Admission::Read(Way::Small { filled_max })
            }
            // The frame that it began can always be finished.
            Some(header) => Admission::Read(Way::Small { filled_max: header.frame_len() }),
            None => Admission::Wait(WaitQueue::Small, PauseCause::Memory),
        }
    }

    /// A connection that is ready is not read now: it waits for what it lacks, unless it is over.
    pub(in crate::gateway) fn leave_unread(
        &mut self,
        id: ConnId,
        cause: PauseCause,
        line: Option<WaitQueue>,
    ) {
        if self.is_over_unread(id, cause) {
            return;
        }
        let conn = &mut self.conns[id];
        self.observe.pauses.begin(conn, cause, self.ctx.now);
        match (line, cause) {
            (Some(line), _) => self.wait_in_line(id, line),
            (None, PauseCause::Sinks) => {
                if !std::mem::replace(&mut conn.reading.sink_held, true) {
                    self.acks.sinks.hold(id, &self.conns);
                }
            }
            (None, _) => self.wait_for_calls(id),
        }
        self.conns.arm(id, &self.ctx.config);
    }

    /// Puts a connection in line.
    fn wait_in_line(&mut self, id: ConnId, line: WaitQueue) {
        let conn = &mut self.conns[id];
        if conn.reading.waiting.is_none() {
            conn.reading.waiting = Some(line);
            self.conns.enlist(id, self.ingress.lines.of(line));
            self.ingress.lines.starved_since.get_or_insert(self.ctx.now);
            self.ingress.lines.reclaim_at.get_or_insert(self.ctx.now + RECLAIM_AFTER);
        }
    }

    /// Lets those in line go on, first come, first served, as far as there is room.
    pub(in crate::gateway) fn resume_lines(&mut self) {
        self.charge_entries();
        let mut went_on = false;
        self.ingress.lines.is_cut = false;
        for line in [WaitQueue::Workers, WaitQueue::Large, WaitQueue::Small] {
            went_on |= self.resume_line(line);
        }
        if self.ingress.lines.is_reclaiming {
            // Whether or not somebody went on meanwhile: with the little that one peer gave back it would begin again.
            self.reclaim();
        } else if self.has_to_reclaim_early() {
            self.reclaim();
        } else if self.ingress.lines.are_empty() {
            self.ingress.lines.starved_since = None;
            self.ingress.lines.reclaim_at = None;
        } else if went_on || self.ingress.lines.starved_since.is_none() {
            self.ingress.lines.starved_since = Some(self.ctx.now);
            self.ingress.lines.reclaim_at = Some(self.ctx.now + RECLAIM_AFTER);
        } else if self.ingress.lines.reclaim_at.is_some_and(|at| at <= self.ctx.now) {
            self.reclaim();
        }
    }

    /// Charges the outboxes' entries and the subscriptions as they are now.
    pub(in crate::gateway) fn charge_entries(&self) {
        let tickets = self.acks.sinks.cost();
        let gone = self.conns.gone() * GONE;
        self.ctx
            .memory
            .set_entries(self.conns.entries * OUTBOX_ENTRY + tickets + gone + self.fragments.cost());
        self.ctx.memory.set_subscriptions(self.egress.router.bytes());
    }

    /// Whether some connection went on.
    fn resume_line(&mut self, line: WaitQueue) -> bool {
        let mut went_on = false;
        // Whoever comes back into the line in this turn waits for the next.
        for _ in 0..self.ingress.lines.of(line).len() {
            let Some(&id) = self.ingress.lines.of(line).front() else { break };
            if !self.ctx.fair.may_read() {
                // They go on in the next turn, and nothing keeps them from it but this one's share.
                self.ingress.lines.is_cut = true;
                return true;
            }
            let verdict = self.conns.get(id).map(|conn| self.admission(conn, Some(line)));
            let waits_on = |verdict| matches!(verdict, Some(Admission::Wait(what, _)) if what == line);
            if waits_on(verdict) {
                break;
            }
            self.ingress.lines.of(line).pop_front();
            if let Some(conn) = self.conns.get_mut(id) {
                conn.reading.waiting = None;
                self.read_one(id, Some(line));
                went_on |= !matches!(verdict, Some(Admission::Wait(..)));
            }
        }
        went_on
    }

    /// Whether to take memory back though nobody has waited for long: it is nearly full, and much of that is held by
    /// peers that have stalled. They have had their time; with what comes next, everyone else would wait as long.
    fn has_to_reclaim_early(&mut self) -> bool {
        let is_due = self.ingress.lines.early_at.is_none_or(|at| at <= self.ctx.now);
        if !is_due || self.ctx.memory.small_is_eased() {
            return false;
        }
        self.ingress.lines.early_at = Some(self.ctx.now + RECLAIM_RETRY);
        let held: usize = self.conns.iter().map(|conn| self.reclaimable(conn)).sum();
        held >= self.ctx.memory.small_may() / RECLAIM_SHARE
    }

    /// Takes memory back from the peers that hold most of it and have stalled, so that those who stall cannot keep
    /// everyone else waiting, however many they are: from one at least, and from as many as it takes until small
    /// frames have room again, some of them a turn.
    fn reclaim(&mut self) {
        let reclaimable = |conn: &Conn<N::Socket>| (self.reclaimable(conn), conn.id);
        let mut stalled: Vec<_> =
            self.conns.iter().map(reclaimable).filter(|&(bytes, _)| bytes > 0).collect();
        stalled.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        let mut is_enough = false;
        let enough_entries = self.conns.entries.saturating_sub(RECLAIM_ENTRIES);
        for &(bytes, id) in stalled.iter().take(RECLAIM_TURN) {
            log::debug!("{bytes} bytes are taken back");
            self.give_up_stalled(id);
            // Its memory is free when its end is seen to.
            self.settle_ending();
            self.charge_entries();
            is_enough = self.ctx.memory.small_is_eased();
            if is_enough || self.conns.entries < enough_entries {
                break;
            }
        }
        // What that freed is used in the next turn; there may be more to take back after it.
        let lines = &mut self.ingress.lines;
        lines.is_reclaiming = !is_enough && !stalled.is_empty();
        let next = if stalled.is_empty() { self.ctx.now + RECLAIM_RETRY } else { self.ctx.now };
        lines.reclaim_at = (lines.is_reclaiming || !lines.are_empty()).then_some(next);
        if lines.are_empty() {
            lines.starved_since = None;
        }
    }

    /// Bytes that giving up a peer would free (at most: others may share them).
    fn reclaimable(&self, conn: &Conn<N::Socket>) -> usize {
        let stalled = |time: Option<Duration>| time.is_some_and(|time| time >= RECLAIM_AFTER);
        let unread = match self.ctx.config.slow {
            // Its publishers wait by choice, for as long as the slow timeout says.
            SlowPolicy::Pause => conn.writing.replies_pending,
            SlowPolicy::Disconnect | SlowPolicy::Drop => conn.writing.outbox.pending(),
        };
        match conn.state {
            State::Open | State::Draining => {
                let unread = if stalled(conn.writing.unread_for(self.ctx.now)) { unread } else { 0 };
                let begun = if stalled(conn.reading.stalled_for(self.ctx.now)) {
                    conn.reading.begun_charge()
                } else {
                    0
                };
                unread + begun
            }
            // It was to have time for its last word.
            State::Closing if stalled(conn.writing.unread_for(self.ctx.now)) => conn.writing.outbox.pending(),
            State::Ending | State::Closing | State::Lingering | State::Lost | State::Gone => 0,
        }
    }

    fn give_up_stalled(&mut self, id: ConnId) {
        let conn = &self.conns[id];
        if conn.state == State::Closing {
            return self.conns.lose(id, CloseReason::Reclaimed);
        }
        let behind = conn.writing.unread_for(self.ctx.now).is_some_and(|time| time >= RECLAIM_AFTER);
        let begun = conn.reading.stalled_for(self.ctx.now).is_some_and(|time| time >= RECLAIM_AFTER);
        if begun {
            self.conns.close(id, CloseReason::Reclaimed, 0);
        } else if behind {
            // Under the drop policy a subscriber is closed only where nothing is left to drop.
            let drops = self.ctx.config.slow == SlowPolicy::Drop
                && self.egress.drop_oldest(&mut self.conns, &mut self.ctx, id, 0);
            if !drops {
                self.conns.close(id, CloseReason::Slow, 0);
            }
        }
    }
}
