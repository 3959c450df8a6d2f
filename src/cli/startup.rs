//! A signal that comes before `serve` runs, as while a large store is opened.

use std::sync::Arc;

use parking_lot::Mutex;

use super::final_ledger::FinalLedger;
use super::reload::Reloader;
use super::{Exit, Failure, Time, signals};
use crate::gateway::Config;
use crate::gateway::Control;
use crate::gateway::ledger::Ledger;

/// How far `serve` is, for signals to know.
pub struct Starting {
    runs: Arc<Mutex<bool>>,
}

impl Starting {
    /// From now on signals are looked after. As long as it is starting, nothing was accepted: one ends the process at once,
    /// as cleanly as a crash leaves a store, with a ledger of nothing. Later it drains.
    pub fn begin(
        control: Control,
        final_ledger: Arc<FinalLedger>,
        config: &Config,
        reloader: Arc<Reloader>,
    ) -> Result<Starting, Failure> {
        let (runs, drain) = (Arc::new(Mutex::new(false)), config.drain);
        let (seen, asked, cut_short) = (runs.clone(), control.clone(), final_ledger.clone());
        let first = move || {
            // Held until the process ends: it does not begin to run meanwhile.
            let runs = seen.lock();
            if !*runs {
                log::info!("ended by a signal before it had started");
                let ended = final_ledger.print_once(&Ledger::default());
                let exit = if ended.is_ok() { Exit::Done } else { Exit::Partly };
                signal_hook::low_level::exit(exit as i32);
            }
            log::info!("draining, for at most {}; a second signal ends at once", Time(drain));
            control.drain();
        };
        signals::on_signals(first, move || cut_short.cut_short(&asked), move || reloader.begin("HUP"))?;
        Ok(Starting { runs })
    }

    /// It runs: what is accepted from now on is to be finished.
    pub fn end(self) {
        *self.runs.lock() = true;
    }
}
