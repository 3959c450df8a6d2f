//! What must come of parts. Which of several copies is taken, and whether a message is in time, depends on the
//! order in which connections are read; what is told and what comes out must agree whatever that was.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Simulation;
use super::fragmented::{Name, parts_of};
use super::network::when;
use super::oracle::{Received, Reply};
use super::script::{Fate, Sent};
use super::sink::SinkState;
use crate::gateway::Pressure;
use crate::wire::{Frame, Header, Status, matches};

/// A reassembled message, by its parts in their order.
pub type Message = Vec<Name>;

/// How often each came.
pub type Messages = BTreeMap<Message, usize>;

/// Everything that was sent under one topic and key.
type Fragmented<'a> = BTreeMap<(&'a [u8], u64), Vec<Part<'a>>>;

/// A part that was sent, some times over.
struct Part<'a> {
    name: Name,
    header: Header,
    payload: usize,
    /// Its first copy.
    sent: &'a Sent,
    copies: usize,
}

/// What is known of all messages.
#[derive(Default)]
pub struct Known {
    /// How often each came to the subscriber or sink that got it most often.
    pub all: Messages,
    /// Parts by how many of the messages they are in.
    within: BTreeMap<Name, usize>,
    /// Subscribers who got all of their patterns, and whether a sink got all there are.
    complete: Vec<BTreeSet<String>>,
    stored: bool,
}

/// What was told to a part and its copies.
#[derive(Default)]
struct Told {
    ok: usize,
    by_sink: usize,
    duplicate: usize,
}

impl Known {
    /// Whether every reassembled message of this topic is known.
    fn has_all_of(&self, topic: &str) -> bool {
        let matches = |patterns: &BTreeSet<String>| patterns.iter().any(|pattern| matches(pattern, topic));
        self.stored || self.complete.iter().any(matches)
    }

    fn has_all(&self) -> bool {
        self.stored || self.complete.iter().any(|patterns| patterns.contains(">"))
    }

    /// How many messages a subscriber lacks of those that it asked for: at least and at most.
    pub fn missing(&self, run: &Simulation<'_>, patterns: &BTreeSet<String>, got: &Messages) -> (u64, u64) {
        let count = |asked: bool| {
            let of_these = |message: &Message| {
                patterns.iter().any(|pattern| matches(pattern, topic_of(run, message))) == asked
            };
            self.all
                .iter()
                .filter(|(message, _)| of_these(message))
                .map(|(_, times)| *times as u64)
                .sum::<u64>()
        };
        let got: u64 = got.values().map(|times| *times as u64).sum();
        (count(true) - got, run.gate.ledger().reassembled - count(false) - got)
    }
}

/// Takes a message apart: its parts are those of one message, each as it was sent, in the order of their indexes.
pub fn take_apart(run: &Simulation<'_>, frame: &Frame<'_>) -> Message {
    let Header { key, topic_len, payload_len, .. } = frame.header;
    let plain = Header { key, topic_len, payload_len, ..Header::new(crate::wire::Kind::Data) };
    assert_eq!(frame.header, plain, "3: the header of a message");
    let mut count = 0;
    let parts = parts_of(frame.payload());
    for (index, &((peer, id), bytes)) in parts.iter().enumerate() {
        let script = &run.peers[peer as usize].script;
        let sent = &script.sent[id as usize];
        let (header, topic, payload) = script.frame_of(sent);
        assert!(
            usize::from(header.part_index) == index,
            "3: part {} is in the place of part {index}",
            header.part_index
        );
        assert_eq!(sent.fate, Fate::Part, "3: it must not come out");
        assert_eq!((header.key, topic), (key, frame.topic()), "3: it is of another message");
        assert!(bytes == payload, "3: other bytes came out");
        assert!(count == 0 || count == header.part_count, "3: it is one of {}", header.part_count);
        count = header.part_count;
    }
    assert_eq!(parts.len(), usize::from(count), "3: a message consists of all of its parts");
    parts.into_iter().map(|(name, _)| name).collect()
}

