//! The bytes of frames, as they are held: shared, never copied.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::decoder::Frame;
use super::draft::{Made, Span};
use super::header::DIGEST;
use crate::core::memory::{Buffer, Charge, Memory, Share};

/// The bytes of a batch, or of a run of its frames. Shared, never copied.
#[derive(Clone, Debug)]
pub enum Body {
    /// Frames back to back: `buffer[start..end]`.
    Slice {
        /// Where they were read to.
        buffer: Arc<Buffer>,
        /// Where the first begins.
        start: usize,
        /// Where the last ends.
        end: usize,
    },
    /// One large frame.
    Rope(Arc<Rope>),
    /// One frame that was made here.
    Made(Arc<Made>),
}

/// One large frame in the pieces in which it was read. The first piece holds the header and the topic.
#[derive(Debug)]
pub struct Rope {
    pub(super) pieces: Vec<Buffer>,
    pub(super) len: usize,
    /// Of the whole frame; the pieces hold none.
    pub(super) _charge: Charge,
}

impl Body {
    /// Bytes.
    pub fn len(&self) -> usize {
        match self {
            Body::Slice { start, end, .. } => end - start,
            Body::Rope(rope) => rope.len,
            Body::Made(made) => made.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a run of small frames, not a large one.
    pub fn is_slice(&self) -> bool {
        matches!(self, Body::Slice { .. })
    }

    /// The bytes, in as few slices as they are held.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (slice, pieces, made) = match self {
            Body::Slice { buffer, start, end } => (Some(&buffer[*start..*end]), &[][..], None),
            Body::Rope(rope) => (None, &rope.pieces[..], None),
            Body::Made(made) => (Some(&made.head()[..]), &[][..], Some(made)),
        };
        let spans = made.map_or(&[][..], |made| made.spans()).iter().flat_map(Span::slices);
        let digest = made.map(|made| &made.digest()[..]);
        slice.into_iter().chain(pieces.iter().map(|piece| &piece[..])).chain(spans).chain(digest)
    }

    /// Some of the bytes, together.
    pub fn bytes(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let mut at = 0;
        let mut parts = self.slices().filter_map(|slice| {
            let (from, to) = (range.start.max(at) - at, range.end.min(at + slice.len()).saturating_sub(at));
            at += slice.len();
            (from < to).then(|| &slice[from..to])
        });
        let Some(first) = parts.next() else { return Cow::Borrowed(&[]) };
        let rest: Vec<&[u8]> = parts.collect();
        if rest.is_empty() { Cow::Borrowed(first) } else { [&[first], &rest[..]].concat().concat().into() }
    }

    /// Whether it keeps a buffer of which it is less than half.
    pub fn is_fragment(&self) -> bool {
        matches!(self, Body::Slice { buffer, start, end } if end - start < buffer.len() / 2)
    }

    /// Whether it keeps more than its own bytes.
    pub fn keeps_others(&self) -> bool {
        matches!(self, Body::Slice { buffer, start, end } if end - start < buffer.len())
    }

    /// The same bytes in a buffer of their own, charged to a share.
    pub fn copied(&self, memory: &Arc<Memory>, share: Share) -> Body {
        let mut bytes = Vec::with_capacity(self.len());
        self.slices().for_each(|slice| bytes.extend_from_slice(slice));
        let end = bytes.len();
        Body::Slice { buffer: Arc::new(Buffer::charged_to(memory, share, bytes.into())), start: 0, end }
    }

    /// The frames from `start` to `end`, as [`Checked`](super::Checked) says where they are.
    pub fn part(&self, from: usize, to: usize) -> Body {
        match self {
            Body::Slice { buffer, start, end } => {
                assert!(start + to <= *end, "a part is within its body");
                Body::Slice { buffer: buffer.clone(), start: start + from, end: start + to }
            }
            Body::Rope(_) | Body::Made(_) => {
                assert_eq!((from, to), (0, self.len()), "one frame is not parted");
                self.clone()
            }
        }
    }

    /// How many whole frames are in the first `bytes` bytes.
    pub fn frames_within(&self, bytes: usize) -> u32 {
        match self {
            Body::Rope(_) | Body::Made(_) => u32::from(bytes >= self.len()),
            Body::Slice { buffer, start, end } => {
                let (mut at, mut frames) = (*start, 0);
                while at < *end {
                    at += Frame::first_of(&buffer[at..*end]).bytes.len();
                    if at > start + bytes {
                        break;
                    }
                    frames += 1;
                }
                frames
            }
        }
    }
}

impl Rope {
    /// The bytes from `range.start` on, as many as lie together.
    pub(super) fn slice_at(&self, range: Range<usize>) -> &[u8] {
        let mut start = 0;
        for piece in &self.pieces {
            if range.start < start + piece.len() {
                return &piece[range.start - start..(range.end - start).min(piece.len())];
            }
            start += piece.len();
        }
        &[]
    }

    pub(super) fn digest(&self) -> [u8; DIGEST] {
        let mut digest = [0; DIGEST];
        copy_tail(&self.pieces, &mut digest);
        digest
    }
}

/// Fills `out` with the last bytes of the pieces.
fn copy_tail(pieces: &[Buffer], out: &mut [u8]) {
    let mut missing = out.len();
    for piece in pieces.iter().rev() {
        let n = piece.len().min(missing);
        out[missing - n..missing].copy_from_slice(&piece[piece.len() - n..]);
        missing -= n;
        if missing == 0 {
            break;
        }
    }
}
