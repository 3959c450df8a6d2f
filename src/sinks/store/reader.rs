//! Reading a store: the frames of many topics in the order in which they were stored.
//!
//! Each segment's index says in which runs its frames stand in that order, so reading is merging: the run
//! that comes first of all is next. A segment is opened when its first frame may be next, and let go at
//! its end. What an index does not say of a finished segment, as where it was taken away, comes where the
//! segment's other frames end. Of an open segment only what its index covers is read: the rest is not
//! confirmed yet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slab::Slab;

use super::ages::Ages;
use super::files::{Disk, Files, read_at};
use super::index::{self, ENTRY, Entry};
use super::layout::{self, Folder};
use super::names::{self, Holds, file};
use super::schemes::{Mark, Schemes};
use super::stamp::Stamp;
use crate::wire::{is_exact, matches};

/// 2 s: a folder that was changed so lately is looked into again, since its time may stand still meanwhile.
const FRESH: Duration = Duration::from_secs(2);

/// The stored frames of some topics, run by run.
pub struct Reader {
    root: PathBuf,
    patterns: Vec<String>,
    /// What was stored before that time is passed, and so is what has a stamp before this one.
    time: Stamp,
    since: Stamp,
    ages: Ages,
    schemes: Schemes,
    folders: HashMap<PathBuf, Known>,
    /// Segments that are not opened yet, and where.
    unopened: BinaryHeap<Reverse<(Stamp, PathBuf)>>,
    segments: Slab<Segment>,
    /// Those with a run to be read, by what comes first in it.
    next: BinaryHeap<Reverse<(Stamp, usize)>>,
    /// What comes later may still be preceded by something.
    horizon: Stamp,
    /// The last that was seen in any index.
    seen: Stamp,
    /// Only what indexes say is read, and files are opened by whoever reads a run.
    only_indexed: bool,
}

/// What is known of a folder.
#[derive(Clone, Copy, Debug)]
struct Known {
    changed: Option<SystemTime>,
    newest: Option<Stamp>,
}

/// A segment that is being read.
struct Segment {
    folder: PathBuf,
    base: Stamp,
    frames: Option<Arc<File>>,
    /// Nothing is added to it any more.
    finished: bool,
    index: Vec<Entry>,
    /// Bytes of the index that were read.
    indexed: u64,
    /// Entries that were handed over, and where the last of them ends.
    at: usize,
    from: u64,
}

/// Frames that were stored one after the other.
pub struct Run {
    /// Where they lie.
    pub path: PathBuf,
    /// The stamp of the first; the others follow it one by one.
    pub first: Stamp,
    /// Where the first begins.
    pub from: u64,
    /// What they were made under, if that is known.
    pub mark: Option<Mark>,
    /// Where the last ends.
    pub to: u64,
    /// How many they are.
    pub frames: u32,
    /// The segment that holds them, and its folder.
    pub segment: (Arc<Path>, Stamp),
    file: Option<Arc<File>>,
    at: u64,
}

