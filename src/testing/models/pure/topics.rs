//! The table of patterns against a list of them, and the checks of topics and patterns against the
//! protocol's sentence.

use std::collections::BTreeSet;

use super::choices::Choices;
use crate::core::limits::{CONN_PATTERNS, PATTERN_COST, PATTERN_HELD, SUBSCRIBER_COST};
use crate::wire::{
    Full, Holder, Limits, Patterns, check_pattern, check_topic, is_exact, matches, partial_wildcard,
};

/// Few tokens, so that patterns and topics meet; some that only look like wildcards.
const TOKENS: [&str; 10] = ["a", "b", "*", ">", "c", "aa", "a*", ">>", "ä", ""];

/// At an end of a text, each but the last makes it invalid.
const ENDS: [&str; 8] = [" ", "\0", "\u{7f}", "\u{80}", "\u{a0}", "\u{2028}", ".", "\u{200b}"];

/// Names a holder: who left is never asked again by that name, though another has its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    number: u32,
    slot: u8,
}

impl Holder for Named {
    fn slot(self) -> usize {
        usize::from(self.slot)
    }
}

/// More choices find nothing new, and slow the search.
const CHOICES_MAX: usize = 160;

/// Few enough to be met with those.
const LIMITS: Limits = Limits { pairs: 10, pairs_each: 5, shapes: 6, shapes_each: 4, bytes: 4_000 };

/// Patterns as a list, and their limits as the documentation has them.
#[derive(Default)]
struct Model {
    pairs: BTreeSet<(String, Named)>,
    /// Pairs of those who left and are not swept.
    left: Vec<(String, Named)>,
}

impl Model {
    fn texts(&self) -> Vec<&str> {
        distinct(self.pairs.iter().chain(&self.left).map(|(pattern, _)| pattern.as_str()))
    }

    fn bytes(&self) -> usize {
        let holders = distinct(self.pairs.iter().chain(&self.left).map(|&(_, holder)| holder));
        self.texts().iter().map(|text| PATTERN_COST + text.len()).sum::<usize>()
            + (self.pairs.len() + self.left.len()) * PATTERN_HELD
            + holders.len() * SUBSCRIBER_COST
    }

