//! What the simulation asserts of the gate after every turn.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::core::limits::{
    BUFFER_OVERHEAD, CONN_BATCHES, CONN_BYTES, GONE, JOBS, LISTED, OUTBOX_ENTRY, READ_MAX, REPLY_MAX, STEP,
    STEPS_ASIDE,
};
use crate::gateway::CloseReason;
use crate::gateway::Gate;
use crate::gateway::conn::stage::Staged;
use crate::gateway::conn::{Conn, State};
use crate::gateway::distribution::Distribution;
use crate::gateway::snapshot::PauseCause;
use crate::runtime::net::{Net, Outbox};
use crate::runtime::pool::Pool;

/// What a gate has taken of the memory, and what it has beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Bytes charged to the memory, and what is kept of it for digests.
    pub charged: usize,
    /// Bytes that are kept to be read into: at most so many buffers, whatever is charged.
    pub spare: usize,
    /// Bytes of the slots of connections; they are not given back when connections end.
    pub slots: usize,
    /// Connections now.
    pub connections: usize,
    /// Bytes that it notes for the simulation alone.
    pub noted: usize,
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// What it holds, by its own account.
    pub fn holdings(&self) -> Holdings {
        Holdings {
            charged: self.ctx.memory.used() + self.ctx.memory.kept(),
            spare: self.ctx.memory.spare() * READ_MAX,
            slots: self.conns.slots() * (size_of::<Conn<N::Socket>>() + size_of::<usize>()),
            connections: self.conns.len(),
            noted: self.observe.closed.capacity() * size_of::<(SocketAddr, CloseReason)>(),
        }
    }

    /// Bytes that are charged, or will be as soon as the answers come that always have their room.
    pub fn memory_wanted(&self) -> usize {
        let used = self.ctx.memory.used();
        let [.., answers, _] = self.ctx.memory.charged();
        used.max(used - answers + self.ctx.memory.answer_floor())
    }

    /// 5. No bound is exceeded, and what is counted agrees with what is there.
    ///
    /// `memory_max` is the memory's limit, or what was charged when that was lowered and is not given
    /// back yet.
    ///
    /// # Panics
    /// If that is not so.
    pub fn check_invariants(&self, memory_max: usize) {
        assert!(self.ctx.jobs <= JOBS);
        assert!(self.conns.sockets() <= self.ctx.config.connections_max);
        let gone = self.conns.iter().filter(|conn| conn.socket.is_none()).count();
        assert_eq!(self.conns.gone(), gone);
        let armed = self.conns.iter().filter(|conn| conn.armed.is_some()).count();
        assert_eq!(self.conns.deadlines.len(), armed, "5: deadlines of nobody");
        // Not asked for in advance: the last reply of a connection, a GAP, the entries of outboxes, what a run of its
        // own buffer takes more than its part of a shared one, and what a SUBSCRIBE takes more than its frame.
        let unasked = self.conns.len() * 4 * (REPLY_MAX + BUFFER_OVERHEAD)
            + self.conns.entries() * (OUTBOX_ENTRY + BUFFER_OVERHEAD)
            + gone * GONE
            + self.distribution.acks.cost()
            + self.unasked_of_calls()
            + self.ctx.memory.subscriptions();
        let used = self.ctx.memory.used();
        let [.., answers, _] = self.ctx.memory.charged();
        // Under a limit that was lowered, answers have their room all the same: nothing is given back before they
        // come.
        let lowered = memory_max > self.ctx.memory.limit() && answers <= self.ctx.memory.answer_floor();
        let beside = if lowered { answers } else { 0 };
        assert!(used - beside <= memory_max + unasked, "5: {used} bytes of {memory_max}");
        self.check_stages();
        self.handlers.check_invariants();
        self.ingress.check_invariants(&self.conns);
        self.ctx.secure.check_invariants(&self.conns);
        let Distribution { egress, acks, fragments, .. } = &self.distribution;
        egress.check_invariants();
        acks.check_invariants(&self.conns);
        fragments.check_invariants();
        let (subscriptions, most) = (egress.subscriptions_bytes(), self.ctx.config.subscriptions_max());
        assert!(subscriptions <= most, "5: subscriptions take {subscriptions} of {most}");
        assert_eq!(
            self.conns.entries(),
            self.conns.iter().map(|conn| conn.writing.outbox.len()).sum::<usize>()
        );
        let runnable: HashSet<_> = self.conns.due.runnable.iter().collect();
        let dirty: HashSet<_> = self.conns.due.dirty.iter().collect();
        for conn in self.conns.iter() {
            assert!(
                conn.order.window.len() <= CONN_BATCHES + 1,
                "5: a batch and a fault after the last credit"
            );
            assert!(
                (conn.order.bytes_in_flight as usize) < CONN_BYTES + READ_MAX,
                "5: one read after the last credit"
            );
            assert_eq!(conn.reading.queued, runnable.contains(&conn.id));
            assert_eq!(conn.writing.dirty, dirty.contains(&conn.id));
            let is_marked = conn.is_marked || matches!(conn.state, State::Ending | State::Lost);
            assert!(!is_marked, "its next step was taken before the turn ended");
            assert_eq!(conn.reading.waiting.is_some(), self.wait_queues.contains(conn.id));
            if conn.state == State::Gone {
                assert!(
                    Outbox::is_empty(&conn.writing.outbox)
                        && !conn.order.is_distributed()
                        && conn.socket.is_none(),
                    "what is gone waits only for what it sent"
                );
            }
            let holding = conn.writing.slow.iter().flat_map(|slow| &slow.holding);
            for held in holding {
                assert!(self.conns.get(*held).is_none_or(|held| held.reading.held_by == Some(conn.id)));
            }
            if let Some(by) = conn.reading.held_by {
                let holder = self.conns.get(by).and_then(|by| by.writing.slow.as_ref());
                assert!(holder.is_some_and(|slow| slow.holding.contains(&conn.id)), "held by nobody");
            }
        }
        let most = 2 * self.conns.len() + LISTED + 1;
        assert!(self.wait_queues.longest() <= most, "5: names of those that are no more stand in line");
        // Panics if a frame has more than one fate.
        self.ctx.ledger.in_flight();
    }

    /// What is charged for steps that are no calls, which are few, and for what handlers logged.
    fn unasked_of_calls(&self) -> usize {
        let controls =
            self.conns.iter().filter_map(|conn| conn.order.stage.as_ref()).map(|stage| stage.controls);
        let logged = self.handlers.logged();
        controls.sum::<usize>() * STEP + logged
    }

    /// What is counted of stages agrees with what is there.
    fn check_stages(&self) {
        let stages = || self.conns.iter().filter_map(|conn| conn.order.stage.as_ref());
        let frames = stages().map(|stage| stage.frames).sum::<u64>();
        let waiting = stages().map(|stage| stage.lined_up()).sum::<u64>();
        assert_eq!(self.conns.staged(), Staged { frames, waiting });
        let held = stages().map(|stage| stage.held_replies as usize).sum::<usize>();
        let replies = self.distribution.fragments.replies();
        assert!(held <= replies, "a reply is pending to a part that is not held");
        for stage in stages() {
            assert!(stage.lined_up() <= stage.frames);
            assert!(stage.controls <= STEPS_ASIDE, "5: {} steps that are no calls", stage.controls);
            let held = stage.answered / STEP + stage.controls;
            let most = 2 * (self.handlers.begun_now() + held);
            assert!(stage.steps.entries() <= most, "5: {} entries of steps", stage.steps.entries());
            let has_replies = stage.pending_replies > 0 || stage.held_replies > 0;
            let is_used = stage.frames > 0 || has_replies || stage.over || stage.hashing;
            assert!(is_used, "an empty stage is kept");
        }
    }

    /// 7. Nothing is left.
    ///
    /// # Panics
    /// If something is.
    pub fn check_empty(&self) {
        assert!(self.conns.is_empty() && self.conns.entries() == 0 && self.ctx.jobs == 0);
        assert!(self.ingress.in_flight() == 0 && self.conns.staged() == Staged::default());
        assert!(self.handlers.is_empty() && self.ctx.memory.waiting() == 0, "7: calls of nobody");
        let Distribution { egress, acks, fragments, .. } = &self.distribution;
        assert!(acks.is_idle() && !acks.has_pending_replies(), "7: tickets for nothing");
        assert!(fragments.is_empty(), "7: parts of nothing");
        assert!(egress.has_no_subscribers() && egress.subscriptions_bytes() == 0, "7: patterns of nobody");
        assert_eq!(self.ctx.memory.used(), 0, "7: memory is charged for nothing");
    }

    /// How many connections were reset while they were not read for this cause.
    pub fn reset_while(&self, cause: PauseCause) -> u64 {
        self.observe.reset_while[cause as usize]
    }

    /// Who was closed, and why.
    pub fn closed(&self) -> &[(SocketAddr, CloseReason)] {
        &self.observe.closed
    }
}
