//! Subscribers, the store, the HTTP store, replies and the ledger tell one story, or it is said where they do not.

use std::collections::{HashMap, HashSet};

use super::expected::{self, Expected, Product, topic_shown};
use super::options::{Dedup, MIB};
use super::story::{Phase, Story, Watcher};
use super::wire::{self, Digest, Frame, SLOW, covers};
use super::world::{Ending, Flaw, What};

/// What a gateway may have resident beside its memory: the program, buffers that are used again, what the
/// allocator has not given back yet, and the digests that it remembers.
const RESIDENT_BESIDE: usize = 32 * MIB;

/// Complaints of one kind that are told; the others are counted.
const TOLD: usize = 6;

/// How often something came out.
pub type Counts = HashMap<Digest, u64>;

pub struct Oracle<'a> {
    pub story: &'a Story,
    pub expected: Vec<Expected>,
    faults: Vec<String>,
}

/// Everything that is wrong with a story.
pub fn judge(story: &Story) -> Vec<String> {
    let expected =
        story.phases.iter().enumerate().map(|(number, phase)| expected::of(number, phase)).collect();
    let mut oracle = Oracle { story, expected, faults: story.trouble.clone() };
    oracle.bound_by_earlier_phases();
    let seen: Vec<Option<Counts>> = (0..story.phases.len()).map(|number| oracle.phase(number)).collect();
    if let Some(stored) = &story.stored {
        oracle.stored(stored, &seen);
    }
    oracle.taken();
    oracle.faults
}

pub fn count(digests: impl Iterator<Item = Digest>) -> Counts {
    let mut counts = Counts::new();
    digests.for_each(|digest| *counts.entry(digest).or_default() += 1);
    counts
}

impl<'a> Oracle<'a> {
    /// Adds complaints of one kind.
    pub fn complain(&mut self, what: &str, all: Vec<String>) {
        let more = all.len().saturating_sub(TOLD);
        self.faults.extend(all.into_iter().take(TOLD).map(|one| format!("{what}: {one}")));
        if more > 0 {
            self.faults.push(format!("{what}: and {more} more of this kind"));
        }
    }

    /// What a window that covers a restart knows from the store is not distributed again.
    fn bound_by_earlier_phases(&mut self) {
        let mut confirmed: HashSet<Digest> = HashSet::new();
        let mut maybe: HashSet<Digest> = HashSet::new();
        for (expected, phase) in self.expected.iter_mut().zip(&self.story.phases) {
            let has_window = phase.options.dedup != Dedup::Off && phase.options.store.is_some();
            let was_stored = |digest: &Digest| has_window && maybe.contains(digest);
            let copies = std::mem::take(&mut expected.copies_refused).into_iter();
            expected.faults.extend(copies.filter(|(digest, _)| !was_stored(digest)).map(|(_, said)| said));
            for (digest, product) in &mut expected.products {
                // As it is, or before a handler made another of it: then nothing is made.
                if !was_stored(digest) && !product.made_of.as_ref().is_some_and(was_stored) {
                    continue;
                }
                product.is_known = true;
                product.least = match phase.options.dedup {
                    // It may have begun within the window, or not; and an OK may be that of another sink.
                    Dedup::Short if phase.options.http.is_none() => product.told.ok.min(product.least),
                    _ => 0,
                };
                let origin = product.made_of.as_ref();
                let is_copy = confirmed.contains(digest) || origin.is_some_and(|it| confirmed.contains(it));
                if phase.options.dedup == Dedup::Long && is_copy {
                    product.most = 0;
                }
            }
            if phase.options.store.is_some() {
                for (digest, product) in &expected.products {
                    if product.told.ok > 0 {
                        confirmed.insert(*digest);
                    }
                    if product.most > 0 {
                        maybe.insert(*digest);
                    }
                }
            }
        }
    }

    /// Judges a life of the gateway. How often each frame was distributed, where that is known.
    fn phase(&mut self, number: usize) -> Option<Counts> {
        let phase = &self.story.phases[number];
        let name = format!("phase {number}");
        let faults = std::mem::take(&mut self.expected[number].faults);
        self.complain("told", faults);
        let all = &phase.watchers[0];
        let is_whole = !phase.killed && !all.was_cut && all.gaps == 0;
        let seen = count(all.got.iter().map(|frame| frame.digest));
        for (at, watcher) in phase.watchers.iter().enumerate() {
            self.watcher(
                number,
                &format!("{name}, subscriber {at} {:?}", watcher.patterns),
                watcher,
                &seen,
                is_whole,
            );
        }
        self.own_subscriptions(number, &seen, is_whole);
        if is_whole {
            let mut wrong = Vec::new();
            for (digest, product) in &self.expected[number].products {
                let times = seen.get(digest).copied().unwrap_or(0);
                if times < product.least || times > product.most {
                    wrong.push(format!("{} came {times} times", self.named(number, digest)));
                }
            }
            self.complain(&format!("{name}, subscriber 0"), wrong);
        }
        self.posts(number, is_whole.then_some(&seen));
        if !phase.killed {
            self.ending(number, is_whole.then_some(&seen));
        }
        is_whole.then_some(seen)
    }

