//! `framegate verify`: checks the frames in stored files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::repair::{Left, Moved, repair};
use super::{Exit, Failure, print, secret};
use crate::core::units::{many, plain};
use crate::sinks::store::index::{Compared, read};
use crate::sinks::store::{Disk, Keys, Place, Scan, Schemes, Stop, Why, place, repair::LIST};
use crate::wire::Scheme;

/// 10,000 topics are told apart; the frames of further ones are counted together.
const TOPICS: usize = 10_000;

/// Checks every frame in stored files: its layout, and its digest.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// Files of frames, and folders of them: a gateway's --store DIR, or a topic's folder in it
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Digests are HMAC-SHA-256 under the secret in this file; can be repeated, for what was stored under earlier
    /// ones [default: none, plain SHA-256]
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// Puts frames that lie in another topic's folder where they belong, in their order, and then checks. DIR is
    /// a --store that no gateway uses; ended halfway, it goes on when it is run again
    #[arg(long)]
    repair: bool,
    /// Prints the report as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exits 0 if every frame is whole, intact and, in a store, in the folder of its topic, 1 if not; the first bad byte of \
each file is told. In a folder, files that end in .frames and .open are checked; the last frame of an .open one may be \
unfinished, since more is being written. A store knows which of its frames were made under which secret.

Examples:
  framegate verify /var/lib/framegate
  framegate verify --repair /var/lib/framegate
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
    /// Frames under plain SHA-256 though secrets were given, since the store says that they were made so.
    #[serde(skip_serializing_if = "is_zero")]
    plain: u64,
    /// Frames that lie in the folder of another topic.
    #[serde(skip_serializing_if = "is_zero")]
    misfiled: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moved: Vec<Moved>,
    /// What a repair left as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<Left>,
    bad: Vec<Bad>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counted {
    frames: u64,
    bytes: u64,
}

/// The frames of a file that are not of its folder's topic: how many, and where the first is and of which topic.
#[derive(Default)]
struct Misfiled {
    frames: u64,
    first: Option<(u64, String)>,
}

impl Misfiled {
    fn add(&mut self, at: u64, topic: &str) {
        self.frames += 1;
        self.first.get_or_insert_with(|| (at, topic.to_owned()));
    }
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
        let keys = secret::keys(&self.secret_file)?;
        let (mut moved, mut left) = (Vec::new(), Vec::new());
        if self.repair {
            for path in &self.paths {
                let of_one = repair(path, &keys)?;
                moved.extend(of_one.0);
                left.extend(of_one.1);
            }
        }
        let mut files = Vec::new();
        for path in &self.paths {
            collect(path, &mut files)?;
        }
        let mut report = Report { moved, left, ..Report::default() };
        let mut stores = Stores::default();
        for path in &files {
            report.check(path, &keys, &mut stores);
        }
        for store in stores.known.keys().filter(|store| store.join(LIST).exists()) {
            let why = "a repair was not finished: run framegate verify --repair once more".to_string();
            report.bad.push(Bad { file: store.display().to_string(), frames: 0, byte: None, why });
        }
        let json = || serde_json::to_string(&report).expect("a report is numbers and names");
        print(&if self.json { json() } else { report.text() })?;
        Ok(if report.bad.is_empty() && report.left.is_empty() { Exit::Done } else { Exit::Partly })
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

/// The stores that files lie in, and what each says of its frames.
#[derive(Default)]
pub(super) struct Stores {
    known: BTreeMap<PathBuf, Result<Schemes, String>>,
}

impl Stores {
    /// The schemes under one of which a file's frames must be intact, or why that cannot be told.
    pub(super) fn judges<'a>(&mut self, path: &Path, keys: &'a Keys) -> Result<&'a [Scheme], String> {
        match place(path) {
            None => Ok(keys.given()),
            Some(place) => self.judges_at(place, keys),
        }
    }

    fn judges_at<'a>(&mut self, place: Place, keys: &'a Keys) -> Result<&'a [Scheme], String> {
        let read =
            |store: &PathBuf| Schemes::read(&mut Disk::new(store)).map_err(|why| format!(".schemes: {why}"));
        let known = self.known.entry(place.store);
        let schemes = known.or_insert_with_key(read).as_ref().map_err(String::clone)?;
        keys.judges(schemes.at(place.base))
            .map_err(|missing| format!("{missing}: give it with one more --secret-file"))
    }
}

