//! The frames of a capture, one after the other: no more of it is held than a frame and a read.

use std::io::Read;
use std::sync::Arc;

use super::capture::Capture;
use crate::cli::Failure;
use crate::wire::layout::{Cut, Cutter, Layout, Malformed};

/// What comes next in a capture.
pub enum Found<'a> {
    /// A frame of a shape, and all that was read from its first byte on.
    Frame { at: u64, shape: usize, bytes: &'a [u8], from: &'a [u8] },
    /// No frame can be cut here. A layout that scans goes on with what is skipped; of another one this is the end.
    Malformed { at: u64, why: Malformed, bytes: &'a [u8] },
    /// Bytes that belong to no frame.
    Skipped { at: u64, bytes: &'a [u8] },
    /// It will be waited for more bytes.
    Waits,
    /// It ends within a frame, which takes at least so many bytes, and is of a shape if that is known.
    Within { at: u64, bytes: &'a [u8], shape: Option<usize>, least: usize },
    /// It ends.
    End,
    /// It cannot be read.
    Broken(Failure),
}

/// Cuts a capture.
pub struct Frames<R> {
    layout: Arc<Layout>,
    max: usize,
    capture: Capture<R>,
    cutter: Cutter,
    /// What was read.
    bytes: Vec<u8>,
    /// Those before this one are done with.
    from: usize,
    /// Where the first of `bytes` is in the capture.
    at: u64,
    /// Bytes that were told of last.
    told: usize,
    is_waiting: bool,
    is_over: bool,
}

/// 64 KiB that are done with are let go at once.
const DONE_WITH: usize = 64 << 10;

impl<R: Read> Frames<R> {
    /// `bytes` are the first of the capture. No frame is larger than `max`.
    pub fn new(layout: Arc<Layout>, max: usize, capture: Capture<R>, bytes: Vec<u8>) -> Frames<R> {
        let cutter = Cutter::default();
        let (from, at, told, is_waiting, is_over) = (0, 0, 0, false, false);
        Frames { layout, max, capture, cutter, bytes, from, at, told, is_waiting, is_over }
    }

    /// What comes next; for ever the end behind it.
    pub fn next(&mut self) -> Found<'_> {
        self.advance();
        if self.is_over {
            return Found::End;
        }
        loop {
            let (at, rest) = (self.at + self.from as u64, &self.bytes[self.from..]);
            match self.cutter.next(&self.layout, rest, self.max) {
                Cut::Frame { len, shape } => {
                    self.told = len;
                    let from = &self.bytes[self.from..];
                    return Found::Frame { at, shape, bytes: &from[..len], from };
                }
                Cut::Skip(len) => {
                    self.told = len;
                    return Found::Skipped { at, bytes: &self.bytes[self.from..][..len] };
                }
                Cut::Malformed(why) => {
                    self.is_over = !self.layout.scans();
                    return Found::Malformed { at, why, bytes: &self.bytes[self.from..] };
                }
                Cut::More(_) if !self.is_waiting => {
                    self.is_waiting = true;
                    return Found::Waits;
                }
                Cut::More(least) => {
                    self.is_waiting = false;
                    match self.capture.read(&mut self.bytes) {
                        Ok(true) => {}
                        Ok(false) if self.cutter.end(&self.layout) => {}
                        Ok(false) => return self.end(at, least),
                        Err(failure) => {
                            self.is_over = true;
                            return Found::Broken(failure);
                        }
                    }
                }
            }
        }
    }

    fn end(&mut self, at: u64, least: usize) -> Found<'_> {
        self.is_over = true;
        let bytes = &self.bytes[self.from..];
        match bytes.is_empty() {
            true => Found::End,
            false => Found::Within { at, bytes, shape: self.layout.shape_of(bytes), least },
        }
    }

    fn advance(&mut self) {
        self.from += std::mem::take(&mut self.told);
        if self.from >= DONE_WITH {
            self.bytes.drain(..self.from);
            self.at += self.from as u64;
            self.from = 0;
        }
    }
}
