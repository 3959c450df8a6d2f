//! What must hold at the end of a run, whatever happened in it. The numbers are those of the seven
//! sentences that define the gateway.

use std::collections::BTreeMap;

use super::again;
use super::devices;
use super::fragmented::{FIRST_KEY, Name};
use super::messages::{self, Known, Messages, take_apart};
use super::peers::Peer;
use super::script::{Fate, Sent};
use super::story::{self, Item};
use super::{Coverage, Simulation};
use crate::core::call_queue::Overflow;
use crate::gateway::CloseReason;
use crate::gateway::ledger::VerifiedBy;
use crate::gateway::snapshot::PauseCause;
use crate::gateway::{BadDigestPolicy, SlowPolicy};
use crate::wire::{Kind, NO_SUBSCRIBER, Status, matches};

/// What one peer received.
#[derive(Default)]
pub(super) struct Received {
    /// By publisher, the indices in its script.
    frames: BTreeMap<usize, Vec<usize>>,
    /// How often each came again, since it was forgotten.
    again: BTreeMap<Name, usize>,
    /// What was put together of parts.
    pub messages: Messages,
    /// Both in the order in which they came.
    pub items: Vec<Item>,
    pub replies: Vec<Reply>,
    /// Frames of devices, in their order.
    pub devices: Vec<Name>,
    pub lost: u64,
    /// Bytes of whole frames.
    pub bytes: usize,
}

/// What one peer was told.
#[derive(Debug)]
pub(super) struct Reply {
    pub id: u64,
    pub status: Status,
    pub said: Vec<u8>,
    /// Where it ends in what the peer received.
    pub end: usize,
}

pub(super) fn check(run: &Simulation<'_>) -> Coverage {
    // 7. At the end nothing is left.
    run.gate.check_empty();
    let ledger = run.gate.ledger();
    assert!(ledger.is_balanced(), "7: the ledger is not balanced: {ledger}");

    let reasons: BTreeMap<usize, CloseReason> =
        run.gate.closed().iter().map(|(addr, reason)| (addr.port() as usize, reason.clone())).collect();
    check_handlers(run);
    let received_by: Vec<Received> = run.peers.iter().map(|peer| receive(run, peer)).collect();
    if !run.sinks.is_empty() {
        run.check_confirmed();
    }
    let stayed = |wire: usize| reasons.get(&wire) == Some(&CloseReason::Draining);
    let effect = |peer: &Peer| took_effect(reasons.get(&peer.wire));
    story::check(run, &received_by, effect, |peer| stayed(peer.wire));
    let told = |peer: &Peer| is_told_all(run, peer, reasons.get(&peer.wire));
    let again = again::check(run, &received_by, |peer| (effect(peer), told(peer)), |peer| stayed(peer.wire));
    let known = messages::gather(run, &received_by, stayed);
    let (parts, certain) = messages::check(run, &known, &received_by, |at| {
        let reason = reasons.get(&run.peers[at].wire);
        // Where a connection is closed for a reason, what becomes of parts that are held then is told to nobody.
        let is_told_all = is_told_all(run, &run.peers[at], reason) && reason == Some(&CloseReason::Finished);
        (took_effect(reason), is_told_all)
    });
    let all_put = ledger.to_sinks.unconfirmed() == 0;
    for sink in &run.sinks {
        devices::check_stored(run, &sink.borrow().frames(), all_put, |wire| reasons.get(&wire).cloned());
    }
    let devices = devices::check(run, &received_by, &reasons);
    for (at, (peer, received)) in run.peers.iter().zip(&received_by).enumerate() {
        let reason = reasons.get(&peer.wire);
        check_reason(run, peer, reason);
        check_end(run, peer, received, reason);
        check_replies(run, at, received, reason);
        if peer.is_subscriber {
            check_complete(run, peer, received, &received_by, &reasons, &known);
        }
    }
    let closed =
        |test: fn(&CloseReason) -> bool| reasons.values().filter(|reason| test(reason)).count() as u64;
    Coverage {
        frames: ledger.read,
        delivered: received_by.iter().flat_map(|r| r.frames.values()).map(|f| f.len() as u64).sum(),
        verified: {
            let VerifiedBy { inline, workers, pieces, helped, paired, plain } = ledger.verified;
            [inline, workers, pieces, helped, paired, plain]
        },
        losses: [ledger.rejected.total(), ledger.copies.dropped, ledger.copies.undelivered],
        closed: [
            closed(|r| *r == CloseReason::Slow),
            closed(|r| matches!(r, CloseReason::FrameTimeout | CloseReason::Reclaimed)),
            closed(|r| *r == CloseReason::Idle),
            closed(|r| matches!(r, CloseReason::Lost(_))),
        ],
        again,
        calls: [
            ledger.calls.answered,
            ledger.calls.tried_again,
            ledger.rejected.of(Status::Busy),
            ledger.calls.repeated,
            run.stuck_turns,
        ],
        to_sinks: [ledger.to_sinks.confirmed, ledger.to_sinks.refused, ledger.to_sinks.unconfirmed()],
        sinks: [
            run.sinks.iter().map(|sink| sink.borrow().groups).sum(),
            run.sinks.iter().map(|sink| sink.borrow().troubles).sum(),
            run.full_turns,
            run.sinks.iter().map(|sink| sink.borrow().mended).sum(),
        ],
        messages: [
            ledger.reassembled,
            if run.rules.handlers { 0 } else { run.workers.borrow().messages },
            run.sinks.iter().map(|sink| sink.borrow().messages.len() as u64).sum(),
            run.parked_turns,
            certain,
        ],
        parts,
        devices,
        steered: run.steering.done,
        broken: [
            PauseCause::Memory,
            PauseCause::Subscriber,
            PauseCause::Replies,
            PauseCause::Handlers,
            PauseCause::Parts,
            PauseCause::Sinks,
            PauseCause::Operator,
        ]
        .map(|cause| run.gate.reset_while(cause)),
        turns: run.turns,
    }
}

