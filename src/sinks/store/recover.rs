//! After a crash: open segments are cut back to what is whole, and get their final names.
//!
//! Everything that was confirmed lies before the first flaw, since it was synced before anything behind it
//! was written. What comes from the flaw on is kept in a file beside the segment. Each step may be the
//! last before the next crash; then all of it is done again.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::ages::{self, Ages};
use super::files::{self, Files, append_all, is_missing, read_exact};
use super::index::{self, Compared, ENTRY, Entry};
use super::layout::{self, Folder};
use super::names::{Holds, file};
use super::order::{self, Order, Tail};
use super::repair;
use super::scan::{Flaw, Scan, Stop, Why};
use super::schemes::{self, Keys, Mark, Schemes};
use super::segment::Trouble;
use super::stamp::{Clock, Stamp};
use crate::wire::Scheme;

/// Where a store goes on after a start.
#[derive(Debug, Default)]
pub struct Start {
    /// It has passed every stamp that was ever given.
    pub clock: Clock,
    /// How many topics there are.
    pub topics: usize,
    /// When stamps ran ahead of the clock.
    pub ages: Ages,
    /// What was stored before was stamped with less, before anything of it was finished now.
    pub newest: Stamp,
    /// The first segment that is kept.
    pub oldest: Option<Stamp>,
    /// Where the order of all frames ends.
    pub order: Tail,
    /// Segments with frames that may have no sequence yet.
    unordered: Vec<(Stamp, PathBuf)>,
}

/// What was found and done at a start.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Segments that were open.
    pub segments: u64,
    /// Frames in them.
    pub frames: u64,
    /// Those of them that do not belong to the topic in whose folder they lie.
    pub misfiled: u64,
    /// What was cut off, and why.
    pub cuts: Vec<Cut>,
    /// Frames that got their sequences now.
    pub ordered: u64,
}

/// The end of a segment that was no frame.
#[derive(Debug)]
pub struct Cut {
    /// Where its bytes are kept.
    pub path: PathBuf,
    /// How many they are.
    pub bytes: u64,
    /// What was wrong with the first of them.
    pub flaw: Flaw,
}

/// Finishes what an earlier run left open, and says that from now on frames are made under the first of the keys.
pub fn recover<F: Files>(
    files: &mut F,
    keys: &Keys,
    now: Stamp,
) -> Result<(Start, Schemes, Recovered), Trouble> {
    let (mut start, mut schemes, mut recovered) = finish_open(files, keys, now)?;
    recovered.ordered = order::complete(files, &mut start.order, std::mem::take(&mut start.unordered))?;
    start.clock.pass(start.order.next.stamp.0);
    if !start.order.is_written {
        let written = Order::<F::File>::new(&start.order).write_state(files);
        written.map_err(|why| Trouble::new("write", Path::new(order::FOLDER), why))?;
    }
    let begun = schemes.begin(files, start.clock.next(), keys.first());
    begun.map_err(|why| Trouble::new("write", Path::new(schemes::NAME), why))?;
    Ok((start, schemes, recovered))
}

