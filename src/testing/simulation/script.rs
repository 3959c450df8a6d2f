//! What a peer sends, and what must become of it: an independent model of the protocol, one
//! connection long.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::fragmented::{self, Dealt};
use super::rng::SimRng;
use super::worlds;
use crate::core::limits::{CONN_PATTERNS, READ_MAX};
use crate::gateway::BadDigestPolicy;
use crate::wire::{DIGEST, HEADER, Header, Kind, Scheme, Status, check_pattern, check_topic, encode};

pub const TOPICS: [&str; 6] = ["", "a", "a.b", "a.c", "b.c.d", "b"];
pub const PATTERNS: [&str; 9] = [">", "a", "a.*", "*.b", "a.>", "b.>", "", "*", "*.*.*"];
const BAD_TOPICS: [&[u8]; 6] = [b"*", b"a.>", b"a..b", b"a b", b"\xff", b"a\n"];

/// What becomes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Goes to every matching subscriber; OK.
    Deliver,
    /// Has its effect; OK.
    Control,
    /// Is a part: OK, EXPIRED or refused, as it goes with the others of its message.
    Part,
    /// The copy of one that was accepted, or may have been: DUPLICATE, or delivered as well.
    Again,
    /// Is refused with this status.
    Refuse(Status),
    /// Comes after the end of its stream.
    Nothing,
}

/// What a handler does with a frame, which follows from the frame alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Lets it pass, with this for its publisher.
    Pass(Vec<u8>),
    /// Puts another in its place.
    Replace(&'static str, Vec<u8>),
    /// Refuses it, with this reason.
    Refuse(Status, Vec<u8>),
    /// Dies of it.
    Poison,
}

impl Decision {
    pub fn on(topic: &[u8], payload: &[u8], rules: &Rules) -> Decision {
        let sum = payload
            .iter()
            .fold(topic.len() + payload.len(), |sum, &byte| 31 * sum % 9973 + usize::from(byte));
        // Of every size that is treated in its own way.
        let len = *[0, 0, 10, 900, 5_000, rules.payload_max].get(sum / 7 % 12).unwrap_or(&30);
        let mut said = Vec::new();
        fragmented::repeat(&mut said, len.min(rules.payload_max), |at| (at + sum) as u8);
        match sum % 29 {
            0..3 => Decision::Refuse(Status::Rejected, said),
            3 => Decision::Refuse(Status::Busy, said),
            4 => Decision::Replace("a..b", said),
            5 if rules.poison => Decision::Poison,
            6..10 => Decision::Replace(TOPICS[sum % TOPICS.len()], said),
            _ => Decision::Pass(said),
        }
    }

    /// What the handler writes.
    pub fn encode(&self, id: u64, key: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let reply = |status: Status| Header { status: status as u16, id, ..Header::new(Kind::Reply) };
        let (header, topic, payload) = match self {
            Decision::Pass(said) => (reply(Status::Ok), "", said),
            Decision::Refuse(status, said) => (reply(*status), "", said),
            Decision::Replace(topic, said) => (Header { id, key, ..Header::new(Kind::Data) }, *topic, said),
            Decision::Poison => return bytes,
        };
        encode(header, topic.as_bytes(), payload, &Scheme::Sha256, &mut bytes);
        bytes
    }
}

/// One frame of a script.
#[derive(Debug)]
pub struct Sent {
    pub start: usize,
    pub end: usize,
    pub id: u64,
    /// Of the frame that comes out.
    pub topic: Vec<u8>,
    pub answered: bool,
    pub fate: Fate,
    /// A handler decides it.
    pub called: bool,
    /// What a handler says to its publisher.
    pub said: Vec<u8>,
    /// What comes out in its place.
    pub instead: Option<Vec<u8>>,
}

/// Everything that one peer sends.
#[derive(Debug, Default)]
pub struct Script {
    /// The peer whose frames they are: itself, or the one whose frames it sends again.
    pub owner: Option<u64>,
    pub bytes: Vec<u8>,
    pub sent: Vec<Sent>,
    /// Patterns that it ever asks for, and gets.
    pub patterns: BTreeSet<String>,
    held: BTreeSet<String>,
    accepted: HashSet<Vec<u8>>,
    authorized: bool,
    over: bool,
}

