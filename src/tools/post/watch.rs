//! A folder in which archives arrive.
//!
//! An archive is offered once it is complete: the system says that it was closed after writing, or renamed into the
//! folder; where it says nothing, once it has not changed for a while; and in both cases only while no process has it
//! open for writing, as far as the system tells. What was offered is offered again when it has changed, and so is what
//! is still there after a while: another process was at work on it.
//!
//! The folder is the one that its path leads to, even when that is another one than a moment ago: removed and made
//! anew, moved away, behind a link that was switched, or below a mount. What was told of the old one says nothing of
//! files in the new one, even where they have the same names.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::{SendTimeoutError, Sender};

use super::events::{Event, Events};
use super::feed::Source;
use super::fingerprint::Fingerprint;
use super::folder::is_hidden;
use super::lease::{Lease, Writers};
use crate::core::limits::{POST_LOOK_EVERY, POST_SETTLE};
use crate::http::connect::without_number;

/// 30 s until an archive is offered again that is still there: another process may have left it.
const AGAIN: Duration = Duration::from_secs(30);

/// 30 s in which a file does not change of which Linux told nothing, and cannot see whether anybody writes it; other
/// systems never can.
const SETTLE_UNSEEN: Duration = if cfg!(target_os = "linux") { Duration::from_secs(30) } else { POST_SETTLE };

/// 20 ms: two of the longest ticks in which file systems keep times. What changes later than that changes the times.
const TICK: Duration = Duration::from_millis(20);

/// What the system told of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It was written to and may be again.
    Written,
    /// It is whole.
    Complete,
}

/// What is known of a file in the folder.
#[derive(Clone, Debug)]
struct Seen {
    print: Fingerprint,
    /// When it was first seen like that.
    since: Instant,
    told: Option<Told>,
    /// When it was offered.
    offered: Option<Instant>,
    /// Lives as long as what was offered is worked on.
    offer: Weak<Fingerprint>,
    /// Whether it was said that it would be offered, were it not open for writing.
    is_awaited: bool,
}

/// The folder that is watched.
struct Watched {
    /// Which one it is.
    folder: Fingerprint,
    /// None where the system cannot tell what happens in it.
    events: Option<Events>,
    /// Whether no more events will come.
    is_over: bool,
}

/// What was found at a look.
#[derive(Default)]
struct Found {
    /// Archives that are complete, in the order in which they changed last.
    complete: Vec<(PathBuf, Arc<Fingerprint>)>,
    /// Whether one will be within a moment.
    is_more_soon: bool,
}

/// Waits for archives; its [`run`](Self::run) is for a thread of its own.
pub struct Watcher {
    folder: PathBuf,
    /// None while there is no such folder.
    watched: Option<Watched>,
    /// Why there is none, as it was said last.
    trouble: Option<String>,
    files: HashMap<PathBuf, Seen>,
}

impl Watcher {
    /// Watches `folder`. Where the system cannot tell what happens in it, it is looked at now and then.
    ///
    /// # Errors
    /// In one line with the mend: it is no folder that can be read.
    pub fn new(folder: &Path) -> Result<Watcher, String> {
        let wrong = |why: io::Error| format!("cannot watch {}: {why}: give a folder", folder.display());
        fs::read_dir(folder).map_err(wrong)?;
        let mut watcher =
            Watcher { folder: folder.to_owned(), watched: None, trouble: None, files: HashMap::new() };
        watcher.watched = Some(watcher.watch().map_err(wrong)?);
        Ok(watcher)
    }

    /// Gives each archive that is complete to `to`, in the order in which they became so, until nobody wants more.
    pub fn run(mut self, to: &Sender<Source>, journal_of: &dyn Fn(&Path) -> PathBuf) {
        loop {
            let found = self.look(Instant::now());
            for (path, fingerprint) in found.complete {
                log::debug!("{} is complete", path.display());
                let journal = Some(journal_of(&path));
                let mut source = Source { journal, path, only: None, fingerprint: Some(fingerprint) };
                loop {
                    match to.send_timeout(source, POST_LOOK_EVERY) {
                        Ok(()) => break,
                        Err(SendTimeoutError::Disconnected(_)) => return,
                        Err(SendTimeoutError::Timeout(back)) => source = back,
                    }
                    // Before the system has too many to remember.
                    self.hear(Instant::now());
                }
            }
            self.wait(if found.is_more_soon { TICK } else { POST_LOOK_EVERY });
        }
    }

