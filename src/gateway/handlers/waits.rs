//! Answers that come before their turn.
//!
//! A frame is distributed behind those that came before it, so its answer may have to wait for theirs. What waits is
//! bounded, and beside it there is always room for one more answer, the largest (see `memory`). So that nothing is
//! lost for want of room:
//!
//! - A call that is not next in its connection's order begins only if an answer as long as those before it would
//!   find room to wait ([`Handlers::may_begin_ahead`]).
//! - An answer that must wait and finds no room stays in its handler's pipe, which pushes back ([`Handlers::may_read_answer`]).
//! - A pipe holds answers in the order in which its handler wrote them, and the one that the others wait for may be
//!   behind one that may not be read. So the handler that has the oldest call is read whatever it writes. What finds
//!   no room there is let go, and its frame is given to a handler once more when its turn has come
//!   ([`Handlers::put_back`]). Nothing less will do: a handler may answer a hundred frames in the reverse order, each with
//!   the largest payload.
//!
//! Nobody waits for ever. A call waits for earlier calls of its connection, and a copy of a frame for the call of
//! that frame; all of them began before it. So the oldest call that is not answered waits for no other: its turn has
//! come, its answer finds room, and its handler is read, or fails. Then another call is the oldest. Room is asked
//! for what waits alone: what is with the workers or in an outbox goes without any call.

use super::{Call, Downstream, Handlers};
use crate::core::limits::{BUFFER_OVERHEAD, CALL, STEP};
use crate::core::memory::Memory;
use crate::gateway::conn::ConnId;
use crate::gateway::conn::table::Conns;
use crate::gateway::ctx::Ctx;
use crate::gateway::distribution::Distribution;
use crate::gateway::observe::notices::Notice;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Header, Kind, Status};

/// An answer counts for the expected length of the next ones until they were shorter some 16 times.
const LENGTH_FADES: usize = 16;

impl<N: Net> Handlers<N> {
    /// Whether another call may begin: what it takes finds room, or nothing waits for anything.
    pub(super) fn may_begin(&self, memory: &Memory) -> bool {
        memory.waiting() == 0 || self.may_keep(memory, CALL)
    }

    /// Whether another call may begin that is not next in its connection's order.
    pub(super) fn may_begin_ahead(&self, memory: &Memory) -> bool {
        memory.may_wait(self.length.max(STEP).saturating_mul(self.ahead + 1))
    }

    /// Whether `bytes` more may wait, beside the steps that calls may leave behind which are not next: those are not
    /// asked for again.
    pub(super) fn may_keep(&self, memory: &Memory, bytes: usize) -> bool {
        memory.may_wait(bytes.saturating_add(self.ahead * STEP))
    }

    /// An answer came that took, or would have taken, so many bytes while it waited.
    pub(super) fn learn_length(&mut self, bytes: usize) {
        self.length = bytes.max(self.length - self.length / LENGTH_FADES);
    }

    /// A call is with nobody any more.
    pub(super) fn done(&mut self, call: &mut Call) {
        self.ahead -= usize::from(std::mem::take(&mut call.ahead));
        self.queue.done();
    }

    /// The slot whose handler is read whatever it writes: that of the oldest call. All are, where that call waits
    /// until one of them is free.
    fn is_urgent(&self, slot: usize) -> bool {
        let with_handlers = self.processes.oldest_calls().min();
        let alone = self.retries.alone.iter().map(|call| call.begun).min();
        let again = self.retries.again.iter().map(|call| call.begun).min();
        let (oldest, at) = match with_handlers {
            Some((begun, at)) => (begun, Some(at)),
            None => (u64::MAX, None),
        };
        let waits = alone.is_some_and(|begun| begun < oldest);
        let is_kept_out = again.is_some_and(|begun| begun < oldest)
            && self.processes.slot(!self.retries.alone.is_empty()).is_none();
        waits || is_kept_out || at == Some(slot) && again.is_none_or(|begun| begun > oldest)
    }
}

