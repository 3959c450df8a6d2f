//! What became of each record, in a file: a run that was broken off goes on from there.
//!
//! A line a record, written when its outcome is known and never changed, with a checksum at its end. A crash of the
//! machine may tear the last lines, and a disk may damage any: what is no whole line is as if it had not been
//! written, so its record is sent again with the same key. What was torn off at the end is cut off.
//!
//! The id of the source stands in there, too, and is on the disk before anything is sent under it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Key;
use super::file_id::FileId;
use super::move_done::move_file;
use crate::core::limits::POST_JOURNAL_LINE_MAX;
use crate::core::units::many;
use crate::http::dispatch::judge::Reason;

/// What a journal belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The source's name.
    pub source: String,
    /// Where its records go.
    pub url: String,
    /// What a record is.
    pub record: String,
}

/// Under which id the records of a source are sent, and by what it is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// The file in a folder that is the source; none for the source itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The id.
    pub id: String,
    /// Where the source was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// None for what has none: a pipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<FileId>,
}

/// Why a journal cannot be used, in one line with the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// Another process writes it.
    Busy(String),
    /// It cannot be written, or belongs to something else.
    Unfit(String),
}

/// The outcomes of earlier runs.
#[derive(Debug)]
pub struct Known {
    /// Halves of the keys of what was stored, in order.
    stored: Vec<u128>,
    /// Where the lines of what failed begin.
    failed: HashMap<u128, u64>,
    /// What was noted last of the source.
    own: Option<Noted>,
    /// Where the last lines of the files in it begin, by halves of their names' keys.
    files: HashMap<u128, u64>,
    /// How many records the source was left with that are not stored, where it was read to its end.
    ended: Option<u64>,
    /// Whether it was begun when a source was known by its name.
    is_old: bool,
    /// None where there is no journal.
    lines: Option<File>,
}

/// An outcome of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store has it.
    Stored,
    /// It was not stored, after so many tries.
    Failed(u32, Reason),
}

/// Where outcomes are written to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// None where nothing is noted.
    file: Option<Arc<File>>,
    /// Lines that are not written yet; a turn's worth.
    lines: Vec<u8>,
    /// Whether something was written that may not be on the disk yet.
    unsynced: bool,
    /// What its last line says of the end of its source.
    ended: Option<u64>,
}

const MARK: &str = "framegate-journal-2";

/// The mark of journals without a source id.
const OLD_MARK: &str = "framegate-journal-1";

impl Journal {
    /// Notes nothing: for what cannot be read again.
    pub fn none() -> Journal {
        Journal { path: PathBuf::new(), file: None, lines: Vec::new(), unsynced: false, ended: None }
    }

