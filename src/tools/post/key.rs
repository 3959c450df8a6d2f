//! What makes a request one that was sent before.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::core::units::hex;

/// The Idempotency-Key of a record: the SHA-256 of source id, record name and record, with a zero byte after the id and
/// the name. The same record of the same source has the same key in every run, and no other has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a record.
    pub fn of(source: &str, record: &str, body: &[u8]) -> Key {
        let mut hash = Sha256::new();
        for part in [source.as_bytes(), b"\0", record.as_bytes(), b"\0", body] {
            hash.update(part);
        }
        Key(hash.finalize().into())
    }

    /// Half of it, which is unlike all others too and takes half of the room.
    pub fn half(&self) -> u128 {
        u128::from_be_bytes(self.0[..16].try_into().expect("it is 16 bytes"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Key, ()> {
        let mut key = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(());
        }
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| ())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ())?;
        }
        Ok(Key(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_hash_that_anybody_can_make() {
        let key = Key::of("a.zip", "b", b"c");
        // printf 'a.zip\0b\0c' | sha256sum
        assert_eq!(key.to_string(), "ce3d0e7e24b7c9837836d214fa457bd02a950551591f7fb6c471a9298a44cc9e");
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_ne!(key, Key::of("a.zip", "bc", b""));
        assert!(["", "zz", &"+".repeat(64)].iter().all(|text| text.parse::<Key>().is_err()));
    }
}
