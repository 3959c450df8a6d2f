//! SHA-256 of two streams at once, with the SHA instructions of x86-64.
//!
//! One stream is bound by the latency of its chain of `sha256rnds2`: each waits for the one before.
//! Two streams, interleaved, wait for each other for free: 2.3 times the bytes a second of one stream
//! on the machine where this was measured. No crate that we found does it, so it is here. The
//! algorithm is FIPS 180-4, section 6.2.2; what the instructions do is in Intel's "SHA Extensions".
//!
//! # Why it is sound
//!
//! The only `unsafe` is one call: from [`ShaNi::compress`](Compress::compress), which may be called anywhere, to
//! [`compress_two`], which is marked `target_feature(enable = "sha,ssse3,sse4.1,avx")`. All that such a call asks
//! of the caller is that the processor has those features. It does:
//!
//! - the call needs a [`ShaNi`], whose field is private to this file;
//! - the one place in this file that makes one is [`ShaNi::detect`], after it found all four features;
//! - features do not go away while a process runs, so a `ShaNi` may be copied and sent to other threads.
//!
//! Nothing behind the call is unsafe. Functions with the same features call each other safely, and the
//! intrinsics used here work on values alone: blocks come in by `from_le_bytes` of checked slices and states
//! leave by value, with no pointer, no transmute and no assumption about alignment. `tests/house_rules.rs` counts the word in the whole tree, so that another one cannot
//! come in unseen.

use std::arch::x86_64::*;

use super::lanes::{Compress, Runs};
use super::sha256::{Block, K, State};

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
}

impl Compress<2> for ShaNi {
    fn compress(self, states: &mut [State; 2], runs: &Runs<'_, 2>, count: usize) {
        // SAFETY: `self` was made by `detect`, which found every feature that is enabled there.
        #[allow(unsafe_code)]
        unsafe {
            compress_two(states, runs, count);
        }
    }
}

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
fn compress_two(states: &mut [State; 2], runs: &Runs<'_, 2>, count: usize) {
    let [mut a, mut b] = states.each_ref().map(|state| Lane::load(state));
    for at in 0..count {
        let (block_a, block_b) = (runs.block(0, at), runs.block(1, at));
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
    let [state_a, state_b] = states;
    a.store(state_a);
    b.store(state_b);
}
