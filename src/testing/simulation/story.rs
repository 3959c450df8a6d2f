//! Subscribers, sinks, replies and the ledger tell one story: what came of a connection came to each of them once, in
//! one order, under its own topic; and a message has its place where the last of its fragments stood.

use std::cell::Ref;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Simulation;
use super::devices;
use super::fragmented::{FIRST_KEY, Name, parts_of};
use super::messages::{Message, topic_of};
use super::oracle::Received;
use super::peers::Peer;
use super::script::Fate;
use super::sink::{SinkState, Told};
use crate::wire::{Frame, Kind, Status, matches};

/// What came out: a frame as it was sent (or what a handler put in its place), or a message, by its fragments in
/// their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    Frame(Name),
    Message(Message),
}

impl Item {
    /// None, if the frame is no DATA.
    pub fn of(frame: &Frame<'_>) -> Option<Item> {
        let header = frame.header;
        match header.kind {
            Kind::Data if header.key < FIRST_KEY || devices::is_key(header.key) => {
                Some(Item::Frame(devices::name_of(&header)))
            }
            Kind::Data => {
                Some(Item::Message(parts_of(frame.payload()).into_iter().map(|(name, _)| name).collect()))
            }
            _ => None,
        }
    }
}

/// A place in what a peer sends: the peer, and the index of a frame there.
type Place = (u64, usize);

/// One who saw what came out.
struct Witness<'a> {
    name: String,
    items: Vec<&'a Item>,
    /// It is known of each item whether it is the first of its copies.
    is_clear: bool,
}

struct Story<'a> {
    run: &'a Simulation<'a>,
    /// Where each frame and its copies stand in what its publisher sends.
    places: HashMap<Name, Vec<usize>>,
    /// The peer of each connection that a sink was told of, as far as a whole frame of it was put.
    peers: HashMap<u64, u64>,
    /// The places at which each message may have its own, as far as those who saw it agree.
    stands: HashMap<&'a Message, BTreeSet<Place>>,
}

/// Checks the story of a whole run. `took_effect` says of a peer whether everything that it sent did, and `stayed`
/// whether it stayed to the end.
pub(super) fn check<'a>(
    run: &'a Simulation<'a>,
    received: &'a [Received],
    took_effect: impl Fn(&Peer) -> bool,
    stayed: impl Fn(&Peer) -> bool,
) {
    let sinks: Vec<_> = run.sinks.iter().map(|sink| sink.borrow()).collect();
    let told: Vec<&[Told]> = sinks.iter().map(|sink| &sink.told[..]).collect();
    // At the end of a drain, what a sink had no room for is forgotten.
    let all_put = run.gate.ledger().to_sinks.unconfirmed() == 0;
    let mut story = Story { run, places: places(run), peers: HashMap::new(), stands: HashMap::new() };
    for told in &told {
        story.check_filing(told);
        story.learn_peers(told);
    }
    let mut witnesses: Vec<Witness<'_>> = Vec::new();
    for (at, told) in told.iter().enumerate() {
        let items = told.iter().map(|told| &told.item).collect();
        witnesses.push(Witness { name: format!("sink {at}"), items: once(items), is_clear: true });
    }
    for (at, received) in received.iter().enumerate() {
        let name = format!("peer {at}");
        // The first may be among those that it lost, or did not ask for yet.
        let has_copies = run.rules.dedup || run.parts;
        let is_clear = !has_copies || received.lost == 0 && run.peers[at].is_subscriber;
        witnesses.push(Witness { name, items: once(received.items.iter().collect()), is_clear });
    }
    // Where something is forgotten, each sink was told of the beginning of one and the same.
    let longest = (0..told.len()).max_by_key(|&at| witnesses[at].items.len());
    let from = longest.map_or_else(HashMap::new, |at| connections(told[at]));
    for witness in &witnesses {
        story.begin_places(witness, &from);
    }
    // What came by two connections is in the order of each: that is what the sinks were told.
    let have_places = || witnesses.iter().filter(|witness| witness.is_clear && !run.rules.resends);
    have_places().for_each(|witness| story.check_places(witness));
    have_places().for_each(|witness| story.check_order_of_messages(witness));
    check_ledger(run, &told, &sinks, all_put);
    check_refusals(run, received, &sinks);
    let Some(sink) = longest.map(|at| &witnesses[at]) else { return };
    for other in &witnesses[..told.len()] {
        check_same(sink, other, &from, |_| true, all_put);
    }
    for (at, peer) in run.peers.iter().enumerate() {
        let asked = |item: &Item| {
            let topic = topic(run, item);
            peer.script.patterns.iter().any(|pattern| matches(pattern, topic))
        };
        let is_complete = all_put && peer.is_subscriber && stayed(peer) && received[at].lost == 0;
        let witness = &witnesses[told.len() + at];
        if all_put && witness.is_clear {
            check_same(sink, witness, &from, asked, is_complete);
        }
        if !peer.is_subscriber {
            let is_complete = run.connections_of(at as u64).into_iter().any(&took_effect);
            check_stored(run, at, sink, &received[at], is_complete && all_put);
        }
    }
}