/// What the gateway of this run is set to.
#[derive(Clone, Debug)]
pub struct Rules {
    pub scheme: Scheme,
    pub dedup: bool,
    /// What was accepted may be forgotten during the run; and when, if that is not for want of memory.
    pub forgets: bool,
    pub window: Option<Duration>,
    pub on_bad_digest: BadDigestPolicy,
    pub payload_max: usize,
    /// Who breaks off sends everything again.
    pub resends: bool,
    /// Frames of one publisher are fewer, and what is out of the ordinary beside.
    pub frames_max: usize,
    pub kind: worlds::Kind,
    /// Handlers leave what they got first until nothing else is left.
    pub slow: bool,
    /// Handlers decide what becomes of DATA.
    pub handlers: bool,
    /// They die of some frames.
    pub poison: bool,
    /// They have answered one before any that they die of can come.
    pub proven: bool,
    /// Parts of one message.
    pub parts_max: u16,
}

impl Sent {
    fn new(start: usize, end: usize) -> Sent {
        let fate = Fate::Nothing;
        let (id, topic, said) = (0, Vec::new(), Vec::new());
        Sent { start, end, id, topic, answered: false, fate, called: false, said, instead: None }
    }

    /// What a handler makes of it; the status, if it is refused.
    fn decide(&mut self, header: Header, payload: &[u8], rules: &Rules) -> Option<Status> {
        self.called = true;
        match Decision::on(&self.topic, payload, rules) {
            Decision::Pass(said) => self.said = said,
            Decision::Refuse(status, _) => return Some(status),
            Decision::Poison => return Some(Status::Rejected),
            Decision::Replace(topic, _) if check_topic(topic.as_bytes()).is_err() => {
                return Some(Status::Rejected);
            }
            Decision::Replace(topic, said) => {
                let mut bytes = Vec::new();
                encode(header, topic.as_bytes(), &said, &rules.scheme, &mut bytes);
                self.topic = topic.into();
                self.instead = Some(bytes);
            }
        }
        None
    }
}

impl Script {
    /// Asks for patterns, with replies.
    pub fn subscriber(peer: usize, rules: &Rules, rng: &mut SimRng<'_>) -> Script {
        let mut script = Script::default();
        for _ in 0..1 + rng.below(3) {
            let pattern = *rng.pick(&PATTERNS);
            script.add(peer, Kind::Subscribe, true, pattern.as_bytes(), 0, rules);
        }
        script
    }

    /// Asks for as many patterns as it may, each as costly as one can be, and takes some back.
    pub fn collector(peer: usize, rules: &Rules, rng: &mut SimRng<'_>) -> Script {
        let mut script = Script::default();
        for number in 0..CONN_PATTERNS + 2 {
            // Of tokens that no other has, so that nothing is shared; no topic matches it.
            let first = format!("{peer}-{number}");
            let token = *rng.pick(&[".x", ".*", ".xyz"]);
            let room = *rng.pick(&[255, 255, 20]) - first.len();
            let pattern = format!("{first}{}", token.repeat(room / token.len()));
            script.add(peer, Kind::Subscribe, true, pattern.as_bytes(), 0, rules);
            if rng.one_in(4) {
                script.add(peer, Kind::Unsubscribe, true, pattern.as_bytes(), 0, rules);
            }
        }
        script
    }

    /// One frame that no handler dies of. It asks for no reply, so it is not told BUSY.
    pub fn harmless(peer: usize, rules: &Rules) -> Script {
        let scripts = (0..100).map(|len| {
            let mut script = Script::default();
            script.add(peer, Kind::Data, false, b"a", len, rules);
            script
        });
        let is_harmless = |script: &Script| {
            let (_, topic, payload) = script.frame_of(&script.sent[0]);
            Decision::on(topic, payload, rules) != Decision::Poison
        };
        scripts.into_iter().find(is_harmless).expect("handlers survive most frames")
    }

