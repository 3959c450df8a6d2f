//! What every way to compute SHA-256 has in common (FIPS 180-4), and the states that HMAC starts from (RFC 2104).

use sha2::{Digest as _, Sha256};

use super::header::DIGEST;

/// The eight words that SHA-256 carries from block to block.
pub(super) type State = [u32; 8];
/// What SHA-256 takes at a time.
pub(super) type Block = [u8; 64];

/// FIPS 180-4, section 5.3.3.
pub(super) const START: State =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// FIPS 180-4, section 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64
/// primes.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
pub(super) const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// What stands before a message and around its hash.
#[derive(Clone, Copy)]
pub(super) enum Keying {
    /// SHA-256 alone.
    None,
    /// HMAC (RFC 2104): the states after the block of the inner and of the outer key.
    Hmac { inner: State, outer: State },
}

impl Keying {
    /// HMAC under `secret`.
    pub(super) fn hmac(secret: &[u8]) -> Keying {
        let mut key = [0; 64];
        if secret.len() > key.len() {
            key[..DIGEST].copy_from_slice(&Sha256::digest(secret));
        } else {
            key[..secret.len()].copy_from_slice(secret);
        }
        let after = |pad: u8| {
            let mut state = START;
            sha2::block_api::compress256(&mut state, &[key.map(|byte| byte ^ pad)]);
            state
        };
        Keying::Hmac { inner: after(0x36), outer: after(0x5c) }
    }
}

/// The bytes of a state.
pub(super) fn digest_of(state: &State) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// Sets the last one or two blocks of a message of `len` bytes, whose end, less than a block, is `rest`
/// (FIPS 180-4, section 5.1.1). Says how many they are.
#[inline]
pub(super) fn pad(last: &mut [Block; 2], rest: &[u8], len: usize) -> usize {
    let end = if rest.len() < 56 { 1 } else { 2 };
    *last = [[0; 64]; 2];
    copy_short(&mut last[0], rest);
    last[0][rest.len()] = 0x80;
    last[end - 1][56..].copy_from_slice(&(8 * len as u64).to_be_bytes());
    end
}

/// Copies less than a block to the beginning of one, in pieces of fixed lengths that overlap: a call to copy so few bytes
/// takes longer than the copy.
#[inline]
fn copy_short(to: &mut Block, from: &[u8]) {
    let n = from.len();
    macro_rules! by {
        ($piece:literal) => {
            if let (Some(first), Some(last)) = (from.first_chunk::<$piece>(), from.last_chunk::<$piece>()) {
                *to.first_chunk_mut::<$piece>().expect("a piece is shorter than a block") = *first;
                to[n - $piece..n].copy_from_slice(last);
                return;
            }
        };
    }
    by!(32);
    by!(16);
    by!(8);
    by!(4);
    by!(2);
    by!(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_message_is_what_the_standard_says_whatever_was_there() {
        let bytes: [u8; 64] = std::array::from_fn(|at| at as u8 + 1);
        for rest in 0..64 {
            let (mut last, len) = ([[0xee; 64]; 2], 640 + rest);
            let blocks = pad(&mut last, &bytes[..rest], len);
            let mut expected = bytes[..rest].to_vec();
            expected.push(0x80);
            while expected.len() % 64 != 56 {
                expected.push(0);
            }
            expected.extend((8 * len as u64).to_be_bytes());
            assert_eq!(last[..blocks].as_flattened(), expected, "{rest}");
        }
    }
}