fn places(run: &Simulation<'_>) -> HashMap<Name, Vec<usize>> {
    let mut places: HashMap<Name, Vec<usize>> = HashMap::new();
    for (at, peer) in (0..).zip(&run.peers) {
        for (index, sent) in peer.script.sent.iter().enumerate() {
            places.entry((at, sent.id)).or_default().push(index);
        }
    }
    for (name, at) in run.devices.iter().flat_map(|devices| devices.places()) {
        places.entry(name).or_default().push(at);
    }
    places
}

/// The topic that it must come out under.
fn topic<'a>(run: &'a Simulation<'_>, item: &Item) -> &'a str {
    match item {
        Item::Frame(name) if devices::is_of_device(*name) => {
            run.devices.as_ref().expect("3: nobody sends such a frame").topic(*name)
        }
        Item::Frame((peer, id)) => {
            let topic = &run.peers[*peer as usize].script.sent[*id as usize].topic;
            std::str::from_utf8(topic).expect("it was judged")
        }
        Item::Message(message) => topic_of(run, message),
    }
}

/// Each item where it came first: one that was refused may be sent again.
fn once(mut items: Vec<&Item>) -> Vec<&Item> {
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(*item));
    items
}

/// The connection that each item is of.
fn connections(told: &[Told]) -> HashMap<&Item, u64> {
    let mut from = HashMap::new();
    for told in told {
        from.entry(&told.item).or_insert(told.from);
    }
    from
}

impl<'a> Story<'a> {
    fn check_filing(&self, told: &[Told]) {
        for Told { item, folder, .. } in told {
            let topic = topic(self.run, item);
            let folder = String::from_utf8_lossy(folder);
            assert!(folder == topic, "2: {item:?} of topic {topic:?} is filed under {folder:?}");
        }
    }

    /// A connection's frames are put as those of one connection, and of no other.
    fn learn_peers(&mut self, told: &[Told]) {
        for Told { item, from, .. } in told {
            if let Item::Frame((peer, _)) = item {
                let known = *self.peers.entry(*from).or_insert(*peer);
                assert_eq!(known, *peer, "1: {item:?} is put as a frame of the connection of peer {known}");
            }
        }
        let peers: HashSet<&u64> = self.peers.values().collect();
        let are_one = peers.len() == self.peers.len() || self.run.rules.resends;
        assert!(are_one, "1: frames of one peer are put as those of two");
    }

    /// Where each message may stand: at a fragment behind which there is no other of its connection's.
    fn begin_places(&mut self, witness: &Witness<'a>, from: &HashMap<&Item, u64>) {
        for &item in &witness.items {
            let Item::Message(message) = item else { continue };
            if self.stands.contains_key(message) {
                continue;
            }
            let mut last: BTreeMap<u64, usize> = BTreeMap::new();
            for part in message {
                let last = last.entry(part.0).or_default();
                *last = self.places[part][0].max(*last);
            }
            let of = from.get(item).and_then(|from| self.peers.get(from));
            let places = message.iter().flat_map(|part| self.places[part].iter().map(|&at| (part.0, at)));
            let stands = places
                .filter(|(peer, at)| *at >= last[peer] && of.is_none_or(|of| of == peer))
                .collect::<BTreeSet<Place>>();
            assert!(!stands.is_empty(), "1: {item:?} is put as of peer {of:?}, who sent none of it");
            self.stands.insert(message, stands);
        }
    }

