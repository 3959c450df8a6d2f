//! What tells a source from all others, whatever they are called and hold.
//!
//! The id of a source is drawn when its journal is begun and stands in there. The file is known again by its
//! [`FileId`](super::file_id::FileId); what has none (a pipe) is the same source until it was read to its end. A folder
//! is one source, and a file in it that takes the place of another gets an id of its own.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::feed::Source;
use super::file_id::SeenFile;
use super::journal::{Identity, Journal, JournalError, Known, Noted};
use crate::core::units::of_file;

/// An id: what a key is made of first.
pub type SourceId = Arc<str>;

/// Ids that do not come from a journal.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    /// The one that was given for all sources.
    pub given: Option<String>,
    /// Whether there are several sources, each of which has its path behind the id that was given.
    pub are_many: bool,
    /// Whether sources come from a watched folder: one in the place of another is taken as new.
    pub watches: bool,
}

/// The records of a source that are wanted, each with the id of its source where that is known.
pub type Wanted = BTreeMap<String, Option<SourceId>>;

/// A new one, of 128 bits.
pub fn draw() -> SourceId {
    // Its hashes are keyed with 128 bits from the system, and cannot be told in advance.
    let chance = RandomState::new();
    format!("{:016x}{:016x}", chance.hash_one(0), chance.hash_one(1)).into()
}

/// What stands behind a source's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    File,
    Folder,
    /// What comes once.
    Stream,
}

impl Ids {
    fn given(&self, path: &Path) -> Option<SourceId> {
        let text = self.given.as_ref()?;
        Some(if self.are_many { format!("{text}/{}", path.display()).into() } else { text.as_str().into() })
    }

    /// The id of a source, which its journal then holds.
    ///
    /// # Errors
    /// Where the journal is another source's, or may be.
    pub(super) fn of_source(
        &self,
        source: &Source,
        nature: Nature,
        identity: &Identity,
        journal: &mut Journal,
        known: &mut Known,
    ) -> Result<SourceId, JournalError> {
        let path = &source.path;
        let shown = path.display();
        let reported = source.only.as_ref().and_then(|only| only.values().flatten().next()).cloned();
        let given =
            self.given(path).or(reported.filter(|_| nature != Nature::Folder || known.own().is_none()));
        let Some(place) = &source.journal else { return Ok(given.unwrap_or_else(draw)) };
        let place = place.display();
        let unfit = |why: String| Err(JournalError::Unfit(why));
        let unwritten = |why: io::Error| {
            JournalError::Unfit(format!("cannot write the journal {place}: {}", of_file(&why)))
        };
        let looked = if nature == Nature::Stream { Ok(None) } else { SeenFile::at(path) };
        let look = looked.map_err(|why| {
            JournalError::Unfit(format!("cannot open {shown}: {why}: check its name and mode"))
        })?;
        let mut noted = Noted {
            file: None,
            id: String::new(),
            path: absolute(path).to_string_lossy().into_owned(),
            print: look.as_ref().map(|look| look.id.clone()),
        };
        // Of the files in a folder more may be noted.
        if nature == Nature::Folder {
            journal.goes_on();
        }
        let mut note = |id: SourceId, is_new: bool, journal: &mut Journal, known: &mut Known| {
            noted.id = id.as_ref().to_owned();
            if known.own() != Some(&noted) {
                known.note(noted.clone(), is_new).map_err(unwritten)?;
                journal.goes_on();
            }
            if is_new {
                journal.sync_folder();
            }
            Ok(id)
        };
        let Some(own) = known.own().cloned() else {
            if known.is_old() && given.as_deref() != Some(&identity.source) {
                return unfit(format!(
                    "the journal {place} was written by an earlier framegate, to which sources of one name were the \
                     same: to go on with it, post {shown} once with --journal {place} --source-id '{}'; to send all of \
                     it with new keys, remove the journal",
                    identity.source
                ));
            }
            if !known.is_old() && known.has_outcomes() && given.is_none() {
                return unfit(format!(
                    "the journal {place} is damaged: the line with the id of its source is lost: give that with \
                     --source-id (reports have it as source_id), or remove the journal to send all of {shown} with new \
                     keys"
                ));
            }
            return note(given.unwrap_or_else(draw), true, journal, known);
        };
        if let Some(given) = given {
            if *given == *own.id {
                return note(given, false, journal, known);
            }
            if nature == Nature::Stream && known.ended().is_some() {
                journal.restart(identity, known).map_err(unwritten)?;
                return note(given, true, journal, known);
            }
            return unfit(format!(
                "the journal {place} has the source id {}, not {given}: give that one to go on with it, or another \
                 file with --journal",
                own.id
            ));
        }
        let is_same = match (&look, &own.print) {
            (Some(look), Some(print)) => look.is_of(print),
            (None, None) => known.ended().is_none(),
            _ => false,
        };
        // What is in a folder is judged file by file.
        let is_there = absolute(path).to_string_lossy() == own.path;
        if is_same || (nature == Nature::Folder && is_there) {
            return note(own.id.into(), false, journal, known);
        }
        if nature != Nature::Stream && !is_there {
            return unfit(format!(
                "the journal {place} belongs to {}, which is another source than {shown}: give another file with \
                 --journal, or remove it",
                own.path
            ));
        }
        if nature == Nature::Stream || self.watches || known.ended() == Some(0) {
            if nature != Nature::Stream {
                log::info!("{shown} is another file than the one that was posted before: all of it is sent");
            }
            journal.restart(identity, known).map_err(unwritten)?;
            return note(draw(), true, journal, known);
        }
        unfit(format!(
            "{shown} is another file than the one that the journal {place} is of, and of that one not everything is \
             stored: to go on with what was not, give --source-id {}; to send all of this one, remove the journal",
            own.id
        ))
    }