/// Reads everything that a peer got: in order, once, intact, and what it asked for.
fn receive(run: &Simulation<'_>, peer: &Peer) -> Received {
    let mut received = Received::default();
    let mut decoder = peer.decoder();
    let mut end = 0;
    while let Some(frame) = decoder.next_frame().expect("the gateway sends frames") {
        assert!(frame.is_intact(&run.rules.scheme), "3: a frame with a wrong digest came out");
        let header = frame.header;
        end += frame.bytes.len();
        received.bytes = end;
        received.items.extend(Item::of(&frame));
        match header.kind {
            Kind::Reply => match Status::from_u16(header.status).expect("a status that exists") {
                Status::Gap => received.lost += header.key,
                status => {
                    let said = frame.payload().to_vec();
                    received.replies.push(Reply { id: header.id, status, said, end });
                }
            },
            Kind::Data if devices::is_key(header.key) => {
                let name = devices::name_of(&header);
                run.check_device_frame(name, &frame);
                check_asked(peer, frame.topic());
                assert!(!received.devices.contains(&name), "2: {name:?} of a device came twice");
                received.devices.push(name);
            }
            Kind::Data if header.key >= FIRST_KEY => {
                check_asked(peer, frame.topic());
                *received.messages.entry(take_apart(run, &frame)).or_default() += 1;
            }
            Kind::Data => {
                let (from, index) = (header.key as usize, header.id as usize);
                let script = &run.peers[from].script;
                let sent = &script.sent[index];
                let expected = sent.instead.as_deref().unwrap_or(&script.bytes[sent.start..sent.end]);
                assert_eq!(frame.bytes, expected, "3: other bytes came out");
                assert_eq!(sent.fate, Fate::Deliver, "3: a frame came out that must not");
                check_asked(peer, frame.topic());
                let frames = received.frames.entry(from).or_default();
                let name = (from as u64, index as u64);
                assert!(
                    !run.rules.resends || !frames.contains(&index),
                    "2: {index} of peer {from} came twice"
                );
                if run.rules.forgets && frames.contains(&index) {
                    *received.again.entry(name).or_default() += 1;
                    continue;
                }
                // Of what it lost, or did not ask for yet, it may have got a copy.
                let loses = run.rules.forgets;
                let in_order = loses || run.rules.resends || frames.last().is_none_or(|last| *last < index);
                assert!(in_order, "1, 2: frame {index} of peer {from} after {:?}", frames.last());
                frames.push(index);
            }
            kind => panic!("the gateway sent a {kind:?}"),
        }
    }
    received
}

