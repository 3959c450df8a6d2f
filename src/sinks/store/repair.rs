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
//! to its end, by whoever comes next: a repair, or a gateway that starts. Each step of it may be done twice.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::files::{self, Files, append_all, read_exact};
use super::index::Entry;
use super::layout::{self, Folder};
use super::names::{self, Holds, file};
use super::recover::read_index;
use super::scan::{Scan, Stop};
use super::schemes::{Keys, Schemes};
use super::segment::Trouble;
use super::stamp::Stamp;
use crate::limits::{STORE_REPAIR_STEP, STORE_SEGMENT};

/// In the store's folder: what takes whose place.
pub const LIST: &str = ".repair";

/// 1 MiB a write.
const WRITE: usize = 1 << 20;

/// 64 segments that frames are copied from are open at once.
const SOURCES: usize = 64;

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// How many frames were moved, by the topics in whose folders they lay and to which they belong.
    pub moved: BTreeMap<(String, String), u64>,
    /// Segments that were left as they are, and why.
    pub left: Vec<(PathBuf, String)>,
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

/// Goes to its end with a repair that was begun, and takes away what is left of one that was not. Whether there was one.
pub fn finish<F: Files>(files: &mut F) -> Result<bool, Trouble> {
    let list =
        files::read_all(files, Path::new(LIST)).map_err(|why| trouble("read", Path::new(LIST), why))?;
    let was_begun = list.is_some();
    let list = String::from_utf8_lossy(&list.unwrap_or_default()).into_owned();
    for line in list.lines() {
        let Some((what, path)) = line.split_once(' ') else { continue };
        let path = Path::new(path);
        let (Some(folder), Some(Ok(base))) =
            (path.parent(), path.file_name().and_then(|name| name.to_str()).map(str::parse::<Stamp>))
        else {
            continue;
        };
        let done = match what {
            "put" => take_place(files, folder, base, Holds::NewFrames, Holds::Frames)
                .and_then(|()| take_place(files, folder, base, Holds::NewIndex, Holds::Index)),
            _ => files::remove(files, &file(folder, base, Holds::Frames))
                .and_then(|()| files::remove(files, &file(folder, base, Holds::Index))),
        };
        done.and_then(|()| files.sync_folder(folder))
            .map_err(|why| trouble("put in its place", path, why))?;
    }
    let root = Path::new("");
    if was_begun {
        let ended = files::remove(files, Path::new(LIST)).and_then(|()| files.sync_folder(root));
        ended.map_err(|why| trouble("remove", Path::new(LIST), why))?;
    }
    for Folder { path, .. } in layout::folders(files).map_err(|why| trouble("list", root, why))? {
        let contents = layout::contents(files, &path).map_err(|why| trouble("list", &path, why))?;
        for (base, holds) in contents {
            if matches!(holds, Holds::NewFrames | Holds::NewIndex) {
                let path = file(&path, base, holds);
                files::remove(files, &path).map_err(|why| trouble("remove", &path, why))?;
            }
        }
    }
    Ok(was_begun)
}

fn take_place<F: Files>(files: &mut F, folder: &Path, base: Stamp, from: Holds, to: Holds) -> io::Result<()> {
    match files.rename(&file(folder, base, from), &file(folder, base, to)) {
        // It was done before.
        Err(why) if files::is_missing(&why) => Ok(()),
        result => result,
    }
}

fn trouble(what: &'static str, path: &Path, why: io::Error) -> Trouble {
    Trouble::new(what, path, why)
}

/// Puts every misfiled frame where it belongs. Nobody else uses the store, and every segment of it is finished.
pub fn repair<F: Files>(files: &mut F, keys: &Keys, schemes: &Schemes) -> Result<Repaired, Trouble> {
    finish(files)?;
    let mut repaired = Repaired::default();
    let mut before = None;
    loop {
        repaired.left.clear();
        let step = look(files, keys, schemes, &mut repaired)?;
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

/// Looks for misfiled frames: all there are, or as many as one step takes.
fn look<F: Files>(
    files: &mut F,
    keys: &Keys,
    schemes: &Schemes,
    repaired: &mut Repaired,
) -> Result<Step, Trouble> {
    let mut step = Step::default();
    for Folder { topic, path } in layout::folders(files).map_err(|why| trouble("list", Path::new(""), why))? {
        let contents = layout::contents(files, &path).map_err(|why| trouble("list", &path, why))?;
        for (base, _) in contents.into_iter().filter(|(_, holds)| *holds == Holds::Frames) {
            let found = match keys.judges(schemes.at(base)) {
                Ok(judges) => misfiled(files, Scan::new(judges, 0), &path, &topic, base),
                Err(missing) => Err(Stop::Read(io::Error::other(missing.to_string()))),
            };
            let frames = file(&path, base, Holds::Frames);
            match found {
                Ok(found) if found.is_empty() => {}
                Ok(found) => {
                    let source = step.sources.len();
                    step.count += found.len();
                    let taken = found.iter().map(|(_, frame)| frame.at).collect();
                    for (topic, frame) in found {
                        step.misfiled.entry(topic).or_default().push(Misfiled { source, ..frame });
                    }
                    step.sources.push(Source { folder: path.clone(), base, taken });
                }
                // What comes behind a flaw cannot be told apart: somebody is to look at it first.
                Err(Stop::Flaw(flaw)) => repaired.left.push((frames, flaw.to_string())),
                Err(Stop::Read(why)) => repaired.left.push((frames, why.to_string())),
            }
            if step.count >= STORE_REPAIR_STEP {
                return Ok(step);
            }
        }
    }
    Ok(step)
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
    files::replace(files, LIST, list.as_bytes()).map_err(|why| trouble("write", Path::new(LIST), why))?;
    finish(files).map(|_| ())
}

/// Which segments change, and how.
fn changes<F: Files>(
    files: &mut F,
    schemes: &Schemes,
    step: &Step,
) -> Result<BTreeMap<(PathBuf, Stamp), Change>, Trouble> {
    let mut changes: BTreeMap<(PathBuf, Stamp), Change> = BTreeMap::new();
    for Source { folder, base, taken } in &step.sources {
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

/// The first stamp behind those of a segment. What its index does not cover may be anywhere behind.
fn end_of<F: Files>(files: &mut F, folder: &Path, base: Stamp) -> Result<Stamp, Trouble> {
    let entries = read_index(files, &file(folder, base, Holds::Index))?;
    let path = file(folder, base, Holds::Frames);
    let len = files.size(&path).map_err(|why| trouble("read", &path, why))?;
    Ok(match entries.last() {
        Some(last) if last.end == len => Stamp(last.next()),
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
            let Source { folder, base, .. } = &self.sources[frame.source];
            modified = modified.max(files.modified(&file(folder, *base, Holds::Frames))?);
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
    let mut head = [0; crate::frame::HEADER];
    read_exact(files, file, at, &mut head)?;
    let header = crate::frame::Header::decode(&head);
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
