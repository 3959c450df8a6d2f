//! How long a request waits before it is tried again.

use std::time::Duration;

use crate::core::backoff::{Backoff, jittered};
use crate::core::limits::{DISPATCH_RETRY_AFTER_MAX, DISPATCH_RETRY_FIRST, DISPATCH_RETRY_MAX};
use crate::core::random::Rng;

/// The pause before try `tries + 1`: it doubles with each, with jitter, and is no less than the server asked for.
pub fn pause(tries: u32, asked: Option<Duration>, rng: &mut Rng) -> Duration {
    let jittered = jittered(Backoff::new(DISPATCH_RETRY_FIRST, DISPATCH_RETRY_MAX).after(tries), rng);
    match asked {
        // What was asked of many is spread out too.
        Some(asked) => asked.min(DISPATCH_RETRY_AFTER_MAX) + jittered.min(DISPATCH_RETRY_FIRST),
        None => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_honour_what_was_asked() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..100 {
            let mut whole = DISPATCH_RETRY_FIRST;
            for tries in 1..40 {
                let pause = pause(tries, None, &mut rng);
                assert!(pause >= whole / 2 && pause <= whole, "{tries}: {pause:?} of {whole:?}");
                whole = (2 * whole).min(DISPATCH_RETRY_MAX);
            }
            let asked = Duration::from_secs(7);
            let pause = pause(1, Some(asked), &mut rng);
            assert!(pause >= asked && pause <= asked + DISPATCH_RETRY_FIRST);
        }
        let pause = pause(1, Some(Duration::MAX), &mut rng);
        assert!(pause <= DISPATCH_RETRY_AFTER_MAX + DISPATCH_RETRY_FIRST);
    }
}
