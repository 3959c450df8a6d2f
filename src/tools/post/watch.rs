//! A folder in which archives arrive, and where they go when they are done.
//!
//! An archive is taken once it is complete: the system says that it was closed after writing, or renamed into the
//! folder; where it says nothing, once it has not changed for a while. What another process is at work on is left
//! to it, and looked at again later.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{self, Receiver, SendTimeoutError, Sender, TrySendError};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::feed::Source;
use super::folder::is_hidden;
use super::journal::{Identity, Journal};
use super::print::Look;
use super::report::Lines;
use crate::core::limits::{POST_LOOK_EVERY, POST_SETTLE};

/// 30 s until an archive is offered again that is still there: another process may have left it.
const AGAIN: Duration = Duration::from_secs(30);

/// 4,096 events between two looks; what is lost of more is found by looking.
const EVENTS: usize = 4096;

/// What the system told of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It was written to and may be again.
    Written,
    /// It is whole.
    Complete,
}

/// What is known of a file in the folder.
#[derive(Clone, Copy, Debug)]
struct Seen {
    print: Print,
    /// When it was first seen like that.
    since: Instant,
    told: Option<Told>,
    /// When it was offered.
    offered: Option<Instant>,
}

/// What changes when a file does.
type Print = (u64, Option<SystemTime>, u64);

/// Waits for archives; its [`run`](Self::run) is for a thread of its own.
pub struct Watcher {
    folder: PathBuf,
    told: Receiver<(PathBuf, Told)>,
    /// Whether something was told that is not in there.
    is_lost: Arc<AtomicBool>,
    files: HashMap<PathBuf, Seen>,
    _system: Option<RecommendedWatcher>,
}

impl Watcher {
    /// Watches `folder`. Where the system cannot tell what happens in it, it is looked at now and then.
    ///
    /// # Errors
    /// In one line with the mend: it is no folder that can be read.
    pub fn new(folder: &Path) -> Result<Watcher, String> {
        let wrong = |why: String| format!("cannot watch {}: {why}: give a folder", folder.display());
        fs::read_dir(folder).map_err(|why| wrong(why.to_string()))?;
        let (to, told) = channel::bounded(EVENTS);
        let is_lost = Arc::new(AtomicBool::new(false));
        let lose = is_lost.clone();
        let system = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if event.need_rescan() {
                lose.store(true, Relaxed);
            }
            if let Some(told) = meaning(event.kind)
                && let Some(path) = event.paths.into_iter().next_back()
                && let Err(TrySendError::Full(lost)) = to.try_send((path, told))
            {
                log::debug!("too much happens at once; not seen: {lost:?}");
                lose.store(true, Relaxed);
            }
        });
        let system = system.and_then(|mut system| {
            system.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(system)
        });
        if let Err(why) = &system {
            log::warn!("{}: the system cannot tell what happens in it: {why}", folder.display());
        }
        let (folder, files) = (folder.to_owned(), HashMap::new());
        Ok(Watcher { folder, told, is_lost, files, _system: system.ok() })
    }

    /// Gives each archive that is complete to `to`, in the order in which they became so, until nobody wants more.
    pub fn run(mut self, to: &Sender<Source>, journal_of: &dyn Fn(&Path) -> PathBuf) {
        loop {
            match self.told.recv_timeout(POST_LOOK_EVERY) {
                Ok(told) => self.hear(told),
                Err(channel::RecvTimeoutError::Timeout) => {}
                // The system's side is gone; looking goes on.
                Err(channel::RecvTimeoutError::Disconnected) => self.told = channel::never(),
            }
            let complete = match self.look(Instant::now()) {
                Ok(complete) => complete,
                Err(why) => {
                    log::warn!("cannot look into {}: {why}", self.folder.display());
                    continue;
                }
            };
            for path in complete {
                let mut source = Source { journal: Some(journal_of(&path)), path, only: None };
                loop {
                    match to.send_timeout(source, POST_LOOK_EVERY) {
                        Ok(()) => break,
                        Err(SendTimeoutError::Disconnected(_)) => return,
                        Err(SendTimeoutError::Timeout(back)) => source = back,
                    }
                    self.hear_all();
                }
            }
        }
    }

    fn hear(&mut self, (path, told): (PathBuf, Told)) {
        if let Some(name) = path.file_name()
            && let Some(seen) = self.see(self.folder.join(name), Instant::now())
        {
            seen.told = Some(told);
        }
    }

    fn hear_all(&mut self) {
        while let Ok(told) = self.told.try_recv() {
            self.hear(told);
        }
    }

    /// What is known of a file, as it is now; none if it is no archive.
    fn see(&mut self, path: PathBuf, now: Instant) -> Option<&mut Seen> {
        let metadata =
            fs::metadata(&path).ok().filter(Metadata::is_file).filter(|_| !is_unfinished(&path))?;
        let print = print(&metadata);
        let fresh = Seen { print, since: now, told: None, offered: None };
        let seen = self.files.entry(path).or_insert(fresh);
        if seen.print != print {
            // Another file of the same name is as new as a new one; one that grows is not whole.
            let told = seen.told.filter(|_| seen.print.2 == print.2);
            *seen = Seen { told, ..fresh };
        }
        Some(seen)
    }

    /// The archives that are complete and were not offered, in the order in which they changed last.
    fn look(&mut self, now: Instant) -> io::Result<Vec<PathBuf>> {
        let mut present = HashSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if self.see(path.clone(), now).is_some() {
                present.insert(path);
            }
        }
        self.hear_all();
        if self.is_lost.swap(false, Relaxed) {
            // The end of what is being written may be among it: those are judged by their looks.
            for seen in self.files.values_mut().filter(|seen| seen.told == Some(Told::Written)) {
                (seen.told, seen.since) = (None, now);
            }
        }
        self.files.retain(|path, _| present.contains(path));
        let mut complete = Vec::new();
        for (path, seen) in &mut self.files {
            let is_due = seen.offered.is_none_or(|offered| now.duration_since(offered) >= AGAIN);
            if is_due && seen.is_complete(now) {
                seen.offered = Some(now);
                complete.push((seen.print.1, path.clone()));
            }
        }
        complete.sort();
        Ok(complete.into_iter().map(|(_, path)| path).collect())
    }
}

