//! The digests of what was stored lately, for the deduplication window of a gateway that starts again.
//!
//! They are read off the ends of the segments, the newest first, until the window is over or full, or it takes too long.
//! Only headers and digests are looked at: a damaged frame gives a digest that no frame has.

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
use crate::frame::{DIGEST, HEADER, Header};
use crate::limits::STORE_RECALL;

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
    /// Whether there are older ones within the window.
    pub is_cut: bool,
}

/// Finds what was stored lately. Every segment is finished.
pub fn recent<F: Files>(files: &mut F, ages: &Ages, now: Stamp, recall: Recall) -> io::Result<Recent> {
    let began = Instant::now();
    let window = u64::try_from(recall.window.as_nanos()).unwrap_or(u64::MAX);
    let mut segments = candidates(files, ages.since(Stamp(now.0.saturating_sub(window))))?;
    segments.sort_unstable_by(|a, b| b.cmp(a));
    let mut found: Vec<(Stamp, Stamp, [u8; DIGEST])> = Vec::new();
    let mut is_cut = false;
    for (base, folder) in segments {
        if found.len() >= recall.most || began.elapsed() >= STORE_RECALL {
            is_cut = true;
            break;
        }
        let one = one(files, ages, &folder, base, |stored| now.0.saturating_sub(stored.0) < window);
        match one {
            // Somebody may take segments away at any time.
            Err(why) if is_missing(&why) => {}
            one => found.extend(one?),
        }
    }
    found.sort_unstable();
    let surplus = found.len().saturating_sub(recall.most);
    let age = |stored: Stamp| Duration::from_nanos(now.0.saturating_sub(stored.0));
    let digests = found.drain(surplus..).map(|(stored, _, digest)| (age(stored), digest)).collect();
    Ok(Recent { digests, is_cut: is_cut || surplus > 0 })
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

/// The frames of a segment that were stored lately enough: when, under which stamp, and their digests.
fn one<F: Files>(
    files: &mut F,
    ages: &Ages,
    folder: &Path,
    base: Stamp,
    is_recent: impl Fn(Stamp) -> bool,
) -> io::Result<Vec<(Stamp, Stamp, [u8; DIGEST])>> {
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
    let (mut found, mut from) = (Vec::new(), 0);
    let mut block = Block { from: 0, bytes: Vec::new() };
    for Entry { first, end, .. } in entries {
        let end = end.min(len);
        let mut stamp = first;
        while from < end {
            let stored = ages.stored(stamp, || Ok(modified))?;
            let header = block.at(files, &mut frames, from, HEADER as u64, len)?;
            let header = header.and_then(|bytes| Header::decode(bytes.first_chunk()?).ok());
            let Some(to) = header.map(|header| from + header.frame_len() as u64) else { return Ok(found) };
            if is_recent(stored) {
                let digest = block.at(files, &mut frames, to - DIGEST as u64, DIGEST as u64, len)?;
                let Some(digest) = digest.and_then(|bytes| bytes.first_chunk()) else { return Ok(found) };
                found.push((stored, stamp, *digest));
            }
            (from, stamp) = (to, Stamp(stamp.0 + 1));
        }
        from = end;
    }
    Ok(found)
}

/// Some bytes of a file.
struct Block {
    from: u64,
    bytes: Vec<u8>,
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
            self.bytes.resize(BLOCK.max(count).min(len - at) as usize, 0);
            self.from = at;
            read_exact(files, file, at, &mut self.bytes)?;
        }
        let start = (at - self.from) as usize;
        Ok(Some(&self.bytes[start..start + count as usize]))
    }
}
