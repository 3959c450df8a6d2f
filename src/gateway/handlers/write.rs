//! From handlers' outboxes to their pipes.

use std::io::{ErrorKind, IoSlice};
use std::time::Instant;

use super::Handlers;
use super::processes::Running;
use crate::core::limits::{WRITE_SLICES, WRITE_TURN};
use crate::gateway::ctx::Ctx;
use crate::runtime::net::{Net, Process};
use crate::runtime::pool::Pool;

impl<N: Net> Handlers<N> {
    /// Writes to every handler what its pipe takes.
    pub fn write_calls<P: Pool>(&mut self, ctx: &mut Ctx<N, P>) {
        for slot in 0..self.processes.len() {
            if let Some(running) = self.processes.running(slot) {
                running.write(ctx.now);
            }
        }
    }

    /// Whether some handler could be written to at once.
    pub(super) fn has_calls_to_write(&self) -> bool {
        self.processes.open().any(|(_, running)| running.writable && !running.outbox.is_empty())
    }
}

impl<H: Process> Running<H> {
    fn write(&mut self, now: Instant) {
        let mut left = WRITE_TURN;
        while left > 0 && self.writable && self.closed.is_none() && !self.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let count = self.outbox.gather(false, left, &mut slices);
            let offered: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            match self.process.write(&slices[..count]) {
                Ok(n) => {
                    self.writable = n == offered;
                    self.outbox.advance(n, drop);
                    left = left.saturating_sub(n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(_) => self.closed = Some(now),
            }
        }
    }
}