impl Seen {
    fn is_complete(&self, now: Instant) -> bool {
        match self.told {
            Some(Told::Complete) => true,
            // The end of that will be told.
            Some(Told::Written) if cfg!(target_os = "linux") => false,
            _ => self.print.0 > 0 && now.duration_since(self.since) >= POST_SETTLE,
        }
    }
}

/// Whether a name says that its file is not to be taken: it begins with a dot, or is one that programs give to what
/// they have not written to its end.
fn is_unfinished(path: &Path) -> bool {
    let is_part = |end: &OsStr| ["part", "filepart", "partial", "tmp"].iter().any(|part| end == *part);
    is_hidden(path) || path.extension().is_some_and(is_part)
}

fn meaning(kind: EventKind) -> Option<Told> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Told::Complete),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Told::Written),
        _ => None,
    }
}

fn print(metadata: &Metadata) -> Print {
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let number = 0;
    (metadata.len(), metadata.modified().ok(), number)
}

/// Where the failed records of a source are noted until it is put away.
pub(super) fn report_of(journal: &Path) -> PathBuf {
    journal.with_extension("report")
}

/// Moves a source that is done into `done/`, one with failures into `failed/` with its report beside it; where it is
/// now, or none if somebody else has moved or removed it meanwhile.
pub(super) fn put_away(
    source: &Source,
    journal: Journal,
    lines: Option<Lines>,
    error: Option<&str>,
) -> io::Result<Option<PathBuf>> {
    let folder = source.path.parent().unwrap_or(Path::new("."));
    let name = source.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let is_done = lines.is_none() && error.is_none();
    let to = free_folder(&folder.join(if is_done { "done" } else { "failed" }), Path::new(name))?;
    if !is_done {
        let mut lines = match lines {
            Some(lines) => lines,
            None => Lines::create(&report_of(journal.path()))?,
        };
        lines.write(&serde_json::json!({ "summary": { "error": error } }))?;
        let written = lines.finish()?;
        // Before the source: a report without it is made again, one that is missing is not.
        fs::rename(written, to.join(format!("{}.report.jsonl", name.to_string_lossy())))?;
    }
    let (folder, to) = (to.clone(), to.join(name));
    let is_there = match fs::rename(&source.path, &to) {
        Err(why) if why.kind() == io::ErrorKind::NotFound && !source.path.exists() => false,
        renamed => renamed.map(|()| true)?,
    };
    // Sent again, from there or from here, what failed has the same key.
    if is_there && !is_done {
        journal.move_to(&folder)?
    } else {
        journal.remove()?
    }
    Ok(is_there.then_some(to))
}

