//! The figures as SVG: bars, and latency by percentile.

use std::fmt::Write as _;

use crate::report::{number, scenarios, summary, variants};
use crate::scenarios::Run;

const COLOURS: [&str; 11] = [
    "#d1495b", "#2e6f95", "#4f9d69", "#8d6cab", "#c98a2b", "#5b8e8e", "#7a7a7a", "#a3566d", "#53617a",
    "#9aa83a", "#b0b0b0",
];

const WIDTH: f64 = 760.0;
/// Where bars and curves begin, right of the names.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;
const LINE: f64 = 24.0;
const TOP: f64 = 44.0;

/// The percentiles that are drawn, evenly spaced: the tail is what matters.
const PERCENTILES: [(&str, &str); 6] = [
    ("latency_us_p50", "50"),
    ("latency_us_p75", "75"),
    ("latency_us_p90", "90"),
    ("latency_us_p99", "99"),
    ("latency_us_p999", "99.9"),
    ("latency_us_max", "100 %"),
];

/// Every plot with its file's name.
pub fn all(runs: &[Run]) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    for scenario in scenarios(runs) {
        let of: Vec<&Run> = runs.iter().filter(|run| run.scenario == scenario).collect();
        for (figure, title) in [
            ("frames_per_s", "frames a second"),
            ("frame_cpu_us", "µs of the gateway's CPU a frame"),
            ("added_mib", "MiB added"),
        ] {
            if of.iter().any(|run| run.figures.contains_key(figure)) {
                let svg = bars(&of, figure, &format!("{scenario}: {title}"));
                plots.push((format!("{scenario}-{figure}.svg"), svg));
            }
        }
        if of.iter().any(|run| run.figures.contains_key("latency_us_p50")) {
            plots.push((format!("{scenario}-latency.svg"), curves(&of, scenario)));
        }
    }
    plots
}

/// A bar a variant, its least and most as a line.
fn bars(runs: &[&Run], figure: &str, title: &str) -> String {
    let found: Vec<_> = variants(runs.iter().copied())
        .into_iter()
        .filter_map(|variant| Some((variant.name, summary(runs.iter().copied(), variant.name, figure)?)))
        .collect();
    let most = found.iter().map(|(_, one)| one.most).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let mut svg = open(TOP + LINE * found.len() as f64 + 10.0, title);
    for (row, (name, one)) in found.iter().enumerate() {
        let y = TOP + LINE * row as f64;
        let middle = y + 8.0;
        let _ = writeln!(
            svg,
            r#"<text x="{:.0}" y="{:.0}" text-anchor="end">{name}</text>
<rect x="{LEFT}" y="{y:.0}" width="{:.1}" height="16" fill="{}"/>
<line x1="{:.1}" x2="{:.1}" y1="{middle:.0}" y2="{middle:.0}" stroke="black"/>
<text x="{:.1}" y="{:.0}">{}</text>"#,
            LEFT - 8.0,
            y + 12.0,
            one.median.max(0.0) * scale,
            colour(name),
            LEFT + one.least.max(0.0) * scale,
            LEFT + one.most.max(0.0) * scale,
            LEFT + one.most.max(0.0) * scale + 6.0,
            y + 12.0,
            number(one.median),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Latency by percentile, medians of the rounds, on a logarithmic scale.
fn curves(runs: &[&Run], scenario: &str) -> String {
    let height = 380.0;
    let bottom = TOP + height;
    let found: Vec<(&str, Vec<f64>)> = variants(runs.iter().copied())
        .into_iter()
        .map(|variant| {
            let median = |figure| summary(runs.iter().copied(), variant.name, figure);
            let points = PERCENTILES.iter().filter_map(|(figure, _)| median(figure));
            (variant.name, points.map(|one| one.median.max(1.0).log10()).collect())
        })
        .collect();
    let all = || found.iter().flat_map(|(_, points)| points.iter().copied());
    let (low, high) = (all().fold(f64::MAX, f64::min).floor(), all().fold(0.0, f64::max).ceil());
    let x = |at: usize| LEFT + at as f64 * (WIDTH - LEFT - RIGHT) / (PERCENTILES.len() - 1) as f64;
    let y = |log: f64| bottom - (log - low) / (high - low).max(1.0) * height;
    let mut svg = open(bottom + 40.0, &format!("{scenario}: latency in µs by percentile"));
    for decade in low as i32..=high as i32 {
        let (at, label) = (y(f64::from(decade)), number(10f64.powi(decade)));
        let _ = writeln!(
            svg,
            r##"<line x1="{LEFT}" x2="{:.0}" y1="{at:.1}" y2="{at:.1}" stroke="#ddd"/>
<text x="{:.0}" y="{:.1}">{label}</text>"##,
            WIDTH - RIGHT,
            WIDTH - RIGHT + 8.0,
            at + 4.0,
        );
    }
    for (at, (_, label)) in PERCENTILES.iter().enumerate() {
        let below = bottom + 20.0;
        let _ = writeln!(svg, r#"<text x="{:.1}" y="{below:.0}" text-anchor="middle">{label}</text>"#, x(at));
    }
    for (row, (name, points)) in found.iter().enumerate() {
        let points: Vec<String> =
            points.iter().enumerate().map(|(at, log)| format!("{:.1},{:.1}", x(at), y(*log))).collect();
        let (colour, width) = (colour(name), if *name == "framegate" { 3 } else { 1 });
        let legend = TOP + LINE * row as f64 + 12.0;
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="{width}"/>
<text x="10" y="{legend:.0}" fill="{colour}">{name}</text>"#,
            points.join(" "),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn open(height: f64, title: &str) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{height}" fill="white"/>
<text x="10" y="22" font-size="15">{title}</text>
"#
    )
}

/// The same variant has the same colour everywhere.
fn colour(variant: &str) -> &'static str {
    let at = crate::variants::VARIANTS.iter().position(|one| one.name == variant).unwrap_or(0);
    COLOURS[at % COLOURS.len()]
}
