//! What an outbox holds, and how a frame's fate is found.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use crate::core::memory::Buffer;
use crate::gateway::ledger::Ledger;
use crate::runtime::net::Segments;
use crate::sinks::store::feed::FeedRun;
use crate::wire::{Body, Frame, Header};

/// What is written to a peer.
#[derive(Debug)]
pub enum OutboxItem {
    /// Frames for subscribers, shared by all who get them.
    Range(FrameRange),
    /// Replies, for one peer.
    Replies(Buffer),
    /// One frame that was made here: a reply with an answer, or a call.
    Frame(Body),
    /// Frames that were read from the store, for one peer.
    Stored(FeedRun),
}

impl OutboxItem {
    /// It leaves an outbox, or is in all that it goes to. With the last of its copies the fate of its frames is known,
    /// and booked: a holder lets it go here.
    pub fn let_go(self: Rc<OutboxItem>, ledger: &mut Ledger) {
        if let Some(OutboxItem::Range(range)) = Rc::into_inner(self) {
            range.book(ledger);
        }
    }

    /// Bytes of replies.
    pub fn reply_bytes(&self) -> usize {
        match self {
            OutboxItem::Range(_) | OutboxItem::Stored(_) => 0,
            OutboxItem::Replies(buffer) => buffer.len(),
            OutboxItem::Frame(body) => body.len(),
        }
    }

    /// Shows each of its replies: header and bytes.
    pub fn each_reply(&self, mut show: impl FnMut(&Header, &[u8])) {
        let bytes: Cow<'_, [u8]> = match self {
            OutboxItem::Range(_) | OutboxItem::Stored(_) => return,
            OutboxItem::Replies(buffer) => Cow::Borrowed(buffer),
            OutboxItem::Frame(body) => body.slices().flatten().copied().collect(),
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let frame = Frame::first_of(rest);
            show(&frame.header, frame.bytes);
            rest = &rest[frame.bytes.len()..];
        }
    }
}

/// Frames that lie back to back in a batch and go to the same subscribers.
///
/// Their fates are known when the last subscriber is done with it: a frame is delivered if it was written to every one
/// of them.
#[derive(Debug)]
pub struct FrameRange {
    body: Body,
    frames: u32,
    /// The turn in which it was distributed.
    at: Instant,
    /// Some subscriber dropped it.
    dropped: Cell<bool>,
    /// Frames before this one were written to every subscriber that is done.
    delivered: Cell<u32>,
}

impl FrameRange {
    /// Frames with no fate yet.
    pub fn new(body: Body, frames: u32, at: Instant) -> FrameRange {
        FrameRange { body, frames, at, dropped: Cell::new(false), delivered: Cell::new(frames) }
    }

    /// How many frames it holds.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// The turn in which it was distributed.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// A subscriber dropped it.
    pub fn drop_copy(&self) {
        self.dropped.set(true);
    }

    /// A subscriber's connection ended after `written` bytes of it. Returns how many frames it missed.
    pub fn end_copy(&self, written: usize) -> u32 {
        let whole = self.body.frames_within(written);
        self.delivered.set(self.delivered.get().min(whole));
        self.frames - whole
    }

    fn book(&self, ledger: &mut Ledger) {
        if self.dropped.get() {
            ledger.dropped += u64::from(self.frames);
        } else {
            ledger.delivered += u64::from(self.delivered.get());
            ledger.undelivered += u64::from(self.frames - self.delivered.get());
        }
    }
}

impl OutboxItem {
    /// The turn in which its frames were distributed; none of replies.
    pub fn distributed_at(&self) -> Option<Instant> {
        match self {
            OutboxItem::Range(range) => Some(range.at),
            OutboxItem::Replies(_) | OutboxItem::Frame(_) | OutboxItem::Stored(_) => None,
        }
    }
}

impl Segments for OutboxItem {
    fn bytes(&self) -> usize {
        match self {
            OutboxItem::Range(range) => range.body.len(),
            OutboxItem::Stored(run) => run.bytes().len(),
            OutboxItem::Replies(_) | OutboxItem::Frame(_) => self.reply_bytes(),
        }
    }

    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (body, replies) = match self {
            OutboxItem::Range(range) => (Some(&range.body), None),
            OutboxItem::Replies(buffer) => (None, Some(&buffer[..])),
            OutboxItem::Frame(body) => (Some(body), None),
            OutboxItem::Stored(run) => (None, Some(run.bytes())),
        };
        body.into_iter().flat_map(Body::slices).chain(replies)
    }

    fn may_drop(&self) -> bool {
        matches!(self, OutboxItem::Range(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::Memory;

    #[test]
    fn the_fate_of_frames_is_booked_once_with_their_last_copy() {
        let memory = Memory::new(1 << 20, 1 << 10);
        let mut ledger = Ledger::default();
        let buffer = std::sync::Arc::new(Buffer::charged(&memory, vec![0; 10].into()));
        let body = || Body::Slice { buffer: buffer.clone(), start: 0, end: 10 };
        for (dropped, expected) in [(false, (2, 0)), (true, (2, 2))] {
            let item = Rc::new(OutboxItem::Range(FrameRange::new(body(), 2, Instant::now())));
            let copy = item.clone();
            if let (OutboxItem::Range(range), true) = (&*copy, dropped) {
                range.drop_copy();
            }
            let before = (ledger.delivered, ledger.dropped);
            item.let_go(&mut ledger);
            assert_eq!((ledger.delivered, ledger.dropped), before, "a copy waits in an outbox");
            copy.let_go(&mut ledger);
            assert_eq!((ledger.delivered, ledger.dropped), expected);
        }
    }
}
