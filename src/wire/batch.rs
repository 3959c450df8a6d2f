//! The unit that is verified, put in order and distributed.

use std::num::NonZeroU64;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use super::body::{Body, Rope};
use super::decoder::Frame;
use super::digest::Scheme;
use super::draft::Made;
use super::hashing::{self, Hashing, Width};
use super::header::{DIGEST, HEADER, Header};
use super::machine::Machine;
use super::stream::Stream;
use crate::core::limits::REPLY_MAX;
use crate::core::memory::{Buffer, Charge};

/// Whole frames of one connection, not verified yet.
#[derive(Debug)]
pub struct Batch {
    body: Body,
    frames: u32,
    replies: Option<Charge>,
}

impl Batch {
    /// `frames` whole frames at the beginning of `buffer`, `len` bytes. `replies` is the memory
    /// set aside for the answers to those that want one.
    pub fn new(buffer: Buffer, len: usize, frames: u32, replies: Option<Charge>) -> Batch {
        assert!(len <= buffer.len(), "a batch is in its buffer");
        Batch { body: Body::Slice { buffer: Arc::new(buffer), start: 0, end: len }, frames, replies }
    }

    /// Bytes of all its frames.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether it holds no frame; none is made that does.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// How many frames it holds.
    pub fn frames(&self) -> u32 {
        self.frames
    }
}

/// A batch whose every digest was checked, or made here. Only [`verify`], [`verify_together`], [`verify_with`],
/// [`Piecewise::finish`], [`Draft::finish`](super::Draft::finish) and
/// [`Run::convert`](super::layout::Run::convert) make one.
#[derive(Debug)]
pub struct Verified {
    batch: Batch,
    /// Which frames have a wrong digest, ascending; nearly always none.
    bad: Vec<u32>,
    /// Whether all frames are DATA of one topic that nobody waits for.
    plain: bool,
    /// Of frames made from foreign ones, which say nothing of replies: the number under which the first of them is
    /// answered, where they are. The others have the numbers behind it.
    answered_from: Option<NonZeroU64>,
}

/// Checks the digest of every frame of a batch.
pub fn verify(batch: Batch, scheme: &Scheme) -> Verified {
    verify_alone(batch, scheme, Hashing::chosen())
}

/// Checks several batches as if they were one: the last frames of one are hashed beside the first of the next, where alone
/// they would leave the rest of the width idle.
pub fn verify_together(batches: Vec<Batch>, scheme: &Scheme) -> Vec<Verified> {
    verify_all(batches, scheme, Hashing::chosen())
}

fn verify_all(batches: Vec<Batch>, scheme: &Scheme, hashing: Hashing) -> Vec<Verified> {
    let (mut bad, mut plain) = (vec![Vec::new(); batches.len()], vec![false; batches.len()]);
    check_all(&batches, scheme, hashing, &mut bad, &mut plain);
    let verdicts = bad.into_iter().zip(plain);
    batches.into_iter().zip(verdicts).map(|(batch, (bad, plain))| Verified::of(batch, bad, plain)).collect()
}

/// Checks a batch by a width, or by a narrower one where it has few frames; the batch itself where this processor does not
/// have that width. For measuring: which is fastest is decided at the start.
pub fn verify_with(width: Width, batch: Batch, scheme: &Scheme) -> Result<Verified, Batch> {
    let Ok(hashing) = hashing::of(width, Machine::here()) else { return Err(batch) };
    Ok(verify_alone(batch, scheme, hashing))
}

fn verify_alone(batch: Batch, scheme: &Scheme, hashing: Hashing) -> Verified {
    let (mut bad, mut plain) = ([Vec::new()], [false]);
    check_all(slice::from_ref(&batch), scheme, hashing, &mut bad, &mut plain);
    let ([bad], [plain]) = (bad, plain);
    Verified::of(batch, bad, plain)
}

/// Adds which frames of each batch have a wrong digest, and says of each whether it is plain.
fn check_all(batches: &[Batch], scheme: &Scheme, hashing: Hashing, bad: &mut [Vec<u32>], plain: &mut [bool]) {
    let most = batches.iter().map(|batch| batch.frames as usize).sum();
    let frames = Frames { batches, plain, opened: 0, index: 0, rest: &[], first: None };
    scheme.check_each(hashing, most, frames, |(at, index)| bad[at].push(index));
}

