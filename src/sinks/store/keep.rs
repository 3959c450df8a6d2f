//! Removing old segments, where that is asked for.
//!
//! Only segments with a final name are removed, the oldest first, whatever their topic. The folders are
//! looked through for the oldest some at a time, so that the memory it takes does not grow with
//! the store.

use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ages::Ages;
use super::files::Files;
use super::layout;
use super::names::{Holds, file};
use super::recover::end_of_index;
use super::stamp::Stamp;
use crate::core::limits::{STORE_CLOSE_TURN, STORE_OLDEST};
use crate::core::units::TimeOrSize;

/// What stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Frames that were stored at most so long ago, and those that share a segment with them.
    Time(Duration),
    /// The newest segments that together hold at most so many bytes of frames.
    Size(u64),
}

impl From<TimeOrSize> for Option<Keep> {
    fn from(keep: TimeOrSize) -> Option<Keep> {
        Some(match keep {
            TimeOrSize::Time(time) => Keep::Time(time),
            TimeOrSize::Size(bytes) => Keep::Size(bytes as u64),
        })
    }
}

/// How much longer for the durable name that is furthest behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold(pub Keep);

impl From<TimeOrSize> for Option<Hold> {
    fn from(hold: TimeOrSize) -> Option<Hold> {
        Option::<Keep>::from(hold).map(Hold)
    }
}

/// Removes what is not to be kept.
#[derive(Debug)]
pub struct Keeper {
    keep: Option<Keep>,
    /// How much longer for the durable name that is furthest behind.
    hold: Option<Hold>,
    /// From this stamp on, frames are not done for it.
    held_from: Stamp,
    /// The oldest segments of the last look.
    oldest: VecDeque<Old>,
    /// Bytes of frames in all segments, and how many segments were added since that was counted.
    bytes: Option<u64>,
    added: usize,
    /// No look before then.
    next: Stamp,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    base: Stamp,
    folder: PathBuf,
}

/// 1 minute until the next try, where the system would not have it.
const RETRY: Duration = Duration::from_secs(60);

impl Keeper {
    /// Keeps what is to be kept; everything, if nothing is said.
    pub fn new(keep: Option<Keep>, hold: Option<Hold>) -> Keeper {
        let (held_from, next) = (Stamp(u64::MAX), Stamp(0));
        Keeper { keep, hold, held_from, oldest: VecDeque::new(), bytes: None, added: 0, next }
    }

    /// From this stamp on, frames are not done for the durable name that is furthest behind.
    pub fn hold_from(&mut self, stamp: Stamp) {
        self.held_from = stamp;
    }

    /// The oldest segment that is known to be kept.
    pub fn oldest(&self) -> Option<Stamp> {
        self.oldest.front().map(|old| old.base)
    }

