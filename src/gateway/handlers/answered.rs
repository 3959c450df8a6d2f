//! What becomes of a frame that a handler has answered.

use std::borrow::Cow;
use std::fmt::Display;

use log::Level;

use super::drafts::Purpose;
use super::waits::{goes_nowhere, is_next, waiting_bytes};
use super::{Call, Downstream, Handlers};
use crate::core::limits::{BUFFER_OVERHEAD, REPLY_MAX, STEP};
use crate::core::memory::{Buffer, Share};
use crate::core::units::plain;
use crate::gateway::acks::tickets::Ticket;
use crate::gateway::conn::stage::Passed;
use crate::gateway::ctx::Ctx;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::egress::replies::encode_reply;
use crate::gateway::observe::notices::Notice;
use crate::runtime::handler::Performed;
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{
    Body, Checked, DIGEST, Draft, HEADER, Header, Kind, Status, TopicError, Verified, check_topic,
};

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

impl<N: Net> Handlers<N> {
    /// Takes what a handler wrote as the answer to one of its calls.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn take_answer<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        slot: usize,
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
        let running = &mut self.processes[slot];
        let was_first = running.calls.first_key_value().is_some_and(|(&first, _)| first == header.id);
        let Some(mut call) = running.calls.remove(&header.id) else {
            return Err(format!("answered a call {} that it does not have", header.id));
        };
        if was_first {
            running.first_since = to.ctx.now;
        }
        running.alone = false;
        running.answered += 1;
        self.processes.count_answer(slot);
        let Some(body) = self.find_room(to, &mut call, frame, body) else {
            self.put_back(to.ctx, call, header.frame_len());
            return Ok(());
        };
        self.done(&mut call);
        self.count_answer(to.ctx, &answer);
        if let Answer::Refuse(_) = answer {
            let payload = HEADER + usize::from(header.topic_len);
            say_refused(to, &call, || body.bytes(payload..payload + header.payload_len as usize));
        }
        match draft_of(to.ctx, &call, answer, frame, &body) {
            Ok(Some(draft)) => {
                self.numbers += 1;
                let purpose = Purpose::Answer(Box::new(call), answer);
                self.draft(to, self.numbers, purpose, draft);
            }
            Ok(None) => match answer {
                Answer::Refuse(status) => self.refuse_call(to, call, status, ""),
                Answer::Pass | Answer::Replace => self.pass(to, call, None, None),
            },
            Err(wrong) => {
                let reason = format_args!("a handler's answer: {wrong}");
                self.refuse_call(to, call, Status::Rejected, reason);
            }
        }
        Ok(())
    }

    /// Sees to it that an answer can wait for its turn, if it must: in a buffer of its own, so that it keeps no others.
    fn find_room<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        call: &mut Call,
        answer: &Checked<'_>,
        body: Body,
    ) -> Option<Body> {
        let bytes = waiting_bytes(call, &answer.header);
        let frame = call.frame.iter().next().expect("it is one frame");
        let topic = if answer.header.kind == Kind::Data { answer.topic } else { frame.topic };
        if bytes == 0 {
            return Some(body);
        }
        self.learn_length(bytes);
        if is_next(to.conns, call.conn, call.seq) || goes_nowhere(to.conns, to.distribution, call.conn, topic)
        {
            return Some(body);
        }
        if !self.may_keep(&to.ctx.memory, bytes) {
            return None;
        }
        call.waiting = Some(to.ctx.memory.wait(bytes));
        Some(if body.keeps_others() { body.copied(&to.ctx.memory, Share::Answer) } else { body })
    }

    /// A worker has called the handler in Rust.
    pub(super) fn function_answered<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        number: u64,
        performed: Performed,
    ) {
        let Some(call) = self.with_workers.remove(number) else { return };
        let Some(mut call) = call.map(|call| *call) else {
            // It was refused when it was late.
            return self.queue.done();
        };
        self.done(&mut call);
        let item = |made: Verified| OutboxItem::Frame(made.body().clone());
        match performed {
            Performed::Pass(reply) => {
                self.count_answer(to.ctx, &Answer::Pass);
                self.pass(to, call, None, reply.map(item));
            }
            Performed::Replace(made) => {
                self.count_answer(to.ctx, &Answer::Replace);
                self.pass(to, call, Some(made), None);
            }
            Performed::Refuse(status, reply) => {
                self.count_answer(to.ctx, &Answer::Refuse(status));
                if let Some(reply) = &reply {
                    say_refused(to, &call, || reply.body().bytes(HEADER..reply.len() - DIGEST));
                }
                // What Rust gives is a reason for people: no frame that a device would understand.
                let reply = match call.frame.is_answered_by_number() {
                    true => self.small_reply(to.ctx, &mut call, status, ""),
                    false => reply.map(item),
                };
                self.refused(to, call, status, reply);
            }
        }
    }

    fn count_answer<P: Pool>(&mut self, ctx: &mut Ctx<N, P>, answer: &Answer) {
        let calls = &mut ctx.ledger.calls;
        calls.answered += 1;
        calls.replaced += u64::from(matches!(answer, Answer::Replace));
        calls.refused += u64::from(matches!(answer, Answer::Refuse(_)));
    }

    /// A reply that has room in what was set aside for it, if the call asked for one.
    pub(super) fn small_reply<P: Pool>(
        &mut self,
        ctx: &mut Ctx<N, P>,
        call: &mut Call,
        status: Status,
        reason: &str,
    ) -> Option<OutboxItem> {
        let mut charge = call.frame.take_replies().filter(|_| call.header.want_reply)?;
        let mut bytes = Vec::with_capacity(REPLY_MAX);
        encode_reply(call.header.id, status, reason, &ctx.config.scheme, &mut bytes);
        charge.resize(bytes.len() + BUFFER_OVERHEAD);
        Some(OutboxItem::Replies(Buffer::new(bytes.into(), charge)))
    }

    /// The frame of a call, or another in its place, is distributed in its turn; at once where nobody would
    /// get it, so that its publisher does not wait for calls that began before it.
    pub(super) fn pass<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        mut call: Call,
        instead: Option<Verified>,
        reply: Option<OutboxItem>,
    ) {
        let (id, seq) = (call.conn, call.seq);
        if let Some(stored) =
            instead.as_ref().and_then(|made| to.distribution.acks.take_stored_before(made, to.ctx.now))
        {
            call.before = call.before.with(stored);
            if to.distribution.acks.are_all_in(call.before) {
                let digest = call.digest;
                digest.into_iter().for_each(|digest| to.distribution.acks.remember(to.ctx, digest));
                self.refuse_call(to, call, Status::Duplicate, "");
                return self.refuse_duplicates(to, digest, Status::Duplicate, "");
            }
        }
        let written =
            instead.as_ref().map_or(0, Verified::len) + reply.as_ref().map_or(0, OutboxItem::reply_bytes);
        let frame = instead.as_ref().unwrap_or(&call.frame).iter().next().expect("it is one frame");
        let at_once = goes_nowhere(to.conns, to.distribution, id, frame.topic);
        let waits = !at_once && !is_next(to.conns, id, seq);
        // What a worker made is there already. So is what nobody was to get when it was answered.
        let bytes = STEP + if written > 0 { written + BUFFER_OVERHEAD } else { 0 };
        let waiting = call.waiting.take().or_else(|| waits.then(|| to.ctx.memory.wait(bytes)));
        let reply = reply.or_else(|| self.small_reply(to.ctx, &mut call, Status::Ok, ""));
        let Call { digest, frame, before, mut charge, .. } = call;
        charge.resize(STEP);
        let ticket = digest.and_then(|digest| to.distribution.acks.promise(digest, before, to.ctx.now));
        let frame = instead.unwrap_or(frame);
        let (_waiting, _charge) = (waiting.filter(|_| waits), waits.then_some(charge));
        let passed = Passed { frame, reply, ticket, before, _waiting, _charge };
        if let Some(digest) = digest {
            to.distribution.acks.remember(to.ctx, digest);
        }
        if let Some(ticket) = ticket {
            // Before it is distributed, or not: that may end the ticket.
            for duplicate in self.take_duplicates(digest) {
                self.answer_duplicate(to, duplicate, ticket);
            }
        }
        if at_once {
            to.conns.unstage(id, 1);
            to.distribution.distribute_answered(to.conns, to.ctx, id, passed);
            self.complete_at_once(to, id, seq);
        } else {
            self.complete(to, id, seq, passed);
        }
        self.refuse_duplicates(to, digest, Status::Duplicate, "");
    }

    pub(super) fn refuse_call<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        mut call: Call,
        status: Status,
        reason: impl Display,
    ) {
        let reply = self.small_reply(to.ctx, &mut call, status, &reason.to_string());
        self.refused(to, call, status, reply);
    }

    /// The frame of a call is not distributed.
    pub(super) fn refused<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        call: Call,
        status: Status,
        reply: Option<OutboxItem>,
    ) {
        let Call { conn: id, seq, digest, .. } = call;
        to.conns.count_rejected(to.ctx, id, status);
        to.conns.unstage(id, 1);
        if let Some(reply) = reply {
            to.conns.push_reply(id, reply);
        }
        self.complete_at_once(to, id, seq);
        if status != Status::Duplicate {
            self.refuse_duplicates(to, digest, status, "the same frame was refused just now");
        }
    }

    fn refuse_duplicates<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        digest: Option<[u8; DIGEST]>,
        status: Status,
        reason: &str,
    ) {
        for duplicate in self.take_duplicates(digest) {
            self.refuse_call(to, duplicate, status, reason);
        }
    }

    /// The calls that wait for what becomes of the frame with their digest, which are waited for no more.
    fn take_duplicates(&mut self, digest: Option<[u8; DIGEST]>) -> Vec<Call> {
        let mut duplicates = digest.and_then(|digest| self.duplicates.remove(&digest)).unwrap_or_default();
        duplicates.iter_mut().for_each(|duplicate| duplicate.digest = None);
        duplicates
    }

    /// A copy of a frame that is not confirmed yet hears DUPLICATE when it is. Its own turn need not wait for that.
    pub(super) fn answer_duplicate<P: Pool>(
        &mut self,
        to: &mut Downstream<'_, N, P>,
        duplicate: Call,
        ticket: Ticket,
    ) {
        let Call { conn: id, seq, header, mut frame, .. } = duplicate;
        to.conns.count_rejected(to.ctx, id, Status::Duplicate);
        to.conns.unstage(id, 1);
        to.distribution.acks.reply_under(
            to.conns,
            id,
            ticket,
            &header,
            Status::Duplicate,
            &mut frame.take_replies(),
        );
        self.complete_at_once(to, id, seq);
    }
}

