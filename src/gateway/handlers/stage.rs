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

use super::{Downstream, Handlers};
use crate::core::limits::STEP;
use crate::core::memory::Share;
use crate::gateway::conn::stage::{CallRights, Passed, Step};
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId, State};
use crate::gateway::ctx::Ctx;
use crate::gateway::egress::replies::encode_reply;
use crate::gateway::ingress::order::Item;
use crate::gateway::{BadDigestPolicy, Overflow};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Checked, Kind, Status, Verified, check_topic};

/// 16 times that a batch is parted where calls that are told BUSY and frames that are no calls take turns: what is
/// behind them waits to be let in.
const SPLITS_MAX: usize = 16;

/// What becomes of a run of frames that arrive when no more calls may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// Let in, or no calls.
    LetIn,
    /// Told to come again.
    Busy,
    /// Could not be told.
    Beyond,
}

impl<N: Net> Handlers<N> {
    /// What was released joins its connection's stage.
    pub fn stage<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId, item: Item) {
        let conn = &to.conns[id];
        let over = conn.order.discard || conn.order.stage.as_ref().is_some_and(|stage| stage.over);
        match item {
            Item::Frames(verified) if !over => {
                let (frames, ends) = frames_to_the_end(&mut to.conns[id], to.ctx, &verified);
                let (first, rest) = verified.split(frames);
                self.arrive(to, id, first);
                if let Some(stage) = to.conns[id].order.stage.as_mut() {
                    stage.over = ends;
                }
                if let Some(rest) = rest {
                    to.conns.line_up(id, Item::Frames(rest), false, to.ctx.now);
                }
            }
            item => to.conns.line_up(id, item, false, to.ctx.now),
        }
        self.stage_on(to, id);
    }

    /// Counts the calls of a batch, and lets in as many as may wait.
    fn arrive<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId, verified: Verified) {
        let rights = to.conns[id].rights();
        let calls = count_calls(&verified, &rights);
        let mut left = self.queue.arrive(id.key(), calls);
        if left == calls || self.overflow == Overflow::Pause {
            self.queue.leave_beyond(id.key(), calls - left);
            return to.conns.line_up(id, Item::Frames(verified), true, to.ctx.now);
        }
        let mut rest = Some(verified);
        let mut splits = 0;
        while let Some(batch) = rest.take() {
            let (arrival, frames) = next_arrival(&batch, &rights, &mut left);
            splits += 1;
            if arrival == Arrival::Beyond || splits > SPLITS_MAX {
                // What is behind it waits with it, but for what is let in already.
                let calls = count_calls(&batch, &rights);
                self.queue.leave_beyond(id.key(), calls - left);
                return to.conns.line_up(id, Item::Frames(batch), true, to.ctx.now);
            }
            let (part, others) = batch.split(frames);
            rest = others;
            match arrival {
                Arrival::Busy => self.refuse_busy(to, id, part),
                Arrival::LetIn | Arrival::Beyond => {
                    to.conns.line_up(id, Item::Frames(part), true, to.ctx.now)
                }
            }
        }
    }

    fn refuse_busy<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId, mut refused: Verified) {
        let room = refused.take_replies();
        let mut replies = Vec::new();
        for frame in refused.iter() {
            to.conns.count_rejected(to.ctx, id, Status::Busy);
            let reason = "as many frames wait for a handler as may: send it again later";
            encode_reply(frame.header.id, Status::Busy, reason, &to.ctx.config.scheme, &mut replies);
        }
        to.distribution.acks.send_all(to.conns, id, replies, room, None);
    }

    /// What is first in line and no call takes effect, or its place behind the calls that have begun, where it may.
    pub(super) fn stage_on<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId) {
        while !to.conns[id].order.is_overtaken()
            && let Some(stage) = to.conns[id].order.stage.as_mut()
            && let Some(first) = stage.waiting.pop_front()
        {
            let (Item::Frames(verified), true) = (&first.item, first.called) else {
                self.step(to, id, first.item);
                continue;
            };
            let others = verified.iter().take_while(|frame| !is_call(frame, &first.rights)).count() as u32;
            if others == 0 {
                stage.waiting.push_front(first);
                break;
            }
            let part = stage.part(first, others);
            self.step(to, id, part);
        }
        to.conns.tidy_stage(id);
    }

    /// Frames that are no calls, or the end of the stream, in their turn.
    fn step<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId, item: Item) {
        to.conns.leave_line(item.frames());
        let stage = to.conns.stage_mut(id);
        if stage.steps.is_empty() {
            return self.take_effect(to, id, item);
        }
        let seq = stage.steps.begin();
        stage.controls += 1;
        let charge = to.ctx.memory.charge(Share::Small, STEP);
        to.conns.stage_mut(id).steps.hold(seq, Step::Item(Box::new(item), charge));
    }

    fn take_effect<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId, item: Item) {
        to.conns.unstage(id, item.frames());
        to.distribution.take_effect(to.conns, to.ctx, id, item);
    }

    /// A call was answered: its frame takes effect in its turn, and then whatever is next in the order.
    pub(super) fn complete<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        id: ConnId,
        seq: u64,
        passed: Passed,
    ) {
        let stage = to.conns.stage_mut(id);
        if stage.steps.is_next(seq) {
            stage.steps.done(seq);
            to.conns.unstage(id, 1);
            to.distribution.distribute_answered(to.conns, to.ctx, id, passed);
        } else {
            stage.answered += passed.len();
            stage.steps.hold(seq, Step::Answered(Box::new(passed)));
        }
        self.release_steps(to, id);
    }

    /// A call is over, and its frame took effect or has none: whatever is next in the order takes effect.
    pub(super) fn complete_at_once<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId, seq: u64) {
        to.conns.stage_mut(id).steps.done(seq);
        self.release_steps(to, id);
    }

    fn release_steps<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId) {
        let was_overtaken = to.conns[id].order.is_overtaken();
        while let Some(stage) = to.conns[id].order.stage.as_mut()
            && let Some(step) = stage.steps.release()
        {
            match step {
                Step::Item(item, _charge) => {
                    stage.controls -= 1;
                    self.take_effect(to, id, *item);
                }
                Step::Answered(passed) => {
                    stage.answered -= passed.len();
                    to.conns.unstage(id, 1);
                    to.distribution.distribute_answered(to.conns, to.ctx, id, *passed);
                }
            }
        }
        if was_overtaken {
            to.conns.mark_runnable(id);
        }
        self.resume_calls_of(to.conns, id);
        self.stage_on(to, id);
    }

    /// It may be that the connection's calls may begin again.
    pub fn resume_calls_of<S>(&mut self, conns: &Conns<S>, id: ConnId) {
        if self.answers() && conns[id].may_call() {
            self.queue.resume(id.key());
        }
    }

    /// A connection could not be read. If that was for want of room for its calls, it waits for that.
    pub fn wait_for_calls<S>(&mut self, conns: &Conns<S>, id: ConnId, in_flight: usize) {
        if self.answers() && !self.may_read(&conns[id], in_flight) && conns[id].state == State::Open {
            self.queue.wait_to_read(id.key());
        }
    }
}

