//! Calls of a handler in Rust, which the workers call.
//!
//! A process that does not answer is killed; a thread cannot be. So when a call takes longer than the handlers'
//! timeout, its frame is refused and what is behind it in its connection's order goes on. What the call answers later
//! is thrown away, and until then its thread is busy: it counts as a call in flight, and verifies nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Call, Downstream, Handlers};
use crate::core::units::{many, plain};
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::Status;

/// The calls that the workers have, by their numbers and so in the order in which they get them.
pub struct WithWorkers {
    timeout: Duration,
    calls: BTreeMap<u64, Had>,
    /// How many of them are late.
    late: usize,
}

/// A call that a worker has, or will.
struct Had {
    /// None where it took too long, and its frame was refused.
    call: Option<Box<Call>>,
    /// When its worker began.
    begun: Arc<OnceLock<Instant>>,
}

impl WithWorkers {
    /// None yet. Each may take `timeout`.
    pub fn new(timeout: Duration) -> WithWorkers {
        WithWorkers { timeout, calls: BTreeMap::new(), late: 0 }
    }

    /// How many there are, those that are late among them.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// One more. Where its worker says when it begins.
    pub fn insert(&mut self, number: u64, call: Call) -> Arc<OnceLock<Instant>> {
        let begun = Arc::new(OnceLock::new());
        self.calls.insert(number, Had { call: Some(Box::new(call)), begun: begun.clone() });
        begun
    }

    /// Its worker is done with it: the call, or nothing in it where it was late. None of one that was forgotten.
    pub fn remove(&mut self, number: u64) -> Option<Option<Box<Call>>> {
        let had = self.calls.remove(&number)?;
        self.late -= usize::from(had.call.is_none());
        Some(had.call)
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.calls.clear();
        self.late = 0;
    }

    /// When the next of them is late, at the soonest. Workers take them in their order, so it is the first that is not
    /// late yet; one that has not begun by now has all of its time left.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let first = self.calls.values().find(|had| had.call.is_some())?;
        let begun = first.begun.get().copied().unwrap_or(now);
        Some(begun.checked_add(self.timeout).unwrap_or(now + Duration::from_secs(3600)))
    }

    fn take_late(&mut self, now: Instant) -> Option<Box<Call>> {
        let timeout = self.timeout;
        let had = self.calls.values_mut().find(|had| had.call.is_some())?;
        let begun = *had.begun.get()?;
        if now.saturating_duration_since(begun) < timeout {
            return None;
        }
        self.late += 1;
        had.call.take()
    }
}

impl<N: Net> Handlers<N> {
    /// Refuses the frames whose calls take too long.
    pub fn refuse_late_calls<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>) {
        while let Some(mut call) = self.with_workers.take_late(to.ctx.now) {
            // Its thread is still counted.
            self.ahead -= usize::from(std::mem::take(&mut call.ahead));
            let (timeout, late) = (self.with_workers.timeout, self.with_workers.late);
            to.ctx.ledger.calls.failed += 1;
            let peer = to.conns[call.conn].named();
            let frame = call.frame.iter().next().expect("it is one frame");
            let message = format_args!(
                "the handler gave no answer for {timeout:?} to the frame {} of {} (topic '{}', key {}, {} bytes): it is \
                 REJECTED, and the handler keeps {} of {} until it returns",
                call.header.id,
                peer,
                plain(&String::from_utf8_lossy(frame.topic)),
                call.header.key,
                call.header.payload_len,
                many(late as u64, "thread"),
                to.ctx.pool.workers(),
            );
            to.ctx.notices.say(Notice::HandlerFailed, log::Level::Error, to.ctx.now, message);
            let reason = format_args!("the handler gave no answer for {timeout:?}");
            self.refuse_call(to, *call, Status::Rejected, reason);
        }
    }
}
