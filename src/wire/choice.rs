//! What is fastest here, measured: how long each width takes for messages of a few lengths, and from that the widths to
//! use for each number of messages that wait.

use std::array;
use std::time::Duration;

use super::digest::Scheme;
use super::hashing::{Hashing, Stage};
use super::machine::Machine;

/// Lengths that are timed: a command, a reading of a sensor, a document.
const LENGTHS: [usize; 3] = [64, 300, 4096];

/// As many messages as the widest has lanes, for every width: what beginning costs is spread alike.
const MESSAGES: usize = 16;

/// The best of so many is what the processor can do; others were interrupted. All together take less than 2 ms.
const TRIES: usize = 5;

/// 0.97: what pairs take at most of the time of one after the other where they are chosen.
const PAIRS_GAIN: f64 = 0.97;

/// 0.85: what lanes take at most of the time of the narrower widths. Sixteen messages at once want more of the cache. On an
/// EPYC of Zen 4, lanes that take 0.94 of the time of pairs alone cost the whole gateway 1.03 of the CPU a frame of 256 B.
const LANES_GAIN: f64 = 0.85;

/// How long as many messages together as each width has lanes take, as multiples of one alone.
#[derive(Clone, Copy, Debug)]
struct Times {
    two: Option<f64>,
    eight: Option<f64>,
    sixteen: Option<f64>,
}

/// What is fastest on `machine` by `clock`.
pub(super) fn fastest(machine: Machine, clock: impl Fn() -> Duration) -> Hashing {
    plan(machine, measure(machine, clock))
}

fn measure(machine: Machine, clock: impl Fn() -> Duration) -> Times {
    let Machine { two, eight, sixteen } = machine;
    let none = Hashing { sixteen: None, eight: None, two: None };
    let bytes = [0x5a; LENGTHS[LENGTHS.len() - 1]];
    let time = |hashing: Hashing, len: usize| {
        let once = |_| {
            let since = clock();
            let messages = (0..MESSAGES).map(|_| (&bytes[..len], ()));
            hashing.digest_each(&Scheme::Sha256, MESSAGES, messages, |digest, ()| {
                std::hint::black_box(digest);
            });
            clock().saturating_sub(since)
        };
        array::from_fn::<_, TRIES, _>(once).into_iter().min().unwrap_or_default().as_secs_f64()
    };
    // As multiples of what one message takes alone, so that each length counts as much.
    let alone = LENGTHS.map(|len| time(none, len).max(1e-9));
    let share = |hashing, lanes: usize| {
        let shares = LENGTHS.iter().zip(alone).map(|(&len, alone)| time(hashing, len) / alone);
        shares.sum::<f64>() / LENGTHS.len() as f64 * lanes as f64
    };
    Times {
        two: two.map(|two| share(Hashing { two: Some(two), ..none }, 2)),
        eight: eight.map(|with| share(Hashing { eight: Some(Stage { with, least: 8 }), ..none }, 8)),
        sixteen: sixteen.map(|with| share(Hashing { sixteen: Some(Stage { with, least: 16 }), ..none }, 16)),
    }
}

/// The widths that gain something over the narrower ones, and from how many messages on.
fn plan(machine: Machine, times: Times) -> Hashing {
    // What n messages take, by the widths so far.
    let mut best: [f64; 17] = array::from_fn(|n| n as f64);
    let mut least = |lanes: usize, time: Option<f64>, gain: f64| {
        let time = time?;
        let least = (2..=lanes).find(|&n| time < gain * best[n])?;
        for n in least..best.len() {
            // Lanes that are empty cost as much as others.
            best[n] = time + best[n.saturating_sub(lanes)];
        }
        Some(least)
    };
    let two = least(2, times.two, PAIRS_GAIN).and(machine.two);
    let eight = least(8, times.eight, LANES_GAIN);
    let sixteen = least(16, times.sixteen, LANES_GAIN);
    Hashing {
        sixteen: sixteen.zip(machine.sixteen).map(|(least, with)| Stage { with, least }),
        eight: eight.zip(machine.eight).map(|(least, with)| Stage { with, least }),
        two,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From how many messages on each width is used.
    fn planned(two: Option<f64>, eight: Option<f64>, sixteen: Option<f64>) -> [Option<usize>; 3] {
        let Hashing { sixteen, eight, two } = plan(Machine::here(), Times { two, eight, sixteen });
        [two.map(|_| 2), eight.map(|stage| stage.least), sixteen.map(|stage| stage.least)]
    }

    #[test]
    fn each_number_of_messages_has_the_width_that_is_fastest() {
        let Machine { two: Some(_), eight: Some(_), sixteen: Some(_) } = Machine::here() else {
            return eprintln!("skipped: this processor does not have every width");
        };
        // Zen 4: pairs are nearly as fast as anything.
        assert_eq!(planned(Some(1.1), Some(4.3), Some(8.2)), [Some(2), None, None]);
        // Sapphire Rapids: pairs gain little, eight 1.6 times one stream, sixteen twice.
        assert_eq!(planned(Some(1.65), Some(5.0), Some(7.8)), [Some(2), Some(7), Some(13)]);
        // No SHA instructions: one stream is slow.
        assert_eq!(planned(None, Some(1.9), None), [None, Some(3), None]);
        assert_eq!(planned(None, Some(1.9), Some(2.1)), [None, Some(3), Some(9)]);
        // Nothing that gains is chosen.
        assert_eq!(planned(Some(2.0), Some(8.0), Some(16.0)), [None; 3]);
        assert_eq!(planned(None, None, None), [None; 3]);
    }

    #[test]
    fn what_is_chosen_can_be_done_whatever_is_missing() {
        let here = Machine::here();
        let start = std::time::Instant::now();
        let without_sixteen = Machine { sixteen: None, ..here };
        for machine in [
            here,
            without_sixteen,
            Machine { two: None, ..without_sixteen },
            Machine { two: None, ..here },
            Machine { eight: None, two: None, ..without_sixteen },
        ] {
            let chosen = fastest(machine, || start.elapsed());
            assert!(machine.has(chosen.width()), "{chosen:?} on {machine:?}");
            // A clock that stands still chooses something all the same.
            fastest(machine, || Duration::ZERO);
        }
    }
}
