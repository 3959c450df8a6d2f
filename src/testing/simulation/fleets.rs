//! Worlds with a listener that has a layout: devices that log in, send, are answered in order, break off and come again,
//! beside native subscribers, under a handler, a sink and deduplication. What the oracle of native worlds says of frames
//! and replies is said here of foreign ones, by a model of one device.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::charged::Account;
use super::dice::Dice;
use super::network::{SimNet, World};
use super::workers::{SimPool, Workers};
use crate::core::memory::Memory;
use crate::gateway::{BadDigestPolicy, CloseReason, Config, Gate, Listener, Overflow};
use crate::runtime::handler::{Answer, Call, Function};
use crate::sinks::{Condition, Outcome, Put, Sink};
use crate::testing::heap;
use crate::wire::layout::{Layout, Layouts};
use crate::wire::{Decoder, Frame, Header, Kind, Rules, Scheme, encode};

/// A login that is kept, a frame that is answered, one that is not, a ping.
const LAYOUT: &str = r#"
[layout.fleet]
topic = "dev.{who}"
key = "{number}"
number = "u32 @ 3"
check = { is = "xor-8", over = "0..-1", at = "u8 @ -1" }
[[layout.fleet.shape]]
start = "A1"
size = 10
who = "u16 @ 7"
keep = ["who"]
publish = false
reply = "A1 {number}"
refuse = "EE {number}"
[[layout.fleet.shape]]
start = "B2"
length = "u16 @ 1"
counts = "3.."
reply = "B2 {number}"
refuse = "EE {number}"
[[layout.fleet.shape]]
start = "C3"
length = "u16 @ 1"
counts = "3.."
[[layout.fleet.shape]]
start = "D4D4"
size = 8
publish = false
"#;

/// Bytes of an answer.
const ANSWER: usize = 5;
const TURNS_MAX: usize = 20_000;

fn layout(scans: bool) -> Arc<Layout> {
    let text = match scans {
        true => LAYOUT.replace("topic =", "on-malformed = \"scan\"\ntopic ="),
        false => LAYOUT.into(),
    };
    let (layouts, _) = Layouts::parse(&text, "fleet").unwrap_or_else(|wrong| panic!("{wrong:?}"));
    layouts.get("fleet").expect("it is declared").clone()
}

/// What must become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It is published, and answered if it has a reply.
    Published,
    /// Its reply is given.
    Taken,
    /// Its refusal is given.
    Refused,
    /// Its connection ends with it, after its refusal if `true`.
    Ends(bool),
}

struct Sent {
    number: u32,
    bytes: Vec<u8>,
    due: Due,
}

/// What a handler in Rust makes of a frame, which follows from its number.
fn decide(number: u32) -> Answer {
    match number % 11 {
        0 => Answer::Pass([&[0xF5][..], &number.to_be_bytes()].concat()),
        1 => Answer::Reject("not this one".into()),
        2 => Answer::Busy("later".into()),
        3 => Answer::Replace { topic: "dev.other".into(), key: number.into(), payload: vec![7; 9] },
        _ => Answer::Pass(Vec::new()),
    }
}

fn frame(start: u8, number: u32, more: &[u8], is_right: bool) -> Vec<u8> {
    let mut bytes = vec![start];
    match start {
        0xA1 => bytes.extend([0, 0]),
        0xD4 => bytes.extend([0xD4, 0]),
        _ => bytes.extend(((4 + more.len() + 1) as u16).to_be_bytes()),
    }
    bytes.extend(number.to_be_bytes());
    bytes.extend(more);
    let sum = bytes.iter().fold(0, |sum, byte| sum ^ byte);
    bytes.push(sum ^ u8::from(!is_right));
    bytes
}

/// A device: what it sends, and what it got.
struct Device {
    wire: usize,
    who: u16,
    script: Vec<Sent>,
    bytes: Vec<u8>,
    at: usize,
    received: Vec<u8>,
    ended: bool,
    broke: bool,
    frozen: bool,
}