/// How many frames of a batch there are up to one that ends the connection, and whether there is one.
fn frames_to_the_end<N: Net, P>(
    conn: &mut Conn<N::Socket>,
    ctx: &Ctx<N, P>,
    verified: &Verified,
) -> (u32, bool) {
    for (index, frame) in (1..).zip(verified.iter()) {
        if frame.intact && conn.is_refused() {
            return (index, true);
        }
        let ends = !conn.order.authorized || ctx.config.on_bad_digest == BadDigestPolicy::Close;
        if !frame.intact && ends {
            return (index, true);
        }
        // A peer that sent one intact frame knows the secret.
        conn.order.authorized |= frame.intact;
    }
    (verified.frames(), false)
}

/// Whether a frame is one for a handler: what is refused, or is about the connection itself, is not. What is refused for
/// want of rights is known when it arrives, and stays so: it was counted by that.
fn is_call(frame: &Checked<'_>, rights: &CallRights) -> bool {
    let whole = frame.header.part_count < 2 && frame.header.part_index == 0;
    let is_data = frame.intact && frame.header.kind == Kind::Data && whole;
    let Some(topic) = is_data.then(|| check_topic(frame.topic).ok()).flatten() else { return false };
    match rights {
        CallRights::All => true,
        CallRights::None => false,
        CallRights::These(rights) => rights.may_publish(topic),
    }
}

fn count_calls(verified: &Verified, rights: &CallRights) -> usize {
    verified.iter().filter(|frame| is_call(frame, rights)).count()
}

/// What becomes of the first frames of a batch, and of how many, where `left` calls are let in.
fn next_arrival(batch: &Verified, rights: &CallRights, left: &mut usize) -> (Arrival, u32) {
    let mut first = None;
    let mut frames = 0;
    for frame in batch.iter() {
        let is_call = is_call(&frame, rights);
        let arrival = match (is_call, *left, frame.header.want_reply) {
            (false, ..) | (true, 1.., _) => Arrival::LetIn,
            (true, 0, true) => Arrival::Busy,
            (true, 0, false) => Arrival::Beyond,
        };
        if *first.get_or_insert(arrival) != arrival {
            break;
        }
        *left -= usize::from(is_call && arrival == Arrival::LetIn);
        frames += 1;
    }
    (first.expect("a batch holds frames"), frames)
}
