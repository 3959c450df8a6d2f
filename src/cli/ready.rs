//! A file by which a script knows that `tail` has subscribed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::{Exit, Failure};

/// A file that is there as long as every pattern is confirmed; it holds the number of the process. It appears at once
/// with all that is in it, and goes when this is dropped.
pub struct ReadyFile {
    path: PathBuf,
    is_there: bool,
}

impl ReadyFile {
    /// Takes the path, and removes what a process that was killed has left there; nothing else is removed.
    pub fn new(path: &Path) -> Result<ReadyFile, Failure> {
        let shown = path.display();
        let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("--ready-file {shown}: {why}"));
        match fs::read(path) {
            Ok(left) if is_ours(&left) => fs::remove_file(path).map_err(|why| wrong(&why))?,
            Ok(_) => return Err(wrong(&"is there already and is no ready file: give another name")),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(wrong(&why)),
        }
        Ok(ReadyFile { path: path.into(), is_there: false })
    }

    /// Makes it.
    pub fn write(&mut self) -> Result<(), Failure> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", process::id()));
        let written = fs::write(&name, format!("{}\n", process::id()));
        let written = written.and_then(|()| fs::rename(&name, &self.path));
        written.map_err(|why| {
            let _ = fs::remove_file(&name);
            let shown = self.path.display();
            Failure {
                exit: Exit::Partly,
                message: format!("--ready-file {shown}: {why}: give another place"),
            }
        })?;
        self.is_there = true;
        Ok(())
    }

    /// Removes it, where it is there.
    pub fn remove(&mut self) {
        if std::mem::take(&mut self.is_there)
            && let Err(why) = fs::remove_file(&self.path)
        {
            log::warn!("--ready-file {}: {why}: it stays", self.path.display());
        }
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A number and a line break.
fn is_ours(content: &[u8]) -> bool {
    matches!(content, [digits @ .., b'\n'] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_until_it_is_dropped_and_removes_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        let mut file = ReadyFile::new(&path).unwrap();
        assert!(!path.exists());
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        file.remove();
        assert!(!path.exists());
        file.write().unwrap();
        drop(file);
        assert!(!path.exists());
        // What a killed process left goes at the start of the next.
        fs::write(&path, "123\n").unwrap();
        drop(ReadyFile::new(&path).unwrap());
        assert!(!path.exists());
        fs::write(&path, "precious\n").unwrap();
        let said = ReadyFile::new(&path).err().unwrap().to_string();
        assert!(said.contains("is no ready file: give another name"), "{said}");
        assert!(path.exists() && ReadyFile::new(folder.path()).is_err());
        assert_eq!(
            ReadyFile::new(&folder.path().join("a/b")).unwrap().write().unwrap_err().exit,
            Exit::Partly
        );
    }
}
