//! The ledger of `serve`: printed once, at the end, or cut short at a second signal.

use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Exit, Failure, complain, print};
use crate::core::units::many;
use crate::gateway::control::{Answer, Command, Control};
use crate::gateway::ledger::Ledger;

/// 500 ms for each thing that may be in the way of an end at once: a print that nobody reads, a loop that is busy.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Prints the ledger once: when the gateway has ended, or at a second signal.
pub struct FinalLedger {
    json: bool,
    is_printed: Mutex<bool>,
}

impl FinalLedger {
    /// Nothing is said yet; as JSON or as text.
    pub fn new(json: bool) -> FinalLedger {
        FinalLedger { json, is_printed: Mutex::new(false) }
    }

    /// Prints it, the gateway having ended.
    pub fn print_once(&self, ledger: &Ledger) -> Result<(), Failure> {
        let mut is_printed = self.is_printed.lock();
        if std::mem::replace(&mut *is_printed, true) {
            return Ok(());
        }
        self.print(ledger)
    }

    /// Prints it as far as the gateway knows it now, since the process ends at once.
    pub fn cut_short(&self, control: &Control) {
        let Some(mut is_printed) = self.is_printed.try_lock_for(AT_ONCE) else { return };
        if *is_printed {
            return;
        }
        let (answer, from) = Answer::new();
        let asked = control.send(Command::Describe { survey: false, answer });
        let code = Exit::Signalled as i32;
        match asked.ok().and_then(|()| from.recv_timeout(AT_ONCE).ok()) {
            Some(snapshot) => {
                *is_printed = true;
                let ledger = &snapshot.ledger;
                complain(&format_args!(
                    "a second signal ends it at once, with exit code {code}: the ledger is cut short, with {} not finished \
                     and {} not confirmed by the sinks",
                    many(ledger.in_flight(), "frame"),
                    many(ledger.to_sinks.unconfirmed(), "frame")
                ));
                // Nobody may be left to read it.
                let _ = self.print(&snapshot.ledger);
            }
            None => {
                // If it has ended just now, its own ledger is on its way.
                drop(is_printed);
                thread::sleep(AT_ONCE);
                if self.is_printed.try_lock().is_some_and(|is_printed| !*is_printed) {
                    complain(&format_args!(
                        "a second signal ends it at once, with exit code {code}; its loop does not answer, so there is no ledger"
                    ));
                }
            }
        }
    }

    fn print(&self, ledger: &Ledger) -> Result<(), Failure> {
        let json = || serde_json::to_string(ledger).expect("a ledger is numbers and names");
        print(&if self.json { json() } else { ledger.to_string() })
    }
}
