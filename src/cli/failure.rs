//! How a command ends.

use std::fmt;
use std::process::ExitCode;
use std::thread;

use crate::http::connect::Failed;

/// The exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// The work was done and part of it failed; the report says what.
    Partly = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The other side could not be reached or went away.
    Gone = 3,
    /// A signal ended it; what was begun is finished and reported.
    Signalled = 130,
}

/// Why a command could not do its work, in one line with the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The line.
    pub message: String,
}

impl Failure {
    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, message: message.into() }
    }
}

/// Runs something on a thread of this name.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new().name(name.into()).spawn(run).map(drop).map_err(|why| Failure {
        exit: Exit::Partly,
        message: format!("cannot start a thread: {why}: raise ulimit -u"),
    })
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        let exit = match failed {
            Failed::Refused(_) => Exit::Usage,
            Failed::Gone(_) => Exit::Gone,
        };
        Failure { exit, message: failed.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Messages of libraries may have several lines.
        for (index, line) in self.message.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            write!(f, "{}{line}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
