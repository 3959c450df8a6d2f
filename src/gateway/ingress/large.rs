//! A frame that does not fit in one read: it is read into pieces, and hashed while it arrives.

use std::sync::Arc;
use std::time::Instant;

use crate::core::limits::READ_MAX;
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::{Header, Piecewise};

/// A large frame between its header and its verdict.
#[derive(Debug)]
pub struct Large {
    /// Its number in its connection.
    pub number: u64,
    /// Its publisher's id for it.
    pub id: u64,
    /// Its place in the order, known once it is received: then it is certain that it will complete.
    pub seq: Option<u64>,
    /// When its last byte came; until then, when it began.
    pub received_at: Instant,
    total: usize,
    received: usize,
    /// The piece that is being read, and how much of it came.
    piece: Option<(Box<[u8]>, usize)>,
    /// Pieces that came while a worker hashes.
    incoming: Vec<Buffer>,
    /// What is hashed; `None` while a worker has it.
    hashing: Option<Box<Piecewise>>,
}

impl Large {
    /// The frame with this header, that begins with `first`, at least its header and topic.
    pub fn new(
        number: u64,
        header: &Header,
        first: Buffer,
        mut hashing: Box<Piecewise>,
        now: Instant,
    ) -> Large {
        let (id, total) = (header.id, header.frame_len());
        let received = first.len();
        hashing.push(first);
        Large {
            number,
            id,
            seq: None,
            received_at: now,
            total,
            received,
            piece: None,
            incoming: Vec::new(),
            hashing: Some(hashing),
        }
    }

    /// Bytes of the whole frame.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes that came.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Whether all of it came.
    pub fn is_received(&self) -> bool {
        self.received == self.total
    }

    /// Bytes that came while a worker hashes what came before.
    pub fn backlog(&self) -> usize {
        self.incoming.iter().map(|piece| piece.len()).sum()
    }

    /// Room for the next bytes; tell with [`advance`](Self::advance) how many came. Memory is taken
    /// a piece at a time, when bytes are there to be read.
    pub fn spare(&mut self, memory: &Memory) -> &mut [u8] {
        let left = self.total - self.received;
        let (bytes, filled) = self.piece.get_or_insert_with(|| {
            let bytes = if left >= READ_MAX { memory.buffer() } else { vec![0; left].into_boxed_slice() };
            (bytes, 0)
        });
        &mut bytes[*filled..]
    }

    /// `n` bytes were put at the beginning of the spare room.
    pub fn advance(&mut self, n: usize, memory: &Arc<Memory>) {
        let (bytes, filled) = self.piece.as_mut().expect("spare room was asked for");
        *filled += n;
        self.received += n;
        if *filled == bytes.len() {
            let (bytes, _) = self.piece.take().expect("it is there");
            // The whole frame is charged already.
            self.incoming.push(Buffer::new(bytes, memory.charge(Share::Large, 0)));
        }
        self.gather();
    }

    /// Takes the frame for hashing, if nobody has it and `at_least` bytes could be hashed.
    pub fn take(&mut self, at_least: usize) -> Option<Box<Piecewise>> {
        self.hashing.take_if(|hashing| hashing.unhashed() >= at_least.max(1))
    }

    /// Takes the frame for its verdict, if all of it is hashed.
    pub fn take_finished(&mut self) -> Option<Box<Piecewise>> {
        self.hashing.take_if(|hashing| hashing.is_finished())
    }

    /// Gives it back.
    pub fn put(&mut self, hashing: Box<Piecewise>) {
        self.hashing = Some(hashing);
        self.gather();
    }

    fn gather(&mut self) {
        if let Some(hashing) = &mut self.hashing {
            self.incoming.drain(..).for_each(|piece| hashing.push(piece));
        }
    }
}
