//! Peers that hang up, or stall, at the worst moment: runs that are written out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::rng::SimRng;
use super::scenarios::{Scene, frame};
use super::sink::{SimSink, SinkState};
use crate::core::limits::{FIRST_SHARE, LINGER, PATIENCE_IDLE, READ_MIN, read_need};
use crate::gateway::CloseReason;
use crate::gateway::control::{Answer, Command};
use crate::gateway::snapshot::{MemoryUse, Phase};
use crate::gateway::{Config, SlowPolicy};
use crate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, encode};

const SLOTS: usize = 5;

fn scene(config: Config) -> Scene {
    Scene::new(Config { payload_max: 3_000, connections_max: SLOTS, memory: 1 << 20, ..config })
}

fn subscribe() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(Header::new(Kind::Subscribe), b">", b"", &Scheme::Sha256, &mut bytes);
    bytes
}

/// A frame that asks for a reply.
fn asking(id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { want_reply: true, key: 1, id, ..Header::new(Kind::Data) };
    encode(header, b"t", &[7; 100], &Scheme::Sha256, &mut bytes);
    bytes
}

impl Scene {
    fn slots_used(&self) -> usize {
        self.gate.describe_state().queues.connections.now as usize
    }

    fn pause(&mut self) {
        let (answer, _) = Answer::new();
        self.gate.command(Command::Pause(Duration::ZERO, answer), self.now);
        assert_eq!(self.gate.describe_state().phase, Phase::Paused);
    }

    fn resume(&mut self) {
        let (answer, _) = Answer::new();
        self.gate.command(Command::Resume(answer), self.now);
        self.turns(6);
    }

    /// Goes on for so long, as a loop that wakes when something is due.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.gate.next_deadline().filter(|&next| next < until) {
            self.now = self.now.max(next);
            self.turns(1);
        }
        self.now = until;
        self.turns(2);
    }

    /// Whole frames that a peer gets until nothing more comes, and whether it is in the middle of one then.
    fn read_all(&mut self, wire: usize) -> (Vec<Header>, bool) {
        let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: true });
        let mut headers = Vec::new();
        loop {
            let bytes = self.world.borrow_mut().wires[wire].take(50);
            if bytes.is_empty() {
                return (headers, decoder.pending() > 0);
            }
            for part in bytes.chunks(16) {
                decoder.spare()[..part.len()].copy_from_slice(part);
                decoder.advance(part.len());
                while let Some(frame) = decoder.next_frame().expect("frames") {
                    headers.push(frame.header);
                }
            }
            self.turns(3);
        }
    }
}

/// Five resets under `ctl pause` held all of five slots, past the idle timeout too.
#[test]
fn who_is_reset_in_a_pause_gives_its_slot_back() {
    let mut scene = scene(Config { idle_timeout: Duration::from_secs(5), ..Config::default() });
    scene.pause();
    for round in 0..3 {
        let wires: Vec<usize> = (0..SLOTS).map(|_| scene.connect()).collect();
        wires.iter().for_each(|&wire| scene.send(wire, &frame(200)));
        assert_eq!(scene.slots_used(), SLOTS);
        wires.iter().for_each(|&wire| scene.world.borrow_mut().wires[wire].break_off(round == 1));
        scene.turns(1);
        assert_eq!(scene.slots_used(), 0, "reset connections hold slots");
    }
    assert_eq!(scene.gate.ledger().read, 0);
}

/// A peer that has only ended its sending side may wait for what it is to be told: what it sent is read later.
#[test]
fn who_is_half_closed_in_a_pause_is_read_after_it() {
    let mut scene = scene(Config { idle_timeout: Duration::from_secs(5), ..Config::default() });
    let done = scene.connect();
    scene.send(done, &asking(1));
    scene.pause();
    let waits = scene.connect();
    for id in 2..5 {
        scene.send(waits, &asking(id));
    }
    for wire in [done, waits] {
        scene.world.borrow_mut().wires[wire].end();
    }
    scene.wait(Duration::from_secs(60));
    assert_eq!(scene.slots_used(), 1, "the one that has nothing unread is finished");
    let ids =
        |scene: &mut Scene, wire| scene.read_all(wire).0.iter().map(|reply| reply.id).collect::<Vec<u64>>();
    assert_eq!(ids(&mut scene, done), [1]);
    scene.resume();
    assert_eq!(ids(&mut scene, waits), [2, 3, 4]);
    assert_eq!((scene.gate.ledger().read, scene.slots_used()), (4, 0));
}

