//! What a verified frame does: it is delivered, it changes what its own connection subscribes to, or
//! it is refused; and it is answered.

use std::rc::Rc;

use crate::core::limits::{REASON_MAX, SINK_REASON_MAX};
use crate::core::memory::Charge;
use crate::gateway::CloseReason;
use crate::gateway::acks::known::Seen;
use crate::gateway::acks::sink_set::SinkSet;
use crate::gateway::acks::tickets::Ticket;
use crate::gateway::conn::ConnId;
use crate::gateway::egress::router::Targets;
use crate::gateway::handlers::stage::Passed;
use crate::gateway::ingress::order::Item;
use crate::gateway::observe::notices::Notice;
use crate::gateway::{BadDigestPolicy, Gate};
use crate::runtime::net::Net;
use crate::runtime::pool::Pool;
use crate::wire::{Checked, Header, Kind, NO_SUBSCRIBER, Scheme, Status, Verified, check_pattern, encode};

/// Neighbouring frames with the same subscribers, not handed over yet.
struct OpenRun {
    start: usize,
    end: usize,
    frames: u32,
    targets: Targets,
}

/// Neighbouring frames of one topic, not put yet: whoever subscribes to several topics gets their frames as one
/// run, and a sink tells topics apart.
struct OpenPut<'a> {
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
    scheme: &'a Scheme,
}

impl Replies<'_> {
    /// The frame is distributed.
    fn add_ok(&mut self, header: &Header, said: &str) {
        if header.is_answered() {
            encode_reply(header.id, Status::Ok, said, self.scheme, &mut self.bytes);
        }
    }

    /// Of anything else.
    fn add(&mut self, header: &Header, status: Status, reason: &str) {
        if header.is_answered() {
            let bytes = if self.apart { &mut self.at_once } else { &mut self.bytes };
            encode_reply(header.id, status, reason, self.scheme, bytes);
        }
    }
}

/// Appends a REPLY to `out`.
pub(in crate::gateway) fn encode_reply(
    id: u64,
    status: Status,
    reason: &str,
    scheme: &Scheme,
    out: &mut Vec<u8>,
) {
    encode_within(REASON_MAX, id, status, reason, scheme, out);
}

/// Appends a REPLY that tells why a sink has refused a frame, which may take more than was set aside.
pub(in crate::gateway) fn encode_refusal(
    id: u64,
    status: Status,
    reason: &str,
    scheme: &Scheme,
    out: &mut Vec<u8>,
) {
    encode_within(SINK_REASON_MAX, id, status, reason, scheme, out);
}

fn encode_within(most: usize, id: u64, status: Status, reason: &str, scheme: &Scheme, out: &mut Vec<u8>) {
    let header = Header { status: status as u16, id, ..Header::new(Kind::Reply) };
    let reason = &reason[..reason.floor_char_boundary(most)];
    encode(header, b"", reason.as_bytes(), scheme, out);
}

/// What became of one frame.
pub(in crate::gateway) enum Effect {
    /// Goes to these.
    Deliver(Targets),
    /// Done, nothing is delivered.
    Control,
    /// Refused.
    Reject(Status, String),
    /// Refused as the copy of a frame that is not confirmed yet.
    Twin(Ticket),
    /// Refused as the copy of a part, and its reply waits for what becomes of that.
    Copy,
    /// Was distributed before, and these sinks have it: it goes to the others.
    Again(SinkSet),
    /// A part, which is held, or which made its whole complete.
    Hold,
    /// A part that made its whole complete, whose digest is made later: what is behind it waits.
    Hash,
    /// A part for which there is no room: it waits, and what is behind it.
    Park,
    /// Refused, and the connection ends.
    Close(CloseReason),
}

