//! Finding places in the order: by sequence, by stamp, and of many stamps one after the other.

use std::io::{self, ErrorKind};

use super::{Place, RECORD, Record, list, path_of, whole};
use crate::sinks::store::files::{Files, read_exact};
use crate::sinks::store::stamp::Stamp;

/// Records on the disk, found by sequence or by stamp.
struct Found<T> {
    file: T,
    records: u64,
}

impl<T> Found<T> {
    fn open<F: Files<File = T>>(files: &mut F, first: Stamp) -> io::Result<Found<T>> {
        let mut file = files.open(&path_of(first))?;
        let records = files.len(&mut file)? / RECORD as u64;
        Ok(Found { file, records })
    }

    fn record<F: Files<File = T>>(&mut self, files: &mut F, at: u64) -> io::Result<Option<Record>> {
        let mut bytes = [0; RECORD];
        match read_exact(files, &mut self.file, at * RECORD as u64, &mut bytes) {
            Err(why) if why.kind() == ErrorKind::UnexpectedEof => Ok(None),
            result => result.map(|()| Record::decode(&bytes)),
        }
    }

    /// How many records are before the first that is not.
    fn partition<F: Files<File = T>>(
        &mut self,
        files: &mut F,
        is_before: impl Fn(&Record) -> bool,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.records);
        while low < high {
            let middle = low.midpoint(high);
            match self.record(files, middle)? {
                Some(record) if is_before(&record) => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// The first record that does not end before a place, told by `is_before`, and behind which file that is.
fn find<F: Files>(files: &mut F, is_before: impl Fn(&Record) -> bool) -> io::Result<Option<Record>> {
    let names = list(files)?;
    // Files that begin with a record that is before it; the last of those may hold it.
    let (mut low, mut high) = (0, names.len());
    while low < high {
        let middle = low.midpoint(high);
        let first = Found::open(files, names[middle])?.record(files, 0)?;
        match first {
            Some(record) if is_before(&record) => low = middle + 1,
            _ => high = middle,
        }
    }
    for &name in &names[low.saturating_sub(1)..] {
        let mut found = Found::open(files, name)?;
        let at = found.partition(files, &is_before)?;
        if let Some(record) = found.record(files, at)? {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// The place of the first frame whose sequence is not below `seq`; none where none is known to be.
pub fn at_seq<F: Files>(files: &mut F, seq: u64) -> io::Result<Option<Place>> {
    let record = find(files, |record| record.end().1 <= seq)?;
    Ok(record.map(|record| {
        let into = seq.saturating_sub(record.seq);
        Place { seq: record.seq + into, stamp: Stamp(record.first.0 + into), bytes: record.bytes }
    }))
}

/// The place of the first frame whose stamp is not below `stamp`; none where none is known to be.
pub fn at_stamp<F: Files>(files: &mut F, stamp: Stamp) -> io::Result<Option<Place>> {
    let record = find(files, |record| record.end().0 <= stamp)?;
    Ok(record.map(|record| {
        let into = stamp.0.saturating_sub(record.first.0);
        Place { seq: record.seq + into, stamp: Stamp(record.first.0 + into), bytes: record.bytes }
    }))
}

/// Sequences of ascending stamps, read as they are asked for.
#[derive(Debug, Default)]
pub struct Sequences {
    /// Records that were read, and which of them is next.
    records: Vec<Record>,
    at: usize,
    /// Where to read on: the file, and how many of its records were read.
    file: Option<(Stamp, u64)>,
}

/// 128 records read at once, 4 KiB.
const READ: usize = 128;

impl Sequences {
    /// The sequence of the frame with this stamp, not below the one before; none if it has none.
    pub fn of<F: Files>(&mut self, files: &mut F, stamp: Stamp) -> io::Result<Option<Place>> {
        loop {
            while let Some(record) = self.records.get(self.at) {
                if record.first > stamp {
                    return Ok(None);
                }
                if stamp < record.end().0 {
                    let into = stamp.0 - record.first.0;
                    let Place { seq, bytes, .. } = record.place();
                    return Ok(Some(Place { seq: seq + into, stamp, bytes }));
                }
                self.at += 1;
            }
            if !self.read_on(files, stamp)? {
                return Ok(None);
            }
        }
    }

    /// Reads the next records. Whether there were some.
    fn read_on<F: Files>(&mut self, files: &mut F, stamp: Stamp) -> io::Result<bool> {
        let (mut name, mut at) = match self.file {
            Some(file) => file,
            None => {
                let names = list(files)?;
                let before = names.partition_point(|name| *name <= stamp);
                let Some(&name) = names.get(before.saturating_sub(1)) else { return Ok(false) };
                let mut found = Found::open(files, name)?;
                (name, found.partition(files, |record| record.end().0 <= stamp)?)
            }
        };
        loop {
            let mut file = files.open(&path_of(name))?;
            let records = files.len(&mut file)? / RECORD as u64;
            let more = (records.saturating_sub(at) as usize).min(READ);
            let mut bytes = vec![0; more * RECORD];
            read_exact(files, &mut file, at * RECORD as u64, &mut bytes)?;
            self.records = whole(&bytes);
            self.at = 0;
            at += self.records.len() as u64;
            self.file = Some((name, at));
            if !self.records.is_empty() {
                return Ok(true);
            }
            match list(files)?.into_iter().find(|other| *other > name) {
                Some(next) => (name, at) = (next, 0),
                None => return Ok(false),
            }
        }
    }
}
