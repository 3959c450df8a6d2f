//! One gateway a store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// In the store's folder; no topic's folder is called like this.
pub const LOCK: &str = ".lock";

/// Holds a store's folder as long as it lives. The system lets go of it even where the process is killed.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the folder, which is made where there is none; none if another process holds it.
    pub fn take(folder: &Path) -> io::Result<Option<Lock>> {
        fs::create_dir_all(folder)?;
        if let Some(parent) = folder.canonicalize()?.parent() {
            // It may be new.
            File::open(parent)?.sync_all()?;
        }
        let path = folder.join(LOCK);
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(why)) => return Err(why),
        }
        // For people who wonder.
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Some(Lock { file, path }))
    }

    /// Whether it is still the folder's: that may have been removed, and another may be there by now.
    pub fn is_there(&self) -> bool {
        let (Ok(held), Ok(there)) = (self.file.metadata(), fs::metadata(&self.path)) else { return false };
        (held.dev(), held.ino()) == (there.dev(), there.ino())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("a/store");
        let lock = Lock::take(&store).unwrap();
        assert!(lock.is_some() && Lock::take(&store).unwrap().is_none());
        assert!(lock.as_ref().is_some_and(Lock::is_there));
        fs::remove_dir_all(&store).unwrap();
        assert!(lock.as_ref().is_some_and(|lock| !lock.is_there()));
        let new = Lock::take(&store).unwrap();
        assert!(new.is_some() && lock.as_ref().is_some_and(|lock| !lock.is_there()));
        drop((lock, new));
        assert!(Lock::take(&store).unwrap().is_some());
        let not_a_folder = folder.path().join("file");
        fs::write(&not_a_folder, "").unwrap();
        assert!(Lock::take(&not_a_folder).is_err());
    }
}
