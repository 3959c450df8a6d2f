//! Who gets a frame, and what is written to whom.

pub(in crate::gateway) mod fair;
mod fan_out;
pub(in crate::gateway) mod outbox_item;
pub(in crate::gateway) mod replies;
pub(in crate::gateway) mod router;
mod slow;
mod write;
pub(in crate::gateway) mod writing;

use std::time::Instant;

use router::{Router, Targets};

use crate::gateway::Config;
use crate::gateway::conn::ConnId;
use crate::gateway::snapshot::SubscriptionsUse;
use crate::wire::{Full, TopicError};

/// Who gets what, and what waits to be written.
pub struct Egress {
    router: Router,
    /// When several connections had something new to write, the last time.
    shared_at: Option<Instant>,
}

impl Egress {
    /// Nobody subscribes.
    pub fn new(config: &Config) -> Egress {
        Egress { router: Router::new(config.subscriptions_max()), shared_at: None }
    }

    /// The subscribers of a topic field, or why it is no topic.
    pub fn route(&mut self, topic: &[u8]) -> Result<Targets, TopicError> {
        self.router.route(topic)
    }

    /// Adds a checked pattern; an error if there are too many.
    pub fn subscribe(&mut self, pattern: &str, id: ConnId) -> Result<(), Full> {
        self.router.subscribe(pattern, id)
    }

    /// Takes a checked pattern back.
    pub fn unsubscribe(&mut self, pattern: &str, id: ConnId) {
        self.router.unsubscribe(pattern, id);
    }

    /// Whether the connection subscribes to something.
    pub fn is_subscriber(&self, id: ConnId) -> bool {
        self.router.has(id)
    }

    /// Whether nobody subscribes.
    pub fn has_no_subscribers(&self) -> bool {
        self.router.is_empty()
    }

    /// Gives back what connections held that ended, a part of it a turn; and where `nobody` is connected, the topics.
    pub fn sweep(&mut self, nobody: bool) {
        self.router.sweep(nobody);
    }

    /// Whether there is more of that.
    pub fn has_to_sweep(&self) -> bool {
        self.router.is_leaving()
    }

    /// What patterns and remembered topics take, in bytes.
    pub fn subscriptions_bytes(&self) -> usize {
        self.router.bytes()
    }

    /// Sets what subscriptions may take as a changed configuration says, if what is held does not take more.
    pub fn bound_subscriptions(&mut self, config: &Config) -> Result<(), String> {
        let bytes = config.subscriptions_max();
        let (held, max) = self.router.patterns_in(bytes);
        if held > max {
            return Err(format!(
                "the patterns of subscribers take {} KiB, and {} KiB would be left for them: set memory higher, or close \
                 some subscribers first",
                held.div_ceil(1024),
                max / 1024
            ));
        }
        self.router.set_bytes_max(bytes);
        Ok(())
    }

    /// How many subscriptions there are, for people.
    pub fn describe(&self) -> SubscriptionsUse {
        self.router.describe()
    }

    /// Nothing is counted wrongly.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        self.router.check_invariants();
    }
}
