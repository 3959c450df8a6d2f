//! Which sequence each frame has in the order of all topics.
//!
//! Stamps say the order, but not how many frames lie between two. So beside the segments the store keeps a record for each
//! round: its first stamp, the sequence that this is, and how many frames follow each other from there on. A frame's
//! sequence is found by its stamp, and indexes stay as they are.
//!
//! ```text
//! DIR/.order/20260728T101530.123456789Z.order    records, from this stamp on
//! DIR/.order/state                               the store's id, and below which sequence frames were removed
//! ```
//!
//! A record is written once the indexes of its round are. What a crash has cut off of it, and what an earlier version
//! stored without, is [completed](complete) from the indexes at the next start.

mod lookup;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

pub use lookup::{Sequences, at_seq, at_stamp};
use slab::Slab;

use super::files::{self, Files, append_all, is_missing, read_exact};
use super::index::Entry;
use super::names::{Holds, file};
use super::recover::read_index;
use super::segment::Trouble;
use super::stamp::Stamp;
use crate::core::limits::{ORDER_FILE, ORDER_PENDING};
use crate::core::units::hex;
use crate::wire::Scheme;

/// In the store's folder; no topic's folder is called like this.
pub const FOLDER: &str = ".order";
const STATE: &str = "state";
const SUFFIX: &str = ".order";

/// Bytes of a record.
pub const RECORD: usize = 32;

/// Frames whose stamps follow each other, and so their sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The stamp of the first.
    pub first: Stamp,
    /// Its sequence.
    pub seq: u64,
    /// Bytes of all frames before it.
    pub bytes: u64,
    /// How many they are.
    pub frames: u32,
}

/// A place in the order: the first frame that is not before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its sequence.
    pub seq: u64,
    /// Its stamp, or one that no frame before it has.
    pub stamp: Stamp,
    /// Bytes of all frames before it, about.
    pub bytes: u64,
}

impl Default for Place {
    fn default() -> Place {
        Place { seq: 1, stamp: Stamp(0), bytes: 0 }
    }
}

impl Record {
    /// The first place behind it.
    fn end(&self) -> (Stamp, u64) {
        let frames = u64::from(self.frames);
        (Stamp(self.first.0 + frames), self.seq + frames)
    }

    fn place(&self) -> Place {
        Place { seq: self.seq, stamp: self.first, bytes: self.bytes }
    }

    fn encode(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.first.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.bytes.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.frames.to_be_bytes());
        let check = check(&bytes);
        bytes[28..].copy_from_slice(&check);
        bytes
    }

    fn decode(bytes: &[u8; RECORD]) -> Option<Record> {
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let frames = u32::from_be_bytes(bytes[24..28].try_into().expect("four bytes"));
        let record = Record { first: Stamp(number(0)), seq: number(8), bytes: number(16), frames };
        let is_right =
            bytes[28..] == check(bytes) && record.first <= Stamp::MAX && frames > 0 && record.seq > 0;
        is_right.then_some(record)
    }
}

fn check(bytes: &[u8; RECORD]) -> [u8; 4] {
    *Scheme::Sha256.digest(&bytes[..28]).first_chunk().expect("a digest has more")
}

/// What is known of the order at a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The place of the next frame.
    pub next: Place,
    /// Of the frames before this sequence some, or all, were removed.
    pub floor: u64,
    /// Tells this store from others.
    pub id: String,
    /// The store says so itself.
    pub is_written: bool,
}

/// The records of the frames that are stored now.
#[derive(Debug)]
pub struct Order<T> {
    /// What is not in a record yet has this place, or a later stamp.
    next: Place,
    floor: u64,
    id: String,
    file: Option<T>,
    len: u64,
    /// Not written yet.
    pending: Vec<Record>,
    /// Written to the file since it was synced last, so that they may not be on the disk. A file is synced before the next
    /// is begun, so they are no more than one holds.
    unsynced: Vec<Record>,
}

impl<T> Order<T> {
    /// Goes on where a start has found it.
    pub fn new(tail: &Tail) -> Order<T> {
        let Tail { next, floor, id, .. } = tail.clone();
        Order { next, floor, id, file: None, len: 0, pending: Vec::new(), unsynced: Vec::new() }
    }

    /// The place of the next frame.
    pub fn next(&self) -> Place {
        self.next
    }

    /// Of the frames before this sequence some, or all, were removed.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether the records of all frames before this sequence are written.
    pub fn is_written_to(&self, seq: u64) -> bool {
        self.pending.first().is_none_or(|first| first.seq >= seq)
    }