    /// Waits for news, but not for longer than `most`.
    fn wait(&mut self, most: Duration) {
        let until = Instant::now() + most;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match &self.watched {
                Some(Watched { events: Some(events), is_over: false, .. }) => events.wait(left),
                _ => {
                    let _ = crossbeam::channel::never::<()>().recv_timeout(left);
                }
            }
            // Journals are written beside the archives, and are no news.
            if self.hear(Instant::now()) || Instant::now() >= until {
                return;
            }
        }
    }

    /// Takes what the system told; whether that was of any archive, or of the folder.
    fn hear(&mut self, now: Instant) -> bool {
        let Some(Watched { events: Some(events), .. }) = &self.watched else { return false };
        let mut is_news = false;
        for event in events.at_hand() {
            let (name, told) = match event {
                Event::Created(name) => (name, None),
                Event::Written(name) => (name, Some(Told::Written)),
                Event::Complete(name) => (name, Some(Told::Complete)),
                Event::Lost => {
                    // The end of what is being written may be among it: those are judged by their looks.
                    for seen in self.files.values_mut().filter(|seen| seen.told == Some(Told::Written)) {
                        (seen.told, seen.since) = (None, now);
                    }
                    is_news = true;
                    continue;
                }
                Event::Moved | Event::Over => {
                    if event == Event::Over
                        && let Some(watched) = &mut self.watched
                    {
                        watched.is_over = true;
                    }
                    is_news = true;
                    continue;
                }
            };
            if let Some(seen) = self.see(self.folder.join(name), now) {
                seen.told = told;
                if told == Some(Told::Complete) {
                    // The run that works on it may not have seen the end of it.
                    seen.offered = None;
                }
                is_news = true;
            }
        }
        is_news
    }

    /// What is known of a file, as it is now; none if it is no archive.
    fn see(&mut self, path: PathBuf, now: Instant) -> Option<&mut Seen> {
        if is_unfinished(&path) {
            return None;
        }
        let metadata = fs::metadata(&path).ok().filter(Metadata::is_file)?;
        let print = Fingerprint::of(&metadata);
        let fresh =
            Seen { print, since: now, told: None, offered: None, offer: Weak::new(), is_awaited: false };
        let seen = self.files.entry(path).or_insert(fresh);
        if seen.print != print {
            // Another file of the same name is as new as a new one; one that grows is not whole.
            let told = seen.told.filter(|told| match told {
                Told::Written => print.is_same_file(&seen.print),
                Told::Complete => print.is_same_content(&seen.print),
            });
            (seen.print, seen.since, seen.told, seen.offered) = (print, now, told, None);
        }
        Some(seen)
    }

    /// Watches the folder that the path leads to now.
    fn watch(&self) -> io::Result<Watched> {
        loop {
            let folder = fs::metadata(&self.folder)?;
            if !folder.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let folder = Fingerprint::of(&folder);
            let events = Events::of(&self.folder);
            // Between the two it may have become another.
            if !Fingerprint::at(&self.folder)?.is_same_file(&folder) {
                continue;
            }
            if let Err(why) = &events {
                let (folder, why) = (self.folder.display(), without_number(why));
                log::warn!(
                    "the system cannot tell what happens in {folder}: {why}: it is looked at now and then"
                );
            }
            return Ok(Watched { folder, events: events.ok(), is_over: false });
        }
    }

    /// Whether the folder that is watched is the one that the path leads to.
    fn is_watched(&self) -> io::Result<bool> {
        let there = Fingerprint::at(&self.folder)?;
        Ok(self
            .watched
            .as_ref()
            .is_some_and(|watched| !watched.is_over && watched.folder.is_same_file(&there)))
    }

    /// Watches the folder that the path leads to, if it is another than the one that is watched.
    fn follow(&mut self, now: Instant) -> io::Result<()> {
        if self.is_watched()? {
            return Ok(());
        }
        // What was told was told of other files.
        self.files.retain(|_, seen| seen.offer.strong_count() > 0);
        for seen in self.files.values_mut() {
            (seen.told, seen.since) = (None, now);
        }
        self.watched = None;
        self.watched = Some(self.watch()?);
        if self.trouble.is_none() {
            log::warn!("{} is another folder than before: that one is watched now", self.folder.display());
        }
        Ok(())
    }

    /// The archives that are complete and were not offered.
    fn look(&mut self, now: Instant) -> Found {
        let found = self.try_look(now);
        let folder = self.folder.display();
        match found {
            Ok(found) => {
                if self.trouble.take().is_some() {
                    log::warn!("{folder} can be read again, and is watched");
                }
                found
            }
            Err(why) => {
                let why = without_number(&why);
                if self.trouble.as_ref() != Some(&why) {
                    log::warn!("cannot look into {folder}: {why}: waiting until that is mended");
                    self.trouble = Some(why);
                }
                Found::default()
            }
        }
    }

    fn try_look(&mut self, now: Instant) -> io::Result<Found> {
        self.follow(now)?;
        self.hear(now);
        let mut present = HashSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if self.see(path.clone(), now).is_some() {
                present.insert(path);
            }
        }
        // Where it has become another one meanwhile, what was told may have been of that or of this.
        if !self.is_watched()? {
            return Ok(Found::default());
        }
        self.files.retain(|path, seen| present.contains(path) || seen.offer.strong_count() > 0);
        let mut found = Found::default();
        for (path, seen) in self.files.iter_mut().filter(|(path, _)| present.contains(*path)) {
            let is_due = seen.offered.is_none_or(|offered| now.duration_since(offered) >= AGAIN);
            if !is_due || seen.offer.strong_count() > 0 {
                continue;
            }
            match seen.judge(path, now) {
                Judged::Complete => {
                    let offer = Arc::new(seen.print);
                    (seen.offered, seen.offer) = (Some(now), Arc::downgrade(&offer));
                    found.complete.push((path.clone(), offer));
                }
                Judged::Soon => found.is_more_soon = true,
                Judged::NotYet => {}
            }
        }
        found.complete.sort_by_cached_key(|(path, print)| (print.modified(), path.clone()));
        Ok(found)
    }
}

