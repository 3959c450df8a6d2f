//! Under which scheme a store's frames were made.
//!
//! A store keeps a line for each change: from this stamp on, plain SHA-256, or HMAC-SHA-256 under the secret with this
//! fingerprint. The secret itself is not there: the fingerprint is the beginning of the HMAC of a fixed text
//! under it. A reader of the store brings the secrets; what each segment was made under is known before any of its
//! frames is judged. So a frame is never taken for damaged because the secret has changed, and one that
//! anybody could have made is not taken for intact where a secret was in force.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use super::files::{self, Files};
use super::stamp::Stamp;
use crate::core::units::hex;
use crate::wire::Scheme;

/// In the store's folder; no topic's folder is called like this.
pub const NAME: &str = ".schemes";

/// What a fingerprint is made of.
const TEXT: &[u8] = b"the fingerprint of a secret in a store of Framegate";

/// 8 bytes: enough to tell the secrets of one store apart.
const FINGERPRINT: usize = 8;

/// What a scheme can be known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Plain SHA-256.
    Plain,
    /// HMAC-SHA-256 under the secret with this fingerprint.
    Keyed([u8; FINGERPRINT]),
}

impl Mark {
    /// Of a scheme.
    pub fn of(scheme: &Scheme) -> Mark {
        match scheme {
            Scheme::Sha256 => Mark::Plain,
            keyed => Mark::Keyed(*keyed.digest(TEXT).first_chunk().expect("a digest has more")),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Plain => f.write_str("sha-256"),
            Mark::Keyed(fingerprint) => {
                write!(f, "hmac-sha-256 {}", hex(fingerprint))
            }
        }
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Mark, ()> {
        if text == "sha-256" {
            return Ok(Mark::Plain);
        }
        let hex = text.strip_prefix("hmac-sha-256 ").filter(|hex| hex.len() == 2 * FINGERPRINT).ok_or(())?;
        let mut fingerprint = [0; FINGERPRINT];
        for (at, byte) in fingerprint.iter_mut().enumerate() {
            let digits = hex.get(2 * at..2 * at + 2).ok_or(())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ())?;
        }
        Ok(Mark::Keyed(fingerprint))
    }
}

/// What a store's frames were made under, from which stamp on; of what came before the first line nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemes(Vec<(Stamp, Mark)>);

impl Schemes {
    /// Reads what a store says.
    ///
    /// # Errors
    /// What the system says, and what is no such file: to guess would be worse.
    pub fn read<F: Files>(files: &mut F) -> io::Result<Schemes> {
        let bytes = files::read_all(files, Path::new(NAME))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let line = |line: &str| {
            let (from, mark) = line.split_once(' ')?;
            Some((from.parse().ok()?, mark.parse().ok()?))
        };
        let lines: Option<Vec<_>> = text.lines().map(line).collect();
        let wrong =
            || io::Error::other("it does not say what the frames were made under: restore or remove it");
        lines.filter(|lines| lines.is_sorted_by_key(|(from, _)| *from)).map(Schemes).ok_or_else(wrong)
    }

    /// Says that what is stored from `from` on is made under this scheme.
    pub fn begin<F: Files>(&mut self, files: &mut F, from: Stamp, scheme: &Scheme) -> io::Result<()> {
        let mark = Mark::of(scheme);
        if self.0.last().is_none_or(|(_, last)| *last != mark) {
            // Where nothing was stored under the last one, it never was in force.
            self.0.retain(|(begun, _)| *begun < from);
            self.0.push((from, mark));
            self.write(files)?;
        }
        Ok(())
    }

    /// Writes it again, in a folder that was made anew.
    pub fn write<F: Files>(&self, files: &mut F) -> io::Result<()> {
        let text: String = self.0.iter().map(|(from, mark)| format!("{from} {mark}\n")).collect();
        files::replace(files, Path::new(NAME), text.as_bytes())
    }

    /// What the segment that begins with this stamp was made under, if that is known.
    pub fn at(&self, base: Stamp) -> Option<Mark> {
        let before = self.0.partition_point(|(from, _)| *from <= base);
        before.checked_sub(1).map(|at| self.0[at].1)
    }

    /// The last stamp that it speaks of.
    pub fn end(&self) -> Stamp {
        self.0.last().map_or(Stamp(0), |(from, _)| *from)
    }
}

