//! The digests of many messages, sixteen at a time.
//!
//! Lanes go on in step, as many blocks as all have left in one run; one that is done takes the next message. When there
//! are no more messages and so few lanes are left that pairs are faster, pairs finish them, or the `sha2` crate where
//! the processor has no instructions for pairs.

use super::header::DIGEST;
#[cfg(not(target_arch = "x86_64"))]
use super::pairs::Block;
use super::pairs::{Keying, Lane, Pairs, State};
#[cfg(target_arch = "x86_64")]
use super::sha_avx512::Avx512 as Instructions;

/// How many messages are hashed side by side.
pub(super) const LANES: usize = 16;

/// The states of all lanes, word by word.
#[derive(Clone)]
pub(super) struct States(pub(super) [[u32; LANES]; 8]);

impl States {
    fn get(&self, lane: usize) -> State {
        self.0.map(|words| words[lane])
    }

    fn set(&mut self, lane: usize, state: &State) {
        for (words, word) in self.0.iter_mut().zip(state) {
            words[lane] = *word;
        }
    }
}

/// How sixteen lanes are compressed: proof that it can be done on this processor, and what finishes the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sixteen {
    instructions: Instructions,
    rest: Option<Pairs>,
    /// With fewer lanes than these, that is faster.
    least: usize,
}

/// No processor of another kind has instructions that we know.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
enum Instructions {}

#[cfg(not(target_arch = "x86_64"))]
impl Instructions {
    fn detect() -> Option<Instructions> {
        None
    }

    fn compress(self, _: &mut States, _: &[&[Block]; LANES], _: usize) {
        match self {}
    }
}

impl Sixteen {
    /// None where this processor cannot; from `least` messages on, at least two, it is faster than without.
    pub(super) fn detect(least: usize) -> Option<Sixteen> {
        let instructions = Instructions::detect()?;
        Some(Sixteen { instructions, rest: Pairs::detect(), least: least.clamp(2, LANES) })
    }

    /// What finishes the last ones.
    pub(super) fn rest(self) -> Option<Pairs> {
        self.rest
    }

    /// From how many lanes on it is faster than pairs.
    #[cfg(test)]
    pub(super) fn least(self) -> usize {
        self.least
    }

    /// Hands the digest of each message to `done`, in the order in which they are finished.
    pub(super) fn digest_each<'a, T: Copy>(
        self,
        keying: &Keying,
        messages: impl Iterator<Item = (&'a [u8], T)>,
        mut done: impl FnMut([u8; DIGEST], T),
    ) {
        let mut messages = messages.fuse();
        let mut lanes = [const { None }; LANES];
        let mut busy = 0;
        let mut states = States([[0; LANES]; 8]);
        for (message, tag) in messages.by_ref().take(LANES) {
            let lane = lanes[busy].insert(Lane::new(message, tag, keying));
            states.set(busy, &lane.state);
            busy += 1;
        }
        while busy >= self.least {
            self.step(&mut states, &mut lanes, |lane| match lane.renew(keying, &mut messages, &mut done) {
                true => true,
                false => {
                    done(lane.digest(), lane.tag());
                    busy -= 1;
                    false
                }
            });
        }
        let left = lanes.into_iter().enumerate().filter_map(|(at, lane)| {
            lane.map(|mut lane| {
                lane.state = states.get(at);
                lane
            })
        });
        match self.rest {
            Some(pairs) => pairs.finish_each(left, done),
            None => left.for_each(|lane| lane.finish_alone(&mut done)),
        }
    }

    /// Compresses as many blocks as all lanes have in one run. Each that is done then is asked whether it goes on with
    /// another message.
    fn step<'a, T: Copy>(
        self,
        states: &mut States,
        lanes: &mut [Option<Lane<'a, T>>; LANES],
        mut goes_on: impl FnMut(&mut Lane<'a, T>) -> bool,
    ) {
        let runs = || lanes.iter().flatten().map(Lane::run);
        let Some(shortest) = runs().min_by_key(|run| run.len()) else { return };
        let count = shortest.len();
        // Where there is no lane, another's blocks are hashed for nobody.
        let runs = lanes.each_ref().map(|lane| lane.as_ref().map_or(shortest, Lane::run));
        self.instructions.compress(states, &runs, count);
        for (at, place) in lanes.iter_mut().enumerate() {
            let Some(lane) = place else { continue };
            if lane.consume(count) {
                continue;
            }
            // It has no block left: its hash is there, or its inner hash.
            lane.state = states.get(at);
            lane.begin_outer();
            if lane.is_done() && !goes_on(lane) {
                *place = None;
                continue;
            }
            states.set(at, &lane.state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Scheme;

    fn check(scheme: &Scheme, keying: &Keying, least: usize, lengths: &[usize]) {
        let Some(sixteen) = Sixteen::detect(least) else {
            return eprintln!("skipped: AVX-512 is missing, and nothing is hashed sixteen at a time");
        };
        let bytes: Vec<u8> =
            (0..*lengths.iter().max().unwrap_or(&0)).map(|i| (i * 7 + i / 256) as u8).collect();
        let mut seen = vec![false; lengths.len()];
        let messages = lengths.iter().enumerate().map(|(i, &len)| (&bytes[..len], i));
        sixteen.digest_each(keying, messages, |digest, i| {
            assert_eq!(digest, scheme.digest(&bytes[..lengths[i]]), "{} of {lengths:?}", lengths[i]);
            assert!(!std::mem::replace(&mut seen[i], true), "{i} of {lengths:?} is done twice");
        });
        assert!(!seen.contains(&false), "{lengths:?}: {seen:?}");
    }

    fn schemes() -> [(Scheme, Keying); 3] {
        [
            (Scheme::Sha256, Keying::None),
            (Scheme::keyed(b"secret"), Keying::hmac(b"secret")),
            (Scheme::keyed(&[7; 100]), Keying::hmac(&[7; 100])),
        ]
    }

    #[test]
    fn every_length_beside_every_other_agrees_with_the_library() {
        for (scheme, keying) in schemes() {
            for a in 0..300 {
                // Sixteen others around it, so that each length meets each, in lanes and in what is left.
                let lengths: Vec<usize> = (0..300).step_by(7).map(|b| (a + b) % 300).collect();
                check(&scheme, &keying, 2 + a % 15, &lengths);
                check(&scheme, &keying, 16, &[&[a; 16][..], &[299 - a; 3]].concat());
            }
        }
    }

    #[test]
    fn any_number_of_messages_of_any_length_is_done_once() {
        let mut random = fastrand::Rng::with_seed(16);
        for (scheme, keying) in schemes() {
            for count in 0..70 {
                let lengths: Vec<usize> = (0..count)
                    .map(|_| if random.u8(..) < 200 { random.usize(..400) } else { random.usize(..9000) })
                    .collect();
                for least in [2, 7, 11, 16] {
                    check(&scheme, &keying, least, &lengths);
                }
            }
        }
    }
}
