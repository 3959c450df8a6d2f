//! Where sources of a watched folder go when they are done: what is moved there is what was read, and nobody writes to
//! it any more.
//!
//! That is checked before and behind the move, and in between a [`Lease`] keeps writers waiting where the system has
//! such. What turns out to be something else is moved back.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::iter;
use std::path::{Path, PathBuf};

use super::feed::Source;
use super::file_id::SeenFile;
use super::fingerprint::Fingerprint;
use super::journal::{Identity, Journal};
use super::lease::{Lease, Writers};
use super::report::Lines;

/// What became of a source that is done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is there now.
    To(PathBuf),
    /// It was moved or removed meanwhile.
    Gone,
    /// It stays, to be read again, for it is not what was read.
    Stays(Change),
}

/// What happened to a source while it was read and posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Some process has it open for writing.
    Open,
    /// It was written to.
    Written,
    /// Another file has its name.
    Replaced,
}

/// How a source was read.
pub(super) struct End<'a> {
    /// Whether all of it was read, and stored.
    pub is_done: bool,
    /// Why it was not read to its end.
    pub error: Option<&'a str>,
    /// Its failed records.
    pub lines: Option<Lines>,
}

/// Where the failed records of a source are noted until it is put away.
pub(super) fn report_of(journal: &Path) -> PathBuf {
    journal.with_extension("report")
}

/// Moves a source that is done into `done/`, one with failures into `failed/` with its report and its journal beside it.
/// One that was written to keeps its journal, so that nothing of it is sent twice; another file of its name is another
/// source.
pub(super) fn move_done(source: &Source, journal: Journal, end: End<'_>) -> io::Result<Moved> {
    let own_report = report_of(journal.path());
    let is_done = end.is_done;
    let put = move_away(source, &own_report, end)?;
    if !matches!(put, Moved::To(_)) {
        // What is read again is reported again.
        remove(&own_report)?;
    }
    match &put {
        Moved::Stays(Change::Open | Change::Written) => drop(journal),
        // Sent again, from there or from here, what failed has the same key.
        Moved::To(to) if !is_done => journal.move_to(to.parent().expect("it is in a folder"))?,
        _ => journal.remove()?,
    }
    Ok(put)
}

/// Fetches the journal of a source that is back from where failed ones are put, if it is that very file.
pub(super) fn fetch_journal(source: &Path, journal: &Path, identity: &Identity) {
    let (Some(name), Ok(Some(look))) = (journal.file_name(), SeenFile::at(source)) else { return };
    let folders = numbered(source.with_file_name("failed")).take_while(|folder| folder.exists());
    for put in folders.map(|folder| folder.join(name)) {
        if !put.exists() {
            continue;
        }
        let is_its = Journal::open(&put, identity).is_ok_and(|(_, known)| {
            known.own().and_then(|own| own.print.as_ref()).is_some_and(|print| look.is_of(print))
        });
        if is_its {
            // Where another process was faster, it has the source.
            if let Err(why) = move_file(&put, journal) {
                log::debug!("{}: {why}", put.display());
            }
            return;
        }
    }
}

fn move_away(source: &Source, own_report: &Path, end: End<'_>) -> io::Result<Moved> {
    let read = source.fingerprint.as_deref().expect("who watches offers what it has seen");
    let read = match Read::check(&source.path, read)? {
        Ok(read) => read,
        Err(put) => return Ok(put),
    };
    let report = match end {
        End { is_done: true, .. } => None,
        End { error, lines, .. } => {
            let mut lines = lines.map_or_else(|| Lines::create(own_report), Ok)?;
            lines.write(&serde_json::json!({ "summary": { "error": error } }))?;
            Some(lines.finish()?)
        }
    };
    let name = source.path.file_name().ok_or(ErrorKind::InvalidInput)?;
    for folder in numbered(source.path.with_file_name(if report.is_none() { "done" } else { "failed" })) {
        match fs::create_dir(&folder) {
            // That of the sources: it must not come back.
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Moved::Gone),
            Err(why) if why.kind() != ErrorKind::AlreadyExists => return Err(why),
            _ => {}
        }
        let to = folder.join(name);
        let report_to = folder.join(format!("{}.report.jsonl", name.to_string_lossy()));
        if is_taken(&to) {
            continue;
        }
        // Before the source: a report without it is made again, one that is missing is not.
        if let Some(report) = &report {
            match move_file(report, &report_to) {
                Err(why) if why.kind() == ErrorKind::AlreadyExists => continue,
                moved => moved?,
            }
        }
        let moved = read.move_to(&to);
        if report.is_some() && !matches!(moved, Ok(None)) {
            move_file(&report_to, own_report)?;
        }
        return match moved {
            Ok(None) => Ok(Moved::To(to)),
            Ok(Some(change)) => Ok(Moved::Stays(change)),
            Err(why) if why.kind() == ErrorKind::AlreadyExists => continue,
            Err(why) if why.kind() == ErrorKind::NotFound && !is_taken(&source.path) => Ok(Moved::Gone),
            Err(why) => Err(why),
        };
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// The folder, and for names that are taken there those with numbers in it.
fn numbered(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    iter::once(folder.clone()).chain((2u32..).map(move |number| folder.join(number.to_string())))
}

/// A source that is what was read, as far as can be seen.
struct Read<'a> {
    path: &'a Path,
    /// How it was when it was read.
    read: &'a Fingerprint,
    /// What is moved: the file, or a link to it.
    own: Fingerprint,
    /// Where the file is, if that is a link.
    target: Option<PathBuf>,
    lease: Option<Lease>,
}