    /// A segment of so many bytes got its final name.
    pub fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.map(|all| all + bytes);
        self.added += 1;
    }

    /// Removes what is not to be kept, some at a time. How many segments. `before` is told first up to which stamp there
    /// may be something among it.
    pub fn remove_old<F: Files>(
        &mut self,
        files: &mut F,
        now: Stamp,
        ages: &Ages,
        mut before: impl FnMut(&mut F, Stamp) -> io::Result<()>,
    ) -> u64 {
        // No look is put off for longer, so a clock that was ahead when that was decided does not put it off for years.
        let is_put_off = now < self.next && self.next <= later(now, RETRY);
        if self.keep.is_none() || is_put_off {
            return 0;
        }
        let mut removed = 0;
        let mut remove = || -> io::Result<()> {
            let mut all = Vec::new();
            let mut end = Stamp(0);
            // What was just taken out would be found once more.
            while all.len() < STORE_CLOSE_TURN && (all.is_empty() || !self.oldest.is_empty()) {
                let Some(old) = self.next_old(files, now, ages)? else { break };
                let index = file(&old.folder, old.base, Holds::Index);
                let last = end_of_index(files, &index).map_err(|trouble| trouble.why)?;
                end = end.max(Stamp(last)).max(Stamp(old.base.0 + 1));
                // By size, each of them counts for those behind it.
                let bytes = size_of(files, &file(&old.folder, old.base, Holds::Frames))?;
                self.bytes = self.bytes.map(|all| all.saturating_sub(bytes));
                all.push((old, bytes));
            }
            if !all.is_empty() {
                before(files, end)?;
            }
            for (old, bytes) in all {
                self.bytes = self.bytes.map(|all| all + bytes);
                removed += u64::from(self.remove(files, &old)?);
            }
            Ok(())
        };
        if let Err(why) = remove() {
            log::warn!("the store cannot remove what is not to be kept: {why}; it tries again in a minute");
            self.oldest.clear();
            self.bytes = None;
            self.next = later(now, RETRY);
        }
        removed
    }

    /// The oldest segment, if it is not to be kept.
    fn next_old<F: Files>(&mut self, files: &mut F, now: Stamp, ages: &Ages) -> io::Result<Option<Old>> {
        if let Some(Keep::Size(max)) = self.keep {
            if self.bytes.is_some_and(|bytes| bytes <= max) {
                return Ok(None);
            }
            // Segments may have been taken away: what is removed for their size is counted anew.
            if self.added > STORE_CLOSE_TURN {
                self.oldest.clear();
            }
        }
        if self.oldest.is_empty() {
            self.look(files)?;
        }
        let Some(old) = self.oldest.front() else {
            if let Some(Keep::Time(time)) = self.keep {
                // What is stored from now on.
                self.next = later(now, time.min(RETRY));
            }
            return Ok(None);
        };
        let is_over = match self.keep {
            Some(Keep::Time(time)) => {
                let frames = file(&old.folder, old.base, Holds::Frames);
                let mut until = later(ages.latest(old.base), time);
                if until <= now || ages.is_ahead(old.base) {
                    // Its last frame is what counts.
                    let index = file(&old.folder, old.base, Holds::Index);
                    let end = end_of_index(files, &index).map_err(|trouble| trouble.why)?;
                    let last = old.base.max(Stamp(end));
                    let stored = match ages.stored(last, || files.modified(&frames)) {
                        // It was taken away; so it is found when it is to be removed.
                        Err(why) if why.kind() == ErrorKind::NotFound => old.base,
                        stored => stored?,
                    };
                    until = later(stored, time);
                }
                self.next = until.min(later(now, RETRY));
                until <= now
            }
            Some(Keep::Size(max)) => self.bytes.is_none_or(|bytes| bytes > max),
            None => false,
        };
        if is_over && self.is_held(files, now, ages)? {
            return Ok(None);
        }
        Ok(if is_over { self.oldest.pop_front() } else { None })
    }

    /// Whether the oldest segment stays for the durable name that is furthest behind.
    fn is_held<F: Files>(&self, files: &mut F, now: Stamp, ages: &Ages) -> io::Result<bool> {
        let (Some(Hold(hold)), Some(old)) = (self.hold, self.oldest.front()) else { return Ok(false) };
        let index = file(&old.folder, old.base, Holds::Index);
        let end = end_of_index(files, &index).map_err(|trouble| trouble.why)?;
        if end <= self.held_from.0 {
            return Ok(false);
        }
        Ok(match hold {
            Keep::Size(more) => {
                let kept = if let Some(Keep::Size(max)) = self.keep { max } else { 0 };
                self.bytes.is_some_and(|bytes| bytes <= kept.saturating_add(more))
            }
            Keep::Time(more) => {
                let kept = if let Some(Keep::Time(time)) = self.keep { time } else { Duration::ZERO };
                let frames = file(&old.folder, old.base, Holds::Frames);
                let stored = match ages.stored(Stamp(end), || files.modified(&frames)) {
                    Err(why) if why.kind() == ErrorKind::NotFound => old.base,
                    stored => stored?,
                };
                later(stored, kept.saturating_add(more)) > now
            }
        })
    }

    /// Whether it was there to be removed.
    fn remove<F: Files>(&mut self, files: &mut F, old: &Old) -> io::Result<bool> {
        let path = file(&old.folder, old.base, Holds::Frames);
        let bytes = match files.size(&path) {
            Err(why) if why.kind() == ErrorKind::NotFound => {
                self.oldest.clear();
                self.bytes = None;
                return Ok(false);
            }
            bytes => bytes?,
        };
        files.remove(&path)?;
        match files.remove(&file(&old.folder, old.base, Holds::Index)) {
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            result => result?,
        }
        self.bytes = self.bytes.map(|all| all.saturating_sub(bytes));
        log::debug!("removed {}, which was not to be kept", path.display());
        Ok(true)
    }

    /// Looks for the oldest segments, and counts all.
    fn look<F: Files>(&mut self, files: &mut F) -> io::Result<()> {
        let mut oldest = BinaryHeap::new();
        let mut bytes = 0;
        for folder in layout::folders(files)? {
            for (base, holds) in layout::contents(files, &folder.path)? {
                if holds != Holds::Frames {
                    continue;
                }
                if matches!(self.keep, Some(Keep::Size(_))) || matches!(self.hold, Some(Hold(Keep::Size(_))))
                {
                    bytes += size_of(files, &file(&folder.path, base, holds))?;
                }
                oldest.push(Old { base, folder: folder.path.clone() });
                if oldest.len() > STORE_OLDEST {
                    oldest.pop();
                }
            }
        }
        self.oldest = oldest.into_sorted_vec().into();
        (self.bytes, self.added) = (Some(bytes), 0);
        Ok(())
    }
}

