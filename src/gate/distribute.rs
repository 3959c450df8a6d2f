//! What a verified frame does: it is delivered, it changes what its own connection subscribes to, or
//! it is refused; and it is answered.

use std::rc::Rc;

use super::conn::{ConnId, Item, Rejects};
use super::durable::Ticket;
use super::notices::Notice;
use super::owed::Reply;
use super::parcel::{Parcel, Run};
use super::router::Targets;
use super::stage::Passed;
use super::{BadDigestPolicy, Gate};
use crate::error::CloseReason;
use crate::frame::{Body, Checked, Frame, Header, Kind, Scheme, Status, Verified, check_pattern, encode};
use crate::limits::{BUFFER_OVERHEAD, CONN_PATTERNS, REASON_MAX, REPLY_MAX, SINK_REASON_MAX};
use crate::memory::{Buffer, Charge, Share};
use crate::net::Net;
use crate::pool::Pool;

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
    scheme: &'a Scheme,
}

impl Replies<'_> {
    fn add(&mut self, header: &Header, status: Status, reason: &str) {
        if header.is_answered() {
            encode_reply(header.id, status, reason, self.scheme, &mut self.bytes);
        }
    }
}

/// Appends a REPLY to `out`.
pub(super) fn encode_reply(id: u64, status: Status, reason: &str, scheme: &Scheme, out: &mut Vec<u8>) {
    let header = Header { status: status as u16, id, ..Header::new(Kind::Reply) };
    let reason = &reason[..reason.floor_char_boundary(REASON_MAX)];
    encode(header, b"", reason.as_bytes(), scheme, out);
}

/// Appends a REPLY that tells why a sink has refused a frame, which may take more than was set aside.
pub(super) fn encode_refusal(id: u64, status: Status, reason: &str, scheme: &Scheme, out: &mut Vec<u8>) {
    let header = Header { status: status as u16, id, ..Header::new(Kind::Reply) };
    let reason = &reason[..reason.floor_char_boundary(SINK_REASON_MAX)];
    encode(header, b"", reason.as_bytes(), scheme, out);
}

