//! The files of a tar.

use std::io::{self, Read};
use std::ops::ControlFlow;

use super::walk::{Visit, Walk};

pub(super) fn walk(read: impl Read, walk: &Walk, visit: Visit<'_>) -> io::Result<ControlFlow<()>> {
    let mut archive = tar::Archive::new(read);
    for entry in archive.entries()? {
        let mut entry = entry?;
        // Folders and links hold no record.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // A tar that ends too early is no flaw of a record: nothing comes behind it.
        let (size, mut taken) = (entry.size(), 0);
        let counted = Counted { read: &mut entry, taken: &mut taken };
        if walk.member(&name, counted, visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let rest = io::copy(&mut entry, &mut io::sink())?;
        if taken + rest < size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the archive ends in {name}")));
        }
    }
    Ok(ControlFlow::Continue(()))
}

struct Counted<'a, R> {
    read: R,
    taken: &'a mut u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.read.read(buffer)?;
        *self.taken += n as u64;
        Ok(n)
    }
}
