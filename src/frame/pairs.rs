//! The digests of many messages, two at a time.
//!
//! Messages are as long as they are: the lane that is done takes the next message, and the last one
//! left is finished alone.

use sha2::{Digest as _, Sha256};

use super::header::DIGEST;
#[cfg(target_arch = "x86_64")]
use super::sha_ni::ShaNi;

/// The eight words that SHA-256 carries from block to block.
pub(super) type State = [u32; 8];
/// What SHA-256 takes at a time.
pub(super) type Block = [u8; 64];

/// FIPS 180-4, section 5.3.3.
const START: State =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

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

/// How two lanes are compressed.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    #[cfg(target_arch = "x86_64")]
    sha_ni: ShaNi,
}

impl Pairs {
    /// None where hashing two at once gains nothing.
    pub(super) fn detect() -> Option<Pairs> {
        #[cfg(target_arch = "x86_64")]
        return ShaNi::detect().map(|sha_ni| Pairs { sha_ni });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Hands the digest of each message to `done`, in the order in which they are finished.
    pub(super) fn digest_each<'a, T>(
        self,
        keying: &Keying,
        messages: impl Iterator<Item = (&'a [u8], T)>,
        mut done: impl FnMut([u8; DIGEST], T),
    ) {
        let mut lanes = messages.map(|(message, tag)| Lane::new(message, tag, keying));
        let Some(mut a) = lanes.next() else { return };
        let Some(mut b) = lanes.next() else { return a.finish_alone(&mut done) };
        loop {
            self.step(&mut a, &mut b);
            if !a.renew(&mut lanes, &mut done) || !b.renew(&mut lanes, &mut done) {
                a.finish_alone(&mut done);
                return b.finish_alone(&mut done);
            }
        }
    }

    /// Compresses as many blocks as both lanes have in one run.
    fn step<T>(self, a: &mut Lane<'_, T>, b: &mut Lane<'_, T>) {
        let n = a.blocks.next().len().min(b.blocks.next().len());
        #[cfg(target_arch = "x86_64")]
        self.sha_ni.compress_two(&mut a.state, &a.blocks.next()[..n], &mut b.state, &b.blocks.next()[..n]);
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("nothing makes a Pairs there");
        a.advance(n);
        b.advance(n);
    }
}

/// A message that is being hashed.
struct Lane<'a, T> {
    state: State,
    blocks: Blocks<'a>,
    /// The state to hash the inner hash with, once that is there.
    outer: Option<State>,
    tag: T,
}

/// The blocks of a message: its own, and then one or two with its end and its length.
struct Blocks<'a> {
    body: &'a [Block],
    last: [Block; 2],
    /// `last[at..end]` is still to come.
    at: usize,
    end: usize,
}

impl<'a, T> Lane<'a, T> {
    fn new(message: &'a [u8], tag: T, keying: &Keying) -> Lane<'a, T> {
        let (state, outer, before) = match *keying {
            Keying::None => (START, None, 0),
            Keying::Hmac { inner, outer } => (inner, Some(outer), size_of::<Block>()),
        };
        Lane { state, blocks: Blocks::new(message, before), outer, tag }
    }

    fn advance(&mut self, n: usize) {
        self.blocks.advance(n);
        if self.blocks.next().is_empty()
            && let Some(outer) = self.outer.take()
        {
            let inner = self.digest();
            self.blocks = Blocks::short(&inner, size_of::<Block>());
            self.state = outer;
        }
    }

    fn is_done(&self) -> bool {
        self.blocks.next().is_empty()
    }

    /// Takes the next message if this one is done; false if it is and there is none.
    fn renew(
        &mut self,
        lanes: &mut impl Iterator<Item = Self>,
        done: &mut impl FnMut([u8; DIGEST], T),
    ) -> bool {
        if !self.is_done() {
            return true;
        }
        let Some(next) = lanes.next() else { return false };
        let finished = std::mem::replace(self, next);
        done(finished.digest(), finished.tag);
        true
    }

    fn finish_alone(mut self, done: &mut impl FnMut([u8; DIGEST], T)) {
        while !self.is_done() {
            let next = self.blocks.next();
            let n = next.len();
            sha2::block_api::compress256(&mut self.state, next);
            self.advance(n);
        }
        done(self.digest(), self.tag);
    }

    fn digest(&self) -> [u8; DIGEST] {
        let mut digest = [0; DIGEST];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

impl<'a> Blocks<'a> {
    /// Of `message`, `before` bytes into what is hashed.
    fn new(message: &'a [u8], before: usize) -> Blocks<'a> {
        let (body, rest) = message.as_chunks();
        Blocks { body, ..Blocks::padded(rest, before + message.len()) }
    }

    /// Of less than a block, copied.
    fn short(message: &[u8], before: usize) -> Blocks<'a> {
        Blocks::padded(message, before + message.len())
    }

    /// The end of a message of `len` bytes (FIPS 180-4, section 5.1.1).
    fn padded(rest: &[u8], len: usize) -> Blocks<'a> {
        let mut last = [[0; 64]; 2];
        last[0][..rest.len()].copy_from_slice(rest);
        last[0][rest.len()] = 0x80;
        let end = if rest.len() < 56 { 1 } else { 2 };
        last[end - 1][56..].copy_from_slice(&(8 * len as u64).to_be_bytes());
        Blocks { body: &[], last, at: 0, end }
    }

    /// The next run of blocks; empty at the end.
    fn next(&self) -> &[Block] {
        if self.body.is_empty() { &self.last[self.at..self.end] } else { self.body }
    }

    fn advance(&mut self, n: usize) {
        if self.body.is_empty() {
            self.at += n;
        } else {
            self.body = &self.body[n..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Scheme;

    fn check(scheme: &Scheme, keying: &Keying, lengths: &[usize]) {
        let Some(pairs) = Pairs::detect() else { return };
        let bytes: Vec<u8> =
            (0..*lengths.iter().max().unwrap_or(&0)).map(|i| (i * 7 + i / 256) as u8).collect();
        let mut seen = vec![false; lengths.len()];
        let messages = lengths.iter().enumerate().map(|(i, &len)| (&bytes[..len], i));
        pairs.digest_each(keying, messages, |digest, i| {
            assert_eq!(digest, scheme.digest(&bytes[..lengths[i]]), "{} of {lengths:?}", lengths[i]);
            assert!(!std::mem::replace(&mut seen[i], true));
        });
        assert!(!seen.contains(&false));
    }

    #[test]
    fn every_pair_of_lengths_agrees_with_the_library() {
        for (scheme, keying) in [
            (Scheme::Sha256, Keying::None),
            (Scheme::keyed(b"secret"), Keying::hmac(b"secret")),
            (Scheme::keyed(&[7; 100]), Keying::hmac(&[7; 100])),
        ] {
            for a in 0..260 {
                for b in 0..260 {
                    check(&scheme, &keying, &[a, b]);
                }
            }
        }
    }

    #[test]
    fn lanes_take_the_next_message_as_they_get_free() {
        for (scheme, keying) in [(Scheme::Sha256, Keying::None), (Scheme::keyed(b"k"), Keying::hmac(b"k"))] {
            check(&scheme, &keying, &[]);
            check(&scheme, &keying, &[5]);
            check(&scheme, &keying, &[10_000, 1, 2, 3, 64, 0, 500]);
            check(&scheme, &keying, &[1, 10_000, 2, 9_000, 63, 128]);
            check(&scheme, &keying, &[64; 9]);
        }
    }
}