#[cfg(test)]
impl Watcher {
    /// What it offers at a look, with the journals that [`run`](Self::run) is told of beside them.
    pub(super) fn offers(&mut self, now: Instant) -> Vec<Source> {
        let found = self.look(now).complete.into_iter();
        let offer = |(path, print): (PathBuf, Arc<Fingerprint>)| {
            let journal = Some(super::journal_of(&path, "http://store/", "auto"));
            Source { journal, path, only: None, fingerprint: Some(print) }
        };
        found.map(offer).collect()
    }
}

/// Whether a file may be taken.
enum Judged {
    Complete,
    Soon,
    NotYet,
}

impl Seen {
    fn judge(&mut self, path: &Path, now: Instant) -> Judged {
        let quiet = now.duration_since(self.since);
        match self.told {
            Some(Told::Complete) if quiet < TICK => return Judged::Soon,
            Some(Told::Complete) => {}
            _ if self.print.size() > 0 && quiet >= POST_SETTLE => {}
            _ => return Judged::NotYet,
        }
        let is_complete = match (Lease::ask(path), self.told) {
            (Err(_), _) => false,
            (Ok(Writers::Nobody(_)), _) => true,
            (Ok(Writers::Some), _) => {
                if !self.is_awaited && quiet >= AGAIN {
                    self.is_awaited = true;
                    log::warn!(
                        "{} is taken once the program that writes to it has closed it",
                        path.display()
                    );
                }
                false
            }
            (Ok(Writers::Unknown), Some(Told::Complete)) => true,
            // The end of that will be told.
            (Ok(Writers::Unknown), Some(Told::Written)) => false,
            (Ok(Writers::Unknown), None) => quiet >= SETTLE_UNSEEN,
        };
        if is_complete { Judged::Complete } else { Judged::NotYet }
    }
}

/// Whether a name says that its file is not to be taken: it begins with a dot, or is one that programs give to what
/// they have not written to its end.
fn is_unfinished(path: &Path) -> bool {
    let is_part = |end: &OsStr| ["part", "filepart", "partial", "tmp"].iter().any(|part| end == *part);
    is_hidden(path) || path.extension().is_some_and(is_part)
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;