/// Finishes what an earlier run left open, each segment judged by the scheme that it was made under.
pub fn finish_open<F: Files>(
    files: &mut F,
    keys: &Keys,
    now: Stamp,
) -> Result<(Start, Schemes, Recovered), Trouble> {
    let schemes = Schemes::read(files).map_err(|why| Trouble::new("read", Path::new(schemes::NAME), why))?;
    let ages = Ages::read(files).map_err(|why| Trouble::new("read", Path::new(ages::NAME), why))?;
    repair::finish(files)?;
    let mut clock = Clock::default();
    clock.pass(schemes.end().0);
    clock.pass(ages.end().0);
    let order = order::read(files, now).map_err(|why| Trouble::new("read", Path::new(order::FOLDER), why))?;
    let ordered = order.next.stamp;
    clock.pass(ordered.0);
    let (mut oldest, mut unordered) = (None, Vec::new());
    let mut open = Vec::new();
    let list = |path: &Path, why| Trouble { what: "list", path: path.into(), why };
    let folders = layout::folders(files).map_err(|why| list(Path::new(""), why))?;
    let topics = folders.len();
    for Folder { topic, path } in folders {
        let contents = layout::contents(files, &path).map_err(|why| list(&path, why))?;
        let is_frames = |holds| matches!(holds, Holds::Frames | Holds::OpenFrames);
        if let Some(&(newest, _)) = contents.iter().rev().find(|(_, holds)| is_frames(*holds)) {
            clock.pass(newest.0 + 1);
            let end = end_of_index(files, &file(&path, newest, Holds::Index))?;
            clock.pass(end);
            let bases = contents.iter().filter(|(_, holds)| is_frames(*holds)).map(|(base, _)| *base);
            let bases: Vec<Stamp> = bases.collect();
            oldest = oldest.into_iter().chain(bases.first().copied()).min();
            if end > ordered.0 || contents.iter().any(|(_, holds)| *holds == Holds::OpenFrames) {
                let before = bases.partition_point(|base| *base <= ordered).saturating_sub(1);
                unordered.extend(bases[before..].iter().map(|base| (*base, path.clone())));
            }
        }
        for (at, &(base, holds)) in contents.iter().enumerate() {
            match holds {
                Holds::OpenFrames => open.push((base, path.clone(), topic.clone())),
                // Its segment was about to begin, or was taken away before it.
                Holds::Index
                    if !contents[..at].iter().any(|(of, holds)| *of == base && is_frames(*holds)) =>
                {
                    remove(files, &file(&path, base, Holds::Index))?;
                }
                _ => {}
            }
        }
    }
    open.sort();
    // What a crash left without an index gets stamps of now.
    let newest = clock.next();
    let mut recovered = Recovered::default();
    // Whether all of them can be judged is known before any is touched.
    let mut judged = Vec::new();
    for (base, folder, topic) in open {
        let judges = judges(files, keys, schemes.at(base), &file(&folder, base, Holds::OpenFrames))?;
        judged.push((base, folder, topic, judges));
    }
    for (base, folder, topic, schemes) in judged {
        let one = One { files, schemes, folder: &folder, topic: &topic, base };
        recovered.segments += 1;
        one.finish(&mut clock, now, &mut recovered)?;
    }
    let start = Start { clock, topics, ages, newest, oldest, order, unordered };
    Ok((start, schemes, recovered))
}

/// By which schemes an open segment is judged. A secret that is not known is no reason to cut anything off.
fn judges<'a, F: Files>(
    files: &mut F,
    keys: &'a Keys,
    mark: Option<Mark>,
    path: &Path,
) -> Result<&'a [Scheme], Trouble> {
    const MEND: &str = "start once with the secret of the run before, or give its file too, \
                        to serve as --store-secret-file, to verify as a further --secret-file";
    let cannot = |why: String| Trouble::new("judge", path, io::Error::other(why));
    if mark.is_some() {
        return keys.judges(mark).map_err(|missing| cannot(format!("{missing}: {MEND}")));
    }
    // Of a store that does not know, its first frame tells it.
    let failed = |why| Trouble::new("read", path, why);
    let mut file = files.open(path).map_err(failed)?;
    let (mut scan, mut at) = (Scan::new(keys.all(), 0), 0);
    let first = scan.next(|bytes| {
        let n = files.read(&mut file, at, bytes)?;
        at += n as u64;
        Ok(n)
    });
    match first {
        Ok(Some(_)) => Ok(keys.same(scan.under())),
        Err(Stop::Read(why)) => Err(failed(why)),
        // What the index speaks of was on the disk: no crash has torn it.
        Err(Stop::Flaw(Flaw { why: Why::Digest, .. }))
            if !read_index(files, &path.with_extension("index"))?.is_empty() =>
        {
            Err(cannot(format!(
                "its first frame was confirmed, and is intact under no secret that was given: {MEND}; if the frame is damaged, move the file away"
            )))
        }
        Ok(None) | Err(Stop::Flaw(_)) => Ok(keys.given()),
    }
}

/// The first stamp behind those of an index; 0 if there is none.
pub fn end_of_index<F: Files>(files: &mut F, path: &Path) -> Result<u64, Trouble> {
    let entries = read_index(files, path)?;
    Ok(entries.last().map_or(0, Entry::next))
}

/// The entries of an index; none if it is not there.
pub fn read_index<F: Files>(files: &mut F, path: &Path) -> Result<Vec<Entry>, Trouble> {
    let bytes = files::read_all(files, path).map_err(|why| Trouble::new("read", path, why))?;
    Ok(index::read(&bytes.unwrap_or_default(), None))
}

fn read_range<F: Files>(files: &mut F, file: &mut F::File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (to - from) as usize];
    read_exact(files, file, from, &mut bytes)?;
    Ok(bytes)
}

fn remove<F: Files>(files: &mut F, path: &Path) -> Result<(), Trouble> {
    files::remove(files, path).map_err(|why| Trouble::new("remove", path, why))
}

/// An open segment.
struct One<'a, F> {
    files: &'a mut F,
    schemes: &'a [Scheme],
    folder: &'a Path,
    topic: &'a str,
    base: Stamp,
}

