//! Putting frames that lie in another topic's folder where they belong.
//!
//! The stamps of the indexes say where each frame stands in the order of everything, so what comes out is what would be
//! there had each frame been stored in its own folder: frames that belong among those of a segment are put
//! between them, others get segments of their own, and no two segments of a topic overlap.
//!
//! ```text
//! write new files beside the old ones, sync ─► write the list of what takes whose place ─► do it ─► remove the list
//! ```
//!
//! Until the list is there nothing has changed, and what was written is taken away again; from then on it is gone through
//! to its end, by the next that comes: a repair, or a gateway that starts. Each step of it may be done twice.

mod list;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

pub use list::{LIST, finish};

use super::files::{self, Files, append_all, read_exact};
use super::index::Entry;
use super::layout::{self, Folder};
use super::names::{self, Holds, file};
use super::recover::read_index;
use super::scan::{Scan, Stop};
use super::schemes::{Keys, Schemes};
use super::segment::Trouble;
use super::stamp::Stamp;
use crate::core::limits::{STORE_REPAIR_STEP, STORE_SEGMENT};

/// 1 MiB a write.
const WRITE: usize = 1 << 20;

/// 64 segments that frames are copied from are open at once.
const SOURCES: usize = 64;

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// How many frames were moved, by the topics in whose folders they lay and to which they belong.
    pub moved: BTreeMap<(String, String), u64>,
    /// Segments that were left as they are, by the folders in which they lie and what they are called by.
    pub left: BTreeMap<(PathBuf, Stamp), Left>,
}

/// A segment that is damaged, or that cannot be judged: nothing is taken out of it, and nothing put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Why.
    pub why: String,
    /// The first stamp that is certainly behind it.
    end: Stamp,
    /// Misfiled frames that belong between its own, and stay where they are.
    pub frames: u64,
}

impl Repaired {
    /// The segment, if it was left as it is, in which a frame of this topic with this stamp belongs.
    fn left_for(&mut self, topic: &str, stamp: Stamp) -> Option<&mut Left> {
        if self.left.is_empty() {
            return None;
        }
        let folder = names::folder(topic);
        let ((of, _), left) = self.left.range_mut(..=(folder.clone(), stamp)).next_back()?;
        (*of == folder && stamp < left.end).then_some(left)
    }
}

/// A frame that lies in another topic's folder.
#[derive(Clone, Copy, Debug)]
struct Misfiled {
    stamp: Stamp,
    /// Which of the step's sources it lies in, where, and how many bytes it has.
    source: usize,
    at: u64,
    len: u32,
}

/// A segment that frames are taken out of.
struct Source {
    folder: PathBuf,
    base: Stamp,
    /// When it was last written to.
    modified: Stamp,
    /// Where they are, ascending.
    taken: Vec<u64>,
}

/// What one step takes out, and puts where.
#[derive(Default)]
struct Step {
    sources: Vec<Source>,
    /// By the topics to which they belong.
    misfiled: BTreeMap<String, Vec<Misfiled>>,
    count: usize,
}

/// What is put into a segment, which may be a new one, and the frames of its own that are taken out.
#[derive(Default)]
struct Change {
    put: Vec<Misfiled>,
    taken: Vec<u64>,
    is_new: bool,
}

fn trouble(what: &'static str, path: &Path, why: io::Error) -> Trouble {
    Trouble::new(what, path, why)
}

/// Puts every misfiled frame where it belongs. Nobody else uses the store, and every segment of it is finished.
pub fn repair<F: Files>(files: &mut F, keys: &Keys, schemes: &Schemes) -> Result<Repaired, Trouble> {
    finish(files)?;
    let mut repaired = Repaired::default();
    let (mut before, mut knows_all) = (None, false);
    loop {
        let known = repaired.left.len();
        let step = look(files, keys, schemes, &mut repaired, !knows_all)?;
        knows_all = true;
        if repaired.left.len() > known {
            // Frames that belong there may have been found before it was known.
            continue;
        }
        let Some((topic, frames)) = step.misfiled.first_key_value() else { return Ok(repaired) };
        let first = Some((topic.clone(), frames[0].stamp));
        if first == before {
            let why = io::Error::other(
                "the file system takes its name for that of the folder in which its frames lie",
            );
            return Err(trouble("move the frames of", &names::folder(topic), why));
        }
        before = first;
        let mut moved: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (topic, misfiled) in &step.misfiled {
            for frame in misfiled {
                let from = names::topic(&step.sources[frame.source].folder).unwrap_or_default();
                *moved.entry((from, topic.clone())).or_default() += 1;
            }
        }
        carry_out(files, schemes, step)?;
        for (way, frames) in moved {
            *repaired.moved.entry(way).or_default() += frames;
        }
    }
}

