//! Frames that are made here, of the bytes of others.

use std::ops::Range;
use std::sync::Arc;

use super::batch::Verified;
use super::body::{Body, Rope};
use super::digest::Scheme;
use super::header::{DIGEST, HEADER, Header};
use super::stream::Stream;
use crate::core::limits::{BUFFER_OVERHEAD, PIECE};
use crate::core::memory::{Buffer, Charge, Memory, Share};

/// A frame in the making: a header of its own, then bytes of frames at hand, which are not copied, then
/// the digest of both, which is made a piece at a time. Small pieces of its own are put together in that way, too, so
/// that nobody copies more at once than is hashed at once.
pub struct Draft {
    header: Header,
    head: [u8; HEADER],
    spans: Vec<Span>,
    /// Bytes of all spans; `hashed` of them are in the digest.
    len: usize,
    hashed: usize,
    /// The span that is hashed next, and how much of it is.
    at: (usize, usize),
    scheme: Scheme,
    stream: Option<Stream>,
    /// Where there are small pieces to be put together.
    gathered: Option<Box<Gathered>>,
}

/// What small pieces become, as they are hashed.
struct Gathered {
    /// What takes the place of the spans that are hashed.
    spans: Vec<Span>,
    /// The buffer that is being filled, of [`PIECE`] bytes at most.
    open: Vec<u8>,
    /// Bytes of pieces that lie side by side, at the end of what was added.
    run: usize,
    /// Bytes of pieces that are not put together yet.
    left: usize,
    /// For the pieces, and for the buffers that they become.
    charge: Charge,
}

/// 64 bytes charged for a small piece beside its bytes: its span, and the allocation's header.
const SMALL_PIECE: usize = 64;

/// A frame that was made of a [`Draft`].
#[derive(Debug)]
pub struct Made {
    head: [u8; HEADER],
    spans: Vec<Span>,
    len: usize,
    digest: [u8; DIGEST],
}

/// Some bytes of a frame at hand.
#[derive(Clone, Debug)]
pub(super) enum Span {
    Slice {
        buffer: Arc<Buffer>,
        range: Range<usize>,
    },
    Rope {
        rope: Arc<Rope>,
        range: Range<usize>,
    },
    /// A small piece that is not put together with others yet. No frame that is made holds one.
    Small(Box<[u8]>),
}

impl Draft {
    /// A frame with this header, but for its lengths, and no bytes yet.
    pub fn new(header: Header, scheme: &Scheme) -> Draft {
        let header = Header { topic_len: 0, payload_len: 0, ..header };
        let (head, scheme) = ([0; HEADER], scheme.clone());
        // Most have a topic and a payload that lies together.
        let spans = Vec::with_capacity(2);
        Draft { header, head, spans, len: 0, hashed: 0, at: (0, 0), scheme, stream: None, gathered: None }
    }

    /// Takes the topic of the one frame in `body`, whose header is `of`. Before any payload.
    pub fn topic_of(&mut self, body: &Body, of: &Header) {
        assert!(self.spans.is_empty() && self.stream.is_none(), "a topic comes first");
        self.header.topic_len = of.topic_len;
        self.add(body, HEADER..HEADER + of.topic_len as usize);
    }

    /// Adds the payload of the one frame in `body`, whose header is `of`.
    ///
    /// # Panics
    /// If it all is more than a header can say, or hashing has begun.
    pub fn payload_of(&mut self, body: &Body, of: &Header) {
        assert!(self.stream.is_none(), "hashing begins with the whole header");
        let len = self.header.payload_len.checked_add(of.payload_len);
        self.header.payload_len = len.expect("a payload has at most 4 GiB");
        let start = HEADER + of.topic_len as usize;
        self.add(body, start..start + of.payload_len as usize);
    }

    /// Sets the topic. Before any payload.
    pub fn topic(&mut self, topic: Vec<u8>, memory: &Arc<Memory>) {
        assert!(self.spans.is_empty() && self.stream.is_none(), "a topic comes first");
        self.header.topic_len = u8::try_from(topic.len()).expect("a topic has at most 255 bytes");
        self.add_bytes(topic, memory);
    }

    /// Adds bytes of a buffer to the payload, which are not copied.
    ///
    /// # Panics
    /// As [`payload_of`](Self::payload_of).
    pub(super) fn payload_in(&mut self, buffer: Arc<Buffer>, range: Range<usize>) {
        assert!(self.stream.is_none(), "hashing begins with the whole header");
        let more = u32::try_from(range.len()).ok();
        let len = more.and_then(|more| self.header.payload_len.checked_add(more));
        self.header.payload_len = len.expect("a payload has at most 4 GiB");
        self.len += range.len();
        self.spans.push(Span::Slice { buffer, range });
    }

