//! What must hold of devices, and of those who get their frames. The numbers are those of the sentences that define the
//! gateway.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Simulation;
use super::super::fragmented::Name;
use super::super::oracle::Received;
use super::super::peers::Peer;
use super::super::script::Decision;
use super::{Device, Due, Sent, answer, is_of_device};
use crate::gateway::{CloseReason, SlowPolicy};
use crate::wire::{Frame, Header, Kind, Status, matches};

/// How a frame was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Reply,
    Refusal,
    /// What a handler wrote, and whether it let the frame pass.
    Written(bool),
    Silence,
}

impl Word {
    /// Whether it says that all is done that an acceptance promises.
    fn accepts(self) -> bool {
        matches!(self, Word::Reply | Word::Written(true))
    }
}

/// What devices reached: frames of theirs that subscribers got, replies, refusals, what handlers wrote, bytes that were
/// skipped, devices that ended with what is no frame, that broke off, and that were told everything.
pub type Reached = [u64; 8];

impl Simulation<'_> {
    /// A frame of a device that came out: of the bytes that it must be, under the topic that it must have.
    pub(in super::super) fn check_device_frame(&self, name: Name, frame: &Frame<'_>) {
        let sent = self.devices.as_ref().expect("3: nobody sends such a frame").sent(name);
        let Header { topic_len, payload_len, .. } = frame.header;
        let expected = Header { key: sent.number, topic_len, payload_len, ..Header::new(Kind::Data) };
        assert_eq!(frame.header, expected, "3: the header of a device's frame");
        assert_eq!(Some(frame.payload()), sent.payload(), "3: other bytes came out, or what must not");
        assert_eq!(frame.topic(), sent.topic.as_bytes(), "3: another topic came out");
    }

    /// After a turn: a device is told nothing that is not so, and an acceptance after every sink had confirmed.
    pub(in super::super) fn check_devices(&self) {
        let Some(devices) = &self.devices else { return };
        let world = self.world.borrow();
        for device in &devices.all {
            for (sent, word) in self.words(device, &device.told_so_far(&world)).0 {
                if sent.due == Due::Published && word.accepts() && is_clear(device, sent, word) {
                    let name = sent.name();
                    let confirmed = self.sinks.iter().all(|s| s.borrow().confirmed.contains_key(&name));
                    assert!(
                        confirmed,
                        "4: {name:?} of a device is accepted ({word:?}) before it is confirmed: a {:X} that a handler \
                         answers {:?}",
                        sent.bytes[0], sent.decision
                    );
                }
            }
        }
    }

    /// How a frame may be answered: most of them in one way.
    fn may_be_told(&self, sent: &Sent) -> Vec<(Word, Vec<u8>)> {
        let said = |word, tag| match sent.is_answered() {
            true => (word, answer(tag, sent.number)),
            false => (Word::Silence, Vec::new()),
        };
        let (reply, refusal) = (said(Word::Reply, sent.bytes[0]), said(Word::Refusal, 0xEE));
        match sent.due {
            Due::Taken => vec![reply],
            Due::Refused | Due::Ends(true) => vec![refusal],
            Due::Ends(false) => vec![(Word::Silence, Vec::new())],
            Due::Published => {
                let by_chance = self.may_refuse(Status::Rejected) || self.may_refuse(Status::Busy);
                let mut may = Vec::new();
                if self.is_refused(sent.name()) || by_chance {
                    may.push(refusal.clone());
                }
                if !self.is_refused(sent.name()) || self.rules.dedup {
                    may.push(match &sent.decision {
                        // What a handler writes goes to the device where the layout would say nothing, too.
                        Some(Decision::Pass(said)) if !said.is_empty() => (Word::Written(true), said.clone()),
                        Some(Decision::Refuse(_, said)) if !said.is_empty() && !sent.is_answered() => {
                            (Word::Written(false), said.clone())
                        }
                        _ if sent.payload().is_none() => refusal,
                        _ => reply,
                    });
                }
                may
            }
        }
    }

    /// What bytes tell a device, a word for each frame from the first on, in their order; and the frames that they do
    /// not tell of.
    fn words<'a>(&self, device: &'a Device, told: &[u8]) -> (Vec<(&'a Sent, Word)>, &'a [Sent]) {
        let may: Vec<_> = device.script.iter().map(|sent| self.may_be_told(sent)).collect();
        let (mut words, mut farthest) = (Vec::new(), 0);
        let all = reads(&may, told, &mut words, &mut farthest);
        let at = all.unwrap_or_else(|| {
            let rest = &told[farthest..told.len().min(farthest + 40)];
            panic!(
                "4: device {:?} is told {rest:x?}, which is not due",
                device.script.first().map(Sent::name)
            )
        });
        (device.script.iter().zip(words).collect(), &device.script[at..])
    }
}

