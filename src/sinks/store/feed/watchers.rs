//! Who is to be shown what: subscriptions by the topics that their patterns match.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::Subscription;
use crate::core::limits::TOPICS_CACHED;
use crate::wire::matches;

/// Subscriptions that have begun, and for topics that were stored lately, which of them match.
#[derive(Default)]
pub struct Watchers {
    all: Slab<(Arc<Subscription>, Vec<String>)>,
    topics: HashMap<Arc<[u8]>, Vec<usize>>,
}

impl Watchers {
    /// Adds one. Its place.
    pub fn insert(&mut self, subscription: Arc<Subscription>, patterns: &[String]) -> usize {
        let slot = self.all.insert((subscription, patterns.to_vec()));
        for (topic, slots) in &mut self.topics {
            if is_match(patterns, topic) {
                slots.push(slot);
            }
        }
        slot
    }

    /// Takes one out.
    pub fn remove(&mut self, slot: usize) {
        self.all.remove(slot);
        self.topics.values_mut().for_each(|slots| slots.retain(|other| *other != slot));
    }

    /// Every one.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.all.iter().map(|(_, (subscription, _))| subscription)
    }

    /// Those that match a topic.
    pub fn of(&mut self, topic: &Arc<[u8]>) -> impl Iterator<Item = &Arc<Subscription>> {
        if self.topics.len() >= TOPICS_CACHED && !self.topics.contains_key(topic) {
            self.topics.clear();
        }
        let all = &self.all;
        let slots = self.topics.entry(topic.clone()).or_insert_with(|| {
            let matching = all.iter().filter(|(_, (_, patterns))| is_match(patterns, topic));
            matching.map(|(slot, _)| slot).collect()
        });
        slots.iter().map(|slot| &all[*slot].0)
    }
}

fn is_match(patterns: &[String], topic: &[u8]) -> bool {
    let topic = std::str::from_utf8(topic).expect("a stored topic was checked");
    patterns.iter().any(|pattern| matches(pattern, topic))
}
