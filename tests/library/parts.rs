//! Messages in parts, over real sockets.

use crate::support;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use framegate::gateway::{Config, Pressure};
use framegate::sinks::store::{Reader, Stamp, SyncPolicy, names};
use framegate::wire::{Decoder, Header, Rules, Status};
use support::{Client, Got, PATIENCE, data, payload, silent, start};

/// A lease that does not end in a test.
const LONG: Duration = Duration::from_secs(3600);

fn config() -> Config {
    Config { lease: LONG, ..Config::default() }
}

fn part(key: u64, index: u16, count: u16, id: u64) -> Header {
    Header { key, part_index: index, part_count: count, ..data(id) }
}

/// Sends a part whose payload is its index, some times over.
fn send(client: &mut Client, header: Header, len: usize) {
    let bytes = vec![header.part_index as u8; len];
    client.send(header, b"orders", &bytes);
}

fn told(client: &mut Client) -> (u64, Status, String) {
    let got = client.next();
    (got.header.id, got.status().expect("a reply"), String::from_utf8(got.payload).unwrap())
}

fn check_whole(got: &Got, key: u64, expected: &[u8]) {
    let header = got.header;
    assert_eq!((header.key, header.id, header.part_index, header.part_count), (key, 0, 0, 0));
    assert!(!header.want_reply && got.topic == "orders");
    assert!(got.payload == expected, "the payloads in the order of their indexes");
}

#[test]
fn parts_from_anywhere_in_any_order_become_one_frame() {
    let gateway = start(config());
    let mut subscriber = gateway.subscriber("orders");
    let (mut a, mut b) = (gateway.connect(), gateway.connect());
    send(&mut a, part(7, 2, 3, 1), 5);
    send(&mut b, part(7, 0, 3, 2), 1);
    // Each is an order of its own, and what is refused leaves the others as they are.
    for (header, reason) in [
        (part(7, 0, 3, 3), "fragment 0 came before"),
        (part(7, 1, 2, 4), "it says 2 fragments, those that came before say 3"),
        (part(7, 3, 3, 5), "there is no fragment 3 of 3"),
        (part(9, 1, 0, 6), "there is no fragment 1 of 0"),
        (part(9, 0, 2000, 7), "2000 fragments are more than 1024"),
    ] {
        send(&mut b, header, 1);
        let (id, status, said) = told(&mut b);
        assert_eq!((id, status), (header.id, Status::Rejected));
        assert!(said.contains(reason), "{said}");
    }
    send(&mut b, part(7, 1, 3, 8), 3);
    check_whole(&subscriber.next(), 7, &[0, 1, 1, 1, 2, 2, 2, 2, 2]);
    let mut of_b = [told(&mut b), told(&mut b)];
    of_b.sort();
    assert_eq!(of_b.map(|(id, status, _)| (id, status)), [(2, Status::Ok), (8, Status::Ok)]);
    assert_eq!(told(&mut a).0, 1);
    // The key is free again.
    send(&mut a, part(7, 1, 2, 1), 1);
    send(&mut a, part(7, 0, 2, 2), 1);
    check_whole(&subscriber.next(), 7, &[0, 1]);
    let ledger = gateway.stop();
    assert_eq!((ledger.reassembled, ledger.fragments, ledger.delivered), (2, 5, 2), "{ledger}");
}

/// What is stored, in the order of all topics: by whose folder it lies in, and the payload.
fn stored(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut reader = Reader::new(root, &[">".into()], Stamp(0), None).expect("a store");
    let mut stored = Vec::new();
    while let Some(mut run) = reader.next_run().expect("it can be read") {
        let folder = run.path.strip_prefix(root).expect("below the root").parent().expect("a folder");
        let topic = names::topic(folder).expect("a topic's");
        let mut decoder = Decoder::new(Rules { payload_max: u32::MAX, replies: false });
        loop {
            let n = run.read(decoder.spare()).expect("it can be read");
            if n == 0 {
                break;
            }
            decoder.advance(n);
            while let Some(frame) = decoder.next_frame().expect("frames are stored") {
                stored.push((topic.clone(), frame.payload().to_vec()));
            }
        }
    }
    stored
}

