//! The first bytes of something, looked at before they are read.

use std::io::{self, BufRead, Read};

/// What is read, with its first bytes at hand.
pub(super) struct Head<R> {
    bytes: Vec<u8>,
    at: usize,
    /// Whether there is nothing behind them.
    is_all: bool,
    /// Why there are no more of them; it comes when they are read.
    error: Option<io::Error>,
    rest: R,
}

impl<R: Read> Head<R> {
    /// Reads up to `len` bytes ahead. That it fails is told when those before it are read.
    pub fn new(mut rest: R, len: usize) -> Head<R> {
        let mut bytes = Vec::new();
        let error = (&mut rest).take(len as u64).read_to_end(&mut bytes).err();
        let is_all = error.is_none() && bytes.len() < len;
        Head { bytes, at: 0, is_all, error, rest }
    }

    /// The first bytes.
    pub fn first(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether they are all there is.
    pub fn is_all(&self) -> bool {
        self.is_all
    }

    /// Why nothing at all can be read.
    pub fn take_error(&mut self) -> Option<io::Error> {
        if self.bytes.is_empty() { self.error.take() } else { None }
    }
}

impl<R: Read> Read for Head<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = (&self.bytes[self.at..]).read(buffer)?;
        self.at += n;
        if n > 0 || buffer.is_empty() {
            return Ok(n);
        }
        match self.error.take() {
            Some(why) => Err(why),
            None => self.rest.read(buffer),
        }
    }
}

impl<R: BufRead> BufRead for Head<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.bytes.len() {
            return Ok(&self.bytes[self.at..]);
        }
        match self.error.take() {
            Some(why) => Err(why),
            None => self.rest.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        if self.at < self.bytes.len() {
            self.at += n;
        } else {
            self.rest.consume(n);
        }
    }
}