    /// Adds bytes to the payload.
    ///
    /// # Panics
    /// As [`payload_of`](Self::payload_of).
    pub fn payload(&mut self, bytes: Vec<u8>, memory: &Arc<Memory>) {
        assert!(self.stream.is_none(), "hashing begins with the whole header");
        let more = u32::try_from(bytes.len()).ok();
        let len = more.and_then(|more| self.header.payload_len.checked_add(more));
        self.header.payload_len = len.expect("a payload has at most 4 GiB");
        self.add_bytes(bytes, memory);
    }

    /// Adds a piece to the payload, as one of many. It is put together with those beside it when it is hashed, and not
    /// here.
    ///
    /// # Panics
    /// As [`payload_of`](Self::payload_of).
    pub fn payload_piece(&mut self, bytes: Box<[u8]>, memory: &Arc<Memory>) {
        assert!(self.stream.is_none(), "hashing begins with the whole header");
        let more = u32::try_from(bytes.len()).ok();
        let len = more.and_then(|more| self.header.payload_len.checked_add(more));
        self.header.payload_len = len.expect("a payload has at most 4 GiB");
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        let is_beside = matches!(self.spans.last(), Some(Span::Small(_)));
        let gathered = self.gathered.get_or_insert_with(|| {
            let charge = memory.charge(Share::Answer, 0);
            Box::new(Gathered { spans: Vec::new(), open: Vec::new(), run: 0, left: 0, charge })
        });
        let before = if is_beside { gathered.run } else { 0 };
        gathered.run = before + bytes.len();
        gathered.left += bytes.len();
        let buffers = gathered.run.div_ceil(PIECE) - before.div_ceil(PIECE);
        let more = bytes.len() + SMALL_PIECE + buffers * BUFFER_OVERHEAD;
        gathered.charge.resize(gathered.charge.bytes() + more);
        self.spans.push(Span::Small(bytes));
    }

    fn add_bytes(&mut self, bytes: Vec<u8>, memory: &Arc<Memory>) {
        if !bytes.is_empty() {
            let range = 0..bytes.len();
            self.len += bytes.len();
            let buffer = Arc::new(Buffer::charged_to(memory, Share::Answer, bytes.into()));
            self.spans.push(Span::Slice { buffer, range });
        }
    }

    fn add(&mut self, body: &Body, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        self.len += range.len();
        match body {
            Body::Slice { buffer, start, .. } => {
                let range = start + range.start..start + range.end;
                match self.spans.last_mut() {
                    // A topic and the payload behind it.
                    Some(Span::Slice { buffer: last, range: before })
                        if Arc::ptr_eq(last, buffer) && before.end == range.start =>
                    {
                        before.end = range.end;
                    }
                    _ => self.spans.push(Span::Slice { buffer: buffer.clone(), range }),
                }
            }
            Body::Rope(rope) => self.spans.push(Span::Rope { rope: rope.clone(), range }),
            Body::Made(made) => {
                // Of its spans, those in the range.
                let mut at = HEADER;
                for span in &made.spans {
                    let (from, to) = (range.start.max(at), range.end.min(at + span.len()));
                    if from < to {
                        self.spans.push(span.part(from - at..to - at));
                    }
                    at += span.len();
                }
            }
        }
    }

    /// Bytes that are not hashed yet.
    pub fn unhashed(&self) -> usize {
        self.len - self.hashed
    }

    /// Hashes at most `max` bytes more.
    pub fn hash(&mut self, max: usize) {
        let stream = self.stream.get_or_insert_with(|| {
            self.head = self.header.encode();
            let mut stream = self.scheme.stream();
            stream.update(&self.head);
            stream
        });
        let mut left = max.min(self.len - self.hashed);
        while left > 0 {
            let span = &mut self.spans[self.at.0];
            let bytes = span.slice_at(self.at.1);
            let mut n = bytes.len().min(left);
            if let (Some(gathered), Span::Small(_)) = (&mut self.gathered, &*span) {
                n = gathered.take(&bytes[..n]);
            }
            stream.update(&bytes[..n]);
            left -= n;
            self.hashed += n;
            self.at.1 += n;
            if self.at.1 == span.len() {
                self.at = (self.at.0 + 1, 0);
                if let Some(gathered) = &mut self.gathered {
                    gathered.go_on(std::mem::replace(span, Span::Small(Box::default())));
                }
            }
        }
    }

    /// The frame, hashed now.
    pub fn hashed(mut self) -> Verified {
        self.hash(usize::MAX);
        self.finish()
    }

    /// The frame, once all of it is hashed.
    pub fn finish(mut self) -> Verified {
        self.hash(0);
        assert_eq!(self.unhashed(), 0, "a digest is about the whole frame");
        let digest = self.stream.expect("it was begun").finish();
        let spans = self.gathered.map_or(self.spans, |gathered| gathered.finish());
        Verified::made(Made { head: self.head, spans, len: self.len, digest })
    }
}