/// The schemes that a reader of a store has.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Those that were given, the one in force first; plain SHA-256, if none were.
    given: Vec<Scheme>,
    marks: Vec<Mark>,
    /// The same, and plain SHA-256.
    all: Vec<Scheme>,
}

/// 1 scheme, for frames that were made under none.
static PLAIN: [Scheme; 1] = [Scheme::Sha256];

/// A segment was made under a secret that was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing(Mark);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its frames were made under a secret that was not given ({})", self.0)
    }
}

impl Keys {
    /// These schemes, the one in force first.
    pub fn new(given: Vec<Scheme>) -> Keys {
        let given = if given.is_empty() { PLAIN.to_vec() } else { given };
        let marks = given.iter().map(Mark::of).collect();
        let all = given.iter().chain(&PLAIN).cloned().collect();
        Keys { given, marks, all }
    }

    /// Those that were given.
    pub fn given(&self) -> &[Scheme] {
        &self.given
    }

    /// Those that were given, and plain SHA-256, which everybody has.
    pub fn all(&self) -> &[Scheme] {
        &self.all
    }

    /// One of them, found by another copy of it.
    pub fn same(&self, scheme: &Scheme) -> &[Scheme] {
        let mark = Mark::of(scheme);
        let at = self.all.iter().position(|known| Mark::of(known) == mark).unwrap_or_default();
        &self.all[at..=at]
    }

    /// The one in force.
    pub fn first(&self) -> &Scheme {
        &self.given[0]
    }

    /// The schemes under one of which a frame must be intact that was made under `mark`; those that were given, where
    /// that is not known.
    pub fn judges(&self, mark: Option<Mark>) -> Result<&[Scheme], Missing> {
        let Some(mark) = mark else { return Ok(&self.given) };
        match self.marks.iter().position(|known| *known == mark) {
            Some(at) => Ok(&self.given[at..=at]),
            None if mark == Mark::Plain => Ok(&PLAIN),
            None => Err(Missing(mark)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Disk;
    use super::*;

    #[test]
    fn a_store_knows_what_its_frames_were_made_under() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(folder.path());
        let (old, new) = (Scheme::keyed(b"old"), Scheme::keyed(b"new"));
        let mut schemes = Schemes::read(&mut disk).unwrap();
        assert_eq!(schemes.at(Stamp(5)), None);
        for (from, scheme) in [(100, &Scheme::Sha256), (150, &Scheme::Sha256), (200, &old), (300, &new)] {
            schemes.begin(&mut disk, Stamp(from), scheme).unwrap();
        }
        let schemes = Schemes::read(&mut disk).unwrap();
        assert_eq!(schemes.0.len(), 3);
        let text = std::fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(!text.contains("old") && !text.contains("new"), "{text}");
        let keys = Keys::new(vec![new.clone(), old.clone()]);
        let judges = |keys: &Keys, stamp| {
            let judges = keys.judges(schemes.at(Stamp(stamp)));
            judges.map(|schemes| schemes.iter().map(|scheme| scheme.digest(b"x")).collect::<Vec<_>>())
        };
        let digest = |scheme: &Scheme| scheme.digest(b"x");
        assert_eq!(judges(&keys, 99), Ok(vec![digest(&new), digest(&old)]), "nobody knows: what was given");
        assert_eq!(judges(&keys, 199), Ok(vec![digest(&Scheme::Sha256)]), "the store says that it is plain");
        assert_eq!(judges(&keys, 200), Ok(vec![digest(&old)]), "and here that it is not");
        assert_eq!(judges(&keys, 9000), Ok(vec![digest(&new)]));
        assert_eq!(judges(&Keys::new(vec![new.clone()]), 200), Err(Missing(Mark::of(&old))));
        assert_eq!(judges(&Keys::new(Vec::new()), 300), Err(Missing(Mark::of(&new))));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let folder = tempfile::tempdir().unwrap();
        for text in
            ["x", "20260728T101530.123456789Z sha-1\n", "20260728T101530.123456789Z hmac-sha-256 12\n"]
        {
            std::fs::write(folder.path().join(NAME), text).unwrap();
            assert!(Schemes::read(&mut Disk::new(folder.path())).is_err(), "{text}");
        }
    }
}