    /// A frame by its digest, with what is known of it.
    pub fn named(&self, number: usize, digest: &Digest) -> String {
        match self.expected[number].products.get(digest) {
            Some(product) => named(digest, product),
            None => match self.expected[number].without.get(digest) {
                Some(why) => format!("frame {digest:?}, although {why},"),
                None => format!("frame {digest:?}, which nobody sent,"),
            },
        }
    }

    fn watcher(&mut self, number: usize, name: &str, watcher: &'a Watcher, seen: &Counts, is_whole: bool) {
        let mut wrong = self.strangers(number, &watcher.got);
        for frame in &watcher.got {
            if !watcher.patterns.iter().any(|pattern| covers(pattern, &frame.topic)) {
                wrong.push(format!("{} does not match", frame.shown()));
            }
        }
        let got = count(watcher.got.iter().map(|frame| frame.digest));
        let (mut missing, mut lost) = (Vec::new(), 0);
        for (digest, product) in &self.expected[number].products {
            let times = got.get(digest).copied().unwrap_or(0);
            if times > product.most {
                wrong.push(format!("{} came {times} times", named(digest, product)));
            }
            let there = seen.get(digest).copied().unwrap_or(0);
            let matches = watcher.patterns.iter().any(|pattern| covers(pattern, &product.topic));
            if matches && is_whole && times != there {
                missing
                    .push(format!("{} came {times} times, to another {there} times", named(digest, product)));
                lost += there.saturating_sub(times);
            }
        }
        let is_all = !watcher.was_cut && !self.story.phases[number].killed;
        if is_all && watcher.end != "closed" {
            wrong.push(format!("it ended with: {}", watcher.end));
        }
        if is_all && is_whole && watcher.gaps == 0 {
            wrong.extend(missing);
        } else if is_all && is_whole && lost != watcher.gaps {
            wrong.push(format!("{lost} frames are missing, it was told of {}", watcher.gaps));
        }
        wrong.extend(self.out_of_order(number, watcher.got.iter().map(|frame| frame.digest)));
        if !watcher.was_cut && watcher.gaps == 0 {
            let matches =
                |product: &Product| watcher.patterns.iter().any(|pattern| covers(pattern, &product.topic));
            wrong.extend(self.holes(number, &got, &got, matches));
        }
        self.complain(name, wrong);
    }

    /// What was not sent, or has no effect, and came all the same.
    fn strangers(&self, number: usize, frames: &[Frame]) -> Vec<String> {
        let products = &self.expected[number].products;
        let mut wrong = Vec::new();
        for frame in frames {
            if !frame.intact {
                wrong.push(format!("{} has a wrong digest", frame.shown()));
            } else if !products.contains_key(&frame.digest) {
                wrong.push(format!("{} came: {}", self.named(number, &frame.digest), frame.shown()));
            }
        }
        wrong
    }

    /// Of each connection, what came behind something that it sent later.
    pub fn out_of_order(&self, number: usize, digests: impl Iterator<Item = Digest>) -> Vec<String> {
        let products = &self.expected[number].products;
        // What came more often than it may is told elsewhere.
        let mut known = HashSet::new();
        let mut last: HashMap<usize, (usize, Digest)> = HashMap::new();
        let mut wrong = Vec::new();
        for digest in digests {
            let Some(product) = products.get(&digest) else { continue };
            let Some((line, place)) = product.place.filter(|_| known.insert(digest)) else { continue };
            if let Some((before, other)) = last.get(&line)
                && place < *before
            {
                let other = named(other, &products[other]);
                wrong.push(format!(
                    "{} of connection {line} at {place} came behind {other} at {before}",
                    named(&digest, product)
                ));
            } else {
                last.insert(line, (place, digest));
            }
        }
        wrong
    }

