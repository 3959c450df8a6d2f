//! Who gets a frame.

use std::collections::HashMap;
use std::rc::Rc;

use super::conn::ConnId;
use crate::frame::{Patterns, TopicError, check_topic};
use crate::limits::{PATTERNS, TARGETS_CACHED, TOPICS_CACHED};

/// The patterns of all subscribers, and what was looked up lately.
#[derive(Debug, Default)]
pub struct Router {
    patterns: Patterns<ConnId>,
    cache: HashMap<Box<[u8]>, Targets>,
    cached_targets: usize,
}

/// The subscribers of a topic. Two topics with the same subscribers may have different lists.
pub type Targets = Rc<[ConnId]>;

impl Router {
    /// The subscribers of a topic field, or why it is no topic.
    pub fn route(&mut self, topic: &[u8]) -> Result<Targets, TopicError> {
        if let Some(targets) = self.cache.get(topic) {
            return Ok(targets.clone());
        }
        let targets: Targets = self.patterns.matching(check_topic(topic)?).into();
        self.cached_targets += targets.len();
        if self.cache.len() >= TOPICS_CACHED || self.cached_targets > TARGETS_CACHED {
            self.forget();
            self.cached_targets = targets.len();
        }
        self.cache.insert(topic.into(), targets.clone());
        Ok(targets)
    }

    /// Adds a checked pattern; an error if there are too many.
    pub fn subscribe(&mut self, pattern: &str, id: ConnId) -> Result<bool, String> {
        if self.patterns.len() >= PATTERNS {
            return Err(format!("the gateway holds {PATTERNS} patterns already"));
        }
        self.forget();
        Ok(self.patterns.insert(pattern, id))
    }

    /// Takes a checked pattern back.
    pub fn unsubscribe(&mut self, pattern: &str, id: ConnId) -> bool {
        self.forget();
        self.patterns.remove(pattern, id)
    }

    /// Whether nobody subscribes.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    fn forget(&mut self) {
        self.cache.clear();
        self.cached_targets = 0;
    }
}
