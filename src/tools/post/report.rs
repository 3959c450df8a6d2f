//! What became of the records, for people and for programs.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use serde::{Deserialize, Serialize, Serializer};

use super::source_id::{SourceId, Wanted};
use crate::core::limits::{POST_KINDS, POST_NAMED};
use crate::http::dispatch::judge::Reason;
use crate::tools::records::LeftOut;

/// A record that was not stored: a line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Line", try_from = "Line")]
pub struct FailedRecord {
    /// Its source.
    pub source: PathBuf,
    /// The id of its source; none in reports of earlier versions.
    pub source_id: Option<String>,
    /// Its name in there.
    pub record: String,
    /// Its Idempotency-Key; none if it could not be read.
    pub key: Option<String>,
    /// The status of the last answer, if one came.
    pub status: Option<u16>,
    /// How often it was tried.
    pub tries: u32,
    /// Why it was not stored.
    pub reason: String,
}

/// A failed record as it is written: JSON holds UTF-8 alone, and the name of a file may be any bytes.
#[derive(Serialize, Deserialize)]
struct Line {
    source: String,
    /// Where `source` does not say all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_id: Option<String>,
    record: String,
    key: Option<String>,
    status: Option<u16>,
    tries: u32,
    reason: String,
}

impl From<FailedRecord> for Line {
    fn from(failed: FailedRecord) -> Line {
        let FailedRecord { source, source_id, record, key, status, tries, reason } = failed;
        let is_text = source.to_str().is_some();
        let source_base64 = (!is_text).then(|| STANDARD.encode(source.as_os_str().as_encoded_bytes()));
        let source = source.to_string_lossy().into_owned();
        Line { source, source_base64, source_id, record, key, status, tries, reason }
    }
}

impl TryFrom<Line> for FailedRecord {
    type Error = DecodeError;

    fn try_from(line: Line) -> Result<FailedRecord, DecodeError> {
        let Line { source, source_base64, source_id, record, key, status, tries, reason } = line;
        let source = match source_base64 {
            Some(encoded) => path_of(STANDARD.decode(encoded)?),
            None => source.into(),
        };
        Ok(FailedRecord { source, source_id, record, key, status, tries, reason })
    }
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

fn lossy<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureKind {
    /// In a few words.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The first one's reason.
    pub example: String,
}

/// What is in a source and is no record: a line of a report, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOutRecord {
    /// The source.
    #[serde(serialize_with = "lossy")]
    pub source: PathBuf,
    /// Its name in there.
    pub record: String,
    /// What it is.
    pub left_out: String,
}

/// What was left out, of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOutKind {
    /// What one is called.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// Whether each has a name.
    #[serde(skip)]
    pub is_named: bool,
}

/// What became of all records.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// What was found in the sources, of any kind: the sum of what was stored, stored before, failed, left out and
    /// not sent.
    pub found: u64,
    /// Records that were stored in this run.
    pub stored: u64,
    /// Records that earlier runs had stored.
    pub stored_before: u64,
    /// Records that were not stored, in this run or an earlier one.
    pub failed: u64,
    /// What is no record: links, devices, folders, blank lines and the like.
    pub left_out: u64,
    /// Records that were taken and not ended, because the run was.
    pub unsent: u64,
    /// Bytes of the records that were stored in this run.
    pub bytes: u64,
    /// Requests that were begun.
    pub requests: u64,
    /// Connections that were open at once, at most.
    pub connections_max: usize,
    /// Connections that the store refused.
    pub refused: u64,
    /// Connections that the store's system agreed to and its program did not take in time.
    pub not_taken: u64,
    /// Connections that were opened at once at the end, from what was learned of the store.
    pub connections_allowed: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Failures by kind, in the order in which they came.
    pub failures: Vec<FailureKind>,
    /// The first records that failed.
    pub first: Vec<FailedRecord>,
    /// What was left out by kind, in the order in which it came.
    pub left_out_kinds: Vec<LeftOutKind>,
    /// The first that was left out and has a name.
    pub first_left_out: Vec<LeftOutRecord>,
    /// The first sources that could not be taken, or not be read to their end, and why.
    pub broken: Vec<String>,
    /// How many sources could not.
    pub broken_sources: u64,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Why it ended before everything was done.
    pub error: Option<String>,
    /// Whether that was the store's doing.
    #[serde(skip)]
    pub is_gone: bool,
}

