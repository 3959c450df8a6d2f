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
        self.timing.end_turn(now.saturating_duration_since(self.now));
        let timeout = self.next_deadline().map(|at| at.saturating_duration_since(now));
        let timeout = match timeout {
            Some(Duration::ZERO) => timeout,
            _ if self.help() => Some(Duration::ZERO),
            // A verdict that came since the last look is as good as an event.
            _ if !self.pool.prepare_sleep() => Some(Duration::ZERO),
            _ if !self.sinks.prepare_sleep() => Some(Duration::ZERO),
            _ => timeout,
        };
        let result = self.net.poll(timeout, events);
        self.pool.end_sleep();
        self.sinks.end_sleep();
        self.check_threads()?;
        result
    }

    /// A thread that panicked brings nothing back any more, so its connections would stand still for ever.
    fn check_threads(&self) -> std::io::Result<()> {
        let failure = self.pool.failure();
        let failure = failure.or_else(|| self.sinks.failure());
        failure.map_or(Ok(()), |why| Err(std::io::Error::other(why)))
    }

    /// Rather than wait for workers that cannot keep up, does one of the jobs that wait for them. Whether
    /// there was one.
    pub(crate) fn help(&mut self) -> bool {
        let helped = self.pool.help();
        self.ledger.verified.helped += u64::from(helped);
        helped
    }

    /// When the next turn must be at the latest; none if only an event can bring something.
    pub fn next_deadline(&self) -> Option<Instant> {
        let at_once = !self.conns.due.runnable.is_empty()
            || !self.conns.due.dirty.is_empty()
            || self.acceptor.is_ready(self.now)
            || self.surveyor.is_asked()
            || self.assembly.has_to_hash()
            || self.router.is_leaving()
            || self.nothing_comes() && !self.assembly.is_empty() && self.assembly.is_quiet()
            || self.sinks.may_wake(self.memory.limit());
        if at_once || self.has_answers() || self.has_calls_to_write() || self.has_calls_to_repeat() {
            return Some(self.now);
        }
        [
            self.deadlines.next(),
            self.acceptor.retry_at(),
            self.lines.reclaim_at(),
            // Once it is over, handlers alone are waited for.
            self.draining.filter(|&until| until > self.now),
            self.keeper.next_deadline(),
            self.assembly.next_deadline(self.now),
            self.calling.handlers.next_deadline(self.now),
            self.calling.with_workers.next_deadline(self.now),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
