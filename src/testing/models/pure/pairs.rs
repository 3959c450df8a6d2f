//! Messages hashed side by side, in each way that this processor has, against `sha2` alone.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use super::batch::memory;
use super::choices::Choices;
use crate::core::limits::BUFFER_OVERHEAD;
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::{DIGEST, HEADER, Header, Kind, Piecewise, Scheme, implementation};

/// Messages in one run; more finds nothing new.
const MESSAGES: usize = 40;

/// Bytes of a message: around every place where it takes a block more, and many blocks.
const SHORT: usize = 200;
const LONG: usize = 3000;

/// Frames that are hashed together; more than the lanes of a width, at times.
const FRAMES: usize = 20;

/// Whatever the lengths beside each other, each message has the digest that `sha2` gives it alone; and so
/// have frames that are hashed in steps, as far as all go at once.
pub fn check_pairs(data: &[u8]) {
    let mut choices = Choices::new(data);
    // Of any length: a secret longer than a block of the hash is hashed first.
    let secret = choices.flip().then(|| choices.bytes(150));
    let scheme = Scheme::new(secret);
    let salt = choices.byte();
    let bytes: Vec<u8> = (0..LONG).map(|at| (at ^ at >> 8) as u8 ^ salt).collect();
    let together = if choices.byte() < 192 { 2 } else { choices.below(FRAMES) };
    let frames: Vec<_> = (0..together).map(|_| frame(&mut choices, secret, &bytes)).collect();
    check_together(&mut choices, &frames, &scheme);

    let mut messages: Vec<&[u8]> = Vec::new();
    while !choices.is_empty() && messages.len() < MESSAGES {
        // No two of a length are alike.
        let from = choices.below(256);
        messages.push(&bytes[from..(from + length(&mut choices)).min(LONG)]);
    }
    let expected: Vec<_> = messages.iter().map(|message| reference(secret, message)).collect();
    for digests in scheme.digests(&messages) {
        let mut seen = vec![false; messages.len()];
        for (digest, at) in digests {
            assert!(!std::mem::replace(&mut seen[at], true), "message {at} is done twice");
            assert_eq!(digest, expected[at], "message {at} of {} bytes", messages[at].len());
        }
        assert!(!seen.contains(&false), "every message is done: {seen:?}");
    }
    assert!(!implementation().is_empty());
}

fn length(choices: &mut Choices) -> usize {
    if choices.byte() < 224 { choices.below(SHORT) } else { choices.below(LONG) }
}

/// A frame of some of `bytes` and whether its digest is right.
fn frame(choices: &mut Choices, secret: Option<&[u8]>, bytes: &[u8]) -> (Vec<u8>, bool) {
    let payload = &bytes[..length(choices)];
    let header = Header { payload_len: payload.len() as u32, ..Header::new(Kind::Data) };
    let mut frame = [&header.encode(), payload].concat();
    let mut digest = reference(secret, &frame);
    let intact = choices.below(4) != 3;
    digest[choices.below(DIGEST)] ^= u8::from(!intact);
    frame.extend(digest);
    (frame, intact)
}

fn check_together(choices: &mut Choices, frames: &[(Vec<u8>, bool)], scheme: &Scheme) {
    let memory = memory();
    let mut larges: Vec<_> = frames.iter().map(|(bytes, _)| cut(choices, bytes, scheme, &memory)).collect();
    while larges.iter().any(|large| !large.is_finished()) {
        let step = if choices.is_empty() { usize::MAX } else { 1 + choices.below(SHORT) };
        let way = choices.below(256);
        Piecewise::hash_together_some_way(&mut larges.iter_mut().collect::<Vec<_>>(), step, way);
    }
    for (large, (bytes, intact)) in larges.into_iter().zip(frames) {
        let verified = large.finish();
        let verdict = verified.iter().next().expect("it is one frame").intact;
        assert_eq!(verdict, *intact, "a frame of {} bytes", bytes.len());
    }
    assert_eq!(memory.used(), 0);
}

/// A whole frame that came in pieces, the first of which holds the header.
fn cut(choices: &mut Choices, bytes: &[u8], scheme: &Scheme, memory: &Arc<Memory>) -> Piecewise {
    let charge = memory.charge(Share::Large, bytes.len() + BUFFER_OVERHEAD);
    let mut large = Piecewise::new(bytes.len(), scheme, charge, None);
    let (mut rest, mut least) = (bytes, HEADER);
    while !rest.is_empty() {
        let n = if choices.is_empty() { LONG } else { choices.below(SHORT) };
        let (piece, behind) = rest.split_at(n.max(least).min(rest.len()));
        large.push(Buffer::new(piece.into(), memory.charge(Share::Large, 0)));
        (rest, least) = (behind, 1);
    }
    large
}

fn reference(secret: Option<&[u8]>, message: &[u8]) -> [u8; DIGEST] {
    match secret {
        None => Sha256::digest(message).into(),
        Some(secret) => {
            let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
            mac.chain_update(message).finalize().into_bytes().into()
        }
    }
}
