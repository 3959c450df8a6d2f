//! What became of each record, in a file: a run that was broken off goes on from there.
//!
//! A line a record, written when its outcome is known and never changed, with a checksum at its end. A crash of the
//! machine may tear the last lines, and a disk may damage any: what is no whole line is as if it had not been
//! written, so its record is sent again with the same key. What was torn off at the end is cut off.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Key;
use crate::courier::judge::Reason;
use crate::limits::POST_JOURNAL_LINE_MAX;
use crate::units::many;

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
}

const MARK: &str = "framegate-journal-1";

impl Journal {
    /// Notes nothing: for what cannot be read again.
    pub fn none() -> Journal {
        Journal { path: PathBuf::new(), file: None, lines: Vec::new(), unsynced: false }
    }

    /// Opens the journal at `path`, or begins it, and reads what it holds.
    pub fn open(path: &Path, identity: &Identity) -> Result<(Journal, Known), JournalError> {
        let unfit = |why: io::Error| {
            let mend = "give another file with --journal";
            JournalError::Unfit(format!("cannot use the journal {}: {why}: {mend}", path.display()))
        };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(unfit)?;
        match file.try_lock() {
            // Where whoever held it has removed it meanwhile, the lock is on a file that nobody finds.
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
        let expected = format!("{MARK} {}", serde_json::to_string(identity).expect("it is three names"));
        let mut known = Known::none();
        let lines = file.try_clone().map_err(unfit)?;
        let whole = match known.read(lines, &expected).map_err(unfit)? {
            Some(whole) => whole,
            None => {
                return Err(JournalError::Unfit(format!(
                    "the journal {} belongs to another source, URL or --record: give another file with --journal, or remove it",
                    path.display()
                )));
            }
        };
        file.set_len(whole).map_err(unfit)?;
        let mut journal =
            Journal { path: path.to_owned(), file: Some(Arc::new(file)), lines: Vec::new(), unsynced: false };
        if whole == 0 {
            journal.line(&expected);
            journal.write().map_err(unfit)?;
        }
        Ok((journal, known))
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

    fn line(&mut self, text: &str) {
        debug_assert!(!text.contains('\n'));
        writeln!(self.lines, "{text} {}", sum_of(text)).expect("a vector takes everything");
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
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
        Known { stored: Vec::new(), failed: HashMap::new(), lines: None }
    }

    /// Reads the whole lines; where the last of them ends. None if the journal is another's.
    fn read(&mut self, lines: File, expected: &str) -> io::Result<Option<u64>> {
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
                    Some(text) if text == expected => {}
                    // A file that holds something else is not ours to cut off.
                    None if is_torn(&line) => return Ok(Some(0)),
                    _ => return Ok(None),
                }
            } else if let Some((key, is_stored)) = text.and_then(outcome_of) {
                if is_stored {
                    self.failed.remove(&key.half());
                    self.stored.push(key.half());
                } else {
                    self.failed.insert(key.half(), at);
                }
            } else if text.is_none() {
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

    /// What became of a record in an earlier run.
    pub fn outcome(&self, key: &Key) -> io::Result<Option<Outcome>> {
        let half = key.half();
        if let (Some(&at), Some(lines)) = (self.failed.get(&half), &self.lines) {
            let mut reader = BufReader::new(lines);
            reader.seek(SeekFrom::Start(at))?;
            let mut line = Vec::new();
            io::Read::take(&mut reader, POST_JOURNAL_LINE_MAX).read_until(b'\n', &mut line)?;
            return Ok(checked(&line).and_then(failure_of));
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
    !line.ends_with(b"\n") && (MARK.as_bytes().starts_with(line) || line.starts_with(MARK.as_bytes()))
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

fn outcome_of(text: &str) -> Option<(Key, bool)> {
    let mut words = text.split(' ');
    let is_stored = words.next()? == "ok";
    Some((words.next()?.parse().ok()?, is_stored))
}

fn failure_of(text: &str) -> Option<Outcome> {
    let mut words = text.splitn(5, ' ').skip(2);
    let tries = words.next()?.parse().ok()?;
    let status = words.next()?.parse().ok().filter(|&status| status != 0);
    let (kind, text) = words.next()?.split_once('\t')?;
    Some(Outcome::Failed(tries, Reason { kind: kind.to_owned(), status, text: text.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { source: "a.zip".into(), url: "http://h/".into(), record: "file".into() }
    }

    fn key(n: u32) -> Key {
        Key::of("a.zip", &n.to_string(), b"")
    }

    fn reason() -> Reason {
        Reason { kind: "422 No".into(), status: Some(422), text: "422 No: \"ü\" and 1 f00f".into() }
    }

    #[test]
    fn outcomes_come_back_and_the_last_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let (mut journal, known) = Journal::open(&path, &identity()).unwrap();
        assert_eq!(known.outcome(&key(1)).unwrap(), None);
        journal.stored(&key(1));
        journal.failed(&key(2), 4, &reason());
        journal.failed(&key(3), 1, &Reason::of("timed out", "no answer"));
        journal.stored(&key(3));
        assert!(journal.to_sync().is_some(), "the header is written");
        journal.finish().unwrap();
        let busy = Journal::open(&path, &identity()).unwrap_err();
        assert!(matches!(&busy, JournalError::Busy(why) if why.contains("wait for it")), "{busy:?}");
        drop((journal, known));

        let (journal, known) = Journal::open(&path, &identity()).unwrap();
        assert_eq!(known.outcome(&key(1)).unwrap(), Some(Outcome::Stored));
        assert_eq!(known.outcome(&key(2)).unwrap(), Some(Outcome::Failed(4, reason())));
        assert_eq!(known.outcome(&key(3)).unwrap(), Some(Outcome::Stored));
        assert_eq!(known.outcome(&key(4)).unwrap(), None);
        drop((journal, known));
        let other = Identity { url: "http://other/".into(), ..identity() };
        assert!(matches!(Journal::open(&path, &other), Err(JournalError::Unfit(_))));
    }

    #[test]
    fn a_torn_tail_is_cut_off_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let (mut journal, known) = Journal::open(&path, &identity()).unwrap();
        for n in 0..3 {
            journal.stored(&key(n));
        }
        journal.finish().unwrap();
        drop((journal, known));
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> = (1..=whole.len()).filter(|&at| whole[at - 1] == b'\n').collect();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let (mut journal, known) = Journal::open(&path, &identity()).unwrap();
            let expected = ends.iter().filter(|&&end| end <= len).count().saturating_sub(1);
            let found = (0..3).filter(|&n| known.outcome(&key(n)).unwrap().is_some()).count();
            assert_eq!(found, expected, "{len}");
            // What is written then is whole again.
            journal.stored(&key(9));
            journal.finish().unwrap();
            drop((journal, known));
            let (_journal, known) = Journal::open(&path, &identity()).unwrap();
            assert_eq!(known.outcome(&key(9)).unwrap(), Some(Outcome::Stored), "{len}");
        }
    }

    #[test]
    fn a_file_of_somebody_else_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious.txt");
        for bytes in [&b"precious"[..], b"precious\n", b"\xff\0"] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(Journal::open(&path, &identity()), Err(JournalError::Unfit(_))));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}
