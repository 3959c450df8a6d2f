//! `framegate verify`: checks the frames in stored files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, print, secret};
use crate::frame::Scheme;
use crate::load::text::many;
use crate::sinks::store::index::{Compared, read};
use crate::sinks::store::{Scan, Stop, Why};

/// 10,000 topics are told apart; the frames of further ones are counted together.
const TOPICS: usize = 10_000;

/// Checks every frame in stored files: its layout, and its digest.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// Files of frames, and folders of them: a gateway's --store DIR, or a topic's folder in it
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Digests are HMAC-SHA-256 under the secret in this file [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Prints the report as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exits 0 if every frame is whole and intact, 1 if not; the first bad byte of each file is told. In a folder, files that \
end in .frames and .open are checked; the last frame of an .open one may be unfinished, since more is being written.

Examples:
  framegate verify /var/lib/framegate
  framegate verify --json /var/lib/framegate/orders.eu/20260728T*.frames";

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    files: u64,
    frames: u64,
    bytes: u64,
    topics: BTreeMap<String, Counted>,
    /// Frames of topics beyond those that are told apart.
    #[serde(skip_serializing_if = "Counted::is_nothing")]
    other_topics: Counted,
    bad: Vec<Bad>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counted {
    frames: u64,
    bytes: u64,
}

/// A file in which something is wrong.
#[derive(Debug, Serialize)]
struct Bad {
    file: String,
    /// Intact frames before it.
    frames: u64,
    /// The first bad byte, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<u64>,
    why: String,
}

impl Counted {
    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    fn is_nothing(&self) -> bool {
        *self == Counted::default()
    }
}

impl Verify {
    /// Checks everything.
    pub fn run(self) -> Result<Exit, Failure> {
        let scheme = secret::scheme(self.secret_file.as_deref())?;
        let mut files = Vec::new();
        for path in &self.paths {
            collect(path, &mut files)?;
        }
        let mut report = Report::default();
        for path in &files {
            report.check(path, &scheme);
        }
        let json = || serde_json::to_string(&report).expect("a report is numbers and names");
        print(&if self.json { json() } else { report.text() })?;
        Ok(if report.bad.is_empty() { Exit::Done } else { Exit::Partly })
    }
}

/// The files that a path stands for.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("{}: {why}: give stored files, or folders of them", path.display()))
    };
    if !fs::metadata(path).map_err(|why| wrong(&why))?.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    let before = files.len();
    walk(path, files).map_err(|why| wrong(&why))?;
    if files.len() == before {
        return Err(wrong(&"holds no file that ends in .frames or .open"));
    }
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "frames" || extension == "open") {
            files.push(path);
        }
    }
    Ok(())
}

impl Report {
    fn check(&mut self, path: &Path, scheme: &Scheme) {
        self.files += 1;
        let before = self.frames;
        let (byte, why) = match self.check_frames(path, scheme) {
            Ok(()) => return,
            Err(Stop::Flaw(flaw)) => (Some(flaw.at), flaw.to_string()),
            Err(Stop::Read(why)) => (None, why.to_string()),
        };
        let file = path.display().to_string();
        self.bad.push(Bad { file, frames: self.frames - before, byte, why });
    }

    fn check_frames(&mut self, path: &Path, scheme: &Scheme) -> Result<(), Stop> {
        let is_open = path.extension().is_some_and(|extension| extension == "open");
        // Before the frames: of an open file it says less than there is by then.
        let index = match path.extension() {
            Some(extension) if extension == "frames" || is_open => fs::read(path.with_extension("index")),
            _ => Ok(Vec::new()),
        };
        let index = index.unwrap_or_default();
        let mut compared = Compared::new(read(&index, None));
        let mut file = open(path).map_err(Stop::Read)?;
        let mut scan = Scan::new(scheme, 0);
        loop {
            match scan.next(|bytes| file.read(bytes)) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let len = frame.bytes.len();
                    self.count(&String::from_utf8_lossy(frame.topic()), len);
                    compared.frame(scan.at());
                }
                Err(Stop::Flaw(flaw)) if is_open && matches!(flaw.why, Why::Unfinished { .. }) => break,
                Err(stop) => return Err(stop),
            }
        }
        if compared.is_wrong() {
            let why = "every frame is intact, but its .index says otherwise: the order among topics is lost";
            return Err(Stop::Read(io::Error::other(why)));
        }
        Ok(())
    }

    fn count(&mut self, topic: &str, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
        if let Some(counted) = self.topics.get_mut(topic) {
            counted.add(bytes);
        } else if self.topics.len() < TOPICS {
            self.topics.entry(topic.into()).or_default().add(bytes);
        } else {
            self.other_topics.add(bytes);
        }
    }

    /// A line a topic, a line a bad file, and a line for all.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, Counted { frames, bytes }: Counted| {
            let _ = writeln!(text, "{what}: {}", told([(frames, "frame"), (bytes, "byte")]));
        };
        for (topic, counted) in &self.topics {
            // Anybody may have written the file.
            let shown = topic.escape_debug().to_string();
            line(if topic.is_empty() { "(the empty topic)" } else { &shown }, *counted);
        }
        if !self.other_topics.is_nothing() {
            line("(further topics)", self.other_topics);
        }
        for Bad { file, frames, why, .. } in &self.bad {
            let _ = writeln!(text, "BAD {file} after {}: {why}", told([(*frames, "intact frame")]));
        }
        let verdict = match self.bad.len() {
            0 => "all intact".to_string(),
            1 => "1 file is bad".to_string(),
            bad => format!("{bad} files are bad"),
        };
        let Report { files, frames, bytes, .. } = self;
        let all = told([(*files, "file"), (*frames, "frame"), (*bytes, "byte")]);
        let _ = writeln!(text, "{all}: {verdict}");
        text
    }
}

/// Counts, each with its word.
fn told<const N: usize>(counts: [(u64, &str); N]) -> String {
    counts.map(|(count, what)| many(count as usize, what)).join(", ")
}

/// A segment may get its final name after its folder was looked through.
fn open(path: &Path) -> io::Result<File> {
    File::open(path).or_else(|why| {
        if path.extension().is_some_and(|extension| extension == "open") {
            return File::open(path.with_extension("frames"));
        }
        Err(why)
    })
}
