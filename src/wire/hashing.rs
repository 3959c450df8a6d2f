//! How many messages are hashed side by side: what this processor was seen to be fastest at, for the whole process.

use std::sync::OnceLock;
use std::time::Duration;

use super::choice;
use super::digest::Scheme;
use super::header::DIGEST;
use super::lanes::{Alone, Compress, Lanes, Messages, Runs, Source};
use super::machine::{Eight, Machine, Sixteen, Two};
use super::sha256::{Block, Keying, START, State};

/// How many messages are hashed side by side, where there are so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One after the other, by the `sha2` crate.
    One,
    /// Two, with the processor's SHA-256 instructions.
    Pairs,
    /// Eight, with AVX-512VL or AVX2.
    Lanes8,
    /// Sixteen, with AVX-512.
    Lanes16,
}

impl Width {
    /// All of them, the widest first.
    pub const ALL: [Width; 4] = [Width::Lanes16, Width::Lanes8, Width::Pairs, Width::One];

    /// Its name, as options have it.
    pub fn name(self) -> &'static str {
        match self {
            Width::Lanes16 => "lanes16",
            Width::Lanes8 => "lanes8",
            Width::Pairs => "pairs",
            Width::One => "one",
        }
    }
}

/// The widths in use: each, as wide as it is, from so many messages on; what is left over is done by the next narrower
/// one. Without any, one message after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashing {
    pub(super) sixteen: Option<Stage<Sixteen>>,
    pub(super) eight: Option<Stage<Eight>>,
    pub(super) two: Option<Two>,
}

/// One width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<C> {
    pub(super) with: C,
    /// With fewer messages than these, at least 2, the narrower ones are faster.
    pub(super) least: usize,
}

static CHOSEN: OnceLock<Hashing> = OnceLock::new();

/// Decides for the whole process how many messages are hashed side by side: what is fastest by `clock`, unless it is
/// decided already.
pub fn choose_fastest(clock: impl Fn() -> Duration) {
    CHOSEN.get_or_init(|| choice::fastest(Machine::here(), clock));
}

/// Decides the same, whatever is fastest.
///
/// # Errors
///
/// If the processor cannot do that, or something else was decided before: which.
pub fn choose(width: Width) -> Result<(), &'static str> {
    let chosen = of(width, Machine::here())?;
    match CHOSEN.get_or_init(|| chosen).width() == width {
        true => Ok(()),
        false => Err("how digests are made was decided before"),
    }
}

/// What is forced is not measured: where there are SHA-256 instructions, a step of all lanes is taken to last as long as
/// more than half as many messages by pairs, and elsewhere as a few messages.
pub(super) fn of(width: Width, machine: Machine) -> Result<Hashing, &'static str> {
    let Machine { two, eight, sixteen } = machine;
    let least = |lanes: usize| if two.is_some() { lanes / 2 + 2 } else { lanes / 8 + 1 };
    let none = Hashing { sixteen: None, eight: None, two: None };
    match width {
        Width::One => Ok(none),
        Width::Pairs => {
            two.map(|_| Hashing { two, ..none }).ok_or("this processor has no instructions for SHA-256")
        }
        Width::Lanes8 => {
            let stage = eight.map(|with| Stage { with, least: least(8) });
            stage.map(|eight| Hashing { eight: Some(eight), two, ..none }).ok_or("this processor has no AVX2")
        }
        Width::Lanes16 => {
            let stage = sixteen.map(|with| Stage { with, least: least(16) });
            stage
                .map(|sixteen| Hashing { sixteen: Some(sixteen), two, ..none })
                .ok_or("this processor has no AVX-512")
        }
    }
}

impl Hashing {
    /// What was chosen; until something was, pairs where the processor has them.
    pub(super) fn chosen() -> Hashing {
        CHOSEN.get().copied().unwrap_or_else(|| Hashing { sixteen: None, eight: None, two: Two::detect() })
    }

    /// The widest.
    pub(super) fn width(self) -> Width {
        match self {
            Hashing { sixteen: Some(_), .. } => Width::Lanes16,
            Hashing { eight: Some(_), .. } => Width::Lanes8,
            Hashing { two: Some(_), .. } => Width::Pairs,
            _ => Width::One,
        }
    }

    /// From how many messages on, and up to how many, they are hashed together.
    pub(super) fn together(self) -> (usize, usize) {
        match (self.sixteen.map(|stage| stage.least), self.eight.map(|stage| stage.least)) {
            (Some(sixteen), eight) => (eight.map_or(sixteen, |eight| eight.min(sixteen)), 16),
            (None, Some(eight)) => (eight, 8),
            (None, None) => (2, 2),
        }
    }

