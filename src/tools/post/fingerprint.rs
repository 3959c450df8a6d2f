//! What tells a file from what it was before, and from any other that has had its name.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Device, inode, size and times of a file: none of its content changes without one of them, but within one tick of
/// the file system's clock. So a file is not taken before it has had its fingerprint for longer than a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Device and inode.
    file: (u64, u64),
    len: u64,
    /// When its content changed.
    modified: Option<SystemTime>,
    /// When its content, its name or its mode changed; nobody can set that back.
    changed: (i64, i64),
}

impl Fingerprint {
    /// That of a file with this metadata.
    pub fn of(metadata: &Metadata) -> Fingerprint {
        #[cfg(unix)]
        let (file, changed) = {
            use std::os::unix::fs::MetadataExt;
            ((metadata.dev(), metadata.ino()), (metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (file, changed) = ((0, 0), (0, 0));
        Fingerprint { file, len: metadata.len(), modified: metadata.modified().ok(), changed }
    }

    /// That of what `path` leads to.
    ///
    /// # Errors
    /// Where it leads to nothing that can be seen.
    pub fn at(path: &Path) -> io::Result<Fingerprint> {
        fs::metadata(path).map(|metadata| Fingerprint::of(&metadata))
    }

    /// Whether it is that of what `path` leads to.
    pub fn is_at(&self, path: &Path) -> bool {
        Fingerprint::at(path).is_ok_and(|found| found == *self)
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// When the content changed.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// Whether both are of one file, whatever was done to it.
    pub fn is_same_file(&self, other: &Fingerprint) -> bool {
        self.file == other.file
    }

    /// Whether both are of one file with one content; renaming it and changing its mode leave that as it is.
    pub fn is_same_content(&self, other: &Fingerprint) -> bool {
        (self.file, self.len, self.modified) == (other.file, other.len, other.modified)
    }

    /// Whether it is of a file that may have been `before` and was added to.
    pub fn continues(&self, before: &Fingerprint) -> bool {
        self.is_same_file(before) && self.len >= before.len
    }
}
