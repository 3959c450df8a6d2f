//! The 64 rounds of SHA-256 on vectors, each word of which is another stream's: written once for all widths.
//!
//! The file that uses it has the functions of its instruction set: `add`, `xor3`, `ror` (by so many bits to the right, and
//! the same to the left), `shr`, `choose`, `majority` and `constant`. They are FIPS 180-4's, sections 4.1.2 and 6.2.2.

/// One round; with `and`, also the word of the message schedule that takes the place of the one that it used.
macro_rules! round {
    ($w:ident, $t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident $(, and $schedule:ident)?) => {{
        let sum1 = xor3(ror::<6, 26>($e), ror::<11, 21>($e), ror::<25, 7>($e));
        let word = add($w[$t % 16], constant($t));
        let t1 = add(add($h, word), add(sum1, choose($e, $f, $g)));
        let sum0 = xor3(ror::<2, 30>($a), ror::<13, 19>($a), ror::<22, 10>($a));
        $d = add($d, t1);
        $h = add(t1, add(sum0, majority($a, $b, $c)));
        $($schedule!($w, $t);)?
    }};
}

macro_rules! schedule {
    ($w:ident, $t:expr) => {
        let (w15, w2) = ($w[($t + 1) % 16], $w[($t + 14) % 16]);
        let small0 = xor3(ror::<7, 25>(w15), ror::<18, 14>(w15), shr::<3>(w15));
        let small1 = xor3(ror::<17, 15>(w2), ror::<19, 13>(w2), shr::<10>(w2));
        $w[$t % 16] = add(add($w[$t % 16], small0), add($w[($t + 9) % 16], small1));
    };
}

/// Eight rounds, after which every variable is where it was.
macro_rules! eight_rounds {
    ($w:ident, $t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident $(, and $schedule:ident)?) => {
        round!($w, $t, $a $b $c $d $e $f $g $h $(, and $schedule)?);
        round!($w, $t + 1, $h $a $b $c $d $e $f $g $(, and $schedule)?);
        round!($w, $t + 2, $g $h $a $b $c $d $e $f $(, and $schedule)?);
        round!($w, $t + 3, $f $g $h $a $b $c $d $e $(, and $schedule)?);
        round!($w, $t + 4, $e $f $g $h $a $b $c $d $(, and $schedule)?);
        round!($w, $t + 5, $d $e $f $g $h $a $b $c $(, and $schedule)?);
        round!($w, $t + 6, $c $d $e $f $g $h $a $b $(, and $schedule)?);
        round!($w, $t + 7, $b $c $d $e $f $g $h $a $(, and $schedule)?);
    };
}

/// Adds to the state `$s`, eight vectors, the block `$w`, sixteen. Written out, so that words keep their registers.
macro_rules! rounds {
    ($s:ident, $w:ident) => {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = $s;
        eight_rounds!($w, 0, a b c d e f g h, and schedule);
        eight_rounds!($w, 8, a b c d e f g h, and schedule);
        eight_rounds!($w, 16, a b c d e f g h, and schedule);
        eight_rounds!($w, 24, a b c d e f g h, and schedule);
        eight_rounds!($w, 32, a b c d e f g h, and schedule);
        eight_rounds!($w, 40, a b c d e f g h, and schedule);
        eight_rounds!($w, 48, a b c d e f g h);
        eight_rounds!($w, 56, a b c d e f g h);
        for (sum, word) in $s.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = add(*sum, word);
        }
    };
}

/// Adds to the eight states `$states` the next `$count` blocks of each lane of `$runs`, in 256-bit registers.
macro_rules! compress_eight {
    ($states:ident, $runs:ident, $count:ident) => {
        let swap = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
        let mut s = transpose($states.each_ref().map(|state| load(state)));
        for at in 0..$count {
            let (mut first, mut second) = ([swap; LANES], [swap; LANES]);
            for lane in 0..LANES {
                let block = $runs.block(lane, at);
                let [low, high] = [0, 32].map(|from| block[from..].first_chunk().expect("half a block"));
                first[lane] = _mm256_shuffle_epi8(load_half(low), swap);
                second[lane] = _mm256_shuffle_epi8(load_half(high), swap);
            }
            let ([w0, w1, w2, w3, w4, w5, w6, w7], [w8, w9, w10, w11, w12, w13, w14, w15]) =
                (transpose(first), transpose(second));
            let mut w = [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15];
            rounds!(s, w);
        }
        for (state, from) in $states.iter_mut().zip(transpose(s)) {
            store(state, from);
        }
    };
}