/// What became of one frame.
pub(super) enum Effect {
    /// Goes to these.
    Deliver(Targets),
    /// Done, nothing is delivered.
    Control,
    /// Refused.
    Reject(Status, String),
    /// Refused as the copy of a frame that is not confirmed yet.
    Twin(Ticket),
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
    pub(super) fn distribute(&mut self, id: ConnId, mut verified: Verified) {
        if self.distribute_plain(id, &verified) {
            return;
        }
        let mut room = verified.take_replies();
        let mut ticket = None;
        let alone = self.durable.as_ref().is_some_and(|durable| durable.judges_frames());
        let config = self.config.clone();
        let mut replies = Replies { bytes: Vec::new(), scheme: &config.scheme };
        let mut run: Option<OpenRun> = None;
        let mut to_put: Option<OpenPut<'_>> = None;
        // The topic of what is under the ticket.
        let mut under_topic: Option<&[u8]> = None;
        let mut last: Option<(&[u8], Targets)> = None;
        let mut closing = None;
        // From this frame on what is behind waits; whether for room, or for a digest.
        let mut rest = None;
        self.set_in_turn(id, true);
        for (index, frame) in (0..).zip(verified.iter()) {
            if frame.header.is_part() {
                // Its whole may be complete, and comes behind what came before it.
                self.close_put(id, &verified, to_put.take(), ticket);
                self.close_run(id, &verified, run.take());
            }
            let effect = match self.conns.get(id) {
                Some(conn) if !conn.discard && closing.is_none() => {
                    self.effect(id, &verified, &frame, &mut last, &mut room)
                }
                _ => {
                    self.ledger.borrow_mut().undelivered += 1;
                    continue;
                }
            };
            match effect {
                Effect::Deliver(targets) => {
                    if ticket.is_some() && !alone && under_topic.is_some_and(|topic| topic != frame.topic) {
                        // A sink may have trouble with one topic and none with another.
                        self.close_put(id, &verified, to_put.take(), ticket);
                        self.end_ticket(id, &mut replies.bytes, &mut room, &mut ticket);
                    }
                    under_topic = Some(frame.topic);
                    let under = self.ticket_of(id, &verified, &frame, alone, &mut ticket);
                    if under.is_some() && !alone {
                        match &mut to_put {
                            Some(open) if open.end == frame.at && open.topic == frame.topic => {
                                open.end = frame.end();
                                open.frames += 1;
                            }
                            _ => {
                                self.close_put(id, &verified, to_put.take(), ticket);
                                let (start, end) = (frame.at, frame.end());
                                to_put = Some(OpenPut { start, end, frames: 1, topic: frame.topic });
                            }
                        }
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
                        Some(under) if alone => self.owe_one(id, under, &frame.header, Status::Ok, &mut room),
                        _ => replies.add(&frame.header, Status::Ok, ""),
                    }
                }
                Effect::Twin(under) => {
                    self.count_rejected(id, Status::Duplicate);
                    self.owe_one(id, under, &frame.header, Status::Duplicate, &mut room);
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
                    self.ledger.borrow_mut().control += 1;
                    // A pattern may have changed who gets what follows.
                    last = None;
                    replies.add(&frame.header, Status::Ok, "");
                }
                Effect::Reject(status, reason) => {
                    self.count_rejected(id, status);
                    replies.add(&frame.header, status, &reason);
                }
                Effect::Close(reason) => {
                    let status = reason.status().unwrap_or(Status::BadDigest);
                    self.count_rejected(id, status);
                    if !status.closes() {
                        replies.add(&frame.header, status, &reason.to_string());
                    }
                    closing = Some((reason, frame.header.id));
                }
            }
        }
        self.set_in_turn(id, false);
        self.close_put(id, &verified, to_put, ticket);
        self.close_run(id, &verified, run);
        let rest = rest
            .filter(|&(index, _)| index < verified.frames())
            .map(|(index, parks)| (verified.split_off(index, &mut room), parks));
        self.push_replies(id, replies.bytes, room, ticket.filter(|_| !alone));
        if let Some((rest, parks)) = rest {
            self.line_up_first(id, Item::Frames(rest));
            if parks {
                self.park(id);
            }
        }
        if let Some((reason, frame_id)) = closing {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.discard = true;
            }
            self.close_about(id, reason, frame_id);
        }
    }

    fn set_in_turn(&mut self, id: ConnId, in_turn: bool) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.in_turn = in_turn;
        }
    }

    /// Distributes a batch as one run, without a look at its frames; false if they need one.
    fn distribute_plain(&mut self, id: ConnId, verified: &Verified) -> bool {
        let (Some(topic), None, Some(conn)) =
            (verified.plain_topic(), &self.dedup, self.conns.get_mut(id).filter(|conn| !conn.discard))
        else {
            return false;
        };
        if self.durable.as_ref().is_some_and(|durable| durable.judges_frames()) {
            return false;
        }
        conn.authorized = true;
        conn.publishes = true;
        let Ok(targets) = self.router.route(topic) else { return false };
        self.ledger.borrow_mut().verified.plain += 1;
        let (end, frames) = (verified.len(), verified.frames());
        let ticket = self.ticket();
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
        let Some(conn) = self.conns.get_mut(id) else { return Effect::Control };
        if !frame.intact {
            return self.bad_digest(id, frame.header.id);
        }
        conn.authorized = true;
        if frame.header.is_part() {
            conn.publishes = true;
            return self.part(id, verified, frame, room);
        }
        match frame.header.kind {
            Kind::Data => {
                conn.publishes = true;
                let targets = match last {
                    Some((topic, targets)) if *topic == frame.topic => targets.clone(),
                    _ => match self.router.route(frame.topic) {
                        Ok(targets) => {
                            *last = Some((frame.topic, targets.clone()));
                            targets
                        }
                        Err(error) => return Effect::Reject(Status::Rejected, error.to_string()),
                    },
                };
                if self.is_new(frame) {
                    return Effect::Deliver(targets);
                }
                match self.durable.as_ref().and_then(|durable| durable.unconfirmed(&frame.digest)) {
                    Some(ticket) => Effect::Twin(ticket),
                    None => Effect::Reject(Status::Duplicate, String::new()),
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

    pub(super) fn count_rejected(&mut self, id: ConnId, status: Status) {
        self.ledger.borrow_mut().rejected.add(status);
        if let Some(conn) = self.conns.get_mut(id) {
            let none = || Box::new(Rejects { count: 0, last: status, at: self.now });
            let rejects = conn.rejects.get_or_insert_with(none);
            (rejects.count, rejects.last, rejects.at) = (rejects.count + 1, status, self.now);
        }
    }

    fn bad_digest(&mut self, id: ConnId, frame_id: u64) -> Effect {
        let Some(conn) = self.conns.get(id) else { return Effect::Control };
        let peer = conn.peer;
        if !conn.authorized {
            let message = format_args!("{peer} does not know the secret: it is closed");
            self.notices.say(Notice::Unauthorized, log::Level::Warn, self.now, message);
            return Effect::Close(CloseReason::Unauthorized);
        }
        let message = format_args!("{peer} sent a frame with a wrong digest (id {frame_id}): it is dropped");
        self.notices.say(Notice::BadDigest, log::Level::Warn, self.now, message);
        match self.config.on_bad_digest {
            BadDigestPolicy::Drop => Effect::Reject(Status::BadDigest, "the digest does not match".into()),
            BadDigestPolicy::Close => Effect::Close(CloseReason::BadDigest),
        }
    }

    pub(super) fn is_new(&mut self, frame: &Checked<'_>) -> bool {
        let Some(dedup) = &mut self.dedup else { return true };
        if dedup.is_full() {
            let message = "the deduplication window is full: the oldest digests are forgotten early; \
                           more --memory or a shorter --dedup mends it";
            self.notices.say(Notice::DedupFull, log::Level::Warn, self.now, message);
        }
        dedup.accept(frame.digest, self.now)
    }

    fn change_patterns(&mut self, id: ConnId, frame: &Checked<'_>) -> Result<(), String> {
        let Some(conn) = self.conns.get_mut(id) else { return Ok(()) };
        if frame.header.payload_len > 0 {
            return Err("a SUBSCRIBE or UNSUBSCRIBE has no payload".into());
        }
        let pattern = check_pattern(frame.topic).map_err(|error| error.to_string())?;
        if frame.header.kind == Kind::Unsubscribe {
            if let Some(subscription) = &mut conn.subscription {
                subscription.patterns.retain(|held| **held != *pattern);
                conn.subscription.take_if(|subscription| subscription.patterns.is_empty());
            }
            self.router.unsubscribe(pattern, id);
            return Ok(());
        }
        if conn.patterns().len() >= CONN_PATTERNS {
            return Err(format!("a connection holds at most {CONN_PATTERNS} patterns"));
        }
        if self.router.subscribe(pattern, id)? {
            conn.subscription.get_or_insert_default().patterns.push(pattern.into());
        }
        Ok(())
    }

    /// Hands a run to its subscribers.
    fn close_run(&mut self, id: ConnId, verified: &Verified, run: Option<OpenRun>) {
        let Some(OpenRun { start, end, frames, targets }) = run else { return };
        self.hand_out(id, verified.body().part(start, end), frames, &targets);
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
        self.put(ticket, id, &verified.body().part(start, end), frames);
    }

    /// The ticket of a frame that is distributed: its batch's, or, where a sink judges each frame alone, its
    /// own, under which it is put.
    fn ticket_of(
        &mut self,
        id: ConnId,
        verified: &Verified,
        frame: &Checked<'_>,
        alone: bool,
        ticket: &mut Option<Ticket>,
    ) -> Option<Ticket> {
        if alone || ticket.is_none() {
            *ticket = self.ticket();
        }
        let under = (*ticket)?;
        if alone {
            self.put(under, id, &verified.body().part(frame.at, frame.end()), 1);
        }
        if self.dedup.is_some()
            && let Some(durable) = &mut self.durable
        {
            durable.know(under, frame.digest);
        }
        Some(under)
    }

    /// Owes the reply to one frame, if it asked for one, until a ticket is over.
    pub(super) fn owe_one(
        &mut self,
        id: ConnId,
        ticket: Ticket,
        header: &Header,
        status: Status,
        room: &mut Option<Charge>,
    ) {
        if !header.is_answered() {
            return;
        }
        let room = room.as_mut().expect("memory is set aside for each frame that is answered");
        let room = room.split(REPLY_MAX);
        let owed = self.owe(id, Reply::One { id: header.id, status, room });
        if let Some(durable) = &mut self.durable {
            durable.owe(ticket, owed);
        }
    }

    pub(super) fn hand_out(&mut self, id: ConnId, mut body: Body, frames: u32, targets: &[ConnId]) {
        // Who is behind would keep a large buffer for the sake of a small part of it.
        if body.is_fragment() && targets.iter().any(|&target| self.is_behind(target)) {
            body = body.copied(&self.memory, Share::Small);
        }
        let run = Run::new(body, frames, self.ledger.clone(), self.now);
        if targets.is_empty() {
            self.ledger.borrow_mut().unmatched += u64::from(frames);
        }
        let parcel = Rc::new(Parcel::Run(run));
        for &target in targets {
            self.push(target, parcel.clone(), id);
        }
    }

    /// Gives effect to a frame that a handler let pass, or put in the place of another.
    pub(super) fn distribute_answered(&mut self, id: ConnId, passed: Passed) {
        let Passed { frame, reply, ticket: promised, .. } = passed;
        if self.conns.get(id).is_none_or(|conn| conn.discard) {
            self.ledger.borrow_mut().undelivered += 1;
            if let Some(ticket) = promised {
                self.break_promise(ticket, "the connection of the frame that these bytes repeat has ended");
            }
            return;
        }
        let topic = frame.iter().next().expect("it is one frame").topic;
        let targets = self.router.route(topic).expect("a topic is checked before its call");
        let ticket = promised.or_else(|| self.ticket());
        if let Some(ticket) = ticket {
            self.put(ticket, id, frame.body(), 1);
        }
        if let Some(ticket) = promised {
            self.keep_promise(ticket);
        }
        self.hand_out(id, frame.body().clone(), 1, &targets);
        if let Some(reply) = reply {
            self.send_replies(id, reply, ticket);
        }
    }

    fn is_behind(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| !conn.writable)
    }

    /// Adds a run to a subscriber's outbox, and sees what that means for its publisher.
    fn push(&mut self, target: ConnId, parcel: Rc<Parcel>, publisher: ConnId) {
        let Some(conn) = self.conns.get_mut(target) else { return };
        if !conn.is_written() {
            // It ended since the list of subscribers was looked up.
            return;
        }
        self.entries += 1;
        conn.outbox.push(parcel);
        let is_behind = conn.outbox.pending() > self.crowd_mark();
        self.mark_dirty(target);
        if is_behind {
            self.crowd(target, publisher);
        }
    }

    pub(super) fn push_replies(
        &mut self,
        id: ConnId,
        bytes: Vec<u8>,
        room: Option<Charge>,
        ticket: Option<Ticket>,
    ) {
        if bytes.is_empty() {
            return;
        }
        let mut charge = room.expect("memory is set aside for each frame that is answered");
        charge.resize(bytes.len() + BUFFER_OVERHEAD);
        self.send_replies(id, Parcel::Replies(Buffer::new(bytes.into(), charge)), ticket);
    }

    /// Owes the replies so far until a ticket is over; what comes next has another.
    fn end_ticket(
        &mut self,
        id: ConnId,
        replies: &mut Vec<u8>,
        room: &mut Option<Charge>,
        ticket: &mut Option<Ticket>,
    ) {
        let replies = std::mem::take(replies);
        let (mut rest, mut count) = (&replies[..], 0);
        while !rest.is_empty() {
            rest = &rest[Frame::first_of(rest).bytes.len()..];
            count += 1;
        }
        let room = room.as_mut().filter(|_| count > 0).map(|room| room.split(count * REPLY_MAX));
        self.push_replies(id, replies, room, ticket.take());
    }

    /// Sends replies, or owes them until a ticket is over.
    fn send_replies(&mut self, id: ConnId, replies: Parcel, ticket: Option<Ticket>) {
        let Some(ticket) = ticket else { return self.push_reply(id, replies) };
        let owed = self.owe(id, Reply::Ready(replies));
        if let Some(durable) = &mut self.durable {
            durable.owe(ticket, owed);
        }
    }
}

fn same(a: &Targets, b: &Targets) -> bool {
    Rc::ptr_eq(a, b) || a[..] == b[..]
}
