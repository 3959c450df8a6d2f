//! Every run as a line, then the table: medians, spread, and ratios to the best tokio variant of the row.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::options::Options;
use crate::plot;
use crate::process;
use crate::scenarios::{Run, SCENARIOS, Scenario};
use crate::variants::{VARIANTS, Variant};

/// The figures of the table, and whether more is better; the others are in the JSON.
const COLUMNS: [(&str, bool); 9] = [
    ("frames_per_s", true),
    ("frame_cpu_us", false),
    ("large_mb_per_s", true),
    ("latency_us_p50", false),
    ("latency_us_p99", false),
    ("cores", false),
    ("rss_max_mib", false),
    ("added_mib", false),
    ("connection_bytes", false),
];

/// A figure of a variant in a scenario, over the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// The median and the spread of a figure; none where it was not measured.
pub fn summary<'a>(runs: impl Iterator<Item = &'a Run>, variant: &str, figure: &str) -> Option<Summary> {
    let runs = runs.filter(|run| run.variant == variant);
    let mut all: Vec<f64> = runs.filter_map(|run| run.figures.get(figure).copied()).collect();
    all.sort_by(f64::total_cmp);
    let (least, most) = (*all.first()?, *all.last()?);
    let median = (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0;
    Some(Summary { median, least, most })
}

/// The best median of any tokio variant among the runs of one scenario.
pub fn best_rival<'a>(runs: impl Iterator<Item = &'a Run> + Clone, figure: &str) -> Option<f64> {
    let more = COLUMNS.iter().find(|(name, _)| *name == figure).is_none_or(|(_, more)| *more);
    let medians = VARIANTS
        .iter()
        .filter(|variant| variant.is_rival())
        .filter_map(|variant| summary(runs.clone(), variant.name, figure))
        .map(|summary| summary.median);
    let best = if more { medians.reduce(f64::max) } else { medians.reduce(f64::min) };
    // To nothing at all there is no ratio.
    best.filter(|best| *best > 0.0)
}

/// One line, as soon as it is known.
pub fn print_run(run: &Run) {
    let mut line = format!("{:20} {} {:22}", run.scenario, run.round, run.variant);
    for (name, value) in &run.figures {
        let _ = write!(line, " {name} {}", number(*value));
    }
    println!("{line}");
}

/// The scenarios that were run, in order.
pub fn scenarios(runs: &[Run]) -> Vec<&'static str> {
    let mut names: Vec<_> = runs.iter().map(|run| run.scenario).collect();
    names.dedup();
    names
}

/// The table, one for each scenario.
pub fn print(runs: &[Run]) {
    println!("\nMedians, (least to most), × the best tokio variant of that column");
    for scenario in scenarios(runs) {
        let of = || runs.iter().filter(|run| run.scenario == scenario);
        let measured = |name: &str| of().any(|run| run.figures.contains_key(name));
        // Cores are what is told where frames differ too much to share the processor time evenly.
        let told = |name: &str| measured(name) && (name != "cores" || !measured("frame_cpu_us"));
        let columns: Vec<_> = COLUMNS.iter().filter(|(name, _)| told(name)).collect();
        println!("\n### {scenario}\n");
        let note = SCENARIOS.iter().find(|one| one.name == scenario).and_then(Scenario::note);
        if let Some(note) = note {
            println!("{note}\n");
        }
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        println!("| variant | {} |\n|{}", names.join(" | "), " --- |".repeat(columns.len() + 1));
        for variant in variants(of()) {
            let mut line = format!("| {} |", variant.name);
            for (name, _) in &columns {
                let Some(found) = summary(of(), variant.name, name) else {
                    line.push_str(" |");
                    continue;
                };
                let (least, most) = (number(found.least), number(found.most));
                let _ = write!(line, " {} ({least} to {most})", number(found.median));
                if let Some(best) = best_rival(of(), name) {
                    let _ = write!(line, " ×{:.2}", found.median / best);
                }
                line.push_str(" |");
            }
            println!("{line}");
        }
    }
}

/// Those that have a run, in the order of the table.
pub fn variants<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> Vec<&'static Variant> {
    VARIANTS.iter().filter(|variant| runs.clone().any(|run| run.variant == variant.name)).collect()
}

#[derive(Serialize)]
struct Results<'a> {
    machine: String,
    rounds: usize,
    window_s: f64,
    runs: &'a [Run],
    medians: Vec<Median>,
}

#[derive(Serialize)]
struct Median {
    scenario: &'static str,
    variant: &'static str,
    figure: String,
    #[serde(flatten)]
    summary: Summary,
    of_best_tokio: Option<f64>,
}

/// JSON and plots, in `target/bench-gateway`.
pub fn write(runs: &[Run], options: &Options) {
    let folder = folder();
    let results = Results {
        machine: process::machine(),
        rounds: options.rounds,
        window_s: options.window.as_secs_f64(),
        runs,
        medians: medians(runs),
    };
    let json = serde_json::to_string_pretty(&results).expect("results are plain");
    fs::create_dir_all(&folder).expect("target can be written to");
    fs::write(folder.join("results.json"), json).expect("target can be written to");
    for (name, svg) in plot::all(runs) {
        fs::write(folder.join(name), svg).expect("target can be written to");
    }
    println!("\nresults.json and the plots are in {}", folder.display());
}

fn medians(runs: &[Run]) -> Vec<Median> {
    let mut medians = Vec::new();
    for scenario in scenarios(runs) {
        let of = || runs.iter().filter(|run| run.scenario == scenario);
        for variant in variants(of()) {
            let first = of().find(|run| run.variant == variant.name);
            for figure in first.into_iter().flat_map(|run| run.figures.keys()) {
                let Some(summary) = summary(of(), variant.name, figure) else { continue };
                let known = COLUMNS.iter().any(|(name, _)| name == figure);
                let best = if known { best_rival(of(), figure) } else { None };
                medians.push(Median {
                    scenario,
                    variant: variant.name,
                    figure: figure.clone(),
                    summary,
                    of_best_tokio: best.map(|best| summary.median / best),
                });
            }
        }
    }
    medians
}

/// Beside what cargo builds: this program is in `target/release/deps`.
fn folder() -> PathBuf {
    let program = std::env::current_exe().expect("the system knows it");
    let target = program.ancestors().nth(3).expect("cargo builds it so deep");
    target.join("bench-gateway")
}

/// Three digits that count, and thousands apart.
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}
