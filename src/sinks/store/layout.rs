//! What lies in a store.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::files::Files;
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
