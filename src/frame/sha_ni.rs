//! SHA-256 of two streams at once, with the SHA instructions of x86-64.
//!
//! One stream is bound by the latency of its chain of `sha256rnds2`: each waits for the one before.
//! Two streams, interleaved, wait for each other for free: 2.3 times the bytes a second of one stream
//! on the machine where this was measured. No crate that we found does it, so it is here. The
//! algorithm is FIPS 180-4, section 6.2.2; what the instructions do is in Intel's "SHA Extensions".
//!
//! The only `unsafe` is the call from code that may run anywhere into code that needs the
//! instructions; [`ShaNi`] exists only where they do.

use std::arch::x86_64::*;

use super::pairs::{Block, State};

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShaNi(());

impl ShaNi {
    /// Looks for the instructions; cheap after the first time.
    pub(super) fn detect() -> Option<ShaNi> {
        let has = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("avx");
        has.then_some(ShaNi(()))
    }

    /// Adds as many blocks to each of two states, from two equally long runs of blocks.
    pub(super) fn compress_two(self, a: &mut State, blocks_a: &[Block], b: &mut State, blocks_b: &[Block]) {
        debug_assert_eq!(blocks_a.len(), blocks_b.len());
        // SAFETY: `self` was made by `detect`, which found every feature that is enabled there.
        #[allow(unsafe_code)]
        unsafe {
            compress_two(a, blocks_a, b, blocks_b);
        }
    }
}

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// The working variables, in the order in which the instructions want them.
#[derive(Clone, Copy)]
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
}

impl Lane {
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1,avx")]
    fn load(state: &State) -> Lane {
        let [a, b, c, d, e, f, g, h] = state.map(|word| word as i32);
        Lane { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1,avx")]
    fn store(self, state: &mut State) {
        *state = [
            _mm_extract_epi32::<3>(self.abef),
            _mm_extract_epi32::<2>(self.abef),
            _mm_extract_epi32::<3>(self.cdgh),
            _mm_extract_epi32::<2>(self.cdgh),
            _mm_extract_epi32::<1>(self.abef),
            _mm_extract_epi32::<0>(self.abef),
            _mm_extract_epi32::<1>(self.cdgh),
            _mm_extract_epi32::<0>(self.cdgh),
        ]
        .map(|word| word as u32);
    }

    /// Four rounds with four words of the message schedule.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1,avx")]
    fn four_rounds(&mut self, words: __m128i, constants: __m128i) {
        let sum = _mm_add_epi32(words, constants);
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, sum);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32::<0x0e>(sum));
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1,avx")]
    fn add(&mut self, before: Lane) {
        self.abef = _mm_add_epi32(self.abef, before.abef);
        self.cdgh = _mm_add_epi32(self.cdgh, before.cdgh);
    }
}

/// The constants of the rounds `4 i` to `4 i + 3`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn constants(i: usize) -> __m128i {
    let k = |j: usize| K[4 * i + j] as i32;
    _mm_set_epi32(k(3), k(2), k(1), k(0))
}

/// The `i`th four words of a block.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn words(block: &Block, i: usize) -> __m128i {
    let half = |at: usize| i64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm_shuffle_epi8(_mm_set_epi64x(half(16 * i + 8), half(16 * i)), swap)
}

/// The next four words of the message schedule, after these sixteen.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn schedule(w0: __m128i, w1: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
    _mm_sha256msg2_epu32(sum, w3)
}

#[target_feature(enable = "sha,ssse3,sse4.1,avx")]
fn compress_two(state_a: &mut State, blocks_a: &[Block], state_b: &mut State, blocks_b: &[Block]) {
    let (mut a, mut b) = (Lane::load(state_a), Lane::load(state_b));
    for (block_a, block_b) in blocks_a.iter().zip(blocks_b) {
        let before = (a, b);
        let mut wa = [words(block_a, 0), words(block_a, 1), words(block_a, 2), words(block_a, 3)];
        let mut wb = [words(block_b, 0), words(block_b, 1), words(block_b, 2), words(block_b, 3)];
        // Written out, so that the words stay in registers and the two chains lie side by side. Each four
        // words are renewed right after their rounds: of the orders that were tried, this one leaves the
        // compiler the fewest words to hold.
        macro_rules! rounds {
            ($($i:literal)*) => { $(
                a.four_rounds(wa[$i % 4], constants($i));
                b.four_rounds(wb[$i % 4], constants($i));
                if $i < 12 {
                    wa[$i % 4] = schedule(wa[$i % 4], wa[($i + 1) % 4], wa[($i + 2) % 4], wa[($i + 3) % 4]);
                    wb[$i % 4] = schedule(wb[$i % 4], wb[($i + 1) % 4], wb[($i + 2) % 4], wb[($i + 3) % 4]);
                }
            )* };
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        a.add(before.0);
        b.add(before.1);
    }
    a.store(state_a);
    b.store(state_b);
}
