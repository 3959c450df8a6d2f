//! The frames of a batch, in order.

use std::rc::Rc;

use super::Distribution;
use crate::core::memory::Charge;
use crate::core::units::plain;
use crate::gateway::acks::known::Seen;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::acks::tickets::Ticket;
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId};
use crate::gateway::ctx::Ctx;
use crate::gateway::durable::Acked;
use crate::gateway::egress::replies::{encode_reply, encode_unsealed};
use crate::gateway::egress::router::Targets;
use crate::gateway::fragments::Outcome;
use crate::gateway::ingress::order::Item;
use crate::gateway::observe::notices::Notice;
use crate::gateway::{BadDigestPolicy, CloseReason};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Checked, Header, Kind, NO_SUBSCRIBER, Scheme, Status, Verified};

/// Neighbouring frames with the same subscribers, not handed over yet.
struct TargetRun {
    start: usize,
    end: usize,
    frames: u32,
    targets: Targets,
}

/// Neighbouring frames of one topic, not enqueued yet: a subscriber of several topics gets their frames as one
/// run, and a sink tells topics apart.
struct TopicRun<'a> {
    start: usize,
    end: usize,
    frames: u32,
    topic: &'a [u8],
}

/// Replies to the frames of one batch.
struct Replies<'a> {
    bytes: Vec<u8>,
    /// Those that promise nothing, where those that do wait for sinks.
    at_once: Vec<u8>,
    apart: bool,
    /// None where they are for a device, which gets what its layout says instead.
    scheme: Option<&'a Scheme>,
}

impl Replies<'_> {
    /// The frame is distributed.
    fn add_ok(&mut self, header: &Header, said: &str) {
        if header.is_answered() {
            encode_to(self.scheme, header.id, Status::Ok, said, &mut self.bytes);
        }
    }

    /// Of anything else.
    fn add(&mut self, header: &Header, status: Status, reason: &str) {
        if header.is_answered() {
            let bytes = if self.apart { &mut self.at_once } else { &mut self.bytes };
            encode_to(self.scheme, header.id, status, reason, bytes);
        }
    }
}

fn encode_to(scheme: Option<&Scheme>, id: u64, status: Status, reason: &str, out: &mut Vec<u8>) {
    match scheme {
        Some(scheme) => encode_reply(id, status, reason, scheme, out),
        None => encode_unsealed(id, status, reason, out),
    }
}

/// What became of one frame.
enum Effect {
    /// Goes to these.
    Deliver(Targets),
    /// Done, nothing is delivered.
    Control,
    /// Refused.
    Reject(Status, String),
    /// Refused as the copy of a frame that is not confirmed yet.
    Duplicate(Ticket),
    /// Was distributed before, and these sinks have it: it goes to the others.
    Again(SinkSet),
    /// A fragment.
    Fragment(Outcome),
    /// Refused, and the connection ends.
    Close(CloseReason),
    /// Refused for a reason that may be longer than what is set aside for one.
    Refuse(String),
    /// Taken; it is answered when the subscription has begun.
    Asked,
    /// Taken; it is answered when this version of the positions is on the disk.
    Acked(u64),
}

impl Effect {
    /// Its connection may not publish it.
    fn deny_topic<N: Net, P>(conn: &Conn<N::Socket>, ctx: &mut Ctx<N, P>, frame: &Checked<'_>) -> Effect {
        ctx.access.count_denied(true);
        let reason = format!("may not publish to '{}'", plain(&String::from_utf8_lossy(frame.topic)));
        let message = format_args!("{} {reason}", conn.named());
        ctx.notices.say(Notice::NotPermitted, log::Level::Warn, ctx.now, message);
        Effect::Reject(Status::Rejected, reason)
    }
}

/// Whether a connection may publish frames of a checked topic. Where a handler answers frames, those that come here were
/// looked at before and were not for it.
fn may_publish<N: Net, P>(conn: &Conn<N::Socket>, ctx: &mut Ctx<N, P>, topic: &[u8]) -> bool {
    let Some(standing) = &conn.standing else { return true };
    !ctx.config.calls() && standing.rights().is_some_and(|rights| ctx.access.may_publish(rights, topic))
}

