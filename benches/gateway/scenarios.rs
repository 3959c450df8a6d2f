//! The rows of the table, and running them: A B C A B C, so that a slow minute is everyone's.

use std::process::Stdio;

use serde::Serialize;

use crate::load::{Figures, Job, Work};
use crate::options::Options;
use crate::process::{Gateway, myself};
use crate::report;
use crate::variants::Variant;

/// One row of the table.
pub struct Scenario {
    pub name: &'static str,
    shape: Shape,
}

/// 300,000 frames a second beside a subscriber that never reads: less than each variant carries, so that
/// whatever does not arrive, or arrives late, is that subscriber's doing; and enough to fill what is kept for
/// it before the clock starts.
const BESIDE_FROZEN: f64 = 300_000.0;

enum Shape {
    /// 8 publishers, 1 subscriber.
    Saturation {
        payload: usize,
    },
    /// A part of what the best tokio variant can carry.
    OpenLoop {
        part: f64,
    },
    /// 256 B frames at 20,000 a second, beside as many publishers of 8 MiB frames.
    Mixed {
        large: usize,
    },
    /// 1 publisher.
    FanOut {
        subscribers: usize,
    },
    /// 8 publishers, 1 subscriber that reads everything and 1 that never reads.
    SlowSubscriber {
        policy: &'static str,
    },
    Idle {
        connections: usize,
    },
    Churn {
        threads: usize,
    },
    /// 256 B frames at 50,000 a second in all.
    Publishers {
        publishers: usize,
    },
}

const fn scenario(name: &'static str, shape: Shape) -> Scenario {
    Scenario { name, shape }
}

pub const SCENARIOS: [Scenario; 18] = [
    scenario("saturation-256", Shape::Saturation { payload: 256 }),
    scenario("saturation-4k", Shape::Saturation { payload: 4 << 10 }),
    scenario("saturation-64k", Shape::Saturation { payload: 64 << 10 }),
    scenario("saturation-1m", Shape::Saturation { payload: 1 << 20 }),
    scenario("open-loop-5", Shape::OpenLoop { part: 0.05 }),
    scenario("open-loop-30", Shape::OpenLoop { part: 0.3 }),
    scenario("open-loop-60", Shape::OpenLoop { part: 0.6 }),
    scenario("mixed", Shape::Mixed { large: 2 }),
    scenario("mixed-without-large", Shape::Mixed { large: 0 }),
    scenario("fan-out-100", Shape::FanOut { subscribers: 100 }),
    scenario("slow-subscriber", Shape::SlowSubscriber { policy: "disconnect" }),
    scenario("slow-subscriber-drop", Shape::SlowSubscriber { policy: "drop" }),
    scenario("idle-10000", Shape::Idle { connections: 10_000 }),
    scenario("churn", Shape::Churn { threads: 8 }),
    scenario("publishers-10", Shape::Publishers { publishers: 10 }),
    scenario("publishers-100", Shape::Publishers { publishers: 100 }),
    scenario("publishers-1000", Shape::Publishers { publishers: 1000 }),
    scenario("publishers-10000", Shape::Publishers { publishers: 10_000 }),
];

impl Scenario {
    fn work(&self, saturation: f64) -> Work {
        match self.shape {
            Shape::Saturation { payload } => Work::Saturate { payload, publishers: 8, subscribers: 1 },
            Shape::OpenLoop { part } => Work::Paced { rate: part * saturation, publishers: 8, large: 0 },
            Shape::Mixed { large } => Work::Paced { rate: 20_000.0, publishers: 1, large },
            Shape::FanOut { subscribers } => Work::Saturate { payload: 256, publishers: 1, subscribers },
            Shape::SlowSubscriber { .. } => {
                Work::BesideFrozen { rate: BESIDE_FROZEN, publishers: 8, frozen: 1 }
            }
            Shape::Idle { connections } => Work::Idle { connections },
            Shape::Churn { threads } => Work::Churn { threads },
            Shape::Publishers { publishers } => Work::Paced { rate: 50_000.0, publishers, large: 0 },
        }
    }

    /// What Framegate does about a subscriber that is too slow, where that is the question.
    fn policy(&self) -> Option<&'static str> {
        match self.shape {
            Shape::SlowSubscriber { policy } => Some(policy),
            _ => None,
        }
    }

    /// What the reader of its table has to know.
    pub fn note(&self) -> Option<String> {
        let Shape::SlowSubscriber { policy } = self.shape else { return None };
        Some(format!(
            "Of 2 subscribers 1 never reads; the figures are of what the other gets of {} frames/s. \
             Framegate runs with --slow {policy}. The others, bounded and without such a choice, pause the \
             publishers: 0 frames/s is what everyone then gets.",
            report::number(BESIDE_FROZEN)
        ))
    }

    /// File descriptors that the load and the gateway each need.
    fn files(&self) -> u64 {
        // Beside the connections: the listener, the poll, standard streams and a few subscribers.
        let connections = match self.shape {
            Shape::Idle { connections } => connections,
            Shape::Publishers { publishers } => publishers,
            _ => 100,
        };
        connections as u64 + 100
    }
}

/// One variant in one scenario, once.
#[derive(Serialize)]
pub struct Run {
    pub scenario: &'static str,
    pub variant: &'static str,
    pub round: usize,
    pub figures: Figures,
}

/// Runs everything that was chosen and prints each run.
pub fn run(options: &Options) -> Vec<Run> {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    let mut runs = Vec::new();
    let mut saturation = None;
    for scenario in &options.scenarios {
        if files < scenario.files() {
            println!("{}: skipped, the limit of open files is {files}: raise ulimit -n", scenario.name);
            continue;
        }
        let mut rate = 0.0;
        if let Shape::OpenLoop { part } = scenario.shape {
            let best = *saturation.get_or_insert_with(|| best_saturation(&runs, options));
            rate = best;
            println!("{}: {:.0} frames/s", scenario.name, part * best);
        }
        for round in 1..=options.rounds {
            for variant in &options.variants {
                match one(variant, scenario, rate, options) {
                    Some(figures) => {
                        let run = Run { scenario: scenario.name, variant: variant.name, round, figures };
                        report::print_run(&run);
                        runs.push(run);
                    }
                    None => println!("{} {}: failed, no figures", scenario.name, variant.name),
                }
            }
        }
    }
    runs
}

/// What the best tokio variant carries at 256 B: as measured, or measured now.
fn best_saturation(runs: &[Run], options: &Options) -> f64 {
    let measured = runs.iter().filter(|run| run.scenario == SCENARIOS[0].name);
    let best = report::best_rival(measured, "frames_per_s");
    best.unwrap_or_else(|| {
        let variants = ["tokio-task", "tokio-streamed"].map(|name| Variant::find(name).expect("it is one"));
        let figures = variants.iter().filter_map(|variant| one(variant, &SCENARIOS[0], 0.0, options));
        figures.map(|figures| figures["frames_per_s"]).fold(0.0, f64::max)
    })
}

/// A gateway and a load, each in a new process.
fn one(variant: &Variant, scenario: &Scenario, saturation: f64, options: &Options) -> Option<Figures> {
    let gateway = Gateway::start(variant, scenario.policy());
    let work = scenario.work(saturation);
    let job = Job { gateway: gateway.address, process: gateway.id(), window: options.window, work };
    let job = serde_json::to_string(&job).expect("a job is plain");
    let load = myself().args(["load", &job]).stderr(Stdio::inherit()).output().ok()?;
    serde_json::from_slice(&load.stdout).ok()
}