/// Logs why a handler refuses a frame of a layout, whose device is not told that.
fn say_refused<'a, N: Net, P: Pool>(
    to: &mut Downstream<'_, N, P>,
    call: &Call,
    reason: impl FnOnce() -> Cow<'a, [u8]>,
) {
    let Some(conn) = to.conns.get_mut(call.conn) else { return };
    let Some(dialect) = &conn.dialect else { return };
    let listener = conn.listener;
    let message = match to.ctx.notices.is_due(Notice::Refusal, listener, to.ctx.now) {
        // It is only counted.
        false => String::new(),
        true => {
            let reason = reason();
            let shown = plain(&String::from_utf8_lossy(&reason[..reason.len().min(REASON_SHOWN)]));
            let why = if shown.is_empty() { String::new() } else { format!(": {shown}") };
            format!("a handler refused a frame of {} (layout {}){why}", conn.named(), dialect.layout.name())
        }
    };
    to.ctx.notices.say_at(listener, Notice::Refusal, Level::Warn, to.ctx.now, message);
}

/// As many bytes of a reason are logged.
const REASON_SHOWN: usize = 200;

/// The frame that is made of an answer: what takes the place of the call's, or the reply to its publisher. None where
/// the answer says nothing but its status, or nobody is told; an error where it is no frame.
fn draft_of<N, P>(
    ctx: &Ctx<N, P>,
    call: &Call,
    answer: Answer,
    frame: &Checked<'_>,
    body: &Body,
) -> Result<Option<Draft>, TopicError> {
    let header = &frame.header;
    let made = match answer {
        Answer::Replace => {
            check_topic(frame.topic)?;
            // The number of an answer is nobody's id.
            let (id, want_reply) = match call.frame.is_answered_by_number() {
                true => (0, false),
                false => (call.header.id, call.header.want_reply),
            };
            Header { key: header.key, id, want_reply, ..call.header }
        }
        Answer::Pass | Answer::Refuse(_) if header.payload_len == 0 || !call.header.want_reply => {
            return Ok(None);
        }
        Answer::Pass | Answer::Refuse(_) => {
            Header { status: header.status, id: call.header.id, ..Header::new(Kind::Reply) }
        }
    };
    let mut draft = Draft::new(made, &ctx.config.scheme);
    if matches!(answer, Answer::Replace) {
        draft.topic_of(body, header);
    }
    draft.payload_of(body, header);
    Ok(Some(draft))
}
