//! Who gets a frame.

use std::collections::HashMap;
use std::rc::Rc;

use hashbrown::DefaultHashBuilder;

use super::Egress;
use crate::core::limits::{LEAVE_TURN, PERMITS_SHARE, TOPIC_COST, TOPICS_CACHED, TOPICS_SHARE};
use crate::gateway::Config;
use crate::gateway::conn::ConnId;
use crate::gateway::snapshot::{Depth, SubscriptionsUse};
use crate::wire::{Full, Holder, Limits, Patterns, TopicError, check_topic, is_exact};

/// The patterns of all subscribers, and what was looked up lately.
///
/// A change of what matches one topic alone makes that topic's list stale, any other change all lists: each is looked up
/// anew when it is wanted next, which is bounded by the number of shapes.
#[derive(Debug)]
pub struct Router {
    patterns: Patterns<ConnId>,
    topics: HashMap<Box<[u8]>, Known, DefaultHashBuilder>,
    /// What the topics and their lists take, and may.
    topics_bytes: usize,
    topics_max: usize,
    /// Whether an access file is asked about topics, which is remembered, too.
    asks: bool,
    /// Changes that make all lists stale.
    changes: u64,
}

/// The subscribers of a topic. Two topics with the same subscribers may have different lists.
pub type Targets = Rc<[ConnId]>;

#[derive(Debug)]
struct Known {
    targets: Targets,
    /// The changes when they were looked up.
    at: u64,
}

/// A list that is stale, whatever else changes.
const STALE: u64 = u64::MAX;

impl Holder for ConnId {
    fn slot(self) -> usize {
        ConnId::slot(self)
    }
}

impl Router {
    /// Nobody subscribes. All that is kept here may take so many bytes.
    pub fn new(bytes: usize, asks: bool) -> Router {
        let mut router = Router {
            patterns: Patterns::new(Limits::default()),
            topics: HashMap::default(),
            topics_bytes: 0,
            topics_max: 0,
            asks,
            changes: 0,
        };
        router.set_bytes_max(bytes);
        router
    }

    /// The subscribers of a topic field, or why it is no topic.
    pub fn route(&mut self, topic: &[u8]) -> Result<Targets, TopicError> {
        let Some(known) = self.topics.get_mut(topic) else { return self.look_up(topic) };
        if known.at == self.changes {
            return Ok(known.targets.clone());
        }
        let found = self.patterns.matching(check_topic(topic)?);
        if *known.targets != *found {
            self.topics_bytes -= size_of_val(&*known.targets);
            self.topics_bytes += size_of_val(found);
            known.targets = found.into();
        }
        known.at = self.changes;
        let targets = known.targets.clone();
        if self.topics_bytes > self.topics_max {
            self.forget();
        }
        Ok(targets)
    }

    fn look_up(&mut self, topic: &[u8]) -> Result<Targets, TopicError> {
        let targets: Targets = self.patterns.matching(check_topic(topic)?).into();
        let bytes = TOPIC_COST + topic.len() + size_of_val(&*targets);
        if self.topics.len() >= TOPICS_CACHED || self.topics_bytes + bytes > self.topics_max {
            self.forget();
        }
        if bytes <= self.topics_max {
            self.topics_bytes += bytes;
            self.topics.insert(topic.into(), Known { targets: targets.clone(), at: self.changes });
        }
        Ok(targets)
    }

    /// Adds a checked pattern; an error if there are too many.
    pub fn subscribe(&mut self, pattern: &str, id: ConnId) -> Result<(), Full> {
        if self.patterns.insert(pattern, id)? {
            self.change(pattern);
        }
        Ok(())
    }

    /// Takes a checked pattern back.
    pub fn unsubscribe(&mut self, pattern: &str, id: ConnId) {
        if self.patterns.remove(pattern, id) {
            self.change(pattern);
        }
    }

    /// The connection subscribes to nothing more.
    pub fn leave(&mut self, id: ConnId) {
        if self.patterns.leave(id) {
            self.changes += 1;
        }
    }

    fn change(&mut self, pattern: &str) {
        if !is_exact(pattern) {
            self.changes += 1;
        } else if let Some(known) = self.topics.get_mut(pattern.as_bytes()) {
            known.at = STALE;
        }
    }

    /// What the connection subscribes to.
    pub fn patterns_of(&self, id: ConnId) -> Vec<String> {
        self.patterns.of(id).map(str::to_string).collect()
    }

    /// Whether nobody subscribes.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the connection subscribes to something.
    pub fn has(&self, id: ConnId) -> bool {
        self.patterns.held_by(id) > 0
    }

    /// Gives back what connections held that ended, a part of it a turn; and where `nobody` is connected, the topics.
    pub fn sweep(&mut self, nobody: bool) {
        self.patterns.sweep(LEAVE_TURN);
        if nobody && self.topics_bytes > 0 {
            self.forget();
        }
    }

    /// Whether there is more of that.
    pub fn is_leaving(&self) -> bool {
        self.patterns.is_leaving()
    }

    /// Lets go of all remembered topics.
    fn forget(&mut self) {
        self.topics = HashMap::with_hasher(self.topics.hasher().clone());
        self.topics_bytes = 0;
    }