/// The frames of several batches with their places, and whether all of a batch are treated alike: looked at while a frame is
/// in this core's cache, so that it need not come into the reactor's.
struct Frames<'a, 'p> {
    batches: &'a [Batch],
    plain: &'p mut [bool],
    opened: usize,
    /// Of the batch that was opened last: the next frame, its bytes and all behind it, and the first.
    index: u32,
    rest: &'a [u8],
    first: Option<Frame<'a>>,
}

impl<'a> Iterator for Frames<'a, '_> {
    /// What is hashed, its place, and its digest.
    type Item = (&'a [u8], ((usize, u32), &'a [u8; DIGEST]));

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        while self.opened == 0 || self.index == self.batches[self.opened - 1].frames {
            let Body::Slice { buffer, start, end } = &self.batches.get(self.opened)?.body else {
                unreachable!("a large frame is verified in pieces")
            };
            (self.rest, self.first) = (&buffer[*start..*end], None);
            (self.opened, self.index) = (self.opened + 1, 0);
        }
        let header = self.rest.first_chunk().expect("only what was cut is verified");
        let (frame, rest) = self.rest.split_at(Header::frame_len_of(header));
        let (at, index) = (self.opened - 1, self.index);
        self.plain[at] = match &self.first {
            Some(first) => self.plain[at] && first.is_treated_as(frame),
            None => self.first.insert(Frame::first_of(frame)).is_plain(),
        };
        (self.rest, self.index) = (rest, index + 1);
        let (hashed, digest) = frame.split_last_chunk().expect("a frame holds a digest");
        Some((hashed, ((at, index), digest)))
    }
}

/// A frame whose digest was checked.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    /// Its header. That of a frame which was made from a foreign one and is answered has the number of its answer as
    /// its id, and asks for the reply, though its bytes do not.
    pub header: Header,
    /// Its topic field.
    pub topic: &'a [u8],
    /// Its digest.
    pub digest: [u8; DIGEST],
    /// Where it begins in its batch, in bytes.
    pub at: usize,
    /// Whether the digest is right.
    pub intact: bool,
}

impl Checked<'_> {
    /// Where it ends in its batch, in bytes.
    pub fn end(&self) -> usize {
        self.at + self.header.frame_len()
    }
}

impl Verified {
    /// The batch's bytes.
    pub fn body(&self) -> &Body {
        &self.batch.body
    }

    /// How many frames it holds.
    pub fn frames(&self) -> u32 {
        self.batch.frames
    }