/// A full disk, and publishers that give up and connect again: each had a slot until the disk had room, and a first
/// batch of the memory.
#[test]
fn a_full_sink_and_publishers_that_come_again_use_up_neither_slots_nor_memory() {
    let mut scene = scene(Config::default());
    let sink = Rc::new(RefCell::new(SinkState::new(false, false, false, 1, None)));
    scene.gate.add_sink(Box::new(SimSink(sink.clone())));
    for id in 0..4_000 {
        let wire = scene.connect();
        scene.send(wire, &asking(id));
        scene.world.borrow_mut().wires[wire].break_off(id % 2 == 0);
        scene.turns(1);
        assert_eq!(scene.slots_used(), 0, "publisher {id} is gone, and holds its slot");
        let MemoryUse { used_bytes, entries_bytes, limit_bytes, .. } = scene.gate.describe_state().memory;
        // Beside the tables of what was accepted, which grow by the half.
        let used_bytes = used_bytes - entries_bytes;
        let half = limit_bytes as usize / 2;
        let firsts = limit_bytes as usize / FIRST_SHARE;
        let one = read_need(READ_MIN);
        assert!(used_bytes as usize <= half + firsts + one, "{used_bytes} bytes after {id} publishers");
    }
    // Those that stay are not read either, and what was accepted is not lost.
    let read = scene.gate.ledger().read;
    assert!(read > 100, "first batches are taken: {read}");
    let stays = scene.connect();
    scene.send(stays, &asking(5_000));
    assert_eq!(scene.gate.ledger().read, read);
    for _ in 0..2 * read {
        sink.borrow_mut().go_on(&mut super::rng::SimRng::from_seed(1));
        scene.turns(2);
    }
    assert_eq!(scene.gate.ledger().to_sinks.confirmed, read + 1);
    let (replies, is_cut) = scene.read_all(stays);
    assert!(!is_cut && replies.len() == 1 && replies[0].status == Status::Ok as u16, "{replies:?}");
    assert_eq!(scene.gate.ledger().connections.closed, 4_000);
}

/// A publisher that sends and closes is done when everything is read, even where no more may be read of anybody.
#[test]
fn who_has_sent_and_closed_is_done_though_a_sink_is_full() {
    let mut scene = scene(Config::default());
    let sink = Rc::new(RefCell::new(SinkState::new(false, false, false, 1, None)));
    scene.gate.add_sink(Box::new(SimSink(sink)));
    for _ in 0..3 * SLOTS {
        let wire = scene.connect();
        scene.send(wire, &frame(200));
        scene.world.borrow_mut().wires[wire].end();
        scene.turns(2);
    }
    assert_eq!((scene.gate.ledger().read, scene.slots_used()), (3 * SLOTS as u64, 0));
}

/// Connections that come and go leave nothing among the deadlines; the invariants look at them in each turn.
#[test]
fn who_comes_and_goes_leaves_no_deadline() {
    let mut scene = scene(Config::default());
    for count in 0..2_000 {
        let wire = scene.connect();
        if count % 3 == 0 {
            // A begun frame has a deadline that is nearer than the idle timeout.
            scene.send(wire, &frame(200)[..100]);
        }
        match count % 2 {
            0 => scene.world.borrow_mut().wires[wire].break_off(false),
            _ => scene.world.borrow_mut().wires[wire].end(),
        }
        scene.turns(2);
    }
    assert_eq!((scene.slots_used(), scene.gate.next_deadline()), (0, None), "nothing is waited for");
}

