//! SHA-256 of eight streams at once, in 256-bit registers with AVX-512VL.
//!
//! As `sha_avx2.rs`, but rotations and the functions of three words are one instruction each. Eight messages fill it,
//! where 512-bit registers need sixteen.
//!
//! # Why it is sound
//!
//! There is one `unsafe` call, from [`Avx512Vl::compress`], which may be called anywhere, to the function of that name,
//! which is marked `target_feature(enable = "avx2,avx512f,avx512vl")`: the processor has those features, for the call
//! needs an [`Avx512Vl`], whose field is private to this file, and [`Avx512Vl::detect`], the one place that makes one,
//! found them. They do not go away while a process runs. All else works on values, or is of `sha_avx2.rs`.

use std::arch::x86_64::*;

use super::lanes::{Compress, Runs};
use super::sha_avx2::{add, constant, load, load_half, shr, store, transpose};
use super::sha256::State;

const LANES: usize = 8;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Vl(());

impl Avx512Vl {
    /// Looks for the instructions; cheap after the first time.
    pub(super) fn detect() -> Option<Avx512Vl> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl");
        has.then_some(Avx512Vl(()))
    }
}

impl Compress<LANES> for Avx512Vl {
    fn compress(self, states: &mut [State; LANES], runs: &Runs<'_, LANES>, count: usize) {
        // SAFETY: `self` was made by `detect`, which found every feature that is enabled there.
        #[allow(unsafe_code)]
        unsafe {
            compress(states, runs, count);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn ror<const R: i32, const L: i32>(a: __m256i) -> __m256i {
    _mm256_ror_epi32::<R>(a)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn choose(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0xca>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn compress(states: &mut [State; LANES], runs: &Runs<'_, LANES>, count: usize) {
    compress_eight!(states, runs, count);
}
