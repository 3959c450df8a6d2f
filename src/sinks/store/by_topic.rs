//! How much was stored of each topic.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::limits::STORE_TOPICS;
use crate::sinks::OfTopic;

/// Frames and bytes by topic, of the first [`STORE_TOPICS`] topics that were stored. Those of further ones are
/// counted with all frames only.
#[derive(Debug, Default)]
pub struct ByTopic(HashMap<Arc<[u8]>, Counted>);

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    frames: u64,
    bytes: u64,
}

impl ByTopic {
    /// So much more is stored of a topic.
    pub fn add(&mut self, topic: &Arc<[u8]>, frames: u64, bytes: u64) {
        let has_room = self.0.len() < STORE_TOPICS;
        let counted = match self.0.get_mut(topic) {
            Some(counted) => counted,
            None if has_room => self.0.entry(topic.clone()).or_default(),
            None => return,
        };
        counted.frames += frames;
        counted.bytes += bytes;
    }

    /// At most so many topics, those with the most bytes, the most first.
    pub fn busiest(&self, most: usize) -> Vec<OfTopic> {
        let mut all: Vec<(&Arc<[u8]>, &Counted)> = self.0.iter().collect();
        let order =
            |(topic, counted): &(&Arc<[u8]>, &Counted)| (std::cmp::Reverse(counted.bytes), (*topic).clone());
        if all.len() > most {
            all.select_nth_unstable_by_key(most, order);
            all.truncate(most);
        }
        all.sort_unstable_by_key(order);
        let shown = |(topic, counted): (&Arc<[u8]>, &Counted)| OfTopic {
            topic: String::from_utf8_lossy(topic).into_owned(),
            frames: counted.frames,
            bytes: counted.bytes,
        };
        all.into_iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: impl ToString) -> Arc<[u8]> {
        name.to_string().into_bytes().into()
    }

    #[test]
    fn the_busiest_are_shown_and_no_more_are_held_than_may() {
        let mut by_topic = ByTopic::default();
        let held = STORE_TOPICS as u64;
        (1..held + 10).for_each(|i| by_topic.add(&topic(i), 1, i));
        assert_eq!(by_topic.0.len(), STORE_TOPICS);
        by_topic.add(&topic(1), 2, 10_000);
        by_topic.add(&topic("late"), 1, 1 << 40);
        let shown = by_topic.busiest(2);
        assert_eq!(shown[0], OfTopic { topic: "1".into(), frames: 3, bytes: 10_001 });
        assert_eq!(shown[1], OfTopic { topic: held.to_string(), frames: 1, bytes: held });
        assert_eq!(shown.len(), 2);
        assert_eq!(by_topic.busiest(STORE_TOPICS + 1).len(), STORE_TOPICS);
    }
}
