//! Connections through TLS, with a toy in its place: handshakes are jobs that come back late or never, and peers stall,
//! trickle and cut. What is delivered of each is what it sent, in its order, as far as it was sent whole.

use std::time::Duration;

use super::rng::SimRng;
use super::scenarios::Scene;
use crate::core::limits::{HANDSHAKE_COST, HANDSHAKE_TIME, LINGER, READ_MAX, TLS_RECORD};
use crate::gateway::control::{Answer, Command, Reloaded};
use crate::gateway::{CloseReason, Config, Listener};
use crate::runtime::tls::toy::{ToySetup, close_notify, finished, hello, opened, sealed};
use crate::runtime::tls::{CertFault, SharedSetup, TlsFault};
use crate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, encode};

/// What a peer does at the end of what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// It says that nothing more comes.
    Announced,
    /// It ends its sending side, and says nothing.
    HalfClosed,
    /// It sends so many bytes of all, and nothing more.
    Stalls(usize),
    /// So many, and the connection ends.
    Cut(usize),
    /// So many, and it is reset.
    Reset(usize),
}

struct Peer {
    wire: usize,
    frames: Vec<Vec<u8>>,
    ends: Ends,
    left: Vec<u8>,
    is_ended: bool,
}

fn scene(memory: usize) -> Scene {
    let tls: SharedSetup = ToySetup::shared();
    let listener = Listener { address: ([127, 0, 0, 1], 7453).into(), layout: None, tls: Some(tls) };
    let mut scene =
        Scene::new(Config { payload_max: 3_000, memory, listeners: vec![listener], ..Config::default() });
    // The records of a scene: what is not whole is charged to nobody, here as in the real one.
    scene.uncharged = 64 * (2 * TLS_RECORD + 1024) + 2 * READ_MAX;
    scene
}

impl Scene {
    fn connect_secure(&mut self) -> usize {
        let wire = self.world.borrow_mut().connect(100_000);
        self.world.borrow_mut().wires[wire].listener = 1;
        self.turns(2);
        wire
    }

    fn open(&mut self, wire: usize, name: &str) {
        self.send(wire, &hello(name));
        self.finish();
        self.send(wire, &finished());
        self.finish();
    }

    fn end_of(&self, wire: usize) -> Option<CloseReason> {
        let closed = self.gate.closed();
        closed.iter().find(|(peer, _)| usize::from(peer.port()) == wire).map(|(_, reason)| reason.clone())
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.gate.next_deadline().filter(|&next| next < until) {
            self.now = self.now.max(next);
            self.turns(1);
        }
        self.now = until;
        self.turns(3);
    }
}

fn data(topic: &str, id: u64, bytes: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let header = Header { want_reply: true, id, ..Header::new(Kind::Data) };
    encode(header, topic.as_bytes(), &vec![id as u8; bytes], &Scheme::Sha256, &mut frame);
    frame
}

/// The frames in a stream.
fn frames(bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: true });
    let mut all = Vec::new();
    for part in bytes.chunks(16) {
        decoder.spare()[..part.len()].copy_from_slice(part);
        decoder.advance(part.len());
        while let Some(frame) = decoder.next_frame().expect("frames") {
            all.push((frame.header, frame.bytes.to_vec()));
        }
    }
    all
}

fn subscribe() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(Header::new(Kind::Subscribe), b">", b"", &Scheme::Sha256, &mut bytes);
    bytes
}

