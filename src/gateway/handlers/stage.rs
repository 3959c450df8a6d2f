//! The order of a connection's frames where some of them are called: where a handler answers a frame
//! before it is distributed.
//!
//! ```text
//! released ─► waiting ─► with a handler ─┬─► step ─► distributed
//!                │                       │   ▲
//!                │ what is no call       └───┴─ answered, refused
//!                └───────────────────────────►
//! ```
//!
//! A batch waits as a whole, so that a call costs nothing but its bytes before its turn comes. Then each
//! call takes a place in the order of steps, and what stands between calls (a SUBSCRIBE, a PING, a frame
//! that is refused, the end of the stream) takes one behind them. Without a handler there are no stages.
//!
//! A call may take long, and what comes behind it may be answered meanwhile. What is over then leaves no trace; what
//! must wait for its turn is charged, and bounded for each connection: by bytes where it was answered, by number where
//! it is no call. At the bound no more calls of the connection begin, and so it is not read for long.

use std::collections::VecDeque;
use std::time::Instant;

use crate::core::limits::{CALLED_BYTES, REPLIES_UNREAD, STEP, STEPS_ASIDE};
use crate::core::memory::{self, Charge, Share};
use crate::core::reorder::Steps;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::acks::tickets::Ticket;
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId, State};
use crate::gateway::egress::distribute::encode_reply;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::egress::router::Router;
use crate::gateway::ingress::order::{Item, Order};
use crate::gateway::{BadDigestPolicy, Gate, Overflow};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Checked, Kind, Status, Verified};

/// What a connection has between release and distribution. One that has nothing there has no stage.
#[derive(Debug, Default)]
pub struct Stage {
    /// Not begun. The first frame of the first is a call, once it was looked at.
    pub waiting: VecDeque<Waiting>,
    /// Begun, and not distributed.
    pub steps: Steps<Step>,
    /// Frames in both.
    pub frames: u64,
    /// Bytes of frames that were answered and are not distributed, of what was answered, and of their steps.
    pub answered: usize,
    /// Steps that may change who gets what comes behind them.
    pub controls: usize,
    /// A frame that ends the connection is among them: what comes behind it is not called.
    pub over: bool,
    /// A whole whose last part is of this connection waits for its digest: what waits comes behind it.
    pub hashing: bool,
    /// Replies that wait for a confirmation.
    pub owed: u32,
    /// Replies to parts that are held.
    pub held: u32,
}

/// Frames that wait for their calls to begin.
#[derive(Debug)]
pub struct Waiting {
    pub item: Item,
    /// Its calls are counted. If not, no frame in it is one.
    pub called: bool,
    pub since: Instant,
}

/// What takes effect in its turn.
#[derive(Debug)]
pub enum Step {
    /// What is no call, and what is charged for its step.
    Item(Box<Item>, Charge),
    /// A frame that was answered.
    Answered(Box<Passed>),
}

/// A frame that a handler let pass, or put in the place of another.
#[derive(Debug)]
pub struct Passed {
    pub frame: Verified,
    /// To its publisher, if it asked.
    pub reply: Option<OutboxItem>,
    /// Under which it was promised to the sinks, where its copies wait for that.
    pub ticket: Option<Ticket>,
    /// Sinks that have it; where there are some, it was distributed before.
    pub before: SinkSet,
    /// What a handler wrote and the step itself, as long as they wait for their turn; and what is charged for the step.
    pub _waiting: Option<memory::Waiting>,
    pub _charge: Option<Charge>,
}

impl Passed {
    fn len(&self) -> usize {
        self.frame.len() + self.reply.as_ref().map_or(0, OutboxItem::reply_bytes) + STEP
    }
}

impl Stage {
    /// Parts the first frames from a batch, the rest of which is first in line.
    pub fn part(&mut self, first: Waiting, frames: u32) -> Item {
        let Item::Frames(verified) = first.item else { return first.item };
        let (part, rest) = verified.split(frames);
        if let Some(rest) = rest {
            self.waiting.push_front(Waiting { item: Item::Frames(rest), ..first });
        }
        Item::Frames(part)
    }

    /// Frames whose turn has not come.
    pub fn lined_up(&self) -> u64 {
        self.waiting.iter().map(|waiting| waiting.item.frames()).sum()
    }

    fn is_empty(&self) -> bool {
        let is_owed = self.owed > 0 || self.held > 0;
        self.waiting.is_empty() && self.steps.is_empty() && !is_owed && !self.hashing
    }
}

impl<S> Conn<S> {
    /// Whether its calls may begin: it takes its replies, and not too much of it waits for an earlier call.
    pub fn may_call(&self) -> bool {
        let answered = self.order.stage.as_ref().map_or(0, |stage| stage.answered);
        self.writing.replies_pending < REPLIES_UNREAD && answered < CALLED_BYTES && !self.order.is_overtaken()
    }
}

