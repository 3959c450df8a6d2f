//! Choices made of bytes, so that a fuzzer that mutates the bytes steers the run.

use crate::wire::{Header, Kind, Status};

/// Reads choices from bytes. Where they run out, every choice is 0.
#[derive(Debug)]
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    /// Choices from the beginning of `data`.
    pub fn new(data: &'a [u8]) -> Choices<'a> {
        Choices { rest: data }
    }

    /// Whether every further choice is 0.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    /// Yes in half of all cases.
    pub fn flip(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `n`, which is at least 1. It takes one byte where that is enough, else four.
    pub fn below(&mut self, n: usize) -> usize {
        let bytes = if n <= 256 { 1 } else { 4 };
        (0..bytes).fold(0, |number, _| number << 8 | usize::from(self.byte())) % n
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// At most `max` of the bytes themselves, as many as a choice says.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        bytes
    }

    /// A header, its lengths 0.
    pub fn header(&mut self) -> Header {
        let kinds = [Kind::Data, Kind::Reply, Kind::Subscribe, Kind::Unsubscribe, Kind::Ping];
        // Every other one is DATA, the kind that most paths are about.
        let kind = kinds[self.below(10) / 2 * usize::from(self.flip())];
        let mut header = Header { want_reply: self.flip(), ..Header::new(kind) };
        if kind == Kind::Reply {
            header.status = match self.below(16) {
                at if at < Status::ALL.len() => Status::ALL[at] as u16,
                _ => self.below(1 << 16) as u16,
            };
        }
        if self.flip() {
            (header.part_index, header.part_count) = (self.byte().into(), self.byte().into());
            (header.key, header.id) = (self.number(), self.number());
        }
        header
    }

    /// A payload of at most `max` bytes: a few chosen ones, or many.
    pub fn payload(&mut self, max: usize) -> Vec<u8> {
        if self.byte() < 224 { self.bytes(max.min(64)).to_vec() } else { self.long_payload(max) }
    }

    /// A payload of at most `max` bytes of which no two near ones are alike.
    pub fn long_payload(&mut self, max: usize) -> Vec<u8> {
        let len = self.below(max + 1);
        let first = usize::from(self.byte());
        (first..first + len).map(|at| (at ^ at >> 8) as u8).collect()
    }
}