#[test]
fn what_is_delivered_is_what_was_sent_whole_whoever_stalls_trickles_and_cuts() {
    let mut seen = [0; 5];
    for seed in 0..150 {
        run(seed, &mut seen);
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

fn run(seed: u64, seen: &mut [u32; 5]) {
    let rng = &mut SimRng::from_seed(seed);
    let mut scene = scene(1 << 20);
    let subscriber = scene.connect_secure();
    scene.open(subscriber, "desk");
    scene.send(subscriber, &sealed(&subscribe()));
    let mut got = Vec::new();
    let mut peers: Vec<Peer> = (0..1 + rng.below(5)).map(|at| peer(&mut scene, rng, at)).collect();
    for peer in &peers {
        let kind = match peer.ends {
            Ends::Announced => 0,
            Ends::HalfClosed => 1,
            Ends::Stalls(_) => 2,
            Ends::Cut(_) => 3,
            Ends::Reset(_) => 4,
        };
        seen[kind] += 1;
    }
    // In some worlds the workers do next to nothing until the deadline is over.
    let (is_stuck, began) = (seed.is_multiple_of(7), scene.now);
    while peers.iter().any(|peer| !peer.is_ended) || scene.workers.borrow().has_work() {
        let at = rng.below(peers.len());
        go_on(&mut scene, rng, &mut peers[at]);
        let is_slow = is_stuck && scene.now < began + HANDSHAKE_TIME;
        if !rng.one_in(if is_slow { 2 } else { 3 }) || !is_slow {
            scene.workers.borrow_mut().work(rng);
        }
        if is_slow {
            scene.now += Duration::from_millis(50);
        }
        scene.turns(1 + rng.below(2));
        let bytes = scene.world.borrow_mut().wires[subscriber].take(1 + rng.below(700));
        got.extend(bytes);
    }
    // The deadline of those that stall before they are agreed, and of frames and records that are not whole.
    scene.pass(Config::default().frame_timeout + HANDSHAKE_TIME + 2 * LINGER);
    scene.finish();
    for _ in 0..2000 {
        let bytes = scene.world.borrow_mut().wires[subscriber].take(1000);
        scene.turns(3);
        if bytes.is_empty() {
            break;
        }
        got.extend(bytes);
    }
    let delivered = frames(&opened(&got).0);
    for (at, peer) in peers.iter().enumerate() {
        let topic = format!("t.{at}");
        let topic = topic.as_bytes();
        let of_it: Vec<&Vec<u8>> = delivered
            .iter()
            .filter(|(header, bytes)| header.kind == Kind::Data && bytes[32..].starts_with(topic))
            .map(|(_, bytes)| bytes)
            .collect();
        let expected: Vec<&Vec<u8>> = peer.frames.iter().collect();
        assert!(expected.starts_with(&of_it), "seed {seed}: peer {at} has others' frames, or out of order");
        let reason = scene.end_of(peer.wire);
        let was_late = matches!(&reason, Some(CloseReason::Tls(fault)) if **fault == TlsFault::Late);
        match peer.ends {
            Ends::Announced | Ends::HalfClosed if !was_late => {
                assert_eq!(
                    of_it.len(),
                    expected.len(),
                    "seed {seed}: peer {at}: {:?}, {reason:?}",
                    peer.ends
                );
                let answers = scene.world.borrow_mut().wires[peer.wire].take(usize::MAX);
                let (answers, is_said) = opened(&answers);
                assert_eq!(frames(&answers).len(), expected.len(), "seed {seed}: peer {at} is answered");
                assert!(is_said, "seed {seed}: peer {at} hears the end");
                assert_eq!(reason, Some(CloseReason::Finished), "seed {seed}: peer {at}");
            }
            // Within so much it is not agreed on: nobody waits for it.
            Ends::Stalls(sent) if sent < hello("").len() + finished().len() => {
                assert!(was_late, "seed {seed}: peer {at} stalls, and ends with {reason:?}");
            }
            _ => {}
        }
    }
    let Some(tls) = scene.gate.describe_state().tls else { panic!("it is used") };
    assert_eq!(tls.handshakes.now, 0, "seed {seed}");
}

fn peer(scene: &mut Scene, rng: &mut SimRng<'_>, at: usize) -> Peer {
    let wire = scene.connect_secure();
    let topic = format!("t.{at}");
    let sizes = [0, 1, 100, 1000, 2900];
    let frames: Vec<Vec<u8>> =
        (0..rng.below(6)).map(|id| data(&topic, id as u64 + 1, *rng.pick(&sizes))).collect();
    let mut left = [hello(""), finished(), sealed(&frames.concat())].concat();
    let somewhere = rng.below(left.len());
    let ends = match rng.below(5) {
        0 => Ends::Announced,
        1 => Ends::HalfClosed,
        2 => Ends::Stalls(somewhere),
        3 => Ends::Cut(somewhere),
        _ => Ends::Reset(somewhere),
    };
    match ends {
        Ends::Announced => left.extend(close_notify()),
        Ends::HalfClosed => {}
        Ends::Stalls(sent) | Ends::Cut(sent) | Ends::Reset(sent) => left.truncate(sent),
    }
    Peer { wire, frames, ends, left, is_ended: false }
}

/// A peer sends a little more, or ends.
fn go_on(scene: &mut Scene, rng: &mut SimRng<'_>, peer: &mut Peer) {
    if peer.is_ended {
        return;
    }
    let now = scene.now;
    let wire = &mut scene.world.borrow_mut().wires[peer.wire];
    if peer.left.is_empty() {
        peer.is_ended = true;
        match peer.ends {
            Ends::Announced | Ends::Stalls(_) => {}
            Ends::HalfClosed | Ends::Cut(_) => wire.end(),
            Ends::Reset(_) => wire.break_off(rng.one_in(2)),
        }
        return;
    }
    let most = *rng.pick(&[1, 7, 200, 3_000]);
    let n = (1 + rng.below(most)).min(peer.left.len());
    let bytes: Vec<u8> = peer.left.drain(..n).collect();
    wire.arrive(&bytes, now);
}

#[test]
fn more_handshakes_than_may_be_close_the_one_that_has_waited_longest() {
    let mut scene = scene(1 << 20);
    let max = scene.gate.describe_state().tls.unwrap().handshakes.max as usize;
    let wires: Vec<usize> = (0..max + 3).map(|_| scene.connect_secure()).collect();
    scene.turns(10);
    for (at, &wire) in wires.iter().enumerate() {
        let is_dropped =
            matches!(scene.end_of(wire), Some(CloseReason::Tls(fault)) if *fault == TlsFault::Dropped);
        assert_eq!(is_dropped, at < 3, "{at}");
    }
    assert!(max * HANDSHAKE_COST <= (1 << 20) / 16);
    // Those that are left can be agreed on, the last first.
    for &wire in wires[3..].iter().rev() {
        scene.open(wire, "");
        scene.send(wire, &sealed(&data("a", 1, 5)));
    }
    assert_eq!(scene.gate.ledger().read, max as u64);
}

#[test]
fn a_handshake_that_never_comes_back_ends_on_its_deadline_and_others_are_read() {
    let mut scene = scene(1 << 20);
    let [first, second] = [scene.connect_secure(), scene.connect_secure()];
    scene.send(first, &hello(""));
    let plain = scene.connect();
    scene.send(plain, &data("a", 1, 5));
    assert_eq!(scene.gate.ledger().read, 1);
    scene.pass(HANDSHAKE_TIME + Duration::from_millis(1));
    for wire in [first, second] {
        let reason = scene.end_of(wire);
        assert!(matches!(reason, Some(CloseReason::Tls(fault)) if *fault == TlsFault::Late));
    }
    // It comes back to nobody.
    scene.finish();
    let third = scene.connect_secure();
    scene.open(third, "");
    scene.send(third, &sealed(&data("a", 1, 5)));
    assert_eq!(scene.gate.ledger().read, 2);
}

#[test]
fn who_is_revoked_is_told_so_and_closed_and_others_stay() {
    let mut scene = scene(1 << 20);
    let [pump, desk] = [scene.connect_secure(), scene.connect_secure()];
    scene.open(pump, "pump");
    scene.open(desk, "desk");
    let revoked: SharedSetup = std::sync::Arc::new(ToySetup { revoked: vec!["pump".into()] });
    let (answer, reviewed) = Answer::new();
    let reloaded = Reloaded { access: None, tls: vec![(1, revoked)] };
    scene.gate.command(Command::Reload(reloaded, answer), scene.now);
    scene.finish();
    scene.pass(3 * LINGER);
    assert_eq!(reviewed.try_recv().map(|reviewed| reviewed.closed), Ok(1));
    let reason = Some(CloseReason::Certificate(Box::new(CertFault::Revoked)));
    assert_eq!((scene.end_of(pump), scene.end_of(desk)), (reason, None));
    let told = scene.world.borrow_mut().wires[pump].take(usize::MAX);
    let (told, is_said) = opened(&told);
    let statuses: Vec<u16> = frames(&told).iter().map(|(header, _)| header.status).collect();
    assert_eq!((statuses, is_said), (vec![Status::Unauthorized as u16], true));
    // One that comes now is refused at the end of its handshake.
    let again = scene.connect_secure();
    scene.open(again, "pump");
    scene.send(again, &sealed(&data("a", 1, 5)));
    scene.send(desk, &sealed(&data("a", 1, 5)));
    scene.finish();
    assert_eq!(scene.gate.ledger().read, 2, "a toy verifies nobody in its handshake");
}

#[test]
fn what_is_not_tls_is_told_so_in_the_clear() {
    let mut scene = scene(1 << 20);
    let wire = scene.connect_secure();
    scene.send(wire, &data("a", 1, 5));
    scene.finish();
    let told = scene.world.borrow_mut().wires[wire].take(usize::MAX);
    let told = frames(&told);
    assert_eq!(told.len(), 1);
    let reason = String::from_utf8_lossy(&told[0].1).into_owned();
    assert!(reason.contains("this port speaks TLS"), "{reason}");
    assert_eq!(scene.gate.ledger().read, 0);
}