/// Fetches the journal of a source that is back from where failed ones are put, if it is that very file.
pub(super) fn fetch_journal(source: &Path, journal: &Path, identity: &Identity) {
    let (Some(name), Ok(Some(look))) = (journal.file_name(), Look::at(source)) else { return };
    let failed = source.with_file_name("failed");
    let folders =
        (1u32..).map(|number| if number == 1 { failed.clone() } else { failed.join(number.to_string()) });
    for put in folders.take_while(|folder| folder.exists()).map(|folder| folder.join(name)) {
        if !put.exists() {
            continue;
        }
        let is_its = Journal::open(&put, identity).is_ok_and(|(_, known)| {
            known.own().and_then(|own| own.print.as_ref()).is_some_and(|print| look.is_of(print))
        });
        if is_its {
            // Where another process was faster, it has the source.
            if let Err(why) = fs::rename(&put, journal) {
                log::debug!("{}: {why}", put.display());
            }
            return;
        }
    }
}

/// `folder`, or one numbered in there where the name is taken.
fn free_folder(folder: &Path, name: &Path) -> io::Result<PathBuf> {
    for number in 1u32.. {
        let candidate = if number == 1 { folder.to_owned() } else { folder.join(number.to_string()) };
        if !candidate.join(name).exists() {
            fs::create_dir_all(&candidate)?;
            return Ok(candidate);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_change_is_taken_after_a_while_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(folder.path()).unwrap();
        // Of what was there before, the system says nothing.
        watcher.told = channel::never();
        let now = Instant::now();
        for name in ["b", ".hidden", "a", "c.zip.part", "d.tmp"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("done")).unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        assert_eq!(watcher.look(now).unwrap(), Vec::<PathBuf>::new());
        let later = now + POST_SETTLE;
        fs::write(folder.path().join("a"), "grown").unwrap();
        assert_eq!(watcher.look(later).unwrap(), [folder.path().join("b")]);
        let later = later + POST_SETTLE;
        assert_eq!(watcher.look(later).unwrap(), [folder.path().join("a")]);
        assert_eq!(watcher.look(later).unwrap(), Vec::<PathBuf>::new());
        // Still there after a long time: nobody was at work on it.
        assert_eq!(watcher.look(later + AGAIN).unwrap().len(), 2);
    }

    #[test]
    fn a_file_of_which_the_end_was_not_told_is_taken_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(folder.path()).unwrap();
        let (to, told) = channel::bounded(1);
        watcher.told = told;
        let path = folder.path().join("a");
        fs::write(&path, "all of it").unwrap();
        to.send((path.clone(), Told::Written)).unwrap();
        let now = Instant::now();
        assert!(watcher.look(now).unwrap().is_empty());
        watcher.is_lost.store(true, Relaxed);
        assert!(watcher.look(now + AGAIN).unwrap().is_empty());
        assert_eq!(watcher.look(now + AGAIN + POST_SETTLE).unwrap(), [path]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_is_taken_when_it_is_closed_or_renamed_in_but_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
        let watcher = Watcher::new(folder.path()).unwrap();
        let (to, sources) = channel::bounded(1);
        std::thread::spawn(move || watcher.run(&to, &|path| path.with_extension("j")));
        let patience = Duration::from_secs(60);
        let next = || sources.recv_timeout(patience).unwrap().path;

        use std::io::Write;
        let mut open = fs::File::create(folder.path().join("open")).unwrap();
        open.write_all(b"a part").unwrap();
        fs::write(other.path().join("moved"), "all").unwrap();
        fs::rename(other.path().join("moved"), folder.path().join("moved")).unwrap();
        // The other came first and is not closed.
        assert_eq!(next(), folder.path().join("moved"));
        drop(open);
        assert_eq!(next(), folder.path().join("open"));
    }

    #[test]
    fn sources_are_put_away_under_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let own = folder.path().join(".a.journal");
        let source = Source { journal: Some(own.clone()), path: path.clone(), only: None };
        let identity = Identity { source: "a.zip".into(), url: "u".into(), record: "file".into() };
        let put = |error: Option<&str>| {
            fs::write(&path, "x").unwrap();
            let (journal, _) = Journal::open(&own, &identity).unwrap();
            let to = put_away(&source, journal, None, error).unwrap().unwrap();
            assert!(!path.exists() && !own.exists() && to.exists());
            to.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(put(None), "done/a.zip");
        assert_eq!(put(None), "done/2/a.zip");
        assert_eq!(put(Some("torn")), "failed/a.zip");
        let report = fs::read_to_string(folder.path().join("failed/a.zip.report.jsonl")).unwrap();
        assert_eq!(report, "{\"summary\":{\"error\":\"torn\"}}\n");
        // Somebody was faster.
        let (journal, _) = Journal::open(&own, &identity).unwrap();
        assert_eq!(put_away(&source, journal, None, None).unwrap(), None);
        assert!(!own.exists());
    }
}
