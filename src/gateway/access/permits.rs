//! What was asked before: whether rights let a topic be published. So a topic costs a comparison with every pattern once,
//! and later what it costs to find it. Connections of one identity share what is known.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::core::limits::{PERMIT_COST, TOPICS_CACHED};
use crate::wire::access::Rights;

/// Rights, topics, and whether they may.
///
/// Invariant: `bytes` is what the entries take, at most `bytes_max`.
#[derive(Debug)]
pub struct Permits {
    known: HashTable<Known>,
    hasher: DefaultHashBuilder,
    bytes: usize,
    bytes_max: usize,
}

/// Entries keep their rights alive, so that no others ever have their address.
#[derive(Debug)]
struct Known {
    rights: Arc<Rights>,
    topic: Box<[u8]>,
    may: bool,
}

impl Permits {
    /// Nothing was asked yet. All of it may take so many bytes.
    pub fn new(bytes_max: usize) -> Permits {
        Permits { known: HashTable::new(), hasher: DefaultHashBuilder::default(), bytes: 0, bytes_max }
    }

    /// Whether frames of this checked topic may be published.
    #[inline]
    pub fn may_publish(&mut self, rights: &Arc<Rights>, topic: &[u8]) -> bool {
        let hash = hash(&self.hasher, rights, topic);
        match self.known.find(hash, |known| Arc::ptr_eq(&known.rights, rights) && *known.topic == *topic) {
            Some(known) => known.may,
            None => self.ask(hash, rights, topic),
        }
    }

    fn ask(&mut self, hash: u64, rights: &Arc<Rights>, topic: &[u8]) -> bool {
        let may = std::str::from_utf8(topic).is_ok_and(|topic| rights.may_publish(topic));
        let cost = PERMIT_COST + topic.len();
        if self.known.len() >= TOPICS_CACHED || self.bytes + cost > self.bytes_max {
            self.forget();
        }
        if cost <= self.bytes_max {
            self.bytes += cost;
            let known = Known { rights: rights.clone(), topic: topic.into(), may };
            let hasher = &self.hasher;
            self.known.insert_unique(hash, known, |known| self::hash(hasher, &known.rights, &known.topic));
        }
        may
    }

    /// Lets go of everything.
    pub fn forget(&mut self) {
        self.known = HashTable::new();
        self.bytes = 0;
    }

    /// What it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it may take.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Sets what it may take.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
        if self.bytes > bytes {
            self.forget();
        }
    }
}

fn hash(hasher: &DefaultHashBuilder, rights: &Arc<Rights>, topic: &[u8]) -> u64 {
    hasher.hash_one((Arc::as_ptr(rights) as usize, topic))
}

#[cfg(all(test, feature = "access"))]
mod tests {
    use super::*;
    use crate::wire::access::Access;
    use std::time::SystemTime;

    fn rights(publish: &str) -> Arc<Rights> {
        let text = format!("[default]\npublish = '{publish}'");
        let (access, _) = Access::parse(text.as_bytes(), "a", SystemTime::UNIX_EPOCH).expect("it is right");
        access.default_rights().expect("there is one").clone()
    }

    #[test]
    fn rights_and_topics_are_told_apart_and_what_is_remembered_is_bounded() {
        let mut permits = Permits::new(10 * (PERMIT_COST + 3));
        let (a, b) = (rights("a.*"), rights("b.*"));
        for round in 0..3 {
            for (rights, topic, may) in
                [(&a, "a.1", true), (&a, "b.1", false), (&b, "b.1", true), (&b, "a.1", false)]
            {
                assert_eq!(permits.may_publish(rights, topic.as_bytes()), may, "{topic} {round}");
            }
            assert_eq!(permits.bytes(), 4 * (PERMIT_COST + 3), "each once");
        }
        for number in 0..1000 {
            assert!(permits.may_publish(&a, format!("a.{number}").as_bytes()));
            assert!(permits.bytes() <= permits.bytes_max());
        }
        permits.set_bytes_max(0);
        assert!(permits.may_publish(&a, b"a.1") && !permits.may_publish(&b, b"a.1"));
        assert_eq!(permits.bytes(), 0, "nothing is remembered, and it is right all the same");
    }
}
