//! The files of a tar.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, Read};
use std::ops::ControlFlow;

use tar::{Entry, EntryType, PaxExtensions};

use super::walk::{Found, Visit, Walk, damage, is_mac_metadata, shown};
use super::{Flaw, LeftOut, sparse};
use crate::core::limits::POST_TAR_HEADERS_MAX;

/// What is read of a tar at once, and ends it where it is of zeros.
const BLOCK: u64 = 512;

pub(super) fn walk(read: impl Read, walk: &Walk, visit: Visit<'_>) -> io::Result<ControlFlow<()>> {
    let headers = Headers::default();
    let mut archive = tar::Archive::new(Bounded { read, headers: &headers });
    // What stands behind an end may be another tar, as with those that are written one behind the other.
    archive.set_ignore_zeros(true);
    let mut entries = archive.entries()?;
    let mut last = None;
    loop {
        // All that is read before an entry is handed over is headers: the data of the one before is taken.
        headers.begin();
        let Some(entry) = entries.next() else { break };
        headers.left.set(None);
        let mut entry = entry.map_err(|why| match &last {
            Some(last) => io::Error::new(why.kind(), format!("after {last}: {why}")),
            None => why,
        })?;
        let name = shown(&entry.path_bytes());
        let ended = member(&name, &mut entry, walk, visit)?;
        if ended.is_break() {
            return Ok(ended);
        }
        last = Some(name);
    }
    // It ends with zeros, so that one that was cut off between two files is seen.
    if headers.seen.get() < BLOCK {
        let before = last.map_or(String::new(), |last| format!(" after {last}"));
        let why = format!("the archive has no end{before}: what came behind that was cut off");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    Ok(ControlFlow::Continue(()))
}

fn member<R: Read>(
    name: &str,
    entry: &mut Entry<'_, R>,
    walk: &Walk,
    visit: Visit<'_>,
) -> io::Result<ControlFlow<()>> {
    let size = entry.size();
    let kind = entry.header().entry_type();
    let left_out = match kind {
        // As it was before there was a type for it.
        EntryType::Regular if entry.header().as_bytes()[156] == 0 && name.ends_with('/') => {
            Some(LeftOut::Folder)
        }
        EntryType::Directory => Some(LeftOut::Folder),
        EntryType::Symlink => Some(LeftOut::Link(link_of(entry))),
        EntryType::Link => Some(LeftOut::HardLink(link_of(entry))),
        EntryType::Char | EntryType::Block => Some(LeftOut::Device),
        EntryType::Fifo => Some(LeftOut::Pipe),
        // The names in a folder, which its files have as well.
        kind if kind.as_byte() == b'D' => Some(LeftOut::Folder),
        kind if kind.as_byte() == b'V' => Some(LeftOut::Label),
        _ if is_mac_metadata(name) => Some(LeftOut::MacMetadata),
        _ => None,
    };
    let mut taken = 0;
    let counted = Exact { read: &mut *entry, taken: &mut taken, size };
    let ended = match (left_out, kind) {
        (Some(left_out), _) => visit(name, Found::LeftOut(left_out)),
        (None, EntryType::XGlobalHeader) => return globals(counted),
        (None, EntryType::GNUSparse) => walk.member(name, counted, size, visit),
        (None, EntryType::Regular | EntryType::Continuous) => plain(name, entry, &mut taken, walk, visit),
        (None, kind) if kind.as_byte() == b'M' => {
            let why = "it began in another volume: put the volumes together first".to_owned();
            visit(name, Found::Flawed(Flaw::Incomplete(why)))
        }
        (None, kind) => visit(
            name,
            Found::Flawed(Flaw::UnknownType(char::from(kind.as_byte()).escape_default().to_string())),
        ),
    };
    if ended.is_break() {
        return Ok(ended);
    }
    // A tar that ends too early is no flaw of a record alone: nothing comes behind it.
    let rest = io::copy(entry, &mut io::sink())?;
    if taken + rest < size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the archive ends in {name}")));
    }
    Ok(ended)
}

