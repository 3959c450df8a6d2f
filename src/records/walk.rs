//! Every record of a file, one after the other: of an archive, of text, of a table.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flate2::read::MultiGzDecoder;

use super::{Flaw, RecordError, rows, tape, zip};

/// 64 KiB: what is asked for in one read.
const BLOCK: usize = 64 * 1024;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A whole file.
    File,
    /// A line, without the line break at its end.
    Line,
    /// A row of a table with a header, as a JSON object.
    Row,
}

/// What a file holds, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Zip,
    Tar,
    Gzip,
    Plain,
}

/// How far a walk is, for whoever looks on from another thread.
#[derive(Clone, Debug, Default)]
pub struct Extent(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    taken: AtomicU64,
    entries: AtomicU64,
    files: AtomicU64,
}

/// Who gets the records: what a record is, its name in its file, and its bytes or why there are none.
pub type Visit<'a> = &'a mut dyn FnMut(Cut, &str, Result<Vec<u8>, Flaw>) -> ControlFlow<()>;

/// How a walk is done.
#[derive(Clone, Debug)]
pub struct Walk {
    /// What a record is; none: a file of an archive, a row of a `.csv`, a line of other text.
    pub cut: Option<Cut>,
    /// The largest record, in bytes.
    pub max: usize,
    /// Is told how far it is.
    pub extent: Extent,
}

impl Extent {
    /// About how many records there will be in all when `read` were read, where that can be told.
    pub fn estimate(&self, read: u64) -> Option<u64> {
        let (bytes, taken) = (self.0.bytes.load(Relaxed), self.0.taken.load(Relaxed));
        match self.0.entries.load(Relaxed) {
            // A damaged archive may announce anything.
            entries if entries > 0 && self.0.files.load(Relaxed) == 1 => Some(entries.max(read)),
            _ if read == 0 || taken == 0 => None,
            _ => Some((read as f64 * (bytes.max(taken) as f64 / taken as f64)) as u64),
        }
    }

    /// Bytes that will be read.
    pub fn add_bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Relaxed);
    }

    fn add_taken(&self, bytes: u64) {
        self.0.taken.fetch_add(bytes, Relaxed);
    }

    pub(super) fn set_entries(&self, entries: u64) {
        self.0.entries.store(entries, Relaxed);
    }
}

impl Walk {
    /// Gives every record of the file at `path` to `visit`, until that breaks off. What is wrong with one record
    /// does not end it; memory does not grow with the file.
    ///
    /// # Errors
    /// Where the file cannot be opened, or not be read to its end.
    pub fn file(&self, path: &Path, visit: Visit<'_>) -> Result<ControlFlow<()>, RecordError> {
        let name = || path.display().to_string();
        let open = |why| RecordError::Open { name: name(), why };
        let mut file = File::open(path).map_err(open)?;
        let len = file.metadata().map_err(open)?.len();
        let kind = kind_of(&mut file).map_err(open)?;
        self.extent.0.files.fetch_add(1, Relaxed);
        let walked = match kind {
            Kind::Zip => {
                let walked = zip::walk(file, self, visit);
                self.extent.add_taken(len);
                walked
            }
            Kind::Tar => tape::walk(self.counting(file), self, visit),
            Kind::Plain => self.plain(path, self.counting(file), visit),
            Kind::Gzip => {
                let unpacked = MultiGzDecoder::new(BufReader::with_capacity(BLOCK, self.counting(file)));
                let mut unpacked = BufReader::with_capacity(BLOCK, unpacked);
                let mut head = Vec::new();
                (&mut unpacked).take(HEAD as u64).read_to_end(&mut head).and_then(|_| {
                    let is_tar = is_tar(&head);
                    let unpacked = io::Cursor::new(head).chain(unpacked);
                    match is_tar {
                        true => tape::walk(unpacked, self, visit),
                        false => self.plain(&path.with_extension(""), unpacked, visit),
                    }
                })
            }
        };
        walked.map_err(|why| RecordError::Read { name: name(), why })
    }

