//! Peers that hang up, vanish or stall, over real sockets.

use crate::support;
use crate::support::skipped::skipped;

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use framegate::core::limits::LINGER;
use framegate::gateway::CloseReason;
use framegate::gateway::snapshot::Snapshot;
use framegate::gateway::{Config, SlowPolicy};
use framegate::wire::{Header, Kind, Status, encode};
use support::{Client, PATIENCE, Running, data, payload, reset, silent, start};

/// Looks until what is seen is as it must become.
fn eventually(gateway: &Running, mut seen: impl FnMut(&Snapshot) -> bool) -> Snapshot {
    let until = Instant::now() + PATIENCE;
    loop {
        let snapshot = gateway.control().describe(true).expect("it runs");
        if seen(&snapshot) {
            return snapshot;
        }
        assert!(Instant::now() < until, "it never looks so: {snapshot:#?}");
    }
}

fn paused(snapshot: &Snapshot) -> usize {
    snapshot.survey.as_ref().expect("it was asked for").paused.len()
}

/// Resets under a pause held every slot, and nobody could connect when it was over.
#[test]
fn resets_in_a_pause_give_their_slots_back() {
    const SLOTS: usize = 5;
    let gateway = start(Config { connections_max: SLOTS, ..Config::default() });
    gateway.control().pause(PATIENCE).unwrap();
    for round in 0..3 {
        let mut clients: Vec<Client> = (0..SLOTS).map(|_| gateway.connect()).collect();
        // A whole frame, the beginning of a large one, or nothing at all is unread.
        for (at, client) in clients.iter_mut().enumerate().skip(round) {
            let frame = client.frame(silent(at as u64), b"t", &payload(300_000 * (at % 2) + 10, at));
            client.write(&frame[..frame.len().min(1_000)]);
        }
        eventually(&gateway, |now| {
            now.queues.connections.now == SLOTS as u64 && paused(now) >= SLOTS - round
        });
        clients.into_iter().for_each(|client| reset(client.socket));
        let now = eventually(&gateway, |now| now.queues.connections.now == 0);
        assert_eq!(now.ledger.read, 0, "a pause takes nothing in");
        let closed = &now.survey.as_ref().unwrap().closed;
        assert!(closed[..SLOTS].iter().all(|closed| closed.reason.starts_with("lost")), "{closed:?}");
    }
    // Whoever has only ended its sending side is read when it is over, in order, and told everything.
    let mut half = gateway.connect();
    for id in 0..3 {
        half.send(data(id), b"t", b"said before the end");
    }
    half.end();
    eventually(&gateway, |now| paused(now) == 1);
    gateway.control().resume().unwrap();
    let told: Vec<_> = half.rest().iter().map(|got| (got.header.id, got.status())).collect();
    assert_eq!(told, [(0, Some(Status::Ok)), (1, Some(Status::Ok)), (2, Some(Status::Ok))]);
    gateway.stop();
}

/// A subscriber that stalls for longer than a closed connection lingers, and then reads on: its connection ended in the
/// middle of a frame, without a word.
#[test]
fn a_subscriber_that_stalls_and_reads_on_is_told_slow() {
    let gateway = start(Config {
        slow: SlowPolicy::Disconnect,
        slow_timeout: PATIENCE,
        outbox: 1 << 20,
        memory: 64 << 20,
        ..Config::default()
    });
    let mut stalled = gateway.subscriber("flood");
    let mut publisher = gateway.connect();
    let is_slow = |now: &Snapshot| {
        let closed = &now.survey.as_ref().unwrap().closed;
        closed.iter().any(|closed| closed.reason == CloseReason::Slow.to_string())
    };
    let mut sent = 0;
    eventually(&gateway, |now| {
        if is_slow(now) {
            return true;
        }
        // Frames of 200 KB: the socket's buffer ends in the middle of one.
        let mut frames = Vec::new();
        for _ in 0..8 {
            encode(silent(sent), b"flood", &payload(200_000, sent as usize), &publisher.scheme, &mut frames);
            sent += 1;
        }
        publisher.socket.write_all(&frames).expect("the gateway reads");
        false
    });
    // How long it stalls is what is tested, and nothing is waited for by it.
    std::thread::sleep(LINGER + Duration::from_millis(500));
    let got = stalled.rest();
    let (last, frames) = got.split_last().expect("frames, and a last word");
    assert_eq!(last.status(), Some(Status::Slow));
    assert!(
        frames.iter().map(|got| got.header.id).eq(0..frames.len() as u64),
        "whole frames, from the first on"
    );
    assert!(!frames.is_empty() && (frames.len() as u64) < sent);
    gateway.stop();
}

/// The address of a host that will vanish.
const AWAY: &str = "10.1.0.2";

/// Set where a test runs in a network of its own.
const ALONE: &str = "FRAMEGATE_TEST_ALONE";

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).status().is_ok_and(|status| status.success())
}

/// A subscriber whose host vanished without a word stayed, and everything that was written to it counted as delivered.
#[test]
fn a_subscriber_that_vanishes_is_given_up() {
    if std::env::var_os(ALONE).is_some() {
        return let_one_vanish();
    }
    let alone = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user"]);
        command
    };
    if !alone().args(["ip", "link", "set", "lo", "up"]).output().is_ok_and(|output| output.status.success()) {
        skipped("hang_ups: a network of its own wants unshare and ip, and a system that lets them");
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let name = "hang_ups::a_subscriber_that_vanishes_is_given_up";
    let output = alone().arg(itself).args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "in a network of its own: {said}");
}

fn let_one_vanish() {
    assert!(ip("link set lo up") && ip(&format!("address add {AWAY}/32 dev lo")));
    let (idle_timeout, slow_timeout) = (Duration::from_secs(5), Duration::from_secs(6));
    let gateway = start(Config { idle_timeout, slow_timeout, ..Config::default() });
    let away = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    away.bind(&SocketAddr::new(AWAY.parse().unwrap(), 0).into()).unwrap();
    away.connect(&gateway.address.into()).unwrap();
    let mut subscribe = Vec::new();
    encode(Header::new(Kind::Subscribe), b">", b"", &gateway.scheme, &mut subscribe);
    away.send(&subscribe).unwrap();
    eventually(&gateway, |now| now.survey.as_ref().unwrap().subscribers == 1);

    assert!(ip(&format!("address del {AWAY}/32 dev lo")), "it is gone");
    let gone = Instant::now();
    let mut publisher = gateway.connect();
    let mut id = 0;
    let now = eventually(&gateway, |now| {
        // Neither side of the gateway is idle.
        publisher.send(data(id), b"t", b"to nobody");
        assert_eq!(publisher.next().status(), Some(Status::Ok));
        id += 1;
        now.survey.as_ref().unwrap().subscribers == 0
    });
    assert!(gone.elapsed() < 4 * slow_timeout, "after {:?}", gone.elapsed());
    let closed = &now.survey.as_ref().unwrap().closed[0];
    assert!(closed.reason.starts_with("lost"), "{closed:?}");
    gateway.stop();
}