/// Looks for misfiled frames that can be put where they belong: all there are, or as many as one step takes; what else
/// is to be left as it is, it looks for in every segment, if it is told to.
fn look<F: Files>(
    files: &mut F,
    keys: &Keys,
    schemes: &Schemes,
    repaired: &mut Repaired,
    in_all: bool,
) -> Result<Step, Trouble> {
    let mut step = Step::default();
    repaired.left.values_mut().for_each(|left| left.frames = 0);
    for Folder { topic, path } in layout::folders(files).map_err(|why| trouble("list", Path::new(""), why))? {
        let contents = layout::contents(files, &path).map_err(|why| trouble("list", &path, why))?;
        let frames = contents.into_iter().filter(|(_, holds)| *holds == Holds::Frames);
        let bases: Vec<Stamp> = frames.map(|(base, _)| base).collect();
        for (at, &base) in bases.iter().enumerate() {
            if repaired.left.contains_key(&(path.clone(), base)) {
                continue;
            }
            let found = match keys.judges(schemes.at(base)) {
                Ok(judges) => misfiled(files, Scan::new(judges, 0), &path, &topic, base),
                Err(missing) => Err(Stop::Read(io::Error::other(missing.to_string()))),
            };
            let why = match found {
                Ok(found) => {
                    step.add(files, repaired, &path, base, found)?;
                    continue;
                }
                // What comes behind a flaw cannot be told apart: a person is to look at it first.
                Err(Stop::Flaw(flaw)) => flaw.to_string(),
                Err(Stop::Read(why)) => why.to_string(),
            };
            let end = end_of(files, &path, base).unwrap_or(Stamp(u64::MAX));
            let end = bases.get(at + 1).map_or(end, |next| end.min(*next));
            repaired.left.insert((path.clone(), base), Left { why, end, frames: 0 });
        }
        if step.is_full() && !in_all {
            return Ok(step);
        }
    }
    Ok(step)
}

impl Step {
    fn is_full(&self) -> bool {
        self.count >= STORE_REPAIR_STEP
    }

    /// Takes what was found in a segment, if it takes any more, without what belongs where nothing can be put.
    fn add<F: Files>(
        &mut self,
        files: &mut F,
        repaired: &mut Repaired,
        folder: &Path,
        base: Stamp,
        mut found: Vec<(String, Misfiled)>,
    ) -> Result<(), Trouble> {
        found.retain(|(topic, frame)| match repaired.left_for(topic, frame.stamp) {
            Some(left) => {
                left.frames += 1;
                false
            }
            None => true,
        });
        if found.is_empty() || self.is_full() {
            return Ok(());
        }
        let path = file(folder, base, Holds::Frames);
        let modified = files.modified(&path).map_err(|why| trouble("read", &path, why))?;
        let source = self.sources.len();
        self.count += found.len();
        let taken = found.iter().map(|(_, frame)| frame.at).collect();
        for (topic, frame) in found {
            self.misfiled.entry(topic).or_default().push(Misfiled { source, ..frame });
        }
        self.sources.push(Source { folder: folder.into(), base, modified, taken });
        Ok(())
    }
}

/// The frames of a segment that are not of its folder's topic.
fn misfiled<F: Files>(
    files: &mut F,
    mut scan: Scan<'_>,
    folder: &Path,
    topic: &str,
    base: Stamp,
) -> Result<Vec<(String, Misfiled)>, Stop> {
    let mut stamps = Stamps::of(files, folder, base).map_err(Stop::Read)?;
    let mut frames = files.open(&file(folder, base, Holds::Frames)).map_err(Stop::Read)?;
    let (mut found, mut read_to, mut at) = (Vec::new(), 0, 0);
    loop {
        let next = scan.next(|bytes| {
            let n = files.read(&mut frames, read_to, bytes)?;
            read_to += n as u64;
            Ok(n)
        })?;
        let Some(frame) = next else { return Ok(found) };
        let len = frame.bytes.len() as u32;
        let stamp = stamps.next(at + u64::from(len));
        if frame.topic() != topic.as_bytes()
            && let Ok(topic) = std::str::from_utf8(frame.topic())
        {
            found.push((topic.to_owned(), Misfiled { stamp, source: 0, at, len }));
        }
        at += u64::from(len);
    }
}

/// The stamps of a segment's frames, as far as its index tells them, and then one after the other.
struct Stamps {
    entries: std::vec::IntoIter<Entry>,
    entry: Option<Entry>,
    next: u64,
}

impl Stamps {
    fn of<F: Files>(files: &mut F, folder: &Path, base: Stamp) -> io::Result<Stamps> {
        let entries = read_index(files, &file(folder, base, Holds::Index)).map_err(|trouble| trouble.why)?;
        let mut entries = entries.into_iter();
        let entry = entries.next();
        Ok(Stamps { next: entry.map_or(base.0, |entry| entry.first.0), entries, entry })
    }

