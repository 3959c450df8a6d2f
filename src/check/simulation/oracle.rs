//! What must hold at the end of a run, whatever happened in it. The numbers are those of the seven
//! sentences that define the gateway.

use std::collections::BTreeMap;

use super::peers::Peer;
use super::script::Fate;
use super::{Coverage, Simulation};
use crate::error::CloseReason;
use crate::frame::{Kind, Status, matches};
use crate::gate::{BadDigestPolicy, SlowPolicy};
use crate::ledger::VerifiedBy;

/// What one peer received.
#[derive(Default)]
struct Received {
    /// By publisher, the indices in its script.
    frames: BTreeMap<usize, Vec<usize>>,
    replies: Vec<(u64, Status)>,
    lost: u64,
}

pub(super) fn check(run: &Simulation<'_>) -> Coverage {
    // 7. At the end nothing is left.
    run.gate.check_empty();
    let ledger = run.gate.ledger();
    assert!(ledger.is_balanced(), "7: the ledger is not balanced: {ledger}");

    let reasons: BTreeMap<usize, CloseReason> =
        run.gate.closed().iter().map(|(addr, reason)| (addr.port() as usize, reason.clone())).collect();
    let received: Vec<Received> = run.peers.iter().map(|peer| receive(run, peer)).collect();
    for (peer, received) in run.peers.iter().zip(&received) {
        let reason = reasons.get(&peer.wire);
        check_reason(run, peer, reason);
        check_replies(run, peer, received, reason);
        if peer.is_subscriber {
            check_complete(run, peer, received, &reasons);
        }
    }
    let closed =
        |test: fn(&CloseReason) -> bool| reasons.values().filter(|reason| test(reason)).count() as u64;
    Coverage {
        frames: ledger.read,
        delivered: received.iter().flat_map(|r| r.frames.values()).map(|f| f.len() as u64).sum(),
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
        steered: run.steering.done,
        turns: run.turns,
    }
}

/// Reads everything that a peer got: in order, once, intact, and what it asked for.
fn receive(run: &Simulation<'_>, peer: &Peer) -> Received {
    let mut received = Received::default();
    let mut decoder = peer.decoder();
    while let Some(frame) = decoder.next_frame().expect("the gateway sends frames") {
        assert!(frame.is_intact(&run.rules.scheme), "3: a frame with a wrong digest came out");
        let header = frame.header;
        match header.kind {
            Kind::Reply => match Status::from_u16(header.status).expect("a status that exists") {
                Status::Gap => received.lost += header.key,
                status => received.replies.push((header.id, status)),
            },
            Kind::Data => {
                let (from, index) = (header.key as usize, header.id as usize);
                let script = &run.peers[from].script;
                let sent = &script.sent[index];
                assert_eq!(frame.bytes, &script.bytes[sent.start..sent.end], "3: other bytes came out");
                assert_eq!(sent.fate, Fate::Deliver, "3: a frame came out that must not");
                let topic = std::str::from_utf8(frame.topic()).expect("a topic is UTF-8");
                let asked = peer.script.patterns.iter().any(|pattern| matches(pattern, topic));
                assert!(asked, "a frame came out that nobody asked for");
                let frames = received.frames.entry(from).or_default();
                let in_order = frames.last().is_none_or(|last| *last < index);
                assert!(in_order, "1, 2: frame {index} of peer {from} after {:?}", frames.last());
                frames.push(index);
            }
            kind => panic!("the gateway sent a {kind:?}"),
        }
    }
    received
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
        CloseReason::Fault(_) | CloseReason::Unauthorized => assert!(over.is_some(), "4: {reason}"),
        CloseReason::BadDigest => assert!(run.rules.on_bad_digest == BadDigestPolicy::Close, "4: {reason}"),
        CloseReason::Draining => assert!(peer.is_subscriber, "4: {reason}"),
        CloseReason::Slow => assert!(!run.calm || run.policy == SlowPolicy::Pause, "4: {reason}"),
        CloseReason::Idle | CloseReason::FrameTimeout | CloseReason::Reclaimed => {
            assert!(!run.calm, "4: {reason}")
        }
    }
}

/// 4. Every frame that asks is answered, once, with what must become of it.
fn check_replies(run: &Simulation<'_>, peer: &Peer, received: &Received, reason: Option<&CloseReason>) {
    let mut expected: Vec<(u64, Status)> = Vec::new();
    for sent in peer.script.sent.iter().filter(|sent| sent.answered) {
        match sent.fate {
            Fate::Deliver | Fate::Control => expected.push((sent.id, Status::Ok)),
            Fate::Refuse(status) => expected.push((sent.id, status)),
            Fate::Nothing => {}
        }
    }
    for (id, status) in &received.replies {
        if matches!(status, Status::Slow | Status::Closing) {
            continue;
        }
        let at = expected.iter().position(|reply| reply == &(*id, *status));
        let at = at.unwrap_or_else(|| panic!("4: an answer that is not due: {status} for {id}"));
        expected.swap_remove(at);
    }
    let is_whole = match reason {
        Some(CloseReason::Finished) => true,
        // A last reply waits for its reader only so long.
        Some(CloseReason::Fault(_) | CloseReason::Unauthorized | CloseReason::BadDigest) => {
            run.calm && !peer.broke
        }
        _ => false,
    };
    assert!(!is_whole || expected.is_empty(), "4: not answered: {expected:?}, {reason:?}");
}

/// 1, 4. A subscriber that was there from the start gets every frame, from its publisher's first to
/// the last that was read; or the number that is missing.
fn check_complete(
    run: &Simulation<'_>,
    peer: &Peer,
    received: &Received,
    reasons: &BTreeMap<usize, CloseReason>,
) {
    if reasons.get(&peer.wire).is_none() {
        return;
    }
    let stayed = reasons[&peer.wire] == CloseReason::Draining;
    let none = Vec::new();
    let mut missing = 0;
    let mut all_whole = true;
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
        let is_whole = matches!(
            reasons.get(&publisher.wire),
            Some(
                CloseReason::Finished
                    | CloseReason::Fault(_)
                    | CloseReason::Unauthorized
                    | CloseReason::BadDigest
            )
        );
        all_whole &= is_whole;
        if received.lost == 0 {
            assert!(
                expected.starts_with(got),
                "1: peer {index}: {got:?} of {expected:?} under {:?}",
                run.policy
            );
            assert!(!is_whole || !stayed || got.len() == expected.len(), "4: {got:?} of {expected:?}");
        }
        missing += expected.len() as u64 - got.len() as u64;
    }
    assert!(run.policy == SlowPolicy::Drop || received.lost == 0, "only the drop policy drops");
    if stayed && all_whole {
        assert_eq!(received.lost, missing, "4: a GAP says how many frames are missing");
    }
}