impl Distribution {
    /// What was released takes effect, or its place behind a fragment that waits for room or for a digest.
    pub fn take_effect_in_order<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        item: Item,
    ) {
        match conns[id].order.is_parked() {
            true => conns.line_up(id, item, false, ctx.now),
            false => self.take_effect(conns, ctx, id, item),
        }
    }

    /// What is next in its connection's order takes effect.
    pub fn take_effect<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        item: Item,
    ) {
        match item {
            Item::Frames(verified) => self.distribute(conns, ctx, id, verified),
            Item::Run(_) => unreachable!("its frames are native ones when their turn has come"),
            Item::BadCheck | Item::Fault(_) if conns[id].order.discard => ctx.ledger.undelivered += 1,
            Item::Refused => {
                let conn = &mut conns[id];
                conn.order.discard = true;
                if let Some(refusal) = conn.standing.as_ref().and_then(|standing| standing.refusal()).cloned()
                {
                    conns.close(id, CloseReason::Refused(Box::new(refusal)), 0);
                }
            }
            Item::BadCheck => {
                conns.count_rejected(ctx, id, Status::BadDigest);
                conns[id].order.discard = true;
                // Its refusal, before nothing is added any more.
                conns.push_answers(id);
                conns.close(id, CloseReason::BadDigest, 0);
            }
            Item::Fault(fault) => {
                let about = fault.id();
                conns.count_rejected(ctx, id, fault.status());
                conns.close(id, CloseReason::Fault(fault), about);
            }
        }
    }

    /// Gives effect to the frames of a batch, in order.
    fn distribute<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        mut verified: Verified,
    ) {
        if self.distribute_plain(conns, ctx, id, &verified) {
            return;
        }
        let mut room = verified.take_replies();
        let mut ticket = None;
        let alone = self.acks.judges_frames();
        let config = ctx.config.clone();
        let (bytes, at_once, apart) = (Vec::new(), Vec::new(), self.acks.has_sinks());
        let scheme = conns[id].dialect.is_none().then_some(&config.scheme);
        let mut replies = Replies { bytes, at_once, apart, scheme };
        let mut run: Option<TargetRun> = None;
        let mut topic_run: Option<TopicRun<'_>> = None;
        let mut last: Option<(&[u8], Targets)> = None;
        let mut closing = None;
        // From this frame on what is behind waits; whether for room, or for a digest.
        let mut rest = None;
        for (index, frame) in (0..).zip(verified.iter()) {
            if frame.header.is_part() {
                // Its message may be complete, and comes behind what came before it.
                self.enqueue_run(ctx, id, &verified, topic_run.take(), ticket);
                self.deliver_run(conns, ctx, id, &verified, run.take());
            }
            if conns[id].order.discard || closing.is_some() {
                ctx.ledger.undelivered += 1;
                continue;
            }
            match self.effect(conns, ctx, id, &verified, &frame, &mut last, &mut room) {
                Effect::Deliver(targets) => {
                    // A sink would have it all the same.
                    let lost = targets.is_empty() && !self.acks.has_sinks();
                    let goes_on = |open: &TopicRun<'_>| open.end == frame.at && open.topic == frame.topic;
                    if !alone && ticket.is_some() && !topic_run.as_ref().is_some_and(goes_on) {
                        // A sink may refuse one run and confirm the next: each has a ticket of its own.
                        self.enqueue_run(ctx, id, &verified, topic_run.take(), ticket);
                        self.push_ready(conns, id, &mut replies.bytes, &mut room, ticket.take());
                    }
                    let under = self.ticket_of(ctx, id, &verified, &frame, alone, &mut ticket);
                    if under.is_some() && !alone {
                        let (start, end, topic) = (frame.at, frame.end(), frame.topic);
                        let open = topic_run.get_or_insert(TopicRun { start, end, frames: 0, topic });
                        open.end = end;
                        open.frames += 1;
                    }
                    match &mut run {
                        Some(open) if open.end == frame.at && same(&open.targets, &targets) => {
                            open.end = frame.end();
                            open.frames += 1;
                        }
                        _ => {
                            self.deliver_run(conns, ctx, id, &verified, run.take());
                            run = Some(TargetRun { start: frame.at, end: frame.end(), frames: 1, targets });
                        }
                    }
                    match under {
                        Some(under) if alone => {
                            self.acks.reply_under(conns, id, under, &frame.header, Status::Ok, &mut room)
                        }
                        _ => replies.add_ok(&frame.header, if lost { NO_SUBSCRIBER } else { "" }),
                    }
                }
                Effect::Again(before) => {
                    // It has its place behind what comes before it.
                    self.enqueue_run(ctx, id, &verified, topic_run.take(), ticket);
                    let body = verified.body().part(frame.at, frame.end());
                    if let Some(under) = self.acks.enqueue_again(ctx, id, &body, frame.digest, before) {
                        self.acks.reply_under(conns, id, under, &frame.header, Status::Ok, &mut room);
                    }
                }
                Effect::Duplicate(under) => {
                    conns.count_rejected(ctx, id, Status::Duplicate);
                    self.acks.reply_under(conns, id, under, &frame.header, Status::Duplicate, &mut room);
                }
                Effect::Fragment(Outcome::Held) => {}
                Effect::Fragment(Outcome::Complete(message)) => {
                    self.distribute_message(conns, ctx, *message);
                }
                Effect::Fragment(Outcome::Copy) => conns.count_rejected(ctx, id, Status::Duplicate),
                Effect::Fragment(Outcome::Hashing) => {
                    rest = Some((index + 1, false));
                    break;
                }
                Effect::Fragment(Outcome::NoRoom) => {
                    rest = Some((index, true));
                    break;
                }
                Effect::Refuse(reason) => {
                    conns.count_rejected(ctx, id, Status::Rejected);
                    if let Some(reply) = self.acks.hold_until(conns, id, &frame.header, &mut room) {
                        self.acks.refuse(conns, ctx, reply, Status::Rejected, &reason);
                    }
                }
                Effect::Asked => {
                    ctx.ledger.control += 1;
                    let reply = self.acks.hold_until(conns, id, &frame.header, &mut room);
                    if let Some(reply) = reply.and_then(|reply| self.durables.reply_when_open(id, reply)) {
                        self.acks.complete(conns, ctx, reply);
                    }
                }
                Effect::Acked(version) => {
                    ctx.ledger.control += 1;
                    if let Some(reply) = self.acks.hold_until(conns, id, &frame.header, &mut room) {
                        self.durables.reply_when_written(version, reply);
                    }
                }
                Effect::Control => {
                    ctx.ledger.control += 1;
                    // A pattern may have changed who gets what follows.
                    last = None;
                    replies.add(&frame.header, Status::Ok, "");
                }
                Effect::Reject(status, reason) | Effect::Fragment(Outcome::Refused(status, reason)) => {
                    conns.count_rejected(ctx, id, status);
                    replies.add(&frame.header, status, &reason);
                }
                Effect::Close(reason) => {
                    let status = reason.status().unwrap_or(Status::BadDigest);
                    conns.count_rejected(ctx, id, status);
                    if !status.closes() {
                        replies.add(&frame.header, status, &reason.to_string());
                    }
                    closing = Some((reason, frame.header.id));
                }
            }
        }
        self.enqueue_run(ctx, id, &verified, topic_run, ticket);
        self.deliver_run(conns, ctx, id, &verified, run);
        let rest = rest
            .filter(|&(index, _)| index < verified.frames())
            .map(|(index, parks)| (verified.split_off(index, &mut room), parks));
        let Replies { bytes, mut at_once, .. } = replies;
        self.push_ready(conns, id, &mut at_once, &mut room, None);
        self.acks.send_all(conns, id, bytes, room, ticket.filter(|_| !alone));
        if let Some((rest, parks)) = rest {
            conns.line_up_first(id, Item::Frames(rest), ctx.now);
            if parks {
                self.fragments.park(id);
            }
        }
        if let Some((reason, frame_id)) = closing {
            let conn = &mut conns[id];
            conn.order.discard = true;
            if let Some(standing) = &mut conn.standing {
                ctx.access.delays(standing, id, ctx.now);
            }
            conns.close(id, reason, frame_id);
        }
    }

    /// Distributes a batch as one run, without a look at its frames; false if they need one.
    fn distribute_plain<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        verified: &Verified,
    ) -> bool {
        let Some(topic) = verified.plain_topic().filter(|_| !self.acks.knows_duplicates()) else {
            return false;
        };
        let conn = &mut conns[id];
        if conn.order.discard || self.acks.judges_frames() {
            return false;
        }
        conn.order.authorized = true;
        conn.traffic.publishes = true;
        let Ok(targets) = self.egress.route(topic) else { return false };
        if conn.standing.is_some() && !may_publish(conn, ctx, topic) {
            return false;
        }
        ctx.ledger.verified.plain += 1;
        let (end, frames) = (verified.len(), verified.frames());
        let ticket = self.acks.ticket(SinkSet::NONE, ctx.now);
        self.enqueue_run(ctx, id, verified, Some(TopicRun { start: 0, end, frames, topic }), ticket);
        self.deliver_run(conns, ctx, id, verified, Some(TargetRun { start: 0, end, frames, targets }));
        true
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what all decisions need, and what they share within a batch"
    )]
    fn effect<'a, N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'a>,
        last: &mut Option<(&'a [u8], Targets)>,
        room: &mut Option<Charge>,
    ) -> Effect {
        let conn = &mut conns[id];
        if !frame.intact {
            return bad_digest(conns, ctx, id, frame.header.id);
        }
        conn.order.authorized = true;
        if let Some(refusal) = conn.standing.as_ref().and_then(|standing| standing.refusal()) {
            return Effect::Close(CloseReason::Refused(Box::new(refusal.clone())));
        }
        if frame.header.is_part() {
            conn.traffic.publishes = true;
            return self.fragment(conns, ctx, id, verified, frame, room);
        }
        match frame.header.kind {
            Kind::Data => {
                conn.traffic.publishes = true;
                let targets = match last {
                    Some((topic, targets)) if *topic == frame.topic => targets.clone(),
                    _ => match self.egress.route(frame.topic) {
                        Ok(_) if !may_publish(conn, ctx, frame.topic) => {
                            return Effect::deny_topic(conn, ctx, frame);
                        }
                        Ok(targets) => {
                            *last = Some((frame.topic, targets.clone()));
                            targets
                        }
                        Err(error) => return Effect::Reject(Status::Rejected, error.to_string()),
                    },
                };
                let seen = self.acks.seen(&frame.digest, ctx.now);
                if matches!(seen, Seen::Never | Seen::Partly(_)) {
                    self.acks.remember(ctx, frame.digest);
                }
                match seen {
                    Seen::Never => Effect::Deliver(targets),
                    Seen::Pending(ticket) => Effect::Duplicate(ticket),
                    Seen::Partly(before) => Effect::Again(before),
                    Seen::Done => Effect::Reject(Status::Duplicate, String::new()),
                }
            }
            Kind::Subscribe | Kind::Unsubscribe => {
                match self.change_patterns(conns, ctx, id, verified, frame) {
                    Ok(false) => Effect::Control,
                    Ok(true) => Effect::Asked,
                    Err(reason) if frame.header.payload_len > 0 => Effect::Refuse(reason),
                    Err(reason) => Effect::Reject(Status::Rejected, reason),
                }
            }
            Kind::Ack => match self.durables.ack(id, frame.header.key) {
                Acked::Done(version) => Effect::Acked(version),
                Acked::Refused(reason) => Effect::Refuse(reason),
                Acked::Ahead(reason) => Effect::Close(reason),
            },
            Kind::Ping => Effect::Control,
            Kind::Auth => match &mut conn.standing {
                // Who lets everybody do everything asks nobody who they are.
                None => Effect::Control,
                Some(standing) => match standing.take_auth() {
                    true => Effect::Control,
                    false => {
                        let reason = "an AUTH is the first frame of its connection";
                        Effect::Reject(Status::Rejected, reason.into())
                    }
                },
            },
            Kind::Reply => unreachable!("a gateway's rules let no REPLY be cut"),
        }
    }

    /// A fragment, where they are put together.
    fn fragment<N: Net, P: Pool>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'_>,
        room: &mut Option<Charge>,
    ) -> Effect {
        if ctx.config.calls() {
            let reason = "fragments are not reassembled where a handler answers: send whole frames";
            return Effect::Reject(Status::Rejected, reason.into());
        }
        if let Err(error) = self.egress.route(frame.topic) {
            return Effect::Reject(Status::Rejected, error.to_string());
        }
        if !may_publish(&conns[id], ctx, frame.topic) {
            return Effect::deny_topic(&conns[id], ctx, frame);
        }
        // It needs no room.
        if self.acks.knows_duplicates() && !self.fragments.knows(&frame.digest) {
            match self.acks.seen(&frame.digest, ctx.now) {
                Seen::Pending(ticket) => return Effect::Duplicate(ticket),
                Seen::Done => return Effect::Reject(Status::Duplicate, String::new()),
                // Sinks have messages: a fragment is never known to be with some of them.
                Seen::Never | Seen::Partly(_) => {}
            }
        }
        Effect::Fragment(self.fragments.add(conns, ctx, &mut self.acks, id, verified, frame, room))
    }

    /// Hands a run to its subscribers.
    fn deliver_run<N: Net, P>(
        &mut self,
        conns: &mut Conns<N::Socket>,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        verified: &Verified,
        run: Option<TargetRun>,
    ) {
        if let Some(TargetRun { start, end, frames, targets }) = run {
            let body = verified.body().part(start, end);
            self.egress.hand_out(conns, ctx, id, body, frames, &targets);
        }
    }

    /// Hands frames of one topic to the sinks, where there are some.
    fn enqueue_run<N, P>(
        &mut self,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        verified: &Verified,
        topic_run: Option<TopicRun<'_>>,
        ticket: Option<Ticket>,
    ) {
        if let (Some(TopicRun { start, end, frames, .. }), Some(ticket)) = (topic_run, ticket) {
            self.acks.enqueue(ctx, ticket, id, &verified.body().part(start, end), frames);
        }
    }

    /// The ticket of a frame that is distributed: that of the run that is open, or, where a sink judges each frame
    /// alone, its own, under which it is enqueued.
    fn ticket_of<N, P>(
        &mut self,
        ctx: &mut Ctx<N, P>,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'_>,
        alone: bool,
        ticket: &mut Option<Ticket>,
    ) -> Option<Ticket> {
        if alone || ticket.is_none() {
            *ticket = self.acks.ticket(SinkSet::NONE, ctx.now);
        }
        let under = (*ticket)?;
        if alone {
            self.acks.enqueue(ctx, under, id, &verified.body().part(frame.at, frame.end()), 1);
        }
        self.acks.know(under, frame.digest);
        Some(under)
    }

    /// The same for some of the replies, which take their part of the memory.
    fn push_ready<S>(
        &mut self,
        conns: &mut Conns<S>,
        id: ConnId,
        bytes: &mut Vec<u8>,
        room: &mut Option<Charge>,
        ticket: Option<Ticket>,
    ) {
        if !bytes.is_empty() {
            let bytes = std::mem::take(bytes);
            let room = room.as_mut().map(|room| room.split(bytes.len()));
            self.acks.send_all(conns, id, bytes, room, ticket);
        }
    }
}

fn bad_digest<N: Net, P>(conns: &Conns<N::Socket>, ctx: &mut Ctx<N, P>, id: ConnId, frame_id: u64) -> Effect {
    let conn = &conns[id];
    let peer = conn.named();
    if !conn.order.authorized {
        let message = format_args!("{peer} does not know the secret: it is closed");
        ctx.notices.say_at(conn.listener, Notice::Unauthorized, log::Level::Warn, ctx.now, message);
        return Effect::Close(CloseReason::Unauthorized);
    }
    let message = format_args!("{peer} sent a frame with a wrong digest (id {frame_id}): it is dropped");
    ctx.notices.say_at(conn.listener, Notice::BadDigest, log::Level::Warn, ctx.now, message);
    match ctx.config.on_bad_digest {
        BadDigestPolicy::Drop => Effect::Reject(Status::BadDigest, "the digest does not match".into()),
        BadDigestPolicy::Close => Effect::Close(CloseReason::BadDigest),
    }
}

fn same(a: &Targets, b: &Targets) -> bool {
    Rc::ptr_eq(a, b) || a[..] == b[..]
}
