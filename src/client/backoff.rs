//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// 1 day: whoever wants longer pauses than that is not waiting.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Pauses that double, with jitter: a thousand clients of one gateway that went away do not come
/// back in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    dice: u64,
}

impl Backoff {
    /// Pauses from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Self::from_seed(first, max, RandomState::new().hash_one(0))
    }

    /// The same pauses for the same seed.
    pub fn from_seed(first: Duration, max: Duration, seed: u64) -> Backoff {
        let (first, max) = (first.min(LONGEST), max.min(LONGEST));
        Backoff { first, max, next: first, dice: seed }
    }

    /// The next pause, between half of it and all of it.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (2 * whole).min(self.max);
        whole.mul_f64(0.5 + 0.5 * self.roll())
    }

    /// It worked: the next trouble begins with short pauses again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// From 0 to 1; splitmix64.
    fn roll(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_begin_anew() {
        for seed in 0..100 {
            let (first, max) = (Duration::from_millis(100), Duration::from_secs(5));
            let mut backoff = Backoff::from_seed(first, max, seed);
            for ms in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
                let (whole, pause) = (Duration::from_millis(ms), backoff.pause());
                assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            }
            backoff.reset();
            assert!(backoff.pause() <= first);
        }
    }

    #[test]
    fn no_pause_is_too_long() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert!((0..3).all(|_| backoff.pause() <= LONGEST));
    }

    #[test]
    fn two_clients_do_not_agree() {
        let pause = |seed| Backoff::from_seed(Duration::from_secs(1), Duration::from_secs(1), seed).pause();
        assert_ne!(pause(1), pause(2));
    }
}
