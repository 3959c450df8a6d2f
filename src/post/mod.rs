//! `post`: every record of archives, files or a watched folder to a store over HTTP, a bounded number at once, none
//! lost and none twice.
//!
//! ```text
//! sources ─ feed (a thread): walk, key, journal ─ intake ─┬─ ready ─ connection ─ answer ─ judge ─┬─ journal, report
//!                                                         └──── waiting for another try ─────────┘
//! ```
//!
//! A record's [`Key`] follows from its source's name, its own and its bytes, so a store sees that a request came
//! before, whatever happened in between. What became of a record is written to a [`journal`] after the answer and
//! never before: what was under way when a run was broken off is sent again, with the same key, and nothing else is.
//!
//! The requests themselves are a [`courier`]'s.

mod events;
pub mod feed;
mod fingerprint;
mod folder;
mod job;
pub mod journal;
mod key;
mod lease;
mod put_away;
pub mod report;
mod run;
pub mod watch;
#[cfg(test)]
mod watch_model;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam::channel::Receiver;
use sha2::{Digest, Sha256};

use crate::courier;
use crate::http::Field;

pub use feed::{Feed, Intake, Source, feed};
pub use fingerprint::Fingerprint;
pub use key::Key;
pub use report::{Part, Progress, Report};
pub use run::{Poster, Stop};

/// How standard input is called where a source is named.
pub const STDIN: &str = "-";

/// How records are posted.
#[derive(Clone, Debug)]
pub struct Options {
    /// How they are carried.
    pub carried: courier::Options,
    /// What every record is said to be; none: what it was read as.
    pub content_type: Option<Field>,
    /// Whether sources come from a watched folder: they are put away when they are done, and what cannot be taken
    /// stays where it is.
    pub watches: bool,
}

/// Where the journal of a source is unless told otherwise: beside it, hidden, one for each URL and `record`.
pub fn journal_of(source: &Path, url: &str, record: &str) -> PathBuf {
    let hash = Sha256::digest(format!("{url}\n{record}"));
    let short: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let source = if source.file_name().is_some() { source.to_owned() } else { source.join("folder") };
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    source.with_file_name(format!(".{name}.{short}.journal"))
}

/// Brings files to the disk, one after the other, until nobody sends any; for a thread of its own.
pub fn sync_files(files: &Receiver<Arc<File>>) {
    for file in files {
        if let Err(why) = file.sync_data() {
            log::warn!("cannot bring the journal to the disk: {why}");
        }
    }
}
