//! Large frames, hashed as they come and two at a time, against the digest of each whole one.

use std::sync::Arc;

use super::batch::{ANY, PAYLOAD_MAX, check_verified, concat, frame, memory, schemes};
use super::choices::Choices;
use super::reference::read_stream;
use crate::core::limits::BUFFER_OVERHEAD;
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::{DIGEST, HEADER, Piecewise, Scheme};

/// A frame on its way, and how far it must have come.
struct Large {
    bytes: Vec<u8>,
    scheme: Scheme,
    received: usize,
    hashed: usize,
    large: Piecewise,
}

/// Large frames in any pieces, hashed in any steps, alone or two at a time, have the verdict of the whole.
pub fn check_pieces(data: &[u8]) {
    let mut choices = Choices::new(data);
    let memory = memory();
    let (scheme, other) = schemes(&mut choices);
    // Most pairs are of one listener and so of one scheme; nothing asks for that.
    let second = if choices.below(4) == 3 { other.clone() } else { scheme.clone() };
    let mut a = Large::new(&mut choices, &memory, scheme, &other);
    let mut b = Large::new(&mut choices, &memory, second, &other);
    let charged = a.bytes.len() + b.bytes.len() + 2 * BUFFER_OVERHEAD;
    while !a.is_finished() || !b.is_finished() {
        let idle = choices.is_empty();
        for frame in [&mut a, &mut b] {
            // With no more choices, the rest comes as one piece and is hashed at once.
            let piece = if idle { PAYLOAD_MAX } else { choices.below(PAYLOAD_MAX) >> choices.below(16) };
            frame.receive(piece, &memory);
        }
        let step = if idle { usize::MAX } else { choices.below(1000) };
        match choices.below(4) {
            0 => a.hash(step),
            1 => b.hash(step),
            _ => Large::hash_two(&mut a, &mut b, step),
        }
        if idle {
            Large::hash_two(&mut b, &mut a, step);
        }
    }
    assert_eq!(memory.used(), charged);
    a.finish();
    b.finish();
    assert_eq!(memory.used(), 0);
}

impl Large {
    fn new(choices: &mut Choices, memory: &Arc<Memory>, scheme: Scheme, other: &Scheme) -> Large {
        let mut bytes = Vec::new();
        let payload = choices.long_payload(PAYLOAD_MAX);
        frame(choices, &scheme, other, &payload, &mut bytes);
        let charge = memory.charge(Share::Large, bytes.len() + BUFFER_OVERHEAD);
        let large = Piecewise::new(bytes.len(), &scheme, charge, None);
        Large { bytes, scheme, received: 0, hashed: 0, large }
    }

    /// Takes the next bytes, `n` of them if there are as many; the first piece holds header and topic.
    fn receive(&mut self, n: usize, memory: &Arc<Memory>) {
        let first_min = if self.received == 0 { HEADER + usize::from(self.bytes[5]) } else { 0 };
        let n = n.max(first_min).min(self.bytes.len() - self.received);
        if n > 0 {
            let piece = self.bytes[self.received..self.received + n].into();
            self.large.push(Buffer::new(piece, memory.charge(Share::Large, 0)));
            self.received += n;
        }
        self.check();
    }

    fn hash(&mut self, step: usize) {
        self.large.hash(step);
        self.hashed += step.min(self.unhashed());
        self.check();
    }

    fn hash_two(a: &mut Large, b: &mut Large, step: usize) {
        Piecewise::hash_together(&mut [&mut a.large, &mut b.large], step);
        for frame in [a, b] {
            frame.hashed += step.min(frame.unhashed());
            frame.check();
        }
    }

    fn unhashed(&self) -> usize {
        self.received.min(self.bytes.len() - DIGEST) - self.hashed
    }

    fn is_finished(&self) -> bool {
        self.hashed == self.bytes.len() - DIGEST && self.received == self.bytes.len()
    }

    fn check(&self) {
        assert_eq!(self.large.unhashed(), self.unhashed());
        if self.received == 0 {
            assert!(format!("{:?}", self.large).starts_with("Piecewise(0 hashed, 0 received"));
        }
        assert_eq!(self.large.is_finished(), self.is_finished());
    }

    fn finish(self) {
        let (bytes, (frames, _)) = (&self.bytes[..], read_stream(&self.bytes, &ANY));
        let verified = self.large.finish();
        check_verified(&verified, &frames, &self.scheme);
        let body = verified.body();
        assert!(!body.is_slice() && concat(body) == bytes && concat(&body.part(0, bytes.len())) == bytes);
        for n in [0, 1, bytes.len() - 1, bytes.len()] {
            assert_eq!(body.frames_within(n), u32::from(n == bytes.len()));
        }
    }
}
