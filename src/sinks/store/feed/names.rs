//! Durable names and their positions, and the file that keeps them.
//!
//! The file is written whole, beside the last one, and takes its place at once. Each line has a check of its own, so a
//! file that somebody has cut or changed loses what was changed and nothing else; and whose name is lost with it is told
//! a GAP when it comes again, since nobody knows where it was.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::core::limits::{DURABLE_EXPIRE_MAX, DURABLE_NAMES};
use crate::core::units::hex;
use crate::sinks::store::files::{self, Files};
use crate::sinks::store::order::Place;
use crate::sinks::store::stamp::Stamp;
use crate::wire::{Scheme, check_pattern, durable};

/// In the store's folder; no topic's folder is called like this.
pub const NAME: &str = ".positions";

/// What is kept under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The first frame that is not done.
    pub next: Place,
    /// When it was used last, in seconds since 1970.
    pub used: u64,
    /// After how long without that it is forgotten.
    pub expire: Duration,
    /// What it subscribed to last.
    pub patterns: Vec<String>,
    /// A connection has it.
    pub is_connected: bool,
    /// It has seen everything that there is.
    pub is_idle: bool,
    /// It was said that it is far behind.
    pub is_late: bool,
}

/// All names.
#[derive(Debug, Default)]
pub struct Names {
    all: BTreeMap<Box<str>, Named>,
    /// Counts changes.
    version: u64,
    /// Names were lost with a damaged file.
    is_damaged: bool,
}

impl Names {
    /// A name, if it is known.
    pub fn get(&self, name: &str) -> Option<&Named> {
        self.all.get(name)
    }

    /// Changes what is kept under a name. The version that holds the change.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Named)) -> u64 {
        if let Some(named) = self.all.get_mut(name) {
            change(named);
            self.version += 1;
        }
        self.version
    }

    /// The same of what is not in the file.
    pub fn note(&mut self, name: &str, note: impl FnOnce(&mut Named)) {
        if let Some(named) = self.all.get_mut(name) {
            note(named);
        }
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.all.len() < DURABLE_NAMES
    }

    /// Adds a name, or begins it anew.
    pub fn insert(&mut self, name: &str, named: Named) -> u64 {
        self.all.insert(name.into(), named);
        self.version += 1;
        self.version
    }

    /// Forgets a name. Whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let was = self.all.remove(name).is_some();
        self.version += u64::from(was);
        was
    }

    /// Every name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Named)> {
        self.all.iter().map(|(name, named)| (&**name, named))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Counts changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a name that is not known may have been lost.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Forgets the names that were not used for too long, and returns them.
    pub fn expire(&mut self, now: u64) -> Vec<Box<str>> {
        let is_over =
            |named: &Named| !named.is_connected && named.used.saturating_add(named.expire.as_secs()) < now;
        let over: Vec<Box<str>> =
            self.all.iter().filter(|(_, named)| is_over(named)).map(|(name, _)| name.clone()).collect();
        for name in &over {
            self.remove(name);
        }
        over
    }

    /// The file's text.
    pub fn text(&self, id: &str) -> String {
        let mut text =
            checked(&format!("framegate positions 1 {id}{}", if self.is_damaged { " damaged" } else { "" }));
        for (name, named) in &self.all {
            let Named { next, used, expire, patterns, .. } = named;
            let mut line =
                format!("{name} {} {} {} {used} {}", next.seq, next.stamp.0, next.bytes, expire.as_secs());
            patterns.iter().for_each(|pattern| line += &format!(" ={pattern}"));
            text += &checked(&line);
        }
        text += &checked(&format!("end {}", self.all.len()));
        text
    }

    /// Reads a store's file. What is wrong with it is said in a line, and costs the names that it concerns.
    pub fn read<F: Files>(files: &mut F, id: &str) -> io::Result<Names> {
        let Some(bytes) = files::read_all(files, Path::new(NAME))? else { return Ok(Names::default()) };
        let (names, wrong) = Names::of_text(&String::from_utf8_lossy(&bytes), id);
        if let Some(wrong) = wrong {
            // What was there can be looked at.
            if let Err(why) = files::replace(files, Path::new(".positions.damaged"), &bytes) {
                log::warn!("cannot keep the damaged file of positions: {why}");
            }
            log::error!(
                "the store's file {NAME} {wrong}: {} names are known; a name that is not gets a GAP and begins where it asks to. The file is kept as {NAME}.damaged",
                names.len()
            );
        }
        Ok(names)
    }

    fn of_text(text: &str, id: &str) -> (Names, Option<String>) {
        let damaged = |names| Names { is_damaged: true, version: 1, ..names };
        let mut lines = text.lines();
        let head = lines.next().and_then(unchecked).unwrap_or_default();
        let said = head.strip_prefix("framegate positions ");
        let (is_damaged, of) = match said.and_then(|said| said.split_once(' ')) {
            Some(("1", of)) => (of.ends_with(" damaged"), of.trim_end_matches(" damaged")),
            Some((version, _)) => {
                let wrong = format!("is of version {version}, which this gateway does not know");
                return (damaged(Names::default()), Some(wrong));
            }
            // Its lines may be right.
            None => (true, id),
        };
        if of != id {
            let wrong = "belongs to another store".to_string();
            return (damaged(Names::default()), Some(wrong));
        }
        let mut names = Names { is_damaged, ..Names::default() };
        let (mut wrong, mut end) = (usize::from(said.is_none()), None);
        for line in lines {
            let Some(line) = unchecked(line) else {
                wrong += 1;
                continue;
            };
            match line.strip_prefix("end ") {
                Some(count) if end.is_none() => end = count.parse().ok(),
                _ => match read_line(line) {
                    Some((name, named)) => drop(names.all.insert(name.into(), named)),
                    None => wrong += 1,
                },
            }
        }
        let is_whole = wrong == 0 && end == Some(names.all.len());
        match is_whole {
            true => (names, None),
            false => (damaged(names), Some("is damaged".to_string())),
        }
    }

    /// Writes the file.
    pub fn write<F: Files>(files: &mut F, text: &str) -> io::Result<()> {
        files::replace(files, Path::new(NAME), text.as_bytes())
    }
}