    /// Bytes of all its frames.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether it holds no frame; none is made that does.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    fn of(batch: Batch, mut bad: Vec<u32>, plain: bool) -> Verified {
        // The shorter of two frames is done before the longer.
        bad.sort_unstable();
        Verified { batch, bad, plain, answered_from: None }
    }

    /// One frame that was made here.
    pub(super) fn made(made: Made) -> Verified {
        Verified {
            batch: Batch { body: Body::Made(Arc::new(made)), frames: 1, replies: None },
            bad: Vec::new(),
            plain: false,
            answered_from: None,
        }
    }

    /// They are answered under the numbers from `first` on, in the memory of `replies`.
    pub fn answer_from(&mut self, first: NonZeroU64, replies: Option<Charge>) {
        self.answered_from = Some(first);
        self.plain = false;
        self.batch.replies = replies;
    }

    /// Whether they were made from foreign frames that are answered.
    pub fn is_answered_by_number(&self) -> bool {
        self.answered_from.is_some()
    }

    /// `frames` whole frames that were made here, back to back and each with its digest. `plain` says whether all are
    /// DATA of one topic that nobody waits for.
    pub(super) fn made_run(buffer: Buffer, frames: u32, plain: bool) -> Verified {
        let len = buffer.len();
        let batch = Batch::new(buffer, len, frames, None);
        Verified { batch, bad: Vec::new(), plain, answered_from: None }
    }

    /// Its first `frames` frames, and the others where there are more; each with the memory set aside for
    /// its replies. Both share the buffer.
    pub fn split(mut self, frames: u32) -> (Verified, Option<Verified>) {
        if frames >= self.frames() {
            return (self, None);
        }
        let (mut end, mut answered) = (0, 0);
        for frame in self.iter().take(frames as usize) {
            end = frame.end();
            answered += usize::from(frame.header.is_answered());
        }
        let body = self.batch.body.part(0, end);
        match &mut self.batch.body {
            Body::Slice { start, .. } => *start += end,
            Body::Rope(_) | Body::Made(_) => unreachable!("it holds more than one frame"),
        }
        self.batch.frames -= frames;
        let bad = self.bad.partition_point(|&index| index < frames);
        let bad = self.bad.drain(..bad).collect();
        self.bad.iter_mut().for_each(|index| *index -= frames);
        let replies = self.batch.replies.as_mut().filter(|_| answered > 0);
        let replies = replies.map(|replies| replies.split(answered * REPLY_MAX));
        let answered_from = self.answered_from;
        self.answered_from = answered_from.map(|first| first.saturating_add(u64::from(frames)));
        let first =
            Verified { batch: Batch { body, frames, replies }, bad, plain: self.plain, answered_from };
        (first, Some(self))
    }

    /// Its frames from an index on, with their part of the memory set aside for replies.
    pub fn split_off(self, index: u32, room: &mut Option<Charge>) -> Verified {
        let rest = if index == 0 { Some(self) } else { self.split(index).1 };
        let mut rest = rest.expect("there is a frame at the index");
        let answered = rest.iter().filter(|frame| frame.header.is_answered()).count();
        rest.batch.replies = room.as_mut().map(|room| room.split(answered * REPLY_MAX));
        rest
    }

    /// The topic field of all frames, if they can be distributed as one: each is intact, DATA, whole, of that
    /// topic, and asks for no reply.
    pub fn plain_topic(&self) -> Option<&[u8]> {
        match &self.batch.body {
            Body::Slice { buffer, start, end } if self.plain && self.bad.is_empty() => {
                Some(Frame::first_of(&buffer[*start..*end]).topic())
            }
            _ => None,
        }
    }

    /// The memory set aside for replies.
    pub fn take_replies(&mut self) -> Option<Charge> {
        self.batch.replies.take()
    }

    /// Its frames, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Checked<'_>> {
        let mut bad = self.bad.iter().peekable();
        let mut at = 0;
        (0..self.batch.frames).map(move |index| {
            let (head, bytes, digest) = match &self.batch.body {
                Body::Slice { buffer, start, end } => {
                    let frame = Frame::first_of(&buffer[start + at..*end]);
                    let (head, rest) = split_header(frame.bytes);
                    (head, rest, *frame.bytes.last_chunk().expect("a frame holds a digest"))
                }
                Body::Rope(rope) => {
                    let (head, rest) = split_header(&rope.pieces[0]);
                    (head, rest, rope.digest())
                }
                Body::Made(made) => (made.head(), made.first(), *made.digest()),
            };
            let mut header = Header::decode(head).expect("only what was cut is verified");
            if let Some(first) = self.answered_from {
                (header.id, header.want_reply) = (first.get() + u64::from(index), true);
            }
            let topic = &bytes[..header.topic_len as usize];
            let intact = bad.next_if_eq(&&index).is_none();
            let checked = Checked { header, topic, digest, at, intact };
            at = checked.end();
            checked
        })
    }
}

fn split_header(bytes: &[u8]) -> (&[u8; HEADER], &[u8]) {
    bytes.split_first_chunk().expect("a frame holds a header")
}

/// A large frame that is hashed while it arrives. It holds the very pieces that it hashes, so the
/// verdict cannot be about other bytes.
pub struct Piecewise {
    pieces: Vec<Buffer>,
    scheme: Scheme,
    stream: Stream,
    charge: Charge,
    /// Bytes of the whole frame.
    total: usize,
    /// `hashed ≤ received ≤ total`, in bytes.
    received: usize,
    hashed: usize,
    replies: Option<Charge>,
}

impl Piecewise {
    /// A frame of `total` bytes, all covered by `charge`.
    pub fn new(total: usize, scheme: &Scheme, charge: Charge, replies: Option<Charge>) -> Piecewise {
        let (scheme, stream) = (scheme.clone(), scheme.stream());
        Piecewise { pieces: Vec::new(), scheme, stream, charge, total, received: 0, hashed: 0, replies }
    }

    /// Adds the next bytes of the frame. The first piece holds at least its header and topic.
    pub fn push(&mut self, piece: Buffer) {
        self.received += piece.len();
        assert!(self.received <= self.total, "a frame ends where its header says");
        self.pieces.push(piece);
    }

    /// Bytes that could be hashed now; the digest itself is not.
    pub fn unhashed(&self) -> usize {
        self.received.min(self.total - DIGEST) - self.hashed
    }

    /// Whether every byte came and was hashed.
    pub fn is_finished(&self) -> bool {
        self.received == self.total && self.unhashed() == 0
    }

