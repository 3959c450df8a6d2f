//! Checks of bytes that are looked at a piece at a time.

use sha2::{Digest as _, Sha256};

use super::check::{Algorithm, Sum};
use crate::wire::digest::Scheme;
use crate::wire::stream::Stream;

/// The value of a check in the making: what its algorithm remembers of the bytes so far.
pub(super) enum Summing {
    Crc(u128),
    Byte(u8),
    Bytes(u8, u8),
    Sha256(Sha256),
    HmacSha256(Stream),
    #[cfg(feature = "layouts")]
    Sha1(sha1::Sha1),
    #[cfg(feature = "layouts")]
    Md5(md5::Md5),
    #[cfg(feature = "layouts")]
    Blake3(Box<blake3::Hasher>),
}

impl Summing {
    /// Of no bytes yet.
    pub fn new(algorithm: &Algorithm, scheme: &Scheme) -> Summing {
        match algorithm {
            Algorithm::Crc(crc) | Algorithm::Crc32cMasked(crc) => Summing::Crc(crc.begin()),
            Algorithm::Xor8 | Algorithm::Sum8 | Algorithm::Lrc8 => Summing::Byte(0),
            Algorithm::Fletcher8 => Summing::Bytes(0, 0),
            Algorithm::Sha256 | Algorithm::Sha256d => Summing::Sha256(Sha256::new()),
            Algorithm::HmacSha256 => Summing::HmacSha256(scheme.stream()),
            #[cfg(feature = "layouts")]
            Algorithm::Sha1 => Summing::Sha1(sha1::Sha1::new()),
            #[cfg(feature = "layouts")]
            Algorithm::Md5 => Summing::Md5(md5::Md5::new()),
            #[cfg(feature = "layouts")]
            Algorithm::Blake3 => Summing::Blake3(Box::default()),
        }
    }

    /// Adds bytes, by the algorithm that it was begun with.
    pub fn update(&mut self, algorithm: &Algorithm, bytes: &[u8]) {
        match self {
            Summing::Crc(state) => {
                if let Algorithm::Crc(crc) | Algorithm::Crc32cMasked(crc) = algorithm {
                    *state = crc.update(*state, bytes);
                }
            }
            Summing::Byte(sum) if matches!(algorithm, Algorithm::Xor8) => {
                *sum = bytes.iter().fold(*sum, |sum, byte| sum ^ byte);
            }
            Summing::Byte(sum) => *sum = bytes.iter().fold(*sum, |sum, byte| sum.wrapping_add(*byte)),
            Summing::Bytes(a, b) => {
                for byte in bytes {
                    *a = a.wrapping_add(*byte);
                    *b = b.wrapping_add(*a);
                }
            }
            Summing::Sha256(digest) => digest.update(bytes),
            Summing::HmacSha256(stream) => stream.update(bytes),
            #[cfg(feature = "layouts")]
            Summing::Sha1(digest) => digest.update(bytes),
            #[cfg(feature = "layouts")]
            Summing::Md5(digest) => digest.update(bytes),
            #[cfg(feature = "layouts")]
            Summing::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// The value of all of them, by the same algorithm.
    pub fn finish(self, algorithm: &Algorithm) -> Sum {
        match (self, algorithm) {
            (Summing::Crc(state), Algorithm::Crc(crc)) => Sum::Number(crc.end(state)),
            (Summing::Crc(state), Algorithm::Crc32cMasked(crc)) => Sum::Number(masked(crc.end(state))),
            (Summing::Crc(_), _) => unreachable!("it was begun with another algorithm"),
            (Summing::Byte(sum), Algorithm::Lrc8) => Sum::Number(sum.wrapping_neg().into()),
            (Summing::Byte(sum), _) => Sum::Number(sum.into()),
            (Summing::Bytes(a, b), _) => Sum::Number(u16::from_be_bytes([a, b]).into()),
            (Summing::Sha256(digest), Algorithm::Sha256d) => Sum::digest(&Sha256::digest(digest.finalize())),
            (Summing::Sha256(digest), _) => Sum::digest(&digest.finalize()),
            (Summing::HmacSha256(stream), _) => Sum::digest(&stream.finish()),
            #[cfg(feature = "layouts")]
            (Summing::Sha1(digest), _) => Sum::digest(&digest.finalize()),
            #[cfg(feature = "layouts")]
            (Summing::Md5(digest), _) => Sum::digest(&digest.finalize()),
            #[cfg(feature = "layouts")]
            (Summing::Blake3(hasher), _) => Sum::digest(hasher.finalize().as_bytes()),
        }
    }
}

/// A CRC-32C as Snappy and LevelDB store it.
fn masked(crc: u128) -> u128 {
    (crc as u32).rotate_right(15).wrapping_add(0xa282_ead8).into()
}

#[cfg(all(test, feature = "layouts"))]
mod tests {
    use std::sync::Arc;

    use super::super::crc::{Crc, Parameters};
    use super::*;

    #[test]
    fn in_pieces_or_at_once_the_value_is_the_same() {
        let crc = |width, poly, refin, refout| {
            let parameters = Parameters { width, poly, init: 1, refin, refout, xorout: 2 };
            Arc::new(Crc::new(parameters))
        };
        let (scheme, bytes) =
            (Scheme::keyed(b"secret"), (0..1_000u32).map(|n| (n * n) as u8).collect::<Vec<_>>());
        for algorithm in [
            Algorithm::Crc(crc(16, 0x8005, true, true)),
            Algorithm::Crc(crc(16, 0x1021, false, false)),
            Algorithm::Crc(crc(12, 0x80f, false, true)),
            Algorithm::Crc(crc(82, 0x308c_0111_0114_0144_0411, true, true)),
            Algorithm::Crc(crc(100, 0x1_0000_0003, false, false)),
            Algorithm::Crc32cMasked(crc(32, 0x1edc_6f41, true, true)),
            Algorithm::Xor8,
            Algorithm::Sum8,
            Algorithm::Lrc8,
            Algorithm::Fletcher8,
            Algorithm::Sha256,
            Algorithm::Sha256d,
            Algorithm::HmacSha256,
            Algorithm::Sha1,
            Algorithm::Md5,
            Algorithm::Blake3,
        ] {
            for piece in [1, 7, 64, 999, 1_000] {
                let mut sum = Summing::new(&algorithm, &scheme);
                bytes.chunks(piece).for_each(|piece| sum.update(&algorithm, piece));
                let (sum, expected) = (sum.finish(&algorithm), algorithm.of(&bytes, &scheme));
                assert_eq!(format!("{sum:?}"), format!("{expected:?}"), "{algorithm:?} in pieces of {piece}");
            }
        }
    }
}
