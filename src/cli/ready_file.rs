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
            Ok(left) => match number_in(&left) {
                Some(number) if is_alive(number) => {
                    return Err(wrong(&format_args!(
                        "it is that of the process {number}: give another name"
                    )));
                }
                Some(_) => fs::remove_file(path).map_err(|why| wrong(&why))?,
                None => return Err(wrong(&"the file exists and is not a ready file: give another name")),
            },
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

    /// Removes it, where it is there and this process's.
    pub fn remove(&mut self) {
        let is_ours = || fs::read(&self.path).is_ok_and(|left| number_in(&left) == Some(process::id()));
        if std::mem::take(&mut self.is_there)
            && is_ours()
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

/// The process of a ready file: a number and a line break.
fn number_in(content: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(content).ok()?.strip_suffix('\n')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn is_alive(number: u32) -> bool {
    let pid = i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw);
    // Who may not signal it is told so, and only where it is there.
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
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
        // One process's is not another's, whichever comes and goes first.
        let parent = std::os::unix::process::parent_id();
        fs::write(&path, format!("{parent}\n")).unwrap();
        let said = ReadyFile::new(&path).err().unwrap().to_string();
        assert!(said.contains(&format!("that of the process {parent}")), "{said}");
        fs::remove_file(&path).unwrap();
        let mut file = ReadyFile::new(&path).unwrap();
        file.write().unwrap();
        fs::write(&path, format!("{parent}\n")).unwrap();
        drop(file);
        assert!(path.exists());
        // What a killed process left goes at the start of the next: no process has so large a number.
        fs::write(&path, "4194305\n").unwrap();
        drop(ReadyFile::new(&path).unwrap());
        assert!(!path.exists());
        fs::write(&path, "precious\n").unwrap();
        let said = ReadyFile::new(&path).err().unwrap().to_string();
        assert!(said.contains("is not a ready file: give another name"), "{said}");
        assert!(path.exists() && ReadyFile::new(folder.path()).is_err());
        assert_eq!(
            ReadyFile::new(&folder.path().join("a/b")).unwrap().write().unwrap_err().exit,
            Exit::Partly
        );
    }
}