fn size_of<F: Files>(files: &mut F, path: &Path) -> io::Result<u64> {
    match files.size(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(0),
        size => size,
    }
}

/// So much later, or at the end of what a stamp can say.
pub(super) fn later(stamp: Stamp, time: Duration) -> Stamp {
    Stamp(stamp.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::store::Disk;
    use crate::sinks::store::index::Entry;
    use std::fs;

    /// 10 segments of 100 bytes, one a second from second 0 on, in three folders; each ends half a second
    /// after it began.
    fn segments() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for second in 0..10 {
            let folder = root.path().join(["a", "b", "c%2F"][second as usize % 3]);
            fs::create_dir_all(&folder).unwrap();
            let base = at(second * 1000);
            fs::write(file(&folder, base, Holds::Frames), [0; 100]).unwrap();
            let entry = Entry { first: at(second * 1000 + 500), end: 100, frames: 1 };
            fs::write(file(&folder, base, Holds::Index), entry.encode()).unwrap();
        }
        fs::write(file(&root.path().join("a"), at(0), Holds::Cut), "kept").unwrap();
        fs::write(file(&root.path().join("b"), at(0), Holds::OpenFrames), "kept").unwrap();
        fs::write(root.path().join("a/notes"), "nobody's").unwrap();
        root
    }

    fn at(ms: u64) -> Stamp {
        Stamp(1_000_000 * ms)
    }

    /// The seconds whose segments are left.
    fn left(root: &Path) -> Vec<u64> {
        let mut left = Vec::new();
        for folder in layout::folders(&mut Disk::new(root)).unwrap() {
            for (base, holds) in layout::contents(&mut Disk::new(root), &folder.path).unwrap() {
                if holds == Holds::Frames {
                    left.push(base.0 / 1_000_000_000);
                }
            }
        }
        left.sort_unstable();
        left
    }

    fn remove_all(keeper: &mut Keeper, root: &Path, now: Stamp) -> u64 {
        let mut disk = Disk::new(root);
        let ages = Ages::read(&mut disk).unwrap();
        std::iter::from_fn(|| {
            Some(keeper.remove_old(&mut disk, now, &ages, |_, _| Ok(()))).filter(|&n| n > 0)
        })
        .sum()
    }

    #[test]
    fn nothing_is_removed_unless_it_is_asked_for() {
        let root = segments();
        let (mut disk, ages) = (Disk::new(root.path()), Ages::default());
        assert_eq!(Keeper::new(None, None).remove_old(&mut disk, Stamp(u64::MAX), &ages, |_, _| Ok(())), 0);
        assert_eq!(left(root.path()).len(), 10);
    }

    #[test]
    fn by_time_what_is_older_goes_once_its_last_frame_is() {
        let root = segments();
        let mut keeper = Keeper::new(Some(Keep::Time(Duration::from_secs(5))), None);
        assert_eq!(remove_all(&mut keeper, root.path(), at(5_400)), 0);
        assert_eq!(remove_all(&mut keeper, root.path(), at(8_600)), 4);
        assert_eq!(left(root.path()), [4, 5, 6, 7, 8, 9]);
        assert_eq!(remove_all(&mut keeper, root.path(), at(100_000)), 6);
        let kept = ["a/19700101T000000.000000000Z.cut", "b/19700101T000000.000000000Z.open", "a/notes"];
        assert!(kept.iter().all(|path| root.path().join(path).exists()));
        assert_eq!(fs::read_dir(root.path().join("c%2F")).unwrap().count(), 0, "the indexes went too");
    }

    #[test]
    fn by_time_what_was_stored_when_stamps_ran_ahead_goes_by_its_file() {
        let root = segments();
        let mut disk = Disk::new(root.path());
        let mut keeper = Keeper::new(Some(Keep::Time(Duration::from_secs(5))), None);
        // The clock said 3 s to 10 s when it was 1 s; from then on the files say when it was.
        Ages::default().add(&mut disk, at(7_000), at(1_000)).unwrap();
        for (second, modified) in [(7, 2_000), (8, 4_000), (9, 6_000)] {
            let folder = Path::new(["a", "b", "c%2F"][second as usize % 3]);
            let mut frames = disk.open(&file(folder, at(second * 1000), Holds::Frames)).unwrap();
            disk.set_modified(&mut frames, at(modified)).unwrap();
        }
        assert_eq!(remove_all(&mut keeper, root.path(), at(5_400)), 0);
        assert_eq!(remove_all(&mut keeper, root.path(), at(6_900)), 7, "all that was stored before 1 s");
        assert_eq!(remove_all(&mut keeper, root.path(), at(9_500)), 2);
        assert_eq!(left(root.path()), [9]);
        assert_eq!(remove_all(&mut keeper, root.path(), at(11_001)), 1);
    }

    #[test]
    fn a_look_that_was_put_off_by_a_clock_that_was_ahead_is_not_waited_for() {
        let root = segments();
        let mut keeper = Keeper::new(Some(Keep::Time(Duration::from_secs(1_000_000))), None);
        assert_eq!(remove_all(&mut keeper, root.path(), at(900_000_000)), 0);
        keeper.keep = Some(Keep::Time(Duration::from_secs(5)));
        assert_eq!(remove_all(&mut keeper, root.path(), at(100_000)), 10);
    }

    #[test]
    fn by_size_the_oldest_go() {
        let root = segments();
        let mut keeper = Keeper::new(Some(Keep::Size(350)), None);
        assert_eq!(remove_all(&mut keeper, root.path(), at(0)), 7);
        assert_eq!(left(root.path()), [7, 8, 9]);
        // A new one makes it too many.
        fs::write(file(&root.path().join("a"), at(10_000), Holds::Frames), [0; 100]).unwrap();
        keeper.add(100);
        assert_eq!(remove_all(&mut keeper, root.path(), at(0)), 1);
        assert_eq!(left(root.path()), [8, 9, 10]);
    }

    #[test]
    fn what_somebody_took_away_does_not_count() {
        let root = segments();
        let mut keeper = Keeper::new(Some(Keep::Size(950)), None);
        assert_eq!(remove_all(&mut keeper, root.path(), at(0)), 1);
        for second in 1..6 {
            let folder = root.path().join(["a", "b", "c%2F"][second as usize % 3]);
            fs::remove_file(file(&folder, at(second * 1000), Holds::Frames)).unwrap();
        }
        fs::write(file(&root.path().join("a"), at(10_000), Holds::Frames), [0; 100]).unwrap();
        keeper.add(100);
        assert_eq!(remove_all(&mut keeper, root.path(), at(0)), 0);
        assert_eq!(left(root.path()), [6, 7, 8, 9, 10]);
    }
}