/// A subscriber that stalls, is given up, and reads on five seconds later: whole frames, SLOW, the end.
#[test]
fn who_stalls_and_reads_on_is_told_slow() {
    for slow in [SlowPolicy::Disconnect, SlowPolicy::Pause] {
        let slow_timeout = Duration::from_secs(10);
        let mut scene = scene(Config { slow, slow_timeout, outbox: 4_000, ..Config::default() });
        let subscriber = scene.world.borrow_mut().connect(1_000);
        scene.turns(2);
        scene.send(subscriber, &subscribe());
        let publisher = scene.connect();
        for _ in 0..30 {
            scene.send(publisher, &frame(400));
            scene.wait(Duration::from_millis(200));
        }
        let given_up = |scene: &Scene| scene.gate.closed().iter().any(|(_, why)| *why == CloseReason::Slow);
        for _ in 0..200 {
            if !given_up(&scene) {
                scene.wait(Duration::from_millis(100));
            }
        }
        assert!(given_up(&scene), "{slow:?}");
        let stalled = Duration::from_secs(5);
        assert!(LINGER < stalled && stalled < slow_timeout);
        scene.wait(stalled);
        let (got, is_cut) = scene.read_all(subscriber);
        assert!(!is_cut, "{slow:?}: in the middle of a frame, after {got:?}");
        let (last, frames) = got.split_last().unwrap();
        assert_eq!(last.status, Status::Slow as u16, "{slow:?}: {got:?}");
        assert!(frames.iter().all(|frame| frame.kind == Kind::Data) && frames.len() >= 2);
        assert!(scene.world.borrow().wires[subscriber].gate_ended, "{slow:?}");
    }
}

/// Many subscribers that stall take all the memory long before the outbox of any of them is full. A publisher
/// waits for a moment until that is taken back from them, each time.
#[test]
fn many_who_stall_hold_the_others_up_once() {
    const STALLED: usize = 40;
    const FRAMES: usize = 5_000;
    let mut scene = Scene::new(Config {
        payload_max: 3_000,
        connections_max: STALLED + 1,
        memory: 1 << 20,
        outbox: 1 << 20,
        ..Config::default()
    });
    for _ in 0..STALLED {
        let subscriber = scene.world.borrow_mut().connect(100);
        scene.turns(2);
        scene.send(subscriber, &subscribe());
    }
    let publisher = scene.connect();
    scene.send(publisher, &frame(400).repeat(FRAMES));
    let (mut charged, mut read, mut went_on, mut longest) = (0, 0, scene.now, Duration::ZERO);
    while scene.gate.ledger().read < (STALLED + FRAMES) as u64 {
        while scene.workers.borrow().has_work() {
            scene.workers.borrow_mut().work(&mut SimRng::from_seed(1));
        }
        let memory = scene.gate.describe_state().memory;
        charged = charged.max(memory.entries_bytes + memory.small_bytes);
        scene.wait(Duration::from_millis(10));
        if std::mem::replace(&mut read, scene.gate.ledger().read) != read {
            went_on = scene.now;
        }
        longest = longest.max(scene.now - went_on);
        assert!(longest <= 2 * PATIENCE_IDLE, "{longest:?}, and {read} frames are read");
    }
    assert!(charged > 700 << 10, "only {charged} bytes were charged: the memory was never nearly full");
    let slow = scene.gate.closed().iter().filter(|(_, why)| *why == CloseReason::Slow).count();
    assert!(slow >= STALLED / 4, "{slow} were given up");
}

/// Where memory fills more slowly than that, nobody waits at all: what peers hold that have stalled for long is taken back
/// before someone needs it, each time.
#[test]
fn who_stalls_while_memory_fills_slowly_holds_nobody_up() {
    stalled_hold_nobody_up(40, Duration::from_millis(16));
}

/// Few who stall come over their mark before the memory is nearly full. They have taken nothing for long by then, and
/// there is no reason to wait whether they do.
#[test]
fn who_stalled_long_before_its_mark_holds_nobody_up() {
    stalled_hold_nobody_up(8, Duration::from_millis(4));
}

fn stalled_hold_nobody_up(stalled: usize, period: Duration) {
    let mut scene = Scene::new(Config {
        payload_max: 3_000,
        connections_max: 4 * stalled,
        memory: 1 << 20,
        outbox: 1 << 20,
        ..Config::default()
    });
    let publisher = scene.connect();
    let slow =
        |scene: &Scene| scene.gate.closed().iter().filter(|(_, why)| *why == CloseReason::Slow).count();
    for round in 1..=3 {
        for _ in 0..stalled {
            let subscriber = scene.world.borrow_mut().connect(100);
            scene.turns(2);
            scene.send(subscriber, &subscribe());
        }
        // Each of them costs an entry a frame: the memory is full in 2 to 3 s.
        for _ in 0..16_000 / stalled {
            let read = scene.gate.ledger().read;
            scene.send(publisher, &frame(400));
            scene.now += period;
            assert_eq!(scene.gate.ledger().read, read + 1, "round {round}: the publisher waits");
        }
        assert!(slow(&scene) >= round, "round {round}: {} were given up", slow(&scene));
    }
}
