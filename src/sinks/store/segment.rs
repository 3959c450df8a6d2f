//! One segment of one topic, from its first frame to its final name.
//!
//! ```text
//! begin ─► (write ─► sync ─► index)… ─► finish
//!   └───────────┴─► broken ─► mend ─► finish, or nothing is left of it
//! ```
//!
//! A segment in which anything failed takes no more frames. After a failed sync nobody knows what is on
//! the disk, and the next one may say that all is well; so what was not stored is cut off again, and
//! goes to a new segment. Files that were taken away are noticed before anything in them is confirmed.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::files::{Files, append_all, is_missing, read_exact, remove};
use super::index::{ENTRY, Entry};
use super::names::{self, Holds};
use super::stamp::Stamp;
use super::visible::StoredRun;
use crate::core::units::of_file;

/// A segment that is not finished.
///
/// `stored ≤ written` in bytes; the index holds `indexed` whole entries, which cover `stored` and `frames`.
pub struct Segment<T> {
    folder: Arc<Path>,
    base: Stamp,
    begun: Instant,
    /// Open, or closed to have fewer files open.
    files: Option<Pair<T>>,
    written: u64,
    stored: u64,
    frames: u64,
    indexed: u64,
    broken: bool,
    /// Not all that was made for it, folders and files, is known to be on the disk.
    folders_unsynced: bool,
    /// All of the index is on the disk.
    index_synced: bool,
    /// A sync of the index failed, and what it holds, once that was read.
    index_broken: bool,
    index_copy: Option<Vec<u8>>,
    renamed: bool,
}

/// The files of a segment.
pub struct Pair<T> {
    /// The frames.
    pub frames: T,
    /// Where they stand.
    pub index: T,
}

/// Why something could not be stored.
#[derive(Debug)]
pub struct Trouble {
    /// What was tried.
    pub what: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub why: io::Error,
}

impl Trouble {
    /// What was tried, on which file or folder, and what the system said.
    pub fn new(what: &'static str, path: &Path, why: io::Error) -> Trouble {
        Trouble { what, path: path.into(), why }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.what, self.path.display(), of_file(&self.why))
    }
}

impl<T> Segment<T> {
    /// A segment that begins with the frame of this stamp. It is broken until it [is made](Self::make).
    pub fn new(folder: Arc<Path>, base: Stamp, now: Instant) -> Segment<T> {
        let (written, stored, frames, indexed) = (0, 0, 0, 0);
        Segment {
            folder,
            base,
            begun: now,
            files: None,
            written,
            stored,
            frames,
            indexed,
            broken: true,
            folders_unsynced: false,
            index_synced: false,
            index_broken: false,
            index_copy: None,
            renamed: false,
        }
    }

    /// Its topic's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// When it began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Bytes written.
    pub fn len(&self) -> u64 {
        self.written
    }