impl Gathered {
    /// Copies the beginning of some bytes into the open buffer: how many.
    fn take(&mut self, bytes: &[u8]) -> usize {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(self.left.min(PIECE));
        }
        let n = bytes.len().min(self.open.capacity() - self.open.len());
        self.open.extend_from_slice(&bytes[..n]);
        self.left -= n;
        if self.open.len() == self.open.capacity() {
            self.close();
        }
        n
    }

    /// A span is hashed. Small pieces are in the open buffer already, and are let go here, one by one.
    fn go_on(&mut self, span: Span) {
        if !matches!(span, Span::Small(_)) {
            self.close();
            self.spans.push(span);
        }
    }

    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.open).into_boxed_slice();
        let range = 0..bytes.len();
        // The buffer may be shorter than was thought, where others' bytes came between.
        let charge = self.charge.split(bytes.len() + BUFFER_OVERHEAD);
        self.spans.push(Span::Slice { buffer: Arc::new(Buffer::new(bytes, charge)), range });
    }

    fn finish(mut self) -> Vec<Span> {
        self.close();
        self.spans
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Draft({} hashed of {}, {:?})", self.hashed, self.len, self.header)
    }
}

impl Made {
    /// Bytes of the whole frame.
    pub(super) fn len(&self) -> usize {
        HEADER + self.len + DIGEST
    }

    pub(super) fn head(&self) -> &[u8; HEADER] {
        &self.head
    }

    /// Bytes from the topic on, at least the whole topic: whatever is first in a draft holds it in one slice.
    pub(super) fn first(&self) -> &[u8] {
        self.spans.first().map_or(&[], |span| span.slice_at(0))
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub(super) fn digest(&self) -> &[u8; DIGEST] {
        &self.digest
    }
}

impl Span {
    fn len(&self) -> usize {
        match self {
            Span::Slice { range, .. } | Span::Rope { range, .. } => range.len(),
            Span::Small(bytes) => bytes.len(),
        }
    }

    fn part(&self, part: Range<usize>) -> Span {
        let mut span = self.clone();
        match &mut span {
            Span::Slice { range, .. } | Span::Rope { range, .. } => {
                *range = range.start + part.start..range.start + part.end;
            }
            Span::Small(_) => unreachable!("a frame that is made has none"),
        }
        span
    }

    /// The bytes from `offset` on, as many as lie together.
    fn slice_at(&self, offset: usize) -> &[u8] {
        match self {
            Span::Slice { buffer, range } => &buffer[range.start + offset..range.end],
            Span::Rope { rope, range } => rope.slice_at(range.start + offset..range.end),
            Span::Small(bytes) => &bytes[offset..],
        }
    }

    /// The bytes, in as few slices as they are held.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let slice = (at < self.len()).then(|| self.slice_at(at))?;
            at += slice.len();
            Some(slice)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Batch, Kind, Piecewise, Status, encode, verify};

    const ID: u64 = 77;

    fn header() -> Header {
        Header { id: 5, key: 9, want_reply: true, ..Header::new(Kind::Data) }
    }

    /// The same frame as a batch of its own and as a large one.
    fn bodies(memory: &Arc<Memory>, payload: &[u8]) -> [Verified; 2] {
        let mut bytes = Vec::new();
        encode(header(), b"a.b", payload, &Scheme::Sha256, &mut bytes);
        let len = bytes.len();
        let mut large = Piecewise::new(len, &Scheme::Sha256, memory.charge(Share::Large, len), None);
        for piece in bytes.chunks(70) {
            large.push(Buffer::new(piece.into(), memory.charge(Share::Large, 0)));
        }
        large.hash(len);
        let batch = Batch::new(Buffer::charged(memory, bytes.into()), len, 1, None);
        [verify(batch, &Scheme::Sha256), large.finish()]
    }

    fn bytes(verified: &Verified) -> Vec<u8> {
        verified.body().slices().collect::<Vec<_>>().concat()
    }

    fn finish(mut draft: Draft, step: usize) -> Verified {
        while draft.unhashed() > 0 {
            draft.hash(step);
        }
        draft.finish()
    }

