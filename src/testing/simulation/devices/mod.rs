//! Devices of a listener with a layout, in worlds of native peers: in one seed of four, with chance of their own, so that
//! the native part of a world is what it is without them.

pub(super) mod format;
mod oracle;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use super::fragmented::Name;
use super::network::World;
use super::rng::SimRng;
use super::script::{Decision, Rules};
use crate::gateway::{BadDigestPolicy, Listener};
use crate::wire::Header;
use crate::wire::check_topic;
use format::{answer, frame, layout};

pub(super) use oracle::{check, check_stored, missing};

/// The key of the first frame of a device; that of each is its number, and no other frame's.
const FIRST: u64 = 1 << 40;

/// Numbers of one device.
const EACH: u64 = 1 << 16;

/// What names a frame that comes out: its publisher, and its id there; of a device, its number in two parts.
pub(super) fn name_of(header: &Header) -> Name {
    match is_key(header.key) {
        true => (header.key / EACH, header.key % EACH),
        false => (header.key, header.id),
    }
}

/// Whether a frame with this key is a device's.
pub(super) fn is_key(key: u64) -> bool {
    key >= FIRST
}

/// Whether a frame is a device's.
pub(super) fn is_of_device(name: Name) -> bool {
    name.0 >= FIRST / EACH
}

/// What becomes of a frame.
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

/// A frame of a device, or dirt.
struct Sent {
    number: u64,
    bytes: Vec<u8>,
    due: Due,
    /// Of what comes out.
    topic: String,
    /// What a handler does with it.
    decision: Option<Decision>,
}

impl Sent {
    fn name(&self) -> Name {
        (self.number / EACH, self.number % EACH)
    }

    fn is_answered(&self) -> bool {
        matches!(self.bytes[0], 0xA1 | 0xB2)
    }

    /// The payload that comes out, if nothing but chance keeps it from that.
    fn payload(&self) -> Option<&[u8]> {
        match &self.decision {
            _ if self.due != Due::Published => None,
            Some(Decision::Refuse(..) | Decision::Poison) => None,
            Some(Decision::Replace(topic, _)) if check_topic(topic.as_bytes()).is_err() => None,
            Some(Decision::Replace(_, payload)) => Some(payload),
            Some(Decision::Pass(_)) | None => Some(&self.bytes),
        }
    }
}

/// A device: what it sends, and what it got.
struct Device {
    wire: usize,
    script: Vec<Sent>,
    bytes: Vec<u8>,
    at: usize,
    received: Vec<u8>,
    ended: bool,
    broke: bool,
    frozen: bool,
}

/// Those of a world.
pub(super) struct Devices {
    rng: SimRng<'static>,
    scans: bool,
    in_code: bool,
    all: Vec<Device>,
    /// Whether it is waited for that all have sent everything.
    pub must_end: bool,
}

impl Devices {
    /// Those of a seed, if it has some.
    pub fn of(seed: u64) -> Option<Devices> {
        let mut rng = SimRng::from_seed(!seed);
        let (scans, in_code) = (rng.one_in(2), rng.one_in(2));
        // The seeds that are known to have failed are none of these.
        (seed % 4 == 1).then_some(Devices { rng, scans, in_code, all: Vec::new(), must_end: false })
    }

    /// Where they connect.
    pub fn listener(&self) -> Listener {
        let address = ([127, 0, 0, 1], 1).into();
        Listener { address, layout: Some(layout(self.scans, self.in_code)), tls: None }
    }

    /// They connect.
    pub fn connect(&mut self, rules: &Rules, world: &Rc<RefCell<World>>) {
        for who in 0..1 + self.rng.below(4) {
            let room = *self.rng.pick(&[20, 1_000, 100_000]);
            let mut world = world.borrow_mut();
            let wire = world.connect(room);
            world.wires[wire].listener = 1;
            let device = Device::new(who as u64, wire, (rules, self.scans), &mut self.rng);
            self.all.push(device);
        }
    }

    /// Something happens to one of them, or nothing.
    pub fn step(&mut self, world: &Rc<RefCell<World>>, is_fragile: bool) {
        let Devices { rng, all, .. } = self;
        if all.is_empty() || !rng.one_in(3) {
            return;
        }
        let at = rng.below(all.len());
        let device = &mut all[at];
        let mut world = world.borrow_mut();
        match rng.below(16) {
            0..9 => {
                let n = *rng.pick(&[1, 10, 100, 1_000, 10_000]);
                device.send(&mut world, rng.below(n) + 1);
            }
            9..14 if !device.frozen => {
                let n = *rng.pick(&[1, 100, 10_000]);
                device.read(&mut world, n);
            }
            14 => world.wires[device.wire].nudge(),
            15 if rng.one_in(if is_fragile { 3 } else { 20 }) => {
                device.broke = true;
                world.wires[device.wire].break_off(rng.one_in(2));
            }
            _ => {}
        }
    }