    /// Hashes at most `max` bytes more.
    pub fn hash(&mut self, max: usize) {
        let mut left = max;
        while left > 0 && self.unhashed() > 0 {
            let (at, range) = self.next_run(left);
            self.stream.update(&self.pieces[at][range.clone()]);
            self.hashed += range.len();
            left -= range.len();
        }
    }

    /// Hashes at most `max` bytes more of each of several frames, side by side as far as all of them go.
    pub fn hash_together(frames: &mut [&mut Piecewise], max: usize) {
        hash_together(frames, max, Hashing::chosen());
    }

    /// The same by a width; false, and nothing is hashed, where this processor does not have it. For measuring.
    pub fn hash_together_with(width: Width, frames: &mut [&mut Piecewise], max: usize) -> bool {
        let hashing = hashing::of(width, Machine::here());
        hashing.map(|hashing| hash_together(frames, max, hashing)).is_ok()
    }

    /// The same in one of the ways that this processor has, for the model.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn hash_together_some_way(frames: &mut [&mut Piecewise], max: usize, way: usize) {
        let all = Hashing::all();
        hash_together(frames, max, all[way % all.len()]);
    }

    /// From how many messages on, and up to how many, they are hashed together.
    pub fn together() -> (usize, usize) {
        Hashing::chosen().together()
    }

    /// At most `max` of the bytes to hash next: which piece, and where in it.
    fn next_run(&self, max: usize) -> (usize, Range<usize>) {
        // Most pieces are hashed already: walk back to the one that is not.
        let (mut start, mut at) = (self.received, self.pieces.len());
        while start > self.hashed {
            at -= 1;
            start -= self.pieces[at].len();
        }
        let from = self.hashed - start;
        let n = (self.pieces[at].len() - from).min(self.unhashed()).min(max);
        (at, from..from + n)
    }

    /// The verdict, once [`is_finished`](Self::is_finished).
    pub fn finish(self) -> Verified {
        assert!(self.is_finished(), "a verdict is about the whole frame");
        let rope = Rope { pieces: self.pieces, len: self.total, _charge: self.charge };
        let intact = self.scheme.same(&self.stream.finish(), &rope.digest());
        let batch = Batch { body: Body::Rope(Arc::new(rope)), frames: 1, replies: self.replies };
        let bad = if intact { Vec::new() } else { vec![0] };
        Verified { batch, bad, plain: false, answered_from: None }
    }
}

fn hash_together(frames: &mut [&mut Piecewise], max: usize, hashing: Hashing) {
    let mut left = max;
    loop {
        let mut going: Vec<_> = frames
            .iter_mut()
            .filter(|frame| frame.unhashed() > 0)
            .map(|frame| (frame.next_run(left), frame))
            .collect();
        // The longer runs go on in the next round, beside the others' next.
        let n = going.iter().map(|((_, range), _)| range.len()).min().unwrap_or(0);
        if n == 0 || going.len() < 2 {
            break;
        }
        let streams = going.iter_mut().map(|((at, range), frame)| {
            frame.hashed += n;
            let Piecewise { stream, pieces, .. } = &mut ***frame;
            (stream, &pieces[*at][range.start..range.start + n])
        });
        Stream::update_each(hashing, streams.collect());
        left -= n;
    }
    frames.iter_mut().for_each(|frame| frame.hash(left));
}