    /// Whether something is to be synced before it is sure to be there after a crash.
    pub fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty() || !self.pending.is_empty()
    }

    /// Gives sequences to frames with these stamps, which come after all others. The first of them.
    pub fn assign(&mut self, first: Stamp, frames: u32, bytes: u64) -> u64 {
        let seq = self.next.seq;
        match self.pending.last_mut() {
            Some(last) if last.end() == (first, seq) && last.frames.checked_add(frames).is_some() => {
                last.frames += frames;
            }
            _ => self.pending.push(Record { first, seq, bytes: self.next.bytes, frames }),
        }
        let frames = u64::from(frames);
        self.next =
            Place { seq: seq + frames, stamp: Stamp(first.0 + frames), bytes: self.next.bytes + bytes };
        seq
    }

    /// Writes what was assigned. After a failure it may be tried again.
    pub fn flush<F: Files<File = T>>(&mut self, files: &mut F) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.file.is_some() && self.len >= ORDER_FILE {
            self.sync(files)?;
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path = path_of(self.pending[0].first);
                files.make_folder(Path::new(FOLDER))?;
                // What an attempt before has left.
                files::remove(files, &path)?;
                let file = files.create(&path)?;
                files.sync_folder(Path::new(FOLDER))?;
                files.sync_folder(Path::new(""))?;
                self.len = 0;
                self.file.insert(file)
            }
        };
        let bytes: Vec<u8> = self.pending.iter().flat_map(Record::encode).collect();
        if let Err(why) = append_all(files, file, &mut [IoSlice::new(&bytes)]) {
            // What of it was written is cut off.
            if files.truncate(file, self.len).is_err() {
                self.give_up_file();
            }
            return Err(why);
        }
        self.len += bytes.len() as u64;
        self.unsynced.append(&mut self.pending);
        Ok(())
    }

    /// Its file, to be synced with others.
    pub fn unsynced_file(&mut self) -> Option<&mut T> {
        self.file.as_mut().filter(|_| !self.unsynced.is_empty())
    }

    /// It was synced, or not.
    pub fn synced(&mut self, result: io::Result<()>) -> io::Result<()> {
        match &result {
            Ok(()) => self.unsynced.clear(),
            Err(_) => self.give_up_file(),
        }
        result
    }

    /// Brings to the disk what was written.
    fn sync<F: Files<File = T>>(&mut self, files: &mut F) -> io::Result<()> {
        let Some(file) = self.unsynced_file() else { return Ok(()) };
        let result = files.sync(file);
        self.synced(result)
    }

    /// Nobody knows what of the file is on the disk: what may not be is written anew, to another. A record that is in both
    /// is the same in both.
    fn give_up_file(&mut self) {
        self.file = None;
        self.unsynced.append(&mut self.pending);
        std::mem::swap(&mut self.unsynced, &mut self.pending);
    }

    /// Before frames with stamps below `end` are removed: from then on it is known that they may be gone.
    pub fn raise_floor<F: Files<File = T>>(&mut self, files: &mut F, end: Stamp) -> io::Result<()> {
        self.flush(files)?;
        let floor = at_stamp(files, end)?.unwrap_or(self.next).seq;
        if floor > self.floor {
            self.floor = floor;
            self.write_state(files)?;
        }
        Ok(())
    }

    /// Removes records that speak of nothing that is kept: of stamps below `oldest` alone.
    pub fn forget<F: Files<File = T>>(&mut self, files: &mut F, oldest: Stamp) -> io::Result<()> {
        let names = list(files)?;
        for pair in names.windows(2).filter(|pair| pair[1] <= oldest) {
            files::remove(files, &path_of(pair[0]))?;
        }
        Ok(())
    }

    /// Says what is not in records.
    pub fn write_state<F: Files<File = T>>(&mut self, files: &mut F) -> io::Result<()> {
        let Order { id, floor, next, .. } = &*self;
        let mut text =
            format!("framegate order 1\nid {id}\nfloor {floor}\nnext {} {}\n", next.seq, next.bytes);
        let check = hex(&Scheme::Sha256.digest(text.as_bytes())[..8]);
        text += &format!("check {check}\n");
        files.make_folder(Path::new(FOLDER))?;
        files::replace(files, &Path::new(FOLDER).join(STATE), text.as_bytes())
    }
}

fn path_of(first: Stamp) -> PathBuf {
    Path::new(FOLDER).join(format!("{first}{SUFFIX}"))
}

/// The first stamps of the files.
fn list<F: Files>(files: &mut F) -> io::Result<Vec<Stamp>> {
    let listed = match files.list(Path::new(FOLDER)) {
        Err(why) if is_missing(&why) => Vec::new(),
        listed => listed?,
    };
    let names = listed.iter().filter_map(|listed| listed.name.strip_suffix(SUFFIX)?.parse().ok());
    let mut names: Vec<Stamp> = names.collect();
    names.sort_unstable();
    Ok(names)
}