impl<F: Files> One<'_, F> {
    /// Cuts it back and gives it its final name.
    fn finish(mut self, clock: &mut Clock, now: Stamp, recovered: &mut Recovered) -> Result<(), Trouble> {
        let entries = read_index(self.files, &self.path(Holds::Index))?;
        let path = self.path(Holds::OpenFrames);
        let failed = |what, why| Trouble { what, path: path.clone(), why };
        let mut file = self.files.open(&path).map_err(|why| failed("open", why))?;
        let len = self.files.len(&mut file).map_err(|why| failed("read", why))?;
        let mut compared = Compared::new(entries);
        let (valid, flaw) =
            self.scan(&mut file, &mut compared, recovered).map_err(|why| failed("read", why))?;
        if let Some(flaw) = flaw {
            let cut = self.cut(&mut file, valid, len, flaw)?;
            recovered.cuts.push(cut);
        }
        if valid == 0 {
            remove(self.files, &path)?;
            remove(self.files, &self.path(Holds::Index))?;
            return self.sync_folder();
        }
        // What the system held and had not written yet survives the program, not the machine.
        self.files.sync(&mut file).map_err(|why| failed("sync", why))?;
        self.mend_index(&compared, valid, clock, now).map_err(|why| Trouble {
            what: "write",
            path: self.path(Holds::Index),
            why,
        })?;
        let to = self.path(Holds::Frames);
        self.files.rename(&path, &to).map_err(|why| failed("rename", why))?;
        self.sync_folder()
    }

    /// Counts the frames up to the first flaw; in how many bytes they are.
    fn scan(
        &mut self,
        file: &mut F::File,
        compared: &mut Compared,
        recovered: &mut Recovered,
    ) -> io::Result<(u64, Option<Flaw>)> {
        let mut scan = Scan::new(self.schemes, 0);
        let mut read_to = 0;
        loop {
            let files = &mut *self.files;
            let next = scan.next(|bytes| {
                let n = files.read(file, read_to, bytes)?;
                read_to += n as u64;
                Ok(n)
            });
            match next {
                Ok(Some(frame)) => {
                    recovered.frames += 1;
                    recovered.misfiled += u64::from(frame.topic() != self.topic.as_bytes());
                    compared.frame(scan.at());
                }
                Ok(None) => return Ok((scan.at(), None)),
                Err(Stop::Flaw(flaw)) => return Ok((scan.at(), Some(flaw))),
                Err(Stop::Read(why)) => return Err(why),
            }
        }
    }

    /// Keeps what comes from `valid` on in a file of its own, and cuts it off.
    fn cut(&mut self, file: &mut F::File, valid: u64, len: u64, flaw: Flaw) -> Result<Cut, Trouble> {
        let path = self.path(Holds::Cut);
        // A start that did not come further may have left one.
        remove(self.files, &path)?;
        let mut keep = || -> io::Result<()> {
            let mut kept = self.files.create(&path)?;
            let mut at = valid;
            while at < len {
                let bytes = read_range(self.files, file, at, len.min(at + CUT_BLOCK))?;
                append_all(self.files, &mut kept, &mut [IoSlice::new(&bytes)])?;
                at += bytes.len() as u64;
            }
            self.files.sync(&mut kept)
        };
        keep().map_err(|why| Trouble { what: "write", path: path.clone(), why })?;
        self.sync_folder()?;
        self.files.truncate(file, valid).map_err(|why| Trouble {
            what: "cut off",
            path: self.path(Holds::OpenFrames),
            why,
        })?;
        Ok(Cut { path, bytes: len - valid, flaw })
    }

    /// Leaves in the index what agrees with the frames, and says of the others that they come last.
    fn mend_index(
        &mut self,
        compared: &Compared,
        valid: u64,
        clock: &mut Clock,
        now: Stamp,
    ) -> io::Result<()> {
        let path = self.path(Holds::Index);
        let mut file = match self.files.open(&path) {
            Err(why) if is_missing(&why) => self.files.create(&path)?,
            file => file?,
        };
        self.files.truncate(&mut file, (compared.agreed().len() * ENTRY) as u64)?;
        if compared.open() > 0 {
            let first = clock.take(now, compared.open());
            let entry = Entry { first, end: valid, frames: compared.open() };
            append_all(self.files, &mut file, &mut [IoSlice::new(&entry.encode())])?;
        }
        self.files.sync(&mut file)
    }

    fn sync_folder(&mut self) -> Result<(), Trouble> {
        let failed = |why| Trouble { what: "sync the folder", path: self.folder.into(), why };
        self.files.sync_folder(self.folder).map_err(failed)
    }

    fn path(&self, holds: Holds) -> PathBuf {
        file(self.folder, self.base, holds)
    }
}

/// 1 MiB at a time from an open segment to the file of what is cut off.
const CUT_BLOCK: u64 = 1 << 20;
