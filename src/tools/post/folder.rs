//! What is below a folder that is a source.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::tools::records::LeftOut;

/// What stands below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// A file, or a link to one.
    File,
    /// What cannot be read, and why.
    Unreadable(String),
    /// What holds no record.
    LeftOut(LeftOut),
}

/// Everything below a folder, in the order of its names; folders and links to them as what is in them. Journals are
/// none of it.
///
/// # Errors
/// Where the folder itself cannot be read.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Below)>> {
    let mut found = Vec::new();
    collect(folder, &mut vec![folder.canonicalize()?], &mut found)?;
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

/// `above` are the folders that lead here, by the names under which no other leads to them.
fn collect(folder: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<(PathBuf, Below)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_journal(&path) {
            continue;
        }
        if is_hidden(&path) {
            found.push((path, Below::LeftOut(LeftOut::Hidden)));
            continue;
        }
        let below = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Below::File,
            Ok(metadata) if metadata.is_dir() => match inside(&path, above, found) {
                Ok(()) => continue,
                Err(why) => Below::Unreadable(why),
            },
            Ok(metadata) => Below::LeftOut(special(&metadata)),
            Err(why) => Below::Unreadable(match fs::read_link(&path) {
                Ok(to) => format!("a link to {}: {why}", to.display()),
                Err(_) => why.to_string(),
            }),
        };
        found.push((path, below));
    }
    Ok(())
}

fn inside(path: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<(PathBuf, Below)>) -> Result<(), String> {
    let real = path.canonicalize().map_err(|why| why.to_string())?;
    if above.contains(&real) {
        return Err(format!("a link to {}, in which it is", real.display()));
    }
    above.push(real);
    let read = collect(path, above, found).map_err(|why| why.to_string());
    above.pop();
    read
}

#[cfg(unix)]
fn special(metadata: &fs::Metadata) -> LeftOut {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_socket() { LeftOut::Pipe } else { LeftOut::Device }
}

#[cfg(not(unix))]
fn special(_: &fs::Metadata) -> LeftOut {
    LeftOut::Device
}

/// Whether a name begins with a dot, as journals' do.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

/// Whether a name is one that [`journal_of`](super::journal_of) gives.
fn is_journal(path: &Path) -> bool {
    is_hidden(path) && path.extension().is_some_and(|extension| extension == "journal")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn one_that_cannot_be_read_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("b/c")).unwrap();
        for name in ["a", "b/c/d", "b/e", ".hidden", ".a.0123.journal"] {
            fs::write(path(name), name).unwrap();
        }
        symlink("nowhere", path("dangling")).unwrap();
        symlink("itself", path("itself")).unwrap();
        symlink("..", path("b/up")).unwrap();
        symlink("../b/c", path("b/same")).unwrap();
        symlink("a", path("z")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let found = list(folder.path()).unwrap();
        let found: Vec<(&str, &Below)> = found
            .iter()
            .map(|(file, below)| (file.strip_prefix(folder.path()).unwrap().to_str().unwrap(), below))
            .collect();
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [".hidden", "a", "b/c/d", "b/e", "b/same/d", "b/up", "dangling", "itself", "socket", "z"]
        );
        let why = |at: usize| match found[at].1 {
            Below::Unreadable(why) => why.as_str(),
            below => panic!("{below:?}"),
        };
        assert!(why(5).starts_with("a link to ") && why(5).ends_with(", in which it is"), "{}", why(5));
        assert!(why(6).starts_with("a link to nowhere: No such file"), "{}", why(6));
        assert!(why(7).starts_with("a link to itself: Too many levels"), "{}", why(7));
        assert_eq!(found[8].1, &Below::LeftOut(LeftOut::Pipe));
        assert!([1, 2, 3, 4, 9].iter().all(|&at| *found[at].1 == Below::File));
        assert!(list(&path("none")).is_err());
    }
}
