//! Between two turns: until when there is nothing to do.

use std::time::{Duration, Instant};

use super::Gate;
use crate::runtime::net::{Event, Net};
use crate::runtime::pool::Pool;

impl<N: Net, P: Pool> Gate<N, P> {
    /// Waits from `now` until there is something to do, then adds what the network says to `events`.
    ///
    /// # Errors
    /// What the system says; or that a thread beside this one panicked.
    pub fn poll(&mut self, now: Instant, events: &mut Vec<Event>) -> std::io::Result<()> {
        self.ctx.timing.end_turn(now.saturating_duration_since(self.ctx.now));
        let timeout = self.next_deadline().map(|at| at.saturating_duration_since(now));
        let timeout = match timeout {
            Some(Duration::ZERO) => timeout,
            _ if self.help() => Some(Duration::ZERO),
            // A verdict that came since the last look is as good as an event.
            _ if !self.ctx.pool.prepare_sleep() => Some(Duration::ZERO),
            _ if !self.distribution.acks.prepare_sleep() => Some(Duration::ZERO),
            _ if !self.distribution.durables.prepare_sleep() => Some(Duration::ZERO),
            _ => timeout,
        };
        let result = self.ctx.net.poll(timeout, events);
        self.ctx.pool.end_sleep();
        self.distribution.acks.end_sleep();
        self.distribution.durables.end_sleep();
        self.check_threads()?;
        result
    }

    /// A thread that panicked brings nothing back any more, so its connections would stand still for ever.
    fn check_threads(&self) -> std::io::Result<()> {
        let failure = self.ctx.pool.failure();
        let failure = failure.or_else(|| self.distribution.acks.failure());
        let failure = failure.or_else(|| self.distribution.durables.failure());
        failure.map_or(Ok(()), |why| Err(std::io::Error::other(why)))
    }

    /// Rather than wait for workers that cannot keep up, does one of the jobs that wait for them. Whether
    /// there was one.
    pub(crate) fn help(&mut self) -> bool {
        let helped = self.ctx.pool.help();
        self.ctx.ledger.verified.helped += u64::from(helped);
        helped
    }

    /// When the next turn must be at the latest; none if only an event can bring something.
    pub fn next_deadline(&self) -> Option<Instant> {
        let at_once = !self.conns.due.runnable.is_empty()
            || !self.conns.due.dirty.is_empty()
            || self.wait_queues.go_on()
            || self.acceptor.is_ready(self.ctx.now)
            || self.observe.is_surveyed()
            || self.ctx.access.goes_on()
            || self.ctx.secure.goes_on()
            || self.distribution.fragments.has_to_hash()
            || self.distribution.egress.has_to_sweep()
            || self.distribution.durables.goes_on()
            || self.nothing_comes()
                && !self.distribution.fragments.is_empty()
                && self.distribution.fragments.is_quiet()
            || self.distribution.acks.may_wake(&self.ctx);
        if at_once || self.handlers.go_on(&self.conns, &self.ctx, &self.distribution) {
            return Some(self.ctx.now);
        }
        [
            self.conns.deadlines.next(),
            self.acceptor.retry_at(),
            self.wait_queues.reclaim_at(),
            // Once it is over, handlers alone are waited for.
            self.ctx.draining.filter(|&until| until > self.ctx.now),
            self.pause_state.next_deadline(),
            self.distribution.fragments.next_deadline(self.ctx.now),
            self.handlers.next_deadline(self.ctx.now),
            self.ctx.access.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