impl<N: Net, P: Pool> Gate<N, P> {
    /// Gives effect to the frames of a batch, in order.
    pub(in crate::gateway) fn distribute(&mut self, id: ConnId, mut verified: Verified) {
        if self.distribute_plain(id, &verified) {
            return;
        }
        let mut room = verified.take_replies();
        let mut ticket = None;
        let alone = self.acks.sinks.judges_frames();
        let config = self.ctx.config.clone();
        let (bytes, at_once, apart) = (Vec::new(), Vec::new(), !self.acks.sinks.is_empty());
        let mut replies = Replies { bytes, at_once, apart, scheme: &config.scheme };
        let mut run: Option<OpenRun> = None;
        let mut to_put: Option<OpenPut<'_>> = None;
        let mut last: Option<(&[u8], Targets)> = None;
        let mut closing = None;
        // From this frame on what is behind waits; whether for room, or for a digest.
        let mut rest = None;
        for (index, frame) in (0..).zip(verified.iter()) {
            if frame.header.is_part() {
                // Its whole may be complete, and comes behind what came before it.
                self.close_put(id, &verified, to_put.take(), ticket);
                self.close_run(id, &verified, run.take());
            }
            if self.conns[id].order.discard || closing.is_some() {
                self.ctx.ledger.undelivered += 1;
                continue;
            }
            match self.effect(id, &verified, &frame, &mut last, &mut room) {
                Effect::Deliver(targets) => {
                    // A sink would have it all the same.
                    let lost = targets.is_empty() && self.acks.sinks.is_empty();
                    let goes_on = |open: &OpenPut<'_>| open.end == frame.at && open.topic == frame.topic;
                    if !alone && ticket.is_some() && !to_put.as_ref().is_some_and(goes_on) {
                        // A sink may refuse one run and confirm the next: each has a ticket of its own.
                        self.close_put(id, &verified, to_put.take(), ticket);
                        self.push_ready(id, &mut replies.bytes, &mut room, ticket.take());
                    }
                    let under = self.ticket_of(id, &verified, &frame, alone, &mut ticket);
                    if under.is_some() && !alone {
                        let (start, end, topic) = (frame.at, frame.end(), frame.topic);
                        let open = to_put.get_or_insert(OpenPut { start, end, frames: 0, topic });
                        open.end = end;
                        open.frames += 1;
                    }
                    match &mut run {
                        Some(open) if open.end == frame.at && same(&open.targets, &targets) => {
                            open.end = frame.end();
                            open.frames += 1;
                        }
                        _ => {
                            self.close_run(id, &verified, run.take());
                            run = Some(OpenRun { start: frame.at, end: frame.end(), frames: 1, targets });
                        }
                    }
                    match under {
                        Some(under) if alone => self.acks.owe_one(
                            &mut self.conns,
                            id,
                            under,
                            &frame.header,
                            Status::Ok,
                            &mut room,
                        ),
                        _ => replies.add_ok(&frame.header, if lost { NO_SUBSCRIBER } else { "" }),
                    }
                }
                Effect::Again(before) => {
                    // It has its place behind what comes before it.
                    self.close_put(id, &verified, to_put.take(), ticket);
                    let body = verified.body().part(frame.at, frame.end());
                    if let Some(under) = self.acks.put_again(&mut self.ctx, id, &body, frame.digest, before) {
                        self.acks.owe_one(&mut self.conns, id, under, &frame.header, Status::Ok, &mut room);
                    }
                }
                Effect::Copy => self.conns.count_rejected(&mut self.ctx, id, Status::Duplicate),
                Effect::Twin(under) => {
                    self.conns.count_rejected(&mut self.ctx, id, Status::Duplicate);
                    self.acks.owe_one(
                        &mut self.conns,
                        id,
                        under,
                        &frame.header,
                        Status::Duplicate,
                        &mut room,
                    );
                }
                Effect::Hold => {}
                Effect::Hash => {
                    rest = Some((index + 1, false));
                    break;
                }
                Effect::Park => {
                    rest = Some((index, true));
                    break;
                }
                Effect::Control => {
                    self.ctx.ledger.control += 1;
                    // A pattern may have changed who gets what follows.
                    last = None;
                    replies.add(&frame.header, Status::Ok, "");
                }
                Effect::Reject(status, reason) => {
                    self.conns.count_rejected(&mut self.ctx, id, status);
                    replies.add(&frame.header, status, &reason);
                }
                Effect::Close(reason) => {
                    let status = reason.status().unwrap_or(Status::BadDigest);
                    self.conns.count_rejected(&mut self.ctx, id, status);
                    if !status.closes() {
                        replies.add(&frame.header, status, &reason.to_string());
                    }
                    closing = Some((reason, frame.header.id));
                }
            }
        }
        self.close_put(id, &verified, to_put, ticket);
        self.close_run(id, &verified, run);
        let rest = rest
            .filter(|&(index, _)| index < verified.frames())
            .map(|(index, parks)| (verified.split_off(index, &mut room), parks));
        let Replies { bytes, mut at_once, .. } = replies;
        self.push_ready(id, &mut at_once, &mut room, None);
        self.acks.send_all(&mut self.conns, id, bytes, room, ticket.filter(|_| !alone));
        if let Some((rest, parks)) = rest {
            self.line_up_first(id, Item::Frames(rest));
            if parks {
                self.park(id);
            }
        }
        if let Some((reason, frame_id)) = closing {
            self.conns[id].order.discard = true;
            self.conns.close(id, reason, frame_id);
        }
    }