impl Report {
    fn check(&mut self, path: &Path, keys: &Keys, stores: &mut Stores) {
        self.files += 1;
        let before = self.frames;
        let place = place(path);
        let judges = match &place {
            None => Ok(keys.given()),
            Some(place) => stores.judges_at(place.clone(), keys),
        };
        let file = path.display().to_string();
        let judges = match judges {
            Ok(judges) => judges,
            Err(why) => return self.bad.push(Bad { file, frames: 0, byte: None, why }),
        };
        let is_plain = keys.first().is_keyed() && judges.iter().all(|scheme| !scheme.is_keyed());
        let mut misfiled = Misfiled::default();
        let checked = self.check_frames(path, judges, place.as_ref(), &mut misfiled);
        let frames = self.frames - before;
        self.plain += if is_plain { frames } else { 0 };
        if let (Some((byte, topic)), Some(place)) = (&misfiled.first, place) {
            self.misfiled += misfiled.frames;
            let (count, store) = (many(misfiled.frames, "frame"), place.store.display());
            let why = format!(
                "{count} of other topics in the folder of '{}', the first of '{}' at byte {byte}: \
                 framegate verify --repair {store} puts them where they belong",
                plain(&place.topic),
                plain(topic)
            );
            self.bad.push(Bad { file: file.clone(), frames, byte: Some(*byte), why });
        }
        let (byte, why) = match checked {
            Ok(()) => return,
            Err(Stop::Flaw(flaw)) => (Some(flaw.at), flaw.to_string()),
            Err(Stop::Read(why)) => (None, why.to_string()),
        };
        self.bad.push(Bad { file, frames, byte, why });
    }

    fn check_frames(
        &mut self,
        path: &Path,
        schemes: &[Scheme],
        place: Option<&Place>,
        misfiled: &mut Misfiled,
    ) -> Result<(), Stop> {
        let is_open = path.extension().is_some_and(|extension| extension == "open");
        // Before the frames: of an open file it says less than there is by then.
        let index = match path.extension() {
            Some(extension) if extension == "frames" || is_open => fs::read(path.with_extension("index")),
            _ => Ok(Vec::new()),
        };
        let index = index.unwrap_or_default();
        let mut compared = Compared::new(read(&index, None));
        let mut file = open(path).map_err(Stop::Read)?;
        let (mut scan, mut at) = (Scan::new(schemes, 0), 0);
        loop {
            match scan.next(|bytes| file.read(bytes)) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let (len, topic) = (frame.bytes.len(), String::from_utf8_lossy(frame.topic()));
                    if place.is_some_and(|place| place.topic != topic) {
                        misfiled.add(at, &topic);
                    }
                    self.count(&topic, len);
                    at += len as u64;
                    compared.frame(at);
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
        for Moved { from, to, frames } in &self.moved {
            let (count, from, to) = (many(*frames, "frame"), plain(from), plain(to));
            let _ = writeln!(text, "moved {count} of '{to}' out of the folder of '{from}'");
        }
        for left in &self.left {
            let _ = writeln!(text, "{left}");
        }
        let mut line = |what: &str, Counted { frames, bytes }: Counted| {
            let _ = writeln!(text, "{what}: {}", told([(frames, "frame"), (bytes, "byte")]));
        };
        for (topic, counted) in &self.topics {
            // Anybody may have written the file.
            let shown = plain(topic);
            line(if topic.is_empty() { "(the empty topic)" } else { &shown }, *counted);
        }
        if !self.other_topics.is_nothing() {
            line("(further topics)", self.other_topics);
        }
        if self.plain > 0 {
            let plain = told([(self.plain, "frame")]);
            let _ = writeln!(text, "{plain} of these under plain SHA-256: the store had no secret then");
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
    counts.map(|(count, what)| many(count, what)).join(", ")
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