    /// Opens the journal at `path`, or begins it, and reads what it holds.
    pub fn open(path: &Path, identity: &Identity) -> Result<(Journal, Known), JournalError> {
        let unfit = |why: io::Error| {
            let mend = "give another file with --journal";
            JournalError::Unfit(format!("cannot use the journal {}: {why}: {mend}", path.display()))
        };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(unfit)?;
        match file.try_lock() {
            // Where its last holder has removed it meanwhile, the lock is on a file without a name.
            Ok(()) if !is_at(path, &file).map_err(unfit)? => {
                return Err(JournalError::Busy(format!("{} was put away a moment ago", identity.source)));
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Busy(format!(
                    "another framegate post is at work on {} (it holds {}): wait for it or stop it",
                    identity.source,
                    path.display()
                )));
            }
            Err(TryLockError::Error(why)) => return Err(unfit(why)),
        }
        let mut known = Known::none();
        let lines = file.try_clone().map_err(unfit)?;
        let whole = match known.read(lines, identity).map_err(unfit)? {
            Some(whole) => whole,
            None => {
                return Err(JournalError::Unfit(format!(
                    "the journal {} belongs to another source, URL or --record: give another file with --journal, or remove it",
                    path.display()
                )));
            }
        };
        file.set_len(whole).map_err(unfit)?;
        let (path, file) = (path.to_owned(), Some(Arc::new(file)));
        let mut journal = Journal { path, file, lines: Vec::new(), unsynced: false, ended: known.ended };
        if whole == 0 {
            journal.line(&head(MARK, identity));
            journal.write().map_err(unfit)?;
        }
        Ok((journal, known))
    }

    /// Begins it anew: all that it holds is of a source that is done.
    pub fn restart(&mut self, identity: &Identity, known: &mut Known) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.set_len(0)?;
        }
        *known = Known { lines: known.lines.take(), ..Known::none() };
        self.ended = None;
        self.line(&head(MARK, identity));
        self.write()
    }

    /// Notes that a record is stored.
    pub fn stored(&mut self, key: &Key) {
        self.line(&format!("ok {key}"));
    }

    /// Notes that a record is not.
    pub fn failed(&mut self, key: &Key, tries: u32, reason: &Reason) {
        let status = reason.status.unwrap_or(0);
        // A kind is a few words of ours. What the store said is in one line; what the system said may not be.
        let text = reason.text.replace(['\n', '\r'], " ");
        self.line(&format!("failed {key} {tries} {status} {}\t{text}", reason.kind));
    }

    /// Notes that the source was read to its end, and how many of its records are not stored.
    pub fn ended(&mut self, failed: u64) {
        if self.ended != Some(failed) {
            self.line(&format!("end {failed}"));
            self.ended = Some(failed);
        }
    }

    fn line(&mut self, text: &str) {
        self.ended = None;
        self.lines.extend(line_of(text));
    }

    /// Hands the lines to the system: from then on only a crash of the machine can take them back.
    pub fn write(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            self.lines.clear();
            return Ok(());
        };
        while !self.lines.is_empty() {
            match (&**file).write(&self.lines) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                // Where there is no room for the rest, that is what is tried again: no line is in it twice, or torn.
                Ok(n) => {
                    self.lines.drain(..n);
                    self.unsynced = true;
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// The file, if it holds what may not be on the disk yet; for [`File::sync_data`] on another thread.
    pub fn to_sync(&mut self) -> Option<Arc<File>> {
        self.file.clone().filter(|_| std::mem::take(&mut self.unsynced))
    }

    /// The sync could not begin: it is due as before.
    pub fn unsync(&mut self) {
        self.unsynced = true;
    }

    /// Writes everything, to the disk too.
    pub fn finish(&mut self) -> io::Result<()> {
        self.write()?;
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data())
    }

    /// That it was begun is on the disk, as far as the system can do that.
    pub fn sync_folder(&self) {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        if let Err(why) = folder {
            log::debug!("{}: {why}", self.path.display());
        }
    }

    /// Another process has noted something: its last line says nothing of an end.
    pub fn goes_on(&mut self) {
        self.ended = None;
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it into `folder`, where its source is put.
    pub fn move_to(self, folder: &Path) -> io::Result<()> {
        match (&self.file, self.path.file_name()) {
            (Some(_), Some(name)) => {
                let to = folder.join(name);
                match fs::rename(&self.path, &to) {
                    Err(why) if why.kind() == io::ErrorKind::CrossesDevices => {
                        // As a rename would: one of another source that had the name.
                        drop(fs::remove_file(&to));
                        move_file(&self.path, &to)
                    }
                    moved => moved,
                }
            }
            _ => Ok(()),
        }
    }

    /// Removes it: its source is done for good. Where it is gone, as with its folder, that is as good.
    pub fn remove(self) -> io::Result<()> {
        match &self.file {
            Some(file) if is_at(&self.path, file)? => fs::remove_file(&self.path),
            _ => Ok(()),
        }
    }
}

impl Known {
    /// No earlier run.
    pub fn none() -> Known {
        Known {
            stored: Vec::new(),
            failed: HashMap::new(),
            own: None,
            files: HashMap::new(),
            ended: None,
            is_old: false,
            lines: None,
        }
    }

    /// Reads the whole lines; where the last of them ends. None if the journal is another's.
    fn read(&mut self, lines: File, identity: &Identity) -> io::Result<Option<u64>> {
        let mut reader = BufReader::new(lines.try_clone()?);
        self.lines = Some(lines);
        let mut line = Vec::new();
        let (mut at, mut whole) = (0, 0);
        // Lines that are not whole, and how many of them others follow.
        let (mut torn, mut damaged) = (0u64, 0u64);
        loop {
            line.clear();
            let n = io::Read::take(&mut reader, POST_JOURNAL_LINE_MAX).read_until(b'\n', &mut line)? as u64;
            if n == 0 {
                break;
            }
            let text = checked(&line);
            if at == 0 {
                match text {
                    Some(text) if text == head(MARK, identity) => {}
                    Some(text) if text == head(OLD_MARK, identity) => self.is_old = true,
                    // A file that holds something else is not ours to cut off.
                    None if is_torn(&line) => return Ok(Some(0)),
                    _ => return Ok(None),
                }
            } else if let Some(text) = text {
                self.take(text, at);
            } else {
                torn += 1;
            }
            at += n;
            if text.is_some() {
                whole = at;
                damaged += std::mem::take(&mut torn);
            }
        }
        if damaged > 0 {
            log::warn!(
                "{} of the journal: what was noted there is sent again, with the same key",
                many(damaged, "damaged line")
            );
        }
        self.stored.sort_unstable();
        self.stored.shrink_to_fit();
        Ok(Some(whole))
    }

    fn take(&mut self, text: &str, at: u64) {
        let (what, rest) = text.split_once(' ').unwrap_or((text, ""));
        let key = || rest.get(..64).and_then(|key| key.parse::<Key>().ok());
        self.ended = None;
        match what {
            "ok" => {
                if let Some(key) = key() {
                    self.failed.remove(&key.half());
                    self.stored.push(key.half());
                }
            }
            "failed" => {
                if let Some(key) = key() {
                    self.failed.insert(key.half(), at);
                }
            }
            "end" => self.ended = rest.parse().ok(),
            "source" => match serde_json::from_str(rest) {
                Ok(Noted { file: Some(name), .. }) => drop(self.files.insert(half_of(&name), at)),
                Ok(own) => self.own = Some(own),
                Err(why) => log::debug!("the journal: {text}: {why}"),
            },
            _ => {}
        }
    }

    /// What was noted last of the source.
    pub fn own(&self) -> Option<&Noted> {
        self.own.as_ref()
    }

    /// What was noted last of a file in it.
    pub fn file(&self, name: &str) -> io::Result<Option<Noted>> {
        let Some(&at) = self.files.get(&half_of(name)) else { return Ok(None) };
        let noted = self.line_at(at, |text| serde_json::from_str(text.strip_prefix("source ")?).ok())?;
        Ok(noted.filter(|noted: &Noted| noted.file.as_deref() == Some(name)))
    }

    /// How many records the source was left with that are not stored, if it was read to its end.
    pub fn ended(&self) -> Option<u64> {
        self.ended
    }

    /// Whether anything became of any record.
    pub fn has_outcomes(&self) -> bool {
        !self.stored.is_empty() || !self.failed.is_empty()
    }

    /// Whether it was begun when a source was known by its name, which was its id.
    pub fn is_old(&self) -> bool {
        self.is_old
    }

    /// Notes the id of a source or of a file in it; one that is new is on the disk before anything is sent under it.
    pub fn note(&mut self, noted: Noted, is_new: bool) -> io::Result<()> {
        if let Some(file) = &mut self.lines {
            let text = format!("source {}", serde_json::to_string(&noted).expect("it is names and numbers"));
            file.write_all(&line_of(&text))?;
            if is_new {
                file.sync_data()?;
            }
        }
        self.ended = None;
        if noted.file.is_none() {
            self.own = Some(noted);
        }
        Ok(())
    }

    fn line_at<T>(&self, at: u64, read: impl Fn(&str) -> Option<T>) -> io::Result<Option<T>> {
        let Some(lines) = &self.lines else { return Ok(None) };
        let mut reader = BufReader::new(lines);
        reader.seek(SeekFrom::Start(at))?;
        let mut line = Vec::new();
        io::Read::take(&mut reader, POST_JOURNAL_LINE_MAX).read_until(b'\n', &mut line)?;
        Ok(checked(&line).and_then(read))
    }

    /// What became of a record in an earlier run.
    pub fn outcome(&self, key: &Key) -> io::Result<Option<Outcome>> {
        let half = key.half();
        if let Some(&at) = self.failed.get(&half) {
            return self.line_at(at, failure_of);
        }
        Ok(self.stored.binary_search(&half).is_ok().then_some(Outcome::Stored))
    }
}

/// Whether `file` is what `path` leads to.
#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why),
    }
}