    /// Distributes a batch as one run, without a look at its frames; false if they need one.
    fn distribute_plain(&mut self, id: ConnId, verified: &Verified) -> bool {
        let Some(topic) = verified.plain_topic().filter(|_| self.acks.dedup.is_none()) else { return false };
        let conn = &mut self.conns[id];
        if conn.order.discard || self.acks.sinks.judges_frames() {
            return false;
        }
        conn.order.authorized = true;
        conn.traffic.publishes = true;
        let Ok(targets) = self.egress.router.route(topic) else { return false };
        self.ctx.ledger.verified.plain += 1;
        let (end, frames) = (verified.len(), verified.frames());
        let ticket = self.acks.ticket(SinkSet::NONE, self.ctx.now);
        self.close_put(id, verified, Some(OpenPut { start: 0, end, frames, topic }), ticket);
        self.close_run(id, verified, Some(OpenRun { start: 0, end, frames, targets }));
        true
    }

    fn effect<'a>(
        &mut self,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'a>,
        last: &mut Option<(&'a [u8], Targets)>,
        room: &mut Option<Charge>,
    ) -> Effect {
        let conn = &mut self.conns[id];
        if !frame.intact {
            return self.bad_digest(id, frame.header.id);
        }
        conn.order.authorized = true;
        if frame.header.is_part() {
            conn.traffic.publishes = true;
            return self.part(id, verified, frame, room);
        }
        match frame.header.kind {
            Kind::Data => {
                conn.traffic.publishes = true;
                let targets = match last {
                    Some((topic, targets)) if *topic == frame.topic => targets.clone(),
                    _ => match self.egress.router.route(frame.topic) {
                        Ok(targets) => {
                            *last = Some((frame.topic, targets.clone()));
                            targets
                        }
                        Err(error) => return Effect::Reject(Status::Rejected, error.to_string()),
                    },
                };
                let seen = self.acks.seen(&frame.digest, self.ctx.now);
                if matches!(seen, Seen::Never | Seen::Partly(_)) {
                    self.acks.remember(&mut self.ctx, frame.digest);
                }
                match seen {
                    Seen::Never => Effect::Deliver(targets),
                    Seen::Pending(ticket) => Effect::Twin(ticket),
                    Seen::Partly(before) => Effect::Again(before),
                    Seen::Done => Effect::Reject(Status::Duplicate, String::new()),
                }
            }
            Kind::Subscribe | Kind::Unsubscribe => match self.change_patterns(id, frame) {
                Ok(()) => Effect::Control,
                Err(reason) => Effect::Reject(Status::Rejected, reason),
            },
            Kind::Ping => Effect::Control,
            Kind::Reply => unreachable!("a gateway's rules let no REPLY be cut"),
        }
    }

    fn bad_digest(&mut self, id: ConnId, frame_id: u64) -> Effect {
        let conn = &self.conns[id];
        let peer = conn.peer;
        if !conn.order.authorized {
            let message = format_args!("{peer} does not know the secret: it is closed");
            self.ctx.notices.say(Notice::Unauthorized, log::Level::Warn, self.ctx.now, message);
            return Effect::Close(CloseReason::Unauthorized);
        }
        let message = format_args!("{peer} sent a frame with a wrong digest (id {frame_id}): it is dropped");
        self.ctx.notices.say(Notice::BadDigest, log::Level::Warn, self.ctx.now, message);
        match self.ctx.config.on_bad_digest {
            BadDigestPolicy::Drop => Effect::Reject(Status::BadDigest, "the digest does not match".into()),
            BadDigestPolicy::Close => Effect::Close(CloseReason::BadDigest),
        }
    }

