//! The decoder against the whole stream cut at once, and both against the reference.

use super::choices::Choices;
use super::reference::{RefEnd, RefFrame, end_of, read_stream};
use crate::core::limits::{ACCESS_TOKEN, DECODER_MIN};
use crate::wire::{Decoder, HEADER, Header, Kind, Rest, Rules, Scheme, Status, cut, encode};

/// Choices, bytes of a stream and pieces of it: more of them find nothing new, and slow the search.
const CHOICES_MAX: usize = 400;
const STREAM_MAX: usize = 8 * DECODER_MIN;
const PIECES_MAX: usize = 48;

/// Bytes chosen to be the payload of a frame that a decoder's first buffer does not hold.
const PAYLOAD_MAX: usize = 3 * DECODER_MIN;

/// A stream in any pieces is decoded as the whole stream is.
pub fn check_decoder(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let rules = rules(&mut choices);
    let lazy = choices.below(4);
    let middle = choices.below(1 << 16);
    let sizes: Vec<usize> =
        (0..1 + choices.below(7)).map(|_| 1 + (choices.below(256) << choices.below(6))).collect();
    let stream = stream(&mut choices);

    check_cut(&stream, &rules);
    check_pieces_of(&stream, &rules, lazy, sizes.iter().copied().cycle().take(PIECES_MAX));
    check_pieces_of(&stream, &rules, lazy, [middle % (stream.len() + 1)].into_iter());
}

/// A short stream is decoded as the whole stream is wherever it is broken in two, and byte by byte. Too slow for a
/// fuzzer, which chooses a few such places itself.
pub fn check_every_split(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (rules, lazy) = (rules(&mut choices), choices.below(4));
    let mut stream = stream(&mut choices);
    stream.truncate(200);
    for first in 0..=stream.len() {
        check_pieces_of(&stream, &rules, lazy, [first].into_iter());
    }
    check_pieces_of(&stream, &rules, lazy, std::iter::repeat(1));
}

fn rules(choices: &mut Choices) -> Rules {
    Rules { payload_max: [64, 0, 1000, PAYLOAD_MAX as u32][choices.below(4)], replies: choices.flip() }
}

/// Frames, frames with a byte changed, and bytes that are none.
fn stream(choices: &mut Choices) -> Vec<u8> {
    let mut stream = Vec::new();
    while !choices.is_empty() && stream.len() < STREAM_MAX {
        let what = choices.below(8);
        if what == 0 {
            stream.extend_from_slice(choices.bytes(80));
            continue;
        }
        let mut header = choices.header();
        if header.kind == Kind::Ping && header.want_reply {
            // A token that is too long for one ends the stream, so it is chosen here alone.
            header.kind = Kind::Auth;
        }
        let topic = choices.bytes(255);
        let payload = choices.payload(PAYLOAD_MAX);
        let start = stream.len();
        encode(header, topic, &payload, &Scheme::Sha256, &mut stream);
        // A token that is too long is none, whatever it is encoded as.
        if header.kind != Kind::Auth || payload.len() <= ACCESS_TOKEN {
            check_encoded(header, topic, &payload, &stream[start..]);
        }
        match what {
            1 => {
                let at = start + choices.below(stream.len() - start);
                stream[at] ^= choices.byte();
            }
            2 => {
                // The bytes up to here are judged; what is behind them may hold anything.
                let at = start + choices.below(12);
                stream[at] ^= choices.byte();
            }
            3 => stream.truncate(start + choices.below(stream.len() - start)),
            _ => {}
        }
    }
    stream
}

/// What was encoded reads as what it was made of, to the code and to the reference.
fn check_encoded(header: Header, topic: &[u8], payload: &[u8], bytes: &[u8]) {
    let lengths = Header { topic_len: topic.len() as u8, payload_len: payload.len() as u32, ..header };
    assert_eq!(Header::decode(bytes.first_chunk().expect("a frame holds a header")), Ok(lengths));
    let (frames, _) = read_stream(bytes, &Rules { payload_max: u32::MAX, replies: true });
    let [frame] = frames[..] else { panic!("one frame was encoded, {} are read", frames.len()) };
    frame.assert_is(&lengths);
    assert_eq!((frame.topic, frame.payload, frame.bytes), (topic, payload, bytes));
    assert!(Scheme::Sha256.is_intact(bytes));
    let parts = header.part_count >= 2 || header.part_index > 0;
    assert_eq!(header.is_part(), header.kind == Kind::Data && parts);
    assert!(!header.kind.name().is_empty());
    if let Some(status) = Status::from_u16(header.status) {
        assert_eq!(status as u16, header.status);
        assert_eq!(status.closes(), header.status >= 16);
        assert_eq!(status.to_string(), status.name());
    }
}

