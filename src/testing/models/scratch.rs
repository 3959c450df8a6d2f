//! A file for one run of a check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where nothing waits for a disk, if there is such a folder: a journal is synced several times in every run.
fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// A place for a file that nobody else has, and that is gone afterwards.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Nothing is there yet.
    pub fn new() -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("framegate-check-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
        Scratch(folder().join(name))
    }

    /// The same under a name that ends in this.
    pub fn called(extension: &str) -> Scratch {
        let Scratch(path) = &Scratch::new();
        Scratch(path.with_extension(extension))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Puts a file there.
    pub fn write(&self, bytes: &[u8]) {
        fs::write(&self.0, bytes).expect("the temporary folder takes files");
    }

    /// How many bytes are there.
    pub fn len(&self) -> usize {
        fs::metadata(&self.0).map_or(0, |found| found.len() as usize)
    }

    /// What is there; nothing if there is no file.
    pub fn read(&self) -> Vec<u8> {
        fs::read(&self.0).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
