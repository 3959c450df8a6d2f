//! Reading frames off a stored file, each checked.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::core::limits::STORE_BLOCK;
use crate::wire::{DIGEST, Fault, Frame, HEADER, Header, Kind, MAGIC, Scheme};

/// A stored file, frame by frame.
///
/// `taken ≤ filled ≤ bytes.len()`: what was read lies between, and begins at `at` in the file.
pub struct Scan<'a> {
    schemes: &'a [Scheme],
    /// Which of them the last frame is intact under.
    under: usize,
    bytes: Vec<u8>,
    taken: usize,
    filled: usize,
    at: u64,
}

/// Why there is no further frame.
#[derive(Debug)]
pub enum Stop {
    /// The file could not be read.
    Read(io::Error),
    /// What comes is no whole, valid DATA frame.
    Flaw(Flaw),
}

/// The first thing that is wrong with a stored file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where the frame begins that is not one, in bytes.
    pub frame_at: u64,
    /// The first byte that is known to be wrong.
    pub at: u64,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with a stored frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is none.
    Fault(Fault),
    /// It is of another kind than DATA.
    Kind(Kind),
    /// Its digest is that of other bytes.
    Digest,
    /// It is cut off.
    Unfinished {
        /// Bytes of it that are there.
        held: usize,
        /// Bytes that it has, where its header says so.
        whole: Option<usize>,
    },
}

impl<'a> Scan<'a> {
    /// A scan that begins with a frame `at` bytes into the file. A frame is intact that is so under one of the schemes.
    pub fn new(schemes: &'a [Scheme], at: u64) -> Scan<'a> {
        Scan { schemes, under: 0, bytes: Vec::new(), taken: 0, filled: 0, at }
    }

    /// Goes on with a frame that begins `at` bytes into a file, of which nothing was read yet, and that was made under
    /// one of these schemes.
    pub fn restart(&mut self, schemes: &'a [Scheme], at: u64) {
        (self.taken, self.filled, self.at) = (0, 0, at);
        (self.schemes, self.under) = (schemes, 0);
    }

    /// The scheme under which the last frame was intact.
    pub fn under(&self) -> &'a Scheme {
        &self.schemes[self.under]
    }

    /// Bytes into the file up to which it is whole frames that were taken.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next frame; none at the end. `read` puts the next bytes of the file into a buffer and says how
    /// many, 0 at the end.
    pub fn next(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<Option<Frame<'_>>, Stop> {
        let header = loop {
            let rest = &self.bytes[self.taken..self.filled];
            let header = header_of(rest).map_err(|why| self.flaw(why))?;
            if header.is_some_and(|header| header.frame_len() <= rest.len()) {
                break header.expect("it is there");
            }
            if self.fill(&mut read).map_err(Stop::Read)? == 0 {
                return match self.filled - self.taken {
                    0 => Ok(None),
                    held => {
                        let whole = header.map(|header| header.frame_len());
                        Err(self.flaw(Why::Unfinished { held, whole }))
                    }
                };
            }
        };
        let len = header.frame_len();
        let bytes = &self.bytes[self.taken..self.taken + len];
        if !self.schemes.get(self.under).is_some_and(|scheme| scheme.is_intact(bytes)) {
            let Some(under) = self.schemes.iter().position(|scheme| scheme.is_intact(bytes)) else {
                return Err(self.flaw(Why::Digest));
            };
            self.under = under;
        }
        if header.kind != Kind::Data {
            return Err(self.flaw(Why::Kind(header.kind)));
        }
        self.taken += len;
        self.at += len as u64;
        Ok(Some(Frame { header, bytes: &self.bytes[self.taken - len..self.taken] }))
    }

    fn fill(&mut self, read: &mut impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.filled == self.bytes.len() {
            self.bytes.resize((2 * self.filled).max(STORE_BLOCK), 0);
        }
        loop {
            match read(&mut self.bytes[self.filled..]) {
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
                Ok(n) => {
                    self.filled += n;
                    return Ok(n);
                }
            }
        }
    }

    fn flaw(&self, why: Why) -> Stop {
        let at = self.at + why.offset(&self.bytes[self.taken..self.filled]) as u64;
        Stop::Flaw(Flaw { frame_at: self.at, at, why })
    }
}

/// The header that bytes begin with, once there are enough of them.
fn header_of(bytes: &[u8]) -> Result<Option<Header>, Why> {
    match bytes.first_chunk::<HEADER>() {
        Some(header) => Header::decode(header).map(Some).map_err(Why::Fault),
        None => Header::check_prefix(bytes).map(|()| None).map_err(Why::Fault),
    }
}