/// Whether it is certain of which frame a word was said: what a handler writes is the same for frames that are alike,
/// and of one of them nothing may have been said.
fn is_clear(device: &Device, sent: &Sent, word: Word) -> bool {
    let written = |sent: &Sent| match &sent.decision {
        Some(Decision::Pass(said)) if !said.is_empty() => Some(said.clone()),
        // Where the layout has a refusal, it says that.
        Some(Decision::Refuse(_, said)) if !said.is_empty() && !sent.is_answered() => Some(said.clone()),
        _ => None,
    };
    let Some(said) = written(sent).filter(|_| matches!(word, Word::Written(_))) else { return true };
    let mut others = device.script.iter().filter(|other| other.number != sent.number).filter_map(written);
    !others.any(|other| other.starts_with(&said) || said.starts_with(&other))
}

/// Finds a word for each frame, so that together they are what was told, but for the last, of which the end may not be
/// there. How many frames are told of.
fn reads(
    may: &[Vec<(Word, Vec<u8>)>],
    told: &[u8],
    words: &mut Vec<Word>,
    farthest: &mut usize,
) -> Option<usize> {
    let mut stack = vec![(0, 0)];
    // Where a choice was wrong, the one before it is made otherwise.
    let mut choices: Vec<usize> = vec![0];
    loop {
        let &(at, from) = stack.last()?;
        *farthest = from.max(*farthest);
        let rest = &told[from..];
        let options: &[(Word, Vec<u8>)] = may.get(at).map_or(&[], |options| options);
        // Of nothing, silence tells as well: as far as it goes.
        let chosen = *choices.last()?;
        let begins = |(_, bytes): &(Word, Vec<u8>)| bytes.len() > rest.len() && bytes.starts_with(rest);
        let is_end = chosen == 0 && rest.is_empty() || options.iter().skip(chosen).any(begins);
        let next = (chosen..options.len()).find(|&option| {
            let bytes = &options[option].1;
            rest.starts_with(bytes) && (!bytes.is_empty() || options.len() == 1 || !rest.is_empty())
        });
        match next {
            Some(option) => {
                *choices.last_mut()? = option + 1;
                words.push(options[option].0);
                stack.push((at + 1, from + options[option].1.len()));
                choices.push(0);
            }
            None if is_end => return Some(at),
            None => {
                stack.pop();
                choices.pop();
                words.pop();
                if stack.is_empty() {
                    return None;
                }
            }
        }
    }
}

/// At the end of a run: what each device was told, and what came of its frames.
pub(in super::super) fn check(
    run: &Simulation<'_>,
    received: &[Received],
    reasons: &BTreeMap<usize, CloseReason>,
) -> Reached {
    let mut reached = Reached::default();
    let Some(devices) = &run.devices else { return reached };
    run.check_devices();
    reached[0] = received.iter().map(|received| received.devices.len() as u64).sum();
    reached[4] = run.gate.ledger().bytes_skipped;
    for device in &devices.all {
        let reason = reasons.get(&device.wire);
        check_reason(run, device, reason);
        let (words, left) = run.words(device, &device.received);
        let is_complete = is_told_all(run, device, reason);
        // A frame that may be answered with nothing is not missed.
        let is_missed = |sent: &&Sent| run.may_be_told(sent).iter().all(|(_, bytes)| !bytes.is_empty());
        let missed: Vec<Name> = left.iter().filter(is_missed).map(Sent::name).collect();
        assert!(!is_complete || missed.is_empty(), "4: a device is not answered: {missed:?}, {reason:?}");
        for (_, word) in &words {
            match word {
                Word::Reply => reached[1] += 1,
                Word::Refusal => reached[2] += 1,
                Word::Written(_) => reached[3] += 1,
                Word::Silence => {}
            }
        }
        reached[5] += u64::from(matches!(reason, Some(CloseReason::Fault(_) | CloseReason::BadDigest)));
        reached[6] += u64::from(device.broke);
        reached[7] += u64::from(is_complete);
        for (peer, received) in run.peers.iter().zip(received) {
            let stayed = reasons.get(&peer.wire) == Some(&CloseReason::Draining);
            if peer.is_subscriber && received.lost == 0 {
                check_came(run, device, (peer, received), &words, stayed, took_effect(reason));
            }
        }
    }
    reached
}

/// 1, 4. A subscriber gets every frame of a device that it asks for, from the first on, in order, or the number of those
/// that are missing.
fn check_came(
    run: &Simulation<'_>,
    device: &Device,
    (peer, received): (&Peer, &Received),
    words: &[(&Sent, Word)],
    stayed: bool,
    is_complete: bool,
) {
    let expected = expected(device, peer);
    let got: Vec<Name> = received.devices.iter().copied().filter(|name| is_of(device, *name)).collect();
    let may_be_refused = run.may_refuse(Status::Rejected) || run.may_refuse(Status::Busy);
    if !may_be_refused {
        assert!(expected.starts_with(&got), "1: {got:?} of a device, not {expected:?}");
        assert!(!is_complete || !stayed || got == expected, "4: {got:?} of a device, not {expected:?}");
    }
    let mut rest = &expected[..];
    for name in &got {
        let at = rest.iter().position(|expected| expected == name);
        rest = &rest[at
            .unwrap_or_else(|| panic!("1: {got:?} of a device is not in the order of {expected:?}"))
            + 1..];
    }
    let got: BTreeSet<Name> = got.into_iter().collect();
    let is_certain =
        |(sent, word): &&(&Sent, Word)| sent.due == Due::Published && is_clear(device, sent, *word);
    for (sent, word) in words.iter().filter(is_certain) {
        let (name, is_asked) = (sent.name(), expected.contains(&sent.name()));
        let came = got.contains(&name);
        assert!(
            !(word.accepts() && is_asked && stayed) || came,
            "4: {name:?} is accepted, and did not come out"
        );
        let is_refused = *word == Word::Refusal && !run.is_refused(name);
        assert!(!is_refused || !came, "4: {name:?} came out, and its device was told that it would not");
    }
}