    /// Of the next frame, which ends at `end`.
    fn next(&mut self, end: u64) -> Stamp {
        let stamp = Stamp(self.next);
        self.next += 1;
        if self.entry.is_some_and(|entry| entry.end <= end) {
            self.entry = self.entries.next();
            self.next = self.entry.map_or(self.next, |entry| entry.first.0.max(self.next));
        }
        stamp
    }
}

/// Writes the new segments, then the list, and goes through it.
fn carry_out<F: Files>(files: &mut F, schemes: &Schemes, step: Step) -> Result<(), Trouble> {
    let changes = changes(files, schemes, &step)?;
    let mut list = String::new();
    let mut writing = Writing { sources: &step.sources, open: HashMap::new() };
    for ((folder, base), change) in &changes {
        let kept = writing.write(files, folder, *base, change);
        let path = file(folder, *base, Holds::NewFrames);
        let what = if kept.map_err(|why| trouble("write", &path, why))? { "put" } else { "drop" };
        list += &format!("{what} {}/{base}\n", folder.display());
    }
    files::replace(files, Path::new(LIST), list.as_bytes())
        .map_err(|why| trouble("write", Path::new(LIST), why))?;
    finish(files).map(|_| ())
}

/// Which segments change, and how.
fn changes<F: Files>(
    files: &mut F,
    schemes: &Schemes,
    step: &Step,
) -> Result<BTreeMap<(PathBuf, Stamp), Change>, Trouble> {
    let mut changes: BTreeMap<(PathBuf, Stamp), Change> = BTreeMap::new();
    for Source { folder, base, taken, .. } in &step.sources {
        changes.entry((folder.clone(), *base)).or_default().taken.clone_from(taken);
    }
    for (topic, misfiled) in &step.misfiled {
        let folder = names::folder(topic);
        let contents = layout::contents(files, &folder).map_err(|why| trouble("list", &folder, why))?;
        let frames = contents.into_iter().filter(|(_, holds)| *holds == Holds::Frames);
        let bases: Vec<Stamp> = frames.map(|(base, _)| base).collect();
        let mut ends: Vec<Option<Stamp>> = vec![None; bases.len()];
        let mut misfiled = misfiled.clone();
        misfiled.sort_by_key(|frame| (frame.stamp, frame.source, frame.at));
        // The new segment that is being filled: between which old ones, which, and with how much.
        let mut filling: Option<(usize, Stamp, u64)> = None;
        for frame in misfiled {
            let after = bases.partition_point(|base| *base <= frame.stamp);
            let before = after.checked_sub(1);
            if let Some(at) = before {
                let end = match ends[at] {
                    Some(end) => end,
                    None => *ends[at].insert(end_of(files, &folder, bases[at])?),
                };
                if frame.stamp < end {
                    changes.entry((folder.clone(), bases[at])).or_default().put.push(frame);
                    continue;
                }
            }
            let len = u64::from(frame.len);
            let goes_on = filling.filter(|&(place, base, bytes)| {
                place == after && bytes + len <= STORE_SEGMENT && schemes.at(base) == schemes.at(frame.stamp)
            });
            let (base, bytes) = goes_on.map_or((frame.stamp, 0), |(_, base, bytes)| (base, bytes));
            filling = Some((after, base, bytes + len));
            let change = changes.entry((folder.clone(), base)).or_default();
            change.is_new = true;
            change.put.push(frame);
        }
    }
    Ok(changes)
}

/// The first stamp behind those of a segment. What its index does not cover may be anywhere behind; where it speaks of
/// more than there is, the end of the segment is gone.
fn end_of<F: Files>(files: &mut F, folder: &Path, base: Stamp) -> Result<Stamp, Trouble> {
    let entries = read_index(files, &file(folder, base, Holds::Index))?;
    let path = file(folder, base, Holds::Frames);
    let len = files.size(&path).map_err(|why| trouble("read", &path, why))?;
    Ok(match entries.last() {
        Some(last) if last.end >= len => Stamp(last.next()),
        _ => Stamp(u64::MAX),
    })
}

/// Writes new segments from old ones.
struct Writing<'a, T> {
    sources: &'a [Source],
    open: HashMap<usize, T>,
}