/// Every message that came out: each to all who must have it, as often as to the others.
pub(super) fn gather(run: &Simulation<'_>, received: &[Received], stayed: impl Fn(usize) -> bool) -> Known {
    let mut known = Known::default();
    let mut add = |messages: &Messages| {
        for (message, &times) in messages {
            let most = known.all.entry(message.clone()).or_default();
            *most = times.max(*most);
        }
    };
    received.iter().for_each(|received| add(&received.messages));
    let stored: Vec<Messages> =
        run.sinks.iter().map(|sink| stored_in(run, &sink.borrow().messages)).collect();
    match run.rules.dedup {
        false => stored.iter().for_each(&mut add),
        // What one has refused comes to it again, to the others only if they have refused it too, and to no subscriber.
        true => {
            let taken = |(messages, sink): (&Messages, &Rc<RefCell<SinkState>>)| {
                let taken = |(message, times): (&Message, &usize)| {
                    let refused = refused_by(run, &sink.borrow().messages, message);
                    (message.clone(), times.saturating_sub(refused).max(1))
                };
                messages.iter().map(taken).collect()
            };
            add(&in_all(&stored.iter().zip(&run.sinks).map(taken).collect::<Vec<Messages>>()));
        }
    }
    for (message, &times) in &known.all {
        message.iter().for_each(|&part| *known.within.entry(part).or_default() += times);
    }
    // What a sink gave no word on in time is not known to be there.
    known.stored = !run.sinks.is_empty() && run.gate.ledger().to_sinks.unconfirmed() == 0;
    for (messages, sink) in stored.iter().zip(&run.sinks).filter(|_| known.stored) {
        let refused = |message: &Message| match run.rules.dedup {
            true => refused_by(run, &sink.borrow().messages, message),
            false => 0,
        };
        assert!(messages.keys().eq(known.all.keys()), "4: a sink does not have every message");
        for (message, &times) in messages {
            let (all, refused) = (known.all[message], refused(message));
            assert!(
                (all..=all + refused).contains(&times),
                "4: a sink has {message:?} {times} times, of {all}"
            );
            let is_known = run.rules.dedup && !run.rules.forgets;
            assert!(!is_known || times <= refused + 1, "2: a sink has {message:?} twice");
        }
    }
    for (peer, received) in run.peers.iter().zip(received) {
        if peer.is_subscriber && stayed(peer.wire) && received.lost == 0 {
            let missing = known.missing(run, &peer.script.patterns, &received.messages);
            assert_eq!(missing.0, 0, "4: a message did not come out to everyone");
            known.complete.push(peer.script.patterns.clone());
        }
    }
    let ledger = run.gate.ledger();
    let count: usize = known.all.values().sum();
    let parts: usize = known.all.iter().map(|(message, times)| message.len() * times).sum();
    assert!(count as u64 <= ledger.reassembled && parts as u64 <= ledger.fragments);
    // What sinks have refused is put together again for them.
    let once =
        !run.rules.dedup || run.sinks.iter().all(|sink| sink.borrow().messages.iter().all(|(_, is)| *is));
    if known.has_all() && once {
        assert_eq!((count as u64, parts as u64), (ledger.reassembled, ledger.fragments), "4: {ledger}");
    }
    known
}

/// As often as each is in all of them.
fn in_all(stored: &[Messages]) -> Messages {
    let Some((first, others)) = stored.split_first() else { return Messages::new() };
    let least = |(message, &times): (&Message, &usize)| {
        let others = others.iter().map(|other| other.get(message).copied().unwrap_or(0));
        (message.clone(), others.fold(times, usize::min))
    };
    first.iter().map(least).filter(|(_, times)| *times > 0).collect()
}

fn refused_by(run: &Simulation<'_>, words: &[(Vec<u8>, bool)], message: &Message) -> usize {
    let refused = words.iter().filter(|(_, is_good)| !is_good);
    refused.filter(|(bytes, _)| take_apart(run, &Frame::first_of(bytes)) == *message).count()
}

