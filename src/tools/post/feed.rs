//! The side that reads: sources in, records that are still to be sent out, read ahead within a bound. Whatever is in
//! a source comes out as one item: to be sent, known from an earlier run, failed or left out.
//!
//! It runs on a thread that its caller starts, and rings the poster's bell only when that waits for more.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam::channel::{self, Receiver, Sender, TryRecvError};
use parking_lot::{Condvar, Mutex};

use super::folder::{self, Below};
use super::journal::{Identity, Journal, JournalError, Known, Outcome};
use super::source_id::{Ids, Nature, SourceId, Wanted};
use super::{Fingerprint, Key, STDIN, move_done};
use crate::core::limits::{POST_AHEAD, POST_AHEAD_BYTES, POST_RECORD_OVERHEAD};
use crate::http::dispatch::judge::Reason;
use crate::runtime::net::Waker;
use crate::tools::records::{Cut, Extent, Flaw, Found, LeftOut, RecordError, Walk, shown};

/// A source that is to be posted.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its file or folder, or `-`: standard input.
    pub path: PathBuf,
    /// Where its journal is; none: what became of it is not noted, and nothing goes on where it was.
    pub journal: Option<PathBuf>,
    /// The records that are wanted; none: all.
    pub only: Option<Arc<Wanted>>,
    /// How it was when the watched folder it is in was looked at; the watch sees when it is not held any more.
    pub fingerprint: Option<Arc<Fingerprint>>,
}

/// What the poster is given.
#[derive(Debug)]
pub enum Item {
    /// A source begins.
    Begin {
        /// The source.
        source: Source,
        /// Its journal.
        journal: Journal,
        /// How far it is read.
        extent: Extent,
    },
    /// A record of the source that began last.
    Record(Record),
    /// What became of a record in an earlier run.
    Known {
        /// Its name.
        name: String,
        /// The id of its source.
        source_id: SourceId,
        /// Its key.
        key: Key,
        /// What became of it.
        outcome: Outcome,
    },
    /// A record that cannot be read.
    Flawed {
        /// Its name.
        name: String,
        /// The id of its source.
        source_id: SourceId,
        /// Why.
        flaw: Flaw,
    },
    /// What is in the source and is no record.
    LeftOut {
        /// Its name.
        name: String,
        /// What it is.
        what: LeftOut,
    },
    /// The source that began last ends; with an error, before its end.
    End(Option<String>),
    /// A source cannot be taken.
    Refused {
        /// The source.
        path: PathBuf,
        /// Why.
        why: JournalError,
    },
}

/// A record to be sent.
#[derive(Debug)]
pub struct Record {
    /// Its name in its source.
    pub name: String,
    /// The id of its source.
    pub source_id: SourceId,
    /// Its key.
    pub key: Key,
    /// What it is.
    pub cut: Cut,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Record {
    /// What it is charged with.
    pub fn size(&self) -> usize {
        self.body.len() + self.name.len() + POST_RECORD_OVERHEAD
    }
}

/// What both sides see.
struct Shared {
    /// Bytes read and not taken.
    ahead: Mutex<usize>,
    taken: Condvar,
    /// Whether the poster waits for more.
    hungry: AtomicBool,
    waker: Waker,
}

/// Reads sources.
pub struct Feed {
    sources: Receiver<Source>,
    walk: Walk,
    url: String,
    ids: Ids,
    to: Sender<Item>,
    shared: Arc<Shared>,
}

/// Where the poster takes what was read.
pub struct Intake {
    items: Receiver<Item>,
    shared: Arc<Shared>,
}

/// Reads what `sources` gives and posts it to `url` (without its user), where each record is as `walk` says and sources
/// without a journal have `ids`.
pub fn feed(sources: Receiver<Source>, walk: Walk, url: String, ids: Ids, waker: Waker) -> (Feed, Intake) {
    let (to, items) = channel::bounded(POST_AHEAD);
    let shared =
        Shared { ahead: Mutex::new(0), taken: Condvar::new(), hungry: AtomicBool::new(false), waker };
    let shared = Arc::new(shared);
    (Feed { sources, walk, url, ids, to, shared: shared.clone() }, Intake { items, shared })
}

impl Intake {
    /// The next item; none when nothing is at hand, of which the waker tells once something is.
    pub fn take(&self) -> Result<Option<Item>, Ended> {
        let item = match self.items.try_recv() {
            Err(TryRecvError::Empty) => {
                self.shared.hungry.store(true, SeqCst);
                // What came in between rang no bell.
                self.items.try_recv()
            }
            item => item,
        };
        match item {
            Ok(item) => {
                if let Item::Record(record) = &item {
                    *self.shared.ahead.lock() -= record.size();
                    self.shared.taken.notify_one();
                }
                Ok(Some(item))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Ended),
        }
    }
}

/// Nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// A thread that waits for room finds some, and then that nothing is taken.
impl Drop for Intake {
    fn drop(&mut self) {
        *self.shared.ahead.lock() = 0;
        self.shared.taken.notify_all();
    }
}

impl Feed {
    /// Reads every source to its end, until there are no more or nobody wants them.
    pub fn run(self) {
        while let Ok(source) = self.sources.recv() {
            if self.read(source).is_break() {
                break;
            }
        }
        let Feed { to, shared, .. } = self;
        drop(to);
        // That nothing more comes is news too.
        shared.waker.wake();
    }

