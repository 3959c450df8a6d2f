//! Every record of a file, one after the other: of an archive, of text, of a table, and of those when they are packed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::head::Head;
use super::kind::{Foreign, Kind};
use super::unpack::{Packing, Unpacked};
use super::{Flaw, LeftOut, RecordError, judge, lines, rows, tar_reader, zip};

/// 64 KiB: what is asked for in one read, and what is looked at to tell what it is.
const BLOCK: usize = 64 * 1024;

/// 4 packings, one in another.
const DEPTH_MAX: usize = 4;

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

/// What is found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record: what it is, and its bytes.
    Record(Cut, Vec<u8>),
    /// A record that cannot be read.
    Flawed(Flaw),
    /// What is no record.
    LeftOut(LeftOut),
}

/// How far a walk is, for other threads.
#[derive(Clone, Debug, Default)]
pub struct Extent(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    taken: AtomicU64,
    entries: AtomicU64,
    files: AtomicU64,
}

/// Who gets what is found, and its name in its file.
pub type Visit<'a> = &'a mut dyn FnMut(&str, Found) -> ControlFlow<()>;

/// How a walk is done.
#[derive(Clone, Debug)]
pub struct Walk {
    /// What a record is; none: a file of an archive, a row of a `.csv` or `.tsv`, a line of other text.
    pub cut: Option<Cut>,
    /// The largest record, in bytes.
    pub max: usize,
    /// What stands between the fields of a table; none: what its first rows tell.
    pub delimiter: Option<u8>,
    /// Whether blank lines are records, too.
    pub keep_blank: bool,
    /// Is told how far it is.
    pub extent: Extent,
}

/// Why something is not read to its end.
pub(super) enum Broken {
    /// It is not what it should be, and none of its records was given.
    Refused(String),
    /// Reading failed on the way.
    Read(io::Error),
}

impl From<io::Error> for Broken {
    fn from(why: io::Error) -> Broken {
        Broken::Read(why)
    }
}

/// What is read, whatever it is packed in.
type Source<'a> = Head<Box<dyn BufRead + 'a>>;