    /// Of each connection the beginning comes out, however it or its gateway ended: what is missing before something
    /// that came for certain.
    pub fn holes(
        &self,
        number: usize,
        certain: &Counts,
        got: &Counts,
        matches: impl Fn(&Product) -> bool,
    ) -> Vec<String> {
        let products = &self.expected[number].products;
        let handler = &self.story.phases[number].options.handler;
        // It may have been told BUSY where nobody heard it any more.
        let may_be_busy = handler.as_ref().is_some_and(|handler| handler.rejects);
        let placed = || {
            let matching = products.iter().filter(|(_, product)| matches(product));
            matching.filter_map(|(digest, product)| Some((digest, product, product.place?)))
        };
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (_, _, (line, place)) in placed().filter(|(digest, ..)| certain.contains_key(digest)) {
            let last = last.entry(line).or_default();
            *last = place.max(*last);
        }
        let mut wrong = Vec::new();
        for (digest, product, (line, place)) in placed().filter(|(digest, ..)| !got.contains_key(digest)) {
            let comes = match product.is_message {
                true => product.least > 0,
                false if product.told.nothing > 0 && may_be_busy => false,
                false => product.sent == 1 && !product.is_known && product.told.refused == 0,
            };
            if comes && last.get(&line).is_some_and(|last| place < *last) {
                let named = named(digest, product);
                wrong.push(format!("{named} of connection {line} at {place} is missing before what came"));
            }
        }
        wrong
    }

    /// What publishers got as subscribers: nothing foreign, nothing out of order, and all of their own.
    fn own_subscriptions(&mut self, number: usize, seen: &Counts, is_whole: bool) {
        let phase = &self.story.phases[number];
        let mut wrong = Vec::new();
        for (at, line) in phase.lines.iter().enumerate() {
            let mut patterns = Vec::new();
            let mut from = Vec::new();
            for (place, item) in line.items.iter().enumerate() {
                if let What::Subscribe(pattern) = &item.what {
                    patterns.push(pattern);
                    from.push(place);
                }
            }
            wrong.extend(self.strangers(number, &line.got));
            wrong.extend(self.out_of_order(number, line.got.iter().map(|frame| frame.digest)));
            let got = count(line.got.iter().map(|frame| frame.digest));
            for (digest, times) in &got {
                let Some(product) = self.expected[number].products.get(digest) else { continue };
                if !patterns.iter().any(|pattern| covers(pattern, &product.topic)) {
                    wrong.push(format!("connection {at}: {} does not match", named(digest, product)));
                }
                if *times > product.most {
                    wrong.push(format!("connection {at}: {} came {times} times", named(digest, product)));
                }
            }
            let was_cut = line.replies.iter().any(|reply| reply.status == SLOW);
            let lost = line.replies.iter().any(|reply| reply.status == wire::GAP);
            if !is_whole || !line.is_complete || was_cut || lost {
                continue;
            }
            for (digest, product) in &self.expected[number].products {
                let Some((of, place)) = product.place else { continue };
                let mut mine = patterns.iter().zip(&from).filter(|(_, from)| **from < place);
                let there = seen.get(digest).copied().unwrap_or(0);
                let times = got.get(digest).copied().unwrap_or(0);
                if of == at && mine.any(|(pattern, _)| covers(pattern, &product.topic)) && times != there {
                    wrong.push(format!(
                        "connection {at} subscribed to {}, which came {times} times, to another {there} times",
                        named(digest, product)
                    ));
                }
            }
        }
        self.complain(&format!("phase {number}, publishers that subscribe"), wrong);
    }

    /// The ledger, the exit, the log and the memory of a gateway that ended in peace.
    fn ending(&mut self, number: usize, seen: Option<&Counts>) {
        let phase = &self.story.phases[number];
        let mut wrong = Vec::new();
        if phase.exit != Some(0) {
            wrong.push(format!("exit code {:?}", phase.exit));
        }
        for line in phase.log.lines() {
            // It may have died of the first frame that it got.
            let is_explained = phase.options.handler.is_some() && line.contains("does not start");
            let is_bad = |part: &&str| line.contains(part);
            if ["ERROR", "panicked", "Traceback", "a call with a wrong digest"].iter().any(is_bad)
                && !is_explained
            {
                wrong.push(format!("in the log: {line}"));
            }
        }
        if phase.resident > (phase.memory + RESIDENT_BESIDE) as u64 {
            wrong.push(format!("{} bytes are resident, memory is {}", phase.resident, phase.memory));
        }
        match &phase.ledger {
            None => wrong.push("no ledger".into()),
            Some(ledger) => wrong.extend(self.ledger(number, phase, ledger, seen)),
        }
        self.complain(&format!("phase {number}, end"), wrong);
    }

