//! The frames of one publisher, encoded before the clock starts and sent again and again.
//!
//! A receiver compares it with what was encoded. That proves as much as hashing it: each frame
//! holds the digest of its own bytes, so the same bytes hold the right one. It costs a fiftieth, and the
//! generator would be the bottleneck otherwise. What is not the same is hashed, to say what is wrong with it.

use std::io::IoSlice;
use std::rc::Rc;

use crate::core::limits::{RING_BYTES, RING_HASHED, RING_PACKED, RING_SLOTS, RINGS_BYTES};
use crate::wire::{DIGEST, HEADER, Header, Kind, Scheme, encode};

/// A number of frames of the same length with ids from 0, as an endless stream.
#[derive(Debug)]
pub struct Ring {
    frame_len: usize,
    slots: usize,
    layout: Layout,
}

#[derive(Debug)]
enum Layout {
    /// Frames back to back.
    Packed(Vec<u8>),
    /// Of large frames, what differs; the payload is the same in all rings.
    Shared { head_len: usize, heads: Vec<u8>, payload: Rc<[u8]>, digests: Vec<u8> },
}

/// How many frames the rings of `publishers` publishers have each: enough that their ids tell a loss from
/// a repetition, no more than memory (small ones) and the hashing of them (large ones) allow.
pub fn slots(frame_len: usize, publishers: usize) -> usize {
    if frame_len < RING_PACKED {
        let bytes = (RINGS_BYTES / publishers.max(1)).min(RING_BYTES);
        (bytes / frame_len).clamp(RING_SLOTS / 4, RING_BYTES / HEADER)
    } else {
        (RING_HASHED / frame_len / publishers.max(1)).clamp(4, RING_SLOTS)
    }
}

/// Bytes that the rings of `publishers` publishers take.
pub fn bytes(frame_len: usize, publishers: usize) -> u64 {
    let (slots, publishers) = (slots(frame_len, publishers) as u64, publishers as u64);
    let (frame, apart) = (frame_len as u64, (HEADER + usize::from(u8::MAX) + DIGEST) as u64);
    if frame_len < RING_PACKED { publishers * slots * frame } else { frame + publishers * slots * apart }
}

impl Ring {
    /// Encodes `slots` frames with this key, topic and payload.
    pub fn new(key: u64, topic: &str, payload: &Rc<[u8]>, slots: usize, scheme: &Scheme) -> Ring {
        let header = |slot| Header { key, id: slot as u64, ..Header::new(Kind::Data) };
        let head_len = HEADER + topic.len();
        let frame_len = head_len + payload.len() + DIGEST;
        let mut frame = Vec::with_capacity(frame_len);
        let layout = if frame_len < RING_PACKED {
            let mut bytes = Vec::with_capacity(slots * frame_len);
            (0..slots).for_each(|slot| encode(header(slot), topic.as_bytes(), payload, scheme, &mut bytes));
            Layout::Packed(bytes)
        } else {
            let (mut heads, mut digests) = (Vec::new(), Vec::new());
            for slot in 0..slots {
                frame.clear();
                encode(header(slot), topic.as_bytes(), payload, scheme, &mut frame);
                heads.extend_from_slice(&frame[..head_len]);
                digests.extend_from_slice(&frame[frame_len - DIGEST..]);
            }
            Layout::Shared { head_len, heads, payload: payload.clone(), digests }
        };
        Ring { frame_len, slots, layout }
    }

    /// Frames of `frame_len` bytes that were made already, back to back.
    pub fn packed(frame_len: usize, frames: Vec<u8>) -> Ring {
        assert!(!frames.is_empty() && frames.len().is_multiple_of(frame_len), "whole frames, and some");
        Ring { frame_len, slots: frames.len() / frame_len, layout: Layout::Packed(frames) }
    }

    /// Bytes of each frame.
    pub fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// How many frames there are before they come again.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Fills `out` with the bytes `from..to` of the stream, as far as it has room, and says how many
    /// slices they are.
    pub fn gather<'a>(&'a self, from: u64, to: u64, out: &mut [IoSlice<'a>]) -> usize {
        let (mut at, mut n) = (from, 0);
        while at < to && n < out.len() {
            let slice = self.run_at(at);
            let len = (slice.len() as u64).min(to - at) as usize;
            out[n] = IoSlice::new(&slice[..len]);
            at += len as u64;
            n += 1;
        }
        n
    }

    /// The bytes at `at` of the stream, as far as they lie together.
    fn run_at(&self, at: u64) -> &[u8] {
        match &self.layout {
            Layout::Packed(bytes) => &bytes[(at % bytes.len() as u64) as usize..],
            Layout::Shared { .. } => {
                let slot = (at / self.frame_len as u64 % self.slots as u64) as usize;
                self.piece(slot, (at % self.frame_len as u64) as usize)
            }
        }
    }