fn check_asked(peer: &Peer, topic: &[u8]) {
    let topic = std::str::from_utf8(topic).expect("a topic is UTF-8");
    let asked = peer.script.patterns.iter().any(|pattern| matches(pattern, topic));
    assert!(asked, "a frame came out that nobody asked for");
}

/// Whether everything that a publisher sent, up to what ended its stream, had its effect.
fn took_effect(reason: Option<&CloseReason>) -> bool {
    matches!(
        reason,
        Some(
            CloseReason::Finished
                | CloseReason::Fault(_)
                | CloseReason::Unauthorized
                | CloseReason::BadDigest
        )
    )
}

/// Whether it was also told of all of it.
fn is_told_all(run: &Simulation<'_>, peer: &Peer, reason: Option<&CloseReason>) -> bool {
    // A last reply waits for its reader only so long.
    took_effect(reason) && (reason == Some(&CloseReason::Finished) || run.calm && !peer.broke)
}

/// 4. A connection is closed for a reason that it has.
fn check_reason(run: &Simulation<'_>, peer: &Peer, reason: Option<&CloseReason>) {
    let Some(reason) = reason else {
        // Refused at the limit, or broken off before it was accepted.
        return;
    };
    let over = peer.script.sent.iter().find(|sent| match sent.fate {
        Fate::Refuse(status) => status.closes(),
        _ => false,
    });
    match reason {
        CloseReason::Finished => assert!(over.is_none(), "4: finished after {over:?}"),
        CloseReason::Lost(_) => assert!(peer.broke, "4: lost without a break"),
        CloseReason::Fault(_) | CloseReason::Unauthorized | CloseReason::Refused(_) => {
            assert!(over.is_some(), "4: {reason}")
        }
        CloseReason::BadDigest => assert!(run.rules.on_bad_digest == BadDigestPolicy::Close, "4: {reason}"),
        CloseReason::Draining => assert!(peer.is_subscriber || run.silent || run.early, "4: {reason}"),
        CloseReason::Slow => assert!(!run.calm || run.policy == SlowPolicy::Pause, "4: {reason}"),
        CloseReason::Idle | CloseReason::FrameTimeout | CloseReason::Reclaimed => {
            assert!(!run.calm || run.silent, "4: {reason}")
        }
        CloseReason::Tls(_) | CloseReason::Certificate(_) => panic!("4: nobody speaks TLS here: {reason}"),
        CloseReason::Taken | CloseReason::AckAhead { .. } | CloseReason::Moved(_) => {
            panic!("4: {reason}, and there is no store that could feed it")
        }
    }
}

/// 4. A peer that is written to until the gateway ends its side gets whole frames, and the last word where there is one.
fn check_end(run: &Simulation<'_>, peer: &Peer, received: &Received, reason: Option<&CloseReason>) {
    if !run.world.borrow().wires[peer.wire].gate_ended || peer.broke {
        return;
    }
    assert_eq!(received.bytes, peer.received.len(), "4: {reason:?} in the middle of a frame");
    if let Some(status) = reason.and_then(CloseReason::status).filter(|status| *status == Status::Slow) {
        let last = received.replies.last().filter(|reply| reply.end == received.bytes);
        assert_eq!(last.map(|reply| reply.status), Some(status), "4: not the last word");
    }
}