/// `cut`, and `Header::decode` at each frame, against the reference.
fn check_cut(stream: &[u8], rules: &Rules) {
    let (frames, end) = read_stream(stream, rules);
    let cut = cut(stream, rules);
    let whole: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
    let answered = frames.iter().filter(|frame| frame.want_reply || frame.kind == 4).count();
    assert_eq!((cut.whole, cut.frames as usize, cut.answered as usize), (whole, frames.len(), answered));
    let rest = &stream[whole..];
    match cut.rest {
        Rest::Short => assert_eq!(end, RefEnd::More { header: false }),
        Rest::Fault(fault) => assert_eq!(end, end_of(&fault)),
        Rest::Begun(header) => {
            assert_eq!(end, RefEnd::More { header: true });
            assert!(rest.len() < header.frame_len() && header.payload_len <= rules.payload_max);
            assert_eq!(header.encode(), rest[..HEADER], "a header that is accepted says all that it holds");
        }
    }
}

/// A decoder that is fed pieces of these sizes, and then the rest. After each piece it gives at most `lazy` frames (any
/// number, if 0) and only those that the pieces so far hold; in the end it has given what the whole stream holds.
fn check_pieces_of(stream: &[u8], rules: &Rules, lazy: usize, sizes: impl Iterator<Item = usize>) {
    let (frames, end) = read_stream(stream, rules);
    let mut decoder = Decoder::new(*rules);
    let (mut fed, mut given, mut taken, mut faulted) = (0, 0, 0, false);
    for size in sizes.chain(std::iter::repeat(stream.len())) {
        let spare = decoder.spare();
        assert!(!spare.is_empty(), "there is always room for more");
        let n = size.min(spare.len()).min(stream.len() - fed);
        spare[..n].copy_from_slice(&stream[fed..fed + n]);
        decoder.advance(n);
        fed += n;
        let max = if lazy == 0 || fed == stream.len() { usize::MAX } else { lazy };
        let (more, stop) = drain(&mut decoder, &frames[given..], max);
        taken += frames[given..given + more].iter().map(|frame| frame.bytes.len()).sum::<usize>();
        given += more;
        assert!(!faulted || stop.is_some_and(|stop| stop.is_some()), "a fault stays");
        if let Some(stop) = stop {
            let (left, end_here) = read_stream(&stream[taken..fed], rules);
            assert_eq!(left, [], "all that is whole is given");
            match stop {
                Some(fault) => assert_eq!(fault, end_here),
                None => assert!(matches!(end_here, RefEnd::More { .. })),
            }
            faulted = stop.is_some();
        }
        assert_eq!(decoder.pending(), fed - taken);
        if fed == stream.len() {
            break;
        }
    }
    assert_eq!((given, faulted), (frames.len(), matches!(end, RefEnd::Fault { .. })));
}

/// Takes at most `max` frames, which are the expected ones. Returns how many came, and why no more
/// did if it was not for `max`: a fault, or the want of bytes.
fn drain(decoder: &mut Decoder, expected: &[RefFrame], max: usize) -> (usize, Option<Option<RefEnd>>) {
    for given in 0..max {
        match decoder.next_frame() {
            Ok(None) => return (given, Some(None)),
            Err(fault) => return (given, Some(Some(end_of(&fault)))),
            Ok(Some(frame)) => {
                let expected = expected.get(given).expect("no frame comes that the stream does not hold");
                expected.assert_is(&frame.header);
                let views = (frame.topic(), frame.payload(), frame.bytes);
                assert_eq!(views, (expected.topic, expected.payload, expected.bytes));
                // One of them is enough: it hashes the whole frame.
                let sha256 = Scheme::Sha256;
                assert!(given > 0 || frame.is_intact(&sha256) == sha256.is_intact(expected.bytes));
            }
        }
    }
    (max, None)
}
