//! The digests of what was stored lately, for the deduplication window of a gateway that starts again.
//!
//! They are read off the segments that may hold any, the one that began last first, until the window is full or it takes
//! too long. In a segment, what its index says is too old is passed over. Only headers and digests are looked at:
//! whether a frame is intact is for `framegate verify` to say.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ages::Ages;
use super::files::{Files, is_missing, read_exact};
use super::index::Entry;
use super::layout::{self, Folder};
use super::names::{Holds, file};
use super::recover::read_index;
use super::stamp::Stamp;
use crate::core::limits::STORE_RECALL;
use crate::wire::{DIGEST, HEADER, Header};

/// 64 KiB a read: many small frames, or the end of one large one and the beginning of the next.
const BLOCK: u64 = 64 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recall {
    /// Digests of frames that were stored at most so long ago.
    pub window: Duration,
    /// At most so many, the newest.
    pub most: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Recent {
    /// Each frame's age and its digest, the oldest first.
    pub digests: Vec<(Duration, [u8; DIGEST])>,
    /// Why there may be more of them within the window.
    pub cut: Option<Short>,
}

/// What there was not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// As many were found as were asked for.
    Room,
    /// It took too long.
    Time,
}

/// Finds what was stored lately. Every segment is finished.
pub fn recent<F: Files>(files: &mut F, ages: &Ages, now: Stamp, recall: Recall) -> io::Result<Recent> {
    let began = Instant::now();
    recent_until(files, ages, now, recall, || began.elapsed() >= STORE_RECALL)
}

/// The same, as long as the time is not over.
fn recent_until<F: Files>(
    files: &mut F,
    ages: &Ages,
    now: Stamp,
    recall: Recall,
    is_over: impl FnMut() -> bool,
) -> io::Result<Recent> {
    let window = u64::try_from(recall.window.as_nanos()).unwrap_or(u64::MAX);
    let mut segments = candidates(files, ages.since(Stamp(now.0.saturating_sub(window))))?;
    segments.sort_unstable_by(|a, b| b.cmp(a));
    let mut search = Search { ages, now, window, is_over, newest: Newest::new(recall.most), is_late: false };
    let mut is_full = false;
    for (base, folder) in segments {
        is_full = search.newest.is_full();
        if is_full || search.is_late {
            break;
        }
        match search.look(files, &folder, base) {
            // Segments may be taken away at any time.
            Err(why) if is_missing(&why) => {}
            looked => looked?,
        }
    }
    let Search { newest, is_late, .. } = search;
    let cut = match is_late {
        true => Some(Short::Time),
        false => (is_full || newest.surplus).then_some(Short::Room),
    };
    let age = |stored: Stamp| Duration::from_nanos(now.0.saturating_sub(stored.0));
    let digests = newest.sorted().map(|(stored, _, digest)| (age(stored), digest)).collect();
    Ok(Recent { digests, cut })
}

/// A frame: when it was stored, under which stamp, and its digest.
type Found = (Stamp, Stamp, [u8; DIGEST]);

/// The newest frames: never more than `most`, however many come.
struct Newest {
    most: usize,
    /// The oldest is at its top.
    found: BinaryHeap<Reverse<Found>>,
    /// There were more.
    surplus: bool,
}

impl Newest {
    fn new(most: usize) -> Newest {
        Newest { most, found: BinaryHeap::new(), surplus: false }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.most
    }

    fn add(&mut self, found: Found) {
        if self.is_full() {
            self.surplus = true;
            if self.found.peek().is_none_or(|Reverse(oldest)| *oldest >= found) {
                return;
            }
            self.found.pop();
        }
        self.found.push(Reverse(found));
    }

    /// The oldest first.
    fn sorted(self) -> impl Iterator<Item = Found> {
        self.found.into_sorted_vec().into_iter().rev().map(|Reverse(found)| found)
    }
}

/// The segments in which there may be frames with a stamp from `since` on.
fn candidates<F: Files>(files: &mut F, since: Stamp) -> io::Result<Vec<(Stamp, PathBuf)>> {
    let mut found = Vec::new();
    for Folder { path, .. } in layout::folders(files)? {
        let contents = layout::contents(files, &path)?;
        let segments = contents.iter().rev().filter(|(_, holds)| *holds == Holds::Frames);
        for &(base, _) in segments {
            found.push((base, path.clone()));
            // What comes before it is over before it.
            if base <= since {
                break;
            }
        }
    }
    Ok(found)
}

/// Looks for frames that were stored lately, segment by segment.
struct Search<'a, O> {
    ages: &'a Ages,
    now: Stamp,
    window: u64,
    is_over: O,
    newest: Newest,
    /// The time was over before all was read.
    is_late: bool,
}

