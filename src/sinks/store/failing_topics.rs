//! Topics whose frames cannot be stored now, while those of others can.
//!
//! Their frames wait here, in their order, out of the way of the others, and each topic is tried again in its own time.
//! They wait in the same memory and take the same places as all that waits for the store; so that one topic cannot take
//! all of them and with that stop everybody, it has a share. Beyond that its frames are refused, once it is
//! certain that the store as such works; where nothing can be stored, everything waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::Append;
use super::segment::Trouble;
use crate::core::backoff::Backoff;
use crate::core::limits::{STORE_HELD_APPENDS, STORE_RETRY_FIRST, STORE_RETRY_MAX};
use crate::core::units::{about, plain};

/// 10 topics' troubles at a time are said in the log; one who reads those knows.
const SAID: usize = 10;

/// The topics in trouble.
///
/// `appends` and `bytes` are those of what waits in all of them.
#[derive(Debug)]
pub struct FailingTopics {
    topics: HashMap<Arc<[u8]>, Topic>,
    appends: usize,
    bytes: usize,
    bytes_max: usize,
    failures: u64,
}

#[derive(Debug)]
struct Topic {
    since: Instant,
    /// When it is tried again; none while it is.
    next: Option<Instant>,
    /// When it is forgotten, where it may be tried and nothing of it waits.
    forgotten: Option<Instant>,
    pauses: Backoff,
    why: String,
    /// A segment of it that could not be ended.
    ending: Option<usize>,
    waiting: VecDeque<Append>,
}

impl Default for FailingTopics {
    fn default() -> FailingTopics {
        FailingTopics { topics: HashMap::new(), appends: 0, bytes: 0, bytes_max: usize::MAX, failures: 0 }
    }
}

impl FailingTopics {
    /// At most about so many bytes wait here.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    /// Whether nothing of this topic can be stored now.
    pub fn holds(&self, topic: &[u8]) -> bool {
        !self.topics.is_empty() && self.topics.get(topic).is_some_and(|topic| topic.next.is_some())
    }

    /// Why it cannot.
    pub fn why(&self, topic: &[u8]) -> &str {
        self.topics.get(topic).map_or("", |topic| &topic.why)
    }

    /// Whether as much waits here as may, unless nothing can be stored at all.
    pub fn is_full(&self) -> bool {
        self.appends >= STORE_HELD_APPENDS || self.bytes >= self.bytes_max
    }

    /// It waits behind what waits here of its topic.
    pub fn push(&mut self, append: Append) {
        if let Some(topic) = self.topics.get_mut(append.topic()) {
            self.appends += 1;
            self.bytes += append.len();
            topic.waiting.push_back(append);
        }
    }

    /// A topic failed; `ending` is a segment of it that is to be ended before anything else is done with it.
    pub fn fail(&mut self, topic: &Arc<[u8]>, trouble: &Trouble, ending: Option<usize>, now: Instant) {
        self.failures += 1;
        let shown = String::from_utf8_lossy(topic);
        let (shown, why) = (plain(&shown), trouble.to_string());
        if let Some(known) = self.topics.get_mut(topic) {
            log::debug!("the store: {why}: the frames of the topic '{shown}' wait on");
            let next = now + known.pauses.pause();
            (known.next, known.why, known.ending) = (Some(next), why, ending.or(known.ending));
            known.forgotten = None;
            return;
        }
        if self.len() < SAID {
            log::error!(
                "the store: {why}: the frames of the topic '{shown}' wait until that is mended, those of other topics are stored"
            );
        }
        let mut pauses = Backoff::new(STORE_RETRY_FIRST, STORE_RETRY_MAX);
        let next = Some(now + pauses.pause());
        let known =
            Topic { since: now, next, forgotten: None, pauses, why, ending, waiting: VecDeque::new() };
        self.topics.insert(topic.clone(), known);
    }

    /// Frames of this topic were stored.
    pub fn works(&mut self, topic: &[u8], now: Instant) {
        if !self.topics.is_empty()
            && let Some(known) = self.topics.remove(topic)
        {
            let shown = String::from_utf8_lossy(topic);
            let took = now.saturating_duration_since(known.since);
            log::info!("the store: the topic '{}' works again after {}", plain(&shown), about(took));
        }
    }

    /// Nothing of this topic waits, so that nothing tells whether it works again. It is known for a while yet: what
    /// comes and fails meanwhile is the same trouble, not one to be said anew.
    pub fn rest(&mut self, topic: &[u8], now: Instant) {
        if let Some(known) = self.topics.get_mut(topic) {
            known.forgotten = Some(now + STORE_RETRY_MAX);
        }
    }

    /// Topics that are in trouble, or were until lately.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Nothing of this topic is to be stored any more.
    pub fn forget(&mut self, topic: &[u8]) {
        self.topics.remove(topic);
    }

    /// The topics that are to be tried again, each with what is to be ended first. Those that rest are forgotten in
    /// time: publishers choose the topics, there may be any number of them.
    pub fn due(&mut self, now: Instant) -> Vec<(Arc<[u8]>, Option<usize>)> {
        self.topics.retain(|_, topic| topic.forgotten.is_none_or(|at| at > now));
        let is_due = |topic: &Topic| topic.next.is_some_and(|next| next <= now);
        self.topics
            .iter()
            .filter(|(_, topic)| is_due(topic))
            .map(|(name, topic)| (name.clone(), topic.ending))
            .collect()
    }

    /// A topic is tried again: what waits of it, which goes before whatever came since.
    pub fn take(&mut self, topic: &[u8]) -> VecDeque<Append> {
        let Some(known) = self.topics.get_mut(topic) else { return VecDeque::new() };
        (known.next, known.ending) = (None, None);
        self.appends -= known.waiting.len();
        self.bytes -= known.waiting.iter().map(Append::len).sum::<usize>();
        std::mem::take(&mut known.waiting)
    }

    /// When the next topic is to be tried again.
    pub fn next(&self) -> Option<Instant> {
        self.topics.values().filter_map(|topic| topic.next).min()
    }

    /// All are to be tried again at once.
    pub fn hurry(&mut self, now: Instant) {
        self.topics.values_mut().filter_map(|topic| topic.next.as_mut()).for_each(|next| *next = now);
    }

    /// Frames that wait here.
    pub fn frames(&self) -> u64 {
        self.topics.values().flat_map(|topic| &topic.waiting).map(|append| u64::from(append.frames())).sum()
    }

    /// Failures since the start.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// What is in whose way: of the topic that has been in trouble the longest, and how many more there are.
    pub fn said(&self) -> Option<String> {
        let held = || self.topics.values().filter(|topic| topic.next.is_some());
        let topic = held().min_by_key(|topic| topic.since)?;
        let others = held().count() - 1;
        let also =
            if others > 0 { format!(" (and {others} more topics are in trouble)") } else { String::new() };
        Some(format!("{}{also}; other topics are stored", topic.why))
    }
}
