//! The files of a store, as it sees them. [`Disk`] is the real thing; the model has one that fails,
//! writes less than it is given, and forgets at a crash what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file_system::FileSystem;
use super::stamp::Stamp;
use super::syncers::{Syncers, Target};

/// Files and folders below one folder; paths are from there.
pub trait Files {
    /// A file that is open.
    type File;

    /// Makes a folder, if it is not there; whether it was not.
    fn make_folder(&mut self, path: &Path) -> io::Result<bool>;

    /// Whether there is a folder of this name.
    fn is_folder(&mut self, path: &Path) -> io::Result<bool>;

    /// Returns once everything that was made, renamed and removed in a folder is on the disk.
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;

    /// What is in a folder. Names that are not UTF-8 are nobody's.
    fn list(&mut self, path: &Path) -> io::Result<Vec<Listed>>;

    /// Makes a file that is not there yet.
    fn create(&mut self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file that is there.
    fn open(&mut self, path: &Path) -> io::Result<Self::File>;

    /// Its bytes.
    fn len(&mut self, file: &mut Self::File) -> io::Result<u64>;

    /// Reads from `at` on; 0 at the end.
    fn read(&mut self, file: &mut Self::File, at: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Adds bytes at the end; how many, if not all.
    fn append(&mut self, file: &mut Self::File, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns once everything that was appended is on the disk. After an error nobody knows what is, and
    /// the next sync may say that all is well: the system tells it only once.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// Syncs files and folders, in any order, and says what became of each.
    fn sync_each(&mut self, all: &mut [Unsynced<'_, Self::File>]) -> Vec<io::Result<()>>;

    /// Cuts a file off.
    fn truncate(&mut self, file: &mut Self::File, len: u64) -> io::Result<()>;

    /// A file's bytes, without opening it.
    fn size(&mut self, path: &Path) -> io::Result<u64>;

    /// Whether an open file is still the one of this name: what is written to one that was removed or moved
    /// away is not stored there.
    fn is_at(&mut self, file: &mut Self::File, path: &Path) -> io::Result<bool>;

    /// When a file was last written to, by the clock of that time.
    fn modified(&mut self, path: &Path) -> io::Result<Stamp>;

    /// Says when a file was last written to.
    fn set_modified(&mut self, file: &mut Self::File, at: Stamp) -> io::Result<()>;

    /// Gives a file of a folder another name there, at once.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// Something that may not be on the disk yet.
pub enum Unsynced<'a, T> {
    /// What was appended to a file.
    File(&'a mut T),
    /// What was made, renamed and removed in a folder.
    Folder(&'a Path),
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_folder: bool,
}

/// The files of the system.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    /// Looked at when it is first wanted.
    file_system: Option<FileSystem>,
    syncers: Syncers,
}

impl Disk {
    /// The files below `root`.
    pub fn new(root: &Path) -> Disk {
        Disk { root: root.into(), file_system: None, syncers: Syncers::default() }
    }
}

impl Files for Disk {
    /// Shared with the thread that syncs it.
    type File = Arc<File>;

    fn make_folder(&mut self, path: &Path) -> io::Result<bool> {
        let path = self.root.join(path);
        match fs::create_dir(&path) {
            Err(why) if why.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
            result => result.map(|()| true),
        }
    }

    fn is_folder(&mut self, path: &Path) -> io::Result<bool> {
        match fs::metadata(self.root.join(path)) {
            Err(why) if is_missing(&why) => Ok(false),
            metadata => Ok(metadata?.is_dir()),
        }
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        Target::Folder(self.root.join(path)).sync()
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.root.join(path))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                all.push(Listed { name, is_folder: entry.file_type()?.is_dir() });
            }
        }
        Ok(all)
    }

    fn create(&mut self, path: &Path) -> io::Result<Arc<File>> {
        let file = OpenOptions::new().create_new(true).read(true).append(true).open(self.root.join(path))?;
        Ok(Arc::new(file))
    }

    fn open(&mut self, path: &Path) -> io::Result<Arc<File>> {
        Ok(Arc::new(OpenOptions::new().read(true).append(true).open(self.root.join(path))?))
    }

    fn len(&mut self, file: &mut Arc<File>) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn read(&mut self, file: &mut Arc<File>, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        read_at(file, at, bytes)
    }

    fn append(&mut self, file: &mut Arc<File>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&**file).write_vectored(slices)
    }

    fn sync(&mut self, file: &mut Arc<File>) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_each(&mut self, all: &mut [Unsynced<'_, Arc<File>>]) -> Vec<io::Result<()>> {
        let file_system = self.file_system.get_or_insert_with(|| FileSystem::of(&self.root));
        if file_system.sync(all.len()) {
            return all.iter().map(|_| Ok(())).collect();
        }
        let targets = all.iter().map(|one| match one {
            Unsynced::File(file) => Target::File(Arc::clone(file)),
            Unsynced::Folder(path) => Target::Folder(self.root.join(path)),
        });
        self.syncers.sync_each(targets.collect())
    }

    fn truncate(&mut self, file: &mut Arc<File>, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn size(&mut self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(self.root.join(path))?.len())
    }

    fn is_at(&mut self, file: &mut Arc<File>, path: &Path) -> io::Result<bool> {
        match fs::metadata(self.root.join(path)) {
            Err(why) if is_missing(&why) => Ok(false),
            there => {
                let (there, held) = (there?, file.metadata()?);
                Ok((there.dev(), there.ino()) == (held.dev(), held.ino()))
            }
        }
    }

    fn modified(&mut self, path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::at(fs::metadata(self.root.join(path))?.modified()?))
    }

    fn set_modified(&mut self, file: &mut Arc<File>, at: Stamp) -> io::Result<()> {
        file.set_modified(at.time())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }
}

/// Reads from `at` on, wherever the file stands; 0 at the end.
pub fn read_at(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(bytes, at) {
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Appends all of `slices`, however few bytes a call takes.
pub fn append_all<F: Files>(
    files: &mut F,
    file: &mut F::File,
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    /// The most that the system takes at once.
    const SLICES: usize = 1024;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match files.append(file, &slices[..slices.len().min(SLICES)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Fills `bytes` from `at` on.
pub fn read_exact<F: Files>(files: &mut F, file: &mut F::File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match files.read(file, at + filled as u64, &mut bytes[filled..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    Ok(())
}

/// Whether there is no such file, or not even such a folder.
pub fn is_missing(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Removes a file, if it is there.
pub fn remove<F: Files>(files: &mut F, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(why) if is_missing(&why) => Ok(()),
        result => result,
    }
}

/// All bytes of a file; none if it is not there.
pub fn read_all<F: Files>(files: &mut F, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match files.open(path) {
        Err(why) if is_missing(&why) => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; files.len(&mut file)? as usize];
    read_exact(files, &mut file, 0, &mut bytes)?;
    Ok(Some(bytes))
}

/// Gives a file of the store's own folder, or of one in it, these bytes, all of them or none.
pub fn replace<F: Files>(files: &mut F, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    remove(files, &new)?;
    let mut file = files.create(&new)?;
    append_all(files, &mut file, &mut [IoSlice::new(bytes)])?;
    files.sync(&mut file)?;
    files.rename(&new, path)?;
    path.ancestors().skip(1).try_for_each(|folder| files.sync_folder(folder))
}
