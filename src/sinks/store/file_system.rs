//! The file system of a store's folder, synced as a whole: all that was written to it with one commit of its journal and
//! one flush of the disk, where each file synced by itself may want its own. A round of a hundred topics on ext4 takes a
//! tenth of the time so.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// With fewer files and folders the two are alike.
const LEAST: usize = 4;

/// It waits for what others write to the same file system, too. 50 ms is longer than syncing a few hundred files one by
/// one takes.
const SLOW: Duration = Duration::from_millis(50);

/// 10 s without it after it was slow: nobody else's gigabytes are then waited for more than once in that time.
const REST: Duration = Duration::from_secs(10);

/// Whether it can be synced as a whole, and is to be now.
#[derive(Debug)]
pub struct FileSystem {
    /// Its folder, where the system tells by it what could not be written since it was opened.
    folder: Option<File>,
    rests_until: Option<Instant>,
}

impl FileSystem {
    /// That of this folder.
    pub fn of(folder: &Path) -> FileSystem {
        let folder = File::open(folder).ok().filter(tells_errors);
        FileSystem { folder, rests_until: None }
    }

    /// Syncs it, if that is the better way for so many files and folders. Whether it did, and all is on the disk; if not,
    /// nobody knows what is, and each is to be synced by itself, which tells which of them could not be.
    pub fn sync(&mut self, wanted: usize) -> bool {
        let Some(folder) = &self.folder else { return false };
        let began = Instant::now();
        if wanted < LEAST || self.rests_until.is_some_and(|until| began < until) {
            return false;
        }
        let is_synced = sync_all(folder);
        let slow = began.elapsed() > SLOW;
        self.rests_until = (slow || !is_synced).then(|| Instant::now() + REST);
        is_synced
    }
}

#[cfg(target_os = "linux")]
fn sync_all(folder: &File) -> bool {
    rustix::fs::syncfs(folder).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn sync_all(_folder: &File) -> bool {
    false
}

/// Whether a sync as a whole tells what could not be written: Linux does since 5.8, on file systems that keep to it.
#[cfg(target_os = "linux")]
fn tells_errors(folder: &File) -> bool {
    /// ext4, XFS, Btrfs and F2FS, by their numbers in linux/magic.h.
    const KNOWN: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];
    let is_known = rustix::fs::fstatfs(folder).is_ok_and(|found| KNOWN.contains(&(found.f_type as u64)));
    let release = rustix::system::uname();
    is_known && release.release().to_str().is_ok_and(is_recent)
}

#[cfg(not(target_os = "linux"))]
fn tells_errors(_folder: &File) -> bool {
    false
}

/// Whether this release of Linux is 5.8 or later.
#[cfg(any(target_os = "linux", test))]
fn is_recent(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (5_u32, 8_u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (release, expected) in [
            ("6.18.44-fc-v669", true),
            ("5.8.0", true),
            ("5.10", true),
            ("5.7.19-generic", false),
            ("4.19.0-25-amd64", false),
            ("10.0-rc1", true),
            ("", false),
            ("six", false),
        ] {
            assert_eq!(is_recent(release), expected, "{release}");
        }
    }

    #[test]
    fn few_are_synced_one_by_one_and_one_that_was_slow_rests() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = FileSystem::of(folder.path());
        assert!(!one.sync(LEAST - 1));
        let can = one.folder.is_some();
        assert_eq!(one.sync(LEAST), can);
        one.rests_until = Some(Instant::now() + REST);
        assert!(!one.sync(LEAST));
        one.rests_until = Some(Instant::now());
        assert_eq!(one.sync(LEAST), can);
        assert!(!FileSystem::of(&folder.path().join("missing")).sync(LEAST));
    }
}
