//! The side that reads: sources in, records that are still to be sent out, read ahead within a bound.
//!
//! It runs on a thread that its caller starts, and rings the poster's bell only when that waits for more.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam::channel::{self, Receiver, Sender, TryRecvError};
use parking_lot::{Condvar, Mutex};

use super::Key;
use super::journal::{Identity, Journal, JournalError, Known, Outcome};
use crate::courier::judge::Reason;
use crate::limits::{POST_AHEAD, POST_AHEAD_BYTES, POST_RECORD_OVERHEAD};
use crate::net::Waker;
use crate::records::{Cut, Extent, Flaw, Walk};

/// A source that is to be posted.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its file or folder.
    pub path: PathBuf,
    /// Where its journal is.
    pub journal: PathBuf,
    /// The records that are wanted; none: all.
    pub only: Option<Arc<HashSet<String>>>,
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
        /// Its key.
        key: Key,
        /// What became of it.
        outcome: Outcome,
    },
    /// A record that cannot be read.
    Flawed {
        /// Its name.
        name: String,
        /// Why.
        flaw: Flaw,
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
    to: Sender<Item>,
    shared: Arc<Shared>,
}

/// Where the poster takes what was read.
pub struct Intake {
    items: Receiver<Item>,
    shared: Arc<Shared>,
}

/// Reads what `sources` gives and posts it to `url` (without its user), where each record is as `walk` says.
pub fn feed(sources: Receiver<Source>, walk: Walk, url: String, waker: Waker) -> (Feed, Intake) {
    let (to, items) = channel::bounded(POST_AHEAD);
    let shared =
        Shared { ahead: Mutex::new(0), taken: Condvar::new(), hungry: AtomicBool::new(false), waker };
    let shared = Arc::new(shared);
    (Feed { sources, walk, url, to, shared: shared.clone() }, Intake { items, shared })
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

/// Whoever waits for room finds some, and then that nobody takes anything.
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
        let (name, is_folder) = match (name_of(&path), fs::metadata(&path)) {
            (Ok(name), Ok(metadata)) => (name, metadata.is_dir()),
            (Err(why), _) | (_, Err(why)) => {
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
        let identity = Identity { source: name.clone(), url: self.url.clone(), record: record.into() };
        let (journal, known) = match Journal::open(&source.journal, &identity) {
            Ok(opened) => opened,
            Err(why) => return self.give(Item::Refused { path, why }),
        };
        // Whoever held the journal before may have put the source away, which comes before its journal's end.
        if !path.exists() {
            let why = JournalError::Busy(format!("{} was put away a moment ago", path.display()));
            if let Err(why) = journal.remove() {
                log::debug!("the journal of {}: {why}", path.display());
            }
            return self.give(Item::Refused { path, why });
        }
        let walk = Walk { extent: Extent::default(), ..self.walk.clone() };
        let only = source.only.clone();
        let own_journal = source.journal.clone();
        self.give(Item::Begin { source, journal, extent: walk.extent.clone() })?;
        let mut reading = Reading { feed: self, walk, name, known, only };
        let walked = if is_folder { reading.folder(&path, &own_journal) } else { reading.file(&path, "") };
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
    Ok(named.to_string_lossy().into_owned())
}

/// A source that is being read.
struct Reading<'a> {
    feed: &'a Feed,
    walk: Walk,
    name: String,
    known: Known,
    only: Option<Arc<HashSet<String>>>,
}

impl Reading<'_> {
    /// Every file below a folder, by name, but for hidden ones.
    fn folder(&mut self, path: &Path, journal: &Path) -> Result<ControlFlow<()>, String> {
        let mut files = Vec::new();
        collect(path, &mut files).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        files.retain(|file| file != journal);
        files.sort();
        // One that cannot be read does not keep the others from being sent.
        let mut broken = None;
        for file in files {
            let below = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
            match self.file(&file, &below) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(flow) => return Ok(flow),
                Err(why) => broken = broken.or(Some(why)),
            }
        }
        broken.map_or(Ok(ControlFlow::Continue(())), Err)
    }

    /// The records of a file; `below` is its name in the folder that is the source.
    fn file(&mut self, path: &Path, below: &str) -> Result<ControlFlow<()>, String> {
        if let Ok(metadata) = fs::metadata(path) {
            self.walk.extent.add_bytes(metadata.len());
        }
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let walk = self.walk.clone();
        let walked = walk.file(path, &mut |cut, name, body| {
            let name = match below {
                "" => name.to_owned(),
                // All of a file of a folder.
                below if name == file_name => below.to_owned(),
                below => format!("{below} {name}"),
            };
            self.record(cut, name, body)
        });
        walked.map_err(|why| why.to_string())
    }

    fn record(&mut self, cut: Cut, name: String, body: Result<Vec<u8>, Flaw>) -> ControlFlow<()> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&name)) {
            return ControlFlow::Continue(());
        }
        let body = match body {
            Ok(body) => body,
            Err(flaw) => return self.feed.give(Item::Flawed { name, flaw }),
        };
        let key = Key::of(&self.name, &name, &body);
        let known = self.known.outcome(&key).unwrap_or_else(|why| {
            // It is sent again, with the same key.
            log::warn!("reading the journal: {why}");
            None
        });
        self.feed.give(match known {
            // What failed is what is wanted.
            Some(Outcome::Failed(..)) if self.only.is_some() => Item::Record(Record { name, key, cut, body }),
            Some(outcome) => Item::Known { name, key, outcome },
            None => Item::Record(Record { name, key, cut, body }),
        })
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_hidden(&path) {
            continue;
        }
        match fs::metadata(&path)? {
            found if found.is_dir() => collect(&path, files)?,
            found if found.is_file() => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a name begins with a dot, as journals' do.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

impl From<&Flaw> for Reason {
    fn from(flaw: &Flaw) -> Reason {
        Reason::of(flaw.kind(), flaw.to_string())
    }
}