impl Device {
    fn new(who: u16, wire: usize, rules: &FleetRules, dice: &mut Dice<'_>) -> Device {
        let mut script = Vec::new();
        let (mut is_known, mut over) = (false, false);
        for index in 0..dice.below(30) {
            // Numbers are of one device alone.
            let number = u32::from(who) << 12 | index as u32;
            let is_right = !dice.one_in(10);
            let bad = match rules.closes_at_bad {
                true => Due::Ends(true),
                false => Due::Refused,
            };
            let (bytes, due) = match dice.below(12) {
                0..2 => {
                    let due = if is_right { Due::Taken } else { bad };
                    is_known |= is_right && !over;
                    (frame(0xA1, number, &who.to_be_bytes(), is_right), due)
                }
                2 => (frame(0xD4, number, &[], is_right), if is_right { Due::Taken } else { bad }),
                3 if dice.one_in(4) => match rules.scans {
                    // No byte of it begins a frame.
                    true => (vec![0x11; 1 + dice.below(20)], Due::Taken),
                    false => (vec![0x11; 1 + dice.below(20)], Due::Ends(false)),
                },
                kind => {
                    let len = *dice.pick(&[0, 5, 40, 300, 1_500]);
                    let more: Vec<u8> = (0..dice.below(len + 1)).map(|at| (at % 16) as u8).collect();
                    let due = match (is_right, is_known) {
                        (false, _) => bad,
                        (true, false) => Due::Refused,
                        (true, true) => Due::Published,
                    };
                    (frame(if kind < 9 { 0xB2 } else { 0xC3 }, number, &more, is_right), due)
                }
            };
            if !over {
                over = matches!(due, Due::Ends(_));
                script.push(Sent { number, bytes: bytes.clone(), due });
            }
        }
        let bytes = script.iter().flat_map(|sent| sent.bytes.iter().copied()).collect();
        let (at, received) = (0, Vec::new());
        Device { wire, who, script, bytes, at, received, ended: false, broke: false, frozen: dice.one_in(6) }
    }

    /// Sends the same once more, as a device that has not heard of what it sent.
    fn again(&self, wire: usize) -> Device {
        let script = self.script.iter().map(|sent| Sent { bytes: sent.bytes.clone(), ..*sent }).collect();
        let (bytes, received) = (self.bytes.clone(), Vec::new());
        Device {
            wire,
            who: self.who,
            script,
            bytes,
            at: 0,
            received,
            ended: false,
            broke: false,
            frozen: false,
        }
    }

    /// Numbers that were answered so far, with what.
    fn answers(&self) -> impl Iterator<Item = (u8, u32)> {
        self.received
            .chunks_exact(ANSWER)
            .map(|answer| (answer[0], u32::from_be_bytes(answer[1..].try_into().expect("four bytes"))))
    }
}

struct FleetRules {
    scans: bool,
    closes_at_bad: bool,
    handler: bool,
    dedup: bool,
    overflows: bool,
    sink: Option<Rc<RefCell<Shelf>>>,
}

/// A sink that gives its word when the dice say so.
#[derive(Default)]
struct Shelf {
    held: VecDeque<Put>,
    done: VecDeque<Outcome>,
    confirmed: BTreeSet<u64>,
    refuses: bool,
}

impl Shelf {
    fn act(&mut self, dice: &mut Dice<'_>) -> bool {
        let _scope = heap::world();
        if self.held.is_empty() {
            return false;
        }
        let put = self.held.remove(dice.below(self.held.len())).expect("it is there");
        let refusal = (self.refuses && dice.one_in(6)).then(|| Box::from("full"));
        if refusal.is_none() {
            let bytes: Vec<u8> = put.body.slices().flatten().copied().collect();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let frame = Frame::first_of(rest);
                self.confirmed.insert(frame.header.key);
                rest = &rest[frame.bytes.len()..];
            }
        }
        self.done.push_back(Outcome { ticket: put.ticket, bytes: put.body.len(), refusal });
        true
    }
}

struct SimSink(Rc<RefCell<Shelf>>);

impl Sink for SimSink {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn judges_frames(&self) -> bool {
        false
    }

    fn room(&self) -> usize {
        50 - self.0.borrow().held.len().min(50)
    }

    fn put(&mut self, put: Put) {
        let _scope = heap::world();
        self.0.borrow_mut().held.push_back(put);
    }

    fn collect(&mut self) -> Option<Outcome> {
        self.0.borrow_mut().done.pop_front()
    }

    fn prepare_sleep(&mut self) -> bool {
        self.0.borrow().done.is_empty()
    }

    fn end_sleep(&mut self) {}

    fn condition(&self) -> Condition {
        Condition::default()
    }
}