/// The payloads' first bytes in the order in which they came.
fn order(subscriber: &mut Client, frames: usize) -> Vec<u8> {
    (0..frames).map(|_| subscriber.next().payload[0]).collect()
}

#[test]
fn a_whole_has_its_place_where_its_last_part_stood() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(Config { store: Some(folder.path().into()), ..config() });
    let mut subscriber = gateway.subscriber(">");
    let mut client = gateway.connect();
    // Hashed at once; over the budget of a turn, where many come together; and by a worker.
    for (len, rounds) in [(10, 1), (6_000, 40), (300_000, 2)] {
        for _ in 0..rounds {
            let mut bytes = Vec::new();
            let frame = |header, first: u8, len| client.frame(header, b"a", &vec![first; len]);
            bytes.extend(frame(data(1), 1, 5));
            bytes.extend(frame(part(7, 1, 2, 2), 9, len));
            bytes.extend(frame(data(3), 2, 5));
            bytes.extend(frame(silent(4), 3, 5));
            bytes.extend(frame(part(7, 0, 2, 5), 4, len));
            bytes.extend(frame(silent(6), 5, 5));
            bytes.extend(frame(data(7), 6, 5));
            client.write(&bytes);
        }
        for _ in 0..rounds {
            assert_eq!(order(&mut subscriber, 6), [1, 2, 3, 4, 5, 6]);
        }
        let mut told: Vec<u64> = (0..5 * rounds).map(|_| told(&mut client).0).collect();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told, [1, 2, 3, 5, 7]);
    }
    let ledger = gateway.stop();
    assert_eq!((ledger.reassembled, ledger.fragments), (43, 86), "{ledger}");
    let stored: Vec<u8> = stored(folder.path()).iter().map(|(_, payload)| payload[0]).collect();
    assert!(stored.chunks(6).all(|six| six == [1, 2, 3, 4, 5, 6]), "{stored:?}");
}

#[test]
fn frames_of_several_topics_in_one_write_are_stored_each_in_its_own() {
    for subscribers in [&[][..], &[">"], &["a.*", "b"], &["a.b"]] {
        let folder = tempfile::tempdir().unwrap();
        let gateway = start(Config { store: Some(folder.path().into()), ..config() });
        let mut subscribers: Vec<_> = subscribers.iter().map(|pattern| gateway.subscriber(pattern)).collect();
        let mut client = gateway.connect();
        let mut expected = Vec::new();
        let mut bytes = Vec::new();
        for (id, topic) in (0..).zip(["a.b", "a.c", "a.c", "b", "", "a.b", "a.b", "a.c"]) {
            let header = if id % 3 == 0 { silent(id) } else { data(id) };
            let payload = vec![id as u8; [3, 100_000, 0, 40][id as usize % 4] + 1];
            bytes.extend(client.frame(header, topic.as_bytes(), &payload));
            expected.push((topic.to_owned(), payload));
        }
        client.write(&bytes);
        (0..5).for_each(|_| assert_eq!(told(&mut client).1, Status::Ok));
        client.end();
        assert!(client.rest().is_empty());
        assert!(gateway.stop().is_balanced());
        subscribers.iter_mut().for_each(|subscriber| {
            subscriber.rest();
        });
        let stored = stored(folder.path());
        for topic in ["a.b", "a.c", "b", ""] {
            let of = |all: &[(String, Vec<u8>)]| {
                all.iter().filter(|(of, _)| of == topic).map(|(_, payload)| payload[0]).collect::<Vec<_>>()
            };
            assert_eq!(of(&stored), of(&expected), "in the folder of '{topic}'");
        }
        assert_eq!(stored.len(), expected.len());
    }
}

