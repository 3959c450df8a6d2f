//! The list of what takes whose place: once it is there, it is gone through to its end.

use std::io;
use std::path::Path;

use super::trouble;
use crate::core::units::plain;
use crate::sinks::store::files::{self, Files};
use crate::sinks::store::layout::{self, Folder};
use crate::sinks::store::names::{self, Holds, file};
use crate::sinks::store::segment::Trouble;
use crate::sinks::store::stamp::Stamp;

/// In the store's folder: what takes whose place.
pub const LIST: &str = ".repair";

/// Goes to its end with a repair that was begun, and takes away what is left of one that was not. Whether there was one.
pub fn finish<F: Files>(files: &mut F) -> Result<bool, Trouble> {
    let list =
        files::read_all(files, Path::new(LIST)).map_err(|why| trouble("read", Path::new(LIST), why))?;
    let was_begun = list.is_some();
    let list = String::from_utf8_lossy(&list.unwrap_or_default()).into_owned();
    // All of it is understood before any of it is done: what it means is not guessed.
    let listed = list.lines().map(Listed::read).collect::<Result<Vec<_>, _>>();
    let listed = listed.map_err(|why| trouble("understand", Path::new(LIST), why))?;
    for Listed { is_put, folder, base } in listed {
        let done = if is_put {
            take_place(files, folder, base, Holds::NewFrames, Holds::Frames)
                .and_then(|()| take_place(files, folder, base, Holds::NewIndex, Holds::Index))
        } else {
            files::remove(files, &file(folder, base, Holds::Frames))
                .and_then(|()| files::remove(files, &file(folder, base, Holds::Index)))
        };
        done.and_then(|()| files.sync_folder(folder))
            .map_err(|why| trouble("put in its place", &file(folder, base, Holds::Frames), why))?;
    }
    let root = Path::new("");
    if was_begun {
        let ended = files::remove(files, Path::new(LIST)).and_then(|()| files.sync_folder(root));
        ended.map_err(|why| trouble("remove", Path::new(LIST), why))?;
    }
    for Folder { path, .. } in layout::folders(files).map_err(|why| trouble("list", root, why))? {
        let contents = layout::contents(files, &path).map_err(|why| trouble("list", &path, why))?;
        for (base, holds) in contents {
            if matches!(holds, Holds::NewFrames | Holds::NewIndex) {
                let path = file(&path, base, holds);
                files::remove(files, &path).map_err(|why| trouble("remove", &path, why))?;
            }
        }
    }
    Ok(was_begun)
}

/// A line of the list.
struct Listed<'a> {
    /// The new segment takes its place; else the old one is removed.
    is_put: bool,
    folder: &'a Path,
    base: Stamp,
}

impl Listed<'_> {
    fn read(line: &str) -> io::Result<Listed<'_>> {
        let read = || {
            let (what, path) = line.split_once(' ')?;
            let is_put = match what {
                "put" => true,
                "drop" => false,
                _ => return None,
            };
            let (folder, base) = path.rsplit_once('/')?;
            let folder = Path::new(folder);
            names::topic(folder)?;
            Some(Listed { is_put, folder, base: base.parse().ok()? })
        };
        read().ok_or_else(|| {
            io::Error::other(format!(
                "'{}' is neither put nor drop with a segment: go on with the version of Framegate that began the repair, or restore the file",
                plain(line)
            ))
        })
    }
}

fn take_place<F: Files>(files: &mut F, folder: &Path, base: Stamp, from: Holds, to: Holds) -> io::Result<()> {
    match files.rename(&file(folder, base, from), &file(folder, base, to)) {
        // It was done before.
        Err(why) if files::is_missing(&why) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::store::Disk;
    use std::fs;

    #[test]
    fn a_list_that_is_not_understood_is_neither_carried_out_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path());
        let base = Stamp(1_700_000_000_000_000_000);
        let segment = folder.path().join(file(Path::new("a"), base, Holds::Frames));
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(&segment, "frames").unwrap();
        let list = folder.path().join(LIST);
        for line in ["keep a/", "remove a/", "put", "drop .a/", "drop ../a/", "drop a/x"] {
            let line = if line.ends_with('/') { format!("{line}{base}") } else { line.to_owned() };
            // What comes before it is not done either.
            fs::write(&list, format!("drop a/{base}\n{line}\n")).unwrap();
            let said = finish(&mut disk).unwrap_err().to_string();
            assert!(said.starts_with("cannot understand .repair: '") && said.contains(&line), "{said}");
            assert!(segment.exists() && list.exists(), "{line}");
        }
        fs::write(&list, format!("drop a/{base}\n")).unwrap();
        assert!(finish(&mut disk).unwrap());
        assert!(!segment.exists() && !list.exists());
    }
}
