//! What lies in a store.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::files::{Disk, Files};
use super::lock::LOCK;
use super::names::{self, Holds};
use super::stamp::Stamp;

/// The folder of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The topic.
    pub topic: String,
    /// Where it lies, from the store's own folder.
    pub path: PathBuf,
}

/// Where a segment lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The store's own folder.
    pub store: PathBuf,
    /// The topic whose folder it lies in.
    pub topic: String,
    /// The stamp that it is called by.
    pub base: Stamp,
}

/// Where a file lies that is a segment in a store; none if it is not one.
pub fn place(path: &Path) -> Option<Place> {
    let path = path.canonicalize().ok()?;
    let (base, holds) = names::read_file(path.file_name()?.to_str()?)?;
    if !matches!(holds, Holds::Frames | Holds::OpenFrames) {
        return None;
    }
    let mut store = path.parent()?.parent()?;
    // The name of a long topic goes on in a folder inside.
    while store.file_name().and_then(|name| name.to_str()).is_some_and(names::goes_on) {
        store = store.parent()?;
    }
    let topic = names::topic(path.parent()?.strip_prefix(store).ok()?)?;
    store.join(LOCK).exists().then(|| Place { store: store.into(), topic, base })
}

/// Whether a gateway has stored in a folder.
pub fn is_store(folder: &Path) -> bool {
    folder.join(LOCK).is_file()
}

/// What a folder is to a reader of stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looks {
    /// A store, of which a copy may have lost the files whose names begin with a dot; it may hold no frame yet.
    Store,
    /// Nothing is in it: perhaps a gateway is about to store there.
    Empty,
    /// A topic's folder in this store.
    Topic(PathBuf),
    /// Something else.
    Other,
}

impl Looks {
    /// What a folder on the disk is.
    ///
    /// # Errors
    /// Where it cannot be read, as where there is none.
    pub fn at(folder: &Path) -> io::Result<Looks> {
        looks(&mut Disk::new(folder), folder)
    }
}

/// What `folder` is. A store's own file is the first that a gateway makes there.
fn looks<F: Files>(files: &mut F, folder: &Path) -> io::Result<Looks> {
    if is_store(folder) {
        return Ok(Looks::Store);
    }
    if files.list(Path::new(""))?.is_empty() {
        return Ok(Looks::Empty);
    }
    let is_segment = |(_, holds): &(Stamp, Holds)| matches!(holds, Holds::Frames | Holds::OpenFrames);
    if contents(files, Path::new(""))?.iter().any(is_segment) {
        let canonical = folder.canonicalize()?;
        let store = canonical.ancestors().skip(1).find(|above| is_store(above));
        return Ok(store.map_or(Looks::Other, |store| Looks::Topic(store.into())));
    }
    for Folder { path, .. } in folders(files)? {
        // What must not be read there is no store's that can be read.
        if contents(files, &path).is_ok_and(|found| found.iter().any(is_segment)) {
            return Ok(Looks::Store);
        }
    }
    Ok(Looks::Other)
}

/// Every topic's folder, by topic. What is not the store's is left alone.
pub fn folders<F: Files>(files: &mut F) -> io::Result<Vec<Folder>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        for listed in files.list(&path)?.into_iter().filter(|listed| listed.is_folder) {
            let path = path.join(&listed.name);
            if names::goes_on(&listed.name) {
                open.push(path);
            } else if let Some(topic) = names::topic(&path) {
                found.push(Folder { topic, path });
            }
        }
    }
    found.sort_by(|a, b| a.topic.cmp(&b.topic));
    Ok(found)
}

/// The store's files in a folder, by what they belong to. A folder that is not there any more is empty.
pub fn contents<F: Files>(files: &mut F, folder: &Path) -> io::Result<Vec<(Stamp, Holds)>> {
    let listed = match files.list(folder) {
        Err(why) if why.kind() == ErrorKind::NotFound => Vec::new(),
        result => result?,
    };
    let mut found: Vec<_> = listed.iter().filter_map(|listed| names::read_file(&listed.name)).collect();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_store_is_told_from_what_is_none() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a");
        let look = Looks::at;
        assert_eq!(look(folder.as_path()).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir(&folder).unwrap();
        assert_eq!(look(folder.as_path()).unwrap(), Looks::Empty);
        // A topic may be called like this, so a folder alone says nothing.
        fs::create_dir(folder.join("orders.eu")).unwrap();
        fs::write(folder.join("orders.eu/notes.txt"), "").unwrap();
        assert_eq!(look(folder.as_path()).unwrap(), Looks::Other);
        let segment = names::file(Path::new("orders.eu"), Stamp(1), Holds::Frames);
        fs::write(folder.join(segment), "").unwrap();
        assert_eq!(look(folder.as_path()).unwrap(), Looks::Store, "a copy without hidden files");
        assert_eq!(look(&folder.join("orders.eu")).unwrap(), Looks::Other);
        fs::write(folder.join(LOCK), "").unwrap();
        let canonical = folder.canonicalize().unwrap();
        assert_eq!(look(&folder.join("orders.eu")).unwrap(), Looks::Topic(canonical));
        let new = root.path().join("new");
        fs::create_dir(&new).unwrap();
        fs::write(new.join(LOCK), "").unwrap();
        assert_eq!(look(&new).unwrap(), Looks::Store);
    }
}
