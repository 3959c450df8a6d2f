//! A batch's verdicts and views against the reference, and each frame's digest taken alone.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::choices::Choices;
use super::reference::{RefFrame, read_stream};
use crate::core::limits::{BUFFER_OVERHEAD, REPLY_MAX};
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::{Batch, Body, DIGEST, Rules, Scheme, Verified, encode, verify, verify_together};

/// Everything that a header can say.
pub const ANY: Rules = Rules { payload_max: u32::MAX, replies: true };

/// The first byte of a header that may be changed without making other frames of the stream.
const UNCUT: usize = 12;

/// Frames in one batch; more finds nothing new.
const FRAMES: usize = 60;

/// Of a payload; large enough for many pieces.
pub const PAYLOAD_MAX: usize = 3000;

/// A batch's verdict is the verdict on each frame, and its views show the very bytes that were read.
pub fn check_batch(data: &[u8]) {
    let mut choices = Choices::new(data);
    let memory = memory();
    let (scheme, other) = schemes(&mut choices);
    let views: Vec<usize> = (0..6).map(|_| choices.below(1 << 16)).collect();
    let behind = choices.below(100);
    let mut bytes = Vec::new();
    let mut count = 0;
    while !choices.is_empty() && count < FRAMES {
        let payload = choices.payload(PAYLOAD_MAX);
        frame(&mut choices, &scheme, &other, &payload, &mut bytes);
        count += 1;
    }
    let len = bytes.len();
    bytes.extend(vec![b'F'; behind]);

    let stream = &bytes[..len];
    let (frames, _) = read_stream(stream, &ANY);
    assert_eq!(frames.len(), count, "no change was one to a length");
    let answered = frames.iter().filter(|frame| frame.want_reply || frame.kind == 4).count();
    let replies = (answered > 0).then(|| memory.charge(Share::Small, answered * REPLY_MAX));
    let batch = Batch::new(Buffer::charged(&memory, bytes.clone().into()), len, count as u32, replies);
    assert_eq!((batch.len(), batch.frames() as usize, batch.is_empty()), (len, count, count == 0));

    let mut verified = verify(batch, &scheme);
    check_verified(&verified, &frames, &scheme);
    assert!(verified.body().is_slice());
    let held = verified.take_replies().map_or(0, |replies| replies.bytes());
    assert_eq!(held, answered * REPLY_MAX);
    check_parts(verified.body(), stream, &frames, &views, bytes.len());
    assert_eq!(memory.used(), bytes.len() + BUFFER_OVERHEAD);
    check_split(verified, &frames, &scheme, views[1] % (count + 1));
    check_split_off(stream, &frames, &scheme, views[2], &memory);
    check_answered(stream, &frames, &scheme, views[3], &memory);
    let cuts = [0, 1, 2].map(|at| views[at] % (count + 1));
    check_together(stream, &frames, &scheme, cuts, &memory);
    assert_eq!(memory.used(), 0);
}

/// Batches verified beside each other have the verdicts that each has alone.
fn check_together(
    stream: &[u8],
    frames: &[RefFrame],
    scheme: &Scheme,
    mut cuts: [usize; 3],
    memory: &Arc<Memory>,
) {
    cuts.sort_unstable();
    let (mut batches, mut parts, mut start, mut from) = (Vec::new(), Vec::new(), 0, 0);
    for to in cuts.into_iter().chain([frames.len()]) {
        let part = &frames[from..to];
        let end = start + part.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        let buffer = Buffer::charged(memory, stream[start..end].into());
        batches.push(Batch::new(buffer, end - start, part.len() as u32, None));
        parts.push(part);
        (start, from) = (end, to);
    }
    let verified = verify_together(batches, scheme);
    assert_eq!(verified.len(), parts.len());
    verified.iter().zip(parts).for_each(|(verified, part)| check_verified(verified, part, scheme));
}

/// A batch that is split has the verdicts that the whole has.
fn check_split(verified: Verified, frames: &[RefFrame], scheme: &Scheme, at: usize) {
    let (first, rest) = verified.split(at as u32);
    assert_eq!(rest.is_none(), at == frames.len());
    let (before, behind) = frames.split_at(at);
    check_frames(&first, before, scheme);
    if let Some(rest) = rest {
        check_frames(&rest, behind, scheme);
        assert!(rest.plain_topic().is_none_or(|topic| behind.iter().all(|frame| frame.topic == topic)));
    }
}

/// What is split off has its part of the memory that is set aside for replies.
fn check_split_off(stream: &[u8], frames: &[RefFrame], scheme: &Scheme, at: usize, memory: &Arc<Memory>) {
    if frames.is_empty() {
        return;
    }
    let (at, len) = (at % frames.len(), stream.len());
    let answered =
        |frames: &[RefFrame]| frames.iter().filter(|frame| frame.want_reply || frame.kind == 4).count();
    let mut room = Some(memory.charge(Share::Small, answered(frames) * REPLY_MAX));
    let batch = Batch::new(Buffer::charged(memory, stream.into()), len, frames.len() as u32, None);
    let mut rest = verify(batch, scheme).split_off(at as u32, &mut room);
    check_frames(&rest, &frames[at..], scheme);
    let held = rest.take_replies().map(|replies| replies.bytes());
    assert_eq!(held, Some(answered(&frames[at..]) * REPLY_MAX));
    assert_eq!(room.map(|room| room.bytes()), Some(answered(&frames[..at]) * REPLY_MAX));
}