    /// What a publisher sends: frames, good and bad, and among them the parts in its hand.
    pub fn publisher(peer: usize, hand: &[Dealt], rules: &Rules, rng: &mut SimRng<'_>) -> Script {
        let mut script = Script::default();
        let mut hand = hand.iter();
        for _ in 0..rng.below(rules.frames_max) {
            if rules.dedup && rng.one_in(6) {
                script.add_copy(rules, rng);
            }
            match hand.as_slice().is_empty() || rng.one_in(2) {
                true => script.add_any(peer, rules, rng),
                false => hand.by_ref().take(1).for_each(|part| script.add_dealt(peer, part, rules, rng)),
            }
        }
        hand.for_each(|part| script.add_dealt(peer, part, rules, rng));
        script
    }

    /// What was to be delivered once more, on another connection: it is not known what of it was accepted.
    pub fn resent(&self) -> Script {
        let mut script = Script { owner: self.owner, ..Script::default() };
        for sent in self.sent.iter().filter(|sent| matches!(sent.fate, Fate::Deliver | Fate::Again)) {
            let start = script.bytes.len();
            script.bytes.extend_from_slice(&self.bytes[sent.start..sent.end]);
            let again =
                Sent { id: sent.id, topic: sent.topic.clone(), ..Sent::new(start, script.bytes.len()) };
            script.sent.push(Sent { answered: sent.answered, fate: Fate::Again, ..again });
        }
        script
    }

    /// What a gateway seems to say that answers a copy before anything else.
    pub fn hurried_reply(&self, scheme: &Scheme) -> Option<Vec<u8>> {
        let mut copies = self.sent.iter().filter(|sent| sent.answered);
        let copy = copies.find(|sent| sent.fate == Fate::Refuse(Status::Duplicate))?;
        let header = Header { status: Status::Duplicate as u16, id: copy.id, ..Header::new(Kind::Reply) };
        let mut bytes = Vec::new();
        encode(header, b"", b"", scheme, &mut bytes);
        Some(bytes)
    }

    /// How often the frame with this id was sent.
    pub fn copies(&self, id: u64) -> usize {
        self.sent.iter().filter(|sent| sent.id == id).count()
    }

    /// The bytes that a gateway seems to have got which swaps two parts of a message.
    pub fn with_parts_swapped(&self, scheme: &Scheme) -> Option<Vec<u8>> {
        let mut parts = self.sent.iter().filter(|sent| sent.fate == Fate::Part);
        let one = parts.next()?;
        let (header, topic, payload) = self.frame_of(one);
        let is_other = |sent: &&Sent| {
            let (other, other_topic, _) = self.frame_of(sent);
            (other.key, other.part_count, other_topic) == (header.key, header.part_count, topic)
                && other.part_index != header.part_index
        };
        let other = parts.find(is_other)?;
        let (other_header, _, other_payload) = self.frame_of(other);
        let mut bytes = self.bytes.clone();
        for (sent, header, payload, part_index) in [
            (one, header, payload, other_header.part_index),
            (other, other_header, other_payload, header.part_index),
        ] {
            let mut frame = Vec::new();
            encode(Header { part_index, ..header }, topic, payload, scheme, &mut frame);
            bytes[sent.start..sent.end].copy_from_slice(&frame);
        }
        Some(bytes)
    }

    /// A frame's header, its topic and its payload.
    pub fn frame_of(&self, sent: &Sent) -> (Header, &[u8], &[u8]) {
        let bytes = &self.bytes[sent.start..sent.end];
        let header = Header::decode(bytes.first_chunk().expect("a frame")).expect("it was judged");
        let (topic, rest) = bytes[HEADER..].split_at(header.topic_len.into());
        (header, topic, &rest[..rest.len() - DIGEST])
    }

