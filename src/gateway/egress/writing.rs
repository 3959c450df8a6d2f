//! What is written to one connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::outbox_item::OutboxItem;
use crate::core::limits::{PATIENCE_IDLE, PATIENCE_TOTAL};
use crate::gateway::conn::ConnId;
use crate::runtime::net::{Moment, Outbox};

/// What waits to be written to a connection, and whether it takes it.
pub struct Writing {
    pub writable: bool,
    pub dirty: bool,
    pub outbox: Outbox<OutboxItem>,
    pub replies_pending: usize,
    pub last_write: Moment,

    /// Frames dropped for it since the last GAP.
    pub lost: u64,
    pub slow: Option<Box<SlowConsumer>>,
}

/// A subscriber that is behind, and the publishers that it holds up.
#[derive(Debug)]
pub struct SlowConsumer {
    /// Since when.
    pub since: Instant,
    /// Publishers that are not read until it has caught up or patience ends.
    pub holding: VecDeque<ConnId>,
}

impl Writing {
    /// Nothing is meant for it yet.
    pub fn new(now: Moment) -> Writing {
        Writing {
            writable: false,
            dirty: false,
            outbox: Outbox::default(),
            replies_pending: 0,
            last_write: now,
            lost: 0,
            slow: None,
        }
    }

    /// Whether this subscriber reads, only more slowly than others write: for that moment its
    /// publishers are held instead of applying the slow policy to it.
    pub fn is_patient(&self, now: Instant) -> bool {
        self.patience_ends().is_none_or(|end| now < end)
    }

    /// Until when its publishers are held.
    pub fn patience_ends(&self) -> Option<Instant> {
        let slow = self.slow.as_ref()?;
        // Where its socket would take something, it is the gateway that has not written.
        let idle_since = if self.writable { self.slow_since(slow) } else { self.last_write.get() };
        Some((slow.since + PATIENCE_TOTAL).min(idle_since + PATIENCE_IDLE))
    }

    /// When a slow consumer last took something.
    pub fn slow_since(&self, slow: &SlowConsumer) -> Instant {
        self.last_write.get().max(slow.since)
    }

    /// For how long the peer has not taken what is meant for it, if something is.
    pub fn unread_for(&self, now: Instant) -> Option<Duration> {
        (!self.outbox.is_empty()).then(|| now.saturating_duration_since(self.last_write.get()))
    }
}
