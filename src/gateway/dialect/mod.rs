//! What a connection of a listener with a layout has beside a native one: how its stream is cut, what is known of it,
//! and what is written back.
//!
//! Its frames become native ones before anything else sees them, and what the gateway says of those, REPLYs, becomes
//! what the layout says: so every part below works on such a connection as on any other.

mod answers;

use std::num::NonZeroU64;
use std::sync::Arc;

use answers::Answers;

use crate::core::limits::{BUFFER_OVERHEAD, REPLY_MAX};
use crate::core::memory::{Buffer, Charge, Memory, Share};
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::wire::Status;
use crate::wire::layout::{Converted, Cutter, Kept, Layout, Said};

/// A connection that speaks a layout. Most connections are idle: all that one needs only while it is not is in a box.
pub struct Dialect {
    pub layout: Arc<Layout>,
    /// None of one that is idle.
    busy: Option<Box<Busy>>,
    /// Charged as long as it is here.
    kept: Kept,
    /// Frames that were published so far.
    published: u64,
    memory: Arc<Memory>,
}

/// What a connection needs while a frame of it has begun, is with the workers or is to be answered.
#[derive(Default)]
struct Busy {
    cutter: Cutter,
    /// What is left of the read before may hold whole frames.
    may_cut_on: bool,
    /// A frame that does not fit in one read, as far as it came.
    large: Option<Box<LargeBytes>>,
    /// A run that may change what is known of it is with the workers: nothing behind it is read.
    is_keeping: bool,
    /// What is to be answered.
    answers: Answers,
}

impl Busy {
    fn is_over(&self) -> bool {
        let waits = self.may_cut_on || self.is_keeping || self.large.is_some();
        !waits && self.answers.is_empty() && self.cutter.is_at_rest()
    }
}

/// A frame that does not fit in one read.
pub struct LargeBytes {
    /// As many as the frame has.
    pub bytes: Box<[u8]>,
    /// How many of them came.
    pub received: usize,
    /// For the native frame that it becomes, and its answer: what was asked for with it is there when it is whole.
    pub room: Charge,
}

impl Dialect {
    /// Of a connection that was just accepted.
    pub fn new(layout: Arc<Layout>, memory: Arc<Memory>) -> Dialect {
        Dialect { layout, busy: None, kept: Kept::default(), published: 0, memory }
    }

    /// Whether what is left of the read before may hold whole frames.
    pub fn may_cut_on(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.may_cut_on)
    }

    /// Whether a run that may change what is known of it is with the workers.
    pub fn is_keeping(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.is_keeping)
    }

    /// A run went to the workers that may change what is known of it, or not.
    pub fn set_keeping(&mut self, is_keeping: bool) {
        if is_keeping != self.is_keeping() {
            self.busy.get_or_insert_default().is_keeping = is_keeping;
            self.rest();
        }
    }

    /// The frame that does not fit in one read.
    pub fn large(&mut self) -> Option<&mut LargeBytes> {
        self.busy.as_mut()?.large.as_deref_mut()
    }

    /// Whether one is being read.
    pub fn is_large(&self) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy.large.is_some())
    }

    /// One is begun.
    pub fn begin_large(&mut self, large: LargeBytes) {
        self.busy.get_or_insert_default().large = Some(Box::new(large));
    }

    /// It came, or never will.
    pub fn take_large(&mut self) -> Option<Box<LargeBytes>> {
        let large = self.busy.as_mut()?.large.take();
        self.rest();
        large
    }

    /// Cuts with its cutter. What is returned first is whether what is left may hold whole frames.
    pub fn cut<T>(&mut self, cut: impl FnOnce(&Arc<Layout>, &mut Cutter) -> (bool, T)) -> T {
        // Where whole frames come, nothing is kept of them.
        let mut idle = Cutter::default();
        let cutter = self.busy.as_mut().map_or(&mut idle, |busy| &mut busy.cutter);
        let (may_cut_on, cut) = cut(&self.layout, cutter);
        match &mut self.busy {
            Some(busy) => busy.may_cut_on = may_cut_on,
            None if may_cut_on || !idle.is_at_rest() => {
                self.busy = Some(Box::new(Busy { cutter: idle, may_cut_on, ..Busy::default() }));
            }
            None => {}
        }
        self.rest();
        cut
    }

    /// The end of the stream was read behind the beginning of a frame. Whether what came of that is to be cut once more.
    pub fn end(&mut self) -> bool {
        let busy = self.busy.get_or_insert_default();
        let cuts_on = busy.cutter.end(&self.layout);
        busy.may_cut_on |= cuts_on;
        cuts_on
    }

    /// What is known of the connection.
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    fn keep(&mut self, kept: Kept) {
        self.memory.release(Share::Small, self.kept.size());
        self.memory.take(Share::Small, kept.size());
        self.kept = kept;
    }

    /// One that is idle owns nothing more.
    fn rest(&mut self) {
        if self.busy.as_ref().is_some_and(|busy| busy.is_over()) {
            self.busy = None;
        }
    }

    /// A run's turn has come: what it made known, and what it is answered. Its native frames are answered by number.
    pub fn begin(&mut self, mut converted: Converted) -> Option<crate::wire::Verified> {
        if converted.keeps {
            self.set_keeping(false);
            self.keep(converted.kept.clone());
        }
        let mut native = converted.native.take();
        if self.layout.answers() {
            let frames = native.as_ref().map_or(0, |native| native.frames());
            self.busy.get_or_insert_default().answers.begin(converted, self.published);
            let first = NonZeroU64::MIN.saturating_add(self.published);
            self.published += u64::from(frames);
            if let Some(native) = &mut native {
                let bytes = frames as usize * REPLY_MAX + BUFFER_OVERHEAD;
                native.answer_from(first, Some(self.memory.charge(Share::Small, bytes)));
            }
        }
        native
    }

    /// Takes what the gateway says of frames. Of what a handler wrote (a reply in a frame of its own), the payload goes
    /// to the peer as it is, as the handler got the frame as it is: escapes and all. Where it refuses the frame, that is
    /// so only if the layout declares no refusal: what handlers say then is mostly a reason for people.
    pub fn take_replies(&mut self, replies: &OutboxItem) {
        let is_written = matches!(replies, OutboxItem::Frame(_));
        let Some(Busy { answers, .. }) = self.busy.as_deref_mut() else { return };
        let memory = &self.memory;
        replies.each_reply(|header, frame| {
            let Some(number) = NonZeroU64::new(header.id) else { return };
            let payload = &frame[crate::wire::HEADER..frame.len() - crate::wire::DIGEST];
            let said = match Status::from_u16(header.status) {
                // What is a duplicate was accepted, and is where the first was promised to be: a device that did not get
                // its reply sends the frame again until it does.
                Some(Status::Ok | Status::Duplicate) => Said::Ok,
                _ => Said::Refused,
            };
            if !is_written || payload.is_empty() {
                return answers.say(number, said);
            }
            let said = if said == Said::Ok { Said::Other } else { said };
            answers.say_written(number, said, Buffer::charged(memory, payload.into()));
        });
    }

    /// What is to be written next, as far as it is decided.
    pub fn ready(&mut self) -> Option<OutboxItem> {
        let bytes = self.busy.as_mut()?.answers.ready();
        self.rest();
        (!bytes.is_empty()).then(|| OutboxItem::Replies(Buffer::charged(&self.memory, bytes.into())))
    }
}

impl Drop for Dialect {
    fn drop(&mut self) {
        self.memory.release(Share::Small, self.kept.size());
    }
}
