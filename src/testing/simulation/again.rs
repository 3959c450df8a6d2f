//! Where the deduplication window ends, or its bound is reached, during a run: a copy is told DUPLICATE or comes out
//! once more, and what is told is what came.

use std::collections::HashSet;
use std::time::Duration;

use super::Simulation;
use super::fragmented::Name;
use super::network::when;
use super::oracle::{Received, Reply};
use super::peers::Peer;
use super::script::Fate;
use super::story::Item;
use crate::wire::{Status, matches};

/// Checks every frame that was sent more than once. `took_effect` says of a publisher whether all it sent did and
/// whether it was told all of it, `stayed` of a subscriber whether it stayed to the end. Returns how many copies came
/// out again.
pub(super) fn check(
    run: &Simulation<'_>,
    received: &[Received],
    took_effect: impl Fn(&Peer) -> (bool, bool),
    stayed: impl Fn(&Peer) -> bool,
) -> [u64; 2] {
    if run.rules.resends {
        return [0, check_resent(run, received)];
    }
    if !run.rules.forgets {
        return [0, 0];
    }
    let mut again = 0;
    for (at, peer) in run.peers.iter().enumerate() {
        let (all_came, all_told) = took_effect(peer);
        for sent in peer.script.sent.iter().filter(|sent| sent.fate == Fate::Deliver) {
            let name = (at as u64, sent.id);
            let copies = peer.script.copies(sent.id);
            let replies: Vec<&Reply> = received[at]
                .replies
                .iter()
                .filter(|reply| reply.id == sent.id && !reply.status.closes())
                .collect();
            let count = |status| replies.iter().filter(|reply| reply.status == status).count();
            let (ok, duplicate) = (count(Status::Ok), count(Status::Duplicate));
            assert!(ok + duplicate <= copies, "4: {name:?} was sent {copies} times, and told {replies:?}");
            let topic = std::str::from_utf8(&sent.topic).expect("it was judged");
            let mut came: Vec<usize> = Vec::new();
            for (other, received) in run.peers.iter().zip(received) {
                let asks = other.script.patterns.iter().any(|pattern| matches(pattern, topic));
                if other.is_subscriber && asks && received.lost == 0 && stayed(other) {
                    came.push(received.items.iter().filter(|item| is(item, name)).count());
                }
            }
            if run.gate.ledger().to_sinks.unconfirmed() == 0 {
                let of = |told: &[super::sink::Told]| told.iter().filter(|told| is(&told.item, name)).count();
                came.extend(run.sinks.iter().map(|sink| of(&sink.borrow().told)));
            }
            let Some(&times) = came.first() else { continue };
            assert!(came.iter().all(|&other| other == times), "1: {name:?} came {came:?} times");
            assert!(
                times <= copies && (times > 0 || !all_came),
                "2: {name:?} came {times} times of {copies}"
            );
            let agrees = times == ok || times > ok && !(sent.answered && all_told);
            let refused = run.is_refused(name);
            assert!(agrees || refused, "4: {name:?} came {times} times, and {ok} times told OK");
            again += times.saturating_sub(1) as u64;
            if let Some(window) = run.rules.window {
                check_window(run, at, name, window, &replies);
            }
        }
    }
    [again, 0]
}

/// What was sent on several connections is accepted on one of them, and the others are told DUPLICATE. Returns how
/// many.
fn check_resent(run: &Simulation<'_>, received: &[Received]) -> u64 {
    let mut accepted: HashSet<Name> = HashSet::new();
    let mut duplicates = 0;
    for (peer, received) in run.peers.iter().zip(received) {
        let owner = peer.script.owner.expect("it is connected");
        let fate_of = |id| peer.script.sent.iter().find(|sent| sent.id == id).map(|sent| sent.fate);
        for reply in &received.replies {
            match (fate_of(reply.id), reply.status) {
                (Some(Fate::Deliver | Fate::Again), Status::Ok) => {
                    let is_new = accepted.insert((owner, reply.id));
                    assert!(is_new, "2: {} of peer {owner} is told OK twice", reply.id);
                }
                (Some(Fate::Again), Status::Duplicate) => duplicates += 1,
                (Some(Fate::Again), status) => assert!(status.closes(), "4: {status} for {}", reply.id),
                _ => {}
            }
        }
    }
    duplicates
}

fn is(item: &Item, name: Name) -> bool {
    *item == Item::Frame(name)
}

/// What is accepted is remembered for the whole window, and no longer.
fn check_window(run: &Simulation<'_>, at: usize, name: Name, window: Duration, replies: &[&Reply]) {
    let peer = &run.peers[at];
    let wire = &run.world.borrow().wires[peer.wire];
    let mut sent = peer.script.sent.iter().filter(|sent| sent.id == name.1);
    let arrived = |end: usize| {
        (wire.arrivals.last().is_some_and(|last| last.0 >= end)).then(|| when(&wire.arrivals, end))
    };
    let Some(first) = sent.next().and_then(|sent| arrived(sent.end)) else { return };
    let ok = replies.iter().filter(|reply| reply.status == Status::Ok);
    let told: Vec<_> = ok.map(|reply| when(&wire.answers, reply.end)).collect();
    for (times, &told) in told.iter().enumerate().skip(1) {
        let passed = told.saturating_duration_since(first);
        assert!(passed >= window * times as u32, "2: {name:?} came out again after {passed:?} of {window:?}");
    }
    // One copy: of two it is not known which was the first to be told.
    if let (Some(copy), None, [one], [_, _]) = (sent.next(), sent.next(), &told[..], replies)
        && let Some(came) = arrived(copy.end)
    {
        let passed = came.saturating_duration_since(*one);
        assert!(passed < window, "2: {name:?} is a DUPLICATE after {passed:?} of {window:?}");
    }
}
