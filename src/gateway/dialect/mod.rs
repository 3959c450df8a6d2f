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

/// A connection that speaks a layout.
pub struct Dialect {
    pub layout: Arc<Layout>,
    pub cutter: Cutter,
    /// What is left of the read before may hold whole frames.
    pub may_cut_on: bool,
    /// A frame that does not fit in one read, as far as it came.
    pub large: Option<Box<LargeBytes>>,
    /// A run that may change what is known of it is with the workers: nothing behind it is read.
    pub is_keeping: bool,
    kept: Kept,
    kept_charge: Option<Charge>,
    /// Frames that were published so far.
    published: u64,
    /// What is to be answered, while there is something.
    answers: Option<Box<Answers>>,
    memory: Arc<Memory>,
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
        Dialect {
            layout,
            cutter: Cutter::default(),
            may_cut_on: false,
            large: None,
            is_keeping: false,
            kept: Kept::default(),
            kept_charge: None,
            published: 0,
            answers: None,
            memory,
        }
    }

    /// The end of the stream was read behind the beginning of a frame. Whether what came of that is to be cut once more.
    pub fn end(&mut self) -> bool {
        let cuts_on = self.cutter.end(&self.layout);
        self.may_cut_on |= cuts_on;
        cuts_on
    }

    /// What is known of the connection.
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// A run's turn has come: what it made known, and what it is answered. Its native frames are answered by number.
    pub fn begin(&mut self, mut converted: Converted) -> Option<crate::wire::Verified> {
        if converted.keeps {
            self.is_keeping = false;
            self.kept = converted.kept.clone();
            let size = self.kept.size();
            self.kept_charge = (size > 0).then(|| self.memory.charge(Share::Small, size));
        }
        let mut native = converted.native.take();
        if self.layout.answers() {
            let frames = native.as_ref().map_or(0, |native| native.frames());
            self.answers.get_or_insert_default().begin(converted, self.published);
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
        let Some(answers) = &mut self.answers else { return };
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
        let answers = self.answers.as_mut()?;
        let bytes = answers.ready();
        // Most connections are idle, and whoever waits for nothing owns nothing.
        if answers.is_empty() {
            self.answers = None;
        }
        (!bytes.is_empty()).then(|| OutboxItem::Replies(Buffer::charged(&self.memory, bytes.into())))
    }
}
