//! How far a bench is, where somebody sees it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::Progress;

/// 10 s between two lines of a log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a bench is: on a terminal in a line of its own, else in the log.
pub struct Watch {
    bar: Option<ProgressBar>,
    next_line: Duration,
}

impl Watch {
    /// Shows nothing yet.
    pub fn new() -> Watch {
        let seen = io::stderr().is_terminal() && log::max_level() >= log::LevelFilter::Warn;
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is well-formed");
        let bar = seen.then(|| ProgressBar::new_spinner().with_style(style));
        Watch { bar, next_line: LINE_EVERY }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &Progress) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(progress.to_string());
                bar.tick();
            }
            None if progress.elapsed >= self.next_line => {
                log::info!("{progress}");
                self.next_line = progress.elapsed + LINE_EVERY;
            }
            None => {}
        }
    }
}

/// What is printed next begins on an empty line.
impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