    /// What all of it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.patterns.bytes() + self.topics_bytes
    }

    /// What patterns take, and would be allowed to where all of it may take `bytes`.
    pub fn patterns_in(&self, bytes: usize) -> (usize, usize) {
        (self.patterns.bytes(), bytes - bytes / TOPICS_SHARE)
    }

    /// Sets what all of it may take, in bytes. What is held stays.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        let (_, patterns) = self.patterns_in(bytes);
        self.patterns.set_bytes_max(patterns);
        // What rights let be published is remembered beside it.
        self.topics_max = bytes / TOPICS_SHARE - bytes / PERMITS_SHARE * usize::from(self.asks);
        if self.topics_bytes > self.topics_max {
            self.forget();
        }
    }

    /// How much of it there is, for people.
    pub fn describe(&self) -> SubscriptionsUse {
        let depth = |now: usize, max: usize| Depth { now: now as u64, max: max as u64 };
        let limits = self.patterns.limits();
        SubscriptionsUse {
            patterns: depth(self.patterns.len(), limits.pairs),
            shapes: depth(self.patterns.shapes(), limits.shapes),
            bytes: depth(self.patterns.bytes(), limits.bytes),
        }
    }

    /// What is counted agrees with what is there.
    ///
    /// # Panics
    /// If it does not.
    #[cfg(any(test, feature = "check"))]
    pub fn check_invariants(&self) {
        self.patterns.check_invariants();
        let topics = self.topics.iter();
        let costs = topics.map(|(topic, known)| TOPIC_COST + topic.len() + size_of_val(&*known.targets));
        assert_eq!(self.topics_bytes, costs.sum::<usize>());
        assert!(self.topics_bytes <= self.topics_max && self.topics.len() <= TOPICS_CACHED);
    }
}

impl Egress {
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

    /// What the connection subscribes to.
    pub fn patterns_of(&self, id: ConnId) -> Vec<String> {
        self.router.patterns_of(id)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ConnId {
        // No key is 0.
        ConnId::from_key(1 << 32 | number)
    }

    fn router() -> Router {
        Router::new(1 << 16, false)
    }

    #[test]
    fn only_what_a_change_concerns_is_looked_up_anew() {
        let mut router = router();
        router.subscribe("a", id(1)).unwrap();
        let (a, b) = (router.route(b"a").unwrap(), router.route(b"b").unwrap());
        assert_eq!((&*a, &*b), (&[id(1)][..], &[][..]));
        router.subscribe("a", id(2)).unwrap();
        assert_eq!((router.topics[&b"a"[..]].at, router.topics[&b"b"[..]].at), (STALE, 0));
        assert_eq!(*router.route(b"a").unwrap(), [id(1), id(2)]);
        assert!(Rc::ptr_eq(&b, &router.route(b"b").unwrap()));
        // All may have changed; what has not stays as it is.
        router.subscribe("*.>", id(3)).unwrap();
        assert_eq!((router.topics[&b"b"[..]].at, router.changes), (0, 1));
        assert!(Rc::ptr_eq(&b, &router.route(b"b").unwrap()));
        assert_eq!(router.topics[&b"b"[..]].at, 1);
        router.unsubscribe("b", id(1));
        router.unsubscribe("x.>", id(1));
        assert_eq!((router.topics[&b"b"[..]].at, router.changes), (1, 1));
        assert_eq!(*router.route(b"a").unwrap(), [id(1), id(2)]);
        router.leave(id(1));
        assert_eq!(*router.route(b"a").unwrap(), [id(2)]);
        router.check_invariants();
    }

    #[test]
    fn what_is_remembered_is_bounded_in_bytes() {
        let mut router = router();
        for number in 0..100 {
            router.subscribe(">", id(number)).unwrap();
        }
        for number in 0..1000 {
            assert_eq!(router.route(format!("a.{number}").as_bytes()).unwrap().len(), 100);
            router.check_invariants();
        }
        // Too little for one list: nothing is remembered, and it is found all the same.
        router.set_bytes_max(1 << 10);
        assert_eq!((router.topics.len(), router.topics_bytes), (0, 0));
        assert_eq!(router.route(b"a").unwrap().len(), 100);
        assert_eq!(router.topics.len(), 0);
        // A list that grows is not kept beyond the bound either.
        router.set_bytes_max(4 * (TOPIC_COST + 1 + 100 * size_of::<ConnId>()));
        router.route(b"a").unwrap();
        assert_eq!(router.topics.len(), 1);
        router.set_bytes_max(1 << 20);
        router.subscribe(">", id(100)).unwrap();
        router.set_bytes_max(4 * (TOPIC_COST + 1 + 100 * size_of::<ConnId>()));
        assert_eq!(router.route(b"a").unwrap().len(), 101);
        assert_eq!(router.topics.len(), 0);
        router.check_invariants();
    }

    #[test]
    fn everything_is_given_back() {
        let mut router = router();
        for number in 0..10 {
            for pattern in ["a", "a.*", "a.>", "b.>"] {
                router.subscribe(pattern, id(number)).unwrap();
            }
            router.route(b"a.b").unwrap();
        }
        for pattern in ["a", "a.*", "a.>", "b.>"] {
            router.unsubscribe(pattern, id(0));
        }
        assert!(!router.has(id(0)) && router.has(id(1)));
        for number in 1..10 {
            router.leave(id(number));
        }
        assert!(router.is_empty() && router.is_leaving());
        assert!(router.route(b"a.b").unwrap().is_empty());
        while router.is_leaving() {
            let before = router.bytes();
            router.sweep(false);
            assert!(router.bytes() < before);
            router.check_invariants();
        }
        assert!(router.bytes() > 0, "topics are remembered for others");
        router.sweep(true);
        assert_eq!(router.bytes(), 0);
    }
}
