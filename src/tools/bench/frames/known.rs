//! Frames that are known again by their digest: frames of a layout carry no id that the load chose.

use std::collections::HashMap;

use crate::wire::DIGEST;

/// Byte strings one behind the other.
#[derive(Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packed {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    pub fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// All of them, back to back.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Which frame of a load it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Of this publisher's ring.
    Frame { publisher: usize, slot: u64 },
    /// One that a device sent before, once.
    Login,
}

/// What subscribers get of a layout's frames.
#[derive(Debug, Default)]
pub struct Known {
    frames: Packed,
    found: Vec<Found>,
    /// By the first bytes of its digest, which place it has.
    places: HashMap<u64, usize>,
}

impl Known {
    /// Adds what comes of a frame. Whether there was none like it.
    pub fn add(&mut self, frame: &[u8], publisher: usize, slot: usize) -> bool {
        self.insert(frame, Found::Frame { publisher, slot: slot as u64 })
    }

    /// Adds what comes of a login.
    pub fn add_login(&mut self, frame: &[u8]) {
        self.insert(frame, Found::Login);
    }

    fn insert(&mut self, frame: &[u8], found: Found) -> bool {
        let Some(digest) = beginning(frame) else { return false };
        if self.places.contains_key(&digest) {
            return false;
        }
        self.places.insert(digest, self.found.len());
        self.found.push(found);
        self.frames.push(frame);
        true
    }

    /// Knows no frame of these slots and beyond any more.
    pub fn truncate(&mut self, slots: usize) {
        let found = &self.found;
        self.places.retain(|_, place| match found[*place] {
            Found::Frame { slot, .. } => slot < slots as u64,
            Found::Login => true,
        });
    }

    /// Which one these bytes are, from the first to the last.
    pub fn find(&self, frame: &[u8]) -> Option<Found> {
        let place = *self.places.get(&beginning(frame)?)?;
        (self.frames.get(place) == frame).then(|| self.found[place])
    }
}

fn beginning(frame: &[u8]) -> Option<u64> {
    let digest = frame.last_chunk::<DIGEST>()?;
    digest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, Kind, Scheme, encode};

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(Header::new(Kind::Data), b"t", payload, &Scheme::Sha256, &mut bytes);
        bytes
    }

    #[test]
    fn frames_are_found_whole_and_unchanged_only() {
        let mut known = Known::default();
        assert!(
            known.add(&frame(b"a"), 0, 0) && known.add(&frame(b"b"), 1, 0) && known.add(&frame(b"c"), 0, 1)
        );
        assert!(!known.add(&frame(b"a"), 1, 1));
        known.add_login(&frame(b"me"));
        assert_eq!(known.find(&frame(b"b")), Some(Found::Frame { publisher: 1, slot: 0 }));
        assert_eq!(known.find(&frame(b"me")), Some(Found::Login));
        assert_eq!(known.find(&frame(b"d")), None);
        let whole = frame(b"c");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(known.find(&changed), None, "{at}");
        }
        assert_eq!(known.find(&whole[1..]), None);
        assert_eq!(known.find(b"short"), None);
        known.truncate(1);
        assert_eq!(known.find(&whole), None);
        assert_eq!(known.find(&frame(b"a")), Some(Found::Frame { publisher: 0, slot: 0 }));
        assert_eq!(known.find(&frame(b"me")), Some(Found::Login));
    }

    #[test]
    fn packed_strings_are_found_again() {
        let mut packed = Packed::default();
        [&b"one"[..], b"", b"three"].into_iter().for_each(|bytes| packed.push(bytes));
        assert_eq!([packed.get(0), packed.get(1), packed.get(2)], [&b"one"[..], b"", b"three"]);
        packed.truncate(2);
        assert_eq!((packed.len(), packed.into_bytes()), (2, b"one".to_vec()));
    }
}