#[test]
fn large_parts_are_hashed_beside_the_loop() {
    let gateway = start(config());
    let mut subscriber = gateway.subscriber(">");
    let mut client = gateway.connect();
    let lengths = [400_000, 10, 0, 70_000, 300_000];
    for index in [3, 0, 4, 1, 2] {
        send(&mut client, part(1, index, 5, u64::from(index)), lengths[usize::from(index)]);
    }
    let expected: Vec<u8> = (0..5).flat_map(|index| vec![index as u8; lengths[index]]).collect();
    check_whole(&subscriber.next(), 1, &expected);
    let mut ids: Vec<u64> = (0..5).map(|_| told(&mut client)).map(|(id, ..)| id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    gateway.stop();
}

#[test]
fn a_product_whose_lease_ends_is_told_so() {
    let gateway = start(Config { lease: Duration::from_millis(50), ..config() });
    let mut client = gateway.connect();
    let since = Instant::now();
    send(&mut client, part(1, 0, 3, 1), 1);
    send(&mut client, part(1, 1, 3, 2), 1);
    client.end();
    // It has sent all that it will, and stays until it is answered.
    let replies = client.rest();
    assert!(since.elapsed() >= Duration::from_millis(50));
    let replies: Vec<_> = replies.iter().map(|got| (got.header.id, got.status().unwrap())).collect();
    assert_eq!(replies, [(1, Status::Expired), (2, Status::Expired)]);
    let ledger = gateway.stop();
    assert_eq!(ledger.rejected.of(Status::Expired), 2, "{ledger}");
}

#[test]
fn draining_does_not_wait_for_what_cannot_come() {
    let gateway = start(config());
    let mut client = gateway.connect();
    send(&mut client, part(1, 0, 3, 1), 1);
    assert_eq!(client.publish("other", b"").0, Status::Ok, "it was read");
    let ledger = gateway.stop();
    assert_eq!(told(&mut client), (1, Status::Expired, "the gateway drains".into()));
    assert_eq!(ledger.rejected.of(Status::Expired), 1);
}

#[test]
fn without_room_a_part_waits_and_what_is_behind_it() {
    let gateway = start(Config { max_keys: 1, ..config() });
    let mut subscriber = gateway.subscriber(">");
    let (mut a, mut b) = (gateway.connect(), gateway.connect());
    send(&mut a, part(1, 0, 2, 1), 1);
    assert_eq!(a.publish("behind a", b"").0, Status::Rejected, "it was read");
    send(&mut b, part(2, 0, 2, 1), 1);
    b.send(data(2), b"behind", b"");
    // Nothing of `b` has an effect before the first key is whole.
    send(&mut a, part(1, 1, 2, 2), 1);
    check_whole(&subscriber.next(), 1, &[0, 1]);
    assert_eq!(subscriber.next().topic, "behind");
    assert_eq!(told(&mut b).0, 2);
    send(&mut a, part(2, 1, 2, 3), 1);
    check_whole(&subscriber.next(), 2, &[0, 1]);
    assert_eq!(told(&mut b), (1, Status::Ok, String::new()));
    gateway.stop();
}

#[test]
fn under_pressure_the_oldest_may_expire_early() {
    let gateway = start(Config { max_keys: 2, lease_pressure: Pressure::Expire, ..config() });
    let mut client = gateway.connect();
    (1..4).for_each(|key| send(&mut client, part(key, 0, 2, key), 1));
    let (id, status, reason) = told(&mut client);
    assert_eq!((id, status), (1, Status::Expired));
    assert!(reason.contains("no room"), "{reason}");
    gateway.stop();
}

#[test]
fn a_whole_is_stored_before_its_parts_are_told_ok() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { store: Some(folder.path().into()), ..config() };
    config.stored.sync = SyncPolicy::Batch;
    let gateway = start(config);
    let mut client = gateway.connect();
    for key in 0..50 {
        for index in [1, 0, 2] {
            send(&mut client, part(key, index, 3, key * 3 + u64::from(index)), 100);
        }
    }
    for _ in 0..150 {
        assert_eq!(told(&mut client).1, Status::Ok);
    }
    let ledger = gateway.stop();
    assert_eq!((ledger.to_sinks.put, ledger.to_sinks.confirmed), (50, 50), "{ledger}");
}