/// 4. Every frame that asks is answered, once, with what must become of it.
fn check_replies(run: &Simulation<'_>, at: usize, received: &Received, reason: Option<&CloseReason>) {
    let peer = &run.peers[at];
    // One of them goes with the others of its message.
    let mut expected: Vec<(u64, Option<Status>, &Sent)> = Vec::new();
    // Where a sink has refused one that came more than once, it goes with when the others came.
    let is_open = |id| run.rules.dedup && run.is_refused((at as u64, id)) && peer.script.copies(id) > 1;
    for sent in peer.script.sent.iter().filter(|sent| sent.answered) {
        match sent.fate {
            // It goes with when the others came.
            Fate::Deliver if run.rules.resends || run.rules.forgets && peer.script.copies(sent.id) > 1 => {
                expected.push((sent.id, None, sent));
            }
            Fate::Again => expected.push((sent.id, None, sent)),
            Fate::Deliver | Fate::Refuse(Status::Duplicate) if is_open(sent.id) => {
                expected.push((sent.id, None, sent));
            }
            Fate::Deliver if run.is_refused((at as u64, sent.id)) => {
                expected.push((sent.id, Some(Status::Rejected), sent));
            }
            Fate::Deliver | Fate::Control => expected.push((sent.id, Some(Status::Ok), sent)),
            Fate::Part => expected.push((sent.id, None, sent)),
            Fate::Refuse(status) => expected.push((sent.id, Some(status), sent)),
            Fate::Nothing => {}
        }
    }
    for Reply { id, status, said: payload, .. } in &received.replies {
        if matches!(status, Status::Slow | Status::Closing) {
            continue;
        }
        let due = |(due_id, due_status, sent): &(u64, Option<Status>, &Sent)| {
            let may_fail = sent.called && run.may_refuse(*status);
            let is_due =
                due_status.is_none_or(|due| due == *status) && !(due_status.is_none() && status.closes());
            due_id == id && (is_due || may_fail)
        };
        let at = expected.iter().position(due);
        let at = at.unwrap_or_else(|| {
            let said = String::from_utf8_lossy(&payload[..payload.len().min(100)]);
            let sent = peer.script.sent.iter().find(|sent| sent.id == *id).map(|sent| sent.fate);
            panic!("4: an answer that is not due: {status} ({said}) for {id}, {sent:?}")
        });
        let (_, due, sent) = expected.swap_remove(at);
        let is_open = due.is_none() && sent.fate != Fate::Part;
        if *status == Status::Busy && sent.fate != Fate::Refuse(Status::Busy) {
            let may_be_full = run.overflow == Overflow::Reject || payload.starts_with(b"as many copies");
            assert!(may_be_full, "4: BUSY, though publishers are to pause");
        }
        if *status == Status::Ok {
            // A copy is answered as the first.
            let first = peer.script.sent.iter().find(|sent| sent.id == *id).expect("it is due");
            check_said(run, if is_open { first } else { sent }, payload);
        }
        if is_open {
            let holds = match status {
                Status::Ok | Status::Duplicate => true,
                Status::Rejected => payload.starts_with(b"simulated: "),
                _ => false,
            };
            assert!(holds, "4: {status} for {id}, which a sink has refused once");
        }
    }
    if reason != Some(&CloseReason::Finished) {
        // What became of parts that were held when it was closed is told to nobody.
        expected.retain(|(.., sent)| sent.fate != Fate::Part);
    }
    let missing: Vec<_> = expected.iter().map(|(id, status, _)| (id, status)).collect();
    let is_complete = is_told_all(run, peer, reason);
    assert!(!is_complete || missing.is_empty(), "4: not answered: {missing:?}, {reason:?}");
}

/// 4. With an OK comes what a handler said; where neither a handler nor a sink takes frames, whether nobody got this one.
fn check_said(run: &Simulation<'_>, sent: &Sent, payload: &[u8]) {
    let may_be_lost =
        matches!(sent.fate, Fate::Deliver | Fate::Again) && !sent.called && run.sinks.is_empty();
    if !may_be_lost {
        return assert!(*payload == sent.said, "4: not what the handler said of {}", sent.id);
    }
    let is_lost = payload == NO_SUBSCRIBER.as_bytes();
    assert!(is_lost || payload.is_empty(), "4: an OK with something to say of {}", sent.id);
    let topic = std::str::from_utf8(&sent.topic).expect("it was judged");
    // A subscriber that asks for it now may not have asked for it then.
    let is_wanted =
        run.peers.iter().any(|peer| peer.script.patterns.iter().any(|pattern| matches(pattern, topic)));
    assert!(is_lost || is_wanted, "4: not told that nobody got {}", sent.id);
}

