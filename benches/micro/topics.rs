//! Who gets a frame: one topic looked up among all patterns, without the gateway's memory of recent ones.

use divan::{Bencher, black_box};
use framegate::wire::{Holder, Patterns};

/// Patterns beside the one that matches.
const HELD: [u32; 2] = [10, 10_000];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u32);

impl Holder for Number {
    fn slot(self) -> usize {
        self.0 as usize
    }
}

#[divan::bench(args = HELD)]
fn match_exact_among(bencher: Bencher, held: u32) {
    look_up(bencher, held, "plant.7.line.3.temperature");
}

#[divan::bench(args = HELD)]
fn match_star_among(bencher: Bencher, held: u32) {
    look_up(bencher, held, "plant.*.line.*.temperature");
}

#[divan::bench(args = HELD)]
fn match_rest_among(bencher: Bencher, held: u32) {
    look_up(bencher, held, "plant.7.>");
}

#[divan::bench(args = HELD)]
fn match_none_among(bencher: Bencher, held: u32) {
    look_up(bencher, held, "shop.7.>");
}

fn look_up(bencher: Bencher, held: u32, pattern: &str) {
    let topic = "plant.7.line.3.temperature";
    let mut patterns = Patterns::default();
    patterns.insert(pattern, Number(0)).unwrap();
    for other in 1..=held {
        // A third of each kind; none of them matches.
        let other_pattern = match other % 3 {
            0 => format!("plant.{}.line.3.pressure", other + 10),
            1 => format!("plant.*.line.{}.temperature", other + 10),
            _ => format!("plant.{}.>", other + 10),
        };
        patterns.insert(&other_pattern, Number(other)).unwrap();
    }
    let expected: &[Number] = if framegate::wire::matches(pattern, topic) { &[Number(0)] } else { &[] };
    assert_eq!(patterns.matching(topic), expected);
    bencher.bench_local(|| patterns.matching(black_box(topic)).len());
}
