//! A watched folder as its users treat it, one step after the other, on a real file system and with a clock of its own:
//! files that are written slowly, appended to, rewritten, replaced, renamed and removed, and folders that are removed,
//! moved, switched and made anew, at every moment between being seen and being put away.
//!
//! What must hold: nothing is put away that anybody writes to, or of which what it holds was not posted; and when
//! everybody is done, all that is in the folder is put away.
#![cfg(target_os = "linux")]

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::journal::{Identity, Journal};
use super::move_done::{Change, End, Moved, move_done};
use super::watch::Watcher;
use super::{Fingerprint, Source};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A file of the world, whatever it is called.
#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    writers: usize,
}

/// A source that is being posted.
struct Job {
    source: Source,
    journal: Journal,
    file: File,
    read: Vec<u8>,
    is_read: bool,
}

struct World {
    rng: Rng,
    root: tempfile::TempDir,
    /// The clock of the watcher.
    now: Instant,
    watcher: Option<Watcher>,
    contents: Vec<Content>,
    /// What is in the folder, by name.
    names: HashMap<&'static str, usize>,
    writers: Vec<(File, usize)>,
    /// Offered, and not begun.
    waiting: VecDeque<Source>,
    jobs: Vec<Job>,
    posted: HashSet<Vec<u8>>,
    made: u64,
    /// How often what happened.
    counts: HashMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64) -> World {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("folder 0")).unwrap();
        symlink("folder 0", root.path().join("inbox")).unwrap();
        World {
            rng: Rng::with_seed(seed),
            now: Instant::now(),
            watcher: None,
            contents: Vec::new(),
            names: HashMap::new(),
            writers: Vec::new(),
            waiting: VecDeque::new(),
            jobs: Vec::new(),
            posted: HashSet::new(),
            made: 0,
            counts: HashMap::new(),
            root,
        }
    }

    fn inbox(&self) -> PathBuf {
        self.root.path().join("inbox")
    }

    fn outside(&mut self) -> PathBuf {
        self.made += 1;
        self.root.path().join(format!("made {}", self.made))
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Bytes that are nowhere else.
    fn token(&mut self) -> Vec<u8> {
        self.made += 1;
        format!("{:08}\n", self.made).into_bytes()
    }

    fn any_name(&mut self) -> &'static str {
        NAMES[self.rng.usize(..NAMES.len())]
    }

    fn any_there(&mut self) -> Option<(&'static str, usize)> {
        let mut there: Vec<_> = self.names.iter().map(|(name, content)| (*name, *content)).collect();
        there.sort_unstable();
        if there.is_empty() { None } else { Some(there[self.rng.usize(..there.len())]) }
    }

    fn step(&mut self) {
        match self.rng.u32(..100) {
            0..8 => {
                let name = self.any_name();
                self.open(name);
            }
            8..22 => self.write(),
            22..32 => self.close(),
            32..40 => self.replace(),
            40..43 => self.rename(),
            43..46 => self.rewrite(),
            46..48 => self.chmod(),
            48..50 => self.remove(),
            50..53 => self.change_folder(),
            53..54 => self.watcher = None,
            54..70 => self.look(),
            70..80 => self.begin(),
            80..90 => self.read(),
            90..99 => self.end(false),
            _ => self.end(true),
        }
    }

    /// For writing: a new file, or one that is there, to append to it or to begin it anew.
    fn open(&mut self, name: &'static str) {
        let is_anew = self.rng.u32(..4) == 0;
        let path = self.inbox().join(name);
        let opened =
            OpenOptions::new().create(true).append(!is_anew).write(true).truncate(is_anew).open(path);
        // The folder may be gone.
        let Ok(file) = opened else { return };
        let content = *self.names.entry(name).or_insert_with(|| {
            self.contents.push(Content::default());
            self.contents.len() - 1
        });
        if is_anew {
            self.contents[content].bytes.clear();
        }
        self.contents[content].writers += 1;
        self.writers.push((file, content));
    }

    fn write(&mut self) {
        if self.writers.is_empty() {
            return;
        }
        let token = self.token();
        let writer = self.rng.usize(..self.writers.len());
        let (file, content) = &self.writers[writer];
        let bytes = &mut self.contents[*content].bytes;
        // One that began it anew may be followed by another that did.
        file.write_all_at(&token, bytes.len() as u64).unwrap();
        bytes.extend(token);
    }

    fn close(&mut self) {
        if !self.writers.is_empty() {
            let (file, content) = self.writers.swap_remove(self.rng.usize(..self.writers.len()));
            drop(file);
            self.contents[content].writers -= 1;
        }
    }

    /// A whole file, renamed or linked into the folder.
    fn replace(&mut self) {
        let (name, bytes, made) = (self.any_name(), self.token(), self.outside());
        fs::write(&made, &bytes).unwrap();
        let to = self.inbox().join(name);
        let is_linked = self.rng.u32(..4) == 0;
        if if is_linked { fs::hard_link(&made, &to) } else { fs::rename(&made, &to) }.is_ok() {
            self.contents.push(Content { bytes, writers: 0 });
            self.names.insert(name, self.contents.len() - 1);
        }
        let _ = fs::remove_file(made);
    }

    fn rename(&mut self) {
        let (Some((from, content)), to) = (self.any_there(), self.any_name()) else { return };
        if from != to {
            fs::rename(self.inbox().join(from), self.inbox().join(to)).unwrap();
            self.names.remove(from);
            self.names.insert(to, content);
        }
    }

    /// Other bytes, as many, and the same time: only the system's own time tells.
    fn rewrite(&mut self) {
        let Some((name, content)) = self.any_there() else { return };
        let path = self.inbox().join(name);
        let before = path.metadata().unwrap();
        self.tick();
        let token = self.token();
        let bytes = &mut self.contents[content].bytes;
        if bytes.is_empty() {
            return;
        }
        bytes[..token.len()].copy_from_slice(&token);
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&token, 0).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
    }

    /// Waits until the clock of the file system has moved on; the watcher's does in its own time.
    fn tick(&mut self) {
        let path = self.outside();
        let changed = || {
            fs::write(&path, "x").unwrap();
            Fingerprint::at(&path).unwrap()
        };
        let before = changed();
        while changed() == before {}
        fs::remove_file(path).unwrap();
    }

    fn chmod(&mut self) {
        if let Some((name, _)) = self.any_there() {
            let mode = 0o600 | self.rng.u32(..0o100);
            fs::set_permissions(self.inbox().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    fn remove(&mut self) {
        if let Some((name, _)) = self.any_there() {
            fs::remove_file(self.inbox().join(name)).unwrap();
            self.names.remove(name);
        }
    }

    /// The path leads to another folder, or to none for a while.
    fn change_folder(&mut self) {
        let (inbox, made) = (self.inbox(), self.outside());
        let real = inbox.canonicalize();
        match (self.rng.u32(..5), real) {
            (0, Ok(real)) => fs::remove_dir_all(real).unwrap(),
            (1, Ok(real)) => {
                fs::remove_dir_all(&real).unwrap();
                fs::create_dir(real).unwrap();
            }
            (2, Ok(real)) => {
                fs::rename(&real, made).unwrap();
                fs::create_dir(real).unwrap();
            }
            (3, Ok(real)) => {
                // As a mount does: the other one lives on, unseen.
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                fs::create_dir(&made).unwrap();
                renameat_with(CWD, &real, CWD, &made, RenameFlags::EXCHANGE).unwrap();
            }
            (_, real) => {
                fs::create_dir(&made).unwrap();
                let link = self.outside();
                symlink(made.file_name().unwrap(), &link).unwrap();
                fs::rename(link, &inbox).unwrap();
                drop(real);
            }
        }
        self.count("another folder");
        // What is elsewhere now is nobody's business.
        self.names.clear();
    }

    fn look(&mut self) {
        let ms = if self.rng.u32(..10) == 0 { 40_000 } else { self.rng.u64(..3000) };
        self.look_after(Duration::from_millis(ms));
    }

    fn look_after(&mut self, pause: Duration) {
        self.now += pause;
        if self.watcher.is_none() {
            // Nothing that was begun outlives the process.
            self.waiting.clear();
            self.jobs.clear();
            self.watcher = Watcher::new(&self.inbox()).ok();
        }
        let Some(watcher) = &mut self.watcher else { return };
        self.waiting.extend(watcher.offers(self.now));
    }

    fn begin(&mut self) {
        let Some(source) = self.waiting.pop_front() else { return };
        if !source.fingerprint.as_ref().unwrap().is_at(&source.path) {
            self.count("changed in line");
            return;
        }
        let identity = Identity { source: "s".into(), url: "u".into(), record: "file".into() };
        let (journal, _) = Journal::open(source.journal.as_ref().unwrap(), &identity).unwrap();
        let file = File::open(&source.path).unwrap();
        self.jobs.push(Job { source, journal, file, read: Vec::new(), is_read: false });
    }

    /// A part, or the rest.
    fn read(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.jobs.len());
        let job = &mut self.jobs[index];
        if self.rng.bool() {
            let mut part = [0; 9];
            let n = job.file.read(&mut part).unwrap();
            job.read.extend(&part[..n]);
        } else if !job.is_read {
            job.file.read_to_end(&mut job.read).unwrap();
            job.is_read = true;
            self.posted.insert(job.read.clone());
        }
    }

    /// `is_late`: another process wants to go on with it at the last moment.
    fn end(&mut self, is_late: bool) {
        let done: Vec<usize> = (0..self.jobs.len()).filter(|&index| self.jobs[index].is_read).collect();
        if done.is_empty() {
            return;
        }
        let job = self.jobs.swap_remove(done[self.rng.usize(..done.len())]);
        let is_done = self.rng.u32(..4) > 0;
        let end = End { is_done, error: None, lines: None };
        let name = job.source.path.file_name().unwrap().to_str().unwrap().to_owned();
        if is_late {
            self.open(NAMES.into_iter().find(|known| *known == name).expect("it has one of them"));
        }
        match move_done(&job.source, job.journal, end).unwrap() {
            Moved::To(to) => {
                self.count("put away");
                let (_, content) = self.names.remove_entry(name.as_str()).expect("it was there");
                let content = &self.contents[content];
                assert_eq!(content.writers, 0, "{name} was put away under its writer");
                assert_eq!(fs::read(to).unwrap(), content.bytes, "{name} is what was there");
                assert!(self.posted.contains(&content.bytes), "{name} was put away unsent");
            }
            Moved::Gone => {
                self.count("gone");
                assert!(!self.names.contains_key(name.as_str()), "{name} is there");
            }
            Moved::Stays(change) => {
                assert!(self.names.contains_key(name.as_str()), "{name} is not there");
                self.count(match change {
                    Change::Open => "open",
                    Change::Written => "written to",
                    Change::Replaced => "replaced",
                });
            }
        }
    }

    /// Everybody is done; all that is there and not empty is put away in the end.
    fn finish(&mut self) {
        self.writers.clear();
        self.contents.iter_mut().for_each(|content| content.writers = 0);
        if self.inbox().canonicalize().is_err() {
            self.change_folder();
        }
        for _ in 0..20 {
            self.look_after(Duration::from_secs(31));
            while !self.waiting.is_empty() {
                self.begin();
            }
            while !self.jobs.is_empty() {
                self.read();
                self.end(false);
            }
        }
        let left: Vec<_> =
            self.names.iter().filter(|(_, content)| !self.contents[**content].bytes.is_empty()).collect();
        assert!(left.is_empty(), "{left:?} are never taken");
        self.check_moved(self.root.path());
    }

    /// Whatever was put away in any of the folders was posted.
    fn check_moved(&self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                self.check_moved(&path);
            }
            let is_away =
                path.components().any(|part| ["done", "failed"].iter().any(|away| part.as_os_str() == *away));
            if is_away && path.is_file() && path.extension().is_none() {
                assert!(self.posted.contains(&fs::read(&path).unwrap()), "{path:?} was put away unsent");
            }
        }
    }
}

#[test]
fn whatever_happens_in_a_watched_folder_is_posted_before_it_is_put_away() {
    const ALL: [&str; 7] =
        ["another folder", "changed in line", "put away", "gone", "open", "written to", "replaced"];
    let given = std::env::var("FRAMEGATE_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = given.map_or_else(
        || {
            let first = fastrand::u64(..u64::MAX / 2);
            first..first + 300
        },
        |seed| seed..seed + 1,
    );
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let has_all = |counts: &HashMap<&str, usize>| ALL.iter().all(|what| counts.contains_key(what));
    for (at, seed) in seeds.enumerate() {
        // Thirty worlds, and more where something rare has not happened yet.
        if at >= 30 && has_all(&counts) {
            break;
        }
        println!("FRAMEGATE_SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        world.finish();
        world.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    println!("{counts:?}");
    assert!(given.is_some() || has_all(&counts), "not all of {ALL:?} happened: {counts:?}");
}