    /// Whether a file of an archive is one record.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.cut, None | Some(Cut::File))
    }

    fn counting(&self, file: File) -> Counting {
        Counting { file, extent: self.extent.clone() }
    }

    /// A file that is no archive.
    fn plain(&self, path: &Path, read: impl Read, visit: Visit<'_>) -> io::Result<ControlFlow<()>> {
        let cut = self.cut.unwrap_or(match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("csv") => Cut::Row,
            _ => Cut::Line,
        });
        match cut {
            Cut::File => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let bytes = whole(read, self.max)?;
                Ok(visit(cut, &name, bytes))
            }
            cut => self.parts("", cut, BufReader::with_capacity(BLOCK, read), visit),
        }
    }

    /// A file in an archive, which is a record or holds some. A flaw of all of it is one record's.
    pub(super) fn member(&self, name: &str, read: impl Read, visit: Visit<'_>) -> ControlFlow<()> {
        if leads_out(name) {
            return visit(Cut::File, name, Err(Flaw::Name));
        }
        let walked = match self.cut.unwrap_or(Cut::File) {
            Cut::File => whole(read, self.max).map(|bytes| visit(Cut::File, name, bytes)),
            cut => self.parts(&format!("{name} "), cut, BufReader::with_capacity(BLOCK, read), visit),
        };
        walked.unwrap_or_else(|why| visit(Cut::File, name, Err(Flaw::Damaged(why.to_string()))))
    }

    fn parts(
        &self,
        before: &str,
        cut: Cut,
        mut read: impl BufRead,
        visit: Visit<'_>,
    ) -> io::Result<ControlFlow<()>> {
        if cut == Cut::Row {
            return rows::walk(before, read, self.max, visit);
        }
        let mut number = 0u64;
        loop {
            let mut line = Vec::new();
            // One byte more than allowed, and the line break.
            (&mut read).take(self.max as u64 + 2).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            number += 1;
            let ended = line.pop_if(|last| *last == b'\n').is_some();
            let line = if line.len() > self.max {
                if !ended {
                    read.skip_until(b'\n')?;
                }
                Err(Flaw::TooLarge(self.max))
            } else {
                line.shrink_to_fit();
                Ok(line)
            };
            if visit(Cut::Line, &format!("{before}line {number}"), line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

/// All of a file, unless it is larger than `max`.
fn whole(read: impl Read, max: usize) -> io::Result<Result<Vec<u8>, Flaw>> {
    let mut bytes = Vec::new();
    read.take(max as u64 + 1).read_to_end(&mut bytes)?;
    bytes.shrink_to_fit();
    Ok(if bytes.len() > max { Err(Flaw::TooLarge(max)) } else { Ok(bytes) })
}

/// Whether a name in an archive means a place outside of it.
fn leads_out(name: &str) -> bool {
    name.starts_with(['/', '\\']) || name.split(['/', '\\']).any(|part| part == "..")
}

/// A tar's mark stands at 257.
const HEAD: usize = 512;

fn kind_of(file: &mut File) -> io::Result<Kind> {
    let mut head = Vec::new();
    (&mut *file).take(HEAD as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(match &head[..] {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 6, 6, ..] => Kind::Zip,
        [0x1f, 0x8b, 8, ..] => Kind::Gzip,
        head if is_tar(head) => Kind::Tar,
        _ => Kind::Plain,
    })
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

struct Counting {
    file: File,
    extent: Extent,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.extent.add_taken(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    pub type All = Vec<(String, Result<String, Flaw>)>;

    pub fn walk(name: &str, bytes: &[u8], cut: Option<Cut>, max: usize) -> Result<All, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        let walk = Walk { cut, max, extent: Extent::default() };
        let walked = walk.file(&path, &mut |_, name, body| {
            all.push((name.to_owned(), body.map(|body| String::from_utf8(body).unwrap())));
            ControlFlow::Continue(())
        });
        walked.map(|_| all).map_err(|why| why.to_string())
    }

    fn ok(name: &str, body: &str) -> (String, Result<String, Flaw>) {
        (name.to_owned(), Ok(body.to_owned()))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn lines_of_text() {
        let all = walk("a.log", b"one\n\nthree\nlong line\nlast", None, 5).unwrap();
        let long = ("line 4".to_owned(), Err(Flaw::TooLarge(5)));
        assert_eq!(
            all,
            [ok("line 1", "one"), ok("line 2", ""), ok("line 3", "three"), long, ok("line 5", "last")]
        );
        assert_eq!(walk("a.log", b"", None, 5).unwrap(), []);
        let packed = gzip(b"one\ntwo\n");
        assert_eq!(walk("a.log.gz", &packed, None, 5).unwrap(), [ok("line 1", "one"), ok("line 2", "two")]);
        assert_eq!(walk("a.log", b"one\ntwo\n", Some(Cut::File), 50).unwrap(), [ok("a.log", "one\ntwo\n")]);
        let broken = walk("a.log.gz", &packed[..packed.len() - 9], None, 5).unwrap_err();
        assert!(broken.contains("cannot read") && broken.contains("to its end"), "{broken}");
    }

    #[test]
    fn rows_of_a_table() {
        let table = "id,name\n1,\"a\"\"b\"\n2\n\u{33},c\n";
        let all = walk("a.CSV", table.as_bytes(), None, 100).unwrap();
        let short = ("row 2".to_owned(), Err(Flaw::Fields { expected: 2, got: 1 }));
        assert_eq!(
            all,
            [ok("row 1", r#"{"id":"1","name":"a\"b"}"#), short, ok("row 3", r#"{"id":"3","name":"c"}"#)]
        );
        let all = walk("a.txt", b"a\n123456789\n1\n", Some(Cut::Row), 10).unwrap();
        assert_eq!(all, [("row 1".to_owned(), Err(Flaw::TooLarge(10))), ok("row 2", r#"{"a":"1"}"#)]);
        let all = walk("a.csv", b"a\n\xff\n", None, 10).unwrap();
        assert_eq!(all, [("row 1".to_owned(), Err(Flaw::NotText))]);
    }

    #[test]
    fn tapes() {
        let mut builder = ::tar::Builder::new(Vec::new());
        let long = format!("{}/b", "long/".repeat(40));
        for (name, body) in [("a", "one\ntwo"), (long.as_str(), "second"), ("c", "much too large")] {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(body.len() as u64);
            header.set_entry_type(::tar::EntryType::Regular);
            builder.append_data(&mut header, name, body.as_bytes()).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let large = ("c".to_owned(), Err(Flaw::TooLarge(10)));
        let expected = [ok("a", "one\ntwo"), ok(&long.replace("//", "/"), "second"), large];
        let tidy = |all: All| -> All {
            all.into_iter().map(|(name, body)| (name.replace("//", "/"), body)).collect()
        };
        assert_eq!(tidy(walk("a.tar", &bytes, None, 10).unwrap()), expected);
        assert_eq!(tidy(walk("a.tgz", &gzip(&bytes), None, 10).unwrap()), expected);
        let lines = walk("a.tar", &bytes, Some(Cut::Line), 10).unwrap();
        assert_eq!(lines[..2], [ok("a line 1", "one"), ok("a line 2", "two")]);
        assert!(walk("a.tar", &bytes[..1500], None, 10).is_err());
    }

    #[test]
    fn names_that_lead_out() {
        for (name, is) in [("a/b", false), ("../a", true), ("a/../../b", true), ("/a", true), ("a..b", false)]
        {
            assert_eq!(leads_out(name), is, "{name}");
        }
    }
}
