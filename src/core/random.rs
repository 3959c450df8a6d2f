//! Chance from a seed: for jitter, think times and choices, never for secrets.

/// A source of chance, SplitMix64. The same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// One that begins with `seed`, of which any is as good as another.
    pub fn from_seed(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is a number to choose");
        self.u64() % n
    }

    /// From 0 to 1.
    pub fn f64(&mut self) -> f64 {
        self.u64() as f64 / u64::MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_sequence() {
        // https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
        let mut rng = Rng::from_seed(1_234_567);
        let numbers: Vec<u64> = (0..5).map(|_| rng.u64()).collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(numbers, published);
    }

    #[test]
    fn numbers_are_within_their_bounds_and_all_come() {
        let mut rng = Rng::from_seed(1);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[rng.below(7) as usize] = true;
            assert!((0.0..=1.0).contains(&rng.f64()));
        }
        assert_eq!(seen, [true; 7]);
    }
}