fn expected(device: &Device, peer: &Peer) -> Vec<Name> {
    let asks = |sent: &&Sent| {
        sent.payload().is_some() && peer.script.patterns.iter().any(|pattern| matches(pattern, &sent.topic))
    };
    device.script.iter().filter(asks).map(Sent::name).collect()
}

fn is_of(device: &Device, name: Name) -> bool {
    device.script.first().is_some_and(|sent| sent.name().0 == name.0)
}

/// How many frames of devices a subscriber lacks that every other frame of came out, where nothing but that it was slow
/// may have kept them from it; none if some device did not send everything.
pub(in super::super) fn missing(
    run: &Simulation<'_>,
    peer: &Peer,
    received: &Received,
    reasons: &BTreeMap<usize, CloseReason>,
) -> Option<u64> {
    let Some(devices) = &run.devices else { return Some(0) };
    let all_complete = devices.all.iter().all(|device| took_effect(reasons.get(&device.wire)));
    let expected: usize = devices.all.iter().map(|device| expected(device, peer).len()).sum();
    all_complete.then(|| expected as u64 - received.devices.len() as u64)
}

/// 4. A sink has what was accepted of a device's frames, and nothing else; `stored` are all that it was told of.
pub(in super::super) fn check_stored(
    run: &Simulation<'_>,
    stored: &[Name],
    all_put: bool,
    reasons: impl Fn(usize) -> Option<CloseReason>,
) {
    let Some(devices) = &run.devices else { return };
    let may_be_refused = run.may_refuse(Status::Rejected) || run.may_refuse(Status::Busy);
    for device in &devices.all {
        let must: Vec<Name> =
            device.script.iter().filter(|sent| sent.payload().is_some()).map(Sent::name).collect();
        let stored: Vec<Name> =
            stored.iter().copied().filter(|name| is_of_device(*name) && is_of(device, *name)).collect();
        if may_be_refused {
            assert!(stored.iter().all(|name| must.contains(name)), "4: a sink has {stored:?} of {must:?}");
            continue;
        }
        assert!(must.starts_with(&stored), "1: a sink has {stored:?} of {must:?}");
        let is_complete = all_put && took_effect(reasons(device.wire).as_ref());
        assert!(!is_complete || stored == must, "4: a sink has {stored:?} of {must:?}");
    }
}

fn took_effect(reason: Option<&CloseReason>) -> bool {
    matches!(reason, Some(CloseReason::Finished | CloseReason::Fault(_) | CloseReason::BadDigest))
}

fn is_told_all(run: &Simulation<'_>, device: &Device, reason: Option<&CloseReason>) -> bool {
    // A last reply waits for its reader only so long.
    took_effect(reason) && (reason == Some(&CloseReason::Finished) || run.calm && !device.broke)
}

/// 4. A connection is closed for a reason that it has.
fn check_reason(run: &Simulation<'_>, device: &Device, reason: Option<&CloseReason>) {
    let ends = device.script.iter().find_map(|sent| match sent.due {
        Due::Ends(is_bad) => Some(is_bad),
        _ => None,
    });
    let is_so = match reason {
        // Refused at the limit, or broken off before it was accepted.
        None => true,
        Some(CloseReason::Finished) => ends.is_none(),
        Some(CloseReason::Lost(_)) => device.broke,
        Some(CloseReason::Fault(_)) => ends == Some(false),
        Some(CloseReason::BadDigest) => ends == Some(true),
        Some(CloseReason::Draining) => run.silent || run.early,
        Some(CloseReason::Slow) => !run.calm || run.policy == SlowPolicy::Pause,
        Some(CloseReason::Idle | CloseReason::FrameTimeout | CloseReason::Reclaimed) => {
            !run.calm || run.silent
        }
        Some(CloseReason::Unauthorized | CloseReason::Refused(_)) => false,
        Some(CloseReason::Tls(_) | CloseReason::Certificate(_)) => false,
        // There is no store that could feed it.
        Some(CloseReason::Taken | CloseReason::AckAhead { .. } | CloseReason::Moved(_)) => false,
    };
    assert!(is_so, "4: a device is closed for {reason:?}");
}
