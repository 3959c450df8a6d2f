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
//! How many requests are under way is [`pace`]'s to say, how many connections [`doors`]' is; what an answer means is
//! [`judge`]'s, and how long to wait before another try [`retry`]'s. These four are pure: told the time and given
//! dice.

mod conn;
pub mod doors;
pub mod feed;
mod job;
pub mod journal;
pub mod judge;
mod key;
mod life;
pub mod pace;
pub mod report;
pub mod retry;
mod run;
pub mod watch;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;
use sha2::{Digest, Sha256};

use crate::http::{Field, Target};
use crate::limits::POST_CONNECT;
use judge::OkWhen;

pub use feed::{Feed, Intake, Source, feed};
pub use key::Key;
pub use report::{Part, Progress, Report};
pub use run::{Poster, Stop};

/// How records are posted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where they go.
    pub target: Target,
    /// Header fields of every request.
    pub fields: Vec<Field>,
    /// What every record is said to be; none: what it was read as.
    pub content_type: Option<Field>,
    /// Requests under way at once.
    pub max_in_flight: usize,
    /// Connections open at once.
    pub max_connections: usize,
    /// Whether it finds out how many requests at once the store takes.
    pub adaptive: bool,
    /// How long an answer may take to be whole.
    pub timeout: Duration,
    /// Tries after the first one.
    pub retries: u32,
    /// What an answer must hold beside a 2xx.
    pub ok_when: Option<OkWhen>,
    /// Whether anybody's certificate will do.
    pub insecure: bool,
    /// Whether sources come from a watched folder: they are put away when they are done, what cannot be taken
    /// stays where it is, and a store that is away is waited for.
    pub watches: bool,
    /// What the dice begin with.
    pub seed: u64,
}

impl Options {
    fn connect_timeout(&self) -> Duration {
        self.timeout.min(POST_CONNECT)
    }
}

/// Why nothing could be posted, in one line with the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// What was asked for cannot work here.
    Refused(String),
    /// The store cannot be found.
    Gone(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failed::Refused(said) | Failed::Gone(said)) = self;
        f.write_str(said)
    }
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