    fn ledger(
        &self,
        number: usize,
        phase: &Phase,
        ledger: &serde_json::Value,
        seen: Option<&Counts>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let of = |name: &str| {
            let found = name.split('.').try_fold(ledger, |value, part| value.get(part));
            found.and_then(serde_json::Value::as_u64).unwrap_or(0)
        };
        let rejected: u64 = ledger["rejected"]
            .as_object()
            .map_or(0, |by| by.values().filter_map(serde_json::Value::as_u64).sum());
        let fates = ["delivered", "control", "fragments", "dropped", "undelivered"].map(of);
        if of("read") + of("reassembled") != fates.iter().sum::<u64>() + rejected {
            wrong.push(format!("the ledger is not balanced: {ledger}"));
        }
        if of("to_sinks.put") != of("to_sinks.confirmed") + of("to_sinks.refused") {
            wrong.push(format!("something was not confirmed: {ledger}"));
        }
        let expected = &self.expected[number];
        let mut equal = |name: &str, known: u64| {
            if of(name) != known {
                wrong.push(format!("the ledger says {name} {}, it was {known}", of(name)));
            }
        };
        if expected.is_exact {
            let sent: usize = phase.lines.iter().map(|line| line.items.len()).sum();
            let patterns: usize = phase.watchers.iter().map(|watcher| watcher.patterns.len()).sum();
            // Where it was not told, the gateway ended before it had read that.
            let ended_by = |ending, told| {
                let ended = phase.lines.iter().filter(|line| line.ending == ending);
                ended.filter(|line| line.replies.iter().any(|reply| reply.status == told)).count()
            };
            // The `ctl` of another world, whose port this gateway got.
            let strange = phase.log.matches(r#"it begins with "POST /ct""#).count();
            let garbage = ended_by(Ending::Garbage, wire::MALFORMED) + strange;
            let too_large = ended_by(Ending::TooLarge, wire::TOO_LARGE);
            equal("read", (sent + patterns + phase.options.frozen + garbage + too_large) as u64);
            equal("rejected.MALFORMED", garbage as u64);
            equal("rejected.TOO_LARGE", too_large as u64);
            let items = || phase.lines.iter().flat_map(|line| &line.items);
            let bad = items().filter(|item| item.flaw == Flaw::Digest).count();
            equal("rejected.BAD_DIGEST", bad as u64);
        }
        if let Some(seen) = seen {
            let distributed: u64 = seen.values().sum();
            let is_message =
                |digest: &Digest| expected.products.get(digest).is_some_and(|product| product.is_message);
            let messages = seen.iter().filter(|(digest, _)| is_message(digest)).map(|(_, times)| times).sum();
            // What was stored before is put together again and goes nowhere.
            let is_known = |product: &Product| product.is_message && product.is_known;
            // With a window, a copy may go to the one of two sinks that has refused the first.
            let is_simple = phase.options.dedup == Dedup::Off || phase.options.http.is_none();
            if is_simple && !expected.products.values().any(is_known) {
                equal("reassembled", messages);
            }
            if is_simple && (phase.options.store.is_some() || phase.options.http.is_some()) {
                equal("to_sinks.put", distributed);
            }
            if is_simple && phase.options.http.is_some() {
                // One without a key is another world's.
                let own = phase.posts.iter().filter(|post| !post.digest.is_empty());
                let taken = own.filter(|post| post.answer == Some(200)).count();
                equal("to_sinks.confirmed", taken as u64);
            }
            let fates = of("delivered") + of("undelivered") + of("dropped");
            if expected.is_exact && is_simple && fates != distributed {
                wrong.push(format!(
                    "{distributed} frames were distributed, the ledger says {fates}: {ledger}"
                ));
            }
        }
        wrong
    }
}

/// A product, for people.
pub fn named(digest: &Digest, product: &Product) -> String {
    let Product { topic, key, id, is_message, made_of, least, most, told, reason, sent, .. } = product;
    let reason = if reason.is_empty() { String::new() } else { format!(" '{reason}'") };
    let what = match (is_message, made_of.is_some()) {
        (true, _) => "message",
        (_, true) => "frame of a handler",
        _ => "frame",
    };
    let topic = topic_shown(topic);
    format!(
        "{what} {digest:?} ('{topic}', key {key}, id {id}, sent {sent} times, {least} to {most} are right, told {told}{reason})"
    )
}
