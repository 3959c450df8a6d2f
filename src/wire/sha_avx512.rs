//! SHA-256 of sixteen streams at once, with AVX-512.
//!
//! Each 32-bit word of a register is one stream's, so no stream waits for another, and rotations and the functions of
//! three words are one instruction each: twice the bytes a second of one stream with the SHA instructions, where the
//! processor has two 512-bit units. The algorithm is FIPS 180-4, section 6.2.2.
//!
//! # Why it is sound
//!
//! There are four `unsafe` calls. One is from [`Avx512::compress`], which may be called anywhere, to the function of that
//! name, which is marked `target_feature(enable = "avx512f,avx512bw")`: the processor has those features, for the call
//! needs an [`Avx512`], whose field is private to this file, and [`Avx512::detect`], the one place that makes one, found
//! them. They do not go away while a process runs.
//!
//! The others are the three loads and stores of 64 and 32 bytes, which ask for no alignment: each reads or writes one
//! whole array of that length behind a reference. All else works on values.

use std::arch::x86_64::*;

use super::lanes::{Compress, Runs};
use super::sha256::{Block, K, State};

const LANES: usize = 16;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Looks for the instructions; cheap after the first time.
    pub(super) fn detect() -> Option<Avx512> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has.then_some(Avx512(()))
    }
}

impl Compress<LANES> for Avx512 {
    fn compress(self, states: &mut [State; LANES], runs: &Runs<'_, LANES>, count: usize) {
        // SAFETY: `self` was made by `detect`, which found every feature that is enabled there.
        #[allow(unsafe_code)]
        unsafe {
            compress(states, runs, count);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(state: &State) -> __m256i {
    // SAFETY: the 32 bytes of an array.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_loadu_si256(state.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_block(block: &Block) -> __m512i {
    // SAFETY: the 64 bytes of an array.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(block.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(state: &mut State, from: __m256i) {
    // SAFETY: the 32 bytes of an array that is ours alone.
    #[allow(unsafe_code)]
    unsafe {
        _mm256_storeu_si256(state.as_mut_ptr().cast(), from);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn ror<const R: i32, const L: i32>(a: __m512i) -> __m512i {
    _mm512_ror_epi32::<R>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn shr<const N: u32>(a: __m512i) -> __m512i {
    _mm512_srli_epi32::<N>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn constant(t: usize) -> __m512i {
    _mm512_set1_epi32(K[t] as i32)
}

/// The words of sixteen blocks, word by word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(r: [__m512i; 16]) -> [__m512i; 16] {
    // Pairs of 32-bit words, then of 64-bit ones, within each 128 bits.
    let mut t = r;
    for i in (0..16).step_by(4) {
        let (a, b, c, d) = (r[i], r[i + 1], r[i + 2], r[i + 3]);
        let (ab_lo, ab_hi) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_lo, cd_hi) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        t[i] = _mm512_unpacklo_epi64(ab_lo, cd_lo);
        t[i + 1] = _mm512_unpackhi_epi64(ab_lo, cd_lo);
        t[i + 2] = _mm512_unpacklo_epi64(ab_hi, cd_hi);
        t[i + 3] = _mm512_unpackhi_epi64(ab_hi, cd_hi);
    }
    // t[4g + w] holds, in its 128-bit part q, word 4q + w of the blocks 4g..4g+4.
    let mut out = t;
    for w in 0..4 {
        let (a, b, c, d) = (t[w], t[4 + w], t[8 + w], t[12 + w]);
        let ab_even = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
        let ab_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
        let cd_even = _mm512_shuffle_i32x4::<0b10_00_10_00>(c, d);
        let cd_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d);
        out[w] = _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_even, cd_even);
        out[8 + w] = _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_even, cd_even);
        out[4 + w] = _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_odd, cd_odd);
        out[12 + w] = _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_odd, cd_odd);
    }
    out
}

/// The rows of eight words in each 256-bit half as columns; it undoes itself.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose_halves(r: [__m512i; 8]) -> [__m512i; 8] {
    let mut t = r;
    for i in [0, 4] {
        let (a, b, c, d) = (r[i], r[i + 1], r[i + 2], r[i + 3]);
        let (ab_lo, ab_hi) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_lo, cd_hi) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        t[i] = _mm512_unpacklo_epi64(ab_lo, cd_lo);
        t[i + 1] = _mm512_unpackhi_epi64(ab_lo, cd_lo);
        t[i + 2] = _mm512_unpacklo_epi64(ab_hi, cd_hi);
        t[i + 3] = _mm512_unpackhi_epi64(ab_hi, cd_hi);
    }
    let (even, odd) =
        (_mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2));
    let mut out = t;
    for w in 0..4 {
        out[w] = _mm512_permutex2var_epi64(t[w], even, t[4 + w]);
        out[4 + w] = _mm512_permutex2var_epi64(t[w], odd, t[4 + w]);
    }
    out
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut [State; LANES], runs: &Runs<'_, LANES>, count: usize) {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let (low, high) = states.split_at(LANES / 2);
    let mut rows = [swap; 8];
    for (row, (low, high)) in rows.iter_mut().zip(low.iter().zip(high)) {
        *row = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load(low)), load(high));
    }
    let mut s = transpose_halves(rows);
    for at in 0..count {
        let mut blocks = [swap; LANES];
        for (lane, block) in blocks.iter_mut().enumerate() {
            *block = _mm512_shuffle_epi8(load_block(runs.block(lane, at)), swap);
        }
        let mut w = transpose(blocks);
        rounds!(s, w);
    }
    let (low, high) = states.split_at_mut(LANES / 2);
    for (row, (low, high)) in transpose_halves(s).into_iter().zip(low.iter_mut().zip(high)) {
        store(low, _mm512_castsi512_si256(row));
        store(high, _mm512_extracti64x4_epi64::<1>(row));
    }
}
