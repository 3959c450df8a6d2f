//! Where the frames of a segment stand in the order of everything that was stored.
//!
//! Beside each segment lies an index: an entry for each run of frames that were stored one after the
//! other, with nothing of another topic between them. An entry is written once its frames are on the
//! disk, so the index of an open segment also says how much of it is confirmed. It is no part of what
//! is promised: where entries are missing, the frames are there all the same, in their place within the
//! segment.

use super::stamp::Stamp;
use crate::wire::Scheme;

/// Bytes of an entry.
pub const ENTRY: usize = 24;

/// Frames that were stored one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stamp of the first; the others follow it one by one.
    pub first: Stamp,
    /// Where the last ends in the segment, in bytes.
    pub end: u64,
    /// How many they are, at least 1.
    pub frames: u32,
}

impl Entry {
    /// The first stamp after it.
    pub fn next(&self) -> u64 {
        self.first.0 + u64::from(self.frames)
    }

    /// Its bytes; the last four are the beginning of a digest of the others.
    pub fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&self.first.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.end.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.frames.to_be_bytes());
        let check = check(&bytes);
        bytes[20..].copy_from_slice(&check);
        bytes
    }

    /// What [`encode`](Self::encode) gave; none for other bytes.
    fn decode(bytes: &[u8; ENTRY]) -> Option<Entry> {
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let frames = u32::from_be_bytes(bytes[16..20].try_into().expect("four bytes"));
        let entry = Entry { first: Stamp(number(0)), end: number(8), frames };
        (bytes[20..] == check(bytes) && entry.first <= Stamp::MAX).then_some(entry)
    }
}

fn check(bytes: &[u8; ENTRY]) -> [u8; 4] {
    *Scheme::Sha256.digest(&bytes[..20]).first_chunk().expect("a digest has more")
}

/// The entries that an index begins with, as far as they are whole and follow each other. `before` is the
/// entry that came before `bytes`, if one did.
pub fn read(bytes: &[u8], mut before: Option<Entry>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for bytes in bytes.as_chunks::<ENTRY>().0 {
        let Some(entry) = Entry::decode(bytes) else { break };
        let follows = before.is_none_or(|before| entry.first.0 >= before.next() && entry.end > before.end);
        if entry.frames == 0 || !follows {
            break;
        }
        entries.push(entry);
        before = Some(entry);
    }
    entries
}

/// Compares an index with the frames of its segment, told one after the other.
#[derive(Debug)]
pub struct Compared {
    entries: Vec<Entry>,
    /// Entries that agree with the frames so far.
    agreed: usize,
    /// Frames since the last of those.
    open: u32,
    wrong: bool,
}

impl Compared {
    /// An index that nothing is known about yet.
    pub fn new(entries: Vec<Entry>) -> Compared {
        Compared { entries, agreed: 0, open: 0, wrong: false }
    }

    /// The next frame ends at `end`.
    pub fn frame(&mut self, end: u64) {
        self.open += 1;
        let Some(entry) = self.entries.get(self.agreed).filter(|_| !self.wrong) else { return };
        if end == entry.end && self.open == entry.frames {
            self.agreed += 1;
            self.open = 0;
        } else if end >= entry.end {
            self.wrong = true;
        }
    }

    /// The entries that agree with the frames.
    pub fn agreed(&self) -> &[Entry] {
        &self.entries[..self.agreed]
    }

    /// Frames behind those.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Whether there are entries that do not agree.
    pub fn is_wrong(&self) -> bool {
        self.agreed < self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(entries: &[(u64, u64, u32)]) -> Vec<Entry> {
        entries.iter().map(|&(first, end, frames)| Entry { first: Stamp(first), end, frames }).collect()
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        entries.iter().flat_map(Entry::encode).collect()
    }

    #[test]
    fn what_was_written_is_read_up_to_the_first_fault() {
        let all = entries(&[(5, 100, 2), (7, 150, 1), (90, 400, 3)]);
        let bytes = written(&all);
        assert_eq!(read(&bytes, None), all);
        assert_eq!(read(&bytes[ENTRY..], Some(all[0])), all[1..]);
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len], None), all[..len / ENTRY]);
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(read(&bytes, None), all[..at / ENTRY], "{at}");
        }
        assert!(read(&[0; 5 * ENTRY], None).is_empty(), "a hole is no index");
    }

    #[test]
    fn what_does_not_follow_is_not_read() {
        for second in [(6, 150, 1), (7, 100, 1), (7, 150, 0)] {
            let all = entries(&[(5, 100, 2), second]);
            assert_eq!(read(&written(&all), None), all[..1], "{second:?}");
        }
        let late = entries(&[(Stamp::MAX.0, 100, u32::MAX), (u64::MAX, 150, 1)]);
        assert_eq!(read(&written(&late), None), late[..1], "no stamp overflows");
    }

    #[test]
    fn an_index_agrees_with_its_frames_or_not() {
        for (index, agreed, open, wrong) in [
            (&[][..], 0, 4, false),
            (&[(1, 20, 2), (5, 40, 2)], 2, 0, false),
            (&[(1, 20, 2)], 1, 2, false),
            (&[(1, 20, 2), (5, 50, 3)], 1, 2, true),
            (&[(1, 20, 1), (5, 40, 2)], 0, 4, true),
            (&[(1, 15, 1), (5, 40, 2)], 0, 4, true),
            (&[(1, 10, 1), (5, 40, 2)], 1, 3, true),
        ] {
            let mut compared = Compared::new(entries(index));
            (1..=4).for_each(|frame| compared.frame(10 * frame));
            assert_eq!(
                (compared.agreed().len(), compared.open(), compared.is_wrong()),
                (agreed, open, wrong)
            );
        }
    }
}
