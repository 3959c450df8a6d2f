//! Calls begin, and are given to handlers.

use std::fmt::Display;

use super::answers::ANSWERS;
use super::drafts::Purpose;
use super::{Call, Downstream, Handlers};
use crate::core::limits::{CALL, WORKERS_CALLS};
use crate::core::memory::Share;
use crate::core::units::plain;
use crate::gateway::acks::known::Seen;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::conn::{ConnId, PeerName, State};
use crate::gateway::ctx::Ctx;
use crate::gateway::ingress::order::Item;
use crate::runtime::handler::{Function, Task};
use crate::runtime::net::Net;
use crate::runtime::pool::{Job, Pool, Ticket, Work};
use crate::wire::{Draft, Header, Scheme, Status};

impl<N: Net> Handlers<N> {
    /// Begins as many calls as may be at once; those that are tried alone first. Then connections are read again for which
    /// there is room beside the frames that are in flight.
    pub fn call_next<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, open: bool, in_flight: usize) {
        if !self.answers() {
            return;
        }
        self.hash_waiting(to.ctx);
        self.call_alone(to);
        self.repeat_calls(to);
        let takes = self.function.is_some() || self.processes.is_open();
        self.queue.set_open(open && takes);
        while to.ctx.takes_jobs() && to.ctx.memory.has_room(Share::Answer, CALL) {
            if !self.may_begin(&to.ctx.memory) {
                break;
            }
            let slot = match self.function {
                Some(_) if self.with_workers.len() < WORKERS_CALLS => None,
                Some(_) => break,
                None => match self.processes.slot(!self.retries.alone.is_empty()) {
                    Some(slot) => Some(slot),
                    // Among those that are tried alone may be none that a handler can answer.
                    None if self.processes.tries() => None,
                    None => break,
                },
            };
            let ahead = self.may_begin_ahead(&to.ctx.memory);
            let ready = |key| {
                let conn = &to.conns[ConnId::from_key(key)];
                conn.may_call() && (ahead || conn.order.has_nothing_called())
            };
            let Some(key) = self.queue.begin(ready) else { break };
            self.begin_call(to, ConnId::from_key(key), slot);
        }
        let mut woken = Vec::new();
        self.queue.wake(in_flight, |key| {
            let id = ConnId::from_key(key);
            woken.push(id);
            // One that ends, or of which nothing is left to read, would not use the room that another waits for.
            to.conns[id].reading.readable && to.conns[id].state == State::Open
        });
        woken.into_iter().for_each(|id| to.conns.mark_runnable(id));
    }

    /// The connection's next call takes its place in the order, and goes to a handler.
    fn begin_call<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, id: ConnId, slot: Option<usize>) {
        let conn = &mut to.conns[id];
        let stage = conn.order.stage.as_mut().expect("its calls wait there");
        let first = stage.waiting.pop_front().expect("as many as are counted");
        let Item::Frames(frame) = stage.part(first, 1) else { unreachable!("a call is first in line") };
        conn.traffic.publishes = true;
        let ahead = !stage.steps.is_empty();
        let seq = stage.steps.begin();
        to.conns.leave_line(1);
        let checked = frame.iter().next().expect("it is one frame");
        let (header, digest) =
            (checked.header, to.distribution.acks.knows_duplicates().then_some(checked.digest));
        let begun = self.count();
        let (before, waiting, failed) = (SinkSet::NONE, None, 0);
        let charge = to.ctx.memory.charge(Share::Answer, CALL);
        let mut call = Call {
            conn: id,
            seq,
            header,
            frame,
            digest,
            begun,
            ahead: false,
            before,
            waiting,
            failed,
            charge,
        };
        if let Some(duplicates) = digest.and_then(|digest| self.duplicates.get_mut(&digest)) {
            self.queue.done();
            // It takes nothing of what is kept for the answer that it waits for.
            call.waiting = Some(to.ctx.memory.wait(CALL));
            duplicates.push(call);
            return self.stage_on(to, id);
        }
        match digest.map_or(Seen::Never, |digest| to.distribution.acks.seen(&digest, to.ctx.now)) {
            Seen::Pending(ticket) => {
                self.end_call_early();
                self.answer_duplicate(to, call, ticket);
            }
            Seen::Done => {
                self.end_call_early();
                self.refuse_call(to, call, Status::Duplicate, "");
            }
            seen @ (Seen::Never | Seen::Partly(_)) => {
                if let Seen::Partly(before) = seen {
                    call.before = before;
                }
                self.ahead += usize::from(ahead);
                call.ahead = ahead;
                if let Some(digest) = digest {
                    self.duplicates.insert(digest, Vec::new());
                }
                match (slot, &self.function) {
                    (Some(slot), _) => self.give(to, slot, call),
                    (None, Some(function)) => {
                        self.call_function(to.ctx, to.conns[id].named(), function.clone(), call)
                    }
                    (None, None) => self.retries.alone.push_front(call),
                }
            }
        }
        self.stage_on(to, id);
    }

    /// A call that was begun needs no handler.
    fn end_call_early(&mut self) {
        self.queue.done();
    }

    /// Gives calls that a handler has failed with to others, each alone.
    fn call_alone<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>) {
        while !self.retries.alone.is_empty()
            && let Some(slot) = self.processes.idle_slot()
            && let Some(call) = self.retries.alone.pop_front()
        {
            self.give(to, slot, call);
            self.processes[slot].alone = true;
        }
    }

    /// A worker calls the handler in Rust.
    fn call_function<P: Pool>(
        &mut self,
        ctx: &mut Ctx<N, P>,
        sender: PeerName,
        function: Function,
        call: Call,
    ) {
        let (payload_max, memory) = (ctx.config.payload_max, ctx.memory.clone());
        self.numbers += 1;
        let number = self.numbers;
        let (header, frame) = (call.header, call.frame.body().clone());
        let is_numbered = call.frame.is_answered_by_number();
        let PeerName { address: peer, who } = sender;
        let begun = self.with_workers.insert(number, call);
        let task =
            Box::new(Task { function, header, is_numbered, frame, who, peer, payload_max, memory, begun });
        let ticket = Ticket { conn: ANSWERS, number, since: ctx.now };
        ctx.submit(Job { ticket, work: Work::Call(task) });
    }

    pub(super) fn give<P: Pool>(&mut self, to: &mut Downstream<'_, N, P>, slot: usize, call: Call) {
        let now = to.ctx.now;
        self.numbers += 1;
        let number = self.numbers;
        let running = &mut self.processes[slot];
        // A handler checks and makes digests without any secret: its pipes are the gateway's own.
        let mut draft = Draft::new(Header { id: number, ..call.header }, &Scheme::Sha256);
        draft.topic_of(call.frame.body(), &call.header);
        draft.payload_of(call.frame.body(), &call.header);
        if running.calls.is_empty() {
            running.first_since = now;
        }
        running.calls.insert(number, call);
        let purpose = Purpose::Give(running.key);
        self.draft(to, number, purpose, draft);
    }

    /// A handler that does not start had this call: another gets it, behind those that wait for one.
    pub(super) fn try_later(&mut self, call: Call) {
        self.retries.alone.push_back(call);
    }

    /// A handler failed while it had this call: another gets it, once.
    pub(super) fn try_again<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        mut call: Call,
        why: impl Display,
    ) {
        call.failed += 1;
        if call.failed < 2 {
            to.ctx.ledger.calls.tried_again += 1;
            return self.retries.alone.push_back(call);
        }
        to.ctx.ledger.calls.failed += 1;
        self.done(&mut call);
        let peer = to.conns[call.conn].named();
        let frame = call.frame.iter().next().expect("it is one frame");
        log::warn!(
            "a second handler {why}, alone with the frame {} of {} (topic '{}', key {}, {} bytes): it is REJECTED",
            call.header.id,
            peer,
            plain(&String::from_utf8_lossy(frame.topic)),
            call.header.key,
            call.header.payload_len,
        );
        self.refuse_call(
            to,
            call,
            Status::Rejected,
            format_args!("two handlers failed with it; the second {why}"),
        );
    }
}