/// Where something is.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// What it is called, without what says how it is packed.
    name: &'a str,
    /// The member of an archive that it is.
    member: Option<&'a str>,
    /// In how many packings it is.
    depth: usize,
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
    /// A walk by the defaults, where a record is what `cut` says and has at most `max` bytes.
    pub fn new(cut: Option<Cut>, max: usize) -> Walk {
        Walk { cut, max, delimiter: None, keep_blank: false, extent: Extent::default() }
    }

    /// Gives everything that is found in the file at `path` to `visit`, until that breaks off. What is wrong with one
    /// record does not end it; memory does not grow with the file.
    ///
    /// # Errors
    /// Where the file cannot be opened, is not understood, or cannot be read to its end.
    pub fn file(&self, path: &Path, visit: Visit<'_>) -> Result<ControlFlow<()>, RecordError> {
        let name = || path.display().to_string();
        let open = |why| RecordError::Open { name: name(), why };
        let file = File::open(path).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        self.extent.0.files.fetch_add(1, Relaxed);
        let file_name = shown(path.file_name().unwrap_or_default().as_encoded_bytes());
        let place = Place { name: &file_name, member: None, depth: 0 };
        let walked = if metadata.is_file() {
            self.seekable(file, metadata.len(), place, visit)
        } else {
            self.content(place, self.source(file), visit)
        };
        walked.map_err(|why| why.of(name()))
    }

    /// The same with standard input, which is called `-`.
    ///
    /// # Errors
    /// Where it is not understood, or cannot be read to its end.
    pub fn stdin(&self, visit: Visit<'_>) -> Result<ControlFlow<()>, RecordError> {
        let place = Place { name: "-", member: None, depth: 0 };
        self.extent.0.files.fetch_add(1, Relaxed);
        let counting = Counting { read: io::stdin().lock(), extent: self.extent.clone() };
        let source: Source<'_> = Head::new(Box::new(BufReader::with_capacity(BLOCK, counting)), BLOCK);
        self.content(place, source, visit).map_err(|why| why.of("standard input".to_owned()))
    }

    /// Whether a file of an archive is one record.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.cut, None | Some(Cut::File))
    }

    fn source<'a>(&self, read: impl Read + 'a) -> Source<'a> {
        let counting = Counting { read, extent: self.extent.clone() };
        Head::new(Box::new(BufReader::with_capacity(BLOCK, counting)), BLOCK)
    }

    /// A file that can be read from its end, as zips are.
    fn seekable(
        &self,
        mut file: File,
        len: u64,
        place: Place<'_>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, Broken> {
        let mut head = Vec::new();
        (&mut file).take(BLOCK as u64).read_to_end(&mut head)?;
        let is_zip = match Kind::of(&head) {
            Kind::Zip => true,
            // A program or a script that unpacks itself stands before the zip.
            Kind::Other | Kind::Foreign(_) => zip::ends_one(&file),
            Kind::Tar | Kind::Packed(_) => false,
        };
        file.rewind()?;
        if !is_zip {
            drop(head);
            return self.content(place, self.source(file), visit);
        }
        judge::archive(place.name, "a zip", self.cut).map_err(Broken::Refused)?;
        let walked = zip::walk(file, self, visit)?;
        self.extent.add_taken(len);
        Ok(walked)
    }

    /// Whatever it is.
    fn content(
        &self,
        place: Place<'_>,
        mut source: Source<'_>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, Broken> {
        if let Some(why) = source.take_error() {
            return Err(Broken::Read(why));
        }
        let kind = Kind::of(source.first());
        match kind {
            Kind::Zip | Kind::Tar if place.member.is_some() => {
                let what = "an archive in an archive: unpack the outer one and give the folder";
                Err(Broken::Refused(what.to_owned()))
            }
            Kind::Zip => {
                judge::archive(place.name, "a zip", self.cut).map_err(Broken::Refused)?;
                // Its directory is at its end.
                let mut file = tempfile::tempfile()?;
                io::copy(&mut source, &mut file)?;
                Ok(zip::walk(file, self, visit)?)
            }
            Kind::Tar => {
                let is_zeros = source.first().iter().all(|byte| *byte == 0);
                let what = if is_zeros { "of zeros, as a tar of nothing is" } else { "a tar" };
                judge::archive(place.name, what, self.cut).map_err(Broken::Refused)?;
                Ok(tar_reader::walk(source, self, visit)?)
            }
            Kind::Packed(packing) => self.packed(packing, place, source, visit),
            Kind::Foreign(foreign) => self.plain(place, source, Some(foreign), visit),
            Kind::Other => self.plain(place, source, None, visit),
        }
    }

    fn packed(
        &self,
        packing: Packing,
        place: Place<'_>,
        source: Source<'_>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, Broken> {
        if place.depth == DEPTH_MAX {
            return Err(Broken::Refused(format!(
                "it is packed more than {DEPTH_MAX} times: unpack it first"
            )));
        }
        let name = judge::unpacked_name(place.name);
        let mut unpacked = Unpacked::new(packing, source);
        let inner: Source<'_> = Head::new(Box::new(BufReader::with_capacity(BLOCK, &mut unpacked)), BLOCK);
        let walked = self.content(Place { name: &name, depth: place.depth + 1, ..place }, inner, visit)?;
        match unpacked.rest() {
            Some(rest) if walked.is_continue() => Err(Broken::Read(io::Error::other(rest.to_owned()))),
            _ => Ok(walked),
        }
    }

    /// What is no archive.
    fn plain(
        &self,
        place: Place<'_>,
        source: Source<'_>,
        foreign: Option<Foreign>,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, Broken> {
        let cut = judge::other(place.name, source.first(), source.is_all(), foreign, self.cut);
        let before = place.member.map_or(String::new(), |member| format!("{member} "));
        Ok(match cut.map_err(Broken::Refused)? {
            Cut::File => visit(place.member.unwrap_or(place.name), whole(source, self.max)),
            Cut::Line => lines::walk(&before, source, self.max, self.keep_blank, visit)?,
            Cut::Row => {
                let delimiter = self.delimiter.or_else(|| judge::delimiter(place.name));
                rows::walk(&before, source, self.max, delimiter, visit)?
            }
        })
    }

    /// A file of `size` bytes in an archive, which is a record or holds some. What is wrong with all of it is one
    /// failed record.
    pub(super) fn member(&self, name: &str, read: impl Read, size: u64, visit: Visit<'_>) -> ControlFlow<()> {
        if self.is_whole() {
            // It need not be read to see that; one that lies about it is caught as it is read.
            if size > self.max as u64 {
                return visit(name, Found::Flawed(Flaw::TooLarge(self.max)));
            }
            let mut read = Head::new(read, APPLE_DOUBLE.len());
            if file_name(name).starts_with("._") && read.first() == APPLE_DOUBLE {
                return visit(name, Found::LeftOut(LeftOut::MacMetadata));
            }
            return visit(name, whole(&mut read, self.max));
        }
        let source: Source<'_> = Head::new(Box::new(BufReader::with_capacity(BLOCK, read)), BLOCK);
        let place = Place { name, member: Some(name), depth: 0 };
        match self.content(place, source, visit) {
            Ok(flow) => flow,
            Err(Broken::Refused(why)) => visit(name, Found::Flawed(Flaw::Refused(why))),
            Err(Broken::Read(why)) => visit(name, Found::Flawed(damage(&why))),
        }
    }
}

impl Broken {
    fn of(self, name: String) -> RecordError {
        match self {
            Broken::Refused(why) => RecordError::Refused { name, why },
            Broken::Read(why) => RecordError::Read { name, why },
        }
    }
}

/// What is wrong with a file that cannot be read to its end.
pub(super) fn damage(why: &io::Error) -> Flaw {
    match why.kind() {
        io::ErrorKind::UnexpectedEof => Flaw::Incomplete(why.to_string()),
        _ => Flaw::Damaged(why.to_string()),
    }
}

/// All of a file, unless it is larger than `max` or cannot be read to its end.
fn whole(read: impl Read, max: usize) -> Found {
    let mut bytes = Vec::new();
    match read.take(max as u64 + 1).read_to_end(&mut bytes) {
        Err(why) => Found::Flawed(damage(&why)),
        Ok(_) if bytes.len() > max => Found::Flawed(Flaw::TooLarge(max)),
        Ok(_) => {
            bytes.shrink_to_fit();
            Found::Record(Cut::File, bytes)
        }
    }
}

/// How what macOS keeps beside a file begins.
const APPLE_DOUBLE: &[u8] = b"\x00\x05\x16\x07";

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Whether a name in an archive is one of those under which macOS keeps what is no part of the files.
pub(super) fn is_mac_metadata(name: &str) -> bool {
    name.split('/').any(|part| part == "__MACOSX") || file_name(name) == ".DS_Store"
}

/// A name of any bytes, so that two names are never shown as one.
pub fn shown(name: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in name.utf8_chunks() {
        shown.push_str(chunk.valid());
        shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    shown
}

struct Counting<R> {
    read: R,
    extent: Extent,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.read.read(buffer)?;
        self.extent.add_taken(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
