//! Where the simulation's choices come from: a seed, or a fuzzer's bytes.

/// A source of choices. The same source makes the same choices.
pub enum Dice<'a> {
    /// SplitMix64.
    Seed(u64),
    /// Bytes; when they are used up, every choice is the first.
    Bytes(&'a [u8]),
}

impl Dice<'_> {
    /// A number below `n`, at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        match self {
            Dice::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                ((z ^ (z >> 31)) % n as u64) as usize
            }
            Dice::Bytes(bytes) => {
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

    /// Whether there are no more choices to make.
    pub fn is_used_up(&self) -> bool {
        matches!(self, Dice::Bytes([]))
    }
}
