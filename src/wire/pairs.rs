//! The digests of many messages, two at a time.
//!
//! Messages are as long as they are: the lane that is done takes the next message, and the last one
//! left is finished alone.

use sha2::{Digest as _, Sha256};

use super::header::DIGEST;
#[cfg(target_arch = "aarch64")]
use super::sha_aarch64::Sha2 as Instructions;
#[cfg(target_arch = "x86_64")]
use super::sha_ni::ShaNi as Instructions;

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

/// How two lanes are compressed: proof that it can be done on this processor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs(Instructions);

/// No processor of another kind has instructions that we know.
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
#[derive(Clone, Copy, Debug)]
enum Instructions {}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
impl Instructions {
    fn detect() -> Option<Instructions> {
        None
    }

    fn compress_two(self, _: &mut State, _: &[Block], _: &mut State, _: &[Block]) {
        match self {}
    }
}

impl Pairs {
    /// None where hashing two at once gains nothing.
    pub(super) fn detect() -> Option<Pairs> {
        Instructions::detect().map(Pairs)
    }

    /// Hands the digest of each message to `done`, in the order in which they are finished.
    pub(super) fn digest_each<'a, T: Copy>(
        self,
        keying: &Keying,
        mut messages: impl Iterator<Item = (&'a [u8], T)>,
        mut done: impl FnMut([u8; DIGEST], T),
    ) {
        let Some((message, tag)) = messages.next() else { return };
        let mut a = Lane::new(message, tag, keying);
        let Some((message, tag)) = messages.next() else { return a.finish_alone(&mut done) };
        let mut b = Lane::new(message, tag, keying);
        loop {
            self.step(&mut a, &mut b);
            if !a.renew(keying, &mut messages, &mut done) || !b.renew(keying, &mut messages, &mut done) {
                a.finish_alone(&mut done);
                return b.finish_alone(&mut done);
            }
        }
    }

    /// Hands the digest of each lane to `done` likewise, from where it is.
    pub(super) fn finish_each<'a, T: Copy>(
        self,
        mut lanes: impl Iterator<Item = Lane<'a, T>>,
        mut done: impl FnMut([u8; DIGEST], T),
    ) {
        let Some(mut a) = lanes.next() else { return };
        for mut b in lanes {
            while !a.is_done() && !b.is_done() {
                self.step(&mut a, &mut b);
            }
            if a.is_done() {
                std::mem::swap(&mut a, &mut b);
            }
            done(b.digest(), b.tag);
        }
        a.finish_alone(&mut done);
    }

    /// Compresses as many blocks as both lanes have in one run.
    fn step<T: Copy>(self, a: &mut Lane<'_, T>, b: &mut Lane<'_, T>) {
        let n = a.blocks.next().len().min(b.blocks.next().len());
        self.compress_two(&mut a.state, &a.blocks.next()[..n], &mut b.state, &b.blocks.next()[..n]);
        a.advance(n);
        b.advance(n);
    }

    /// Adds as many blocks to each of two states.
    #[inline]
    pub(super) fn compress_two(self, a: &mut State, blocks_a: &[Block], b: &mut State, blocks_b: &[Block]) {
        self.0.compress_two(a, blocks_a, b, blocks_b);
    }
}

/// A message that is being hashed.
pub(super) struct Lane<'a, T> {
    pub(super) state: State,
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

impl<'a, T: Copy> Lane<'a, T> {
    pub(super) fn new(message: &'a [u8], tag: T, keying: &Keying) -> Lane<'a, T> {
        let blocks = Blocks { body: &[], last: [[0; 64]; 2], at: 0, end: 0 };
        let mut lane = Lane { state: START, blocks, outer: None, tag };
        lane.begin(message, tag, keying);
        lane
    }

    fn begin(&mut self, message: &'a [u8], tag: T, keying: &Keying) {
        self.tag = tag;
        let before = match *keying {
            Keying::None => {
                self.state = START;
                0
            }
            Keying::Hmac { inner, outer } => {
                self.state = inner;
                self.outer = Some(outer);
                size_of::<Block>()
            }
        };
        let (body, rest) = message.as_chunks();
        self.blocks.body = body;
        self.blocks.set_last(rest, before + message.len());
    }

    fn advance(&mut self, n: usize) {
        if !self.consume(n) {
            self.begin_outer();
        }
    }

    /// The next run of blocks.
    pub(super) fn run(&self) -> &[Block] {
        self.blocks.next()
    }

    /// Its next `n` blocks are in its state. Whether there are more.
    pub(super) fn consume(&mut self, n: usize) -> bool {
        self.blocks.advance(n);
        !self.blocks.next().is_empty()
    }

    /// What was hashed, to the last block, is the inner hash, if there is an outer one to come.
    pub(super) fn begin_outer(&mut self) {
        if let Some(outer) = self.outer.take() {
            let inner = self.digest();
            self.blocks.set_last(&inner, size_of::<Block>() + DIGEST);
            self.state = outer;
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.blocks.next().is_empty()
    }

    pub(super) fn tag(&self) -> T {
        self.tag
    }

    /// Takes the next message if this one is done; false if it is and there is none.
    #[inline]
    pub(super) fn renew(
        &mut self,
        keying: &Keying,
        messages: &mut impl Iterator<Item = (&'a [u8], T)>,
        done: &mut impl FnMut([u8; DIGEST], T),
    ) -> bool {
        if !self.is_done() {
            return true;
        }
        let Some((message, tag)) = messages.next() else { return false };
        done(self.digest(), self.tag);
        self.begin(message, tag, keying);
        true
    }

    pub(super) fn finish_alone(mut self, done: &mut impl FnMut([u8; DIGEST], T)) {
        while !self.is_done() {
            let next = self.blocks.next();
            let n = next.len();
            sha2::block_api::compress256(&mut self.state, next);
            self.advance(n);
        }
        done(self.digest(), self.tag);
    }

    pub(super) fn digest(&self) -> [u8; DIGEST] {
        digest_of(&self.state)
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
pub(super) fn pad(last: &mut [Block; 2], rest: &[u8], len: usize) -> usize {
    let end = if rest.len() < 56 { 1 } else { 2 };
    let last = last[..end].as_flattened_mut();
    let (length_at, mark_at) = (last.len() - 8, rest.len());
    last[..mark_at].copy_from_slice(rest);
    last[mark_at] = 0x80;
    last[mark_at + 1..length_at].fill(0);
    last[length_at..].copy_from_slice(&(8 * len as u64).to_be_bytes());
    end
}

impl Blocks<'_> {
    /// Sets the end of a message of `len` bytes, whose last, less than a block, are `rest`.
    fn set_last(&mut self, rest: &[u8], len: usize) {
        self.end = pad(&mut self.last, rest, len);
        self.at = 0;
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
    use crate::wire::Scheme;

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