impl Report {
    /// Whether every record is stored.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.unsent == 0 && self.broken_sources == 0 && self.error.is_none()
    }

    /// Whether nothing was done, because no source could be taken.
    pub fn is_untouched(&self) -> bool {
        self.requests == 0 && self.stored_before == 0 && self.failed == 0 && self.left_out == 0
    }

    /// Records stored a second.
    pub fn per_s(&self) -> f64 {
        self.stored as f64 / self.seconds.max(1e-6)
    }

    pub(super) fn add_failed(&mut self, record: &FailedRecord, kind: &str) {
        self.failed += 1;
        if self.first.len() < POST_NAMED {
            self.first.push(record.clone());
        }
        let kind = match self.failures.iter().any(|known| known.kind == kind) {
            false if self.failures.len() >= POST_KINDS => "other",
            _ => kind,
        };
        match self.failures.iter_mut().find(|known| known.kind == kind) {
            Some(known) => known.count += 1,
            None => self.failures.push(FailureKind {
                kind: kind.to_owned(),
                count: 1,
                example: record.reason.clone(),
            }),
        }
    }

    pub(super) fn add_left_out(&mut self, left_out: LeftOutRecord, what: &LeftOut) {
        self.left_out += 1;
        if what.is_named() && self.first_left_out.len() < POST_NAMED {
            self.first_left_out.push(left_out);
        }
        match self.left_out_kinds.iter_mut().find(|known| known.kind == what.kind()) {
            Some(known) => known.count += 1,
            None => self.left_out_kinds.push(LeftOutKind {
                kind: what.kind(),
                count: 1,
                is_named: what.is_named(),
            }),
        }
    }

    /// Whether everything that was found is told of.
    pub fn adds_up(&self) -> bool {
        self.found == self.stored + self.stored_before + self.failed + self.left_out + self.unsent
    }

    pub(super) fn add_broken(&mut self, why: String) {
        self.broken_sources += 1;
        if self.broken.len() < POST_NAMED {
            self.broken.push(why);
        }
    }
}

/// A file of failed records, a JSON object a line.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    to: BufWriter<File>,
}

impl Lines {
    /// Begins the file at `path` anew.
    pub fn create(path: &Path) -> io::Result<Lines> {
        Ok(Lines { path: path.to_owned(), to: BufWriter::new(File::create(path)?) })
    }

    /// Adds a line.
    pub fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }

    /// Hands what was added to the system, and says where it is.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        self.to.flush()?;
        Ok(self.path)
    }
}

/// The last line of a report's file: the counts, without the records that have lines of their own.
#[derive(Debug, Serialize)]
pub(super) struct LastLine {
    summary: serde_json::Value,
}

impl LastLine {
    pub fn of(report: &Report) -> LastLine {
        let mut summary = serde_json::to_value(report).expect("a report is numbers and names");
        for named in ["first", "first_left_out"] {
            summary.as_object_mut().expect("a report has fields").remove(named);
        }
        LastLine { summary }
    }
}

/// The failed record that a line of a report's file tells of; none if it tells of something else.
fn read_line(line: &str) -> Result<Option<FailedRecord>, serde_json::Error> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)?;
    if fields.contains_key("summary") || fields.contains_key("left_out") {
        return Ok(None);
    }
    serde_json::from_value(fields.into()).map(Some)
}

/// What a line of a report looks like, for the error where it is not one.
const LINE: &str =
    r#"{"source":"orders.zip","record":"1.json","key":null,"status":503,"tries":4,"reason":"503 …"}"#;

/// The failed records of a report's file, source by source.
///
/// # Errors
/// In one line with the mend: it cannot be read, or has a line that is none of a report.
pub fn failed_records(path: &Path) -> Result<Vec<(PathBuf, Wanted)>, String> {
    let shown = path.display();
    let unread =
        |why: io::Error| format!("cannot read the report {shown}: {why}: give one that --report wrote");
    let reader = BufReader::new(File::open(path).map_err(unread)?);
    let mut sources: Vec<(PathBuf, Wanted)> = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let none = |why: &dyn fmt::Display| {
            let line = index + 1;
            format!(
                "{shown} line {line} is not a line of a report ({why}): give a file that framegate post --report wrote, \
                 with lines such as {LINE}"
            )
        };
        let line = match line {
            Err(why) if why.kind() == io::ErrorKind::InvalidData => return Err(none(&"it is not UTF-8")),
            line => line.map_err(unread)?,
        };
        let Some(failed) = read_line(&line).map_err(|why| none(&why))? else { continue };
        let record = (failed.record, failed.source_id.map(SourceId::from));
        match sources.iter_mut().find(|(source, _)| *source == failed.source) {
            Some((_, records)) => drop(records.insert(record.0, record.1)),
            None => sources.push((failed.source, Wanted::from([record]))),
        }
    }
    Ok(sources)
}