struct Fleet<'a> {
    dice: Dice<'a>,
    rules: FleetRules,
    world: Rc<RefCell<World>>,
    workers: Rc<RefCell<Workers>>,
    gate: Gate<SimNet, SimPool>,
    now: Instant,
    memory: usize,
    devices: Vec<Device>,
    subscriber: (usize, Vec<u8>),
    /// A native publisher that goes between.
    native: usize,
    account: Account,
    drains: bool,
}

impl<'a> Fleet<'a> {
    fn new(mut dice: Dice<'a>, canary: bool) -> Fleet<'a> {
        let now = Instant::now();
        let sink = dice.one_in(2).then(Rc::<RefCell<Shelf>>::default);
        let handler = dice.one_in(3);
        let dedup = dice.one_in(3);
        if let Some(shelf) = &sink {
            shelf.borrow_mut().refuses = dice.one_in(2) && !dedup;
        }
        let rules = FleetRules {
            scans: dice.one_in(2),
            closes_at_bad: dice.one_in(3),
            handler,
            dedup,
            overflows: handler && dice.one_in(2),
            sink,
        };
        let handle = |call: &Call<'_>| match call.payload.get(3..7).filter(|_| call.topic.starts_with("dev."))
        {
            Some(number) => decide(u32::from_be_bytes(number.try_into().expect("four bytes"))),
            None => Answer::Pass(Vec::new()),
        };
        let address = ([127, 0, 0, 1], 1).into();
        let mut config = Config {
            payload_max: *dice.pick(&[3_000, 20_000]),
            listeners: vec![Listener { address, layout: Some(layout(rules.scans)) }],
            on_bad_digest: if rules.closes_at_bad { BadDigestPolicy::Close } else { BadDigestPolicy::Drop },
            dedup: dedup.then_some(Duration::from_secs(100_000)),
            outbox: 16 << 20,
            idle_timeout: Duration::from_secs(1_000_000),
            frame_timeout: Duration::from_secs(1_000_000),
            scheme: if dice.one_in(4) { Scheme::keyed(b"secret") } else { Scheme::Sha256 },
            ..Config::default()
        };
        if handler {
            config.function = Some(Function(Arc::new(handle)));
            config.max_in_flight = *dice.pick(&[1, 6]);
            config.max_queued = *dice.pick(&[0, 3, 20]);
            config.handler_timeout = Duration::from_secs(1_000_000);
            config.overflow = if rules.overflows { Overflow::Reject } else { Overflow::Pause };
        }
        let least = match handler {
            false => Memory::least(config.frame_max()),
            true => Memory::least_with_answers(config.frame_max(), config.answer_room()),
        };
        config.memory = least + *dice.pick(&[0, 1 << 14, 1 << 18, 1 << 22]);
        if dedup {
            config.memory = config.memory.div_ceil(7) * 8;
        }
        // What nobody takes is never given up.
        config.outbox = config.memory / 2;
        config.slow = crate::gateway::SlowPolicy::Pause;
        config.slow_timeout = Duration::from_secs(1_000_000);
        let (memory, scheme) = (config.memory, config.scheme.clone());
        let mut account = Account::begin();
        let world = Rc::new(RefCell::new(World::listening(now)));
        let workers = Rc::new(RefCell::new(Workers::new(scheme, canary)));
        let mut gate = {
            let _scope = heap::gateway();
            Gate::new(SimNet(world.clone()), SimPool(workers.clone()), config, now)
        };
        if let Some(shelf) = &rules.sink {
            let sink = Box::new(SimSink(shelf.clone()));
            let _scope = heap::gateway();
            gate.add_sink(sink);
        }
        account.built();
        let (devices, subscriber) = (Vec::new(), (0, Vec::new()));
        Fleet {
            dice,
            rules,
            world,
            workers,
            gate,
            now,
            memory,
            devices,
            subscriber,
            native: 0,
            account,
            drains: false,
        }
    }

    fn scheme(&self) -> Scheme {
        self.workers.borrow().scheme()
    }

    fn turn(&mut self) -> bool {
        let events = self.world.borrow_mut().take_events();
        let has_done = self.workers.borrow().has_done()
            || self.rules.sink.as_ref().is_some_and(|shelf| !shelf.borrow().done.is_empty());
        let is_due = self.gate.next_deadline().is_some_and(|at| at <= self.now);
        if events.is_empty() && !has_done && !is_due {
            return false;
        }
        self.world.borrow_mut().now = self.now;
        {
            let _scope = heap::gateway();
            self.gate.turn(self.now, &events);
        }
        self.gate.check_invariants(self.memory);
        self.account.check(&self.gate, 0);
        self.check_promises();
        true
    }

    /// An OK is said when the sink has it.
    fn check_promises(&self) {
        let Some(shelf) = &self.rules.sink else { return };
        let confirmed = &shelf.borrow().confirmed;
        let world = self.world.borrow();
        for device in &self.devices {
            let on_its_way = world.wires[device.wire].to_peer.iter().copied();
            let got: Vec<u8> = device.received.iter().copied().chain(on_its_way).collect();
            for answer in got.chunks_exact(ANSWER).filter(|answer| matches!(answer[0], 0xB2 | 0xF5)) {
                let number = u32::from_be_bytes(answer[1..].try_into().expect("four bytes"));
                assert!(confirmed.contains(&number.into()), "4: {number} is answered before it is stored");
            }
        }
    }

    fn send(&mut self, at: usize, max: usize) -> bool {
        let world = &mut *self.world.borrow_mut();
        let device = &mut self.devices[at];
        let wire = &mut world.wires[device.wire];
        if wire.gate_closed || wire.reset || device.ended {
            return false;
        }
        let end = device.bytes.len().min(device.at + max);
        if device.at < end {
            wire.arrive(&device.bytes[device.at..end], self.now);
            device.at = end;
        } else {
            device.ended = true;
            wire.end();
        }
        true
    }

    fn read(&mut self, at: usize, max: usize) -> bool {
        let device = &mut self.devices[at];
        let bytes = self.world.borrow_mut().wires[device.wire].take(max);
        device.received.extend_from_slice(&bytes);
        !bytes.is_empty()
    }

    fn connect(&mut self, listener: usize, room: usize) -> usize {
        let wire = self.world.borrow_mut().connect(room);
        self.world.borrow_mut().wires[wire].listener = listener;
        wire
    }

    fn run(mut self) -> Covered {
        let scheme = self.scheme();
        let wire = self.connect(0, 10_000);
        let mut subscribe = Vec::new();
        encode(Header::new(Kind::Subscribe), b"dev.>", b"", &scheme, &mut subscribe);
        self.world.borrow_mut().wires[wire].arrive(&subscribe, self.now);
        self.subscriber.0 = wire;
        while self.turn() {}
        self.native = self.connect(0, 10_000);
        for who in 0..1 + self.dice.below(5) {
            let room = *self.dice.pick(&[20, 1_000, 100_000]);
            let wire = self.connect(1, room);
            let device = Device::new(who as u16, wire, &self.rules, &mut self.dice);
            self.devices.push(device);
        }
        for _ in 0..self.dice.below(500) {
            self.step();
        }
        self.finish();
        {
            let _scope = heap::gateway();
            self.gate.begin_drain(self.now);
        }
        self.drains = true;
        self.finish();
        self.check()
    }

    fn step(&mut self) {
        let at = self.dice.below(self.devices.len());
        match self.dice.below(16) {
            0..5 => {
                let n = *self.dice.pick(&[1, 10, 100, 1_000, 10_000]);
                let n = self.dice.below(n) + 1;
                self.send(at, n);
            }
            5..8 if !self.devices[at].frozen => {
                let n = *self.dice.pick(&[1, 100, 10_000]);
                self.read(at, n);
            }
            8..11 => self.workers.borrow_mut().work(&mut self.dice),
            11 => {
                let bytes = self.world.borrow_mut().wires[self.subscriber.0].take(1_000);
                self.subscriber.1.extend(bytes);
            }
            12 => self.world.borrow_mut().wires[self.devices[at].wire].nudge(),
            13 if self.dice.one_in(12) => {
                let keeps_unread = self.dice.one_in(2);
                self.devices[at].broke = true;
                self.world.borrow_mut().wires[self.devices[at].wire].break_off(keeps_unread);
                if self.rules.dedup && self.devices.len() < 8 {
                    let wire = self.connect(1, 1_000);
                    let again = self.devices[at].again(wire);
                    self.devices.push(again);
                }
            }
            14 => {
                let mut bytes = Vec::new();
                encode(Header::new(Kind::Data), b"native", b"between", &self.scheme(), &mut bytes);
                self.world.borrow_mut().wires[self.native].arrive(&bytes, self.now);
            }
            15 => self.now += Duration::from_micros(self.dice.below(500) as u64),
            _ => {
                if let Some(shelf) = self.rules.sink.clone() {
                    shelf.borrow_mut().act(&mut self.dice);
                }
            }
        }
        if self.dice.below(3) < 2 {
            self.turn();
        }
    }

    /// Faults stop: everything is sent, read and done.
    fn finish(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut went_on = false;
            for at in 0..self.devices.len() {
                went_on |= self.send(at, 10_000);
                went_on |= self.read(at, usize::MAX);
            }
            let bytes = self.world.borrow_mut().wires[self.subscriber.0].take(usize::MAX);
            went_on |= !bytes.is_empty();
            self.subscriber.1.extend(bytes);
            while self.workers.borrow().has_work() {
                self.workers.borrow_mut().work(&mut self.dice);
                went_on = true;
            }
            if let Some(shelf) = self.rules.sink.clone() {
                went_on |= shelf.borrow_mut().act(&mut self.dice);
            }
            went_on |= self.turn();
            if went_on {
                continue;
            }
            let is_closed = |device: &Device| self.world.borrow().wires[device.wire].gate_closed;
            let is_done = match self.drains {
                true => self.gate.is_drained(),
                false => self.devices.iter().all(is_closed),
            };
            if is_done {
                return;
            }
            self.now =
                self.gate.next_deadline().expect("it would sleep for ever, and not everything is done");
        }
        panic!(
            "not everything is done after {TURNS_MAX} turns without faults: {:?}",
            self.gate.describe_state()
        );
    }

