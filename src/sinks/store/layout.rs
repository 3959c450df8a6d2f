//! What lies in a store.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::files::Files;
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