    #[test]
    fn a_frame_gets_another_header_and_its_digest() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        for (payload, step) in [(vec![], 1), (vec![1; 5], 1), (vec![7; 300], 33), (vec![8; 300], 1000)] {
            for scheme in [Scheme::Sha256, Scheme::keyed(b"k")] {
                for source in bodies(&memory, &payload) {
                    let of = source.iter().next().unwrap().header;
                    let mut data = Draft::new(Header { id: ID, ..of }, &scheme);
                    data.topic_of(source.body(), &of);
                    data.payload_of(source.body(), &of);
                    let data = finish(data, step);
                    let mut expected = Vec::new();
                    encode(Header { id: ID, ..header() }, b"a.b", &payload, &scheme, &mut expected);
                    assert_eq!(bytes(&data), expected);
                    let checked = data.iter().next().unwrap();
                    assert_eq!((checked.topic, checked.header.id, checked.intact), (&b"a.b"[..], ID, true));
                    assert_eq!(checked.digest[..], expected[expected.len() - DIGEST..]);
                    assert_eq!([data.body().frames_within(expected.len() - 1), data.frames()], [0, 1]);

                    let reply = Header { status: Status::Busy as u16, id: 1, ..Header::new(Kind::Reply) };
                    let mut draft = Draft::new(reply, &scheme);
                    // Of a frame that was made itself.
                    draft.payload_of(data.body(), &checked.header);
                    expected.clear();
                    encode(reply, b"", &payload, &scheme, &mut expected);
                    assert_eq!(bytes(&finish(draft, step)), expected);
                }
            }
        }
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_frame_is_made_of_any_bytes() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let mut draft = Draft::new(header(), &Scheme::Sha256);
        draft.topic(b"a.b".to_vec(), &memory);
        draft.payload(vec![3; 100], &memory);
        draft.payload(Vec::new(), &memory);
        let made = draft.hashed();
        let mut expected = Vec::new();
        encode(header(), b"a.b", &[3; 100], &Scheme::Sha256, &mut expected);
        assert_eq!((bytes(&made), made.iter().next().unwrap().topic), (expected, &b"a.b"[..]));
        assert_eq!(made.body().bytes(32..37).as_ref(), &b"a.b\x03\x03"[..]);
        drop(made);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn small_pieces_are_put_together_as_they_are_hashed_and_not_before() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let [_, large] = bodies(&memory, &[9; 300]);
        let of = large.iter().next().unwrap().header;
        // What is beside each other, and what is between; many buffers, and a part of one.
        let lengths = [1, 700, PIECE, 0, 3, PIECE - 3, 2 * PIECE / 3, PIECE, 5];
        for step in [1, 333, PIECE - 1, PIECE, 10 * PIECE] {
            let beside = memory.used();
            let mut draft = Draft::new(header(), &Scheme::Sha256);
            draft.topic(b"a.b".to_vec(), &memory);
            let mut payload = Vec::new();
            let mut addresses = Vec::new();
            for (at, len) in lengths.into_iter().enumerate() {
                let piece = vec![at as u8; len].into_boxed_slice();
                payload.extend_from_slice(&piece);
                addresses.push((len > 0).then_some(piece.as_ptr()));
                draft.payload_piece(piece, &memory);
                if at == 5 {
                    draft.payload_of(large.body(), &of);
                    payload.extend_from_slice(&[9; 300]);
                }
            }
            // Whoever adds them copies nothing: they are where they were.
            let held = draft.spans.iter().filter_map(|span| match span {
                Span::Small(bytes) => Some(bytes.as_ptr()),
                _ => None,
            });
            assert!(held.eq(addresses.into_iter().flatten()));
            let pieces = memory.used() - beside;
            assert!(pieces > payload.len() - 300, "they are charged");
            let mut copied = 0;
            while draft.unhashed() > 0 {
                draft.hash(step);
                let gathered = draft.gathered.as_ref().unwrap();
                let now = gathered.open.len() + gathered.spans.iter().map(Span::len).sum::<usize>();
                assert!(now - copied <= step.max(3) + 300, "as much is copied as is hashed");
                assert!(memory.used() - beside <= pieces, "what they become takes no more");
                copied = now;
            }
            let made = draft.finish();
            let mut expected = Vec::new();
            encode(header(), b"a.b", &payload, &Scheme::Sha256, &mut expected);
            assert_eq!(bytes(&made), expected);
            let Body::Made(made) = made.body() else { panic!("it was made") };
            assert!(made.spans().len() <= 1 + 3 + 1 + 4, "{} spans", made.spans().len());
            assert!(memory.used() - beside <= payload.len() + 9 * BUFFER_OVERHEAD);
        }
    }

    #[test]
    fn a_frame_is_put_together_of_many() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let parts: Vec<Verified> =
            [&[1; 100][..], &[2; 200], &[]].iter().flat_map(|payload| bodies(&memory, payload)).collect();
        let mut draft = Draft::new(header(), &Scheme::Sha256);
        let mut payload = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let of = part.iter().next().unwrap().header;
            if index == 0 {
                draft.topic_of(part.body(), &of);
            }
            draft.payload_of(part.body(), &of);
            payload.extend_from_slice(&bytes(part)[HEADER + 3..][..of.payload_len as usize]);
        }
        assert_eq!(payload.len(), 600);
        let mut expected = Vec::new();
        encode(header(), b"a.b", &payload, &Scheme::Sha256, &mut expected);
        assert_eq!(bytes(&finish(draft, 50)), expected);
    }
}
