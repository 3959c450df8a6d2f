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
mod tests {
    use super::*;
    use std::io::Write;

    pub type All = Vec<(String, Result<String, Flaw>)>;

    /// What is found in a file of this name, and why it is not read to its end; what is left out in angle brackets.
    pub fn found(name: &str, bytes: &[u8], walk: &Walk) -> (All, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        let walked = walk.file(&path, &mut |name, found| {
            let found = match found {
                Found::Record(_, body) => Ok(String::from_utf8_lossy(&body).into_owned()),
                Found::Flawed(flaw) => Err(flaw),
                Found::LeftOut(what) => Ok(format!("<{what}>")),
            };
            all.push((name.to_owned(), found));
            ControlFlow::Continue(())
        });
        (all, walked.err().map(|why| why.to_string()))
    }

    pub fn walk(name: &str, bytes: &[u8], cut: Option<Cut>, max: usize) -> Result<All, String> {
        let (all, wrong) = found(name, bytes, &Walk::new(cut, max));
        wrong.map_or(Ok(all), Err)
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
        assert_eq!(walk("a.log", b"\xef\xbb\xbfone\r\n", None, 5).unwrap(), [ok("line 1", "one")]);
        assert!(walk("a.log", b"one\n\xff\n", None, 5).unwrap_err().contains("its line 2 is no UTF-8"));
        let text = b"\xef\xbb\xbfone\r\n\r\nthree\nlong line\n\xff\n \nlast";
        let blank = |line: usize| (format!("line {line}"), Ok("<blank line>".to_owned()));
        let expected = [
            ok("line 1", "one"),
            blank(2),
            ok("line 3", "three"),
            ("line 4".to_owned(), Err(Flaw::TooLarge(5))),
            ("line 5".to_owned(), Err(Flaw::NotText)),
            blank(6),
            ok("line 7", "last"),
        ];
        assert_eq!(walk("a.log", text, Some(Cut::Line), 5).unwrap(), expected);
        let kept = Walk { keep_blank: true, ..Walk::new(None, 5) };
        let (all, _) = found("a.log", b"a\r\n\r\n \n", &kept);
        assert_eq!(all, [ok("line 1", "a"), ok("line 2", ""), ok("line 3", " ")]);
        assert_eq!(walk("a.log", b"", None, 5).unwrap(), []);
        let packed = gzip(b"one\ntwo\n");
        assert_eq!(walk("a.log.gz", &packed, None, 5).unwrap(), [ok("line 1", "one"), ok("line 2", "two")]);
        assert_eq!(walk("a.csv", &gzip(b"a\n1\n"), None, 50).unwrap(), [ok("row 1", r#"{"a":"1"}"#)]);
        assert_eq!(walk("a.log", b"one\ntwo\n", Some(Cut::File), 50).unwrap(), [ok("a.log", "one\ntwo\n")]);
        let mut nested = b"one\n".to_vec();
        for _ in 0..=DEPTH_MAX {
            nested = gzip(&nested);
        }
        assert!(walk("a", &nested, None, 5).unwrap_err().contains("packed more than 4 times"));
    }

    #[test]
    fn what_is_cut_is_posted_as_far_as_it_is_whole() {
        // Whether it is small or not, and for the lack of a line break the last line is one.
        for lines in [3, 30_000] {
            let text: String = (0..lines).map(|n| format!("line of text {n}\n")).collect();
            let text = text.trim_end();
            let packed = gzip(text.as_bytes());
            let (all, wrong) = found("a.gz", &packed, &Walk::new(None, 100));
            assert_eq!((all.len(), wrong), (lines, None));
            let (all, wrong) = found("a.gz", &[&packed[..], b"garbage"].concat(), &Walk::new(None, 100));
            assert_eq!(all.len(), lines);
            assert!(all.iter().all(|(_, found)| found.is_ok()));
            let wrong = wrong.unwrap();
            assert!(
                wrong.contains("cannot read") && wrong.contains("behind the end of the gzip data"),
                "{wrong}"
            );
            let (all, wrong) = found("a.gz", &packed[..packed.len() - 9], &Walk::new(None, 100));
            assert!(wrong.unwrap().contains("to its end: the gzip data ends too early: it was cut off"));
            let whole = all.iter().filter(|(_, found)| found.is_ok()).count();
            assert_eq!(whole, all.len() - 1, "the last is not whole");
            assert!(matches!(&all[whole].1, Err(Flaw::Incomplete(_))), "{:?}", all[whole]);
            for (n, (name, body)) in all[..whole].iter().enumerate() {
                assert_eq!((name, body), (&format!("line {}", n + 1), &Ok(format!("line of text {n}"))));
            }
        }
        let table = gzip(b"a,b\n1,2\n3,4\n5,6\n");
        let (all, wrong) = found("a.csv.gz", &table[..table.len() - 9], &Walk::new(None, 100));
        assert!(wrong.is_some() && all.len() < 4, "{all:?}");
        let whole = all.iter().take_while(|(_, found)| found.is_ok()).count();
        assert!(whole >= all.len() - 1, "{all:?}");
        let (all, wrong) = found("a.gz", &table[..table.len() - 1], &Walk::new(Some(Cut::File), 100));
        assert!(matches!(&all[..], [(name, Err(Flaw::Incomplete(_)))] if name == "a"), "{all:?}");
        assert_eq!(wrong, None);
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
        let all = walk("a.csv", b"a\n\xff\n", Some(Cut::Row), 10).unwrap();
        assert_eq!(all, [("row 1".to_owned(), Err(Flaw::NotText))]);
        let all = walk("a.tsv", b"a\tb\n1,5\t2\n", None, 100).unwrap();
        assert_eq!(all, [ok("row 1", r#"{"a":"1,5","b":"2"}"#)]);
        let tilde = Walk { delimiter: Some(b'~'), ..Walk::new(None, 100) };
        assert_eq!(found("a.csv", b"a~b\n1~2", &tilde).0, [ok("row 1", r#"{"a":"1","b":"2"}"#)]);
        let twice = walk("a.csv", b"a,b,a\n1,2,3\n", None, 100).unwrap_err();
        assert!(twice.contains("is not posted: two of its columns are called 'a': rename one"), "{twice}");
    }

    #[test]
    fn a_quote_that_is_left_open_is_a_failed_row() {
        let open = |row: usize| (format!("row {row}"), Err(Flaw::OpenQuote));
        for (table, expected) in [
            (&b"a,b\n1,\"2\n3,4\n5,6\n"[..], vec![open(1)]),
            (b"a,b\n1,2\n3,\"4\"\"\n", vec![ok("row 1", r#"{"a":"1","b":"2"}"#), open(2)]),
            (b"a,b\n1,2\n\"", vec![ok("row 1", r#"{"a":"1","b":"2"}"#), open(2)]),
            (b"a,b\n1,\"2\n3\"\n", vec![ok("row 1", r#"{"a":"1","b":"2\n3"}"#)]),
            (b"a,b\n1,\"\"\"\"", vec![ok("row 1", r#"{"a":"1","b":"\""}"#)]),
            (b"a,b", vec![]),
        ] {
            assert_eq!(walk("a.csv", table, None, 100).unwrap(), expected, "{}", table.escape_ascii());
        }
        assert!(
            walk("a.csv", b"a,\"b\n1,2\n", None, 100)
                .unwrap_err()
                .contains("its header is not a complete row")
        );
        // One that is longer than a row may be is told of before all of it is in memory.
        let long = [&b"a,b\n1,\""[..], &[b'x'; 100_000]].concat();
        let (all, wrong) = found("a.csv", &long, &Walk::new(None, 100));
        assert_eq!(all, [open(1)]);
        assert!(wrong.unwrap().contains("larger than --max-record"));
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
        // Whatever a tar is packed in, it is judged by the name.
        for (name, packed) in [("a.csv", bytes.clone()), ("a.txt.gz", gzip(&bytes)), ("a.xlsx", gzip(&bytes))]
        {
            let why = walk(name, &packed, None, 10).unwrap_err();
            assert!(why.contains("is not posted: its name ends in") && why.contains("it is a tar"), "{why}");
            assert_eq!(walk(name, &packed, Some(Cut::File), 10).unwrap().len(), 3);
        }
        let cut = |len: usize| found("a.tar", &bytes[..len], &Walk::new(None, 10));
        let at = bytes.windows(6).position(|window| window == b"second").unwrap();
        for (len, whole, flawed) in [(at + 3, 1, 1), (at + 6, 2, 0), (at.next_multiple_of(512) + 512, 2, 0)] {
            let (all, wrong) = cut(len);
            assert_eq!(all.iter().filter(|(_, found)| found.is_ok()).count(), whole, "{len}: {all:?}");
            assert_eq!(all.len(), whole + flawed, "{len}: {all:?}");
            assert!(wrong.is_some(), "{len}");
        }
        // Tars one behind the other, with more zeros between them than headers may have bytes.
        let two = [&bytes[..], &vec![0; 2 << 20], &bytes].concat();
        assert_eq!(walk("a.tar", &two, None, 10).unwrap().len(), 6);
        let (all, wrong) = found("a.tar", &[&bytes[..], &[b'x'; 512]].concat(), &Walk::new(None, 10));
        assert!(all.len() == 3 && wrong.unwrap().contains("after c: "));
    }

    #[test]
    fn a_name_of_any_bytes_is_shown_as_no_other() {
        assert_eq!(shown(b"a/\xc3\xbc"), "a/\u{fc}");
        assert_ne!(shown(b"\xe4"), shown(b"\xf6"));
        assert!(
            is_mac_metadata("__MACOSX/a/._b") && is_mac_metadata("a/.DS_Store") && !is_mac_metadata("a/._b")
        );
    }
}
