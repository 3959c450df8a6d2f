//! When a frame counts as done: what sinks confirm, replies that wait for it, and digests that were accepted.

pub(crate) mod dedup;
pub(in crate::gateway) mod known;
mod outcomes;
pub(in crate::gateway) mod pending;
pub(crate) mod sink_set;
pub(in crate::gateway) mod tickets;

use dedup::Dedup;
use tickets::Sinks;

use crate::gateway::Config;

/// What is accepted and not confirmed, and what was.
pub struct Acks {
    /// What confirms what is distributed.
    pub(in crate::gateway) sinks: Sinks,
    pub(in crate::gateway) dedup: Option<Dedup>,
    /// Replies owed to all connections, but for those of parts that are held.
    pub(in crate::gateway) owed: usize,
}

impl Acks {
    /// No sinks yet.
    pub fn new(config: &Config) -> Acks {
        let dedup = config.dedup.map(|window| Dedup::new(window, config.memory));
        Acks { sinks: Sinks::new(), dedup, owed: 0 }
    }
}