    /// Adds one frame, good or bad.
    fn add_any(&mut self, peer: usize, rules: &Rules, rng: &mut SimRng<'_>) {
        let want_reply = rng.below(2) == 1;
        match rng.below(24) {
            0..14 => {
                let topic = *rng.pick(&TOPICS);
                let len = match rng.below(16) {
                    0..12 => rng.below(100),
                    12..15 => rng.below(READ_MAX.min(rules.payload_max)),
                    // Larger than a read, where payloads may be.
                    _ => rng.below(rules.payload_max + 1),
                };
                self.add(peer, Kind::Data, want_reply, topic.as_bytes(), len, rules);
            }
            14 => self.add(peer, Kind::Ping, want_reply, b"", 0, rules),
            15 => self.add(peer, Kind::Subscribe, want_reply, rng.pick(&PATTERNS).as_bytes(), 0, rules),
            16 => self.add(peer, Kind::Unsubscribe, want_reply, rng.pick(&PATTERNS).as_bytes(), 0, rules),
            17 => self.add(peer, Kind::Subscribe, want_reply, b">.a", rng.below(2), rules),
            18 => {
                let bad_topic: &[u8] = BAD_TOPICS[rng.below(BAD_TOPICS.len())];
                self.add(peer, Kind::Data, want_reply, bad_topic, 5, rules)
            }
            19 => self.add_part(peer, rules),
            20 | 21 => self.add_corrupt(peer, want_reply, rules, rng),
            22 => self.add_copy(rules, rng),
            23 if rules.forgets => self.add_copy(rules, rng),
            _ if rng.one_in(8) => self.add_fault(rules, rng),
            _ => self.add(peer, Kind::Data, want_reply, b"a", 0, rules),
        }
    }

    fn add(&mut self, peer: usize, kind: Kind, want_reply: bool, topic: &[u8], len: usize, rules: &Rules) {
        let id = self.sent.len() as u64;
        let header = Header { want_reply, key: peer as u64, id, ..Header::new(kind) };
        let mut payload = Vec::new();
        fragmented::repeat(&mut payload, len, |i| (i as u64 + id * 31 + peer as u64) as u8);
        self.add_frame(header, topic, &payload, rules);
    }

    fn add_part(&mut self, peer: usize, rules: &Rules) {
        let id = self.sent.len() as u64;
        let part = Header { part_count: 2, part_index: 2, want_reply: true, ..Header::new(Kind::Data) };
        self.add_frame(Header { key: peer as u64, id, ..part }, b"a", b"part", rules);
    }

    fn add_frame(&mut self, header: Header, topic: &[u8], payload: &[u8], rules: &Rules) {
        let start = self.bytes.len();
        encode(header, topic, payload, &rules.scheme, &mut self.bytes);
        self.judge(start, header, topic, payload.len(), true, rules);
    }

    fn add_corrupt(&mut self, peer: usize, want_reply: bool, rules: &Rules, rng: &mut SimRng<'_>) {
        let id = self.sent.len() as u64;
        let header = Header { want_reply, key: peer as u64, id, ..Header::new(Kind::Data) };
        self.add_broken(header, b"a.b", b"corrupt", rules, rng);
    }

    /// One with a wrong digest, or that does not match its own.
    fn add_broken(
        &mut self,
        header: Header,
        topic: &[u8],
        payload: &[u8],
        rules: &Rules,
        rng: &mut SimRng<'_>,
    ) {
        let start = self.bytes.len();
        encode(header, topic, payload, &rules.scheme, &mut self.bytes);
        let (behind, end) = (start + HEADER + topic.len(), self.bytes.len());
        let at = behind + rng.below(end - behind);
        self.bytes[at] ^= 1 << rng.below(8);
        self.judge(start, header, topic, payload.len(), false, rules);
    }

    /// A part that was dealt to it.
    pub fn add_dealt(&mut self, peer: usize, part: &Dealt, rules: &Rules, rng: &mut SimRng<'_>) {
        let id = self.sent.len() as u64;
        let header = Header { id, ..part.header };
        let payload = fragmented::payload(peer, id, part.len);
        match part.intact {
            true => self.add_frame(header, part.topic.as_bytes(), &payload, rules),
            false => self.add_broken(header, part.topic.as_bytes(), &payload, rules, rng),
        }
    }

    /// The very bytes of an earlier frame once more.
    fn add_copy(&mut self, rules: &Rules, rng: &mut SimRng<'_>) {
        if self.sent.is_empty() {
            return;
        }
        let sent = &self.sent[rng.below(self.sent.len())];
        let copy = self.bytes[sent.start..sent.end].to_vec();
        if sent.fate != Fate::Part && !self.accepted.contains(&copy) {
            return;
        }
        let header = Header::decode(copy.first_chunk().expect("a frame")).expect("it was judged");
        let start = self.bytes.len();
        let topic = copy[HEADER..HEADER + header.topic_len as usize].to_vec();
        let payload = copy.len() - HEADER - topic.len() - DIGEST;
        self.bytes.extend(copy);
        self.judge(start, header, &topic, payload, true, rules);
    }