    fn check(self) -> Covered {
        self.gate.check_empty();
        let ledger = self.gate.ledger();
        assert!(ledger.is_balanced(), "7: {ledger}");
        let reasons: BTreeMap<usize, CloseReason> =
            self.gate.closed().iter().map(|(addr, reason)| (addr.port() as usize, reason.clone())).collect();
        let came = self.delivered();
        let mut covered = Covered { skipped: ledger.bytes_skipped, ..Covered::default() };
        for device in &self.devices {
            covered += self.check_device(device, reasons.get(&device.wire), &came);
        }
        covered
    }

    /// What came out, by number: intact, what was sent or what a handler put in its place, each device's in order.
    fn delivered(&self) -> BTreeMap<u32, usize> {
        let mut came = BTreeMap::new();
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: true });
        let mut rest = &self.subscriber.1[..];
        loop {
            while let Some(frame) = decoder.next_frame().expect("the gateway sends frames") {
                assert!(frame.is_intact(&self.scheme()), "3: a frame with a wrong digest came out");
                if frame.header.kind == Kind::Reply {
                    continue;
                }
                let number = frame.header.key as u32;
                let expected = Header {
                    key: number.into(),
                    topic_len: frame.header.topic_len,
                    payload_len: frame.header.payload_len,
                    ..Header::new(Kind::Data)
                };
                assert_eq!(frame.header, expected, "3: the header of a native frame");
                let who = number >> 12;
                let sent = self.devices[who as usize].script.iter().find(|sent| sent.number == number);
                let sent = sent.expect("3: a frame came out that nobody sent");
                assert_eq!(sent.due, Due::Published, "3: {number} came out");
                let is_replaced = self.rules.handler && matches!(decide(number), Answer::Replace { .. });
                match is_replaced {
                    true => assert_eq!((frame.topic(), frame.payload()), (&b"dev.other"[..], &[7; 9][..])),
                    false => {
                        assert_eq!(frame.payload(), sent.bytes, "3: other bytes came out");
                        assert_eq!(frame.topic(), format!("dev.{who}").as_bytes());
                    }
                }
                let before = last.insert(who, number);
                let is_first = self.rules.dedup || before.is_none_or(|before| before < number);
                assert!(is_first, "1: {number} came after {before:?}");
                *came.entry(number).or_default() += 1;
            }
            if rest.is_empty() {
                return came;
            }
            let spare = decoder.spare();
            let n = spare.len().min(rest.len());
            spare[..n].copy_from_slice(&rest[..n]);
            decoder.advance(n);
            rest = &rest[n..];
        }
    }

    /// Each frame that is answered has one answer, in the order of the frames, and what it says is so.
    fn check_device(
        &self,
        device: &Device,
        reason: Option<&CloseReason>,
        came: &BTreeMap<u32, usize>,
    ) -> Covered {
        let mut covered = Covered::default();
        let mut due = device.script.iter().filter(|sent| match sent.due {
            Due::Published | Due::Refused | Due::Taken => matches!(sent.bytes[0], 0xA1 | 0xB2),
            Due::Ends(is_answered) => is_answered && matches!(sent.bytes[0], 0xA1 | 0xB2),
        });
        assert!(device.broke || device.received.len().is_multiple_of(ANSWER), "4: half an answer");
        for (tag, number) in device.answers() {
            let sent = due.next().unwrap_or_else(|| panic!("4: an answer that is not due: {tag:x} {number}"));
            assert_eq!(
                number,
                sent.number,
                "4: {tag:x} is not in the order of its frame: {:?}",
                device.answers().collect::<Vec<_>>()
            );
            let decided = if self.rules.handler { decide(number) } else { Answer::Pass(Vec::new()) };
            let refused_by_chance =
                self.rules.overflows || self.rules.sink.as_ref().is_some_and(|shelf| shelf.borrow().refuses);
            let may: &[u8] = match (sent.due, decided) {
                (Due::Taken, _) => &[0xA1],
                (Due::Refused | Due::Ends(_), _) => &[0xEE],
                (Due::Published, Answer::Reject(_) | Answer::Busy(_)) => &[0xEE],
                // What comes again is answered without the handler.
                (Due::Published, Answer::Pass(written)) if !written.is_empty() => &[0xF5, 0xB2, 0xEE],
                (Due::Published, _) => &[0xB2, 0xEE],
            };
            assert!(may.contains(&tag), "4: {number} is answered {tag:x}, not {may:x?}");
            if sent.due == Due::Published && tag == 0xEE && may.len() > 1 {
                assert!(refused_by_chance, "4: {number} is refused");
            }
            if matches!(tag, 0xB2 | 0xF5) {
                assert!(came.contains_key(&number), "4: {number} is answered, and did not come out");
            }
            covered.answered += 1;
            covered.written += u64::from(tag == 0xF5);
            covered.refused += u64::from(tag == 0xEE);
        }
        let is_whole = !device.broke
            && matches!(reason, Some(CloseReason::Finished | CloseReason::Fault(_) | CloseReason::BadDigest));
        if is_whole {
            let left: Vec<u32> = due.map(|sent| sent.number).collect();
            assert!(left.is_empty(), "4: not answered: {left:?}, {reason:?}");
            let ends = device.script.iter().any(|sent| matches!(sent.due, Due::Ends(_)));
            assert_eq!(ends, *reason.expect("it has one") != CloseReason::Finished, "4: {reason:?}");
            covered.whole += 1;
        }
        covered.broken += u64::from(device.broke);
        if !self.rules.dedup {
            assert!(
                device.script.iter().all(|sent| came.get(&sent.number).is_none_or(|times| *times == 1)),
                "2"
            );
        }
        covered
    }
}

