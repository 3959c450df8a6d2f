//! From a verdict to sockets: what a frame does, who gets it, and what is written to whom.

pub(in crate::gateway) mod distribute;
pub(in crate::gateway) mod fair;
mod fan_out;
pub(in crate::gateway) mod outbox_item;
pub(in crate::gateway) mod router;
pub(in crate::gateway) mod slow;
pub(in crate::gateway) mod write;
pub(in crate::gateway) mod writing;

use std::time::Instant;

use router::Router;

use crate::gateway::Config;

/// Who gets what, and what waits to be written.
pub struct Egress {
    pub(in crate::gateway) router: Router,
    /// When several connections had something new to write, the last time.
    pub(in crate::gateway) shared_at: Option<Instant>,
}

impl Egress {
    /// Nobody subscribes.
    pub fn new(config: &Config) -> Egress {
        Egress { router: Router::new(config.subscriptions_max()), shared_at: None }
    }
}
