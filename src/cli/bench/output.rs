//! What both benches print, draw and exit with.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::threshold::Threshold;
use crate::cli::in_range::parts_in_range;
use crate::cli::{Exit, Failure, complain, print};
use crate::tools::bench::{Figures, Plot};

/// What a bench prints and draws, and when its figures are a failure.
#[derive(Args, Debug)]
#[command(next_help_heading = "Report")]
pub struct Output {
    /// Prints the report as one JSON object
    #[arg(long)]
    json: bool,
    /// Draws what happened when, as SVG [default: draws nothing]
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Exits 1 above: p50, p90, p99, p999 or max=TIME, errors=N or N%; 0 allows none [default: errors=0]
    #[arg(long, value_name = "WHAT=MOST", value_delimiter = ',', value_parser = parts_in_range::<Threshold>(times))]
    fail_above: Vec<Threshold>,
}

/// The time of a bound of a latency.
fn times(text: &str) -> Vec<&str> {
    match text.split_once('=') {
        Some((what, most)) if what.trim() != "errors" => vec![most],
        _ => Vec::new(),
    }
}

impl Output {
    /// Sees that the plot can be written, before there is one.
    pub fn check(&self) -> Result<(), Failure> {
        let Some(path) = &self.plot else { return Ok(()) };
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map(drop).map_err(|why| {
            Failure::usage(format!("--plot {}: {why}: give a file that can be written", path.display()))
        })
    }

    /// Prints the report, draws the plot, and says how the command ends.
    pub fn finish(
        &self,
        report: &(impl Display + Serialize),
        figures: &Figures,
        plot: impl FnOnce() -> Plot,
    ) -> Result<Exit, Failure> {
        let json = |report| serde_json::to_string(report).expect("a report is numbers and names");
        print(&if self.json { json(report) } else { report.to_string() })?;
        if let Some(path) = &self.plot {
            fs::write(path, plot().svg()).map_err(|why| Failure {
                exit: Exit::Partly,
                message: format!("cannot write {}: {why}", path.display()),
            })?;
        }
        let exceeded: Vec<String> =
            self.fail_above.iter().filter_map(|threshold| threshold.exceeded_by(figures)).collect();
        for said in &exceeded {
            complain(said);
        }
        let errors_fail = !self.fail_above.iter().any(Threshold::is_about_errors);
        Ok(match figures {
            figures if figures.interrupted => Exit::Signalled,
            figures if errors_fail && figures.errors.total() > 0 => Exit::Partly,
            _ if !exceeded.is_empty() => Exit::Partly,
            _ => Exit::Done,
        })
    }
}