impl<O: FnMut() -> bool> Search<'_, O> {
    fn look<F: Files>(&mut self, files: &mut F, folder: &Path, base: Stamp) -> io::Result<()> {
        let path = file(folder, base, Holds::Frames);
        let index = file(folder, base, Holds::Index);
        let mut entries = read_index(files, &index).map_err(|trouble| trouble.why)?;
        let modified = files.modified(&path)?;
        let mut frames = files.open(&path)?;
        let len = files.len(&mut frames)?;
        let (end, next) = entries.last().map_or((0, base), |last| (last.end, Stamp(last.next())));
        if end < len {
            // What the index does not say comes last.
            entries.push(Entry { first: next, end: len, frames: u32::MAX });
        }
        let (ages, oldest) = (self.ages, self.now.0.saturating_sub(self.window));
        let stored = |stamp| ages.stored(stamp, || Ok(modified));
        let mut block = Block { from: 0, bytes: Vec::new(), reads: 0 };
        let (mut from, mut seen) = (0, u64::MAX);
        for entry in entries {
            let end = entry.end.min(len);
            let mut stamp = entry.first;
            if stored(Stamp(entry.next() - 1))?.0 <= oldest {
                from = end;
            }
            while from < end {
                // Once a read: a read may take long, what lies in memory does not.
                if block.reads != seen {
                    seen = block.reads;
                    if (self.is_over)() {
                        self.is_late = true;
                        return Ok(());
                    }
                }
                let header = block.at(files, &mut frames, from, HEADER as u64, len)?;
                let header = header.and_then(|bytes| Header::decode(bytes.first_chunk()?).ok());
                let Some(to) = header.map(|header| from + header.frame_len() as u64) else { return Ok(()) };
                let at = stored(stamp)?;
                if at.0 > oldest {
                    let digest = block.at(files, &mut frames, to - DIGEST as u64, DIGEST as u64, len)?;
                    let Some(digest) = digest.and_then(|bytes| bytes.first_chunk()) else { return Ok(()) };
                    self.newest.add((at, stamp, *digest));
                }
                (from, stamp) = (to, Stamp(stamp.0 + 1));
            }
            from = end;
        }
        Ok(())
    }
}

/// Some bytes of a file.
struct Block {
    from: u64,
    bytes: Vec<u8>,
    /// How often it was read.
    reads: u64,
}

impl Block {
    /// So many bytes from `at` on; none if the file ends before.
    fn at<F: Files>(
        &mut self,
        files: &mut F,
        file: &mut F::File,
        at: u64,
        count: u64,
        len: u64,
    ) -> io::Result<Option<&[u8]>> {
        if at + count > len {
            return Ok(None);
        }
        let is_held = at >= self.from && at + count <= self.from + self.bytes.len() as u64;
        if !is_held {
            self.reads += 1;
            self.bytes.resize(BLOCK.max(count).min(len - at) as usize, 0);
            self.from = at;
            read_exact(files, file, at, &mut self.bytes)?;
        }
        let start = (at - self.from) as usize;
        Ok(Some(&self.bytes[start..start + count as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Disk;
    use super::*;
    use crate::wire::{Kind, Scheme, encode};

    /// A second of the clock.
    const SECOND: u64 = 1_000_000_000;

    /// A segment of frames of 40,000 bytes, a second apart, and their digests.
    fn segment(store: &Path, folder: &str, seconds: std::ops::Range<u64>) -> Vec<[u8; DIGEST]> {
        let (mut bytes, mut index, mut digests) = (Vec::new(), Vec::new(), Vec::new());
        for second in seconds.clone() {
            let header = Header { id: second, ..Header::new(Kind::Data) };
            encode(header, folder.as_bytes(), &[7; 40_000], &Scheme::Sha256, &mut bytes);
            digests.push(*bytes.last_chunk().unwrap());
            let entry = Entry { first: Stamp(SECOND * second), end: bytes.len() as u64, frames: 1 };
            index.extend(entry.encode());
        }
        let base = Stamp(SECOND * seconds.start);
        std::fs::create_dir_all(store.join(folder)).unwrap();
        std::fs::write(store.join(file(Path::new(folder), base, Holds::Frames)), bytes).unwrap();
        std::fs::write(store.join(file(Path::new(folder), base, Holds::Index)), index).unwrap();
        digests
    }

    #[test]
    fn what_cuts_it_short_is_told_and_old_frames_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let all = segment(folder.path(), "a", 1000..1100);
        let newer = segment(folder.path(), "b", 2000..2003);
        let mut disk = Disk::new(folder.path());
        let mut find = |now, window, most, blocks: usize| {
            let recall = Recall { window: Duration::from_secs(window), most };
            let mut looks = 0;
            let is_over = || {
                looks += 1;
                looks > blocks
            };
            let Recent { digests, cut } =
                recent_until(&mut disk, &Ages::default(), Stamp(SECOND * now), recall, is_over).unwrap();
            assert!(digests.is_sorted_by(|(a, _), (b, _)| a >= b));
            (digests.into_iter().map(|(_, digest)| digest).collect::<Vec<_>>(), cut, looks)
        };
        let both = [&all[..], &newer].concat();
        let (found, cut, _) = find(2003, 9000, 1000, usize::MAX);
        assert!(found == both && cut.is_none());
        let (found, cut, _) = find(2003, 9000, 13, usize::MAX);
        assert!(found == both[90..] && cut == Some(Short::Room));
        // In the middle of a segment.
        let (found, cut, looks) = find(2003, 9000, 1000, 20);
        assert!(cut == Some(Short::Time) && looks == 21, "{looks} {cut:?}");
        assert!((3..50).contains(&found.len()), "{}", found.len());
        // Of 100 frames in the older segment 5 are recent enough: the others are not read.
        let (found, cut, looks) = find(2003, 909, 1000, usize::MAX);
        assert!(found == both[95..] && cut.is_none() && looks <= 8, "{looks} {cut:?} {}", found.len());
    }

    #[test]
    fn no_more_is_held_than_was_asked_for() {
        let mut newest = Newest::new(5);
        let found = |n| (Stamp(n), Stamp(n), [n as u8; DIGEST]);
        for n in (0..100).map(|n| n * 37 % 101) {
            newest.add(found(n));
            assert!(newest.found.len() <= 5);
        }
        let mut all: Vec<_> = (0..100).map(|n| n * 37 % 101).collect();
        all.sort_unstable();
        assert!(newest.surplus && newest.sorted().eq(all[95..].iter().map(|n| found(*n))));
        let mut none = Newest::new(0);
        none.add(found(1));
        assert!(none.sorted().next().is_none());
    }
}
