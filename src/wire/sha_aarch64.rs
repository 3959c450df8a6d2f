//! SHA-256 of two streams at once, with the SHA-2 instructions of ARMv8.
//!
//! For the reason in `sha_ni.rs`: one stream waits for the latency of its own chain, here of `sha256h` and
//! `sha256h2`. What the instructions do is in the "Arm Architecture Reference Manual" for A-profile. It was
//! compared with `sha2` under an emulator; what it gains on which processor was not measured.
//!
//! # Why it is sound
//!
//! As in `sha_ni.rs`: the only `unsafe` is one call into a function with `target_feature`, which needs a
//! [`Sha2`], which only [`Sha2::detect`] makes, after it found the features. Behind it all is safe; values come
//! in and leave by value, not through pointers.

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::lanes::{Compress, Runs};
use super::sha256::{Block, K, State};

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sha2(());

impl Sha2 {
    /// Looks for the instructions; cheap after the first time.
    pub(super) fn detect() -> Option<Sha2> {
        let has = is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("sha2");
        has.then_some(Sha2(()))
    }
}

impl Compress<2> for Sha2 {
    fn compress(self, states: &mut [State; 2], runs: &Runs<'_, 2>, count: usize) {
        // SAFETY: `self` was made by `detect`, which found every feature that is enabled there.
        #[allow(unsafe_code)]
        unsafe {
            compress_two(states, runs, count);
        }
    }
}

/// The working variables.
#[derive(Clone, Copy)]
struct Lane {
    abcd: uint32x4_t,
    efgh: uint32x4_t,
}

impl Lane {
    #[inline]
    #[target_feature(enable = "neon,sha2")]
    fn load(state: &State) -> Lane {
        let [a, b, c, d, e, f, g, h] = *state;
        Lane { abcd: four([a, b, c, d]), efgh: four([e, f, g, h]) }
    }

    #[inline]
    #[target_feature(enable = "neon,sha2")]
    fn store(self, state: &mut State) {
        *state = [
            vgetq_lane_u32::<0>(self.abcd),
            vgetq_lane_u32::<1>(self.abcd),
            vgetq_lane_u32::<2>(self.abcd),
            vgetq_lane_u32::<3>(self.abcd),
            vgetq_lane_u32::<0>(self.efgh),
            vgetq_lane_u32::<1>(self.efgh),
            vgetq_lane_u32::<2>(self.efgh),
            vgetq_lane_u32::<3>(self.efgh),
        ];
    }

    /// Four rounds with four words of the message schedule.
    #[inline]
    #[target_feature(enable = "neon,sha2")]
    fn four_rounds(&mut self, words: uint32x4_t, constants: uint32x4_t) {
        let sum = vaddq_u32(words, constants);
        let before = self.abcd;
        self.abcd = vsha256hq_u32(self.abcd, self.efgh, sum);
        self.efgh = vsha256h2q_u32(self.efgh, before, sum);
    }

    #[inline]
    #[target_feature(enable = "neon,sha2")]
    fn add(&mut self, before: Lane) {
        self.abcd = vaddq_u32(self.abcd, before.abcd);
        self.efgh = vaddq_u32(self.efgh, before.efgh);
    }
}

/// Four words, the first in the lowest lane.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn four(words: [u32; 4]) -> uint32x4_t {
    let two = |low: u32, high: u32| vcreate_u32(u64::from(high) << 32 | u64::from(low));
    vcombine_u32(two(words[0], words[1]), two(words[2], words[3]))
}

/// The constants of the rounds `4 i` to `4 i + 3`.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn constants(i: usize) -> uint32x4_t {
    four([K[4 * i], K[4 * i + 1], K[4 * i + 2], K[4 * i + 3]])
}

/// The `i`th four words of a block.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn words(block: &Block, i: usize) -> uint32x4_t {
    let half = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    let bytes = vcombine_u8(vcreate_u8(half(16 * i)), vcreate_u8(half(16 * i + 8)));
    vreinterpretq_u32_u8(vrev32q_u8(bytes))
}

/// The next four words of the message schedule, after these sixteen.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn schedule(w0: uint32x4_t, w1: uint32x4_t, w2: uint32x4_t, w3: uint32x4_t) -> uint32x4_t {
    vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3)
}

#[target_feature(enable = "neon,sha2")]
fn compress_two(states: &mut [State; 2], runs: &Runs<'_, 2>, count: usize) {
    let [mut a, mut b] = states.each_ref().map(|state| Lane::load(state));
    for at in 0..count {
        let (block_a, block_b) = (runs.block(0, at), runs.block(1, at));
        let before = (a, b);
        let mut wa = [words(block_a, 0), words(block_a, 1), words(block_a, 2), words(block_a, 3)];
        let mut wb = [words(block_b, 0), words(block_b, 1), words(block_b, 2), words(block_b, 3)];
        // Written out, as in `sha_ni.rs`.
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
