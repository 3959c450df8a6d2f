//! What INT and TERM do: the first asks, the second ends at once.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Exit, Failure};

/// Calls `first` from a thread of its own at the first signal. A second one ends the process.
pub fn on_signal(first: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    on_signals(first, || {})
}

/// The same, and calls `second` before a second one ends the process: it must not wait for anything for long.
pub fn on_signals(
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    wait(first, second)
        .map_err(|why| Failure { exit: Exit::Partly, message: format!("cannot wait for signals: {why}") })
}

fn wait(first: impl FnOnce() + Send + 'static, second: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            first();
        }
        if signals.next().is_some() {
            second();
            // Not `process::exit`: nothing that the process still holds may delay this.
            signal_hook::low_level::exit(Exit::Signalled as i32);
        }
    })?;
    Ok(())
}