fn read_line(line: &str) -> Option<(&str, Named)> {
    let mut words = line.split(' ');
    let name = durable::name(words.next()?).ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (seq, stamp, bytes, used, expire) = (number()?, number()?, number()?, number()?, number()?);
    if seq == 0 || stamp > Stamp::MAX.0 || expire > DURABLE_EXPIRE_MAX.as_secs() {
        return None;
    }
    let patterns = words.map(|word| {
        let pattern = word.strip_prefix('=')?;
        check_pattern(pattern.as_bytes()).ok().map(str::to_string)
    });
    let named = Named {
        next: Place { seq, stamp: Stamp(stamp), bytes },
        used,
        expire: Duration::from_secs(expire),
        patterns: patterns.collect::<Option<_>>()?,
        is_connected: false,
        is_idle: false,
        is_late: false,
    };
    Some((name, named))
}

/// A line with its check.
fn checked(line: &str) -> String {
    format!("{line} #{}\n", check(line))
}

fn unchecked(line: &str) -> Option<&str> {
    let (line, said) = line.rsplit_once(" #")?;
    (said == check(line)).then_some(line)
}

fn check(line: &str) -> String {
    hex(&Scheme::Sha256.digest(line.as_bytes())[..6])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::models::disk::{Fault, SimDisk};

    fn names() -> Names {
        let mut names = Names::default();
        for (n, name) in ["a", "billing", "z.9"].into_iter().enumerate() {
            let named = Named {
                next: Place { seq: 10 * n as u64 + 1, stamp: Stamp(5), bytes: 7 },
                used: 1_000_000,
                expire: Duration::from_secs(60),
                patterns: vec![">".into(), String::new()],
                is_connected: false,
                is_idle: false,
                is_late: false,
            };
            names.insert(name, named);
        }
        names
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let names = names();
        let (read, wrong) = Names::of_text(&names.text("id"), "id");
        assert_eq!((read.all, read.is_damaged, wrong), (names.all, false, None));
    }

    #[test]
    fn what_is_cut_or_flipped_costs_its_own_line_and_is_told() {
        let all = names();
        let text = all.text("id");
        for cut in 0..text.len() - 1 {
            let (read, wrong) = Names::of_text(&text[..cut], "id");
            assert!(wrong.is_some() && read.is_damaged, "{cut}");
            assert!(read.all.iter().all(|(name, named)| all.all.get(name) == Some(named)), "{cut}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let (read, wrong) = Names::of_text(&String::from_utf8_lossy(&bytes), "id");
            assert!(wrong.is_some() && read.is_damaged, "{at}");
            assert!(
                !read.is_empty() && read.all.iter().all(|(name, named)| all.all.get(name) == Some(named)),
                "{at}"
            );
        }
        let (read, _) = Names::of_text(&text[..text.len() - 3], "id");
        let (read, wrong) = Names::of_text(&read.text("id"), "id");
        assert!(read.is_damaged && wrong.is_none(), "it is told once, and known from then on");
        for (text, said) in [
            (text.clone(), "another store"),
            (checked("framegate positions 2 id"), "version 2"),
            (String::new(), "damaged"),
            ("garbage".into(), "damaged"),
        ] {
            let (read, wrong) = Names::of_text(&text, "other");
            assert!(wrong.unwrap().contains(said) && read.is_empty() && read.is_damaged);
        }
    }

    /// Whenever the machine stops while positions are written, the last that were written are there, or the new ones.
    #[test]
    fn no_crash_leaves_anything_but_the_old_positions_or_the_new() {
        let mut survived = [0, 0];
        for seed in 0..4 {
            for steps in 0..20 {
                let disk = SimDisk::new();
                let (old, mut new) = (names(), names());
                new.change("billing", |named| named.next.seq = 99);
                Names::write(&mut disk.clone(), &old.text("id")).unwrap();
                disk.break_after(steps, Fault::Crash, seed);
                let written = Names::write(&mut disk.clone(), &new.text("id"));
                disk.restart();
                let found = Names::read(&mut disk.clone(), "id").unwrap();
                assert!(!found.is_damaged && (found.all == old.all || found.all == new.all));
                assert!(written.is_err() || found.all == new.all, "what was confirmed is there");
                survived[usize::from(found.all == new.all)] += 1;
            }
        }
        assert!(survived.iter().all(|times| *times > 0), "{survived:?}");
    }

    #[test]
    fn names_that_are_not_used_are_forgotten() {
        let mut names = names();
        names.note("a", |named| named.is_connected = true);
        assert!(names.expire(1_000_060).is_empty());
        assert_eq!(names.expire(1_000_061), [Box::from("billing"), Box::from("z.9")]);
        assert_eq!(names.len(), 1);
    }
}
