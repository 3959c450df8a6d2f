//! What Framegate is to reach, each as a ratio of medians of one run; and by how much a row misses it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use framegate::core::memory::{Buffer, Memory};
use framegate::wire::{Batch, Header, Kind, Scheme, verify};

use crate::report::{best_rival, number, summary};
use crate::scenarios::Run;
use crate::variants::VARIANTS;
use crate::wire::{READ_MAX, frame};

/// What a figure is compared with.
#[derive(Clone, Copy)]
enum Against {
    /// The best tokio variant of the row.
    Tokio,
    /// The best variant of any kind that verifies.
    Anyone,
    /// The same figure of Framegate in another scenario.
    Own(&'static str),
    /// `no-hash`, and hashing this payload in pairs beside it: the least that the work can cost.
    Floor { payload: usize },
}

/// Whether the ratio is to be at least, or at most, so large.
#[derive(Clone, Copy)]
enum Bound {
    Least(f64),
    Most(f64),
}

use Against::{Anyone, Floor, Own, Tokio};
use Bound::{Least, Most};

const TARGETS: [(&str, &str, Against, Bound); 26] = [
    ("saturation-256", "frames_per_s", Tokio, Least(1.3)),
    ("saturation-256", "frame_cpu_us", Tokio, Most(0.75)),
    ("saturation-256", "frame_cpu_us", Floor { payload: 256 }, Most(1.15)),
    ("saturation-4k", "frames_per_s", Tokio, Least(1.25)),
    ("saturation-4k", "frame_cpu_us", Tokio, Most(0.75)),
    ("saturation-4k", "frame_cpu_us", Floor { payload: 4 << 10 }, Most(1.15)),
    ("saturation-64k", "frames_per_s", Tokio, Least(1.25)),
    ("saturation-64k", "frame_cpu_us", Tokio, Most(0.75)),
    ("saturation-64k", "frame_cpu_us", Floor { payload: 64 << 10 }, Most(1.15)),
    ("saturation-1m", "frames_per_s", Tokio, Least(1.15)),
    ("saturation-1m", "frame_cpu_us", Tokio, Most(0.85)),
    ("saturation-1m", "frame_cpu_us", Floor { payload: 1 << 20 }, Most(1.15)),
    ("open-loop-5", "latency_us_p50", Tokio, Most(1.0)),
    ("open-loop-5", "latency_us_p99", Tokio, Most(0.95)),
    ("open-loop-30", "latency_us_p50", Tokio, Most(1.0)),
    ("open-loop-30", "latency_us_p99", Tokio, Most(0.95)),
    ("open-loop-60", "latency_us_p50", Tokio, Most(1.0)),
    ("open-loop-60", "latency_us_p99", Tokio, Most(0.95)),
    ("mixed", "latency_us_p99", Anyone, Most(0.7)),
    ("mixed", "latency_us_p99", Own("mixed-without-large"), Most(2.0)),
    ("mixed", "large_mb_per_s", Anyone, Least(1.0)),
    ("fan-out-100", "frames_per_s", Tokio, Least(1.2)),
    ("fan-out-100", "frame_cpu_us", Tokio, Most(0.8)),
    ("idle-10000", "added_mib", Tokio, Most(0.3)),
    ("publishers-10000", "frame_cpu_us", Own("publishers-10"), Most(1.5)),
    ("publishers-10000", "frame_cpu_us", Tokio, Most(1.0)),
];

/// The targets of the scenarios that were run, met or by how much not.
pub fn print(runs: &[Run]) {
    let mut table = String::new();
    for (scenario, figure, against, bound) in TARGETS {
        let of = |name: &'static str| runs.iter().filter(move |run| run.scenario == name);
        let Some(own) = summary(of(scenario), "framegate", figure) else { continue };
        let more = matches!(bound, Least(_));
        let (other, what) = match against {
            Tokio => (best_rival(of(scenario), figure), "the best tokio variant".to_owned()),
            Anyone => (best_other(of(scenario), figure, more), "the best of all others".to_owned()),
            Own(name) => {
                (summary(of(name), "framegate", figure).map(|own| own.median), format!("its own {name}"))
            }
            Floor { payload } => {
                let io = summary(of(scenario), "no-hash", figure).map(|io| io.median);
                (io.map(|io| io + hash_us(payload)), "no-hash and hashing in pairs".to_owned())
            }
        };
        let Some(other) = other else { continue };
        let ratio = own.median / other;
        let (limit, sign, missed) = match bound {
            Least(limit) => (limit, '≥', limit / ratio),
            Most(limit) => (limit, '≤', ratio / limit),
        };
        let verdict = match missed {
            missed if missed <= 1.0 => "met".to_owned(),
            missed => format!("missed by {:.0} %", (missed - 1.0) * 100.0),
        };
        let (own, other) = (number(own.median), number(other));
        let _ = writeln!(
            table,
            "| {scenario} | {figure} | {own} | {other}, {what} | ×{ratio:.2} | {sign} {limit} | {verdict} |"
        );
    }
    if !table.is_empty() {
        println!("\n### Targets\n\n| scenario | figure | framegate | against | ratio | target | |");
        println!("| --- | --- | --- | --- | --- | --- | --- |\n{table}");
    }
}

/// The best median of any variant that verifies and has nothing of Framegate's.
fn best_other<'a>(runs: impl Iterator<Item = &'a Run> + Clone, figure: &str, more: bool) -> Option<f64> {
    let others = VARIANTS.iter().filter(|variant| variant.verifies && variant.is_independent());
    let medians = others.filter_map(|variant| summary(runs.clone(), variant.name, figure));
    medians.map(|summary| summary.median).reduce(|a, b| if (a > b) == more { a } else { b })
}

/// Processor time to verify a frame of this payload, in µs, where frames lie as they do in a full read.
fn hash_us(payload: usize) -> f64 {
    let encoded = frame(Header::new(Kind::Data), b"bench", &vec![31; payload]);
    // A pair at least, as two pieces of large frames are.
    let count = (READ_MAX / encoded.len()).max(2);
    let bytes: Box<[u8]> = encoded.repeat(count).into();
    let memory = Memory::new(Memory::least(16 << 20), 16 << 20);
    let (mut took, mut frames) = (Duration::ZERO, 0);
    while took < Duration::from_millis(200) {
        let batch = Batch::new(Buffer::charged(&memory, bytes.clone()), bytes.len(), count as u32, None);
        let begun = Instant::now();
        let verified = verify(batch, &Scheme::Sha256);
        took += begun.elapsed();
        frames += verified.frames();
    }
    took.as_secs_f64() * 1e6 / f64::from(frames)
}
