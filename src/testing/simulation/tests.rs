use std::ops::Range;

use super::*;

/// How many seeds the ordinary test run tries, from 0 on.
const SEEDS: u64 = 3_000;

/// Seeds that once failed, and what they found. A seed means another world once worlds are drawn otherwise; where
/// a fault has a test of its own beside the code as well, that is what keeps it away.
const KNOWN: [(u64, &str); 2] = [
    (192_613, "under a memory that was lowered, an answer had its room once more was given back"),
    (1_070_045, "what every sink refused came to them again, and to no subscriber"),
];

/// Those from before there were devices.
const KNOWN_WITHOUT_DEVICES: [(u64, &str); 7] = [
    (162_099, "tables of handlers that leave"),
    (187_636, "who is gone is told of room, and nobody else is"),
    (687_314, "calls are in flight when a drain is over"),
    (45_432, "a connection that ended waited for the handlers when others were woken"),
    (187_147, "not everything is done after 20000 turns without faults"),
    (2_051, "a connection that had left subscribed once more to what it was about to give up"),
    (3_619, "a pattern that is held already is OK, though as many are held as may be"),
];

/// `FRAMEGATE_SEEDS=100000` is as many seeds from 0 on; `FRAMEGATE_SEEDS=100000..200000` those that come next.
fn seeds_of(given: &str) -> Range<u64> {
    let number = |text: &str| text.trim().parse().expect("FRAMEGATE_SEEDS is N or FROM..TO");
    match given.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(given),
    }
}

#[test]
fn seeds() {
    if let Ok(seed) = std::env::var("FRAMEGATE_SEED") {
        let coverage = check_seed(seed.parse().expect("FRAMEGATE_SEED is a number"));
        println!("{coverage:#?}");
        return;
    }
    let seeds = std::env::var("FRAMEGATE_SEEDS").map_or(0..SEEDS, |given| seeds_of(&given));
    let start = Instant::now();
    let mut all = Coverage::default();
    for seed in seeds.clone() {
        all += check_seed(seed);
    }
    let rate = (seeds.end - seeds.start) as f64 / start.elapsed().as_secs_f64();
    println!("seeds {seeds:?}, {rate:.0} a second: {all:#?}");
    if seeds.end - seeds.start < SEEDS {
        println!("{SEEDS} or more are needed to reach everything");
        return;
    }
    for (i, count) in all.counts().enumerate() {
        assert!(*count > 0, "number {i} of the coverage was never reached");
    }
}

/// What they found, they found without devices.
#[test]
fn seeds_that_failed_before_have_no_devices() {
    assert!(KNOWN_WITHOUT_DEVICES.iter().all(|(seed, _)| Devices::of(*seed).is_none()));
    assert!((0..100).filter(|seed| Devices::of(*seed).is_some()).count() == 25);
}

#[test]
fn seeds_that_failed_pass() {
    for (seed, found) in KNOWN_WITHOUT_DEVICES.into_iter().chain(KNOWN) {
        println!("seed {seed}, which found: {found}");
        check_seed(seed);
    }
}

#[test]
fn seeds_go_on_where_others_ended() {
    assert_eq!((seeds_of("20"), seeds_of("20..50")), (0..20, 20..50));
}

/// The oracle is awake: what is wrong does not get past it, and it says what that is.
#[test]
fn canaries_are_caught() {
    for (canary, saying) in [
        (Canary::Verdicts, ""),
        (Canary::Parts, "is in the place of part"),
        (Canary::Sink, "is confirmed"),
        (Canary::Filing, "is filed under"),
        (Canary::Mixed, "are put as of one topic"),
        (Canary::Order, "in another place than"),
        (Canary::Copy, "is told DUPLICATE before"),
        (Canary::Leak, "are allocated and charged to nobody"),
        (Canary::Deaf, "holds its slot"),
        (Canary::Runs, "which is not due"),
        (Canary::Doubled, "device"),
    ] {
        let caught = (0..300).any(|seed| {
            let run = || Simulation::new(SimRng::from_seed(seed), Devices::of(seed), Some(canary)).run();
            let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) else {
                return false;
            };
            panic.downcast_ref::<String>().map_or("", String::as_str).contains(saying)
        });
        assert!(caught, "{canary:?} was not noticed");
    }
}