    /// The frames of a connection come in the order in which they were sent, and each message where one of its
    /// fragments stood, which is the same for everyone.
    fn check_places(&mut self, witness: &Witness<'a>) {
        let Witness { name, items, .. } = witness;
        // Of each publisher: where its latest frame stands, and the messages that came behind that.
        let mut latest: HashMap<u64, usize> = HashMap::new();
        let mut since: HashMap<u64, Vec<&'a Message>> = HashMap::new();
        for &item in items {
            match item {
                Item::Frame(frame) => {
                    let peer = frame.0;
                    let before = latest.get(&peer).copied();
                    let later = |at: &usize| before.is_none_or(|before| *at > before);
                    let at = self.places[frame].iter().copied().find(later);
                    let at = at.unwrap_or_else(|| panic!("1: {name} has {item:?} behind frame {before:?}"));
                    latest.insert(peer, at);
                    for message in since.remove(&peer).unwrap_or_default() {
                        self.narrow(name, message, |place| place.0 != peer || place.1 < at);
                    }
                }
                Item::Message(message) => {
                    let is_later =
                        |place: &Place| latest.get(&place.0).is_none_or(|before| place.1 > *before);
                    self.narrow(name, message, is_later);
                    let peers: BTreeSet<u64> = message.iter().map(|part| part.0).collect();
                    peers.into_iter().for_each(|peer| since.entry(peer).or_default().push(message));
                }
            }
        }
    }

    fn narrow(&mut self, name: &str, message: &'a Message, is_so: impl Fn(&Place) -> bool) {
        let stands = self.stands.get_mut(message).expect("it began with all");
        let before = stands.clone();
        stands.retain(is_so);
        assert!(!stands.is_empty(), "1: {name} has message {message:?} in another place than {before:?}");
    }

    /// Messages of one connection come in the order of their places.
    fn check_order_of_messages(&self, witness: &Witness<'a>) {
        let mut latest: HashMap<u64, usize> = HashMap::new();
        for item in &witness.items {
            let Item::Message(message) = item else { continue };
            let stands = &self.stands[message];
            let (Some(&(peer, first)), Some(&(last_peer, last))) = (stands.first(), stands.last()) else {
                continue;
            };
            if peer == last_peer {
                let latest = latest.entry(peer).or_default();
                *latest = first.max(*latest);
                assert!(*latest <= last, "1: {} has message {message:?} in another order", witness.name);
            }
        }
    }
}

/// What one saw of each connection is what the first sink was told of it, as far as it asked for that: all of it, or
/// some, in the same order.
fn check_same(
    sink: &Witness<'_>,
    other: &Witness<'_>,
    from: &HashMap<&Item, u64>,
    asked: impl Fn(&Item) -> bool,
    is_all: bool,
) {
    let mut expected: HashMap<u64, Vec<&Item>> = HashMap::new();
    for &item in sink.items.iter().filter(|item| asked(item)) {
        expected.entry(from[item]).or_default().push(item);
    }
    let mut left: HashMap<u64, &[&Item]> = expected.iter().map(|(&from, items)| (from, &items[..])).collect();
    for item in &other.items {
        let rest = from.get(item).and_then(|from| left.get_mut(from));
        let rest = rest.unwrap_or_else(|| panic!("2: {} has {item:?}, which no sink has", other.name));
        let at = rest.iter().position(|expected| expected == item);
        let at =
            at.unwrap_or_else(|| panic!("1: {} has {item:?} in another order than the sink", other.name));
        assert!(at == 0 || !is_all, "4: {} lacks {:?}, which the sink has", other.name, rest[0]);
        *rest = &rest[at + 1..];
    }
    let lacks: Vec<_> = left.values().copied().flatten().take(3).collect();
    assert!(!is_all || lacks.is_empty(), "4: {} lacks {lacks:?}, which the sink has", other.name);
}

