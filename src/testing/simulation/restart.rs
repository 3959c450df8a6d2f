//! What a store had before a restart, and what becomes of the same bytes after it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::network::{SimNet, World};
use super::rng::SimRng;
use super::sink::{SimSink, SinkState};
use super::workers::{SimPool, Workers};
use crate::gateway::{Config, Gate};
use crate::wire::{Decoder, Draft, Frame, Header, Kind, Rules, Scheme, Status, encode};

/// A gateway with so many sinks, which remembers what the first of them has.
struct Restarted {
    gate: Gate<SimNet, SimPool>,
    world: Rc<RefCell<World>>,
    sinks: Vec<Rc<RefCell<SinkState>>>,
    now: Instant,
}

const WINDOW: Duration = Duration::from_secs(60);

impl Restarted {
    fn new(sink_count: usize, stored: &[(Duration, &[u8])]) -> Restarted {
        let now = Instant::now() + 2 * WINDOW;
        let world = Rc::new(RefCell::new(World::listening(now)));
        let workers = Rc::new(RefCell::new(Workers::new(Scheme::Sha256, None)));
        let config = Config { dedup: Some(WINDOW), ..Config::default() };
        let mut gate = Gate::new(SimNet(world.clone()), SimPool(workers), config, now);
        let mut sinks = Vec::new();
        for _ in 0..sink_count {
            let sink = Rc::new(RefCell::new(SinkState::new(false, false, true, 100, None)));
            gate.add_sink(Box::new(SimSink(sink.clone())));
            sinks.push(sink);
        }
        let digest = |bytes: &[u8]| *bytes.last_chunk().expect("a frame");
        let digests = stored.iter().map(|&(ago, bytes)| (now - ago, digest(bytes))).collect();
        gate.remember_stored("simulated", digests);
        Restarted { gate, world, sinks, now }
    }

    /// Sends frames on a connection of their own, has the sinks confirm what they get, and returns what was told.
    fn send(&mut self, bytes: &[u8]) -> Vec<Status> {
        let wire = self.world.borrow_mut().connect(100_000);
        self.world.borrow_mut().wires[wire].arrive(bytes, self.now);
        let mut rng = SimRng::Bytes(&[]);
        for _ in 0..20 {
            let events = self.world.borrow_mut().take_events();
            self.gate.turn(self.now, &events);
            for sink in &self.sinks {
                sink.borrow_mut().go_on(&mut rng);
            }
        }
        let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: true });
        let told = self.world.borrow_mut().wires[wire].take(usize::MAX);
        decoder.spare()[..told.len()].copy_from_slice(&told);
        decoder.advance(told.len());
        let mut all = Vec::new();
        while let Some(frame) = decoder.next_frame().expect("the gateway sends frames") {
            all.push(Status::from_u16(frame.header.status).expect("a status"));
        }
        all
    }

    fn had(&self, place: usize) -> usize {
        let sink = self.sinks[place].borrow();
        sink.confirmed.len() + sink.messages.len()
    }
}

fn frame(id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { want_reply: true, id, ..Header::new(Kind::Data) };
    encode(header, b"a", b"stored", &Scheme::Sha256, &mut bytes);
    bytes
}

#[test]
fn what_the_only_sink_has_is_done() {
    let (old, young) = (frame(1), frame(2));
    // In any order, and what is older than the window is none of it.
    let stored = [(Duration::from_secs(5), &young[..]), (WINDOW, &old[..])];
    let mut gateway = Restarted::new(1, &stored);
    assert_eq!(gateway.send(&young), [Status::Duplicate]);
    assert_eq!(gateway.had(0), 0);
    assert_eq!(gateway.send(&old), [Status::Ok]);
    assert_eq!(gateway.had(0), 1);
    assert_eq!(gateway.send(&old), [Status::Duplicate]);
}

#[test]
fn what_one_of_two_sinks_has_goes_to_the_other() {
    let stored = frame(1);
    let mut gateway = Restarted::new(2, &[(Duration::ZERO, &stored)]);
    assert_eq!(gateway.send(&stored), [Status::Ok]);
    assert_eq!((gateway.had(0), gateway.had(1)), (0, 1));
    assert_eq!(gateway.send(&stored), [Status::Duplicate]);
    assert_eq!((gateway.had(0), gateway.had(1)), (0, 1));
}

#[test]
fn a_message_that_was_stored_is_known_when_its_fragments_come_again() {
    let part_of = |index: u16, id: u64| {
        let header = Header { part_index: index, part_count: 2, id, ..Header::new(Kind::Data) };
        let payload = super::fragmented::payload(0, u64::from(index), 10);
        let mut bytes = Vec::new();
        let header = Header { key: super::fragmented::FIRST_KEY, want_reply: true, ..header };
        encode(header, b"a", &payload, &Scheme::Sha256, &mut bytes);
        bytes
    };
    let parts = [part_of(0, 0), part_of(1, 1)];
    let others = [part_of(0, 10), part_of(1, 11)];
    let payloads: Vec<u8> = parts.iter().flat_map(|part| Frame::first_of(part).payload().to_vec()).collect();
    let memory = crate::core::memory::Memory::new(64 << 20, 1 << 20);
    let header = Header { key: super::fragmented::FIRST_KEY, ..Header::new(Kind::Data) };
    let mut draft = Draft::new(header, &Scheme::Sha256);
    draft.topic(b"a".to_vec(), &memory);
    draft.payload(payloads, &memory);
    let made = draft.hashed();
    let message: Vec<u8> = made.body().slices().flatten().copied().collect();

    let mut gateway = Restarted::new(1, &[(Duration::ZERO, &message)]);
    assert_eq!(gateway.send(&parts.concat()), [Status::Duplicate; 2]);
    assert_eq!((gateway.had(0), gateway.gate.ledger().in_flight()), (0, 0));
    // The same message of other parts is another.
    assert_eq!(gateway.send(&others.concat()), [Status::Ok; 2]);
    assert_eq!((gateway.had(0), gateway.gate.ledger().in_flight()), (1, 0));

    let mut gateway = Restarted::new(2, &[(Duration::ZERO, &message)]);
    assert_eq!(gateway.send(&parts.concat()), [Status::Ok; 2]);
    assert_eq!((gateway.had(0), gateway.had(1), gateway.gate.ledger().in_flight()), (0, 1, 0));
    assert_eq!(gateway.send(&parts.concat()), [Status::Duplicate; 2]);
    assert_eq!((gateway.had(0), gateway.had(1)), (0, 1));
}