/// What was reached.
#[derive(Clone, Copy, Debug, Default)]
struct Covered {
    answered: u64,
    written: u64,
    refused: u64,
    skipped: u64,
    whole: u64,
    broken: u64,
}

impl std::ops::AddAssign for Covered {
    fn add_assign(&mut self, other: Covered) {
        self.answered += other.answered;
        self.written += other.written;
        self.refused += other.refused;
        self.skipped += other.skipped;
        self.whole += other.whole;
        self.broken += other.broken;
    }
}

#[test]
fn devices_are_answered_in_order_whatever_happens() {
    let only = std::env::var("FRAMEGATE_SEED").ok().map(|seed| seed.parse::<u64>().expect("a number"));
    let seeds = only.map_or(0..3_000, |seed| seed..seed + 1);
    let mut covered = Covered::default();
    for seed in seeds {
        let run = || Fleet::new(Dice::from_seed(seed), false).run();
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(one) => covered += one,
            Err(panic) => {
                eprintln!("the failing seed is {seed}: FRAMEGATE_SEED={seed} replays it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{covered:?}");
    let Covered { answered, written, refused, skipped, whole, broken } = covered;
    assert!(
        only.is_some() || [answered, written, refused, skipped, whole, broken].iter().all(|count| *count > 0)
    );
}

/// The model is awake: a pool that swaps two verdicts is caught.
#[test]
fn swapped_runs_are_caught() {
    let caught = (0..300).any(|seed| {
        let run = || Fleet::new(Dice::from_seed(seed), true).run();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    });
    assert!(caught, "nobody noticed");
}
