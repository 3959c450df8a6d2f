//! How much is said on standard error, and changing that while a gateway runs.

use std::sync::Arc;

use env_logger::Logger;
use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::RwLock;

use super::screen;
use crate::admin::LogLevel;
use crate::core::units::plain;
use crate::gateway::control::Change;

/// The log of this process.
#[derive(Clone)]
pub struct Journal(Arc<RwLock<Filtered>>);

struct Filtered {
    logger: Logger,
    /// As it was asked for.
    spec: String,
}

impl Journal {
    /// Begins to log: what RUST_LOG says, or else from this level on.
    pub fn begin(level: LevelFilter) -> Journal {
        let spec = std::env::var("RUST_LOG").unwrap_or_else(|_| level.to_string().to_lowercase());
        let filtered = Filtered { logger: logger(&spec), spec };
        let max = filtered.logger.filter();
        let journal = Journal(Arc::new(RwLock::new(filtered)));
        // A test in the same process may have begun a log before.
        if log::set_boxed_logger(Box::new(journal.clone())).is_ok() {
            log::set_max_level(max);
        }
        journal
    }
}

fn logger(spec: &str) -> Logger {
    env_logger::Builder::new().parse_filters(spec).format_target(false).build()
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.read().logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let filtered = self.0.read();
        if filtered.logger.matches(record) {
            // Whatever it names (a topic, a file, what a server says): nothing in it breaks a line or is obeyed.
            let text = plain(&record.args().to_string());
            let args = format_args!("{text}");
            let (metadata, module, file, line) =
                (record.metadata().clone(), record.module_path(), record.file(), record.line());
            let mut shown = Record::builder();
            shown.metadata(metadata).module_path(module).file(file).line(line);
            screen::above(|| filtered.logger.log(&shown.args(args).build()));
        }
    }

    fn flush(&self) {
        self.0.read().logger.flush();
    }
}

impl LogLevel for Journal {
    fn level(&self) -> String {
        self.0.read().spec.clone()
    }

    fn set_level(&self, level: &str) -> Result<Change, String> {
        let spec = level.trim().to_lowercase();
        let is_right = !spec.is_empty() && spec.split(',').all(is_directive);
        if !is_right {
            return Err(format!(
                "log: '{level}' is no level: choose off, error, warn, info, debug or trace, or write TARGET=LEVEL,…"
            ));
        }
        let logger = logger(&spec);
        let max = logger.filter();
        let old = {
            let mut filtered = self.0.write();
            filtered.logger = logger;
            std::mem::replace(&mut filtered.spec, spec.clone())
        };
        log::set_max_level(max);
        log::info!("log is set from {old} to {spec}");
        Ok(Change { name: "log".into(), old, new: spec, also: None })
    }
}

/// `LEVEL` or `TARGET=LEVEL`.
fn is_directive(directive: &str) -> bool {
    let (target, level) = directive.trim().rsplit_once('=').unwrap_or(("all", directive.trim()));
    let is_target = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
    !target.is_empty() && target.chars().all(is_target) && level.parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_changes_and_faults_say_the_mend() {
        let journal =
            Journal(Arc::new(RwLock::new(Filtered { logger: logger("info"), spec: "info".into() })));
        let shown = |journal: &Journal, level| {
            journal.enabled(&Metadata::builder().level(level).target("framegate::gateway").build())
        };
        assert!(shown(&journal, log::Level::Info) && !shown(&journal, log::Level::Debug));
        let change = journal.set_level("Debug").unwrap();
        assert_eq!((change.old.as_str(), change.new.as_str()), ("info", "debug"));
        assert!(shown(&journal, log::Level::Debug));
        journal.set_level("warn,framegate::gateway=trace").unwrap();
        assert!(shown(&journal, log::Level::Trace));
        for wrong in ["", "loud", "a b=info", "framegate=", "=info", "info,"] {
            assert!(journal.set_level(wrong).unwrap_err().contains("choose off, error"), "{wrong}");
        }
        assert_eq!(journal.level(), "warn,framegate::gateway=trace");
    }
}
