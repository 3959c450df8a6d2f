//! What waits of a connection between its release and its distribution.
//!
//! Frames wait there for a handler, for room or for a digest; and replies that are not given yet are counted, so that
//! the connection stays until it is told everything. How many frames are in all stages is counted with them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::table::Conns;
use super::{Conn, ConnId};
use crate::core::limits::{CALLED_BYTES, REPLIES_UNREAD, STEP, STEPS_ASIDE};
use crate::core::memory::{self, Charge};
use crate::core::reorder::Steps;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::acks::tickets::Ticket;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::ingress::order::{Item, Order};
use crate::wire::Verified;
use crate::wire::access::Rights;

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
    /// A message whose last fragment is of this connection waits for its digest: what waits comes behind it.
    pub hashing: bool,
    /// Replies that wait for a confirmation.
    pub pending_replies: u32,
    /// Replies to parts that are held.
    pub held_replies: u32,
}

/// Frames that wait for their calls to begin.
#[derive(Debug)]
pub struct Waiting {
    pub item: Item,
    /// Its calls are counted. If not, no frame in it is one.
    pub called: bool,
    /// What of it was refused when it arrived.
    pub rights: CallRights,
    pub since: Instant,
}

/// Which frames of a connection go to a handler.
#[derive(Clone, Debug)]
pub enum CallRights {
    /// All: there is no access file.
    All,
    /// None.
    None,
    /// Those that may be published.
    These(Arc<Rights>),
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
    /// Bytes that it counts for as long as it waits for its turn.
    pub fn len(&self) -> usize {
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

    /// Their bytes.
    pub fn lined_up_bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.item.bytes()).sum()
    }

    fn is_empty(&self) -> bool {
        let has_replies = self.pending_replies > 0 || self.held_replies > 0;
        self.waiting.is_empty() && self.steps.is_empty() && !has_replies && !self.hashing
    }
}

/// Frames in all stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// All of them.
    pub frames: u64,
    /// Those whose turn to be called, or to take effect, has not come.
    pub waiting: u64,
}

impl<S> Conns<S> {
    /// Frames join a connection's stage. `called` if some of them are calls, and counted.
    pub fn line_up(&mut self, id: ConnId, item: Item, called: bool, now: Instant) {
        let frames = item.frames();
        let rights = if called { self[id].rights() } else { CallRights::All };
        let stage = self[id].order.stage.get_or_insert_default();
        stage.frames += frames;
        stage.waiting.push_back(Waiting { item, called, rights, since: now });
        self.staged.frames += frames;
        self.staged.waiting += frames;
    }

    /// The same, before what waits.
    pub fn line_up_first(&mut self, id: ConnId, item: Item, now: Instant) {
        self.line_up(id, item, false, now);
        self.stage_mut(id).waiting.rotate_right(1);
    }

    /// The turn of frames that waited has come, and they are still in the stage.
    pub fn leave_line(&mut self, frames: u64) {
        self.staged.waiting -= frames;
    }

    /// Frames leave the stage: they have their fate, or get it now.
    pub fn unstage(&mut self, id: ConnId, frames: u64) {
        self.stage_mut(id).frames -= frames;
        self.staged.frames -= frames;
    }

    /// The stage of a connection that has something there.
    pub fn stage_mut(&mut self, id: ConnId) -> &mut Stage {
        self[id].order.stage.as_mut().expect("what was released and is not over waits in a stage")
    }

    /// Lets go of a stage that holds nothing.
    pub fn tidy_stage(&mut self, id: ConnId) {
        let conn = &mut self[id];
        if conn.order.stage.as_ref().is_some_and(|stage| stage.is_empty() && !stage.over) {
            conn.order.stage = None;
        }
        self.mark_ending(id);
    }
}

impl<S> Conn<S> {
    /// Which of its frames go to a handler now.
    pub fn rights(&self) -> CallRights {
        match &self.standing {
            None => CallRights::All,
            Some(standing) => {
                standing.rights().map_or(CallRights::None, |rights| CallRights::These(rights.clone()))
            }
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Fault;

    #[test]
    fn frames_in_stages_are_counted_until_they_leave_or_their_connection_is_no_more() {
        let (mut conns, now) = (Conns::new(), Instant::now());
        let peer = ([127, 0, 0, 1], 1).into();
        let mut ids = [0, 1].map(|_| conns.insert(peer, true, now, |_| Ok::<_, ()>(())).unwrap());
        for id in ids {
            for number in 0..3 {
                conns.line_up(id, Item::Fault(Fault::Reply { id: number }), false, now);
            }
        }
        conns.line_up_first(ids[0], Item::Fault(Fault::Reply { id: 9 }), now);
        assert_eq!(conns.staged(), Staged { frames: 7, waiting: 7 });
        let first = conns.stage_mut(ids[0]).waiting.pop_front().unwrap();
        assert!(matches!(first.item, Item::Fault(Fault::Reply { id: 9 })));
        conns.leave_line(1);
        assert_eq!(conns.staged(), Staged { frames: 7, waiting: 6 }, "its turn has come");
        conns.unstage(ids[0], 1);
        assert_eq!(conns.staged(), Staged { frames: 6, waiting: 6 });
        ids.reverse();
        for (id, left) in ids.into_iter().zip([3, 0]) {
            assert!(conns.remove(id).is_some());
            assert_eq!(conns.staged(), Staged { frames: left, waiting: left });
        }
    }

    #[test]
    fn a_stage_is_kept_as_long_as_something_of_it_is_waited_for() {
        let (mut conns, now) = (Conns::new(), Instant::now());
        let peer = ([127, 0, 0, 1], 1).into();
        let id = conns.insert(peer, true, now, |_| Ok::<_, ()>(())).unwrap();
        let keeps: [fn(&mut Stage, bool); 4] = [
            |stage, on| stage.pending_replies = u32::from(on),
            |stage, on| stage.held_replies = u32::from(on),
            |stage, on| stage.hashing = on,
            |stage, on| stage.over = on,
        ];
        for keep in keeps {
            keep(conns[id].order.stage.get_or_insert_default(), true);
            conns.tidy_stage(id);
            keep(conns.stage_mut(id), false);
            conns.tidy_stage(id);
            assert!(conns[id].order.stage.is_none());
        }
    }
}