impl Order {
    /// Whether as much waits behind a call as may of what is no call.
    pub fn is_overtaken(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.controls >= STEPS_ASIDE)
    }

    /// Whether its next call would be next in its order.
    pub fn has_nothing_called(&self) -> bool {
        self.stage.as_ref().is_none_or(|stage| stage.steps.is_empty())
    }
}

/// 16 times that a batch is parted where calls that are told BUSY and frames that are no calls take turns: what is
/// behind them waits to be let in.
const LOTS: usize = 16;

/// What becomes of a run of frames that arrive when no more calls may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    /// Let in, or no calls.
    Stay,
    /// Told to come again.
    Refuse,
    /// Could not be told.
    Beyond,
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// What was released joins its connection's stage.
    pub(in crate::gateway) fn stage(&mut self, id: ConnId, item: Item) {
        let conn = &self.conns[id];
        let over = conn.order.discard || conn.order.stage.as_ref().is_some_and(|stage| stage.over);
        match item {
            Item::Frames(verified) if !over => {
                let (frames, ends) = self.frames_to_the_end(id, &verified);
                let (first, rest) = verified.split(frames);
                self.arrive(id, first);
                if let Some(stage) = self.conns[id].order.stage.as_mut() {
                    stage.over = ends;
                }
                if let Some(rest) = rest {
                    self.line_up(id, Item::Frames(rest), false);
                }
            }
            item => self.line_up(id, item, false),
        }
        self.stage_on(id);
    }

    /// How many frames of a batch there are up to one that ends the connection, and whether there is one.
    fn frames_to_the_end(&mut self, id: ConnId, verified: &Verified) -> (u32, bool) {
        let conn = &mut self.conns[id];
        for (index, frame) in (1..).zip(verified.iter()) {
            if !frame.intact
                && (!conn.order.authorized || self.ctx.config.on_bad_digest == BadDigestPolicy::Close)
            {
                return (index, true);
            }
            // Whoever sent one intact frame knows the secret.
            conn.order.authorized |= frame.intact;
        }
        (verified.frames(), false)
    }

    pub(in crate::gateway) fn line_up(&mut self, id: ConnId, item: Item, called: bool) {
        let frames = item.frames();
        let stage = self.conns[id].order.stage.get_or_insert_default();
        stage.frames += frames;
        self.calling.staged += frames;
        self.calling.lined_up += frames;
        stage.waiting.push_back(Waiting { item, called, since: self.ctx.now });
    }

    /// The same, before what waits.
    pub(in crate::gateway) fn line_up_first(&mut self, id: ConnId, item: Item) {
        self.line_up(id, item, false);
        self.stage_of(id).waiting.rotate_right(1);
    }

    /// Counts the calls of a batch, and lets in as many as may wait.
    fn arrive(&mut self, id: ConnId, verified: Verified) {
        let calling = &mut self.calling;
        let calls = count_calls(&mut self.egress.router, &verified);
        let mut left = calling.queue.arrive(id.key(), calls);
        if left == calls || calling.overflow == Overflow::Pause {
            calling.queue.leave_beyond(id.key(), calls - left);
            return self.line_up(id, Item::Frames(verified), true);
        }
        let mut rest = Some(verified);
        let mut lots = 0;
        while let Some(batch) = rest.take() {
            let (lot, frames) = next_lot(&mut self.egress.router, &batch, &mut left);
            lots += 1;
            if lot == Lot::Beyond || lots > LOTS {
                // What is behind it waits with it, but for what is let in already.
                let calls = count_calls(&mut self.egress.router, &batch);
                self.calling.queue.leave_beyond(id.key(), calls - left);
                return self.line_up(id, Item::Frames(batch), true);
            }
            let (part, others) = batch.split(frames);
            rest = others;
            match lot {
                Lot::Refuse => self.refuse_busy(id, part),
                Lot::Stay | Lot::Beyond => self.line_up(id, Item::Frames(part), true),
            }
        }
    }

    fn refuse_busy(&mut self, id: ConnId, mut refused: Verified) {
        let room = refused.take_replies();
        let mut replies = Vec::new();
        for frame in refused.iter() {
            self.conns.count_rejected(&mut self.ctx, id, Status::Busy);
            let reason = "as many frames wait for a handler as may: send it again later";
            encode_reply(frame.header.id, Status::Busy, reason, &self.ctx.config.scheme, &mut replies);
        }
        self.acks.send_all(&mut self.conns, id, replies, room, None);
    }

    /// What is first in line and no call takes effect, or its place behind the calls that have begun, where it may.
    pub(in crate::gateway) fn stage_on(&mut self, id: ConnId) {
        while !self.conns[id].order.is_overtaken()
            && let Some(stage) = self.conns[id].order.stage.as_mut()
            && let Some(first) = stage.waiting.pop_front()
        {
            let (Item::Frames(verified), true) = (&first.item, first.called) else {
                self.step(id, first.item);
                continue;
            };
            let others =
                verified.iter().take_while(|frame| !is_call(&mut self.egress.router, frame)).count() as u32;
            if others == 0 {
                stage.waiting.push_front(first);
                break;
            }
            let part = stage.part(first, others);
            self.step(id, part);
        }
        self.conns.tidy_stage(id);
    }

    /// Frames that are no calls, or the end of the stream, in their turn.
    fn step(&mut self, id: ConnId, item: Item) {
        self.calling.lined_up -= item.frames();
        let stage = self.stage_of(id);
        if stage.steps.is_empty() {
            return self.take_effect(id, item);
        }
        let seq = stage.steps.begin();
        stage.controls += 1;
        let charge = self.ctx.memory.charge(Share::Small, STEP);
        self.stage_of(id).steps.hold(seq, Step::Item(Box::new(item), charge));
    }

    fn take_effect(&mut self, id: ConnId, item: Item) {
        self.unstage(id, item.frames());
        self.effect_of(id, item);
    }

    /// Frames leave the stage: they have their fate, or get it now.
    pub(in crate::gateway) fn unstage(&mut self, id: ConnId, frames: u64) {
        self.stage_of(id).frames -= frames;
        self.calling.staged -= frames;
    }

    /// A call was answered: its frame takes effect in its turn, and then whatever is next in the order.
    pub(in crate::gateway) fn complete(&mut self, id: ConnId, seq: u64, passed: Passed) {
        let stage = self.stage_of(id);
        if stage.steps.is_next(seq) {
            stage.steps.done(seq);
            self.unstage(id, 1);
            self.distribute_answered(id, passed);
        } else {
            stage.answered += passed.len();
            stage.steps.hold(seq, Step::Answered(Box::new(passed)));
        }
        self.release_steps(id);
    }

    /// A call is over, and its frame took effect or has none: whatever is next in the order takes effect.
    pub(in crate::gateway) fn complete_at_once(&mut self, id: ConnId, seq: u64) {
        self.stage_of(id).steps.done(seq);
        self.release_steps(id);
    }

    fn release_steps(&mut self, id: ConnId) {
        let was_overtaken = self.conns[id].order.is_overtaken();
        while let Some(stage) = self.conns[id].order.stage.as_mut()
            && let Some(step) = stage.steps.release()
        {
            match step {
                Step::Item(item, _charge) => {
                    stage.controls -= 1;
                    self.take_effect(id, *item);
                }
                Step::Answered(passed) => {
                    stage.answered -= passed.len();
                    self.unstage(id, 1);
                    self.distribute_answered(id, *passed);
                }
            }
        }
        if was_overtaken {
            self.conns.mark_runnable(id);
        }
        self.resume_calls_of(id);
        self.stage_on(id);
    }

    /// It may be that the connection's calls may begin again.
    pub(in crate::gateway) fn resume_calls_of(&mut self, id: ConnId) {
        if self.calling.answers() && self.conns[id].may_call() {
            self.calling.queue.resume(id.key());
        }
    }

    /// A connection could not be read. If that was for want of room for its calls, it waits for that.
    pub(in crate::gateway) fn wait_for_calls(&mut self, id: ConnId) {
        if self.calling.answers() && !self.calling.may_read(id) && self.conns[id].state == State::Open {
            self.calling.queue.wait_to_read(id.key());
        }
    }

    /// The stage of a connection that has something there.
    fn stage_of(&mut self, id: ConnId) -> &mut Stage {
        self.conns[id].order.stage.as_mut().expect("what was released and is not over waits in a stage")
    }
}

