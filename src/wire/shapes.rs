//! The shapes of patterns: how many tokens they have, which of those are `*`, and whether a `>` follows.
//!
//! Patterns of one shape differ in their other tokens alone, so a hash of these finds the one that matches a topic
//! among any number of them ("tuple space search"). What a topic costs is the number of shapes, which is bounded.
//!
//! A key is a sum of numbers, one for each token at its place. So the key that a topic would have in another shape
//! differs from its own by the places that are `*` there.

use std::hash::{BuildHasher, Hasher};

use hashbrown::DefaultHashBuilder;

use super::topic::tokens;

/// The longest pattern, in bytes, and the most tokens that it may have.
pub(super) const PATTERN_MAX: usize = 255;
const TOKENS_MAX: usize = PATTERN_MAX.div_ceil(2);

/// The shape of a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Tokens before the `>`.
    tokens: u8,
    /// A last `>`.
    rest: bool,
    /// Those of the tokens that are `*`, as bits.
    stars: u128,
}

impl Shape {
    /// Whether a topic of so many tokens may match.
    fn fits(&self, tokens: usize) -> bool {
        match self.rest {
            // `>` alone matches the empty topic, too.
            true => usize::from(self.tokens) < tokens || self.tokens == 0,
            false => usize::from(self.tokens) == tokens,
        }
    }
}

/// How keys are made: nobody who does not know the numbers can choose patterns whose keys meet.
#[derive(Debug)]
pub(super) struct Keys {
    hasher: DefaultHashBuilder,
    /// What a `*` adds, by its place.
    stars: Box<[u64]>,
    /// What a `>` adds.
    rest: u64,
    /// Of the topic that is looked up: the key of its first tokens, by their number; what a `*` changes, by its
    /// place; and where each token begins, and one behind the last would.
    first: Vec<u64>,
    change: Vec<u64>,
    starts: Vec<usize>,
}

impl Default for Keys {
    fn default() -> Self {
        let hasher = DefaultHashBuilder::default();
        // No token is empty.
        let stars = (0..TOKENS_MAX).map(|at| key_of(&hasher, "", at)).collect();
        let rest = key_of(&hasher, "", TOKENS_MAX);
        Keys { hasher, stars, rest, first: Vec::new(), change: Vec::new(), starts: Vec::new() }
    }
}

impl Keys {
    /// The shape and the key of a checked pattern.
    pub fn of_pattern(&self, pattern: &str) -> (Shape, u64) {
        assert!(pattern.len() <= PATTERN_MAX, "the length of a topic field");
        let (mut shape, mut key) = (Shape::default(), 0u64);
        for (at, token) in tokens(pattern).enumerate() {
            let adds = match token {
                ">" => {
                    shape.rest = true;
                    key = key.wrapping_add(self.rest);
                    break;
                }
                "*" => {
                    shape.stars |= 1 << at;
                    self.stars[at]
                }
                token => key_of(&self.hasher, token, at),
            };
            key = key.wrapping_add(adds);
            shape.tokens += 1;
        }
        (shape, key)
    }

    /// Begins to look a checked topic up. The number of its tokens.
    pub fn begin(&mut self, topic: &str) -> usize {
        self.first.clear();
        self.change.clear();
        self.starts.clear();
        let (mut key, mut start) = (0u64, 0);
        self.first.push(key);
        self.starts.push(start);
        for (at, token) in tokens(topic).enumerate() {
            let adds = key_of(&self.hasher, token, at);
            key = key.wrapping_add(adds);
            start += token.len() + 1;
            self.first.push(key);
            self.change.push(self.stars.get(at).map_or(0, |star| star.wrapping_sub(adds)));
            self.starts.push(start);
        }
        self.change.len()
    }

    /// The key of the pattern of a shape that the topic matches. The shape fits its tokens.
    pub fn in_shape(&self, shape: Shape) -> u64 {
        let mut key = self.first[usize::from(shape.tokens)];
        let mut stars = shape.stars;
        while stars != 0 {
            key = key.wrapping_add(self.change[stars.trailing_zeros() as usize]);
            stars &= stars - 1;
        }
        if shape.rest { key.wrapping_add(self.rest) } else { key }
    }

    /// Whether a pattern of a shape matches the topic that is looked up, as [`matches`](super::matches) has it: all
    /// that lies between its wildcards is compared at once.
    pub fn is_match(&self, pattern: &str, shape: Shape, topic: &str) -> bool {
        let (pattern, topic) = (pattern.as_bytes(), topic.as_bytes());
        let (mut at, mut begin) = (0, 0);
        let mut stars = shape.stars;
        while stars != 0 {
            let token = stars.trailing_zeros() as usize;
            let same = self.starts[token] - begin;
            if pattern.get(at..at + same) != Some(&topic[begin..begin + same]) {
                return false;
            }
            // Behind the `*`, and behind the token in its place.
            at += same + 1;
            begin = self.starts[token + 1] - 1;
            stars &= stars - 1;
        }
        match shape.rest {
            // What is before the `>` ends with a '.'.
            true => {
                let end = self.starts[usize::from(shape.tokens)];
                pattern.get(at..pattern.len() - 1) == topic.get(begin..end)
            }
            false => pattern.get(at..) == topic.get(begin..),
        }
    }
}