    fn change_patterns(&mut self, id: ConnId, frame: &Checked<'_>) -> Result<(), String> {
        if frame.header.payload_len > 0 {
            return Err("a SUBSCRIBE or UNSUBSCRIBE has no payload".into());
        }
        let pattern = check_pattern(frame.topic).map_err(|error| error.to_string())?;
        if !self.conns[id].is_written() {
            // It has left: what it held is being given up, and nobody would get what it asks for.
            return Ok(());
        }
        if frame.header.kind == Kind::Unsubscribe {
            self.egress.router.unsubscribe(pattern, id);
            return Ok(());
        }
        self.egress.router.subscribe(pattern, id).map_err(|full| full.to_string())
    }

    /// Hands a run to its subscribers.
    fn close_run(&mut self, id: ConnId, verified: &Verified, run: Option<OpenRun>) {
        let Some(OpenRun { start, end, frames, targets }) = run else { return };
        self.egress.hand_out(
            &mut self.conns,
            &mut self.ctx,
            id,
            verified.body().part(start, end),
            frames,
            &targets,
        );
    }

    /// Hands frames of one topic to the sinks, where there are some.
    fn close_put(
        &mut self,
        id: ConnId,
        verified: &Verified,
        to_put: Option<OpenPut<'_>>,
        ticket: Option<Ticket>,
    ) {
        let (Some(OpenPut { start, end, frames, .. }), Some(ticket)) = (to_put, ticket) else { return };
        self.acks.put(&mut self.ctx, ticket, id, &verified.body().part(start, end), frames);
    }

    /// The ticket of a frame that is distributed: that of the run that is open, or, where a sink judges each frame
    /// alone, its own, under which it is put.
    fn ticket_of(
        &mut self,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'_>,
        alone: bool,
        ticket: &mut Option<Ticket>,
    ) -> Option<Ticket> {
        if alone || ticket.is_none() {
            *ticket = self.acks.ticket(SinkSet::NONE, self.ctx.now);
        }
        let under = (*ticket)?;
        if alone {
            self.acks.put(&mut self.ctx, under, id, &verified.body().part(frame.at, frame.end()), 1);
        }
        if self.acks.dedup.is_some() {
            self.acks.sinks.know(under, frame.digest);
        }
        Some(under)
    }

    /// Gives effect to a frame that a handler let pass, or put in the place of another.
    pub(in crate::gateway) fn distribute_answered(&mut self, id: ConnId, passed: Passed) {
        let Passed { frame, reply, ticket: promised, before, .. } = passed;
        if self.conns[id].order.discard {
            self.ctx.ledger.undelivered += 1;
            if let Some(ticket) = promised {
                self.acks.break_promise(
                    &mut self.conns,
                    &mut self.ctx,
                    ticket,
                    "the connection of the frame that these bytes repeat has ended",
                );
            }
            return;
        }
        let topic = frame.iter().next().expect("it is one frame").topic;
        let targets = self.egress.router.route(topic).expect("a topic is checked before its call");
        let ticket = promised.or_else(|| self.acks.ticket(SinkSet::NONE, self.ctx.now));
        if let Some(ticket) = ticket {
            self.acks.put(&mut self.ctx, ticket, id, frame.body(), 1);
        }
        if let Some(ticket) = promised {
            self.acks.keep_promise(ticket);
        }
        match before.is_empty() {
            true => {
                self.egress.hand_out(&mut self.conns, &mut self.ctx, id, frame.body().clone(), 1, &targets)
            }
            // Whoever subscribes had it the first time.
            false => self.ctx.ledger.delivered += 1,
        }
        if let Some(reply) = reply {
            self.acks.send(&mut self.conns, id, reply, ticket);
        }
    }

    /// The same for some of the replies, which take their part of the memory.
    fn push_ready(
        &mut self,
        id: ConnId,
        bytes: &mut Vec<u8>,
        room: &mut Option<Charge>,
        ticket: Option<Ticket>,
    ) {
        if !bytes.is_empty() {
            let bytes = std::mem::take(bytes);
            let room = room.as_mut().map(|room| room.split(bytes.len()));
            self.acks.send_all(&mut self.conns, id, bytes, room, ticket);
        }
    }
}

fn same(a: &Targets, b: &Targets) -> bool {
    Rc::ptr_eq(a, b) || a[..] == b[..]
}