    fn insert(&mut self, pattern: &str, holder: Named, bytes_max: usize) -> Result<bool, Full> {
        let pair = (pattern.to_owned(), holder);
        if self.pairs.contains(&pair) {
            return Ok(false);
        }
        let of_its: Vec<&str> = self
            .pairs
            .iter()
            .filter(|(_, other)| *other == holder)
            .map(|(pattern, _)| pattern.as_str())
            .collect();
        let is_new = |texts: &[&str]| texts.iter().all(|text| shape(text) != shape(pattern));
        let shapes = |texts: &[&str]| distinct(texts.iter().map(|text| shape(text))).len();
        if of_its.len() >= LIMITS.pairs_each {
            return Err(Full::PairsEach(LIMITS.pairs_each));
        }
        if is_new(&of_its) && shapes(&of_its) >= LIMITS.shapes_each {
            return Err(Full::ShapesEach(LIMITS.shapes_each));
        }
        if self.pairs.len() + self.left.len() >= LIMITS.pairs {
            return Err(Full::Pairs(LIMITS.pairs));
        }
        let all = self.texts();
        if is_new(&all) && shapes(&all) >= LIMITS.shapes {
            return Err(Full::Shapes(LIMITS.shapes));
        }
        self.pairs.insert(pair.clone());
        if self.bytes() > bytes_max {
            self.pairs.remove(&pair);
            return Err(Full::Bytes(bytes_max));
        }
        Ok(true)
    }
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The number of tokens before a last `>`, where they are `*`, and whether it is there.
fn shape(pattern: &str) -> (u32, u128, bool) {
    let (mut tokens, mut stars, mut rest) = (0, 0, false);
    for token in split(pattern) {
        match token {
            ">" => rest = true,
            // A pattern of 255 bytes has at most 128 tokens.
            token => (tokens, stars) = (tokens + 1, stars << 1 | u128::from(token == "*")),
        }
    }
    (tokens, stars, rest)
}

/// A topic goes to those who hold a pattern that matches it, whatever came and went before; and all that is held is
/// charged and bounded.
pub fn check_topics(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let mut patterns = Patterns::new(LIMITS);
    let mut model = Model::default();
    let mut names = [0, 1, 2, 3, 4].map(|slot| Named { number: slot.into(), slot });
    let mut bytes_max = LIMITS.bytes;
    while !choices.is_empty() {
        let operation = choices.below(8);
        let text = text(&mut choices);
        let valid_topic = check_text(&text, false);
        let valid_pattern = check_text(&text, true);
        let slot = choices.below(names.len());
        let holder = names[slot];
        let Some(text) = valid_pattern else { continue };
        assert_eq!(is_exact(text), valid_topic.is_some(), "{text}");
        let partial = |token: &&str| token.len() > 1 && token.contains(['*', '>']);
        assert_eq!(partial_wildcard(text), split(text).find(partial));
        match operation {
            0..4 => {
                let inserted = patterns.insert(text, holder);
                assert_eq!(inserted, model.insert(text, holder, bytes_max), "{text} for {holder:?}");
                assert!(inserted.err().is_none_or(|full| !full.to_string().is_empty()));
            }
            4 => {
                // Mostly one that is held: a random one seldom is.
                let held = choices.below(model.pairs.len().max(1));
                let pair = match model.pairs.iter().nth(held) {
                    Some(pair) if choices.flip() => pair.clone(),
                    _ => (text.to_owned(), holder),
                };
                assert_eq!(patterns.remove(&pair.0, pair.1), model.pairs.remove(&pair));
            }
            5 if choices.below(4) == 0 => {
                let (left, stay) =
                    std::mem::take(&mut model.pairs).into_iter().partition(|(_, of)| *of == holder);
                model.pairs = stay;
                assert_eq!(patterns.leave(holder), !BTreeSet::is_empty(&left));
                model.left.extend(left);
                names[slot].number += 10;
            }
            // What of those who left is swept first is nobody's business; all of it at once is as good.
            5 if choices.flip() => {
                let (all, some) = (model.left.len(), choices.below(3));
                assert_eq!(patterns.sweep(some), some < all);
                patterns.check_invariants();
                while patterns.sweep(1) {}
                model.left.clear();
            }
            5 => {
                bytes_max = choices.below(2 * LIMITS.bytes);
                patterns.set_bytes_max(bytes_max);
            }
            _ => {
                if let Some(topic) = valid_topic {
                    check_matching(&mut patterns, &model.pairs, topic);
                }
                // Nothing of it changes anything.
                continue;
            }
        }
        patterns.check_invariants();
        let held = |holder| model.pairs.iter().filter(|(_, other)| *other == holder).count();
        assert_eq!(patterns.held_by(holder), held(holder));
        assert_eq!((patterns.len(), patterns.bytes()), (model.pairs.len() + model.left.len(), model.bytes()));
        assert_eq!(
            (patterns.is_empty(), patterns.is_leaving()),
            (model.pairs.is_empty(), !model.left.is_empty())
        );
    }
    assert_eq!(patterns.limits().pairs, LIMITS.pairs);
    assert_eq!(Patterns::<Named>::default().limits().pairs_each, CONN_PATTERNS);
    for topic in ["", "a", "a.b", "a.a.a"] {
        check_matching(&mut patterns, &model.pairs, topic);
    }
    for (pattern, holder) in model.pairs {
        assert!(patterns.remove(&pattern, holder));
    }
    while patterns.sweep(7) {}
    assert_eq!((patterns.len(), patterns.bytes(), patterns.shapes()), (0, 0, 0), "all of it is given back");
}

/// Tokens of the few, or any bytes.
fn text(choices: &mut Choices) -> Vec<u8> {
    let what = choices.below(16);
    if what == 0 {
        return choices.bytes(255).to_vec();
    }
    let tokens: Vec<&str> = (0..choices.below(6)).map(|_| TOKENS[choices.below(TOKENS.len())]).collect();
    let end = if what == 1 { ENDS[choices.below(ENDS.len())] } else { "" };
    [tokens.join(".").as_bytes(), end.as_bytes()].concat()
}

fn check_matching(patterns: &mut Patterns<Named>, model: &BTreeSet<(String, Named)>, topic: &str) {
    let mut expected = BTreeSet::new();
    for (pattern, holder) in model {
        let slow = matches_slowly(pattern, topic);
        assert_eq!(matches(pattern, topic), slow, "{pattern:?} {topic:?}");
        if slow {
            expected.insert(*holder);
        }
    }
    assert_eq!(patterns.matching(topic), expected.into_iter().collect::<Vec<_>>(), "{topic:?}");
}

/// The text, if it is a valid topic (or pattern). It asserts that the code says so too.
fn check_text(bytes: &[u8], pattern: bool) -> Option<&str> {
    let said = if pattern { check_pattern(bytes) } else { check_topic(bytes) };
    let valid = is_valid(bytes, pattern);
    assert_eq!(said.is_ok(), valid, "{:?} as a pattern: {pattern}", bytes.escape_ascii().to_string());
    match said {
        Ok(text) => {
            assert_eq!(text.as_bytes(), bytes);
            Some(text)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

fn is_valid(bytes: &[u8], pattern: bool) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return false;
    }
    let last = text.split('.').count() - 1;
    text.is_empty()
        || text.split('.').enumerate().all(|(at, token)| match token {
            "" => false,
            "*" => pattern,
            ">" => pattern && at == last,
            _ => true,
        })
}

/// Token by token, from the protocol's sentence.
fn matches_slowly(pattern: &str, topic: &str) -> bool {
    fn rest(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) => true,
            ([">"], _) => !topic.is_empty(),
            (["*", pattern @ ..], [_, topic @ ..]) => rest(pattern, topic),
            ([a, pattern @ ..], [b, topic @ ..]) => a == b && rest(pattern, topic),
            _ => false,
        }
    }
    let [pattern, topic] = [pattern, topic].map(|text| split(text).collect::<Vec<_>>());
    pattern == [">"] || rest(&pattern, &topic)
}

/// A valid text has no empty token, but the empty text is split into one.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').filter(|token| !token.is_empty())
}