/// A file, which may have holes.
fn plain<R: Read>(
    name: &str,
    entry: &mut Entry<'_, R>,
    taken: &mut u64,
    walk: &Walk,
    visit: Visit<'_>,
) -> ControlFlow<()> {
    let size = entry.size();
    let holes = match entry.pax_extensions() {
        Ok(Some(headers)) => {
            sparse::of(headers.flatten().map(|header| (header.key_bytes(), header.value_bytes())))
        }
        Ok(None) => Ok(None),
        Err(why) => Err(why),
    };
    let counted = Exact { read: entry, taken, size };
    match holes {
        Ok(None) => walk.member(name, counted, size, visit),
        Ok(Some(mut sparse)) => {
            let real = sparse.name.take();
            let name = real.as_deref().map_or(Cow::Borrowed(name), |real| shown(real).into());
            let full = sparse.size;
            match sparse.expand(counted, size) {
                Ok(expanded) => walk.member(&name, expanded, full, visit),
                Err(why) => visit(&name, Found::Flawed(damage(&why))),
            }
        }
        Err(why) => visit(name, Found::Flawed(damage(&why))),
    }
}

/// Headers for all that follows: comments are nothing to us; what would make records of other names or lengths is
/// not read here.
fn globals(mut read: impl Read) -> io::Result<ControlFlow<()>> {
    let mut bytes = Vec::new();
    (&mut read).take(POST_TAR_HEADERS_MAX).read_to_end(&mut bytes)?;
    for header in PaxExtensions::new(&bytes).flatten() {
        let key = header.key_bytes();
        if [&b"path"[..], b"size", b"linkpath"].contains(&key) || key.starts_with(b"GNU.sparse.") {
            let key = shown(key);
            return Err(io::Error::other(format!("it sets {key} for all of its files: pack it again")));
        }
    }
    io::copy(&mut read, &mut io::sink())?;
    Ok(ControlFlow::Continue(()))
}

fn link_of<R: Read>(entry: &Entry<'_, R>) -> String {
    entry.link_name_bytes().map_or(String::new(), |bytes| shown(&bytes))
}

/// What is read before an entry is handed over.
#[derive(Default)]
struct Headers {
    /// How many more bytes of headers may come; none: what comes is data.
    left: Cell<Option<u64>>,
    /// How many came.
    seen: Cell<u64>,
    /// Whether there was anything but zeros among them.
    is_begun: Cell<bool>,
}

impl Headers {
    fn begin(&self) {
        self.left.set(Some(POST_TAR_HEADERS_MAX));
        self.seen.set(0);
        self.is_begun.set(false);
    }
}

/// Headers of one file are read into memory whole, however long they say that they are: to a bound. Zeros before
/// them are none, however many there are.
struct Bounded<'a, R> {
    read: R,
    headers: &'a Headers,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Headers { left, seen, is_begun } = self.headers;
        let Some(most) = left.get() else { return self.read.read(buffer) };
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!(
                "a file has more than {POST_TAR_HEADERS_MAX} bytes of headers"
            )));
        }
        let len = buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let n = self.read.read(&mut buffer[..len])?;
        seen.set(seen.get() + n as u64);
        if is_begun.get() || buffer[..n].iter().any(|byte| *byte != 0) {
            is_begun.set(true);
            left.set(Some(most - n as u64));
        }
        Ok(n)
    }
}

/// Reads a file of which it is known how long it is: that it ends before is no end.
struct Exact<'a, R> {
    read: R,
    taken: &'a mut u64,
    size: u64,
}

impl<R: Read> Read for Exact<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.read.read(buffer)?;
        *self.taken += n as u64;
        if n == 0 && !buffer.is_empty() && *self.taken < self.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within it"));
        }
        Ok(n)
    }
}
