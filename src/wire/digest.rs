//! The digest of a frame: SHA-256, or HMAC-SHA-256 on a listener with a secret.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::hashing::Hashing;
use super::header::DIGEST;
use super::sha256::Keying;
use super::stream::Stream;

/// How the digests of a listener are made. Cheap to clone.
#[derive(Clone)]
pub enum Scheme {
    /// SHA-256 of the bytes.
    Sha256,
    /// HMAC-SHA-256 of the bytes.
    Hmac(Arc<Keyed>),
}

/// What is computed from a secret once.
pub struct Keyed {
    mac: Hmac<Sha256>,
    keying: Keying,
}

impl Scheme {
    /// HMAC-SHA-256 under `secret`.
    pub fn keyed(secret: &[u8]) -> Scheme {
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Scheme::Hmac(Arc::new(Keyed { mac, keying: Keying::hmac(secret) }))
    }

    /// SHA-256, or HMAC-SHA-256 where there is a secret.
    pub fn new(secret: Option<&[u8]>) -> Scheme {
        secret.map_or(Scheme::Sha256, Scheme::keyed)
    }

    /// Whether digests need the secret.
    pub fn is_keyed(&self) -> bool {
        matches!(self, Scheme::Hmac(_))
    }

    /// The digest of `bytes`.
    pub fn digest(&self, bytes: &[u8]) -> [u8; DIGEST] {
        match self {
            Scheme::Sha256 => Sha256::digest(bytes).into(),
            Scheme::Hmac(keyed) => keyed.mac.clone().chain_update(bytes).finalize().into_bytes().into(),
        }
    }

    /// Whether the last [`DIGEST`] bytes of a whole frame are the digest of those before them.
    pub fn is_intact(&self, frame: &[u8]) -> bool {
        let (hashed, digest) = frame.split_at(frame.len() - DIGEST);
        match self {
            Scheme::Sha256 => Sha256::digest(hashed).as_slice() == digest,
            // In constant time: how far a forged digest agrees is nobody's to measure.
            Scheme::Hmac(keyed) => keyed.mac.clone().chain_update(hashed).verify_slice(digest).is_ok(),
        }
    }

    /// Names the messages, at most `most`, that have another digest than the one beside them, by their tags and in any
    /// order.
    pub(super) fn check_each<'a, T: Copy>(
        &self,
        hashing: Hashing,
        most: usize,
        messages: impl Iterator<Item = (&'a [u8], (T, &'a [u8; DIGEST]))>,
        mut bad: impl FnMut(T),
    ) {
        hashing.digest_each(self, most, messages, |found, (tag, digest)| {
            if !self.same(&found, digest) {
                bad(tag);
            }
        });
    }

    /// Hands the digest of each of at most `most` messages to `done`, in the order in which they are finished: hashed side
    /// by side, as many as is fastest on this processor.
    pub fn digest_each<'a, T: Copy>(
        &self,
        most: usize,
        messages: impl Iterator<Item = (&'a [u8], T)>,
        done: impl FnMut([u8; DIGEST], T),
    ) {
        Hashing::chosen().digest_each(self, most, messages, done);
    }

    /// The digests of messages, by their places and in the order in which they are finished, by each way to hash that this
    /// processor has. For the model, which compares them with `sha2`.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn digests(&self, messages: &[&[u8]]) -> Vec<Vec<([u8; DIGEST], usize)>> {
        let by = |hashing: Hashing| {
            let mut digests = Vec::new();
            hashing.digest_each(self, messages.len(), messages.iter().copied().zip(0..), |digest, at| {
                digests.push((digest, at))
            });
            digests
        };
        Hashing::all().into_iter().map(by).collect()
    }

    /// Begins a digest of bytes that come in pieces.
    pub(super) fn stream(&self) -> Stream {
        Stream::new(self.keying())
    }

    /// Whether two digests are the same; in constant time where a secret could be learned from it.
    #[inline]
    pub(super) fn same(&self, a: &[u8; DIGEST], b: &[u8; DIGEST]) -> bool {
        match self {
            Scheme::Sha256 => a == b,
            Scheme::Hmac(_) => a.ct_eq(b).into(),
        }
    }

    pub(super) fn keying(&self) -> &Keying {
        match self {
            Scheme::Sha256 => &Keying::None,
            Scheme::Hmac(keyed) => &keyed.keying,
        }
    }
}

/// Says that a scheme exists, never its key.
impl std::fmt::Debug for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_keyed() { "HMAC-SHA-256" } else { "SHA-256" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // FIPS 180-2, "abc".
        let abc = Scheme::Sha256.digest(b"abc");
        assert_eq!(abc[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
        // RFC 4231, test case 2.
        let mac = Scheme::keyed(b"Jefe").digest(b"what do ya want for nothing?");
        assert_eq!(mac[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn a_changed_byte_anywhere_is_seen() {
        for scheme in [Scheme::Sha256, Scheme::keyed(b"secret")] {
            let bytes: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
            let frame = [&bytes[..], &scheme.digest(&bytes)].concat();
            assert!(scheme.is_intact(&frame));
            for at in [0, 500, 999, 1000, 1031] {
                let mut flipped = frame.clone();
                flipped[at] ^= 1;
                assert!(!scheme.is_intact(&flipped), "{at}");
            }
        }
        assert!(!format!("{:?}", Scheme::keyed(b"secret")).contains("secret"));
    }
}
