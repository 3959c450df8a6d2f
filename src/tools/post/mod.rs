//! `post`: every record of archives, files or a watched folder to a store over HTTP, a bounded number at once, none
//! lost and none twice.
//!
//! ```text
//! sources ─ feed (a thread): walk, key, journal ─ intake ─┬─ ready ─ connection ─ answer ─ judge ─┬─ journal, report
//!                                                         └──── waiting for another try ─────────┘
//! ```
//!
//! A record's [`Key`] follows from its source's [id](source_id), its name and its bytes, so a store sees that a request
//! came before, whatever happened in between. What became of a record is written to a [`journal`] after the answer and
//! never before: what was under way when a run was broken off is sent again, with the same key, and nothing else is.
//!
//! [`dispatch`] sends the requests.

pub(crate) mod events;
pub mod feed;
pub mod file_id;
mod fingerprint;
mod folder;
mod job;
pub mod journal;
mod key;
mod lease;
mod move_done;
pub mod report;
mod run;
pub mod source_id;
pub mod watch;
#[cfg(test)]
mod watch_model;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam::channel::Receiver;
use sha2::{Digest, Sha256};

use crate::core::units::hex;
use crate::http::dispatch;
use crate::http::wire::Field;

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
    pub carried: dispatch::Options,
    /// What every record is said to be; none: what it was read as.
    pub content_type: Option<Field>,
    /// Whether sources come from a watched folder: they are put away when they are done, and what cannot be taken
    /// stays where it is.
    pub watches: bool,
}

/// Where the journal of a source is unless told otherwise: beside it, hidden, one for each URL and `record`.
pub fn journal_of(source: &Path, url: &str, record: &str) -> PathBuf {
    let source = if source.file_name().is_some() { source.to_owned() } else { source.join("folder") };
    let name = source.file_name().unwrap_or_default();
    let hash = Sha256::new().chain_update(format!("{url}\n{record}"));
    let hash = match name.to_str() {
        Some(name) if name.len() <= NAME_MAX => {
            return source.with_file_name(journal_name(name, &hash.finalize(), 4));
        }
        // Two that look alike have each their own.
        _ => hash.chain_update(b"\n").chain_update(name.as_encoded_bytes()),
    };
    let looks: String = name.to_string_lossy().chars().take(NAME_MAX / 4).collect();
    source.with_file_name(journal_name(&looks, &hash.finalize(), 8))
}

/// Where it is in a folder for the journals of many sources: two of one name have each their own.
pub fn journal_in(folder: &Path, source: &Path, url: &str, record: &str) -> PathBuf {
    let own = journal_of(source, url, record);
    let own = own.file_name().expect("it has a name").to_string_lossy();
    if source == Path::new(STDIN) {
        return folder.join(&*own);
    }
    // One that was begun when sources of one name were the same is not passed over.
    let old = folder.join(&*own);
    let place = source_id::absolute(source);
    let hash = Sha256::digest(place.as_os_str().as_encoded_bytes());
    let own = own.trim_start_matches('.').trim_end_matches(".journal");
    let new = folder.join(journal_name(own, &hash, 4));
    if old.exists() && !new.exists() { old } else { new }
}

/// 200 bytes of a name: a file system that takes 255 has room for what is put around it.
const NAME_MAX: usize = 200;

fn journal_name(source: &str, hash: &[u8], bytes: usize) -> String {
    format!(".{source}.{}.journal", hex(&hash[..bytes]))
}

/// Brings files to the disk, one after the other, until nobody sends any; for a thread of its own.
pub fn sync_files(files: &Receiver<Arc<File>>) {
    for file in files {
        if let Err(why) = file.sync_data() {
            log::warn!("cannot bring the journal to the disk: {why}");
        }
    }
}