/// What a start finds: where the order ends. A record that a crash has cut is cut off.
pub fn read<F: Files>(files: &mut F, now: Stamp) -> io::Result<Tail> {
    let mut tail = Tail { floor: 1, id: format!("{:016x}", now.0), ..Tail::default() };
    if let Some(state) = files::read_all(files, &Path::new(FOLDER).join(STATE))? {
        match read_state(&state) {
            Some(state) => tail = state,
            None => log::error!(
                "the store's {FOLDER}/{STATE} is damaged: what was removed before is not known, and positions of durable names count as another store's; it is written anew"
            ),
        }
    }
    for first in list(files)?.into_iter().rev() {
        let path = path_of(first);
        let mut file = files.open(&path)?;
        let len = files.len(&mut file)?;
        let mut bytes = vec![0; len as usize];
        read_exact(files, &mut file, 0, &mut bytes)?;
        let records = whole(&bytes);
        let valid = (records.len() * RECORD) as u64;
        if valid < len {
            files.truncate(&mut file, valid)?;
            files.sync(&mut file)?;
        }
        match records.last() {
            None => files::remove(files, &path)?,
            Some(last) => {
                let (stamp, seq) = last.end();
                // Of the last record's own bytes nothing is known, and it is a measure of lag alone.
                let bytes = tail.next.bytes.max(last.bytes);
                tail.next = Place { seq: seq.max(tail.next.seq), stamp, bytes };
                break;
            }
        }
    }
    Ok(tail)
}

/// Records up to the first that is none.
fn whole(bytes: &[u8]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for bytes in bytes.as_chunks::<RECORD>().0 {
        let Some(record) = Record::decode(bytes) else { break };
        if records.last().is_some_and(|last| last.end().0 > record.first || last.end().1 > record.seq) {
            break;
        }
        records.push(record);
    }
    records
}

fn read_state(bytes: &[u8]) -> Option<Tail> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (said, check) = text.rsplit_once("check ")?;
    if hex(&Scheme::Sha256.digest(said.as_bytes())[..8]) != check.trim_end() {
        return None;
    }
    let mut lines = said.lines();
    if lines.next()? != "framegate order 1" {
        return None;
    }
    let id = lines.next()?.strip_prefix("id ")?.to_string();
    let floor = lines.next()?.strip_prefix("floor ")?.parse().ok()?;
    let (seq, bytes) = lines.next()?.strip_prefix("next ")?.split_once(' ')?;
    let next = Place { seq: seq.parse().ok()?, stamp: Stamp(0), bytes: bytes.parse().ok()? };
    Some(Tail { next, floor, id, is_written: true })
}

/// Gives sequences to all frames of these finished segments that have none yet. How many there were.
pub fn complete<F: Files>(
    files: &mut F,
    tail: &mut Tail,
    mut segments: Vec<(Stamp, PathBuf)>,
) -> Result<u64, Trouble> {
    segments.sort_unstable();
    let begin = tail.next;
    let mut order: Order<F::File> = Order::new(tail);
    let failed = |why| Trouble::new("write", Path::new(FOLDER), why);
    let mut unopened = segments.into_iter().peekable();
    let mut open: Slab<(std::vec::IntoIter<Entry>, u64)> = Slab::new();
    let mut next: BinaryHeap<Reverse<(Stamp, u32, u64, usize)>> = BinaryHeap::new();
    loop {
        let first = next.peek().map(|Reverse((stamp, ..))| *stamp);
        if let Some((base, folder)) = unopened.next_if(|(base, _)| first.is_none_or(|first| *base <= first)) {
            let entries = read_index(files, &file(&folder, base, Holds::Index))?;
            let id = open.insert((entries.into_iter(), 0));
            queue(&mut open, &mut next, id, begin.stamp);
            continue;
        }
        let Some(Reverse((stamp, frames, bytes, id))) = next.pop() else { break };
        order.assign(stamp, frames, bytes);
        if order.pending.len() >= ORDER_PENDING {
            order.flush(files).map_err(failed)?;
        }
        queue(&mut open, &mut next, id, begin.stamp);
    }
    // What follows goes to another file.
    order.flush(files).and_then(|()| order.sync(files)).map_err(failed)?;
    tail.next = order.next();
    Ok(tail.next.seq - begin.seq)
}

/// The next run of an index that has no sequence yet.
fn queue(
    open: &mut Slab<(std::vec::IntoIter<Entry>, u64)>,
    next: &mut BinaryHeap<Reverse<(Stamp, u32, u64, usize)>>,
    id: usize,
    from: Stamp,
) {
    let (entries, at) = &mut open[id];
    for entry in entries.by_ref() {
        let bytes = entry.end - std::mem::replace(at, entry.end);
        if entry.first >= from {
            next.push(Reverse((entry.first, entry.frames, bytes, id)));
            return;
        }
    }
    open.remove(id);
}

