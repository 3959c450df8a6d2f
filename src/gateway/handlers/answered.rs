//! What becomes of a frame that a handler has answered.

use std::fmt::Display;

use crate::core::limits::{BUFFER_OVERHEAD, REPLY_MAX, STEP};
use crate::core::memory::{Buffer, Share};
use crate::gateway::Gate;
use crate::gateway::acks::tickets::Ticket;
use crate::gateway::conn::ConnId;
use crate::gateway::egress::distribute::encode_reply;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::handlers::calling::Call;
use crate::gateway::handlers::drafts::Purpose;
use crate::gateway::handlers::stage::Passed;
use crate::gateway::handlers::waits::waiting_bytes;
use crate::runtime::handler::Performed;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Body, Checked, DIGEST, Draft, Header, Kind, Status, Verified, check_topic};

/// How a handler answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// The frame goes on as it was; the draft is the reply to its publisher.
    Pass,
    /// The draft is the frame that goes on in its place.
    Replace,
    /// Refused; the draft is the reply.
    Refuse(Status),
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// Takes what a handler wrote as the answer to one of its calls.
    ///
    /// # Errors
    /// Why it is none.
    pub(in crate::gateway) fn take_answer(
        &mut self,
        seat: usize,
        frame: &Checked<'_>,
        body: Body,
    ) -> Result<(), String> {
        let header = frame.header;
        if !frame.intact {
            return Err("wrote an answer with a wrong digest".into());
        }
        let answer = match (header.kind, Status::from_u16(header.status)) {
            (Kind::Data, _) => Answer::Replace,
            (Kind::Reply, Some(Status::Ok)) => Answer::Pass,
            (Kind::Reply, Some(status @ (Status::Rejected | Status::Busy))) => Answer::Refuse(status),
            (Kind::Reply, _) => return Err(format!("answered with the status {}", header.status)),
            (kind, _) => return Err(format!("wrote a {kind:?}, which is no answer")),
        };
        let calling = &mut self.calling;
        let Some(running) = calling.handlers.running(seat) else { return Ok(()) };
        let was_first = running.calls.first_key_value().is_some_and(|(&first, _)| first == header.id);
        let Some(mut call) = running.calls.remove(&header.id) else {
            return Err(format!("answered a call {} that it does not have", header.id));
        };
        if was_first {
            running.first_since = self.ctx.now;
        }
        running.alone = false;
        running.answered += 1;
        calling.handlers.count_answer(seat);
        let Some(body) = self.find_room(&mut call, &header, frame.topic, body) else {
            self.put_back(call, header.frame_len());
            return Ok(());
        };
        self.calling.done(&mut call);
        self.count_answer(&answer);
        self.answered(call, answer, &header, frame.topic, &body);
        Ok(())
    }

    /// Sees to it that an answer can wait for its turn, if it must: in a buffer of its own, so that it keeps no others.
    fn find_room(&mut self, call: &mut Call, header: &Header, topic: &[u8], body: Body) -> Option<Body> {
        let bytes = waiting_bytes(call, header);
        let frame = call.frame.iter().next().expect("it is one frame");
        let topic = if header.kind == Kind::Data { topic } else { frame.topic };
        if bytes == 0 {
            return Some(body);
        }
        self.calling.learn_length(bytes);
        if self.is_next(call.conn, call.seq) || self.goes_nowhere(call.conn, topic) {
            return Some(body);
        }
        if !self.calling.may_keep(&self.ctx.memory, bytes) {
            return None;
        }
        call.waiting = Some(self.ctx.memory.wait(bytes));
        Some(if body.keeps_others() { body.copied(&self.ctx.memory, Share::Answer) } else { body })
    }

    /// A worker has called the handler in Rust.
    pub(in crate::gateway) fn function_answered(&mut self, number: u64, performed: Performed) {
        let calling = &mut self.calling;
        let Some(call) = calling.with_workers.remove(number) else { return };
        let Some(mut call) = call.map(|call| *call) else {
            // It was refused when it was late.
            return calling.queue.done();
        };
        calling.done(&mut call);
        let item = |made: Verified| OutboxItem::Frame(made.body().clone());
        match performed {
            Performed::Pass(reply) => {
                self.count_answer(&Answer::Pass);
                self.pass(call, None, reply.map(item));
            }
            Performed::Replace(made) => {
                self.count_answer(&Answer::Replace);
                self.pass(call, Some(made), None);
            }
            Performed::Refuse(status, reply) => {
                self.count_answer(&Answer::Refuse(status));
                self.refused(call, status, reply.map(item));
            }
        }
    }

    fn count_answer(&mut self, answer: &Answer) {
        let calls = &mut self.ctx.ledger.calls;
        calls.answered += 1;
        calls.replaced += u64::from(matches!(answer, Answer::Replace));
        calls.refused += u64::from(matches!(answer, Answer::Refuse(_)));
    }

    fn answered(&mut self, call: Call, answer: Answer, header: &Header, topic: &[u8], body: &Body) {
        let is_told = call.header.want_reply;
        let mut draft = match answer {
            Answer::Replace => {
                if let Err(wrong) = check_topic(topic) {
                    return self.refuse_call(
                        call,
                        Status::Rejected,
                        format_args!("a handler's answer: {wrong}"),
                    );
                }
                let data = Header { key: header.key, ..call.header };
                let mut draft = Draft::new(data, &self.ctx.config.scheme);
                draft.topic_of(body, header);
                draft
            }
            Answer::Pass if header.payload_len == 0 || !is_told => {
                return self.pass(call, None, None);
            }
            Answer::Refuse(status) if header.payload_len == 0 || !is_told => {
                return self.refuse_call(call, status, "");
            }
            Answer::Pass | Answer::Refuse(_) => {
                let reply = Header { status: header.status, id: call.header.id, ..Header::new(Kind::Reply) };
                Draft::new(reply, &self.ctx.config.scheme)
            }
        };
        draft.payload_of(body, header);
        let calling = &mut self.calling;
        calling.numbers += 1;
        let number = calling.numbers;
        self.draft(number, Purpose::Answer(Box::new(call), answer), draft);
    }

    /// A reply that has room in what was set aside for it, if the call asked for one.
    pub(in crate::gateway) fn small_reply(
        &mut self,
        call: &mut Call,
        status: Status,
        reason: &str,
    ) -> Option<OutboxItem> {
        let mut charge = call.frame.take_replies().filter(|_| call.header.want_reply)?;
        let mut bytes = Vec::with_capacity(REPLY_MAX);
        encode_reply(call.header.id, status, reason, &self.ctx.config.scheme, &mut bytes);
        charge.resize(bytes.len() + BUFFER_OVERHEAD);
        Some(OutboxItem::Replies(Buffer::new(bytes.into(), charge)))
    }

    /// The frame of a call, or another in its place, is distributed in its turn; at once where nobody would
    /// get it, so that its publisher does not wait for calls that began before it.
    pub(in crate::gateway) fn pass(
        &mut self,
        mut call: Call,
        instead: Option<Verified>,
        reply: Option<OutboxItem>,
    ) {
        let (id, seq) = (call.conn, call.seq);
        if let Some(stored) =
            instead.as_ref().and_then(|made| self.acks.take_stored_before(made, self.ctx.now))
        {
            call.before = call.before.with(stored);
            if call.before.covers(self.acks.sinks.all()) {
                let digest = call.digest;
                digest.into_iter().for_each(|digest| self.acks.remember(&mut self.ctx, digest));
                self.refuse_call(call, Status::Duplicate, "");
                return self.refuse_twins(digest, Status::Duplicate, "");
            }
        }
        let written =
            instead.as_ref().map_or(0, Verified::len) + reply.as_ref().map_or(0, OutboxItem::reply_bytes);
        let frame = instead.as_ref().unwrap_or(&call.frame).iter().next().expect("it is one frame");
        let at_once = self.goes_nowhere(id, frame.topic);
        let waits = !at_once && !self.is_next(id, seq);
        // What a worker made is there already. So is what nobody was to get when it was answered.
        let bytes = STEP + if written > 0 { written + BUFFER_OVERHEAD } else { 0 };
        let waiting = call.waiting.take().or_else(|| waits.then(|| self.ctx.memory.wait(bytes)));
        let reply = reply.or_else(|| self.small_reply(&mut call, Status::Ok, ""));
        let Call { digest, frame, before, mut charge, .. } = call;
        charge.resize(STEP);
        let ticket = digest.and_then(|digest| self.acks.promise(digest, before, self.ctx.now));
        let frame = instead.unwrap_or(frame);
        let (_waiting, _charge) = (waiting.filter(|_| waits), waits.then_some(charge));
        let passed = Passed { frame, reply, ticket, before, _waiting, _charge };
        if let Some(digest) = digest {
            self.acks.remember(&mut self.ctx, digest);
        }
        if let Some(ticket) = ticket {
            // Before it is distributed, or not: that may end the ticket.
            self.take_twins(digest).for_each(|twin| self.owe_twin(twin, ticket));
        }
        if at_once {
            self.unstage(id, 1);
            self.distribute_answered(id, passed);
            self.complete_at_once(id, seq);
        } else {
            self.complete(id, seq, passed);
        }
        self.refuse_twins(digest, Status::Duplicate, "");
    }

    /// Whether a frame would go to nobody, whenever its turn comes.
    fn goes_nowhere(&mut self, id: ConnId, topic: &[u8]) -> bool {
        let Some(stage) = self.conns[id].order.stage.as_ref() else { return false };
        stage.controls == 0
            && self.acks.sinks.is_empty()
            && self.egress.router.route(topic).is_ok_and(|targets| targets.is_empty())
    }

    pub(in crate::gateway) fn refuse_call(&mut self, mut call: Call, status: Status, reason: impl Display) {
        let reply = self.small_reply(&mut call, status, &reason.to_string());
        self.refused(call, status, reply);
    }

    /// The frame of a call is not distributed.
    pub(in crate::gateway) fn refused(&mut self, call: Call, status: Status, reply: Option<OutboxItem>) {
        let Call { conn: id, seq, digest, .. } = call;
        self.conns.count_rejected(&mut self.ctx, id, status);
        self.unstage(id, 1);
        if let Some(reply) = reply {
            self.conns.push_reply(id, reply);
        }
        self.complete_at_once(id, seq);
        if status != Status::Duplicate {
            self.refuse_twins(digest, status, "the same frame was refused just now");
        }
    }

    fn refuse_twins(&mut self, digest: Option<[u8; DIGEST]>, status: Status, reason: &str) {
        self.take_twins(digest).for_each(|twin| self.refuse_call(twin, status, reason));
    }

    /// The calls that wait for what becomes of the frame with their digest, which are waited for no more.
    fn take_twins(&mut self, digest: Option<[u8; DIGEST]>) -> impl Iterator<Item = Call> + use<N, P> {
        let twins = digest.and_then(|digest| self.calling.twins.remove(&digest));
        twins.into_iter().flatten().map(|mut twin| {
            twin.digest = None;
            twin
        })
    }

    /// A copy of a frame that is not confirmed yet hears DUPLICATE when it is. Its own turn need not wait for that.
    pub(in crate::gateway) fn owe_twin(&mut self, twin: Call, ticket: Ticket) {
        let Call { conn: id, seq, header, mut frame, .. } = twin;
        self.conns.count_rejected(&mut self.ctx, id, Status::Duplicate);
        self.unstage(id, 1);
        self.acks.owe_one(&mut self.conns, id, ticket, &header, Status::Duplicate, &mut frame.take_replies());
        self.complete_at_once(id, seq);
    }
}
