//! SHA-256 of eight streams at once, with AVX2.
//!
//! For servers that have no SHA instructions, most of Intel's before Ice Lake: there one stream is slow. Each 32-bit word
//! of a register is one stream's, so no stream waits for another. What moves words and adds them serves `sha_avx512vl.rs`,
//! too: every processor that has those instructions has these.
//!
//! # Why it is sound
//!
//! There are four `unsafe` calls. One is from [`Avx2::compress`], which may be called anywhere, to the function of that
//! name, which is marked `target_feature(enable = "avx2")`: the processor has those features, for the call needs
//! an [`Avx2`], whose field is private to this file, and [`Avx2::detect`], the one place that makes one, found
//! them. They do not go away while a process runs.
//!
//! The others are the three loads and stores of 32 bytes, which ask for no alignment: each reads or writes one whole
//! array of 32 bytes behind a reference. All else works on values.

use std::arch::x86_64::*;

use super::lanes::{Compress, Runs};
use super::sha256::{K, State};

const LANES: usize = 8;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Looks for the instructions; cheap after the first time.
    pub(super) fn detect() -> Option<Avx2> {
        let has = is_x86_feature_detected!("avx2");
        has.then_some(Avx2(()))
    }
}

impl Compress<LANES> for Avx2 {
    fn compress(self, states: &mut [State; LANES], runs: &Runs<'_, LANES>, count: usize) {
        // SAFETY: `self` was made by `detect`, which found every feature that is enabled there.
        #[allow(unsafe_code)]
        unsafe {
            compress(states, runs, count);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(state: &State) -> __m256i {
    // SAFETY: the 32 bytes of an array.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(state.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_half(half: &[u8; 32]) -> __m256i {
    // SAFETY: the 32 bytes of an array.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(half.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store(state: &mut State, from: __m256i) {
    // SAFETY: the 32 bytes of an array that is ours alone.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_storeu_si256(state.as_mut_ptr().cast(), from);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn ror<const R: i32, const L: i32>(a: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_srli_epi32::<R>(a), _mm256_slli_epi32::<L>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_and_si256(a, _mm256_xor_si256(b, c)), c)
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn shr<const N: i32>(a: __m256i) -> __m256i {
    _mm256_srli_epi32::<N>(a)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn constant(t: usize) -> __m256i {
    _mm256_set1_epi32(K[t] as i32)
}

/// The rows of eight words as columns.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(r: [__m256i; 8]) -> [__m256i; 8] {
    // Pairs of 32-bit words, then of 64-bit ones, within each 128 bits.
    let mut t = r;
    for i in [0, 4] {
        let (a, b, c, d) = (r[i], r[i + 1], r[i + 2], r[i + 3]);
        let (ab_lo, ab_hi) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (cd_lo, cd_hi) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        t[i] = _mm256_unpacklo_epi64(ab_lo, cd_lo);
        t[i + 1] = _mm256_unpackhi_epi64(ab_lo, cd_lo);
        t[i + 2] = _mm256_unpacklo_epi64(ab_hi, cd_hi);
        t[i + 3] = _mm256_unpackhi_epi64(ab_hi, cd_hi);
    }
    // t[4g + w] holds, in its 128-bit half q, word 4q + w of the rows 4g..4g+4.
    let mut out = t;
    for w in 0..4 {
        out[w] = _mm256_permute2x128_si256::<0x20>(t[w], t[4 + w]);
        out[4 + w] = _mm256_permute2x128_si256::<0x31>(t[w], t[4 + w]);
    }
    out
}

#[target_feature(enable = "avx2")]
fn compress(states: &mut [State; LANES], runs: &Runs<'_, LANES>, count: usize) {
    compress_eight!(states, runs, count);
}