    fn read(&self, source: Source) -> ControlFlow<()> {
        let path = source.path.clone();
        let is_stdin = path == Path::new(STDIN);
        let is_there = || match &source.fingerprint {
            Some(offered) => offered.is_at(&path),
            None => is_stdin || path.exists(),
        };
        if source.fingerprint.is_some() && !is_there() {
            let why = JournalError::Busy(format!("{} changed before it was read", path.display()));
            return self.give(Item::Refused { path, why });
        }
        let opened = name_of(&path).and_then(|name| Ok((name, nature_of(&path)?)));
        let (name, nature) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                let why = format!("cannot open {}: {why}: check its name and mode", path.display());
                return self.give(Item::Refused { path, why: JournalError::Unfit(why) });
            }
        };
        let record = match self.walk.cut {
            None => "auto",
            Some(Cut::File) => "file",
            Some(Cut::Line) => "line",
            Some(Cut::Row) => "csv",
        };
        let identity = Identity { source: name, url: self.url.clone(), record: record.into() };
        if let Some(journal) = source.journal.as_ref().filter(|journal| self.ids.watches && !journal.exists())
        {
            move_done::fetch_journal(&path, journal, &identity);
        }
        let opened = match &source.journal {
            Some(journal) => Journal::open(journal, &identity),
            None => Ok((Journal::none(), Known::none())),
        };
        let (mut journal, mut known) = match opened {
            Ok(opened) => opened,
            Err(why) => return self.give(Item::Refused { path, why }),
        };
        // The process that held the journal before may have put the source away, which comes before its journal's end.
        if !is_there() {
            let why = JournalError::Busy(format!("{} was put away a moment ago", path.display()));
            if !path.exists()
                && let Err(why) = journal.remove()
            {
                log::debug!("the journal of {}: {why}", path.display());
            }
            return self.give(Item::Refused { path, why });
        }
        let id = match self.ids.of_source(&source, nature, &identity, &mut journal, &mut known) {
            Ok(id) => id,
            Err(why) => return self.give(Item::Refused { path, why }),
        };
        let walk = Walk { extent: Extent::default(), ..self.walk.clone() };
        let only = source.only.clone();
        let own_journal = source.journal.clone();
        self.give(Item::Begin { source, journal, extent: walk.extent.clone() })?;
        let mut reading =
            Reading { feed: self, walk, source_id: id.clone(), id, known, only, files: HashMap::new() };
        let walked = match nature {
            Nature::Folder => reading.folder(&path, own_journal.as_deref()),
            _ => reading.source(&path).map_err(|why| why.to_string()),
        };
        match walked {
            Ok(flow) => flow?,
            Err(why) => return self.give(Item::End(Some(why))),
        }
        self.give(Item::End(None))
    }

    fn give(&self, item: Item) -> ControlFlow<()> {
        if let Item::Record(record) = &item {
            let size = record.size();
            let mut ahead = self.shared.ahead.lock();
            while *ahead > 0 && *ahead + size > POST_AHEAD_BYTES {
                self.shared.taken.wait(&mut ahead);
            }
            *ahead += size;
        }
        if self.to.send(item).is_err() {
            return ControlFlow::Break(());
        }
        if self.shared.hungry.swap(false, SeqCst) {
            self.shared.waker.wake();
        }
        ControlFlow::Continue(())
    }
}

/// The last part of a path, whatever way leads there.
fn name_of(path: &Path) -> io::Result<String> {
    let named = match path.file_name() {
        Some(name) => name.to_owned(),
        None => path.canonicalize()?.file_name().unwrap_or_default().to_owned(),
    };
    Ok(shown(named.as_encoded_bytes()))
}

fn nature_of(path: &Path) -> io::Result<Nature> {
    if path == Path::new(STDIN) {
        return Ok(Nature::Stream);
    }
    let metadata = fs::metadata(path)?;
    Ok(match () {
        () if metadata.is_dir() => Nature::Folder,
        () if metadata.is_file() => Nature::File,
        () => Nature::Stream,
    })
}

/// A source that is being read.
struct Reading<'a> {
    feed: &'a Feed,
    walk: Walk,
    /// The source's id.
    id: SourceId,
    /// That of what is being read of it.
    source_id: SourceId,
    known: Known,
    only: Option<Arc<Wanted>>,
    /// How often each whole file came, by its key: an archive may hold one twice.
    files: HashMap<u64, u32>,
}

