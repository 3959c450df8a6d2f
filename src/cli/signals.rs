//! What signals do: INT and TERM ask a command to end and at a second time end it at once, HUP is about its terminal, and
//! a file size limit is an error of the write that reaches it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::{Exit, Failure};

/// What HUP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    /// The terminal was closed: the same as INT, except where it is ignored, as nohup has it.
    Ends,
    /// It is how a service is told to read its configuration again.
    Reloads,
}

/// Has a write beyond the limit of file sizes fail instead of ending the process: it is an error like that of a full
/// disk. It is caught, not ignored, so that programs that are started from here find it as it was.
pub fn survive_file_size_limit() {
    if let Err(why) = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))) {
        log::warn!("cannot catch XFSZ: {why}: reaching the limit of file sizes (ulimit -f) ends this");
    }
}

/// Calls `first` from a thread of its own at the first signal. A second one ends the process.
pub fn on_signal(first: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    wait(Hangup::Ends, first, || {}, || {}).map_err(cannot_wait)
}

/// The same for a service: calls `second` before a second one ends the process, which must not wait for anything for long,
/// and `hangup` at each HUP.
pub fn on_signals(
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce() + Send + 'static,
    hangup: impl Fn() + Send + 'static,
) -> Result<(), Failure> {
    wait(Hangup::Reloads, first, second, hangup).map_err(cannot_wait)
}

fn cannot_wait(why: io::Error) -> Failure {
    Failure { exit: Exit::Partly, message: format!("cannot wait for signals: {why}") }
}

fn wait(
    hangup: Hangup,
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce() + Send + 'static,
    reload: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let mut wanted = vec![SIGINT, SIGTERM];
    if hangup == Hangup::Reloads || is_hangup_taken() {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut first = Some(first);
        for signal in signals.forever() {
            match (signal, first.take()) {
                (SIGHUP, unasked) if hangup == Hangup::Reloads => {
                    first = unasked;
                    reload();
                }
                (_, Some(first)) => first(),
                // A terminal that is closed says so more than once.
                (SIGHUP, None) => {}
                (_, None) => break,
            }
        }
        second();
        // Not `process::exit`: nothing that the process still holds may delay this.
        signal_hook::low_level::exit(Exit::Signalled as i32);
    })?;
    Ok(())
}

/// Whether HUP is not ignored, as nohup has it. Where the system does not tell, it is left alone.
fn is_hangup_taken() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status).is_some_and(|ignored| ignored & 1 << (SIGHUP - 1) == 0)
}

/// The signals that a process ignores, a bit each, by what Linux says of it.
fn ignored_in(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_status() {
        let status = "Name:\tframegate\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000440\n";
        assert_eq!(ignored_in(status), Some(0x1001));
        assert_eq!((ignored_in(""), ignored_in("SigIgn:\tx")), (None, None));
    }
}