/// Frames that are answered by numbers have those instead of their own ids, and keep them where they are split.
fn check_answered(stream: &[u8], frames: &[RefFrame], scheme: &Scheme, first: usize, memory: &Arc<Memory>) {
    let (len, first) = (stream.len(), NonZeroU64::new(1 + first as u64).expect("it is at least 1"));
    let batch = Batch::new(Buffer::charged(memory, stream.into()), len, frames.len() as u32, None);
    let mut verified = verify(batch, scheme);
    assert!(!verified.is_answered_by_number());
    verified.answer_from(first, None);
    let (before, behind) = verified.split(frames.len() as u32 / 2);
    let all = before.iter().chain(behind.iter().flat_map(|behind| behind.iter()));
    for (number, checked) in (first.get()..).zip(all) {
        assert!(checked.header.want_reply && checked.header.id == number);
    }
    assert!(before.is_answered_by_number() && before.plain_topic().is_none());
}

pub fn memory() -> Arc<Memory> {
    Memory::new(Memory::least(1 << 20), 1 << 20)
}

/// The scheme that verifies, and one that a stranger may have used.
pub fn schemes(choices: &mut Choices) -> (Scheme, Scheme) {
    // Of any length: a secret longer than a block of the hash is hashed first.
    let keyed = Scheme::keyed(choices.bytes(150));
    assert_eq!(
        (format!("{keyed:?}"), format!("{:?}", Scheme::Sha256)),
        ("HMAC-SHA-256".into(), "SHA-256".into())
    );
    match choices.below(3) {
        0 => (Scheme::Sha256, keyed),
        1 => (keyed, Scheme::Sha256),
        _ => (keyed, Scheme::keyed(b"guess")),
    }
}

/// Appends a frame. Some are under the wrong scheme, some have a byte changed, at any place that does
/// not say how long it is or what it is.
pub fn frame(choices: &mut Choices, scheme: &Scheme, other: &Scheme, payload: &[u8], out: &mut Vec<u8>) {
    let what = choices.below(8);
    let start = out.len();
    let header = choices.header();
    let topic = choices.bytes(255);
    encode(header, topic, payload, if what == 1 { other } else { scheme }, out);
    let len = out.len() - start;
    let at = match what {
        2 => UNCUT + choices.below(len - UNCUT),
        3 => len - 1 - choices.below(DIGEST),
        _ => return,
    };
    out[start + at] ^= choices.byte();
}

/// Every verdict, and what the batch says of its frames together.
pub fn check_verified(verified: &Verified, frames: &[RefFrame], scheme: &Scheme) {
    check_frames(verified, frames, scheme);
    let plain = frames.iter().all(|frame| {
        let whole = frame.part_index == 0 && frame.part_count < 2;
        frame.kind == 0 && !frame.want_reply && whole && frame.topic == frames[0].topic
    });
    let intact = verified.iter().all(|checked| checked.intact);
    // One may have a part count of 0 and another of 1; then each is looked at.
    let alike = frames.windows(2).all(|two| two[0].part_count == two[1].part_count);
    let expected = verified.body().is_slice() && plain && intact && alike;
    assert_eq!(verified.plain_topic(), frames.first().filter(|_| expected).map(|frame| frame.topic));
}

fn check_frames(verified: &Verified, frames: &[RefFrame], scheme: &Scheme) {
    assert_eq!((verified.frames() as usize, verified.is_empty()), (frames.len(), frames.is_empty()));
    assert_eq!(verified.iter().count(), frames.len());
    let mut at = 0;
    for (checked, frame) in verified.iter().zip(frames) {
        frame.assert_is(&checked.header);
        assert_eq!((checked.topic, &checked.digest[..]), (frame.topic, frame.digest));
        assert_eq!((checked.at, checked.end()), (at, at + frame.bytes.len()));
        let hashed = &frame.bytes[..frame.bytes.len() - DIGEST];
        assert_eq!(checked.intact, scheme.digest(hashed) == frame.digest, "at {at}");
        assert_eq!(checked.intact, scheme.is_intact(frame.bytes));
        at = checked.end();
    }
    assert_eq!((verified.len(), verified.body().len()), (at, at));
}

/// Runs of frames, and runs of those, hold what the stream holds there.
fn check_parts(body: &Body, stream: &[u8], frames: &[RefFrame], views: &[usize], buffer: usize) {
    assert_eq!(concat(body), stream);
    let mut ends = vec![0];
    ends.extend(frames.iter().scan(0, |at, frame| {
        *at += frame.bytes.len();
        Some(*at)
    }));
    let (mut part, mut first, mut last) = (body.clone(), 0, frames.len());
    for view in views.chunks_exact(2) {
        let (from, to) = (first + view[0] % (last - first + 1), first + view[1] % (last - first + 1));
        let (from, to) = (from.min(to), from.max(to));
        part = part.part(ends[from] - ends[first], ends[to] - ends[first]);
        (first, last) = (from, to);
        assert_eq!(concat(&part), stream[ends[first]..ends[last]]);
        assert_eq!((part.len(), part.is_empty()), (ends[last] - ends[first], first == last));
        let others = (part.is_fragment(), part.keeps_others());
        assert_eq!(others, (part.len() < buffer / 2, part.len() < buffer));
        for n in within(part.len(), view[0]) {
            let whole = ends[first + 1..=last].iter().filter(|&&end| end - ends[first] <= n).count();
            assert_eq!(part.frames_within(n) as usize, whole, "within {n} bytes");
        }
    }
}

/// Every number of bytes of a short run, and some of a long one.
fn within(len: usize, seed: usize) -> impl Iterator<Item = usize> {
    let step = len / 40 + 1;
    (seed % step..=len).step_by(step).chain([len])
}

pub fn concat(body: &Body) -> Vec<u8> {
    body.slices().collect::<Vec<_>>().concat()
}