impl Reading<'_> {
    /// Everything below a folder, by name. What cannot be read does not keep the rest from being sent.
    fn folder(&mut self, path: &Path, journal: Option<&Path>) -> Result<ControlFlow<()>, String> {
        let below = folder::list(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        for (file, found) in below {
            if Some(file.as_path()) == journal {
                continue;
            }
            let name = shown(file.strip_prefix(path).unwrap_or(&file).as_os_str().as_encoded_bytes());
            self.source_id = self.id.clone();
            let flow = match found {
                Below::File => self.file(&file, &name),
                Below::Unreadable(why) => self.found(name, Found::Flawed(Flaw::Unreadable(why)), false),
                Below::LeftOut(what) => self.found(name, Found::LeftOut(what), false),
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What is in a file of the folder that is the source, in which it is called `name`.
    fn file(&mut self, path: &Path, name: &str) -> ControlFlow<()> {
        // Where it failed as such, all of it is wanted again.
        let is_wanted = self.only.as_ref().is_some_and(|only| only.contains_key(name));
        match self.feed.ids.of_file(path, name, &self.id, self.only.as_deref(), &mut self.known) {
            Ok(id) => self.source_id = id,
            Err(why) => return self.found(name.to_owned(), Found::Flawed(Flaw::Unreadable(why)), true),
        }
        let file_name = shown(path.file_name().unwrap_or_default().as_encoded_bytes());
        self.expect(path);
        let walk = self.walk.clone();
        let walked = walk.file(path, &mut |inner, found| {
            // All of a file has the file's name.
            let whole = if inner == file_name { name.to_owned() } else { format!("{name} {inner}") };
            self.found(whole, found, is_wanted)
        });
        match walked {
            Ok(flow) => flow,
            Err(why) => {
                let flaw = match why {
                    RecordError::Refused { why, .. } => Flaw::Refused(why),
                    RecordError::Read { why, .. } => Flaw::Incomplete(why.to_string()),
                    RecordError::Open { why, .. } => Flaw::Unreadable(why.to_string()),
                    why => Flaw::Unreadable(why.to_string()),
                };
                self.found(name.to_owned(), Found::Flawed(flaw), is_wanted)
            }
        }
    }

    /// What is in a source that is no folder.
    fn source(&mut self, path: &Path) -> Result<ControlFlow<()>, RecordError> {
        let walk = self.walk.clone();
        let is_stdin = path == Path::new(STDIN);
        if !is_stdin {
            self.expect(path);
        }
        let mut visit = |name: &str, found| self.found(name.to_owned(), found, false);
        if is_stdin { walk.stdin(&mut visit) } else { walk.file(path, &mut visit) }
    }

    fn expect(&self, path: &Path) {
        if let Ok(metadata) = fs::metadata(path) {
            self.walk.extent.add_bytes(metadata.len());
        }
    }

    fn found(&mut self, mut name: String, found: Found, is_wanted: bool) -> ControlFlow<()> {
        if let Found::Record(Cut::File, body) = &found {
            self.number(&mut name, body);
        }
        if !is_wanted && self.only.as_ref().is_some_and(|only| !only.contains_key(&name)) {
            return ControlFlow::Continue(());
        }
        let source_id = self.source_id.clone();
        let (cut, body) = match found {
            Found::Record(cut, body) => (cut, body),
            Found::Flawed(flaw) => return self.feed.give(Item::Flawed { name, source_id, flaw }),
            Found::LeftOut(what) => return self.feed.give(Item::LeftOut { name, what }),
        };
        let key = Key::of(&source_id, &name, &body);
        let known = self.known.outcome(&key).unwrap_or_else(|why| {
            // It is sent again, with the same key.
            log::warn!("reading the journal: {why}");
            None
        });
        self.feed.give(match known {
            // What failed is what is wanted; and what is watched is there again because it shall be tried again.
            Some(Outcome::Failed(..)) if self.only.is_some() || self.feed.ids.watches => {
                Item::Record(Record { name, source_id, key, cut, body })
            }
            Some(outcome) => Item::Known { name, source_id, key, outcome },
            None => Item::Record(Record { name, source_id, key, cut, body }),
        })
    }
}

impl Reading<'_> {
    /// Gives the second file of the same name and bytes another name: it is another record.
    fn number(&mut self, name: &mut String, body: &[u8]) {
        let short = |name: &str| Key::of(&self.source_id, name, body).half() as u64;
        let own = short(name);
        let Some(mut count) = self.files.get(&own).copied() else {
            self.files.insert(own, 1);
            return;
        };
        let (numbered, other) = loop {
            count += 1;
            let numbered = format!("{name} ({count})");
            let other = short(&numbered);
            if !self.files.contains_key(&other) {
                break (numbered, other);
            }
        };
        self.files.insert(own, count);
        self.files.insert(other, 1);
        *name = numbered;
    }
}

impl From<&Flaw> for Reason {
    fn from(flaw: &Flaw) -> Reason {
        Reason::of(flaw.kind(), flaw.to_string())
    }
}