fn stored_in(run: &Simulation<'_>, stored: &[(Vec<u8>, bool)]) -> Messages {
    let mut messages = Messages::new();
    for (bytes, _) in stored {
        let frame = Frame::first_of(bytes);
        assert!(frame.is_intact(&run.rules.scheme), "3: a message with a wrong digest is stored");
        *messages.entry(take_apart(run, &frame)).or_default() += 1;
    }
    messages
}

/// What was told of each part is what became of it. `took_effect` says of a publisher whether everything it sent
/// did, and whether it was told everything. Returns what the coverage counts.
pub(super) fn check(
    run: &Simulation<'_>,
    known: &Known,
    received: &[Received],
    took_effect: impl Fn(usize) -> (bool, bool),
) -> ([u64; 9], u64) {
    let fragmented = fragmented(run);
    let has_room = has_room_for_all(run, &fragmented);
    let mut counts = [0; 9];
    let mut certain = 0;
    for (&(topic, key), parts) in &fragmented {
        let topic = std::str::from_utf8(topic).expect("it was judged");
        for part in parts {
            let (peer, id) = part.name;
            let mut told = Told::default();
            for reply in received[peer as usize].replies.iter().filter(|reply| reply.id == id) {
                check_reply(run, part, parts, reply, &mut told, &mut counts, has_room);
            }
            let within = known.within.get(&part.name).copied().unwrap_or(0);
            assert!(within <= part.copies, "2: {:?} is in {within} messages", part.name);
            let refuses = run.rules.forgets
                || run.sinks.iter().any(|sink| sink.borrow().messages.iter().any(|(_, is_good)| !is_good));
            assert!(!run.rules.dedup || within <= 1 || refuses, "2: {:?} is in {within} messages", part.name);
            if known.has_all_of(topic) {
                let (ok, is_told_all) = (told.ok + told.by_sink, took_effect(peer as usize).1);
                let is_enough = ok >= within || !(part.sent.answered && is_told_all);
                let agrees = match run.rules.dedup && part.copies > 1 {
                    false => ok <= within && is_enough,
                    // A copy is told DUPLICATE, or the reason of the message that it repeats.
                    true if within == 0 => ok == 0 && told.duplicate == 0,
                    true => told.ok <= within && is_enough,
                };
                assert!(agrees, "4: {:?} is in {within} messages, and {ok} times told so", part.name);
            }
        }
        let all_came = parts.iter().all(|part| took_effect(part.name.0 as usize).0);
        if has_room && all_came && known.has_all_of(topic) {
            certain += u64::from(check_certain(known, key, parts, run.rules.payload_max));
        }
    }
    (counts, certain)
}

/// Whether there was room and time for all messages at once.
fn has_room_for_all(run: &Simulation<'_>, fragmented: &Fragmented<'_>) -> bool {
    let parts = || fragmented.values().flatten();
    // An entry, a reply, a message of its own.
    let cost: usize = parts().map(|part| part.copies * (part.sent.end - part.sent.start + 800)).sum();
    // A quarter is for those that are open.
    let fits = fragmented.len() as u64 <= run.gate.describe_state().parts.keys.max
        && cost <= run.parts_bytes.0 / 4 * 3;
    fits && run.patient && !run.silent && !run.early
}