/// The ledger counts what was put, and what the sinks said of it.
fn check_ledger(run: &Simulation<'_>, told: &[&[Told]], sinks: &[Ref<'_, SinkState>], all_put: bool) {
    let mut tickets: HashMap<u64, u64> = HashMap::new();
    for told in told {
        let mut frames: HashMap<u64, u64> = HashMap::new();
        told.iter().for_each(|told| *frames.entry(told.ticket).or_default() += 1);
        for (ticket, frames) in frames {
            let most = tickets.entry(ticket).or_default();
            *most = frames.max(*most);
        }
    }
    let put: u64 = tickets.values().sum();
    let is_refused = |ticket: &u64| sinks.iter().any(|sink| sink.refused_tickets.contains(ticket));
    let refused: u64 =
        tickets.iter().filter(|(ticket, _)| is_refused(ticket)).map(|(_, frames)| *frames).sum();
    let given = run.gate.ledger().to_sinks;
    assert!(
        put <= given.put && (put == given.put || !all_put),
        "7: the sinks have {put} frames of {given:?}"
    );
    assert!(!all_put || refused == given.refused, "7: the sinks refused {refused} frames of {given:?}");
}

/// A publisher that is told that a sink has refused a frame, or the message that a fragment is in, is told what is so.
fn check_refusals(run: &Simulation<'_>, received: &[Received], sinks: &[Ref<'_, SinkState>]) {
    let mut refused: HashSet<Name> = HashSet::new();
    for sink in sinks {
        for told in sink.told.iter().filter(|told| sink.refused_tickets.contains(&told.ticket)) {
            match &told.item {
                Item::Frame(name) => refused.extend([*name]),
                Item::Message(parts) => refused.extend(parts),
            }
        }
    }
    for (peer, received) in (0..).zip(received) {
        for reply in &received.replies {
            let by_sink = reply.status == Status::Rejected && reply.said.starts_with(b"simulated: ");
            let id = reply.id;
            assert!(!by_sink || refused.contains(&(peer, id)), "4: no sink has refused {id} of peer {peer}");
            let is_ok = reply.status == Status::Ok && run.peers[peer as usize].script.copies(id) == 1;
            assert!(
                !is_ok || !refused.contains(&(peer, id)),
                "4: OK for {id} of peer {peer}, which is refused"
            );
        }
    }
}

/// A sink has what was accepted of a publisher's frames, and nothing else.
fn check_stored(run: &Simulation<'_>, at: usize, sink: &Witness<'_>, told: &Received, is_complete: bool) {
    let stored = |item: &&Item| match item {
        Item::Frame((peer, id)) if *peer == at as u64 => Some(*id as usize),
        _ => None,
    };
    let mut stored: Vec<usize> = sink.items.iter().filter_map(stored).collect();
    if run.rules.resends {
        stored.sort_unstable();
    }
    let script = &run.peers[at].script;
    let must = (0..script.sent.len()).filter(|&index| script.sent[index].fate == Fate::Deliver);
    if !run.may_refuse(Status::Rejected) && !run.may_refuse(Status::Busy) {
        let must: Vec<usize> = must.collect();
        let is_part = run.rules.resends && stored.iter().all(|index| must.contains(index));
        assert!(
            must.starts_with(&stored) || is_part,
            "1: {} has {stored:?} of {must:?} of peer {at}",
            sink.name
        );
        assert!(!is_complete || stored == must, "4: {} has {stored:?} of {must:?} of peer {at}", sink.name);
        return;
    }
    for reply in &told.replies {
        let by_sink = reply.said.starts_with(b"simulated: ");
        let refused = matches!(reply.status, Status::Rejected | Status::Busy) && !by_sink;
        let is_there = stored.contains(&(reply.id as usize));
        let only = script.copies(reply.id) == 1;
        assert!(!refused || !is_there || !only, "4: {} of peer {at} is refused, and stored", reply.id);
    }
}
