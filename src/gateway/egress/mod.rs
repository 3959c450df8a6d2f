//! Who gets a frame, and what is written to each peer.

pub(in crate::gateway) mod fair;
mod fan_out;
pub(in crate::gateway) mod outbox_item;
pub(in crate::gateway) mod replies;
pub(in crate::gateway) mod router;
mod slow;
mod write;
pub(in crate::gateway) mod writing;

use std::time::Instant;

use router::Router;

use crate::gateway::Config;

/// Who gets what, and what waits to be written.
pub struct Egress {
    router: Router,
    /// When several connections had something new to write, the last time.
    shared_at: Option<Instant>,
}

impl Egress {
    /// Nobody subscribes.
    pub fn new(config: &Config) -> Egress {
        Egress { router: Router::new(config.subscriptions_max(), config.access.is_some()), shared_at: None }
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        self.router.check_invariants();
    }
}
