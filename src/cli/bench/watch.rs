//! Progress of a bench, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::screen::Screen;
use crate::tools::bench::Progress;

/// 10 s between two lines of a log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a bench is: on a terminal in a line of its own, else in the log.
pub struct Watch {
    bar: Option<(Screen, ProgressBar)>,
    next_line: Duration,
}

impl Watch {
    /// Shows nothing yet.
    pub fn new() -> Watch {
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is well-formed");
        let bar = Screen::open().map(|screen| {
            let bar = screen.bars().add(ProgressBar::new_spinner().with_style(style));
            (screen, bar)
        });
        Watch { bar, next_line: LINE_EVERY }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &Progress) {
        match &self.bar {
            Some((_, bar)) => {
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
