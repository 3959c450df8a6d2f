//! What the store and the HTTP store tell, and whether it is the same story.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::expected::{Expected, topic_shown};
use super::options::Dedup;
use super::oracle::{Counts, Oracle, count, named};
use super::stores::digests;
use super::story::{Post, Stored};
use super::wire::{Digest, Head, encode};

impl Oracle<'_> {
    /// What the HTTP store was sent in one life of the gateway.
    pub fn posts(&mut self, number: usize, seen: Option<&Counts>) {
        let phase = &self.story.phases[number];
        let mut wrong = Vec::new();
        let mut posts: BTreeMap<Digest, Vec<&Post>> = BTreeMap::new();
        let by_hex: HashMap<String, Digest> =
            self.expected[number].products.keys().map(|digest| (digest.hex(), *digest)).collect();
        // One without a key is not a gateway's: it is the `ctl` of another world, whose port this store got.
        for post in phase.posts.iter().filter(|post| !post.digest.is_empty()) {
            match by_hex.get(&post.digest) {
                None => wrong.push(format!("a request {} of what nobody sent: {post:?}", post.number)),
                Some(digest) => posts.entry(*digest).or_default().push(post),
            }
        }
        let Some(http) = &phase.options.http else {
            let strange = phase.posts.iter().filter(|post| !post.digest.is_empty());
            wrong.extend(strange.map(|post| format!("a request without a sink: {post:?}")));
            return self.complain(&format!("phase {number}, HTTP store"), wrong);
        };
        for (digest, product) in &self.expected[number].products {
            let posts = posts.get(digest).map_or(&[][..], |posts| posts);
            let named = named(digest, product);
            for post in posts {
                let head = Head { key: post.key, id: post.id, want: product.want, ..Head::default() };
                let bytes = encode(head, &post.topic, post.body.as_bytes(), self.story.secret.as_deref());
                if bytes[bytes.len() - 32..] != digest.0 {
                    wrong.push(format!("{named}: a request says something else of it: {post:?}"));
                }
            }
            let taken = posts.iter().filter(|post| post.answer == Some(200)).count() as u64;
            let told = product.told;
            let times = seen.map(|seen| seen.get(digest).copied().unwrap_or(0));
            // A message is told OK once for each of its fragments.
            let oks = if product.is_message { told.ok.min(1) } else { told.ok };
            if taken > times.unwrap_or(product.most).max(oks).max(product.is_known.into()) {
                wrong.push(format!("{named}: taken {taken} times"));
            }
            // What is sent again to one sink of two is not distributed again.
            let least = if phase.options.dedup == Dedup::Off { oks } else { oks.min(1) };
            if taken < least {
                wrong.push(format!("{named}: told OK {} times, taken {taken} times", told.ok));
            }
            if told.by_sink > 0 && told.ok == 0 && taken > 0 && product.sent == 1 {
                wrong.push(format!("{named}: told that it was refused, and taken {taken} times"));
            }
            // Where it refuses connections, a frame may be refused without having come.
            if http.doors == usize::MAX && times.is_some_and(|times| times > posts.len() as u64) {
                wrong.push(format!(
                    "{named}: distributed {} times, sent {} times",
                    times.unwrap_or(0),
                    posts.len()
                ));
            }
            // Where a connection breaks that was kept, the request may go out once more; what was answered counts.
            let refused =
                posts.iter().filter(|post| post.answer.is_some_and(|answer| answer != 200)).count() as u64;
            let tries = u64::from(1 + http.retries);
            if refused > product.sent * tries {
                wrong.push(format!("{named}: refused {refused} times, with {} retries", http.retries));
            }
        }
        if http.ordered {
            let mut first = HashSet::new();
            let mut by_key: BTreeMap<u64, Vec<Digest>> = BTreeMap::new();
            for post in &phase.posts {
                if let Some(digest) = by_hex.get(&post.digest).filter(|digest| first.insert(**digest)) {
                    by_key.entry(post.key).or_default().push(*digest);
                }
            }
            for digests in by_key.into_values() {
                wrong.extend(self.out_of_order(number, digests.into_iter()));
            }
        }
        self.complain(&format!("phase {number}, HTTP store"), wrong);
    }

    /// What was told done is at the HTTP store, where there always was one: over all lives of the gateway.
    pub fn taken(&mut self) {
        let phases = &self.story.phases;
        let posts = phases.iter().flat_map(|phase| &phase.posts);
        let taken: HashSet<&str> =
            posts.filter(|post| post.answer == Some(200)).map(|post| post.digest.as_str()).collect();
        let all: BTreeSet<Digest> =
            self.expected.iter().flat_map(|expected| expected.products.keys().copied()).collect();
        let mut wrong = Vec::new();
        for digest in all {
            let sent = self.expected.iter().zip(phases);
            let sent = sent.filter_map(|(expected, phase)| Some((expected.products.get(&digest)?, phase)));
            let (mut is_done, mut is_posted) = (false, true);
            sent.for_each(|(product, phase)| {
                is_done |= product.told.ok + product.told.duplicate > 0;
                is_posted &= phase.options.http.is_some();
            });
            if is_done && is_posted && !taken.contains(&*digest.hex()) {
                wrong.push(format!("{} was told done and never taken", self.named_anywhere(&digest)));
            }
        }
        self.complain("HTTP store", wrong);
    }

    /// What lies in the store at the end.
    pub fn stored(&mut self, stored: &Stored, seen: &[Option<Counts>]) {
        let mut wrong = stored.odd.clone();
        for (topic, frames) in &stored.folders {
            for frame in frames {
                if frame.topic != *topic {
                    wrong.push(format!(
                        "{} is in the folder of '{}'",
                        frame.shown(),
                        String::from_utf8_lossy(topic)
                    ));
                }
                if !frame.intact {
                    wrong.push(format!("{} has a wrong digest", frame.shown()));
                }
            }
        }
        self.complain("store, topics", std::mem::take(&mut wrong));
        if stored.verified.0 != 0 {
            wrong.push(format!("verify exits {}: {}", stored.verified.0, stored.verified.1));
        }
        let (by_folder, by_tail) = (count(digests(stored)), count(stored.order.iter().copied()));
        if by_folder != by_tail {
            let sums = [&by_folder, &by_tail].map(|counts| counts.values().sum::<u64>());
            wrong.push(format!(
                "{} frames lie there, tail --store gives {}, and not the same",
                sums[0], sums[1]
            ));
        }
        wrong.extend(self.stored_counts(&by_folder, seen));
        self.complain("store", wrong);
        for (topic, frames) in &stored.folders {
            let name = format!("store, topic '{}'", topic_shown(topic));
            let mut wrong = self.stored_order(frames.iter().map(|frame| frame.digest).collect(), false);
            let is_stored = self.story.phases.first().is_some_and(|phase| phase.options.store.is_some());
            if is_stored {
                // What was sent again may be there since.
                let got = || frames.iter().map(|frame| frame.digest);
                let (last, got) = (count(self.alone(0, got())), count(got()));
                wrong.extend(self.holes(0, &last, &got, |product| product.topic == *topic));
            }
            self.complain(&name, wrong);
        }
        let order = self.stored_order(stored.order.clone(), true);
        self.complain("store, all topics by tail", order);
    }

    /// What was sent in one life of the gateway alone.
    fn alone(&self, number: usize, digests: impl Iterator<Item = Digest>) -> impl Iterator<Item = Digest> {
        let others = self.expected.iter().enumerate().filter(move |&(other, _)| other != number);
        let others: Vec<&Expected> = others.map(|(_, expected)| expected).collect();
        digests.filter(move |digest| others.iter().all(|expected| !expected.products.contains_key(digest)))
    }

    /// How often each frame lies there, and how often it should.
    fn stored_counts(&self, found: &Counts, seen: &[Option<Counts>]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut bounds: BTreeMap<Digest, (u64, u64)> = BTreeMap::new();
        for ((expected, phase), seen) in self.expected.iter().zip(&self.story.phases).zip(seen) {
            if phase.options.store.is_none() {
                continue;
            }
            for (digest, product) in &expected.products {
                let (least, most) = match seen {
                    Some(seen) => {
                        let times = seen.get(digest).copied().unwrap_or(0);
                        (times, times)
                    }
                    // What was confirmed survives a kill.
                    None => {
                        let done = product.told.ok + product.told.duplicate;
                        let least = match phase.options.dedup {
                            _ if product.is_known => 0,
                            Dedup::Long => done,
                            _ => product.told.ok,
                        };
                        (least.min(product.most), product.most)
                    }
                };
                let bound = bounds.entry(*digest).or_default();
                if phase.options.dedup == Dedup::Long {
                    // The window covers what is in the store.
                    *bound = (bound.0.max(least.min(1)), bound.1.max(most.min(1)));
                } else if product.is_known {
                    // A short one may cover it.
                    *bound = (bound.0.max(least), bound.1 + most);
                } else {
                    *bound = (bound.0 + least, bound.1 + most);
                }
            }
        }
        for (digest, (least, most)) in &bounds {
            let times = found.get(digest).copied().unwrap_or(0);
            if times < *least || times > *most {
                wrong.push(format!(
                    "{} lies there {times} times, not {least} to {most}",
                    self.named_anywhere(digest)
                ));
            }
        }
        for digest in found.keys().filter(|digest| !bounds.contains_key(digest)).collect::<BTreeSet<_>>() {
            wrong.push(format!("{} lies there", self.named_anywhere(digest)));
        }
        wrong
    }

    fn named_anywhere(&self, digest: &Digest) -> String {
        let names: Vec<String> = (0..self.expected.len())
            .filter(|&number| {
                let expected = &self.expected[number];
                expected.products.contains_key(digest) || expected.without.contains_key(digest)
            })
            .map(|number| format!("[phase {number}] {}", self.named(number, digest)))
            .collect();
        if names.is_empty() { format!("{digest:?}, which nobody sent,") } else { names.join("; ") }
    }

    /// The order of what was sent in one life of the gateway alone. Among topics a kill loses that of what was not
    /// confirmed: there is no index of it yet.
    fn stored_order(&self, digests: Vec<Digest>, among_topics: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, phase) in self.story.phases.iter().enumerate() {
            let products = &self.expected[number].products;
            let confirmed = digests.iter().copied().filter(|digest| {
                let is_confirmed = || products.get(digest).is_some_and(|product| product.told.ok > 0);
                !phase.killed || !among_topics || is_confirmed()
            });
            wrong.extend(self.out_of_order(number, self.alone(number, confirmed)));
        }
        wrong
    }
}