/// How far a posting is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Of all sources together that were begun.
    pub all: Part,
    /// Of each source that is under way.
    pub sources: Vec<Part>,
    /// Sources that were begun or refused so far.
    pub begun: u64,
    /// Records under way, the waiting ones among them.
    pub in_flight: usize,
    /// Open connections.
    pub connections: usize,
    /// Records ended a second, of late.
    pub per_s: f64,
}

/// How far a source is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Tells it from others.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Records ended, well or not, in this run or an earlier one.
    pub done: u64,
    /// Those among them that failed.
    pub failed: u64,
    /// About how many there are, where that can be told.
    pub total: Option<u64>,
}

pub(super) fn failed_record(
    source: &Path,
    (record, source_id, key): (&str, &str, Option<&super::Key>),
    tries: u32,
    reason: &Reason,
) -> FailedRecord {
    FailedRecord {
        source: source.to_owned(),
        source_id: Some(source_id.to_owned()),
        record: record.to_owned(),
        key: key.map(ToString::to_string),
        status: reason.status,
        tries,
        reason: reason.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(source: &str, record: &str) -> FailedRecord {
        failed_record(Path::new(source), (record, "id", None), 4, &Reason::of("503 x", "503 x: busy"))
    }

    #[test]
    fn a_report_can_be_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let mut report = Report::default();
        let mut lines = Lines::create(&path).unwrap();
        for (source, record) in [("a", "1"), ("b", "x\ny"), ("a", "2")] {
            let failed = failed(source, record);
            report.add_failed(&failed, "503 x");
            lines.write(&failed).unwrap();
        }
        let link = LeftOutRecord { source: "a".into(), record: "l".into(), left_out: "link".into() };
        lines.write(&link).unwrap();
        lines.write(&LastLine::of(&report)).unwrap();
        lines.finish().unwrap();
        let expected = [("a", vec!["1", "2"]), ("b", vec!["x\ny"])].map(|(source, records)| {
            let records = records.into_iter().map(|record| (record.to_owned(), Some("id".into())));
            (PathBuf::from(source), records.collect::<Wanted>())
        });
        assert_eq!(failed_records(&path).unwrap(), expected);
        // The example in the message is such a line.
        assert!(read_line(LINE).unwrap().is_some());
        for (text, why) in [
            (&b"{}\n"[..], "line 1 is not a line of a report (missing field `source`)"),
            (b"3 small files\n", "line 1 is not a line of a report ("),
            (b"{\"left_out\":\"link\"}\nnull\n", "line 2 is not a line of a report ("),
            (b"\xff\xfe\n", "line 1 is not a line of a report (it is not UTF-8)"),
        ] {
            std::fs::write(&path, text).unwrap();
            let wrong = failed_records(&path).unwrap_err();
            assert!(wrong.contains(why) && wrong.contains("framegate post --report wrote"), "{wrong}");
            assert!(wrong.contains(LINE) && !wrong.contains("untagged"), "{wrong}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_name_of_any_bytes_can_be_read_back() {
        let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xff.csv");
        let failed = FailedRecord { source: name.into(), ..failed("", "row 1") };
        let line = serde_json::to_string(&failed).unwrap();
        assert!(line.starts_with("{\"source\":\"a\u{fffd}.csv\",\"source_base64\":"), "{line}");
        assert_eq!(serde_json::from_str::<FailedRecord>(&line).unwrap(), failed);
    }

    #[test]
    fn kinds_and_names_have_a_bound() {
        let mut report = Report::default();
        for n in 0..1000 {
            report.add_failed(&failed("a", "1"), &format!("kind {}", n % 500));
        }
        assert_eq!(report.failures.len(), POST_KINDS + 1);
        assert_eq!(report.failures.iter().map(|kind| kind.count).sum::<u64>(), 1000);
        assert_eq!((report.failed, report.first.len()), (1000, POST_NAMED));
    }
}