/// 1, 4. A subscriber that was there from the start gets every frame, from its publisher's first to
/// the last that was read; or the number that is missing.
fn check_complete(
    run: &Simulation<'_>,
    peer: &Peer,
    received: &Received,
    all: &[Received],
    reasons: &BTreeMap<usize, CloseReason>,
    known: &Known,
) {
    if reasons.get(&peer.wire).is_none() {
        return;
    }
    let stayed = reasons[&peer.wire] == CloseReason::Draining;
    let none = Vec::new();
    let mut missing = 0;
    let mut all_complete = true;
    for (index, publisher) in run.peers.iter().enumerate().filter(|(_, p)| !p.is_subscriber) {
        let script = &publisher.script;
        let expected: Vec<usize> = (0..script.sent.len())
            .filter(|&i| script.sent[i].fate == Fate::Deliver)
            .filter(|&i| {
                let topic = std::str::from_utf8(&script.sent[i].topic).expect("it was judged");
                peer.script.patterns.iter().any(|pattern| matches(pattern, topic))
            })
            .collect();
        let got = received.frames.get(&index).unwrap_or(&none);
        let connections = run.connections_of(index as u64);
        let is_complete = connections.iter().any(|peer| took_effect(reasons.get(&peer.wire)));
        all_complete &= is_complete;
        // They came by several connections.
        let mut sorted;
        let got = match connections.len() {
            0 | 1 => got,
            _ => {
                sorted = got.clone();
                sorted.sort_unstable();
                &sorted
            }
        };
        if received.lost == 0 && run.may_refuse(Status::Rejected) | run.may_refuse(Status::Busy) {
            check_answered(run, index, &all[index], &expected, got, is_complete && stayed);
        } else if received.lost == 0 {
            let is_part = got.iter().all(|index| expected.contains(index));
            assert!(
                expected.starts_with(got) || is_part && connections.len() > 1,
                "1: peer {index}: {got:?} of {expected:?} under {:?}",
                run.policy
            );
            assert!(!is_complete || !stayed || got.len() == expected.len(), "4: {got:?} of {expected:?}");
        }
        missing += expected.len() as u64 - got.len() as u64;
    }
    let of_devices = devices::missing(run, peer, received, reasons);
    all_complete &= of_devices.is_some();
    missing += of_devices.unwrap_or(0);
    assert!(run.policy == SlowPolicy::Drop || received.lost == 0, "only the drop policy drops");
    let all_pass = !run.rules.forgets && !run.may_refuse(Status::Rejected) && !run.may_refuse(Status::Busy);
    if stayed && all_complete && all_pass {
        let (least, most) = known.missing(run, &peer.script.patterns, &received.messages);
        let says = (missing + least..=missing + most).contains(&received.lost);
        assert!(says, "4: a GAP says {} for {missing} frames and {least} to {most} messages", received.lost);
    }
}

/// Where a handler that fails, or a full queue, may refuse any frame: what its publisher was told is what
/// became of it (4).
fn check_answered(
    run: &Simulation<'_>,
    publisher: usize,
    told: &Received,
    expected: &[usize],
    got: &[usize],
    must_be_there: bool,
) {
    let sent = &run.peers[publisher].script.sent;
    for &index in expected {
        if run.is_refused((publisher as u64, sent[index].id)) {
            // Told REJECTED by a sink, after it came out.
            continue;
        }
        let replies = told.replies.iter().filter(|reply| reply.id == sent[index].id);
        let (mut ok, mut refused) = (false, false);
        replies.for_each(|reply| match &reply.status {
            Status::Ok => ok = true,
            // Another may be about the connection, whose id is 0.
            status => refused |= run.may_refuse(*status),
        });
        let came = got.contains(&index);
        assert!(!refused || !came, "4: {index} came out, and its publisher was told that it would not");
        assert!(!ok || !must_be_there || came, "4: {index} did not come out, and its publisher was told OK");
    }
    assert!(got.iter().all(|index| expected.contains(index)));
}

/// Nobody is left behind, and no handler got a frame more often than it may.
fn check_handlers(run: &Simulation<'_>) {
    let world = run.world.borrow();
    // Two that fail with it, and once more if an answer found no room; as long as none works, as often as one starts.
    let most = match run.rules.proven || !run.chaos && !run.rules.poison {
        true => 2 + usize::from(run.gate.ledger().calls.repeated > 0),
        false => usize::MAX,
    };
    for program in &world.programs {
        assert!(program.reaped && !program.is_alive(), "a program is left behind");
    }
    for ((key, _, payload), times) in &run.seen {
        if devices::is_key(*key) {
            assert!(*times <= most, "a device's frame was given away {times} times");
            continue;
        }
        let script = &run.peers[*key as usize].script;
        let copies = script.sent.iter().filter(|sent| {
            let len = sent.end - sent.start;
            len >= 64 + payload.len()
                && script.bytes[sent.start..sent.end][len - 32 - payload.len()..].starts_with(payload)
        });
        assert!(*times <= most.saturating_mul(copies.count()), "a frame was given away {times} times");
    }
}