impl Why {
    /// Where in the frame the first byte is that is known to be wrong. Of a digest that does not match,
    /// nobody knows more than where the frame is.
    fn offset(&self, bytes: &[u8]) -> usize {
        match self {
            Why::Fault(Fault::Magic { .. }) => usize::from(bytes.first() == MAGIC.first()),
            Why::Fault(Fault::Version(_)) => 2,
            Why::Fault(Fault::Kind { .. } | Fault::Reply { .. }) | Why::Kind(_) => 3,
            Why::Fault(Fault::Flags { .. }) => 4,
            Why::Fault(Fault::Status { .. }) => 6,
            Why::Fault(Fault::TooLarge { .. } | Fault::LongToken { .. }) => 8,
            // Stored frames are native ones.
            Why::Digest | Why::Fault(Fault::Layout(_)) => 0,
            Why::Unfinished { held, .. } => *held,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: ", self.at)?;
        match &self.why {
            Why::Fault(fault) => fault.fmt(f),
            Why::Kind(kind) => {
                write!(f, "a {} frame; a stored file holds DATA frames", format!("{kind:?}").to_uppercase())
            }
            Why::Digest => f.write_str("the frame that begins here has a digest that does not match"),
            Why::Unfinished { held, whole } => {
                write!(f, "the file ends in the middle of a frame, which begins at byte {}", self.frame_at)?;
                match whole {
                    Some(whole) => write!(f, " and has {whole} bytes, not {held}"),
                    None => write!(f, " and has more than {} bytes", HEADER + DIGEST),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode;

    fn frames(payloads: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, &len) in payloads.iter().enumerate() {
            let header = Header { id: id as u64, ..Header::new(Kind::Data) };
            encode(header, b"t", &vec![7; len], &Scheme::Sha256, &mut bytes);
        }
        bytes
    }

    /// The ids, and what stopped it.
    fn scan(bytes: &[u8], piece: usize) -> (Vec<u64>, u64, Option<Flaw>) {
        let mut scan = Scan::new(&[Scheme::Sha256], 0);
        let (mut rest, mut ids) = (bytes, Vec::new());
        loop {
            let next = scan.next(|buffer| {
                let n = piece.min(buffer.len()).min(rest.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            });
            match next {
                Ok(Some(frame)) => ids.push(frame.header.id),
                Ok(None) => return (ids, scan.at(), None),
                Err(Stop::Flaw(flaw)) => return (ids, scan.at(), Some(flaw)),
                Err(Stop::Read(why)) => panic!("{why}"),
            }
        }
    }

    #[test]
    fn whole_files_in_any_pieces() {
        let bytes = frames(&[0, 1, 600_000, 5]);
        for piece in [1000, 65_536, usize::MAX] {
            assert_eq!(scan(&bytes, piece), (vec![0, 1, 2, 3], bytes.len() as u64, None));
        }
        assert_eq!(scan(b"", 1), (vec![], 0, None));
        assert_eq!(scan(&frames(&[3, 3]), 1).0, [0, 1]);
    }

    #[test]
    fn the_first_flaw_is_placed() {
        let good = frames(&[3, 3]);
        let (frame, end) = (good.len() as u64 / 2, good.len());
        for (at, xor, wrong, said) in [
            (68, 1, 68, "begins with"),
            (69, 1, 69, "begins with"),
            (70, 1, 70, "version 0"),
            (71, 9, 71, "kind 9"),
            (71, 4, 71, "a PING frame; a stored file holds DATA"),
            (72, 2, 72, "flags 0x02"),
            (74, 1, 74, "status 256"),
            (100, 1, 68, "digest"),
            (135, 1, 68, "digest"),
        ] {
            let mut bytes = good.clone();
            bytes[at] ^= xor;
            if said.contains("PING") {
                let digest = Scheme::Sha256.digest(&bytes[68..end - DIGEST]);
                bytes[end - DIGEST..].copy_from_slice(&digest);
            }
            let (ids, valid, flaw) = scan(&bytes, usize::MAX);
            let flaw = flaw.unwrap();
            assert_eq!((ids.len(), valid, flaw.frame_at, flaw.at), (1, frame, frame, wrong), "{flaw}");
            assert!(flaw.to_string().starts_with(&format!("byte {wrong}: ")), "{flaw}");
            assert!(flaw.to_string().contains(said), "{flaw}");
        }
        for cut in 1..68 {
            let (ids, valid, flaw) = scan(&good[..end - cut], 7);
            let flaw = flaw.unwrap();
            assert_eq!((ids.len(), valid, flaw.at), (1, frame, (end - cut) as u64), "{flaw}");
        }
        // A length that nothing follows asks for no memory.
        let mut bytes = good.clone();
        bytes[76..80].copy_from_slice(&[0xff; 4]);
        assert!(scan(&bytes, 100).2.unwrap().to_string().contains("in the middle of a frame"));
    }
}