#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> io::Result<bool> {
    Ok(true)
}

/// A first line that a crash cut off.
fn is_torn(line: &[u8]) -> bool {
    let is_of = |mark: &str| mark.as_bytes().starts_with(line) || line.starts_with(mark.as_bytes());
    !line.ends_with(b"\n") && (is_of(MARK) || is_of(OLD_MARK))
}

/// The first line.
fn head(mark: &str, identity: &Identity) -> String {
    format!("{mark} {}", serde_json::to_string(identity).expect("it is three names"))
}

/// A file's name in short.
fn half_of(name: &str) -> u128 {
    Key::of("", name, b"").half()
}

fn line_of(text: &str) -> Vec<u8> {
    debug_assert!(!text.contains('\n'));
    format!("{text} {}\n", sum_of(text)).into_bytes()
}

fn sum_of(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// A whole line, without its checksum.
fn checked(line: &[u8]) -> Option<&str> {
    let line = str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (text, sum) = line.rsplit_once(' ')?;
    (sum == sum_of(text)).then_some(text)
}

fn failure_of(text: &str) -> Option<Outcome> {
    let mut words = text.splitn(5, ' ').skip(2);
    let tries = words.next()?.parse().ok()?;
    let status = words.next()?.parse().ok().filter(|&status| status != 0);
    let (kind, text) = words.next()?.split_once('\t')?;
    Some(Outcome::Failed(tries, Reason { kind: kind.to_owned(), status, text: text.to_owned() }))
}

#[cfg(test)]
mod tests;
