//! Where the simulation's choices come from: a seed, or a fuzzer's bytes.

use crate::core::random::Rng;

/// A source of choices. The same source makes the same choices.
pub enum SimRng<'a> {
    /// Any number of them.
    Seed(Rng),
    /// Bytes; when they are used up, every choice is the first.
    Bytes(&'a [u8]),
}

impl SimRng<'_> {
    /// The same choices for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        SimRng::Seed(Rng::from_seed(seed))
    }

    /// A number below `n`, at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        match self {
            SimRng::Seed(rng) => rng.below(n as u64) as usize,
            SimRng::Bytes(bytes) => {
                let mut value = 0;
                // As many bytes as `n` needs, so that few are wasted.
                let mut span = 1;
                while span < n {
                    let Some((first, rest)) = bytes.split_first() else { break };
                    value = value << 8 | usize::from(*first);
                    span <<= 8;
                    *bytes = rest;
                }
                value % n
            }
        }
    }

    /// Whether something with the odds of one in `n` happens.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of these.
    pub fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[self.below(from.len())]
    }

    /// Whether a fuzzer makes the choices: what it finds it finds in a small world, of which it sees many a second.
    pub fn is_fuzzed(&self) -> bool {
        matches!(self, SimRng::Bytes(_))
    }

    /// Whether there are no more choices to make.
    pub fn is_used_up(&self) -> bool {
        matches!(self, SimRng::Bytes([]))
    }
}