    /// Hands the digest of each of at most `most` messages to `done`, in the order in which they are finished.
    pub(super) fn digest_each<'a, T: Copy>(
        self,
        scheme: &Scheme,
        most: usize,
        messages: impl Iterator<Item = (&'a [u8], T)>,
        mut done: impl FnMut([u8; DIGEST], T),
    ) {
        if self.width() == Width::One {
            return messages.for_each(|(message, tag)| done(scheme.digest(message), tag));
        }
        let (keying, mut messages) = (scheme.keying(), Messages(messages));
        match self.sixteen {
            Some(Stage { with, least }) if most >= least => {
                let mut lanes = Lanes::<_, 16>::new(keying);
                let left = lanes.run(with, least, &mut messages, &mut done);
                self.by_eight(keying, left, &mut lanes.left(), &mut done);
            }
            _ => self.by_eight(keying, most, &mut messages, &mut done),
        }
    }

    fn by_eight<'a, T: Copy>(
        self,
        keying: &Keying,
        most: usize,
        source: &mut impl Source<'a, T>,
        done: &mut impl FnMut([u8; DIGEST], T),
    ) {
        match self.eight {
            Some(Stage { with, least }) if most >= least => {
                let mut lanes = Lanes::<_, 8>::new(keying);
                let left = lanes.run(with, least, source, done);
                self.by_two(keying, left, &mut lanes.left(), done);
            }
            _ => self.by_two(keying, most, source, done),
        }
    }

    fn by_two<'a, T: Copy>(
        self,
        keying: &Keying,
        most: usize,
        source: &mut impl Source<'a, T>,
        done: &mut impl FnMut([u8; DIGEST], T),
    ) {
        match self.two {
            Some(with) if most >= 2 => {
                let mut lanes = Lanes::<_, 2>::new(keying);
                if lanes.run(with, 2, source, done) > 0 {
                    Lanes::<_, 1>::new(keying).run(Alone, 1, &mut lanes.left(), done);
                }
            }
            _ if most > 0 => {
                Lanes::<_, 1>::new(keying).run(Alone, 1, source, done);
            }
            _ => {}
        }
    }

    /// Adds to each state the first `count` of its blocks.
    pub(super) fn compress_each(self, mut streams: &mut [(&mut State, &[Block])], count: usize) {
        while !streams.is_empty() {
            let n = streams.len();
            streams = match self {
                Hashing { sixteen: Some(Stage { with, least }), .. } if n >= least => {
                    compress::<16>(with, streams, count)
                }
                Hashing { eight: Some(Stage { with, least }), .. } if n >= least => {
                    compress::<8>(with, streams, count)
                }
                Hashing { two: Some(with), .. } if n >= 2 => compress::<2>(with, streams, count),
                _ => compress::<1>(Alone, streams, count),
            };
        }
    }

    /// Every width that this processor has, with others beside it and without, and used from few and from many messages on.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn all() -> Vec<Hashing> {
        let Machine { two, sixteen, .. } = Machine::here();
        let mut all = vec![Hashing { sixteen: None, eight: None, two: None }];
        all.extend(two.map(|two| Hashing { two: Some(two), ..all[0] }));
        for rest in all.clone() {
            let eights = Eight::detect().flat_map(|with| [2, 5, 8].map(|least| Stage { with, least }));
            all.extend(eights.map(|stage| Hashing { eight: Some(stage), ..rest }));
        }
        for rest in [0, all.len() - 1].map(|at| all[at]) {
            let sixteens = sixteen.into_iter().flat_map(|with| [2, 9, 16].map(|least| Stage { with, least }));
            all.extend(sixteens.map(|stage| Hashing { sixteen: Some(stage), ..rest }));
        }
        all
    }
}

/// Adds their first `count` blocks to as many streams as there are lanes, and gives back the others.
fn compress<'s, 'a, 'b, const N: usize>(
    with: impl Compress<N>,
    streams: &'s mut [(&'a mut State, &'b [Block])],
    count: usize,
) -> &'s mut [(&'a mut State, &'b [Block])] {
    let (group, others) = streams.split_at_mut(streams.len().min(N));
    let mut states = [START; N];
    let mut bodies = [&[][..]; N];
    for ((to, body), (state, blocks)) in states.iter_mut().zip(&mut bodies).zip(&mut *group) {
        (*to, *body) = (**state, &blocks[..count]);
    }
    with.compress(&mut states, &Runs::of(bodies), count);
    for ((state, _), from) in group.iter_mut().zip(states) {
        **state = from;
    }
    others
}