impl Run {
    /// Puts the next bytes into a buffer and says how many; 0 at the end.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.to - self.at).unwrap_or(usize::MAX);
        let max = bytes.len().min(left);
        let file = self.file.as_ref().expect("whoever reads runs has opened them");
        let n = read_at(file, self.at, &mut bytes[..max])?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Reader {
    /// Reads what is stored below `root` of the topics that match one of the patterns, from about `since` on:
    /// the first runs may begin earlier. Where `until` is given, what is stored later is left for
    /// [`look`](Self::look).
    pub fn new(root: &Path, patterns: &[String], since: Stamp, until: Option<Stamp>) -> io::Result<Reader> {
        let mut disk = Disk::new(root);
        let ages = Ages::read(&mut disk)?;
        let mut reader = Reader {
            root: root.into(),
            patterns: patterns.to_vec(),
            time: since,
            since: ages.since(since),
            ages,
            schemes: Schemes::read(&mut disk)?,
            folders: HashMap::new(),
            unopened: BinaryHeap::new(),
            segments: Slab::new(),
            next: BinaryHeap::new(),
            horizon: until.unwrap_or(Stamp(u64::MAX)),
            seen: Stamp(0),
            only_indexed: false,
        };
        reader.discover()?;
        Ok(reader)
    }

    /// Runs of which the indexes speak, from the one with this stamp on, up to another. Nobody opens their files.
    pub fn of_runs(root: &Path, patterns: &[String], since: Stamp, until: Stamp) -> io::Result<Reader> {
        let mut reader = Reader {
            root: root.into(),
            patterns: patterns.to_vec(),
            time: Stamp(0),
            since,
            ages: Ages::default(),
            schemes: Schemes::default(),
            folders: HashMap::new(),
            unopened: BinaryHeap::new(),
            segments: Slab::new(),
            next: BinaryHeap::new(),
            horizon: until,
            seen: Stamp(0),
            only_indexed: true,
        };
        reader.discover()?;
        Ok(reader)
    }

    /// The first stamp of which something is asked.
    pub fn since(&self) -> Stamp {
        self.since
    }

    /// The next run, if there is one now.
    pub fn next_run(&mut self) -> io::Result<Option<Run>> {
        loop {
            let next = self.next.peek().map(|Reverse((stamp, _))| *stamp);
            // Its first frame may come before.
            if let Some(Reverse((base, _))) = self.unopened.peek()
                && next.is_none_or(|next| *base <= next)
                && *base <= self.horizon
            {
                self.open_first()?;
                continue;
            }
            let Some(Reverse((stamp, id))) =
                self.next.peek().copied().filter(|next| next.0.0 <= self.horizon)
            else {
                return Ok(None);
            };
            self.next.pop();
            let segment = &mut self.segments[id];
            let entry = segment.index[segment.at];
            let from = std::mem::replace(&mut segment.from, entry.end);
            segment.at += 1;
            let holds = if segment.finished { Holds::Frames } else { Holds::OpenFrames };
            let path = self.root.join(file(&segment.folder, segment.base, holds));
            let (mark, file) = (self.schemes.at(segment.base), segment.frames.clone());
            let (frames, segment) = (entry.frames, (segment.folder.as_path().into(), segment.base));
            let run = Run { path, first: stamp, from, mark, to: entry.end, frames, segment, file, at: from };
            self.queue(id);
            return Ok(Some(run));
        }
    }

    /// Looks for what was stored since the last look. What is found is handed over after the next look: the
    /// indexes of one round are not written all at once.
    pub fn look(&mut self) -> io::Result<()> {
        self.horizon = self.horizon.max(self.seen);
        self.discover()?;
        while !self.unopened.is_empty() {
            self.open_first()?;
        }
        let open: Vec<usize> = self.segments.iter().map(|(id, _)| id).collect();
        for id in open {
            let segment = &mut self.segments[id];
            let had = segment.at < segment.index.len();
            segment.read_index(&self.root, self.since)?;
            self.seen = self.seen.max(segment.last());
            if !had {
                self.queue(id);
            }
        }
        Ok(())
    }

    /// Puts a segment where its next run belongs; one that has come to its end is let go.
    fn queue(&mut self, id: usize) {
        let segment = &self.segments[id];
        match segment.index.get(segment.at) {
            Some(entry) => self.next.push(Reverse((entry.first, id))),
            None if segment.finished => {
                self.segments.remove(id);
            }
            None => {}
        }
    }

    /// Finds the segments that were not there at the last look, and those that were finished since.
    fn discover(&mut self) -> io::Result<()> {
        let mut disk = Disk::new(&self.root);
        let now = SystemTime::now();
        if !self.only_indexed {
            // A gateway that was started again may have another secret.
            self.schemes = Schemes::read(&mut disk)?;
        }
        for Folder { topic, path } in self.folders(&mut disk)? {
            if !self.patterns.iter().any(|pattern| matches(pattern, &topic)) {
                continue;
            }
            let changed = self.root.join(&path).metadata().and_then(|metadata| metadata.modified()).ok();
            let known = self.folders.entry(path.clone()).or_insert(Known { changed: None, newest: None });
            let is_old = changed.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age >= FRESH));
            if changed == known.changed && is_old {
                continue;
            }
            known.changed = changed;
            let mut found = layout::contents(&mut disk, &path)?;
            found.retain(|(_, holds)| matches!(holds, Holds::Frames | Holds::OpenFrames));
            let newest = known.newest;
            known.newest = found.last().map(|(base, _)| *base).max(newest);
            for (at, &(base, holds)) in found.iter().enumerate() {
                // Whatever comes before the next segment's first is over before it.
                let is_over = found.get(at + 1).is_some_and(|(next, _)| *next <= self.since);
                // Where stamps run ahead of the clock, the file says when the last frame was stored.
                let is_old = self.ages.is_ahead(base)
                    && disk.modified(&file(&path, base, holds)).is_ok_and(|at| at < self.time);
                if newest.is_none_or(|newest| base > newest) && !is_over && !is_old {
                    self.unopened.push(Reverse((base, path.clone())));
                }
            }
            for (_, segment) in self.segments.iter_mut().filter(|(_, segment)| segment.folder == path) {
                segment.finished = found.binary_search(&(segment.base, Holds::OpenFrames)).is_err();
            }
        }
        Ok(())
    }

    /// The folders that may be of a topic that matches.
    fn folders(&self, disk: &mut Disk) -> io::Result<Vec<Folder>> {
        if !self.patterns.iter().all(|pattern| is_exact(pattern)) {
            return layout::folders(disk);
        }
        // Their names are known, however many others there are.
        let named =
            self.patterns.iter().map(|topic| Folder { topic: topic.clone(), path: names::folder(topic) });
        Ok(named.filter(|folder| self.root.join(&folder.path).is_dir()).collect())
    }

    fn open_first(&mut self) -> io::Result<()> {
        let Some(Reverse((base, folder))) = self.unopened.pop() else { return Ok(()) };
        // It may get its final name between the two.
        let mut found = None;
        for (holds, finished) in [(Holds::OpenFrames, false), (Holds::Frames, true)] {
            match File::open(self.root.join(file(&folder, base, holds))) {
                Err(why) if why.kind() == ErrorKind::NotFound => {}
                file => {
                    found = Some((file?, finished));
                    break;
                }
            }
        }
        // It may have been removed since it was seen.
        let Some((frames, finished)) = found else { return Ok(()) };
        let frames = (!self.only_indexed).then(|| Arc::new(frames));
        let index = Vec::new();
        let mut segment = Segment { folder, base, frames, finished, index, indexed: 0, at: 0, from: 0 };
        segment.read_index(&self.root, self.since)?;
        self.seen = self.seen.max(segment.last());
        let id = self.segments.insert(segment);
        self.queue(id);
        Ok(())
    }
}

