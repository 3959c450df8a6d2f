//! When frames were stored, where their stamps do not say it.
//!
//! Stamps never go back. After a clock that was ahead, or one that is set back, they run ahead of it: each is the one
//! before and one more, until the clock has caught up. Nothing is wrong with the order then; but a stamp is no time any
//! more. So each time that begins, a record of it is kept in the store: "all stamps before this one were given
//! before that time". What was stored from then on is as old as its file says.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::files::{self, Files};
use super::stamp::Stamp;

/// In the store's folder; no topic's folder is called like this.
pub const NAME: &str = ".clock";

/// 1,000 records, of which the oldest go: a clock that is set back so often is of no use anyway.
const RECORDS_MAX: usize = 1000;

/// Each time that stamps began to run ahead of the clock, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages(Vec<Ahead>);

/// All stamps below `first` were given before the time `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    first: Stamp,
    at: Stamp,
}

impl Ages {
    /// Reads what is kept in a store. What is no record is passed over.
    pub fn read<F: Files>(files: &mut F) -> io::Result<Ages> {
        let bytes = files::read_all(files, Path::new(NAME))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let record = |line: &str| {
            let (first, at) = line.split_once(' ')?;
            Some(Ahead { first: first.parse().ok()?, at: at.trim().parse().ok()? })
        };
        Ok(Ages(text.lines().filter_map(record).collect()))
    }

    /// Keeps one more: all stamps below `first` were given before the time `at`.
    pub fn add<F: Files>(&mut self, files: &mut F, first: Stamp, at: Stamp) -> io::Result<()> {
        // Those of which the new one says more are of no use any more.
        self.0.retain(|known| known.first < first && known.at < at);
        self.0.push(Ahead { first, at });
        let surplus = self.0.len().saturating_sub(RECORDS_MAX);
        self.0.drain(..surplus);
        self.write(files)
    }

    /// Writes it again, in a folder that was made anew.
    pub fn write<F: Files>(&self, files: &mut F) -> io::Result<()> {
        let mut text = String::new();
        for Ahead { first, at } in &self.0 {
            let _ = writeln!(text, "{first} {at}");
        }
        files::replace(files, Path::new(NAME), text.as_bytes())
    }

    /// The first stamp that may have been given later.
    pub fn end(&self) -> Stamp {
        self.0.iter().map(|ahead| ahead.first).max().unwrap_or_default()
    }

    /// A time that a stamp was not given after.
    pub fn latest(&self, stamp: Stamp) -> Stamp {
        let known = self.0.iter().filter(|ahead| stamp < ahead.first).map(|ahead| ahead.at);
        known.fold(stamp, Stamp::min)
    }

    /// Whether a stamp was perhaps given while stamps ran ahead of the clock: then the file says more.
    pub fn is_ahead(&self, stamp: Stamp) -> bool {
        self.earliest(stamp).is_some()
    }

    /// A time that a stamp was not given before, where stamps ran ahead of the clock.
    fn earliest(&self, stamp: Stamp) -> Option<Stamp> {
        self.0.iter().filter(|ahead| ahead.first <= stamp).map(|ahead| ahead.at).max()
    }

    /// A time that a frame with this stamp was not stored after, if its file was last written to at `modified`.
    pub fn stored(&self, stamp: Stamp, modified: impl FnOnce() -> io::Result<Stamp>) -> io::Result<Stamp> {
        let latest = self.latest(stamp);
        match self.earliest(stamp) {
            Some(earliest) => Ok(latest.min(modified()?).max(earliest)),
            None => Ok(latest),
        }
    }

    /// The first stamp that may have been given at `time` or later.
    pub fn since(&self, time: Stamp) -> Stamp {
        let known = self.0.iter().filter(|ahead| ahead.at <= time).map(|ahead| ahead.first);
        known.fold(time, Stamp::max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Disk;
    use super::*;

    #[test]
    fn a_time_is_found_where_stamps_ran_ahead() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path());
        let mut ages = Ages::read(&mut disk).unwrap();
        assert_eq!(ages, Ages::default());
        // The clock said 5,000 and was set to 100; later it said 7,000 and was set to 300.
        ages.add(&mut disk, Stamp(5_000), Stamp(100)).unwrap();
        ages.add(&mut disk, Stamp(7_000), Stamp(300)).unwrap();
        assert_eq!(Ages::read(&mut disk).unwrap(), ages);
        let stored = |stamp, modified| ages.stored(Stamp(stamp), || Ok(Stamp(modified))).unwrap().0;
        assert_eq!(stored(50, 9_999), 50, "before all that");
        assert_eq!(stored(4_000, 4_000), 100, "while the clock was ahead");
        assert_eq!(stored(5_010, 200), 200, "after it was set back, as its file says");
        assert_eq!(stored(5_010, 9_999), 300, "or its file was copied, then this much is known");
        assert_eq!(stored(7_010, 400), 400);
        assert_eq!(stored(7_010, 0), 300, "whatever somebody did to its file");
        assert_eq!(stored(9_000, 9_000), 9_000, "the clock has caught up");
        for (time, first) in [(50, 50), (99, 99), (100, 5_000), (299, 5_000), (300, 7_000), (8_000, 8_000)] {
            assert_eq!(ages.since(Stamp(time)), Stamp(first), "{time}");
        }
        assert!(!ages.is_ahead(Stamp(4_999)) && ages.is_ahead(Stamp(5_000)));
        assert_eq!(ages.end(), Stamp(7_000));
        // One that says more makes the others needless.
        ages.add(&mut disk, Stamp(8_000), Stamp(200)).unwrap();
        assert_eq!(ages.0.len(), 2);
    }
}
