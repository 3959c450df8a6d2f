//! Whose connections these are, and what each may do, where there is an access file.
//!
//! ```text
//! accepted ─► unjudged ─┬─ first frame: AUTH, or what is known without ─┬─► someone ─► every topic, every pattern
//!                       └─ a field that a layout keeps ─────────────────┴─► refused ─► UNAUTHORIZED
//! ```
//!
//! A connection is judged when the first intact frame is released in its order, before handlers and distribution see it,
//! and once more when the file changes, when a layout keeps a field of it, and when its `until` passes. What it publishes
//! is checked where a topic is looked up ([`AccessControl::may_publish`]), and answers are [remembered](permits). Without an
//! access file a connection has no [`Standing`], and that is all that is looked at.

mod counts;
mod delays;
mod judge;
mod permits;
mod review;
mod standing;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use counts::Counts;
use delays::Delays;
use permits::Permits;
use review::Review;
pub use review::Reviewed;
pub use standing::Standing;

use crate::core::limits::{PERMITS_SHARE, UNTIL_LOOK};
use crate::gateway::Config;
use crate::gateway::snapshot::{AccessUse, Depth};
use crate::wire::access::{Access, REFUSALS, Rights};

/// The access file in force, and what is kept to apply it.
pub struct AccessControl {
    /// None where everybody may do everything.
    access: Option<Arc<Access>>,
    /// Where it was read from.
    path: String,
    /// Counts the files.
    generation: u32,
    /// What time it was, and when.
    clock: (Instant, SystemTime),
    insecure_tokens: bool,
    /// How long a connection that nobody knows may take for its first frame.
    patience: Duration,
    permits: Permits,
    delays: Delays,
    review: Review,
    counts: Counts,
}

impl AccessControl {
    /// By the file of a configuration, if it has one.
    pub fn new(config: &Config, now: Instant) -> AccessControl {
        AccessControl {
            access: config.access.as_ref().map(|file| file.access.clone()),
            path: config.access.as_ref().map_or(String::new(), |file| file.path.display().to_string()),
            generation: 0,
            clock: (now, SystemTime::UNIX_EPOCH),
            insecure_tokens: config.insecure_tokens,
            patience: config.frame_timeout,
            permits: Permits::new(permits_max(config)),
            delays: Delays::default(),
            review: Review::default(),
            counts: Counts::default(),
        }
    }

    /// Whether there is an access file.
    pub fn is_used(&self) -> bool {
        self.access.is_some()
    }

    /// The names of the kept fields that identities are known by; nothing where none is.
    pub fn has_fields(&self) -> bool {
        self.access.as_ref().is_some_and(|access| access.field_names().next().is_some())
    }

    /// What time it is: the clock of the system may be set while this runs.
    pub fn set_clock(&mut self, now: Instant, time: SystemTime) {
        self.clock = (now, time);
    }

    fn time(&self, now: Instant) -> SystemTime {
        self.clock.1 + now.saturating_duration_since(self.clock.0)
    }

    /// When to look whether an access has ended: at that instant, or earlier, for the clock may be set meanwhile.
    fn look_at(&self, until: SystemTime, now: Instant) -> Instant {
        now + until.duration_since(self.time(now)).unwrap_or_default().min(UNTIL_LOOK)
    }

    /// Whether frames of this checked topic may be published.
    pub fn may_publish(&mut self, rights: &Arc<Rights>, topic: &[u8]) -> bool {
        self.permits.may_publish(rights, topic)
    }

    /// A frame was refused since its connection may not publish it, or a pattern since it may not subscribe to it.
    pub fn count_denied(&mut self, published: bool) {
        self.counts.denied[usize::from(!published)] += 1;
    }

    /// What remembered topics take, in bytes.
    pub fn bytes(&self) -> usize {
        self.permits.bytes()
    }

    /// What they may take changes with the memory.
    pub fn configure(&mut self, config: &Config) {
        self.permits.set_bytes_max(permits_max(config));
    }

    /// The next turn is to be at once.
    pub fn goes_on(&self) -> bool {
        self.review.is_under_way()
    }

    /// When the next turn must be at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.delays.next()
    }

    /// For people.
    pub fn describe(&self) -> Option<AccessUse> {
        let access = self.access.as_ref()?;
        let revoked = access.identities().iter().filter(|identity| identity.is_revoked()).count();
        let [published, subscribed] = self.counts.denied;
        Some(AccessUse {
            file: self.path.clone(),
            identities: access.identities().len() as u64,
            revoked: revoked as u64,
            has_default: access.default_rights().is_some(),
            reloads: u64::from(self.generation),
            refused: REFUSALS.into_iter().zip(self.counts.refused).collect(),
            not_published: published,
            not_subscribed: subscribed,
            patterns_taken: self.counts.patterns_taken,
            delayed: Depth { now: self.delays.len() as u64, max: delays::MAX as u64 },
            topics_bytes: Depth { now: self.permits.bytes() as u64, max: self.permits.bytes_max() as u64 },
        })
    }
}

/// A share of what subscriptions may take, which has room beside all else.
fn permits_max(config: &Config) -> usize {
    if config.access.is_some() { config.subscriptions_max() / PERMITS_SHARE } else { 0 }
}
