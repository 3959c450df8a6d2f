//! The heads of requests, whole: whoever sends one in pieces must not cost the server a read for each of them.
//!
//! The HTTP library doubles its buffer before every read but the first of a head, however little the last one brought:
//! a head of twenty pieces takes 1 GiB, one of forty all that there is. So what is read is kept here until the head's
//! end has come, and handed over as fast as it is asked for. A library that grows by what it has read can do without.

use std::fmt;

use crate::core::limits::ADMIN_HEAD;

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Bytes of one connection that the server has not got.
///
/// ```text
///            ┌ whole ┐
/// bytes:     [ head  | what came behind it ]      0 ≤ whole ≤ bytes.len() ≤ ADMIN_HEAD
/// ```
#[derive(Debug, Default)]
pub struct Heads {
    bytes: Vec<u8>,
    /// How many of the first are to be handed over.
    whole: usize,
    /// Of a head that is not whole: how many were looked at in vain.
    seen: usize,
    /// Empty lines before a head, which mean nothing.
    skipped: usize,
}

/// A head that is longer than one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the head of a request is longer than {ADMIN_HEAD} bytes")
    }
}

impl std::error::Error for TooLong {}

impl Heads {
    /// How much more may be read for now.
    pub fn room(&self) -> usize {
        ADMIN_HEAD - self.bytes.len()
    }

    /// Adds what was read, which is not more than there is [room](Self::room) for.
    pub fn add(&mut self, read: &[u8]) {
        assert!(read.len() <= self.room());
        self.bytes.extend_from_slice(read);
    }

    /// Nothing more comes: what there is, is to be judged as it is.
    pub fn end(&mut self) {
        self.whole = self.bytes.len();
    }

    /// Moves as much of a whole head to `out` as that takes; how much, and 0 where none is whole.
    pub fn take(&mut self, out: &mut [u8]) -> Result<usize, TooLong> {
        if self.whole == 0 {
            self.look()?;
        }
        let taken = self.move_to(out, self.whole);
        self.whole -= taken;
        Ok(taken)
    }

    /// Moves as much of whatever there is to `out` as that takes: of a body.
    pub fn take_any(&mut self, out: &mut [u8]) -> usize {
        self.whole = 0;
        self.move_to(out, self.bytes.len())
    }

    fn look(&mut self) -> Result<(), TooLong> {
        // Where the server skips empty lines, each of them is a read of its own again.
        let empty = self.bytes.chunks_exact(2).take_while(|line| *line == b"\r\n").count();
        if empty > 0 {
            self.bytes.drain(..2 * empty);
            (self.skipped, self.seen) = (self.skipped + 2 * empty, 0);
        }
        let from = self.seen.saturating_sub(END.len() - 1);
        if let Some(at) = self.bytes[from..].windows(END.len()).position(|four| four == END) {
            self.whole = from + at + END.len();
            self.skipped = 0;
            return Ok(());
        }
        self.seen = self.bytes.len();
        if self.skipped + self.bytes.len() >= ADMIN_HEAD { Err(TooLong) } else { Ok(()) }
    }

    fn move_to(&mut self, out: &mut [u8], most: usize) -> usize {
        let taken = most.min(out.len());
        if taken == 0 {
            return 0;
        }
        out[..taken].copy_from_slice(&self.bytes[..taken]);
        self.bytes.drain(..taken);
        self.seen = 0;
        if self.bytes.is_empty() {
            // A connection that waits for a request costs nothing here.
            self.bytes = Vec::new();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server gets when `sent` comes in pieces of so many bytes, a read each.
    fn reads(sent: &[u8], piece: usize, out: usize) -> Result<Vec<String>, TooLong> {
        let (mut heads, mut reads, mut buffer) = (Heads::default(), Vec::new(), vec![0; out]);
        for piece in sent.chunks(piece) {
            heads.add(piece);
            loop {
                match heads.take(&mut buffer)? {
                    0 => break,
                    n => reads.push(String::from_utf8(buffer[..n].to_vec()).unwrap()),
                }
            }
        }
        Ok(reads)
    }

    #[test]
    fn a_head_comes_whole_however_it_was_sent() {
        let (first, second) = ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
        let sent = format!("{first}{second}GET /c HT");
        for piece in 1..=sent.len() {
            assert_eq!(reads(sent.as_bytes(), piece, 1024).unwrap(), [first, second], "pieces of {piece}");
            let small = reads(sent.as_bytes(), piece, 10).unwrap();
            assert_eq!(small.concat(), format!("{first}{second}"));
            assert_eq!(small.len(), 6, "as few reads as the buffer takes");
        }
    }

    #[test]
    fn empty_lines_before_a_head_are_left_out() {
        let sent = format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(100));
        for piece in 1..=sent.len() {
            assert_eq!(reads(sent.as_bytes(), piece, 1024).unwrap(), ["GET / HTTP/1.1\r\n\r\n"]);
        }
    }

    #[test]
    fn what_has_no_end_is_too_long() {
        for sent in [b"\r\n".repeat(ADMIN_HEAD), vec![b'x'; 2 * ADMIN_HEAD], b"a\r\n".repeat(ADMIN_HEAD)] {
            for piece in [1, 2, 3, 1024] {
                assert_eq!(reads(&sent[..ADMIN_HEAD], piece, 1024), Err(TooLong));
                assert_eq!(reads(&sent[..ADMIN_HEAD - 1], piece, 1024), Ok(vec![]));
            }
        }
    }

    #[test]
    fn a_body_comes_as_it_is() {
        let (mut heads, mut out) = (Heads::default(), [0; 64]);
        heads.add(b"POST / HTTP/1.1\r\n\r\n{}\r\n\r\nmore");
        assert_eq!(heads.take(&mut out), Ok(19));
        assert_eq!((heads.take_any(&mut out[..3]), &out[..3]), (3, &b"{}\r"[..]));
        heads.add(b"!");
        assert_eq!((heads.take_any(&mut out), &out[..8]), (8, &b"\n\r\nmore!"[..]));
        assert_eq!((heads.take_any(&mut out), heads.room()), (0, ADMIN_HEAD));
    }

    #[test]
    fn what_ends_in_the_middle_is_handed_over_to_be_judged() {
        let (mut heads, mut out) = (Heads::default(), [0; 64]);
        heads.add(b"GET /");
        assert_eq!(heads.take(&mut out), Ok(0));
        heads.end();
        assert_eq!((heads.take(&mut out), heads.take(&mut out)), (Ok(5), Ok(0)));
    }
}
