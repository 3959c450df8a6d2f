//! Runs that are written out, where a seed found a fault: what a seed means changes with the worlds that are drawn.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::charged::Account;
use super::network::{SimNet, World};
use super::rng::SimRng;
use super::workers::{SimPool, Workers};
use crate::core::limits::{INLINE_BATCH, JOBS, READ_MAX, RECLAIM_AFTER};
use crate::core::memory::Memory;
use crate::gateway::{Config, Gate};
use crate::testing::heap;
use crate::wire::{Header, Kind, Scheme, encode};

/// A gateway whose peers do what a test says.
pub(super) struct Scene {
    pub world: Rc<RefCell<World>>,
    pub workers: Rc<RefCell<Workers>>,
    pub gate: Gate<SimNet, SimPool>,
    pub now: Instant,
    memory: usize,
    account: Account,
    /// What it may have allocated beside.
    pub uncharged: usize,
}

impl Scene {
    pub fn new(config: Config) -> Scene {
        let now = Instant::now();
        let mut account = Account::begin();
        let world = Rc::new(RefCell::new(World::listening(now)));
        let workers = Rc::new(RefCell::new(Workers::new(Scheme::Sha256, None)));
        let memory = config.memory;
        let calls = config.calls();
        let mut gate = {
            let _scope = heap::gateway();
            Gate::new(SimNet(world.clone()), SimPool(workers.clone()), config, now)
        };
        if calls {
            let _scope = heap::gateway();
            gate.start_handlers().expect("they start");
        }
        account.built();
        Scene { world, workers, gate, now, memory, account, uncharged: 0 }
    }

    pub fn connect(&mut self) -> usize {
        let wire = self.world.borrow_mut().connect(100_000);
        self.turns(2);
        wire
    }

    pub fn send(&mut self, wire: usize, bytes: &[u8]) {
        self.world.borrow_mut().wires[wire].arrive(bytes, self.now);
        self.turns(6);
    }

    pub fn turns(&mut self, turns: usize) {
        for _ in 0..turns {
            let events = self.world.borrow_mut().take_events();
            {
                let _scope = heap::gateway();
                self.gate.turn(self.now, &events);
            }
            self.gate.check_invariants(self.memory);
            self.account.check(&self.gate, self.uncharged);
        }
    }

    /// The workers do all that they have, and the gateway what comes of it.
    pub fn finish(&mut self) {
        for _ in 0..100 {
            while self.workers.borrow().has_work() {
                self.workers.borrow_mut().work(&mut SimRng::from_seed(1));
            }
            self.turns(1);
            // What takes longer than a look for someone who has stalled is a timeout.
            let next = self.gate.next_deadline().filter(|&next| next <= self.now + Duration::from_secs(1));
            self.now = next.map_or(self.now, |next| next.max(self.now));
        }
    }
}

/// A DATA frame of so many bytes.
pub(super) fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(Header::new(Kind::Data), b"", &vec![7; bytes - 64], &Scheme::Sha256, &mut frame);
    frame
}

/// A gateway with the least memory, a connection whose reads have become large, and what it sent 20 times for that.
fn scene_of_a_wide_reader() -> (Scene, usize, Vec<u8>) {
    let config = Config { payload_max: 3_000, ..Config::default() };
    let mut scene = Scene::new(Config { memory: Memory::least(config.frame_max()), ..config });
    let wide = scene.connect();
    let warm = frame(500).repeat(2 * READ_MAX / 500);
    for _ in 0..20 {
        scene.send(wide, &warm);
        scene.finish();
    }
    (scene, wide, warm)
}

/// A connection that waits for the workers holds the memory for what it began, and may be behind someone who waits for that
/// memory: seed 187147, and a random input before it, never finished.
#[test]
fn who_waits_for_workers_does_not_stand_behind_who_waits_for_memory() {
    let (mut scene, wide, warm) = scene_of_a_wide_reader();
    const BEGINNERS: usize = 5;
    let begun = frame(2_900);
    let beginners: Vec<usize> = (0..BEGINNERS).map(|_| scene.connect()).collect();
    beginners.iter().for_each(|&wire| scene.send(wire, &begun[..1_500]));
    for _ in 0..JOBS {
        let filler = scene.connect();
        scene.send(filler, &frame(INLINE_BATCH + 1));
    }
    scene.send(wide, &frame(500));
    beginners.iter().for_each(|&wire| scene.send(wire, &begun[1_500..]));
    let read = scene.gate.ledger().read;
    assert_eq!(
        read,
        (20 * warm.len() / 500 + JOBS) as u64,
        "the workers have all that they may, and nobody is read"
    );
    scene.finish();
    assert_eq!(scene.gate.ledger().read - read, 1 + BEGINNERS as u64, "all of them go on");
}

/// Many who have begun a header leave room for one that reads much at a time, and so for each other: found by a world
/// of a hundred connections.
#[test]
fn begun_headers_hold_no_memory() {
    let (mut scene, wide, warm) = scene_of_a_wide_reader();
    let read = scene.gate.ledger().read;
    let beginners: Vec<usize> = (0..200).map(|_| scene.connect()).collect();
    beginners.iter().for_each(|&wire| scene.send(wire, &frame(100)[..10]));
    scene.world.borrow_mut().wires[wide].arrive(&warm, scene.now);
    for &wire in &beginners {
        scene.world.borrow_mut().wires[wire].arrive(&frame(100)[10..], scene.now);
    }
    scene.finish();
    let all = warm.len() / 500 + beginners.len();
    assert_eq!(scene.gate.ledger().read - read, all as u64, "all of them go on");
}

/// Peers that begin long frames and stop wait among themselves for the memory to finish them; a short frame of another passes.
#[test]
fn who_begins_long_frames_and_stops_leaves_room_for_short_ones() {
    let config = Config { payload_max: 3_000, ..Config::default() };
    let mut scene =
        Scene::new(Config { memory: Memory::least(config.frame_max()) + 64 * READ_MAX, ..config });
    let beginners: Vec<usize> = (0..100).map(|_| scene.connect()).collect();
    beginners.iter().for_each(|&wire| scene.send(wire, &frame(2_900)[..100]));
    let [short, long] = [scene.connect(), scene.connect()];
    scene.send(short, &frame(200));
    assert_eq!(scene.gate.ledger().read, 1, "it waits for none of them");
    // Whoever goes on has its turn when those who had theirs are given up.
    scene.send(long, &frame(2_900));
    assert_eq!(scene.gate.ledger().read, 1, "the others were before it");
    let patience = scene.now + 10 * RECLAIM_AFTER;
    while scene.gate.ledger().read == 1 && scene.now < patience {
        scene.now += RECLAIM_AFTER / 10;
        scene.turns(10);
    }
    assert_eq!(scene.gate.ledger().read, 2);
}
