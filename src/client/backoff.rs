//! How long to wait before trying again.

use std::time::Duration;

use crate::core::backoff::{self, jittered};
use crate::core::random::Rng;
use crate::runtime::chance;

/// Pauses that double, with jitter: a thousand clients of one gateway that went away do not come
/// back in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    pauses: backoff::Backoff,
    rng: Rng,
}

impl Backoff {
    /// Pauses from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Self::from_seed(first, max, chance())
    }

    /// The same pauses for the same seed.
    pub fn from_seed(first: Duration, max: Duration, seed: u64) -> Backoff {
        Backoff { pauses: backoff::Backoff::new(first, max), rng: Rng::from_seed(seed) }
    }

    /// The next pause, between half of it and all of it.
    pub fn pause(&mut self) -> Duration {
        jittered(self.pauses.pause(), &mut self.rng)
    }

    /// It worked: the next trouble begins with short pauses again.
    pub fn reset(&mut self) {
        self.pauses.reset();
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
    fn two_clients_do_not_agree() {
        let pause = |seed| Backoff::from_seed(Duration::from_secs(1), Duration::from_secs(1), seed).pause();
        assert_ne!(pause(1), pause(2));
    }
}