#[cfg(test)]
mod tests {
    use super::super::files::Disk;
    use super::*;

    fn runs(order: &mut Order<<Disk as Files>::File>, disk: &mut Disk, runs: &[(u64, u32)]) {
        for &(first, frames) in runs {
            order.assign(Stamp(first), frames, 100 * u64::from(frames));
            order.flush(disk).unwrap();
        }
    }

    #[test]
    fn sequences_are_dense_and_found_by_stamp_and_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path());
        let mut order = Order::new(&Tail { floor: 1, id: "x".into(), ..Tail::default() });
        // So many that they are in several files, which are small in tests.
        let all: Vec<(u64, u32)> = (0..20).map(|n| (1000 * n + 5, 1 + (n % 3) as u32)).collect();
        runs(&mut order, &mut disk, &all);
        assert!(list(&mut disk).unwrap().len() > 3);
        let (mut seq, mut sequences) = (1, Sequences::default());
        for &(first, frames) in &all {
            for n in 0..u64::from(frames) {
                let stamp = Stamp(first + n);
                assert_eq!(at_seq(&mut disk, seq).unwrap().unwrap().stamp, stamp);
                assert_eq!(at_stamp(&mut disk, stamp).unwrap().unwrap().seq, seq);
                assert_eq!(sequences.of(&mut disk, stamp).unwrap().unwrap().seq, seq);
                seq += 1;
            }
            let behind = Stamp(first + u64::from(frames));
            assert_eq!(at_stamp(&mut disk, behind).unwrap().map(|place| place.seq).unwrap_or(seq), seq);
            assert_eq!(sequences.of(&mut disk, behind).unwrap(), None);
        }
        assert_eq!(order.next().seq, seq);
        assert_eq!(at_seq(&mut disk, seq).unwrap(), None);
        let tail = read(&mut disk, Stamp(9)).unwrap();
        assert_eq!((tail.next.seq, tail.next.stamp), (seq, order.next().stamp));
        order.raise_floor(&mut disk, Stamp(10_000)).unwrap();
        order.forget(&mut disk, Stamp(10_000)).unwrap();
        let floor = order.floor();
        assert_eq!(at_seq(&mut disk, floor).unwrap().unwrap().seq, floor);
        let tail = read(&mut disk, Stamp(9)).unwrap();
        assert_eq!((tail.floor, tail.id.as_str()), (floor, "x"));
        assert!(at_seq(&mut disk, 1).unwrap().unwrap().seq > 1, "the first ones are not known any more");
    }

    #[test]
    fn a_record_that_is_cut_or_flipped_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path());
        let mut order = Order::new(&Tail::default());
        runs(&mut order, &mut disk, &[(5, 2), (100, 3)]);
        let path = folder.path().join(path_of(Stamp(5)));
        let whole = std::fs::read(&path).unwrap();
        for len in RECORD..2 * RECORD {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(read(&mut disk, Stamp(0)).unwrap().next.seq, 3);
            assert_eq!(std::fs::read(&path).unwrap().len(), RECORD);
        }
        for at in RECORD..2 * RECORD {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(&mut disk, Stamp(0)).unwrap().next.seq, 3, "{at}");
        }
    }

    #[test]
    fn what_was_stored_without_is_completed_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path());
        let mut segments = Vec::new();
        for (topic, base, entries) in [
            ("a", 5, &[(5, 100, 2), (20, 150, 1)][..]),
            ("a", 40, &[(40, 10, 1)]),
            ("b", 7, &[(7, 60, 3), (30, 80, 1)]),
        ] {
            std::fs::create_dir_all(folder.path().join(topic)).unwrap();
            let entries =
                entries.iter().map(|&(first, end, frames)| Entry { first: Stamp(first), end, frames });
            let bytes: Vec<u8> = entries.flat_map(|entry| entry.encode()).collect();
            std::fs::write(folder.path().join(file(Path::new(topic), Stamp(base), Holds::Index)), bytes)
                .unwrap();
            segments.push((Stamp(base), PathBuf::from(topic)));
        }
        let mut tail = Tail::default();
        assert_eq!(complete(&mut disk, &mut tail, segments.clone()).unwrap(), 8);
        let stamps: Vec<u64> = (1..=8).map(|seq| at_seq(&mut disk, seq).unwrap().unwrap().stamp.0).collect();
        assert_eq!(stamps, [5, 6, 7, 8, 9, 20, 30, 40]);
        let mut tail = read(&mut disk, Stamp(0)).unwrap();
        assert_eq!(complete(&mut disk, &mut tail, segments).unwrap(), 0, "each once");
    }
}