impl std::fmt::Debug for Piecewise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Piecewise({} hashed, {} received of {})", self.hashed, self.received, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::{Memory, Share};
    use crate::wire::{Kind, encode};

    fn frames(payloads: &[&[u8]], scheme: &Scheme) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, payload) in payloads.iter().enumerate() {
            encode(Header { id: id as u64, ..Header::new(Kind::Data) }, b"a.b", payload, scheme, &mut out);
        }
        out
    }

    #[test]
    fn a_batch_is_verified_frame_by_frame() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let scheme = Scheme::Sha256;
        let mut bytes = frames(&[b"zero", b"one", b"two"], &scheme);
        bytes[71 + 36] ^= 1;
        let len = bytes.len();
        let batch = Batch::new(Buffer::charged(&memory, bytes.into()), len, 3, None);
        let verified = verify(batch, &scheme);
        let seen: Vec<_> = verified.iter().map(|f| (f.header.id, f.at, f.intact)).collect();
        assert_eq!(seen, [(0, 0, true), (1, 71, false), (2, 141, true)]);
        assert!(verified.iter().all(|f| f.topic == b"a.b"));
        let part = verified.body().part(71, len);
        assert_eq!([part.frames_within(0), part.frames_within(69), part.frames_within(70)], [0, 0, 1]);
        assert_eq!(part.frames_within(part.len()), 2);
        drop((verified, part));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn together_or_one_by_one_the_verdicts_are_the_same() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        for scheme in [Scheme::Sha256, Scheme::keyed(b"secret")] {
            // As many as differ in length by less, about and more than a block; every third is changed.
            let payloads: Vec<Vec<u8>> = (0..40usize).map(|i| vec![i as u8; i * i * 7 % 300]).collect();
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let mut bytes = frames(&payloads, &scheme);
            let mut at = 0;
            for (i, payload) in payloads.iter().enumerate() {
                bytes[at + 40] ^= u8::from(i % 3 == 1);
                at += 67 + payload.len();
            }
            let bad = |hashing| {
                let batch =
                    || Batch::new(Buffer::charged(&memory, bytes.clone().into()), bytes.len(), 40, None);
                let mut verified = verify_all(vec![batch(), batch(), batch()], &scheme, hashing);
                assert!(verified.iter().all(|one| one.bad == verified[0].bad));
                verified.swap_remove(0).bad
            };
            let one_by_one = bad(Hashing { sixteen: None, eight: None, two: None });
            assert!(one_by_one.iter().copied().eq((0..40).filter(|i| i % 3 == 1)), "{one_by_one:?}");
            Hashing::all()
                .into_iter()
                .for_each(|hashing| assert_eq!(bad(hashing), one_by_one, "{hashing:?}"));
        }
    }

    #[test]
    fn a_batch_is_split_with_its_verdicts_and_its_replies() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let mut bytes = Vec::new();
        for id in 0..6 {
            let header = Header { id, want_reply: id % 2 == 0, ..Header::new(Kind::Data) };
            encode(header, b"t", &vec![0; id as usize], &Scheme::Sha256, &mut bytes);
        }
        let damaged = |id: usize| (0..id).map(|id| 65 + id).sum::<usize>() + 32;
        [1, 4].iter().for_each(|&id| bytes[damaged(id)] ^= 1);
        let (len, room) = (bytes.len(), memory.charge(Share::Small, 3 * REPLY_MAX + 100));
        let batch = Batch::new(Buffer::charged(&memory, bytes.into()), len, 6, Some(room));
        let mut rest = verify(batch, &Scheme::Sha256);
        let mut seen = Vec::new();
        for (frames, room) in [(1, REPLY_MAX), (1, 0), (3, 2 * REPLY_MAX)] {
            let (mut first, others) = rest.split(frames);
            assert_eq!(first.frames(), frames);
            assert_eq!(first.take_replies().map_or(0, |charge| charge.bytes()), room);
            seen.extend(first.iter().map(|f| (f.header.id, f.intact)));
            rest = others.unwrap();
        }
        let (mut last, none) = rest.split(1);
        assert!(none.is_none());
        seen.extend(last.iter().map(|f| (f.header.id, f.intact)));
        assert_eq!(seen, [0, 1, 2, 3, 4, 5].map(|id| (id, id != 1 && id != 4)));
        assert_eq!(last.take_replies().map(|charge| charge.bytes()), Some(100));
        drop(last);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_frame_in_pieces_has_the_same_verdict_however_it_is_cut() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        for (scheme, corrupt) in
            [(Scheme::Sha256, false), (Scheme::keyed(b"k"), false), (Scheme::Sha256, true)]
        {
            for piece in [40, 41, 64, 150, 1000] {
                for step in [1, 33, 1000] {
                    let mut bytes = frames(&[&[7; 200]], &scheme);
                    bytes[100] ^= u8::from(corrupt);
                    let charge = memory.charge(Share::Large, bytes.len());
                    let mut large = Piecewise::new(bytes.len(), &scheme, charge, None);
                    for piece in bytes.chunks(piece) {
                        large.push(Buffer::new(piece.into(), memory.charge(Share::Large, 0)));
                        large.hash(step);
                    }
                    while !large.is_finished() {
                        large.hash(step);
                    }
                    let verified = large.finish();
                    let checked = verified.iter().next().unwrap();
                    assert_eq!((checked.intact, checked.topic), (!corrupt, &b"a.b"[..]));
                    assert_eq!(checked.digest[..], bytes[bytes.len() - DIGEST..]);
                    assert_eq!(verified.body().slices().collect::<Vec<_>>().concat(), bytes);
                    assert_eq!(verified.body().frames_within(bytes.len() - 1), 0);
                }
            }
        }
        assert_eq!(memory.used(), 0);
    }
}
