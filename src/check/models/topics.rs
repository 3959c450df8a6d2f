//! The tree of patterns against a list of them, and the checks of topics and patterns against the
//! protocol's sentence.

use std::collections::BTreeSet;

use super::choices::Choices;
use crate::frame::{Patterns, check_pattern, check_topic, matches};

/// Few tokens, so that patterns and topics meet; some that only look like wildcards.
const TOKENS: [&str; 10] = ["a", "b", "*", ">", "c", "aa", "a*", ">>", "ä", ""];

/// At an end of a text, each but the last makes it invalid.
const ENDS: [&str; 8] = [" ", "\0", "\u{7f}", "\u{80}", "\u{a0}", "\u{2028}", ".", "\u{200b}"];

/// (pattern, holder) pairs at once; more finds nothing new.
const HELD: usize = 200;

/// A topic goes to those who hold a pattern that matches it, whatever came and went before.
pub fn check_topics(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut patterns = Patterns::default();
    let mut model: BTreeSet<(String, u8)> = BTreeSet::new();
    while !choices.is_empty() {
        let operation = choices.below(4);
        let text = text(&mut choices);
        let valid_topic = check_text(&text, false);
        let valid_pattern = check_text(&text, true);
        let holder = choices.byte() % 5;
        let Some(text) = valid_pattern else { continue };
        match operation {
            0 | 1 if model.len() < HELD => {
                assert_eq!(patterns.insert(text, holder), model.insert((text.to_owned(), holder)));
            }
            2 => {
                // Mostly one that is held: a random one seldom is.
                let held = choices.below(model.len().max(1));
                let pair = match model.iter().nth(held) {
                    Some(pair) if choices.flip() => pair.clone(),
                    _ => (text.to_owned(), holder),
                };
                assert_eq!(patterns.remove(&pair.0, pair.1), model.remove(&pair));
            }
            _ => {
                if let Some(topic) = valid_topic {
                    check_matching(&patterns, &model, topic);
                }
            }
        }
        assert_eq!((patterns.len(), patterns.is_empty()), (model.len(), model.is_empty()));
    }
    for topic in ["", "a", "a.b", "a.a.a"] {
        check_matching(&patterns, &model, topic);
    }
    for (pattern, holder) in model {
        assert!(patterns.remove(&pattern, holder));
    }
    let empty: Patterns<u8> = Patterns::default();
    assert_eq!(format!("{patterns:?}"), format!("{empty:?}"), "what is taken back leaves nothing behind");
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

fn check_matching(patterns: &Patterns<u8>, model: &BTreeSet<(String, u8)>, topic: &str) {
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
    let Ok(text) = String::from_utf8(bytes.to_vec()) else { return false };
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return false;
    }
    let tokens: Vec<&str> = text.split('.').collect();
    text.is_empty()
        || !tokens.contains(&"")
            && tokens.iter().enumerate().all(|(at, &token)| match token {
                "*" => pattern,
                ">" => pattern && at == tokens.len() - 1,
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
    pattern == ">" || rest(&split(pattern), &split(topic))
}

/// A valid text has no empty token, but the empty text is split into one.
fn split(text: &str) -> Vec<&str> {
    text.split('.').filter(|token| !token.is_empty()).collect()
}