    /// Where runs of its frames lie that were just stored, from `from` on.
    pub fn runs<'a>(
        &'a self,
        topic: &'a Arc<[u8]>,
        mut from: u64,
        entries: &'a [Entry],
        seqs: &'a [u64],
    ) -> impl Iterator<Item = StoredRun> + 'a {
        entries.iter().zip(seqs).map(move |(entry, &seq)| {
            let at = std::mem::replace(&mut from, entry.end);
            StoredRun {
                topic: topic.clone(),
                folder: self.folder.clone(),
                base: self.base,
                from: at,
                to: entry.end,
                stamp: entry.first,
                seq,
                frames: entry.frames,
            }
        })
    }

    /// Frames stored, and their bytes.
    pub fn stored(&self) -> (u64, u64) {
        (self.frames, self.stored)
    }

    /// Whether it has its final name, though perhaps not on the disk yet.
    pub fn is_renamed(&self) -> bool {
        self.renamed
    }

    /// Something failed in it, or beside it.
    pub fn give_up(&mut self) {
        self.broken = true;
    }

    /// Closes its files; they are opened again when they are needed.
    pub fn close_files(&mut self) {
        self.files = None;
    }

    /// Its files, to be synced with those of others: they are [given back](Self::give_back).
    pub fn lend<F: Files<File = T>>(&mut self, files: &mut F) -> Result<Pair<T>, Trouble> {
        self.open(files)?;
        Ok(self.files.take().expect("they are open"))
    }

    /// Its files are given back.
    pub fn give_back(&mut self, pair: Pair<T>) {
        self.files = Some(pair);
    }

    /// The folders, below the store's own, that are to be synced before anything in it is stored.
    pub fn unsynced_folders(&self) -> impl Iterator<Item = &Path> {
        let is_unsynced = self.folders_unsynced;
        self.folder.ancestors().filter(move |path| is_unsynced && *path != Path::new(""))
    }

    /// They are synced, and the store's own folder is.
    pub fn folders_synced(&mut self) {
        self.folders_unsynced = false;
    }

    /// Makes its files, and its topic's folder; whether that was not there. Nothing in it is stored before its
    /// [folders](Self::unsynced_folders) and the store's own are synced, once for all segments of a round.
    pub fn make<F: Files<File = T>>(&mut self, files: &mut F) -> Result<bool, Trouble> {
        let folder = self.folder.clone();
        let mut above = PathBuf::new();
        let mut is_new = false;
        for name in folder.iter() {
            let path = above.join(name);
            is_new = files.make_folder(&path).map_err(|why| Trouble::new("make the folder", &path, why))?;
            above = path;
        }
        let path = self.path(Holds::OpenFrames);
        let frames = files.create(&path).map_err(|why| Trouble::new("make", &path, why))?;
        let path = self.path(Holds::Index);
        let index = files.create(&path).map_err(|why| Trouble::new("make", &path, why))?;
        self.files = Some(Pair { frames, index });
        // Even of folders that were there: an earlier attempt may have ended between the two.
        self.folders_unsynced = true;
        self.broken = false;
        Ok(is_new)
    }

    /// Writes frames at its end.
    pub fn write<F: Files<File = T>>(
        &mut self,
        files: &mut F,
        slices: &mut [IoSlice<'_>],
    ) -> Result<(), Trouble> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let pair = self.open(files)?;
        append_all(files, &mut pair.frames, slices).map_err(|why| self.failed("write", why))?;
        self.written += bytes as u64;
        Ok(())
    }

    /// What is said of it where its frames could not be synced.
    pub fn sync_failed(&self, why: io::Error) -> Trouble {
        self.failed("sync", why)
    }

    /// Whether its files are still where they were made; what lies elsewhere is not stored.
    pub fn is_there<F: Files<File = T>>(&mut self, files: &mut F) -> Result<bool, Trouble> {
        let (frames, index) = (self.path(Holds::OpenFrames), self.path(Holds::Index));
        let pair = self.open(files)?;
        let both = files
            .is_at(&mut pair.frames, &frames)
            .and_then(|is| Ok(is && files.is_at(&mut pair.index, &index)?));
        both.map_err(|why| self.failed("look for", why))
    }

    /// Whether its frames are gone: they were removed, or moved away.
    pub fn is_gone<F: Files<File = T>>(&mut self, files: &mut F) -> Result<bool, Trouble> {
        let path = self.path(Holds::OpenFrames);
        let Some(pair) = &mut self.files else {
            return match files.size(&path) {
                Err(why) if is_missing(&why) => Ok(true),
                size => size.map(|_| false).map_err(|why| self.failed("look for", why)),
            };
        };
        let is_there = files.is_at(&mut pair.frames, &path);
        is_there.map(|is| !is).map_err(|why| self.failed("look for", why))
    }

    /// Its file was moved away: what was written to it and is not stored is cut off there, since it is stored elsewhere
    /// and must not stand twice where the file is brought back. It is done while the file is open; later nobody finds it.
    pub fn cut_off<F: Files<File = T>>(&mut self, files: &mut F) -> io::Result<()> {
        let (written, stored) = (self.written, self.stored);
        let Some(pair) = self.files.as_mut().filter(|_| self.broken || written > stored) else {
            return Ok(());
        };
        files.truncate(&mut pair.frames, stored)?;
        files.sync(&mut pair.frames)?;
        self.written = stored;
        Ok(())
    }

    /// Takes away what is left of a segment whose frames are gone.
    pub fn clear<F: Files<File = T>>(&mut self, files: &mut F) {
        self.files = None;
        // Without its frames, the next start removes it as well.
        let _ = files.remove(&self.path(Holds::Index));
    }

    /// Says of all that was written where it stands: it is stored.
    pub fn index<F: Files<File = T>>(&mut self, files: &mut F, entries: &[Entry]) -> Result<(), Trouble> {
        let bytes: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
        let pair = self.open(files)?;
        append_all(files, &mut pair.index, &mut [IoSlice::new(&bytes)])
            .map_err(|why| self.failed("write", why))?;
        self.indexed += entries.len() as u64;
        self.index_synced = false;
        self.frames += entries.iter().map(|entry| u64::from(entry.frames)).sum::<u64>();
        self.stored = self.written;
        Ok(())
    }

    /// Makes a broken segment one that can be finished, or takes away what is left of it where it holds
    /// nothing. Whether it can be finished. It may be tried again after any failure.
    pub fn mend<F: Files<File = T>>(&mut self, files: &mut F) -> Result<bool, Trouble> {
        if self.stored == 0 {
            // Where it lies somewhere else by now, it is empty when it comes back.
            if let Err(why) = self.cut_off(files) {
                log::debug!("the store: cannot empty {}: {why}", self.path(Holds::OpenFrames).display());
            }
            self.files = None;
            for holds in [Holds::OpenFrames, Holds::Index] {
                let path = self.path(holds);
                remove(files, &path).map_err(|why| Trouble::new("remove", &path, why))?;
            }
            return match files.sync_folder(&self.folder) {
                // There was not even room for the folder.
                Err(why) if is_missing(&why) => Ok(false),
                result => result.map(|()| false).map_err(|why| folder_not_synced(&self.folder, why)),
            };
        }
        if self.broken {
            let (stored, indexed) = (self.stored, self.indexed * ENTRY as u64);
            // Its index may be what is missing.
            self.files = None;
            let path = self.path(Holds::OpenFrames);
            let mut frames = files.open(&path).map_err(|why| Trouble::new("open", &path, why))?;
            files
                .truncate(&mut frames, stored)
                .and_then(|()| files.sync(&mut frames))
                .map_err(|why| self.failed("cut off", why))?;
            let path = self.path(Holds::Index);
            match files.open(&path) {
                Err(why) if is_missing(&why) => {}
                index => index
                    .and_then(|mut index| files.truncate(&mut index, indexed))
                    .map_err(|why| Trouble::new("cut off", &path, why))?,
            }
            self.written = stored;
            self.broken = false;
        }
        Ok(true)
    }

    /// Its index is about to be synced with those of others, if that is any use; whether it is. Until it is
    /// [known](Self::index_is_synced) to be on the disk it counts as broken, since a sync that fails says so only once.
    pub fn begin_index_sync(&mut self) -> bool {
        let is_whole = !self.broken && !self.renamed && !self.index_broken && self.stored > 0;
        self.index_broken |= is_whole;
        is_whole
    }

    /// All of its index is on the disk.
    pub fn index_is_synced(&mut self) {
        (self.index_broken, self.index_synced) = (false, true);
    }

    /// Gives it its final name, which is on the disk once its folder is synced. It may be tried again after any failure.
    pub fn finish<F: Files<File = T>>(&mut self, files: &mut F) -> Result<(), Trouble> {
        if !self.renamed {
            self.sync_index(files).map_err(|why| Trouble::new("write", &self.path(Holds::Index), why))?;
            let (from, to) = (self.path(Holds::OpenFrames), self.path(Holds::Frames));
            files.rename(&from, &to).map_err(|why| Trouble::new("rename", &from, why))?;
            self.renamed = true;
        }
        Ok(())
    }

    /// Brings the index to the disk. One whose sync failed is written anew; one that was taken away is done
    /// without.
    fn sync_index<F: Files<File = T>>(&mut self, files: &mut F) -> io::Result<()> {
        let path = self.path(Holds::Index);
        if self.index_synced {
            self.files = None;
            return Ok(());
        }
        if self.index_broken {
            self.files = None;
            if self.index_copy.is_none() {
                let mut bytes = vec![0; self.indexed as usize * ENTRY];
                let mut index = match files.open(&path) {
                    Err(why) if is_missing(&why) => return Ok(()),
                    index => index?,
                };
                read_exact(files, &mut index, 0, &mut bytes)?;
                self.index_copy = Some(bytes);
            }
            remove(files, &path)?;
        }
        let mut index = match (self.files.take(), &self.index_copy) {
            (Some(Pair { index, .. }), _) => index,
            (None, None) => match files.open(&path) {
                Err(why) if is_missing(&why) => return Ok(()),
                index => index?,
            },
            (None, Some(bytes)) => {
                let mut index = files.create(&path)?;
                append_all(files, &mut index, &mut [IoSlice::new(bytes)])?;
                index
            }
        };
        self.index_broken = true;
        files.sync(&mut index)?;
        (self.index_broken, self.index_copy) = (false, None);
        Ok(())
    }

    /// Its files, opened if they are not.
    fn open<F: Files<File = T>>(&mut self, files: &mut F) -> Result<&mut Pair<T>, Trouble> {
        if self.files.is_none() {
            let path = self.path(Holds::OpenFrames);
            let frames = files.open(&path).map_err(|why| Trouble::new("open", &path, why))?;
            let path = self.path(Holds::Index);
            let index = files.open(&path).map_err(|why| Trouble::new("open", &path, why))?;
            self.files = Some(Pair { frames, index });
        }
        Ok(self.files.as_mut().expect("they are open"))
    }

    fn path(&self, holds: Holds) -> PathBuf {
        names::file(&self.folder, self.base, holds)
    }

    fn failed(&self, what: &'static str, why: io::Error) -> Trouble {
        Trouble::new(what, &self.path(Holds::OpenFrames), why)
    }
}

/// What is said where a folder could not be synced.
pub fn folder_not_synced(path: &Path, why: io::Error) -> Trouble {
    Trouble::new("sync the folder", path, why)
}
