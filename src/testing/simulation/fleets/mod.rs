//! Worlds with a listener that has a layout: devices that log in, send, are answered in order, break off and come again,
//! beside native subscribers, under a handler, a sink and deduplication. What the oracle of native worlds says of frames
//! and replies is said here of foreign ones, by a model of one device.

mod device;
mod oracle;
mod sink;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::charged::Account;
use super::network::{SimNet, World};
use super::rng::SimRng;
use super::workers::{SimPool, Workers};
use device::{ANSWER, Device, decide, layout};
use oracle::Covered;
use sink::{SimSink, SinkState};

use crate::core::memory::Memory;
use crate::gateway::{BadDigestPolicy, Config, Gate, Listener, Overflow};
use crate::runtime::handler::{Answer, Call, Function};
use crate::testing::heap;
use crate::wire::{Header, Kind, Scheme, encode};

const TURNS_MAX: usize = 20_000;

struct FleetRules {
    scans: bool,
    closes_at_bad: bool,
    handler: bool,
    dedup: bool,
    overflows: bool,
    large: bool,
    sink: Option<Rc<RefCell<SinkState>>>,
}

struct Fleet<'a> {
    rng: SimRng<'a>,
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
    fn new(mut rng: SimRng<'a>, canary: bool) -> Fleet<'a> {
        let now = Instant::now();
        let sink = rng.one_in(2).then(Rc::<RefCell<SinkState>>::default);
        let handler = rng.one_in(3);
        let dedup = rng.one_in(3);
        if let Some(sink) = &sink {
            sink.borrow_mut().refuses = rng.one_in(2) && !dedup;
        }
        let rules = FleetRules {
            scans: rng.one_in(2),
            closes_at_bad: rng.one_in(3),
            handler,
            dedup,
            overflows: handler && rng.one_in(2),
            large: rng.one_in(2),
            sink,
        };
        let handle = |call: &Call<'_>| match call.payload.get(3..7).filter(|_| call.topic.starts_with("dev."))
        {
            Some(number) => decide(u32::from_be_bytes(number.try_into().expect("four bytes"))),
            None => Answer::Pass(Vec::new()),
        };
        let address = ([127, 0, 0, 1], 1).into();
        let mut config = Config {
            payload_max: if rules.large { 20_000 } else { 3_000 },
            listeners: vec![Listener { address, layout: Some(layout(rules.scans)), tls: None }],
            on_bad_digest: if rules.closes_at_bad { BadDigestPolicy::Close } else { BadDigestPolicy::Drop },
            dedup: dedup.then_some(Duration::from_secs(100_000)),
            outbox: 16 << 20,
            idle_timeout: Duration::from_secs(1_000_000),
            frame_timeout: Duration::from_secs(1_000_000),
            scheme: if rng.one_in(4) { Scheme::keyed(b"secret") } else { Scheme::Sha256 },
            ..Config::default()
        };
        if handler {
            config.function = Some(Function(Arc::new(handle)));
            config.max_in_flight = *rng.pick(&[1, 6]);
            config.max_queued = *rng.pick(&[0, 3, 20]);
            config.handler_timeout = Duration::from_secs(1_000_000);
            config.overflow = if rules.overflows { Overflow::Reject } else { Overflow::Pause };
        }
        let least = match handler {
            false => Memory::least(config.frame_max()),
            true => Memory::least_with_answers(config.frame_max(), config.answer_room()),
        };
        config.memory = least + *rng.pick(&[0, 1 << 14, 1 << 18, 1 << 22]);
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
        let workers = Rc::new(RefCell::new(Workers::new(scheme, canary.then_some(super::Canary::Verdicts))));
        let mut gate = {
            let _scope = heap::gateway();
            Gate::new(SimNet(world.clone()), SimPool(workers.clone()), config, now)
        };
        if let Some(sink) = &rules.sink {
            let sink = Box::new(SimSink(sink.clone()));
            let _scope = heap::gateway();
            gate.add_sink(sink);
        }
        account.built();
        let (devices, subscriber) = (Vec::new(), (0, Vec::new()));
        Fleet {
            rng,
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
            || self.rules.sink.as_ref().is_some_and(|sink| !sink.borrow().done.is_empty());
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
        let Some(sink) = &self.rules.sink else { return };
        let confirmed = &sink.borrow().confirmed;
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
        for who in 0..1 + self.rng.below(5) {
            let room = *self.rng.pick(&[20, 1_000, 100_000]);
            let wire = self.connect(1, room);
            let device = Device::new(who as u16, wire, &self.rules, &mut self.rng);
            self.devices.push(device);
        }
        for _ in 0..self.rng.below(500) {
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
        let at = self.rng.below(self.devices.len());
        match self.rng.below(16) {
            0..5 => {
                let n = *self.rng.pick(&[1, 10, 100, 1_000, 10_000]);
                let n = self.rng.below(n) + 1;
                self.send(at, n);
            }
            5..8 if !self.devices[at].frozen => {
                let n = *self.rng.pick(&[1, 100, 10_000]);
                self.read(at, n);
            }
            8..11 => self.workers.borrow_mut().work(&mut self.rng),
            11 => {
                let bytes = self.world.borrow_mut().wires[self.subscriber.0].take(1_000);
                self.subscriber.1.extend(bytes);
            }
            12 => self.world.borrow_mut().wires[self.devices[at].wire].nudge(),
            13 if self.rng.one_in(12) => {
                let keeps_unread = self.rng.one_in(2);
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
            15 => self.now += Duration::from_micros(self.rng.below(500) as u64),
            _ => {
                if let Some(sink) = self.rules.sink.clone() {
                    sink.borrow_mut().act(&mut self.rng);
                }
            }
        }
        if self.rng.below(3) < 2 {
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
                self.workers.borrow_mut().work(&mut self.rng);
                went_on = true;
            }
            if let Some(sink) = self.rules.sink.clone() {
                went_on |= sink.borrow_mut().act(&mut self.rng);
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
}

#[test]
fn devices_are_answered_in_order_whatever_happens() {
    let only = std::env::var("FRAMEGATE_SEED").ok().map(|seed| seed.parse::<u64>().expect("a number"));
    let many = std::env::var("FRAMEGATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3_000);
    let seeds = only.map_or(0..many, |seed| seed..seed + 1);
    let mut covered = Covered::default();
    for seed in seeds {
        let run = || Fleet::new(SimRng::from_seed(seed), false).run();
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
        let run = || Fleet::new(SimRng::from_seed(seed), true).run();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    });
    assert!(caught, "nobody noticed");
}
