//! What was read of segments lately, shared by all who are at the same place.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::limits::{DURABLE_CACHE, DURABLE_FILES, DURABLE_READ};
use crate::sinks::store::files::read_at;
use crate::sinks::store::names::{self, Holds};
use crate::sinks::store::stamp::Stamp;
use crate::wire::{HEADER, Header};

/// A segment: its folder, from the store's own, and what it is called by.
pub type SegmentName = (Arc<Path>, Stamp);

/// Whole frames of a segment.
#[derive(Debug)]
pub struct Extent {
    bytes: Box<[u8]>,
}

impl Extent {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where frames end that begin at `from`: at most so many, and so many bytes, but one at least. How many they are.
    pub fn frames(&self, from: usize, most: u64, bytes: usize) -> (usize, u32) {
        let (mut end, mut frames) = (from, 0);
        while u64::from(frames) < most
            && let Some(len) = frame_len(&self.bytes[end..])
            && (frames == 0 || end + len - from <= bytes)
        {
            end += len;
            frames += 1;
        }
        (end, frames)
    }
}

/// Bytes of the frame that these begin with, where all of it is there.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let header = Header::decode(bytes.first_chunk::<HEADER>()?).ok()?;
    Some(header.frame_len()).filter(|len| *len <= bytes.len())
}

/// Why there is nothing to be read.
#[derive(Debug)]
pub enum Unread {
    /// The segment is not there any more.
    Removed,
    /// What lies there is no frame.
    Damaged,
    /// What the system says.
    Failed(io::Error),
}

/// Extents of the last reads, and open files.
#[derive(Debug)]
pub struct Extents {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<(SegmentName, u64), Arc<Extent>>,
    /// The oldest first.
    order: VecDeque<(SegmentName, u64)>,
    bytes: usize,
    files: VecDeque<(SegmentName, Arc<File>)>,
}

impl Extents {
    /// Of the segments below `root`.
    pub fn new(root: &Path) -> Extents {
        Extents { root: root.into(), state: Mutex::default() }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Frames from one that begins at `from` on, none of them beyond `to`.
    pub fn get(&self, segment: &SegmentName, from: u64, to: u64) -> Result<Arc<Extent>, Unread> {
        let key = (segment.clone(), from);
        if let Some(extent) = self.state.lock().known.get(&key) {
            return Ok(extent.clone());
        }
        let file = self.file(segment)?;
        let extent = Arc::new(read(&file, from, to)?);
        let mut state = self.state.lock();
        let len = extent.bytes.len();
        if len <= DURABLE_CACHE / 8 && state.known.insert(key.clone(), extent.clone()).is_none() {
            state.bytes += len;
            state.order.push_back(key);
        }
        while state.bytes > DURABLE_CACHE
            && let Some(oldest) = state.order.pop_front()
        {
            let let_go = state.known.remove(&oldest);
            state.bytes -= let_go.map_or(0, |extent| extent.bytes.len());
        }
        Ok(extent)
    }

    /// A segment's frames, open.
    fn file(&self, segment: &SegmentName) -> Result<Arc<File>, Unread> {
        if let Some((_, file)) = self.state.lock().files.iter().find(|(name, _)| name == segment) {
            return Ok(file.clone());
        }
        let (folder, base) = segment;
        // It may get its final name between the two.
        for holds in [Holds::OpenFrames, Holds::Frames] {
            match File::open(self.root.join(names::file(folder, *base, holds))) {
                Err(why) if why.kind() == ErrorKind::NotFound => {}
                Err(why) => return Err(Unread::Failed(why)),
                Ok(file) => {
                    let file = Arc::new(file);
                    let mut state = self.state.lock();
                    if state.files.len() >= DURABLE_FILES {
                        state.files.pop_front();
                    }
                    state.files.push_back((segment.clone(), file.clone()));
                    return Ok(file);
                }
            }
        }
        Err(Unread::Removed)
    }
}

fn read(file: &File, from: u64, to: u64) -> Result<Extent, Unread> {
    let all = usize::try_from(to - from).unwrap_or(usize::MAX);
    let mut bytes = vec![0; all.min(DURABLE_READ)];
    fill(file, from, &mut bytes)?;
    if let Some(len) = longer(&bytes)? {
        if len > all {
            return Err(Unread::Damaged);
        }
        bytes = vec![0; len];
        fill(file, from, &mut bytes)?;
    }
    let mut whole = 0;
    while let Some(len) = frame_len(&bytes[whole..]) {
        whole += len;
    }
    if whole == 0 {
        return Err(Unread::Damaged);
    }
    bytes.truncate(whole);
    Ok(Extent { bytes: bytes.into() })
}

/// The length of the first frame, where it is longer than these bytes.
fn longer(bytes: &[u8]) -> Result<Option<usize>, Unread> {
    let head = bytes.first_chunk::<HEADER>().ok_or(Unread::Damaged)?;
    let header = Header::decode(head).map_err(|_| Unread::Damaged)?;
    Ok(Some(header.frame_len()).filter(|len| *len > bytes.len()))
}

fn fill(file: &File, from: u64, bytes: &mut [u8]) -> Result<(), Unread> {
    let mut filled = 0;
    while filled < bytes.len() {
        match read_at(file, from + filled as u64, &mut bytes[filled..]) {
            Ok(0) => return Err(Unread::Damaged),
            Ok(n) => filled += n,
            Err(why) => return Err(Unread::Failed(why)),
        }
    }
    Ok(())
}
