//! What one may do.

use crate::wire::{covers, matches};

/// Patterns and names that are allowed; everything else is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    pub(super) publish: Vec<String>,
    pub(super) subscribe: Vec<String>,
    pub(super) durable: Vec<String>,
}

impl Rights {
    /// Whether frames with this checked topic may be published.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|pattern| matches(pattern, topic))
    }

    /// Whether this checked pattern may be subscribed to: one allowed pattern covers all of it.
    pub fn may_subscribe(&self, pattern: &str) -> bool {
        self.subscribe.iter().any(|allowed| covers(allowed, pattern))
    }

    /// Whether this durable name may be used.
    pub fn may_be_durable(&self, name: &str) -> bool {
        self.durable.iter().any(|allowed| allowed == name)
    }

    /// What may be published to.
    pub fn publish(&self) -> &[String] {
        &self.publish
    }

    /// What may be subscribed to.
    pub fn subscribe(&self) -> &[String] {
        &self.subscribe
    }

    /// The durable names.
    pub fn durable(&self) -> &[String] {
        &self.durable
    }
}