/// What computes SHA-256 here, for the line at start.
pub fn implementation() -> String {
    let Hashing { sixteen, eight, two } = Hashing::chosen();
    let from = |least: usize, lanes: usize| match least < lanes {
        true => format!(" from {least} on"),
        false => String::new(),
    };
    let two = two.map(|_| match cfg!(target_arch = "aarch64") {
        true => "ARMv8 SHA-2 instructions, two frames at a time".to_owned(),
        false => "SHA-NI instructions, two frames at a time".to_owned(),
    });
    let eight = eight
        .map(|Stage { with, least }| format!("{}, eight frames at a time{}", with.name(), from(least, 8)));
    let sixteen =
        sixteen.map(|Stage { least, .. }| format!("AVX-512, sixteen frames at a time{}", from(least, 16)));
    let all: Vec<String> = [sixteen, eight, two].into_iter().flatten().collect();
    if all.is_empty() { "the sha2 crate, one frame at a time".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scheme: &Scheme, hashing: Hashing, lengths: &[usize]) {
        let bytes: Vec<u8> =
            (0..*lengths.iter().max().unwrap_or(&0)).map(|i| (i * 7 + i / 256) as u8).collect();
        let mut seen = vec![false; lengths.len()];
        let messages = lengths.iter().enumerate().map(|(i, &len)| (&bytes[..len], i));
        hashing.digest_each(scheme, lengths.len(), messages, |digest, i| {
            assert_eq!(digest, scheme.digest(&bytes[..lengths[i]]), "{} of {lengths:?}", lengths[i]);
            assert!(!std::mem::replace(&mut seen[i], true), "{i} of {lengths:?} is done twice");
        });
        assert!(!seen.contains(&false), "{hashing:?}, {lengths:?}: {seen:?}");
    }

    fn schemes() -> [Scheme; 3] {
        [Scheme::Sha256, Scheme::keyed(b"secret"), Scheme::keyed(&[7; 100])]
    }

    #[test]
    fn every_length_beside_every_other_agrees_with_the_library() {
        for hashing in Hashing::all() {
            for scheme in schemes() {
                for a in 0..300 {
                    // Others around it, so that each length meets each, in lanes and in what is left.
                    let lengths: Vec<usize> = (0..300).step_by(7).map(|b| (a + b) % 300).collect();
                    check(&scheme, hashing, &lengths);
                    check(&scheme, hashing, &[&[a; 16][..], &[299 - a; 3]].concat());
                }
            }
        }
    }

    #[test]
    fn every_pair_of_lengths_agrees_with_the_library() {
        let Ok(pairs) = of(Width::Pairs, Machine::here()) else { return };
        for scheme in schemes() {
            for a in 0..300 {
                (0..300).for_each(|b| check(&scheme, pairs, &[a, b]));
            }
        }
    }

    #[test]
    fn any_number_of_messages_of_any_length_is_done_once() {
        let mut random = fastrand::Rng::with_seed(16);
        for scheme in schemes() {
            for count in 0..70 {
                let lengths: Vec<usize> = (0..count)
                    .map(|_| if random.u8(..) < 200 { random.usize(..400) } else { random.usize(..9000) })
                    .collect();
                Hashing::all().into_iter().for_each(|hashing| check(&scheme, hashing, &lengths));
            }
        }
    }

    #[test]
    fn a_width_is_what_it_says_or_cannot_be_had() {
        let here = Machine::here();
        let none = Machine { two: None, eight: None, sixteen: None };
        for machine in [here, Machine { two: None, ..here }, Machine { sixteen: None, ..here }, none] {
            for width in Width::ALL {
                let found = of(width, machine).map(Hashing::width).ok();
                assert_eq!(found, machine.has(width).then_some(width), "{machine:?}");
            }
        }
    }

    #[test]
    fn streams_go_on_together_as_far_as_they_are_told() {
        let bytes: Vec<u8> = (0..64 * 40u32).map(|i| (i * 7 + i / 256) as u8).collect();
        let blocks = bytes.as_chunks().0;
        for hashing in Hashing::all() {
            for n in 0..36 {
                let mut states = vec![START; n];
                let mut streams: Vec<_> =
                    states.iter_mut().enumerate().map(|(at, state)| (state, &blocks[at..])).collect();
                hashing.compress_each(&mut streams, 4);
                for (at, state) in states.iter().enumerate() {
                    let mut expected = START;
                    sha2::block_api::compress256(&mut expected, &blocks[at..at + 4]);
                    assert_eq!(*state, expected, "{at} of {n}, {hashing:?}");
                }
            }
        }
    }
}