    /// The id of a file in a folder whose own is `folder`.
    ///
    /// # Errors
    /// Where the records that are wanted are another file's, or the journal cannot be used.
    pub(super) fn of_file(
        &self,
        path: &Path,
        name: &str,
        folder: &SourceId,
        only: Option<&Wanted>,
        known: &mut Known,
    ) -> Result<SourceId, String> {
        let reported = only.filter(|_| self.given.is_none()).and_then(|only| reported(only, name));
        // What cannot be looked at cannot be read either, of which its reader tells.
        let Ok(Some(look)) = SeenFile::at(path) else {
            return Ok(reported.unwrap_or_else(|| folder.clone()));
        };
        let before = known.file(name).map_err(|why| format!("cannot read the journal: {why}"))?;
        let (id, is_new) = match &before {
            None => (reported.unwrap_or_else(|| folder.clone()), false),
            Some(before) if reported.as_deref().is_some_and(|reported| *reported != *before.id) => {
                return Err("the report is of another file that was here before: post this one without \
                            --retry-failed"
                    .to_owned());
            }
            Some(before)
                if self.given.is_some()
                    || reported.is_some()
                    || before.print.as_ref().is_some_and(|print| look.is_of(print)) =>
            {
                (before.id.as_str().into(), false)
            }
            Some(_) => {
                log::info!(
                    "{} is another file than the one that was posted before: all of it is sent",
                    path.display()
                );
                (draw(), true)
            }
        };
        let noted = Noted {
            file: Some(name.to_owned()),
            id: id.as_ref().to_owned(),
            path: String::new(),
            print: Some(look.id),
        };
        if before.as_ref() != Some(&noted) {
            known.note(noted, is_new).map_err(|why| format!("cannot write the journal: {why}"))?;
        }
        Ok(id)
    }
}

/// Where a source is, whatever way leads there; a link where the link is.
pub fn absolute(path: &Path) -> PathBuf {
    let found = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            folder.canonicalize().map(|folder| folder.join(name))
        }
        _ => path.canonicalize(),
    };
    found.unwrap_or_else(|_| path.to_owned())
}

/// The id under which records of a file were reported.
fn reported(only: &Wanted, name: &str) -> Option<SourceId> {
    if let Some(id) = only.get(name) {
        return id.clone();
    }
    let inside = format!("{name} ");
    let (record, id) = only.range::<str, _>((Bound::Included(inside.as_str()), Bound::Unbounded)).next()?;
    record.starts_with(&inside).then(|| id.clone())?
}
