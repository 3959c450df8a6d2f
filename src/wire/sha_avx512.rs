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
//! The others are the three loads and stores of 64 bytes, which ask for no alignment: each reads or writes one whole
//! array of 64 bytes behind a reference. All else works on values.

use std::arch::x86_64::*;

use super::pairs::{Block, K};
use super::sixteen::{LANES, States};

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Looks for the instructions; cheap after the first time.
    pub(super) fn detect() -> Option<Avx512> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has.then_some(Avx512(()))
    }

    /// Adds to each lane's state the first `count` blocks of its run.
    pub(super) fn compress(self, states: &mut States, runs: &[&[Block]; LANES], count: usize) {
        // SAFETY: `self` was made by `detect`, which found every feature that is enabled there.
        #[allow(unsafe_code)]
        unsafe {
            compress(states, runs, count);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(words: &[u32; LANES]) -> __m512i {
    // SAFETY: the 64 bytes of an array.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_loadu_si512(words.as_ptr().cast())
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
fn store(words: &mut [u32; LANES], from: __m512i) {
    // SAFETY: the 64 bytes of an array that is ours alone.
    #[allow(unsafe_code)]
    unsafe {
        _mm512_storeu_si512(words.as_mut_ptr().cast(), from);
    }
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

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut States, runs: &[&[Block]; LANES], count: usize) {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let runs = runs.each_ref().map(|run| &run[..count]);
    let mut s = states.0.each_ref().map(|words| load(words));
    for at in 0..count {
        let mut rows = [_mm512_setzero_si512(); 16];
        for (row, run) in rows.iter_mut().zip(&runs) {
            *row = _mm512_shuffle_epi8(load_block(&run[at]), swap);
        }
        let mut w = transpose(rows);
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = s;
        macro_rules! round {
            ($t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {{
                let big1 = _mm512_ternarylogic_epi32::<0x96>(
                    _mm512_ror_epi32::<6>($e),
                    _mm512_ror_epi32::<11>($e),
                    _mm512_ror_epi32::<25>($e),
                );
                let ch = _mm512_ternarylogic_epi32::<0xca>($e, $f, $g);
                let kw = _mm512_add_epi32(w[$t % 16], _mm512_set1_epi32(K[$t] as i32));
                let t1 = _mm512_add_epi32(_mm512_add_epi32($h, kw), _mm512_add_epi32(big1, ch));
                let big0 = _mm512_ternarylogic_epi32::<0x96>(
                    _mm512_ror_epi32::<2>($a),
                    _mm512_ror_epi32::<13>($a),
                    _mm512_ror_epi32::<22>($a),
                );
                let maj = _mm512_ternarylogic_epi32::<0xe8>($a, $b, $c);
                $d = _mm512_add_epi32($d, t1);
                $h = _mm512_add_epi32(t1, _mm512_add_epi32(big0, maj));
                if $t < 48 {
                    let w15 = w[($t + 1) % 16];
                    let w2 = w[($t + 14) % 16];
                    let s0 = _mm512_ternarylogic_epi32::<0x96>(
                        _mm512_ror_epi32::<7>(w15),
                        _mm512_ror_epi32::<18>(w15),
                        _mm512_srli_epi32::<3>(w15),
                    );
                    let s1 = _mm512_ternarylogic_epi32::<0x96>(
                        _mm512_ror_epi32::<17>(w2),
                        _mm512_ror_epi32::<19>(w2),
                        _mm512_srli_epi32::<10>(w2),
                    );
                    w[$t % 16] = _mm512_add_epi32(
                        _mm512_add_epi32(w[$t % 16], s0),
                        _mm512_add_epi32(w[($t + 9) % 16], s1),
                    );
                }
            }};
        }
        macro_rules! rounds {
            ($($t:literal)*) => { $(
                round!($t, a b c d e f g h);
                round!($t + 1, h a b c d e f g);
                round!($t + 2, g h a b c d e f);
                round!($t + 3, f g h a b c d e);
                round!($t + 4, e f g h a b c d);
                round!($t + 5, d e f g h a b c);
                round!($t + 6, c d e f g h a b);
                round!($t + 7, b c d e f g h a);
            )* };
        }
        rounds!(0 8 16 24 32 40 48 56);
        for (sum, word) in s.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = _mm512_add_epi32(*sum, word);
        }
    }
    for (words, from) in states.0.iter_mut().zip(s) {
        store(words, from);
    }
}