/// Bytes that an answer takes as long as it waits.
pub(super) fn waiting_bytes(call: &Call, answer: &Header) -> usize {
    let is_kept = match answer.kind {
        Kind::Data => true,
        _ => answer.status == Status::Ok as u16 && call.header.want_reply && answer.payload_len > 0,
    };
    // Where nothing is kept but the step, its room was asked for when the call began.
    if is_kept { answer.frame_len() + BUFFER_OVERHEAD + STEP } else { 0 }
}

impl<N: Net> Handlers<N> {
    /// Whether an answer, whose header came, may be read: it finds room, or its handler must be read.
    pub(super) fn may_read_answer<P: Pool>(
        &self,
        conns: &Conns<N::Socket>,
        ctx: &Ctx<N, P>,
        distribution: &Distribution,
        slot: usize,
        answer: &Header,
    ) -> bool {
        // What is no answer is not kept.
        let Some(call) = self.processes[slot].calls.get(&answer.id) else { return true };
        let bytes = waiting_bytes(call, answer);
        bytes == 0
            || is_next(conns, call.conn, call.seq)
            || self.may_keep(&ctx.memory, bytes)
            || reaches_nobody(conns, distribution, call.conn)
            // What is hashed may be the answer for which the others wait.
            || self.drafts.purposes.is_empty() && self.is_urgent(slot)
    }

    /// Whether an answer, whose header came, is to wait for earlier ones.
    pub(super) fn is_ahead<S>(&self, conns: &Conns<S>, slot: usize, answer: &Header) -> bool {
        let call = self.processes[slot].calls.get(&answer.id);
        call.is_some_and(|call| waiting_bytes(call, answer) > 0 && !is_next(conns, call.conn, call.seq))
    }

    /// A call was answered before its turn and the answer finds no room: it is called again in its turn.
    pub(super) fn put_back<P: Pool>(&mut self, ctx: &mut Ctx<N, P>, call: Call, bytes: usize) {
        ctx.ledger.calls.repeated += 1;
        let message = format_args!(
            "an answer of {bytes} bytes came before those to earlier frames of its connection, and {} bytes wait for \
             such already: its frame is given to a handler once more, in its turn; more --memory or a lower \
             --max-in-flight mends it",
            ctx.memory.waiting(),
        );
        ctx.notices.say(Notice::AnswersWait, log::Level::Warn, ctx.now, message);
        self.retries.again.push(call);
    }

    /// Calls once more what was put back and whose turn has come.
    pub(super) fn repeat_calls<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>) {
        while let Some((at, slot)) = self.call_to_repeat(to.conns) {
            let call = self.retries.again.swap_remove(at);
            self.give(to, slot, call);
        }
    }

    /// Whether some call could be given once more at once.
    pub(super) fn has_calls_to_repeat<S>(&self, conns: &Conns<S>) -> bool {
        self.call_to_repeat(conns).is_some()
    }

    fn call_to_repeat<S>(&self, conns: &Conns<S>) -> Option<(usize, usize)> {
        let at = self.retries.again.iter().position(|call| is_next(conns, call.conn, call.seq))?;
        Some((at, self.processes.slot(!self.retries.alone.is_empty())?))
    }
}

/// Whether everything that came before a call's frame is done.
pub(super) fn is_next<S>(conns: &Conns<S>, id: ConnId, seq: u64) -> bool {
    conns[id].order.stage.as_ref().is_none_or(|stage| stage.steps.is_next(seq))
}

/// Whether a frame would go to nobody, whenever its turn comes.
pub(super) fn goes_nowhere<S>(
    conns: &Conns<S>,
    distribution: &mut Distribution,
    id: ConnId,
    topic: &[u8],
) -> bool {
    let stage = conns[id].order.stage.as_ref();
    stage.is_some_and(|stage| stage.controls == 0) && distribution.goes_nowhere(topic)
}

/// Whether no frame of a connection goes anywhere, so that none of them waits for its turn.
fn reaches_nobody<S>(conns: &Conns<S>, distribution: &Distribution, id: ConnId) -> bool {
    let stage = conns[id].order.stage.as_ref();
    distribution.reaches_nobody() && stage.is_none_or(|stage| stage.controls == 0)
}