impl Read<'_> {
    fn check<'a>(path: &'a Path, read: &'a Fingerprint) -> io::Result<Result<Read<'a>, Moved>> {
        let check = || -> io::Result<Result<Read<'a>, Moved>> {
            let metadata = fs::symlink_metadata(path)?;
            let target = if metadata.is_symlink() { Some(path.canonicalize()?) } else { None };
            let writers = Lease::ask(path)?;
            // Behind the lease: from here on nobody changes it.
            let found = Fingerprint::at(path)?;
            let stays = |change| Ok(Err(Moved::Stays(change)));
            let lease = match writers {
                _ if found != *read => return stays(change(read, &found)),
                Writers::Some => return stays(Change::Open),
                Writers::Nobody(lease) => Some(lease),
                Writers::Unknown => None,
            };
            Ok(Ok(Read { path, read, own: Fingerprint::of(&metadata), target, lease }))
        };
        match check() {
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(Err(Moved::Gone)),
            checked => checked,
        }
    }

    /// Moves it, and back again if something else was moved: then, what happened to it.
    fn move_to(&self, to: &Path) -> io::Result<Option<Change>> {
        if self.target.is_some() {
            return self.copy_to(to);
        }
        match rename_new(self.path, to) {
            Err(why) if why.kind() == ErrorKind::CrossesDevices => return self.copy_to(to),
            moved => moved?,
        }
        let change = self.changed(to);
        if change.is_some() {
            put_back(to, self.path)?;
        }
        Ok(change)
    }

    /// The same where `to` is on another file system, or it is a link, which may lead elsewhere from another folder.
    fn copy_to(&self, to: &Path) -> io::Result<Option<Change>> {
        let copy = match &self.target {
            None => copy_beside(self.path, to)?,
            Some(target) => link_beside(target, to)?,
        };
        // Out of the way of a writer of a new one, and not removed before it is known to be what was read.
        let aside = hidden(self.path, "done");
        rename_new(self.path, &aside)?;
        let change = self.changed(&aside);
        let moved = if change.is_none() { rename_new(&copy, to) } else { Ok(()) };
        if moved.is_err() || change.is_some() {
            put_back(&aside, self.path)?;
            remove(&copy)?;
        } else {
            fs::remove_file(&aside)?;
        }
        moved.map(|()| change)
    }

    /// How what was moved to `to` differs from what was read.
    fn changed(&self, to: &Path) -> Option<Change> {
        let found = fs::symlink_metadata(to).map(|metadata| Fingerprint::of(&metadata));
        let change = match (found, &self.target) {
            (Ok(found), None) if !found.is_same_content(&self.own) => Some(change(self.read, &found)),
            (Ok(found), _) if !found.is_same_content(&self.own) => Some(Change::Replaced),
            (Ok(_), Some(target)) => match Fingerprint::at(target) {
                Ok(found) if found.is_same_content(self.read) => None,
                Ok(found) => Some(change(self.read, &found)),
                Err(_) => Some(Change::Replaced),
            },
            (Ok(_), None) => None,
            (Err(_), _) => Some(Change::Replaced),
        };
        let is_broken = || self.lease.as_ref().is_some_and(Lease::is_broken);
        change.or_else(|| is_broken().then_some(Change::Open))
    }
}

fn change(read: &Fingerprint, found: &Fingerprint) -> Change {
    if found.continues(read) { Change::Written } else { Change::Replaced }
}

/// Renames a file, but over no other.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // The file system cannot.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            renamed => return renamed.map_err(io::Error::from),
        }
    }
    if is_taken(to) {
        return Err(ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// What was moved and is not what was read gets its name back, or one like it where that is taken by a newer file.
fn put_back(from: &Path, to: &Path) -> io::Result<()> {
    let name = to.file_name().unwrap_or_default();
    let mut candidate = to.to_owned();
    for number in 2u32.. {
        match rename_new(from, &candidate) {
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
            renamed => return renamed,
        }
        let mut numbered = std::ffi::OsString::from(format!("{number}."));
        numbered.push(name);
        candidate = to.with_file_name(numbered);
    }
    Err(ErrorKind::AlreadyExists.into())
}

pub(super) fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match rename_new(from, to) {
        Err(why) if why.kind() == ErrorKind::CrossesDevices => {
            let copy = copy_beside(from, to)?;
            rename_new(&copy, to).inspect_err(|_| drop(fs::remove_file(&copy)))?;
            fs::remove_file(from)
        }
        renamed => renamed,
    }
}

/// A copy on the disk under a hidden name beside `to`.
fn copy_beside(from: &Path, to: &Path) -> io::Result<PathBuf> {
    let copy = hidden(to, "part");
    let copied = || {
        fs::copy(from, &copy)?;
        let file = File::options().append(true).open(&copy)?;
        file.set_modified(from.metadata()?.modified()?)?;
        file.sync_all()
    };
    copied().inspect_err(|_| drop(fs::remove_file(&copy)))?;
    Ok(copy)
}

/// A link to `target` under a hidden name beside `to`.
#[cfg(unix)]
fn link_beside(target: &Path, to: &Path) -> io::Result<PathBuf> {
    let link = hidden(to, "part");
    remove(&link)?;
    std::os::unix::fs::symlink(target, &link)?;
    Ok(link)
}

#[cfg(not(unix))]
fn link_beside(target: &Path, to: &Path) -> io::Result<PathBuf> {
    copy_beside(target, to)
}

fn hidden(path: &Path, extension: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

/// Whether something has that name, were it a link to nothing.
fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;
