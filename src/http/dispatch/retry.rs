//! How long a letter waits before it is tried again.

use std::time::Duration;

use fastrand::Rng;

use crate::core::limits::{COURIER_RETRY_AFTER_MAX, COURIER_RETRY_FIRST, COURIER_RETRY_MAX};

/// The pause before try `tries + 1`: it doubles with each, with jitter, and is no less than the store asked for.
pub fn pause(tries: u32, asked: Option<Duration>, dice: &mut Rng) -> Duration {
    let doubled =
        COURIER_RETRY_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(COURIER_RETRY_MAX);
    // Between half of it and all of it: what failed at once shall not come back at once.
    let jittered = doubled.mul_f64(0.5 + 0.5 * dice.f64());
    match asked {
        // What was asked of many is spread out too.
        Some(asked) => asked.min(COURIER_RETRY_AFTER_MAX) + jittered.min(COURIER_RETRY_FIRST),
        None => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_honour_what_was_asked() {
        let mut dice = Rng::with_seed(1);
        for _ in 0..100 {
            let mut whole = COURIER_RETRY_FIRST;
            for tries in 1..40 {
                let pause = pause(tries, None, &mut dice);
                assert!(pause >= whole / 2 && pause <= whole, "{tries}: {pause:?} of {whole:?}");
                whole = (2 * whole).min(COURIER_RETRY_MAX);
            }
            let asked = Duration::from_secs(7);
            let pause = pause(1, Some(asked), &mut dice);
            assert!(pause >= asked && pause <= asked + COURIER_RETRY_FIRST);
        }
        let pause = pause(1, Some(Duration::MAX), &mut dice);
        assert!(pause <= COURIER_RETRY_AFTER_MAX + COURIER_RETRY_FIRST);
    }
}