fn key_of(hasher: &DefaultHashBuilder, token: &str, at: usize) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_usize(at);
    hasher.write(token.as_bytes());
    hasher.finish()
}

/// The shapes of all patterns that are held.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// With the number of patterns; one without any is free to be another.
    all: Vec<(Shape, u32)>,
    held: usize,
}

impl Shapes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Where a shape is, if some pattern has it.
    pub fn find(&self, shape: Shape) -> Option<u16> {
        self.all.iter().position(|&(other, patterns)| patterns > 0 && other == shape).map(|at| at as u16)
    }

    /// One pattern more has the shape. Where it is.
    pub fn add(&mut self, shape: Shape) -> u16 {
        let at = match self.find(shape) {
            Some(at) => usize::from(at),
            None => {
                self.held += 1;
                let free = self.all.iter().position(|&(_, patterns)| patterns == 0);
                let at = free.unwrap_or(self.all.len());
                match self.all.get_mut(at) {
                    Some(place) => place.0 = shape,
                    None => self.all.push((shape, 0)),
                }
                at
            }
        };
        self.all[at].1 += 1;
        at as u16
    }

    /// One pattern less has the shape that is there.
    pub fn remove(&mut self, at: u16) {
        self.all[usize::from(at)].1 -= 1;
        if self.all[usize::from(at)].1 == 0 {
            self.held -= 1;
            while self.all.pop_if(|&mut (_, patterns)| patterns == 0).is_some() {}
        }
    }

    /// Those that a topic of so many tokens may match.
    pub fn fitting(&self, tokens: usize) -> impl Iterator<Item = (u16, Shape)> {
        let held = self.all.iter().enumerate();
        held.filter(move |(_, (shape, patterns))| *patterns > 0 && shape.fits(tokens))
            .map(|(at, &(shape, _))| (at as u16, shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches_has_the_key_of_the_pattern_in_its_shape() {
        let mut keys = Keys::default();
        for (pattern, topic) in [
            (">", ""),
            (">", "a.b"),
            ("", ""),
            ("a", "a"),
            ("a.b", "a.b"),
            ("a.*", "a.b"),
            ("*.*.c", "a.b.c"),
            ("a.>", "a.b.c"),
            ("*.b.>", "a.b.c"),
        ] {
            let (shape, key) = keys.of_pattern(pattern);
            let tokens = keys.begin(topic);
            assert!(shape.fits(tokens) && keys.in_shape(shape) == key, "{pattern} {topic}");
            assert!(keys.is_match(pattern, shape, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in
            [("a.b", "b.a"), ("a.*", "b.a"), ("*.b.>", "a.c.b"), ("a", "b"), ("a.a", "b.b")]
        {
            let (shape, key) = keys.of_pattern(pattern);
            let tokens = keys.begin(topic);
            assert!(!shape.fits(tokens) || keys.in_shape(shape) != key, "{pattern} {topic}");
            assert!(!shape.fits(tokens) || !keys.is_match(pattern, shape, topic), "{pattern} {topic}");
        }
    }

    #[test]
    fn the_longest_pattern_has_a_shape() {
        let keys = Keys::default();
        let longest = ["*"; TOKENS_MAX].join(".");
        assert_eq!(longest.len(), PATTERN_MAX);
        let (shape, _) = keys.of_pattern(&longest);
        assert_eq!((usize::from(shape.tokens), shape.stars), (TOKENS_MAX, u128::MAX));
    }

    #[test]
    fn places_are_used_again() {
        let keys = Keys::default();
        let shape = |pattern| keys.of_pattern(pattern).0;
        let mut shapes = Shapes::default();
        let (exact, star) = (shapes.add(shape("a.b")), shapes.add(shape("a.*")));
        assert_eq!((shapes.add(shape("c.d")), shapes.len()), (exact, 2));
        shapes.remove(exact);
        shapes.remove(exact);
        assert_eq!(
            (shapes.find(shape("a.b")), shapes.find(shape("x.*")), shapes.len()),
            (None, Some(star), 1)
        );
        assert_eq!(shapes.add(shape(">")), exact);
        shapes.remove(star);
        shapes.remove(exact);
        assert!(shapes.len() == 0 && shapes.all.is_empty());
    }
}