impl<T> Writing<'_, T> {
    /// Writes what a segment is to be, beside it; whether anything is left in it.
    fn write<F: Files<File = T>>(
        &mut self,
        files: &mut F,
        folder: &Path,
        base: Stamp,
        change: &Change,
    ) -> io::Result<bool> {
        make_folders(files, folder)?;
        let mut out = Out::new(files, folder, base)?;
        let mut put = change.put.iter().peekable();
        let mut modified = Stamp(0);
        if !change.is_new {
            let path = file(folder, base, Holds::Frames);
            modified = files.modified(&path)?;
            let mut stamps = Stamps::of(files, folder, base)?;
            let mut old = files.open(&path)?;
            let len = files.len(&mut old)?;
            let mut taken = change.taken.iter().peekable();
            let mut at = 0;
            while at < len {
                let end = at + u64::from(frame_len(files, &mut old, at)?);
                let stamp = stamps.next(end);
                while let Some(frame) = put.next_if(|frame| frame.stamp < stamp) {
                    self.copy(files, frame, &mut out)?;
                }
                if taken.next_if(|taken| **taken == at).is_none() {
                    out.add(files, &mut old, at, (end - at) as u32, stamp)?;
                }
                at = end;
            }
        }
        for frame in put {
            self.copy(files, frame, &mut out)?;
            modified = modified.max(self.sources[frame.source].modified);
        }
        out.finish(files, folder, base, modified)
    }

    /// Copies a misfiled frame.
    fn copy<F: Files<File = T>>(
        &mut self,
        files: &mut F,
        frame: &Misfiled,
        out: &mut Out<T>,
    ) -> io::Result<()> {
        let Source { folder, base, .. } = &self.sources[frame.source];
        if !self.open.contains_key(&frame.source) {
            if self.open.len() >= SOURCES {
                self.open.clear();
            }
            self.open.insert(frame.source, files.open(&file(folder, *base, Holds::Frames))?);
        }
        let source = self.open.get_mut(&frame.source).expect("it was opened just now");
        out.add(files, source, frame.at, frame.len, frame.stamp)
    }
}

/// The bytes of the frame that begins at `at` in a segment that was scanned.
fn frame_len<F: Files>(files: &mut F, file: &mut F::File, at: u64) -> io::Result<u32> {
    let mut head = [0; crate::wire::HEADER];
    read_exact(files, file, at, &mut head)?;
    let header = crate::wire::Header::decode(&head);
    header.map(|header| header.frame_len() as u32).map_err(|fault| io::Error::other(fault.to_string()))
}

fn make_folders<F: Files>(files: &mut F, folder: &Path) -> io::Result<()> {
    let mut above = PathBuf::new();
    for name in folder.iter() {
        let path = above.join(name);
        files.make_folder(&path)?;
        files.sync_folder(&above)?;
        above = path;
    }
    Ok(())
}

/// A new segment and its index, beside the old ones.
struct Out<T> {
    frames: T,
    bytes: Vec<u8>,
    written: u64,
    entries: Vec<Entry>,
}

impl<T> Out<T> {
    fn new<F: Files<File = T>>(files: &mut F, folder: &Path, base: Stamp) -> io::Result<Out<T>> {
        let frames = files.create(&file(folder, base, Holds::NewFrames))?;
        Ok(Out { frames, bytes: Vec::new(), written: 0, entries: Vec::new() })
    }

    /// Adds a frame of another file.
    fn add<F: Files<File = T>>(
        &mut self,
        files: &mut F,
        from: &mut T,
        at: u64,
        len: u32,
        stamp: Stamp,
    ) -> io::Result<()> {
        let start = self.bytes.len();
        self.bytes.resize(start + len as usize, 0);
        read_exact(files, from, at, &mut self.bytes[start..])?;
        let end = self.written + self.bytes.len() as u64;
        let first = Stamp(self.entries.last().map_or(stamp.0, |last| stamp.0.max(last.next())));
        match self.entries.last_mut().filter(|last| last.next() == first.0) {
            Some(last) => (last.end, last.frames) = (end, last.frames + 1),
            None => self.entries.push(Entry { first, end, frames: 1 }),
        }
        if self.bytes.len() >= WRITE { self.flush(files) } else { Ok(()) }
    }

    fn flush<F: Files<File = T>>(&mut self, files: &mut F) -> io::Result<()> {
        append_all(files, &mut self.frames, &mut [IoSlice::new(&self.bytes)])?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Brings it to the disk; whether it holds anything.
    fn finish<F: Files<File = T>>(
        mut self,
        files: &mut F,
        folder: &Path,
        base: Stamp,
        modified: Stamp,
    ) -> io::Result<bool> {
        self.flush(files)?;
        files.set_modified(&mut self.frames, modified)?;
        files.sync(&mut self.frames)?;
        let mut index = files.create(&file(folder, base, Holds::NewIndex))?;
        let bytes: Vec<u8> = self.entries.iter().flat_map(Entry::encode).collect();
        append_all(files, &mut index, &mut [IoSlice::new(&bytes)])?;
        files.sync(&mut index)?;
        files.sync_folder(folder)?;
        Ok(self.written > 0)
    }
}
