//! What one turn costs at most, whatever is asked of it: runs that are written out.

use std::time::Duration;

use super::rng::SimRng;
use super::scenarios::{Scene, frame};
use crate::core::limits::{OUTBOX_ENTRY, READ_MAX, WRITE_TURN_ALL};
use crate::gateway::Config;
use crate::wire::{Header, Kind, Scheme, encode};

const SUBSCRIBERS: usize = 60;

fn encoded(kind: Kind, topic: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(Header::new(kind), topic, b"", &Scheme::Sha256, &mut bytes);
    bytes
}

/// What was sent once is written to many, each of whom could take all of it at once. A turn took a second, where 100
/// subscribers had each what one turn may read.
#[test]
fn what_goes_to_many_takes_many_turns() {
    const FRAMES: usize = 1_000;
    let config = Config { payload_max: 3_000, connections_max: SUBSCRIBERS + 2, ..Config::default() };
    let mut scene = Scene::new(Config { memory: 4 << 20, outbox: 64 << 10, ..config });
    for _ in 0..SUBSCRIBERS {
        let wire = scene.world.borrow_mut().connect(usize::MAX);
        scene.turns(2);
        scene.send(wire, &encoded(Kind::Subscribe, b">"));
    }
    let (publisher, other) = (scene.connect(), scene.connect());
    scene.world.borrow_mut().wires[publisher].arrive(&frame(400).repeat(FRAMES), scene.now);
    let all = (SUBSCRIBERS * FRAMES) as u64;
    let (mut turns, mut pings, mut waits, mut longest) = (0, 0, 0, 0);
    let (mut most_written, mut most_entries) = (0, 0);
    while scene.gate.ledger().copies.written < all {
        if waits == 0 {
            scene.world.borrow_mut().wires[other].arrive(&encoded(Kind::Ping, b""), scene.now);
            pings += 1;
        }
        while scene.workers.borrow().has_work() {
            scene.workers.borrow_mut().work(&mut SimRng::from_seed(1));
        }
        let before = scene.gate.ledger().bytes_written;
        scene.turns(1);
        scene.now += Duration::from_millis(1);
        most_written = most_written.max(scene.gate.ledger().bytes_written - before);
        most_entries = most_entries.max(scene.gate.describe().memory.entries_bytes as usize / OUTBOX_ENTRY);
        waits += 1;
        if !scene.world.borrow_mut().wires[other].take(usize::MAX).is_empty() {
            (longest, waits) = (longest.max(waits), 0);
        }
        turns += 1;
        assert!(turns < 100_000, "it ends");
    }
    let closed = scene.gate.closed().len();
    // A write takes whole slices, so it may be one run more.
    assert!(
        most_written as usize <= WRITE_TURN_ALL + READ_MAX,
        "{most_written} bytes are written in one turn"
    );
    assert!(most_entries <= SUBSCRIBERS * 7, "{most_entries} runs wait: more is read than is written");
    assert!(pings > 100 && longest <= 20, "one of {pings} replies took {longest} turns");
    let written = all as usize * 400;
    assert!(turns <= 4 * written / WRITE_TURN_ALL, "{turns} turns for {written} bytes");
    assert_eq!(closed, 0, "nobody is slow");
}