/// How many keys are open at once; FRAMEGATE_KEYS=1000000 for many.
#[test]
fn many_keys_open_and_expire() {
    let keys = std::env::var("FRAMEGATE_KEYS").map_or(20_000, |n| n.parse().expect("a number"));
    let lease = Duration::from_millis(500 + keys / 200);
    let (memory, parts_memory) = (4 << 30, 2 << 30);
    let gateway = start(Config { lease, memory, parts_memory, max_keys: 1_000_000, ..Config::default() });
    let mut client = gateway.connect();
    let (mut socket, maker) = (client.socket.try_clone().unwrap(), gateway.connect());
    let sending = std::thread::spawn(move || {
        for first in (0..keys).step_by(1000) {
            let frames: Vec<u8> = (first..keys.min(first + 1000))
                .flat_map(|key| maker.frame(part(key, 0, 2, key), b"t", &payload(16, key as usize)))
                .collect();
            socket.write_all(&frames).unwrap();
        }
    });
    let mut at_most = (0, 0);
    let mut seen = vec![false; keys as usize];
    for at in 0..keys {
        let got = client.next();
        assert_eq!(got.status(), Some(Status::Expired), "{:?}", String::from_utf8(got.payload));
        assert!(
            !std::mem::replace(&mut seen[got.header.id as usize], true),
            "{} is told twice",
            got.header.id
        );
        if at == 0 {
            let snapshot = gateway.control().describe(false).expect("it runs");
            at_most = (snapshot.parts.keys.now, snapshot.memory.used_bytes);
        }
    }
    sending.join().unwrap();
    let snapshot = gateway.control().describe(false).expect("it runs");
    assert_eq!((snapshot.parts.keys.now, snapshot.parts.bytes.now), (0, 0));
    let longest = snapshot.stages.turn_longest;
    println!(
        "{} keys open and {} bytes charged when the first ended; the longest turn took {longest:.1?}",
        at_most.0, at_most.1
    );
    let ledger = gateway.stop();
    assert_eq!(ledger.rejected.of(Status::Expired), keys);
}

/// In a pause nobody can send the other parts: the time of it is none of a lease, and neither is the lease that follows
/// it, whether anything happened meanwhile or not.
#[test]
fn no_lease_ends_in_a_pause_or_at_once_after_it() {
    let lease = Duration::from_millis(500);
    for is_looked_at in [true, false] {
        let gateway = start(Config { lease, ..config() });
        let mut client = gateway.connect();
        send(&mut client, part(1, 0, 2, 1), 5);
        let paused = Instant::now();
        while gateway.control().describe(false).unwrap().parts.held == 0 {
            assert!(paused.elapsed() < PATIENCE, "it is not held");
        }
        gateway.control().pause(Duration::ZERO).unwrap();
        // Time passes, and that is all.
        while is_looked_at && paused.elapsed() < 4 * lease {
            assert_eq!(gateway.control().describe(false).unwrap().parts.held, 1, "in the pause");
        }
        std::thread::sleep((4 * lease).saturating_sub(paused.elapsed()));
        let resumed = Instant::now();
        gateway.control().resume().unwrap();
        assert_eq!(told(&mut client).1, Status::Expired);
        assert!(resumed.elapsed() >= lease, "{:?} after the pause", resumed.elapsed());
        gateway.stop();
    }
}

/// A connection that waits for what becomes of its part is not idle.
#[test]
fn who_waits_for_the_other_parts_is_not_idle() {
    let gateway = start(Config { idle_timeout: Duration::from_millis(500), ..config() });
    let mut waits = gateway.connect();
    send(&mut waits, part(1, 0, 2, 1), 5);
    // Two that are idle, one after the other.
    for _ in 0..2 {
        gateway.connect().rest();
    }
    let mut other = gateway.connect();
    send(&mut other, part(1, 1, 2, 2), 5);
    assert_eq!((told(&mut other).1, told(&mut waits).1), (Status::Ok, Status::Ok));
    gateway.stop();
}
