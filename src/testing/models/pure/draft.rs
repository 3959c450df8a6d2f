//! Frames made of the bytes of others against the same frames encoded whole.

use std::sync::Arc;

use super::batch::{ANY, check_verified, concat, memory, schemes};
use super::choices::Choices;
use super::reference::read_stream;
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::{Batch, Draft, HEADER, Header, Kind, Piecewise, Scheme, Verified, encode, verify};

/// Choices and pieces of a payload: more find nothing new, and slow the search.
const CHOICES_MAX: usize = 300;
const PIECES_MAX: usize = 8;

/// Of a piece: a few make a payload that is put together in more than one buffer.
const PIECE_MAX: usize = 1500;

/// Whatever a frame is made of and however it is hashed, it is the frame that is encoded of its header, topic and
/// payload; and nothing of it stays charged.
pub fn check_draft(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let memory = memory();
    let (scheme, other) = schemes(&mut choices);
    let made = make(&mut choices, &memory, &scheme, None);
    // Another one, of the bytes of the first, too.
    let again = make(&mut choices, &memory, &other, Some(&made));
    check_made(&mut choices, &made, &scheme, &memory);
    check_made(&mut choices, &again, &other, &memory);
    drop((made, again));
    assert_eq!(memory.used(), 0);
}

/// A frame that was made, and its bytes as they are encoded.
struct Frame {
    header: Header,
    topic: Vec<u8>,
    payload: Vec<u8>,
    bytes: Vec<u8>,
    verified: Verified,
}

/// A frame as it is read: as a batch of its own, or as a large one in pieces.
fn read(
    choices: &mut Choices,
    memory: &Arc<Memory>,
    header: Header,
    topic: &[u8],
    payload: &[u8],
) -> Verified {
    let mut bytes = Vec::new();
    encode(header, topic, payload, &Scheme::Sha256, &mut bytes);
    let len = bytes.len();
    if choices.flip() {
        return verify(Batch::new(Buffer::charged(memory, bytes.into()), len, 1, None), &Scheme::Sha256);
    }
    let mut large = Piecewise::new(len, &Scheme::Sha256, memory.charge(Share::Large, len), None);
    let (first, rest) = bytes.split_at(HEADER + topic.len() + choices.below(payload.len() + 1));
    for piece in std::iter::once(first).chain(rest.chunks(1 + rest.len() / 8 + choices.below(1000))) {
        large.push(Buffer::new(piece.into(), memory.charge(Share::Large, 0)));
    }
    large.hash(usize::MAX);
    large.finish()
}

fn make(choices: &mut Choices, memory: &Arc<Memory>, scheme: &Scheme, before: Option<&Frame>) -> Frame {
    let header = choices.header();
    let mut draft = Draft::new(header, scheme);
    let (mut topic, mut payload) = (Vec::new(), Vec::new());
    match choices.below(4) {
        0 => {
            topic = choices.bytes(40).to_vec();
            draft.topic(topic.clone(), memory);
        }
        1 => {
            topic = choices.bytes(40).to_vec();
            // Its topic and its payload lie together, and are taken as one.
            payload = choices.payload(PIECE_MAX);
            let read = read(choices, memory, Header::new(Kind::Data), &topic, &payload);
            let of = read.iter().next().expect("it is one frame").header;
            draft.topic_of(read.body(), &of);
            draft.payload_of(read.body(), &of);
        }
        2 => {
            if let Some(before) = before {
                topic.clone_from(&before.topic);
                let of = before.verified.iter().next().expect("it is one frame").header;
                draft.topic_of(before.verified.body(), &of);
            }
        }
        _ => {}
    }
    for _ in 0..choices.below(PIECES_MAX) {
        let bytes = choices.payload(PIECE_MAX);
        match (choices.below(5), before) {
            (0, _) => draft.payload(bytes.clone(), memory),
            (1, _) => {
                let read = read(choices, memory, Header::new(Kind::Data), b"t", &bytes);
                let of = read.iter().next().expect("it is one frame").header;
                draft.payload_of(read.body(), &of);
            }
            (2, Some(before)) => {
                let of = before.verified.iter().next().expect("it is one frame").header;
                draft.payload_of(before.verified.body(), &of);
                payload.extend_from_slice(&before.payload);
                continue;
            }
            _ => draft.payload_piece(bytes.clone().into(), memory),
        }
        payload.extend_from_slice(&bytes);
    }
    let mut bytes = Vec::new();
    encode(header, &topic, &payload, scheme, &mut bytes);
    assert_eq!(draft.unhashed(), topic.len() + payload.len());
    assert!(format!("{draft:?}").contains("0 hashed"));
    let verified = match choices.below(1500) {
        0 => draft.hashed(),
        step => {
            let step = step + draft.unhashed() / 16;
            while draft.unhashed() > 0 {
                let left = draft.unhashed();
                draft.hash(step);
                assert_eq!(draft.unhashed(), left - step.min(left));
            }
            draft.finish()
        }
    };
    Frame { header, topic, payload, bytes, verified }
}

fn check_made(choices: &mut Choices, frame: &Frame, scheme: &Scheme, memory: &Arc<Memory>) {
    let (bytes, body) = (&frame.bytes[..], frame.verified.body());
    assert_eq!(concat(body), bytes);
    let lens = Header {
        topic_len: frame.topic.len() as u8,
        payload_len: frame.payload.len() as u32,
        ..frame.header
    };
    assert_eq!(frame.verified.iter().next().expect("it is one frame").header, lens);
    check_verified(&frame.verified, &read_stream(bytes, &ANY).0, scheme);
    assert!(!body.is_slice() && !body.is_fragment() && !body.keeps_others());
    assert_eq!(concat(&body.part(0, bytes.len())), bytes);
    for n in [0, bytes.len() - 1, bytes.len()] {
        assert_eq!(body.frames_within(n), u32::from(n == bytes.len()));
    }
    let (from, to) = (choices.below(bytes.len() + 1), choices.below(bytes.len() + 1));
    let range = from.min(to)..from.max(to);
    assert_eq!(&*body.bytes(range.clone()), &bytes[range]);
    let used = memory.used();
    let copy = body.copied(memory, Share::Small);
    assert!(copy.is_slice() && !copy.keeps_others() && concat(&copy) == bytes);
    drop(copy);
    assert_eq!(memory.used(), used);
}