impl<S> Conns<S> {
    /// Lets go of a stage that holds nothing.
    pub fn tidy_stage(&mut self, id: ConnId) {
        let conn = &mut self[id];
        if conn.order.stage.as_ref().is_some_and(|stage| stage.is_empty() && !stage.over) {
            conn.order.stage = None;
        }
        self.mark_ending(id);
    }
}

/// Whether a frame is one for a handler: what is refused, or is about the connection itself, is not.
fn is_call(router: &mut Router, frame: &Checked<'_>) -> bool {
    let whole = frame.header.part_count < 2 && frame.header.part_index == 0;
    frame.intact && frame.header.kind == Kind::Data && whole && router.route(frame.topic).is_ok()
}

fn count_calls(router: &mut Router, verified: &Verified) -> usize {
    verified.iter().filter(|frame| is_call(router, frame)).count()
}

/// What becomes of the first frames of a batch, and of how many, where `left` calls are let in.
fn next_lot(router: &mut Router, batch: &Verified, left: &mut usize) -> (Lot, u32) {
    let mut first = None;
    let mut frames = 0;
    for frame in batch.iter() {
        let is_call = is_call(router, &frame);
        let lot = match (is_call, *left, frame.header.want_reply) {
            (false, ..) | (true, 1.., _) => Lot::Stay,
            (true, 0, true) => Lot::Refuse,
            (true, 0, false) => Lot::Beyond,
        };
        if *first.get_or_insert(lot) != lot {
            break;
        }
        *left -= usize::from(is_call && lot == Lot::Stay);
        frames += 1;
    }
    (first.expect("a batch holds frames"), frames)
}
