//! Any bytes as a stream, straight into `cut` and into a decoder. Nothing is encoded or hashed first, so that a fuzzer
//! tries as many streams as it can.

use crate::wire::{Cut, DIGEST, Decoder, Fault, Frame, HEADER, Rest, Rules, cut};

/// 64 MiB, what a gateway takes unless it is told otherwise; and so little that a header can exceed it in one byte.
const PAYLOAD_MAX: [u32; 2] = [64 << 20, 16];

/// A stream that arrives in two pieces is decoded into the frames that cutting it at once finds, and ends as that does.
///
/// The bytes are the stream as a peer sends it. Its last two also say what the rules are and where it is broken in two.
pub fn check_framer(stream: &[u8]) {
    let [high, low] = *stream.last_chunk().unwrap_or(&[0; 2]);
    let rules = Rules { payload_max: PAYLOAD_MAX[usize::from(low & 1)], replies: low & 2 != 0 };
    let middle = (usize::from(high) << 6 | usize::from(low >> 2)) % (stream.len() + 1);

    let cut = cut(stream, &rules);
    let mut found = Cut { whole: 0, frames: 0, answered: 0, rest: Rest::Short };
    let mut fault = None;
    let mut decoder = Decoder::new(rules);
    let (mut fed, mut end) = (0, middle);
    while fault.is_none() {
        let spare = decoder.spare();
        let n = spare.len().min(end - fed);
        spare[..n].copy_from_slice(&stream[fed..fed + n]);
        decoder.advance(n);
        fed += n;
        fault = drain(&mut decoder, stream, &mut found).err();
        assert_eq!(decoder.pending(), fed - found.whole);
        match fed {
            _ if fed < end => {}
            _ if fed < stream.len() => end = stream.len(),
            _ => break,
        }
    }
    assert_eq!((found.whole, found.frames, found.answered), (cut.whole, cut.frames, cut.answered));
    let rest = stream.len() - cut.whole;
    match (cut.rest, fault) {
        (Rest::Short, None) => assert!(rest < HEADER),
        (Rest::Begun(header), None) => assert!((HEADER..header.frame_len()).contains(&rest)),
        (Rest::Fault(cut), Some(fault)) => check_fault(&cut, &fault),
        differing => panic!("cut at once and decoded: {differing:?}"),
    }
}

/// Takes the frames that have come.
fn drain(decoder: &mut Decoder, stream: &[u8], found: &mut Cut) -> Result<(), Fault> {
    while let Some(frame) = decoder.next_frame()? {
        check_frame(&frame, &stream[found.whole..]);
        found.whole += frame.bytes.len();
        found.frames += 1;
        found.answered += u32::from(frame.header.is_answered());
    }
    Ok(())
}

/// The frame is the beginning of the rest of the stream, and its header says all that its first bytes do.
fn check_frame(frame: &Frame<'_>, rest: &[u8]) {
    let (topic, payload) = (frame.topic(), frame.payload());
    assert_eq!(frame.bytes.len(), HEADER + topic.len() + payload.len() + DIGEST);
    assert_eq!(frame.bytes, &rest[..frame.bytes.len()]);
    assert_eq!(frame.header.encode(), frame.bytes[..HEADER]);
}

/// How many bytes of a wrong magic had come is a matter of the pieces; all else of a fault is not.
fn check_fault(cut: &Fault, decoded: &Fault) {
    match (cut, decoded) {
        (Fault::Magic { .. }, Fault::Magic { .. }) => {}
        _ => assert_eq!(cut, decoded),
    }
    if let Some(protocol) = cut.looks_like() {
        assert!(cut.to_string().contains(protocol));
    }
}
