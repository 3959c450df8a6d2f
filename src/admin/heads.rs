//! The bytes of one connection, head by head.

use std::fmt;

use crate::core::limits::ADMIN_HEAD;

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Bytes that were read and are not dealt with: at most one head's worth. However small the pieces are in which a head
/// comes, each byte is looked at once.
///
/// ```text
///            ┌ seen ┐
/// bytes:     [ looked at in vain | not looked at ]      0 ≤ seen ≤ bytes.len() ≤ ADMIN_HEAD
/// ```
#[derive(Debug, Default)]
pub struct Heads {
    bytes: Vec<u8>,
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

    /// The next head, if it is whole; with it, it is gone.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let empty = self.bytes.chunks_exact(2).take_while(|line| *line == b"\r\n").count();
        if empty > 0 {
            self.bytes.drain(..2 * empty);
            (self.skipped, self.seen) = (self.skipped + 2 * empty, 0);
        }
        let from = self.seen.saturating_sub(END.len() - 1);
        if let Some(at) = self.bytes[from..].windows(END.len()).position(|four| four == END) {
            let behind = self.bytes.split_off(from + at + END.len());
            // A connection that waits for a request costs nothing here.
            (self.seen, self.skipped) = (0, 0);
            return Ok(Some(std::mem::replace(&mut self.bytes, behind)));
        }
        self.seen = self.bytes.len();
        if self.skipped + self.bytes.len() >= ADMIN_HEAD { Err(TooLong) } else { Ok(None) }
    }

    /// What came behind the last head: of its body, if it has one.
    pub fn rest(&mut self) -> Vec<u8> {
        self.seen = 0;
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every head of `sent`, which comes in pieces of so many bytes.
    fn heads(sent: &[u8], piece: usize) -> Result<Vec<String>, TooLong> {
        let (mut heads, mut found) = (Heads::default(), Vec::new());
        for piece in sent.chunks(piece) {
            for part in piece.chunks(heads.room().max(1)) {
                heads.add(part);
                while let Some(head) = heads.next()? {
                    found.push(String::from_utf8(head).unwrap());
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn heads_come_whole_however_they_are_sent() {
        let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let second = "GET /status HTTP/1.1\r\n\r\n";
        let sent = format!("{first}{second}{}", &first[..10]);
        for piece in 1..=sent.len() {
            assert_eq!(heads(sent.as_bytes(), piece).unwrap(), [first, second], "{piece}");
        }
    }

    #[test]
    fn empty_lines_before_a_head_are_left_out() {
        let sent = format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(100));
        for piece in 1..=sent.len() {
            assert_eq!(heads(sent.as_bytes(), piece).unwrap(), ["GET / HTTP/1.1\r\n\r\n"]);
        }
    }

    #[test]
    fn what_has_no_end_is_too_long() {
        for sent in [b"\r\n".repeat(ADMIN_HEAD), vec![b'x'; 2 * ADMIN_HEAD], b"a\r\n".repeat(ADMIN_HEAD)] {
            for piece in [1, 2, 3, 1024] {
                assert_eq!(heads(&sent[..ADMIN_HEAD], piece), Err(TooLong));
                assert_eq!(heads(&sent[..ADMIN_HEAD - 1], piece), Ok(vec![]));
            }
        }
    }

    #[test]
    fn what_comes_behind_a_head_stays() {
        let mut heads = Heads::default();
        heads.add(b"POST / HTTP/1.1\r\n\r\n{}\r\n\r\nmore");
        assert_eq!(heads.next().unwrap().unwrap(), b"POST / HTTP/1.1\r\n\r\n");
        assert_eq!((heads.rest().as_slice(), heads.room()), (&b"{}\r\n\r\nmore"[..], ADMIN_HEAD));
    }
}