    /// Without faults: all send and read all there is. Whether there was something.
    pub fn go_on(&mut self, world: &Rc<RefCell<World>>) -> bool {
        let mut world = world.borrow_mut();
        let mut went_on = false;
        for device in &mut self.all {
            went_on |= device.send(&mut world, 10_000);
            went_on |= device.read(&mut world, usize::MAX);
        }
        went_on
    }

    /// Whether all that is waited for of them is done.
    pub fn are_done(&self, world: &Rc<RefCell<World>>) -> bool {
        let world = world.borrow();
        let is_closed = |device: &Device| {
            let wire = &world.wires[device.wire];
            wire.gate_closed && wire.to_peer.is_empty()
        };
        !self.must_end || self.all.iter().all(is_closed)
    }

    fn sent(&self, name: Name) -> &Sent {
        let who = (name.0 - FIRST / EACH) as usize;
        let sent = self.all[who].script.iter().find(|sent| sent.name() == name);
        sent.expect("3: a frame came out that no device sent")
    }

    /// The topic under which a frame comes out.
    pub fn topic(&self, name: Name) -> &str {
        &self.sent(name).topic
    }

    /// Each frame, and where it stands in what its device sends.
    pub fn places(&self) -> impl Iterator<Item = (Name, usize)> {
        self.all.iter().flat_map(|device| device.script.iter().zip(0..).map(|(sent, at)| (sent.name(), at)))
    }
}

impl Device {
    fn new(who: u64, wire: usize, (rules, scans): (&Rules, bool), rng: &mut SimRng<'_>) -> Device {
        let closes = rules.on_bad_digest == BadDigestPolicy::Close;
        let bad = if closes { Due::Ends(true) } else { Due::Refused };
        let mut script: Vec<Sent> = Vec::new();
        let (mut is_known, mut over) = (false, false);
        for index in 0..rng.below(25) as u64 {
            if over {
                break;
            }
            let number = FIRST + who * EACH + index;
            let is_right = !rng.one_in(10);
            let (bytes, due) = match rng.below(12) {
                0..2 => {
                    is_known |= is_right;
                    let due = if is_right { Due::Taken } else { bad };
                    (frame(0xA1, number, &(who as u16).to_be_bytes(), is_right), due)
                }
                2 => (frame(0xD4, number, &[], is_right), if is_right { Due::Taken } else { bad }),
                3 if rng.one_in(3) => {
                    // No byte of it begins a frame.
                    let due = if scans { Due::Taken } else { Due::Ends(false) };
                    (vec![0x11; 1 + rng.below(20)], due)
                }
                kind => {
                    // Larger than a read, where payloads may be.
                    let len = *rng.pick(&[0, 5, 40, 150, 1_500, 6_000, rules.payload_max]);
                    let len = rng.below(len.min(rules.payload_max - 20) + 1);
                    let more: Vec<u8> = (0..len).map(|at| (at as u64 + number) as u8).collect();
                    let due = match (is_right, is_known) {
                        (false, _) => bad,
                        (true, false) => Due::Refused,
                        (true, true) => Due::Published,
                    };
                    (frame(if kind < 9 { 0xB2 } else { 0xC3 }, number, &more, is_right), due)
                }
            };
            over = matches!(due, Due::Ends(_));
            let topic = format!("a.{who}");
            let is_called = rules.handlers && due == Due::Published;
            let decision = is_called.then(|| Decision::on(topic.as_bytes(), &bytes, rules));
            let topic = match &decision {
                Some(Decision::Replace(instead, _)) => (*instead).into(),
                _ => topic,
            };
            script.push(Sent { number, bytes, due, topic, decision });
        }
        let bytes = script.iter().flat_map(|sent| sent.bytes.iter().copied()).collect();
        let frozen = rng.one_in(6);
        Device { wire, script, bytes, at: 0, received: Vec::new(), ended: false, broke: false, frozen }
    }

    fn send(&mut self, world: &mut World, max: usize) -> bool {
        let now: Instant = world.now;
        let wire = &mut world.wires[self.wire];
        if wire.gate_closed || wire.reset || self.ended {
            return false;
        }
        let end = self.bytes.len().min(self.at + max);
        if self.at < end {
            wire.arrive(&self.bytes[self.at..end], now);
            self.at = end;
        } else {
            self.ended = true;
            wire.end();
        }
        true
    }

    fn read(&mut self, world: &mut World, max: usize) -> bool {
        let bytes = world.wires[self.wire].take(max);
        self.received.extend_from_slice(&bytes);
        !bytes.is_empty()
    }

    /// What it got, and what is on its way to it.
    fn told_so_far(&self, world: &World) -> Vec<u8> {
        self.received.iter().chain(&world.wires[self.wire].to_peer).copied().collect()
    }
}