    /// The bytes of a frame from `at` on, as far as they lie together.
    fn piece(&self, slot: usize, at: usize) -> &[u8] {
        match &self.layout {
            Layout::Packed(bytes) => &bytes[slot * self.frame_len + at..(slot + 1) * self.frame_len],
            Layout::Shared { head_len, heads, payload, digests } => {
                let body = at.checked_sub(*head_len);
                match body.map(|body| (body, body.checked_sub(payload.len()))) {
                    None => &heads[slot * head_len + at..(slot + 1) * head_len],
                    Some((body, None)) => &payload[body..],
                    Some((_, Some(digest))) => &digests[slot * DIGEST + digest..(slot + 1) * DIGEST],
                }
            }
        }
    }

    /// Whether `bytes` are those of a frame from `at` on; no more than the frame has.
    pub fn matches(&self, slot: usize, at: usize, bytes: &[u8]) -> bool {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let piece = self.piece(slot, at);
            let n = piece.len().min(rest.len());
            if piece[..n] != rest[..n] {
                return false;
            }
            at += n;
            rest = &rest[n..];
        }
        true
    }

    /// The first `len` bytes of a frame.
    pub fn beginning(&self, slot: usize, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.frame_len);
        while bytes.len() < len {
            let piece = self.piece(slot, bytes.len());
            bytes.extend_from_slice(&piece[..piece.len().min(len - bytes.len())]);
        }
        bytes
    }
}

/// A payload that holds every byte at every distance to others.
pub fn payload(len: usize) -> Rc<[u8]> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One ring of each layout, and their frames one after the other.
    fn rings() -> Vec<(Ring, Vec<u8>)> {
        [100, RING_PACKED]
            .map(|len| {
                let (payload, scheme) = (payload(len), Scheme::keyed(b"k"));
                let mut all = Vec::new();
                for id in 0..5 {
                    let header = Header { key: 7, id, ..Header::new(Kind::Data) };
                    encode(header, b"bench.x", &payload, &scheme, &mut all);
                }
                (Ring::new(7, "bench.x", &payload, 5, &scheme), all)
            })
            .into()
    }

    #[test]
    fn the_stream_is_the_frames_again_and_again() {
        for (ring, all) in rings() {
            let len = all.len() as u64;
            let endless = [&all[..], &all, &all].concat();
            for (from, to) in
                [(0, len), (0, 3 * len), (1, 40), (len - 1, len + 33), (200, 200), (31, 2 * len + 5)]
            {
                for room in [1, 3, 64] {
                    let mut slices = vec![IoSlice::new(&[]); room];
                    let n = ring.gather(from, to, &mut slices);
                    let got: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.iter().copied()).collect();
                    assert!(got.len() as u64 <= to - from && (to == from || !got.is_empty()));
                    assert!(got == endless[from as usize..from as usize + got.len()], "{from} {to}");
                    assert!(room < 64 || got.len() as u64 == to - from);
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_anywhere_is_no_match() {
        for (ring, all) in rings() {
            let len = ring.frame_len();
            let frame = &all[3 * len..4 * len];
            for at in [0, 20, 31, 32, 38, 39, 40, len - 33, len - 32, len - 1] {
                assert!(ring.matches(3, at, &frame[at..]) && ring.matches(3, 0, &frame[..at]));
                assert!(ring.beginning(3, at) == frame[..at]);
                let mut changed = frame.to_vec();
                changed[at] ^= 1;
                assert!(!ring.matches(3, 0, &changed) && !ring.matches(3, at, &changed[at..=at]));
                assert!(ring.matches(3, at + 1, &changed[at + 1..]));
            }
        }
    }

    #[test]
    fn rings_stay_within_their_bounds() {
        for (frame_len, publishers) in
            [(64, 1), (330, 8), (330, 10_000), (4_200, 8), (70_000, 8), (8 << 20, 2), (1 << 30, 1)]
        {
            let slots = slots(frame_len, publishers);
            assert!((4..=RING_BYTES / HEADER).contains(&slots), "{frame_len} {publishers}: {slots}");
            let bytes = bytes(frame_len, publishers);
            let least = (publishers * RING_SLOTS / 4 * frame_len.min(RING_PACKED) + frame_len) as u64;
            assert!(
                bytes <= least.max(RINGS_BYTES as u64 + frame_len as u64),
                "{frame_len} {publishers}: {bytes}"
            );
        }
    }
}
