//! How long to wait before trying again.

use std::time::Duration;

use super::random::Rng;

/// 1 day: whoever wants longer pauses than that is not waiting.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Pauses that double from a first one to a longest one.
///
/// ```text
/// first ─ 2 × first ─ 4 × first … max ─ max …; again from the first after a reset
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        let (first, max) = (first.min(max).min(LONGEST), max.min(LONGEST));
        Backoff { first, max, next: first }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(self.max);
        pause
    }

    /// It worked: the next trouble begins with short pauses again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The pause that follows `tries` that failed, the first included.
    pub fn after(&self, tries: u32) -> Duration {
        self.first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(self.max)
    }
}

/// Between half of a pause and all of it: what failed at once shall not come back at once.
pub fn jittered(pause: Duration, rng: &mut Rng) -> Duration {
    pause.mul_f64(0.5 + 0.5 * rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(FIRST, 10 * FIRST);
        let pauses: Vec<u128> = (0..6).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        let after: Vec<u128> = (1..=6).map(|tries| backoff.after(tries).as_millis()).collect();
        assert_eq!(after, pauses);
        assert_eq!((backoff.after(0), backoff.after(u32::MAX)), (FIRST, 10 * FIRST));
        backoff.reset();
        assert_eq!(backoff.pause(), FIRST);
    }

    #[test]
    fn pauses_without_measure_are_bounded() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!((backoff.pause(), backoff.pause(), backoff.after(9)), (LONGEST, LONGEST, LONGEST));
        let mut backoff = Backoff::new(2 * FIRST, FIRST);
        assert_eq!((backoff.pause(), backoff.pause()), (FIRST, FIRST), "the longest is never passed");
    }

    #[test]
    fn jitter_takes_up_to_half_of_it() {
        for seed in 0..100 {
            let pause = jittered(FIRST, &mut Rng::from_seed(seed));
            assert!(pause >= FIRST / 2 && pause <= FIRST, "{pause:?}");
        }
        assert_ne!(jittered(FIRST, &mut Rng::from_seed(1)), jittered(FIRST, &mut Rng::from_seed(2)));
    }
}