impl Segment {
    /// Reads what was added to the index, and passes what is too old.
    fn read_index(&mut self, root: &Path, since: Stamp) -> io::Result<()> {
        // Whether it was finished is known before: what is read then is all.
        let path = root.join(file(&self.folder, self.base, Holds::Index));
        let bytes = match File::open(path) {
            Err(why) if why.kind() == ErrorKind::NotFound => Vec::new(),
            file => read_from(&file?, self.indexed)?,
        };
        let entries = index::read(&bytes, self.index.last().copied());
        self.indexed += (entries.len() * ENTRY) as u64;
        self.index.extend(entries);
        let end = self.index.last().map_or(0, |last| last.end);
        if let Some(frames) = self.frames.as_ref().filter(|_| self.finished) {
            let len = frames.metadata()?.len();
            if end < len {
                let first = self.index.last().map_or(self.base, |last| Stamp(last.next()));
                self.index.push(Entry { first, end: len, frames: 1 });
            }
        }
        while self.index.get(self.at).is_some_and(|entry| entry.next() <= since.0) {
            self.from = self.index[self.at].end;
            self.at += 1;
        }
        Ok(())
    }

    /// The last stamp in the index.
    fn last(&self) -> Stamp {
        self.index.last().map_or(Stamp(0), |last| Stamp(last.next() - 1))
    }
}

fn read_from(file: &File, from: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len().saturating_sub(from) as usize;
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match read_at(file, from + filled as u64, &mut bytes[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
