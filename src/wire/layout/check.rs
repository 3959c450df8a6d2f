//! Checks of frames: what is computed over a slice and stands at a place.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::crc::Crc;
use super::place::{Place, Slice, Type, View, write_decimal};
use super::sum::Summing;
use crate::wire::digest::Scheme;

/// How a check is computed.
#[derive(Clone, Debug)]
pub(super) enum Algorithm {
    Crc(Arc<Crc>),
    /// CRC-32C rotated and added to, as Snappy and LevelDB store it.
    Crc32cMasked(Arc<Crc>),
    Xor8,
    Sum8,
    /// Minus the sum: with it, all bytes add up to 0.
    Lrc8,
    /// Two sums of 8 bits, the first one first (RFC 1145, UBX).
    Fletcher8,
    Sha256,
    Sha256d,
    HmacSha256,
    #[cfg(feature = "layouts")]
    Sha1,
    #[cfg(feature = "layouts")]
    Md5,
    #[cfg(feature = "layouts")]
    Blake3,
}

/// The widest value that a check may have, in bytes.
pub(super) const SUM_MAX: usize = 32;

/// The value of a check.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sum {
    Number(u128),
    /// Its first bytes, as many as it has.
    Digest([u8; SUM_MAX]),
}

impl Sum {
    pub fn digest(digest: &[u8]) -> Sum {
        let mut bytes = [0; SUM_MAX];
        bytes[..digest.len()].copy_from_slice(digest);
        Sum::Digest(bytes)
    }
}

impl Algorithm {
    /// Bits of its value; of a digest, the most that a place may take of it.
    pub fn bits(&self) -> usize {
        match self {
            Algorithm::Crc(crc) => usize::from(crc.parameters().width),
            Algorithm::Crc32cMasked(_) => 32,
            Algorithm::Xor8 | Algorithm::Sum8 | Algorithm::Lrc8 => 8,
            Algorithm::Fletcher8 => 16,
            Algorithm::Sha256 | Algorithm::Sha256d | Algorithm::HmacSha256 => 256,
            #[cfg(feature = "layouts")]
            Algorithm::Sha1 => 160,
            #[cfg(feature = "layouts")]
            Algorithm::Md5 => 128,
            #[cfg(feature = "layouts")]
            Algorithm::Blake3 => 256,
        }
    }

    /// Whether its value is bytes, of which a place may hold the first alone.
    pub fn is_digest(&self) -> bool {
        let is_number = matches!(
            self,
            Algorithm::Crc(_)
                | Algorithm::Crc32cMasked(_)
                | Algorithm::Xor8
                | Algorithm::Sum8
                | Algorithm::Lrc8
                | Algorithm::Fletcher8
        );
        !is_number
    }

    /// Whether it is a single SHA-256, which is hashed side by side with those of other frames.
    pub fn is_side_by_side(&self) -> bool {
        matches!(self, Algorithm::Sha256 | Algorithm::HmacSha256)
    }

    /// Its value of `bytes`. `scheme` is the listener's, with the secret where there is one.
    pub fn of(&self, bytes: &[u8], scheme: &Scheme) -> Sum {
        let mut sum = Summing::new(self, scheme);
        sum.update(self, bytes);
        sum.finish(self)
    }
}

/// What must agree in a frame: the value at a place with what is computed over a slice.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// As the declaration calls it.
    pub name: Box<str>,
    pub algorithm: Algorithm,
    pub over: Slice,
    pub at: Place,
}

impl Check {
    /// Whether it agrees in a frame. Places that are not within the frame agree with nothing.
    pub fn is_right(&self, view: &View<'_>, scheme: &Scheme) -> bool {
        let (Some(over), Some(at)) = (view.slice(&self.over), view.place(&self.at)) else { return false };
        self.agrees(&self.algorithm.of(&view.bytes[over], scheme), &view.bytes[at])
    }

    /// Whether the bytes at its place say `sum`.
    pub fn agrees(&self, sum: &Sum, at: &[u8]) -> bool {
        match (sum, self.at.kind) {
            (Sum::Number(value), Type::Uint { .. }) => {
                self.at.kind.number(at).map(|number| number & self.at.mask).map(u128::from) == Some(*value)
            }
            // In constant time: how far a forged one agrees is nobody's to measure.
            (Sum::Digest(bytes), Type::Uint { .. } | Type::Bytes) if self.is_secret() => {
                at.ct_eq(&bytes[..at.len()]).into()
            }
            (Sum::Digest(bytes), Type::Uint { .. } | Type::Bytes) => at == &bytes[..at.len()],
            _ => {
                let mut expected = [0; 2 * SUM_MAX];
                let expected = &mut expected[..at.len()];
                write_sum(sum, self.at.kind, expected);
                // Digits may be of either case; bytes that are letters by chance may not.
                if self.at.kind == Type::Hex { expected.eq_ignore_ascii_case(at) } else { expected == at }
            }
        }
    }

    /// Whether its value cannot be computed by anyone who does not know a secret.
    fn is_secret(&self) -> bool {
        matches!(self.algorithm, Algorithm::HmacSha256)
    }

    /// Writes `sum` as it stands at the place, over all of `out`, which is as long as the place.
    pub fn write(&self, sum: &Sum, out: &mut [u8]) {
        write_sum(sum, self.at.kind, out);
    }
}

fn write_sum(sum: &Sum, kind: Type, out: &mut [u8]) {
    let len = out.len();
    match (sum, kind) {
        (Sum::Number(value), Type::Uint { little: true, .. }) => {
            out.copy_from_slice(&value.to_le_bytes()[..len]);
        }
        (Sum::Number(value), Type::Digits) => {
            let mut digits = vec![b'0'; len];
            write_decimal(u64::try_from(*value).unwrap_or(u64::MAX), &mut digits);
            out.copy_from_slice(&digits[digits.len() - len..]);
        }
        (Sum::Number(value), Type::Hex) => {
            for (digit, at) in out.iter_mut().rev().zip(0u32..) {
                let nibble = value.checked_shr(4 * at).unwrap_or(0) as u8 & 15;
                *digit = b"0123456789ABCDEF"[usize::from(nibble)];
            }
        }
        (Sum::Number(value), _) => {
            let bytes = value.to_be_bytes();
            let wide = len.saturating_sub(bytes.len());
            out[..wide].fill(0);
            out[wide..].copy_from_slice(&bytes[bytes.len() - (len - wide)..]);
        }
        (Sum::Digest(bytes), Type::Hex) => {
            for (at, digit) in out.iter_mut().enumerate() {
                let nibble = bytes[at / 2] >> if at % 2 == 0 { 4 } else { 0 } & 15;
                *digit = b"0123456789ABCDEF"[usize::from(nibble)];
            }
        }
        (Sum::Digest(bytes), _) => out.copy_from_slice(&bytes[..len]),
    }
}
