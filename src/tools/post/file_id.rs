//! By what a file is known again, whatever it is called.
//!
//! The file system's number of a file and the time at which it was created stay when it is renamed, moved or appended
//! to, and no other file has both. What they do not show is that a file was emptied and written anew, as `cp` over it
//! and some log rotations do: then it is shorter than it was, or begins with something else. A copy that kept size,
//! time and beginning (a restored backup, a folder that was moved to another disk) is the same file, too.
//!
//! It is not [`Fingerprint`](super::Fingerprint), which holds for a moment: that changes with whatever is done to a file,
//! and this lasts from one run to the next.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::core::limits::POST_FILE_HEAD;
use crate::core::units::hex;

/// What a journal notes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    /// The file system's number; 0 where there are none.
    inode: u64,
    /// When it was created, in nanoseconds since 1970, where the file system says so.
    born: Option<u64>,
    /// How long it is; 0 for a folder.
    len: u64,
    /// When it was changed last; none for a folder.
    modified: Option<u64>,
    /// The SHA-256 of its first bytes, at most [`POST_FILE_HEAD`].
    head: String,
}

/// A file as it is now.
#[derive(Debug)]
pub struct SeenFile {
    /// What is noted of it.
    pub id: FileId,
    head: Vec<u8>,
}

impl SeenFile {
    /// Looks at the file or folder at `path`; none where that is neither.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn at(path: &Path) -> io::Result<Option<SeenFile>> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Ok(Some(SeenFile::of(&metadata, None, Vec::new())));
        }
        // To open a pipe is to wait for its writer.
        if !metadata.is_file() {
            return Ok(None);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut head = Vec::new();
        file.take(metadata.len().min(POST_FILE_HEAD)).read_to_end(&mut head)?;
        Ok(Some(SeenFile::of(&metadata, nanoseconds(metadata.modified()), head)))
    }

    fn of(metadata: &Metadata, modified: Option<u64>, head: Vec<u8>) -> SeenFile {
        let len = if metadata.is_dir() { 0 } else { metadata.len() };
        let (inode, born) = (inode(metadata), nanoseconds(metadata.created()));
        SeenFile { id: FileId { inode, born, len, modified, head: digest(&head) }, head }
    }

    /// Whether this is the file that `earlier` was made of, which may have grown since.
    pub fn is_of(&self, earlier: &FileId) -> bool {
        let now = &self.id;
        let is_copy = now.modified.is_some() && (now.len, now.modified) == (earlier.len, earlier.modified);
        let is_same = now.inode != 0 && (now.inode, now.born) == (earlier.inode, earlier.born);
        (is_same || is_copy) && self.continues(earlier)
    }

    /// Whether it begins with what was there before.
    fn continues(&self, earlier: &FileId) -> bool {
        let len = earlier.len.min(POST_FILE_HEAD) as usize;
        self.id.len >= earlier.len && self.head.get(..len).is_some_and(|head| digest(head) == earlier.head)
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

fn nanoseconds(time: io::Result<SystemTime>) -> Option<u64> {
    time.ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos().try_into().ok()
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn a_file_is_known_again_and_no_other_is_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let look = |name: &str| SeenFile::at(&path(name)).unwrap().unwrap();
        fs::write(path("a"), "one\n").unwrap();
        let id = look("a").id;
        fs::rename(path("a"), path("b")).unwrap();
        assert!(look("b").is_of(&id), "renamed");
        fs::write(path("b"), "one\ntwo\n").unwrap();
        assert!(look("b").is_of(&id), "grown");
        let grown = look("b").id;
        fs::write(path("b"), "two\none\n").unwrap();
        assert!(!look("b").is_of(&grown), "written anew");
        fs::write(path("b"), "one\n").unwrap();
        assert!(!look("b").is_of(&grown), "shorter than it was");
        assert!(look("b").is_of(&id));

        // The same text, in another file of the same name.
        fs::rename(path("b"), path("b.1")).unwrap();
        fs::write(path("b"), "one\n").unwrap();
        let other = fs::File::options().write(true).open(path("b")).unwrap();
        other.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
        assert!(!look("b").is_of(&look("b.1").id), "a rotated log");
        // A copy that kept its times.
        other.set_modified(fs::metadata(path("b.1")).unwrap().modified().unwrap()).unwrap();
        assert!(look("b").is_of(&look("b.1").id), "a restored backup");
    }

    #[test]
    fn a_folder_is_known_by_its_number_whatever_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("a")).unwrap();
        let id = SeenFile::at(&path("a")).unwrap().unwrap().id;
        fs::write(path("a/x"), "x").unwrap();
        fs::rename(path("a"), path("b")).unwrap();
        fs::create_dir(path("a")).unwrap();
        assert!(SeenFile::at(&path("b")).unwrap().unwrap().is_of(&id));
        assert!(!SeenFile::at(&path("a")).unwrap().unwrap().is_of(&id));
    }
}