    /// Something that is no frame; nothing after it counts.
    fn add_fault(&mut self, rules: &Rules, rng: &mut SimRng<'_>) {
        let start = self.bytes.len();
        let mut header = Header { id: 77, ..Header::new(Kind::Data) };
        let mut status = Status::Malformed;
        let mut bytes = match rng.below(3) {
            0 => {
                header.payload_len = rules.payload_max as u32 + 1;
                status = Status::TooLarge;
                header.encode().to_vec()
            }
            1 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            _ => {
                let mut bytes = header.encode();
                bytes[3] = 1 + 6 * rng.below(2) as u8;
                bytes.to_vec()
            }
        };
        bytes.resize(bytes.len() + rng.below(200), 0);
        self.bytes.extend(bytes);
        let fate = if self.over { Fate::Nothing } else { Fate::Refuse(status) };
        self.over = true;
        let end = self.bytes.len();
        let id = if self.bytes[start..].starts_with(b"GET") { 0 } else { 77 };
        self.sent.push(Sent { id, answered: true, fate, ..Sent::new(start, end) });
    }

    fn judge(
        &mut self,
        start: usize,
        header: Header,
        topic: &[u8],
        payload: usize,
        intact: bool,
        rules: &Rules,
    ) {
        let mut sent = Sent { id: header.id, topic: topic.to_vec(), ..Sent::new(start, self.bytes.len()) };
        let mut answered = header.want_reply || header.kind == Kind::Ping;
        let fate = if self.over {
            Fate::Nothing
        } else if !intact && rules.scheme.is_keyed() && !self.authorized {
            self.over = true;
            answered = true;
            Fate::Refuse(Status::Unauthorized)
        } else if !intact {
            self.over |= rules.on_bad_digest == BadDigestPolicy::Close;
            Fate::Refuse(Status::BadDigest)
        } else {
            self.authorized = true;
            self.judge_intact(&mut sent, header, topic, payload, rules)
        };
        self.sent.push(Sent { answered, fate, ..sent });
    }

    fn judge_intact(
        &mut self,
        sent: &mut Sent,
        header: Header,
        topic: &[u8],
        payload: usize,
        rules: &Rules,
    ) -> Fate {
        let refused = Fate::Refuse(Status::Rejected);
        if header.is_part() {
            let Header { part_index: index, part_count: count, .. } = header;
            let is_one = count >= 2 && index < count && count <= rules.parts_max;
            return if is_one && check_topic(topic).is_ok() && !rules.handlers {
                Fate::Part
            } else {
                refused
            };
        }
        match header.kind {
            Kind::Ping => Fate::Control,
            Kind::Data if check_topic(topic).is_err() => refused,
            Kind::Data => {
                let bytes = self.bytes[sent.start..].to_vec();
                if (rules.forgets || rules.resends) && self.accepted.contains(&bytes) {
                    return Fate::Again;
                }
                if rules.dedup && self.accepted.contains(&bytes) {
                    return Fate::Refuse(Status::Duplicate);
                }
                if rules.handlers
                    && let Some(status) =
                        sent.decide(header, &bytes[HEADER + topic.len()..][..payload], rules)
                {
                    return Fate::Refuse(status);
                }
                if rules.dedup {
                    self.accepted.insert(bytes);
                }
                Fate::Deliver
            }
            _ if payload > 0 => refused,
            _ => match check_pattern(topic) {
                Err(_) => refused,
                Ok(pattern) if header.kind == Kind::Unsubscribe => {
                    self.held.remove(pattern);
                    Fate::Control
                }
                // Asking again for what is held changes nothing.
                Ok(pattern) if self.held.len() >= CONN_PATTERNS && !self.held.contains(pattern) => refused,
                Ok(pattern) => {
                    self.held.insert(pattern.to_string());
                    self.patterns.insert(pattern.to_string());
                    Fate::Control
                }
            },
        }
    }
}
