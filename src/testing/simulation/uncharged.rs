//! What was allocated once and charged to nobody, each by itself: subscriptions, the order behind a slow call, timers of
//! connections that are no more. The oracle of [`charged`](super::charged) looks on after every turn.

use std::time::Duration;

use super::handlers::Seen;
use super::rng::SimRng;
use super::scenarios::Scene;
use super::script::{Decision, Rules};
use super::worlds;
use crate::core::limits::CONN_PATTERNS;
use crate::gateway::{BadDigestPolicy, Config};
use crate::wire::{Header, Kind, Scheme, encode};

fn frame(kind: Kind, topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(Header::new(kind), topic, payload, &Scheme::Sha256, &mut bytes);
    bytes
}

/// A pattern of 127 tokens that shares none with another took 69 KB, and its subscriber was charged nothing.
#[test]
fn subscriptions_are_charged() {
    let mut scene = Scene::new(Config { memory: 16 << 20, payload_max: 3_000, ..Config::default() });
    for subscriber in 0..64 {
        let wire = scene.connect();
        for number in 0..CONN_PATTERNS {
            let pattern = format!("{subscriber}-{number}{}", ".x".repeat(120));
            scene.send(wire, &frame(Kind::Subscribe, pattern.as_bytes(), b""));
        }
    }
}

/// Each frame that was done before an earlier one of its connection left some 430 bytes until that was, and as many
/// could be as their publisher liked.
#[test]
fn the_order_behind_a_slow_call_is_charged() {
    let rules = Rules {
        scheme: Scheme::Sha256,
        dedup: false,
        forgets: false,
        window: None,
        on_bad_digest: BadDigestPolicy::Drop,
        payload_max: 3_000,
        resends: false,
        frames_max: 0,
        kind: worlds::Kind::Small,
        slow: true,
        handlers: true,
        poison: false,
        proven: false,
        parts_max: 2,
    };
    let handler = vec!["handler".into()];
    let config = Config { memory: 16 << 20, payload_max: 3_000, handler, handlers: 1, ..Config::default() };
    let handler_timeout = Duration::from_secs(3_600);
    let mut scene = Scene::new(Config { max_in_flight: 6, max_queued: 20, handler_timeout, ..config });
    // What it refuses is held by nobody.
    let is_refused = |payload: &u8| matches!(Decision::on(b"a", &[*payload], &rules), Decision::Refuse(..));
    let payload = (0..=u8::MAX).find(is_refused).expect("it refuses some");
    let frame = frame(Kind::Data, b"a", &[payload]);
    let (wire, mut seen, mut rng) = (scene.connect(), Seen::new(), SimRng::from_seed(1));
    for _ in 0..2_000 {
        scene.send(wire, &frame.repeat(4));
        let program = &mut scene.world.borrow_mut().programs[0];
        program.overtake(&rules, &mut seen, &mut rng);
    }
    let done: usize = seen.values().sum();
    assert!(done > 50, "only {done} frames were done, so nothing is shown");
}

/// The idle timeout of a connection stayed among the timers when that had ended.
#[test]
fn connections_that_end_leave_nothing() {
    let mut scene = Scene::new(Config { memory: 16 << 20, payload_max: 3_000, ..Config::default() });
    for _ in 0..5_000 {
        let wire = scene.connect();
        scene.world.borrow_mut().wires[wire].end();
        scene.now += Duration::from_millis(1);
        scene.turns(2);
    }
}
