//! Bars on the terminal, and lines of the log above them.

use std::io::{self, IsTerminal};

use indicatif::MultiProgress;
use parking_lot::RwLock;

/// What is drawn now: lines of the log go above it.
static DRAWN: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// Bars on the terminal. When this is dropped they are gone, and what is printed next begins on an empty line.
pub struct Screen(MultiProgress);

impl Screen {
    /// None where nobody would see it: standard error is no terminal, or only errors are to be said.
    pub fn open() -> Option<Screen> {
        let is_seen = io::stderr().is_terminal() && log::max_level() >= log::LevelFilter::Warn;
        is_seen.then(|| Screen::on(MultiProgress::new()))
    }

    fn on(bars: MultiProgress) -> Screen {
        *DRAWN.write() = Some(bars.clone());
        Screen(bars)
    }

    /// Its bars.
    pub fn bars(&self) -> &MultiProgress {
        &self.0
    }

    /// One that nobody sees.
    #[cfg(test)]
    pub fn hidden() -> Screen {
        Screen(MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        *DRAWN.write() = None;
        // A terminal that is gone needs no tidying.
        let _ = self.0.clear();
    }
}

/// Prints something on standard error: above the bars, where there are some. Else it would be written into them, and
/// they over it.
pub fn above(print: impl FnOnce()) {
    match &*DRAWN.read() {
        Some(bars) => bars.suspend(print),
        None => print(),
    }
}