/// Where there is room and time, what can be reassembled is.
fn check_certain(known: &Known, key: u64, parts: &[Part<'_>], payload_max: usize) -> bool {
    let count = parts[0].header.part_count;
    let of = |index: u16| parts.iter().filter(move |part| part.header.part_index == index);
    let largest: usize = (0..count).filter_map(|index| of(index).map(|part| part.payload).max()).sum();
    let copies = |index: u16| of(index).map(|part| part.copies).sum::<usize>();
    let most = (0..count).map(copies).min().unwrap_or(0);
    if parts.iter().any(|part| part.header.part_count != count) || largest > payload_max || most == 0 {
        return false;
    }
    let first = of(0).map(|part| known.within.get(&part.name).copied().unwrap_or(0)).sum::<usize>();
    assert!((1..=most).contains(&first), "4: message {key} was reassembled {first} times, of 1 to {most}");
    true
}

/// A part is refused for a reason that there is, and expires when its lease has ended.
fn check_reply(
    run: &Simulation<'_>,
    part: &Part<'_>,
    others: &[Part<'_>],
    reply: &Reply,
    told: &mut Told,
    counts: &mut [u64; 9],
    has_room: bool,
) {
    let Part { name, header, sent, .. } = part;
    let Reply { status, said, end, .. } = reply;
    let said = String::from_utf8_lossy(said);
    let wire = &run.world.borrow().wires[run.peers[name.0 as usize].wire];
    let is_there = |test: &dyn Fn(&Part<'_>) -> bool| others.iter().any(test);
    let (at, holds) = match status {
        Status::Ok => {
            told.ok += 1;
            return;
        }
        Status::Expired => match &*said {
            "the other fragments did not come within the lease" => {
                let (came, ended) = (when(&wire.arrivals, sent.end), when(&wire.answers, *end));
                (0, ended >= came + run.lease)
            }
            "there was no room for more fragments (lease-pressure expire)" => {
                (1, run.pressure == Pressure::Expire && !has_room)
            }
            "the gateway drains" => (2, run.early || run.silent),
            _ => (2, false),
        },
        Status::Rejected if said.starts_with("simulated: ") => {
            told.by_sink += 1;
            (7, true)
        }
        Status::Rejected => {
            let again = |other: &Part<'_>| {
                other.header.part_index == header.part_index
                    && (other.name != *name || other.copies > 1 && !run.rules.dedup)
            };
            let total: usize = others.iter().map(|other| other.payload * other.copies).sum();
            match &*said {
                _ if said == format!("fragment {} came before", header.part_index) => (3, is_there(&again)),
                _ if said.starts_with("it says ") => {
                    let says = |other: &Part<'_>| {
                        let count = other.header.part_count;
                        count != header.part_count && said.ends_with(&format!("before say {count}"))
                    };
                    (4, is_there(&says))
                }
                _ if said.starts_with("the message would be larger") => (5, total > run.rules.payload_max),
                _ => (8, said.starts_with("its message would take more") && !has_room),
            }
        }
        Status::Duplicate => {
            told.duplicate += 1;
            (6, run.rules.dedup && part.copies > 1)
        }
        Status::Busy => (6, run.rules.dedup && part.copies > 1 && said.starts_with("as many copies")),
        // About the connection.
        status if status.closes() => return,
        _ => (5, false),
    };
    assert!(holds, "4: {status} ({said}) for part {name:?}, {header:?}");
    counts[at] += 1;
}

/// All parts that were sent, by their messages.
fn fragmented<'a>(run: &'a Simulation<'_>) -> Fragmented<'a> {
    let mut fragmented = Fragmented::new();
    for (at, peer) in run.peers.iter().enumerate() {
        for sent in peer.script.sent.iter().filter(|sent| sent.fate == Fate::Part) {
            let (header, topic, payload) = peer.script.frame_of(sent);
            let name = (at as u64, sent.id);
            let parts = fragmented.entry((topic, header.key)).or_default();
            match parts.iter_mut().find(|part: &&mut Part<'_>| part.name == name) {
                Some(part) => part.copies += 1,
                None => parts.push(Part { name, header, payload: payload.len(), sent, copies: 1 }),
            }
        }
    }
    fragmented
}

pub fn topic_of<'a>(run: &'a Simulation<'_>, message: &Message) -> &'a str {
    let (peer, id) = message[0];
    let script = &run.peers[peer as usize].script;
    std::str::from_utf8(script.frame_of(&script.sent[id as usize]).1).expect("it was judged")
}
