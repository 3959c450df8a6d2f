//! The files of a tar.

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::ControlFlow;

use super::walk::{Visit, Walk};
use crate::limits::POST_TAR_HEADERS_MAX;

pub(super) fn walk(read: impl Read, walk: &Walk, visit: Visit<'_>) -> io::Result<ControlFlow<()>> {
    let headers = Cell::new(None);
    let mut archive = tar::Archive::new(Bounded { read, headers: &headers });
    let mut entries = archive.entries()?;
    loop {
        // All that is read before an entry is handed over is headers: the data of the one before is taken.
        headers.set(Some(POST_TAR_HEADERS_MAX));
        let Some(entry) = entries.next() else { return Ok(ControlFlow::Continue(())) };
        headers.set(None);
        let mut entry = entry?;
        let (size, mut taken) = (entry.size(), 0);
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // Folders and links hold no record.
        if entry.header().entry_type().is_file() {
            let counted = Counted { read: &mut entry, taken: &mut taken };
            if walk.member(&name, counted, visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        // A tar that ends too early is no flaw of a record: nothing comes behind it.
        let rest = io::copy(&mut entry, &mut io::sink())?;
        if taken + rest < size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the archive ends in {name}")));
        }
    }
}

/// Headers of one file are read into memory whole, however long they say that they are: to a bound.
struct Bounded<'a, R> {
    read: R,
    /// How many more bytes of headers may come; none: what comes is data.
    headers: &'a Cell<Option<u64>>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.headers.get() else { return self.read.read(buffer) };
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!(
                "a file has more than {POST_TAR_HEADERS_MAX} bytes of headers"
            )));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = self.read.read(&mut buffer[..most])?;
        self.headers.set(Some(left - n as u64));
        Ok(n)
    }
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
