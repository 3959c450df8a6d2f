//! The gateway's promises over real sockets and threads.

use crate::support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use framegate::gateway::Gateway;
use framegate::gateway::ledger::VerifiedBy;
use framegate::gateway::{Config, SlowPolicy};
use framegate::wire::{Header, Kind, Scheme, Status};
use support::{Client, PATIENCE, data, payload, silent, start};

const MIB: usize = 1 << 20;

/// Sizes around everything that is decided by size: inline or not, one read or not, large or not.
const SIZES: [usize; 12] =
    [0, 1, 100, 4_000, 16_000, 17_000, 65_000, 200_000, 262_000, 263_000, 700_000, 3 * MIB];

#[test]
fn every_size_in_order_from_many_publishers_to_many_subscribers() {
    const PUBLISHERS: usize = 4;
    const ROUNDS: usize = 20;
    let gateway = start(Config::default());
    let subscribers: Vec<Client> = [">", "p.*", "p.1"].map(|pattern| gateway.subscriber(pattern)).into();
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut client = gateway.connect();
            scope.spawn(move || {
                let topic = format!("p.{publisher}");
                for round in 0..ROUNDS {
                    let len = SIZES[(round * 5 + publisher) % SIZES.len()];
                    let header = Header { key: publisher as u64, ..silent(round as u64) };
                    client.send(header, topic.as_bytes(), &payload(len, round));
                }
                client.end();
                assert!(client.rest().is_empty(), "nobody asked for a reply");
            });
        }
        for (index, mut subscriber) in subscribers.into_iter().enumerate() {
            scope.spawn(move || {
                let publishers = if index == 2 { 1..2 } else { 0..PUBLISHERS };
                let mut next = [0; PUBLISHERS];
                for _ in 0..publishers.len() * ROUNDS {
                    let got = subscriber.next();
                    let publisher = got.header.key as usize;
                    assert!(publishers.contains(&publisher));
                    let round = got.header.id as usize;
                    assert_eq!(round, next[publisher], "in the order in which it was sent");
                    next[publisher] += 1;
                    let len = SIZES[(round * 5 + publisher) % SIZES.len()];
                    assert!(got.payload == payload(len, round), "byte for byte");
                }
            });
        }
    });
    let ledger = gateway.stop();
    assert_eq!((ledger.read, ledger.delivered), (83, 80), "{ledger}");
    let VerifiedBy { inline, workers, pieces, plain, .. } = ledger.verified;
    assert!(inline > 0 && workers > 0 && pieces > 0 && plain > 0, "{ledger:?}");
}

#[test]
fn without_workers_the_reactor_does_the_jobs_in_pairs() {
    // All of it is there before the gateway runs: so many batches are whole in the same turn that it cannot
    // verify each as it comes, and nobody else takes a job.
    const PUBLISHERS: usize = 20;
    let gateway = Gateway::bind(([127, 0, 0, 1], 0).into(), 0, Config::default()).expect("a free port");
    let (address, control) = (gateway.local_addr(), gateway.control());
    let mut publishers: Vec<Client> =
        (0..PUBLISHERS).map(|_| Client::connect(address, Scheme::Sha256)).collect();
    for (publisher, client) in publishers.iter_mut().enumerate() {
        client.send(data(publisher as u64), b"a", &payload(40_000, publisher));
    }
    let running = std::thread::spawn(move || gateway.run());
    for (publisher, client) in publishers.iter_mut().enumerate() {
        let reply = client.next();
        assert_eq!((reply.status(), reply.header.id), (Some(Status::Ok), publisher as u64));
    }
    control.drain();
    let ledger = running.join().expect("no panic").expect("no error");
    assert!(ledger.is_balanced(), "{ledger}");
    assert!(ledger.verified.helped > 0 && ledger.verified.paired > 0, "{ledger:?}");
}

#[test]
fn replies_pings_and_patterns() {
    let gateway = start(Config::default());
    let mut client = gateway.connect();
    client.send(Header { id: 42, ..Header::new(Kind::Ping) }, b"", b"anything");
    let pong = client.next();
    assert_eq!((pong.status(), pong.header.id), (Some(Status::Ok), 42), "whatever its flags");

    // A SUBSCRIBE covers what its own connection sends after it, and a frame that several patterns
    // match comes once, as the very bytes that were sent.
    for pattern in ["a.>", "a.*", "*.b"] {
        client.send(Header::new(Kind::Subscribe), pattern.as_bytes(), b"");
    }
    let bytes = client.frame(data(7), b"a.b", b"mine");
    client.write(&bytes);
    let (first, second) = (client.next(), client.next());
    assert_eq!(first.bytes, bytes);
    assert_eq!((second.status(), second.header.id), (Some(Status::Ok), 7));
    for pattern in ["a.>", "a.*", "*.b", "never.held"] {
        client.send(Header { want_reply: true, ..Header::new(Kind::Unsubscribe) }, pattern.as_bytes(), b"");
        assert_eq!(client.next().status(), Some(Status::Ok));
    }
    assert_eq!(client.publish("a.b", b"to nobody").0, Status::Ok);
    let ledger = gateway.stop();
    assert_eq!((ledger.delivered, ledger.unmatched, ledger.control), (2, 1, 8), "{ledger}");
}

#[test]
fn the_same_bytes_again_are_a_duplicate() {
    let gateway = start(Config { dedup: Some(Duration::from_secs(3600)), ..Config::default() });
    let mut subscriber = gateway.subscriber(">");
    for len in [5, 400_000] {
        let bytes = gateway.connect().frame(data(7), b"a", &payload(len, 0));
        for expected in [Status::Ok, Status::Duplicate, Status::Duplicate] {
            // From any connection.
            let mut publisher = gateway.connect();
            publisher.write(&bytes);
            assert_eq!(publisher.next().status(), Some(expected));
        }
        assert_eq!(subscriber.next().bytes, bytes);
    }
    assert_eq!(gateway.connect().publish("a", b"other").0, Status::Ok);
    assert_eq!(subscriber.next().payload, b"other");
    gateway.stop();
}

#[test]
fn a_half_closed_publisher_gets_everything_done_and_answered() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    let frames = 5_000;
    let reader = std::thread::spawn(move || {
        (0..frames).for_each(|id| assert_eq!(subscriber.next().header.id, id));
        subscriber
    });
    let mut bytes = Vec::new();
    for id in 0..frames {
        bytes.extend(publisher.frame(data(id), b"a", &payload(300, id as usize)));
    }
    bytes.extend(&publisher.frame(data(0), b"a", b"never whole")[..50]);
    let mut writing = publisher.socket.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        writing.write_all(&bytes).unwrap();
        writing.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let replies = publisher.rest();
    writer.join().unwrap();
    let mut ids: Vec<u64> = replies.iter().map(|got| got.header.id).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..frames), "each exactly once");
    assert!(replies.iter().all(|got| got.status() == Some(Status::Ok)));
    drop(reader.join().unwrap());
    assert_eq!(gateway.stop().bytes_unfinished, 50);
}

#[test]
fn many_large_frames_share_little_memory() {
    // Each is a quarter of the memory: they wait for their turn, and none is lost or starves.
    const PUBLISHERS: usize = 24;
    let payload_max = 4 * MIB;
    let gateway = start(Config { payload_max, memory: 16 * MIB, ..Config::default() });
    let mut subscriber = gateway.subscriber("large");
    let mut small = gateway.subscriber("small");
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut client = gateway.connect();
            scope.spawn(move || {
                for _ in 0..2 {
                    assert_eq!(client.publish("large", &payload(payload_max, publisher)).0, Status::Ok);
                }
            });
        }
        scope.spawn(move || {
            (0..2 * PUBLISHERS).for_each(|_| assert_eq!(subscriber.next().payload.len(), payload_max))
        });
        let mut client = gateway.connect();
        for _ in 0..50 {
            let start = Instant::now();
            assert_eq!(client.publish("small", b"in between").0, Status::Ok);
            assert_eq!(small.next().payload, b"in between");
            assert!(start.elapsed() < PATIENCE);
        }
    });
    assert_eq!(gateway.stop().delivered, 2 * PUBLISHERS as u64 + 50);
}

#[test]
fn a_hundred_that_announce_large_frames_and_stall_hold_nobody_up() {
    let gateway = start(Config { memory: 64 * MIB, ..Config::default() });
    let mut subscriber = gateway.subscriber("small");
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut client = gateway.connect();
        let header = Header { payload_len: 16 << 20, topic_len: 5, ..silent(1) };
        client.write(&header.encode());
        client.write(b"large");
        client.write(&payload(100_000, 1));
        stalled.push(client);
    }
    let mut publisher = gateway.connect();
    for _ in 0..100 {
        let start = Instant::now();
        assert_eq!(publisher.publish("small", b"passes").0, Status::Ok);
        assert_eq!(subscriber.next().payload, b"passes");
        assert!(start.elapsed() < Duration::from_secs(1), "not held up for more than a second");
    }
    drop(stalled);
    gateway.stop();
}

#[test]
fn publishers_that_flood_do_not_starve_one_that_trickles() {
    // A small memory, so that the flood is always at its limit and everyone stands in line.
    let gateway = start(Config { payload_max: MIB, memory: 4 * MIB, ..Config::default() });
    let mut trickle = gateway.subscriber("trickle");
    let mut flood = gateway.subscriber("flood");
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut frames = 0;
            while flood.try_next().is_ok_and(|got| got.is_some()) {
                frames += 1;
            }
            frames
        });
        for _ in 0..4 {
            let client = gateway.connect();
            let frames = client.frame(silent(0), b"flood", &payload(2_000, 0)).repeat(100);
            scope.spawn(move || {
                let mut socket = &*client.socket;
                while socket.write_all(&frames).is_ok() {}
            });
        }
        let mut publisher = gateway.connect();
        for _ in 0..200 {
            let start = Instant::now();
            assert_eq!(publisher.publish("trickle", b"passes").0, Status::Ok);
            assert_eq!(trickle.next().payload, b"passes");
            assert!(start.elapsed() < Duration::from_secs(2), "starved for {:?}", start.elapsed());
        }
        gateway.begin_drain();
        assert!(reader.join().unwrap() > 1_000, "it was a flood");
    });
    gateway.stop();
}

#[test]
fn a_stalled_frame_and_an_idle_connection_are_closed() {
    let timeout = Duration::from_millis(200);
    let gateway = start(Config { frame_timeout: timeout, idle_timeout: 4 * timeout, ..Config::default() });
    for len in [33, 100_000, 300_000] {
        let mut stalled = gateway.connect();
        let bytes = stalled.frame(silent(1), b"", &payload(400_000, 0));
        stalled.write(&bytes[..len]);
        let start = Instant::now();
        assert!(matches!(stalled.try_next(), Ok(None) | Err(_)), "it is closed");
        assert!(start.elapsed() >= timeout / 2);
    }
    let mut idle = gateway.connect();
    let start = Instant::now();
    assert!(idle.try_next().unwrap().is_none());
    assert!(start.elapsed() >= 2 * timeout);
    gateway.stop();
}

/// Publishes `frames` of 10 kB without reading anything, then waits until the gateway took them.
fn flood(client: &mut Client, frames: u64) {
    for id in 0..frames {
        client.send(silent(id), b"flood", &payload(10_000, id as usize));
    }
    assert_eq!(client.publish("flood.end", b"").0, Status::Ok);
}

const FLOOD: u64 = 4_000;

fn slow_config(slow: SlowPolicy) -> Config {
    let slow_timeout = Duration::from_millis(500);
    Config { slow, outbox: MIB, memory: 32 * MIB, slow_timeout, ..Config::default() }
}

/// A subscriber of its own thread that must get the whole flood in order.
fn complete_reader(mut subscriber: Client) -> std::thread::JoinHandle<Client> {
    std::thread::spawn(move || {
        (0..FLOOD).for_each(|id| assert_eq!(subscriber.next().header.id, id));
        subscriber
    })
}

#[test]
fn a_frozen_subscriber_is_disconnected_and_the_others_miss_nothing() {
    let gateway = start(slow_config(SlowPolicy::Disconnect));
    let mut frozen = gateway.subscriber("flood");
    let reader = complete_reader(gateway.subscriber("flood"));
    flood(&mut gateway.connect(), FLOOD);
    drop(reader.join().unwrap());
    let got = frozen.rest();
    let (last, frames) = got.split_last().unwrap();
    assert_eq!(last.status(), Some(Status::Slow));
    assert!(
        frames.iter().map(|got| got.header.id).eq(0..frames.len() as u64),
        "what it got is the beginning"
    );
    let copies = gateway.stop().copies;
    assert_eq!(copies.written, FLOOD + frames.len() as u64);
    assert!(copies.undelivered > 0, "what its outbox held was given up: {copies:?}");
}

#[test]
fn under_drop_a_frozen_subscriber_is_told_what_it_missed() {
    let gateway = start(slow_config(SlowPolicy::Drop));
    let mut frozen = gateway.subscriber("flood");
    let reader = complete_reader(gateway.subscriber("flood"));
    flood(&mut gateway.connect(), FLOOD);
    drop(reader.join().unwrap());
    let (mut next, mut missed) = (0, 0);
    while next < FLOOD {
        let got = frozen.next();
        match got.status() {
            Some(Status::Gap) => {
                assert!(got.header.key > 0);
                missed += got.header.key;
                next += got.header.key;
            }
            Some(other) => panic!("{other}"),
            None => {
                assert_eq!(got.header.id, next, "the GAP is where the frames are missing");
                next += 1;
            }
        }
    }
    assert!(missed > 0);
    let ledger = gateway.stop();
    assert_eq!((ledger.copies.dropped, ledger.losers.len()), (missed, 1), "{ledger}");
}

#[test]
fn under_pause_publishers_wait_until_the_subscriber_is_given_up() {
    let gateway = start(slow_config(SlowPolicy::Pause));
    let mut frozen = gateway.subscriber("flood");
    let reader = complete_reader(gateway.subscriber("flood"));
    let start = Instant::now();
    flood(&mut gateway.connect(), FLOOD);
    assert!(start.elapsed() >= Duration::from_millis(400), "it was held for the slow timeout");
    drop(reader.join().unwrap());
    assert_eq!(frozen.rest().last().unwrap().status(), Some(Status::Slow));
    gateway.stop();
}

#[test]
fn under_pause_a_slow_subscriber_gets_everything() {
    let gateway = start(slow_config(SlowPolicy::Pause));
    let mut slow = gateway.subscriber("flood");
    std::thread::scope(|scope| {
        let mut publisher = gateway.connect();
        scope.spawn(move || flood(&mut publisher, FLOOD));
        (0..FLOOD).for_each(|id| assert_eq!(slow.next().header.id, id));
    });
    gateway.stop();
}

#[test]
fn further_connections_than_allowed_are_closed() {
    let gateway = start(Config { connections_max: 3, ..Config::default() });
    let mut first = gateway.subscriber(">");
    let (_second, mut third) = (gateway.connect(), gateway.connect());
    assert_eq!(third.publish("a", b"").0, Status::Ok);
    first.next();
    let mut refused = gateway.connect();
    let mut byte = [0];
    assert!(matches!(refused.socket.read(&mut byte), Ok(0) | Err(_)));
    // Where one leaves, the next has room.
    drop(third);
    let start = Instant::now();
    loop {
        let mut next = gateway.connect();
        next.socket.write_all(&next.frame(data(1), b"a", b"")).ok();
        if matches!(next.try_next(), Ok(Some(_))) {
            break;
        }
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(gateway.stop().connections.refused >= 1);
}

#[test]
fn a_peer_that_never_closes_is_given_two_seconds_for_it() {
    let gateway = start(Config::default());
    let mut peer = gateway.connect();
    assert_eq!(peer.publish("a", b"accepted").0, Status::Ok);
    let began = Instant::now();
    gateway.leave();
    // And not all of the 10 s that a drain may take.
    let took = began.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&took), "{took:?}");
    peer.rest();
}

#[test]
fn a_peer_that_closes_when_it_is_told_holds_nothing_up() {
    let gateway = start(Config::default());
    let _peer = gateway.subscriber(">");
    let began = Instant::now();
    gateway.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn draining_finishes_what_was_accepted() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let reader = std::thread::spawn(move || {
        let ids: Vec<u64> =
            subscriber.rest().iter().filter(|g| g.status().is_none()).map(|g| g.header.id).collect();
        ids
    });
    let mut publisher = gateway.connect();
    let mut writing = publisher.socket.try_clone().unwrap();
    let frames: Vec<u8> =
        (0..100_000).flat_map(|id| publisher.frame(data(id), b"a", b"under full load")).collect();
    // It goes on until the gateway ends it.
    let writer = std::thread::spawn(move || {
        let _ = writing.write_all(&frames);
    });
    for id in 0..1_000 {
        assert_eq!(publisher.next().header.id, id);
    }
    gateway.begin_drain();
    let (mut confirmed, mut told) = (1_000, false);
    while let Ok(Some(got)) = publisher.try_next() {
        match got.status().unwrap() {
            Status::Ok => confirmed += 1,
            Status::Closing => told = true,
            other => panic!("{other}"),
        }
    }
    writer.join().unwrap();
    let delivered = reader.join().unwrap();
    assert!(told || confirmed == 100_000, "a publisher that is still sending hears CLOSING");
    assert!(delivered.iter().copied().eq(0..delivered.len() as u64));
    assert!(delivered.len() as u64 >= confirmed, "everything replied OK was delivered");
    let ledger = gateway.stop();
    assert_eq!(ledger.delivered, delivered.len() as u64, "{ledger}");
}
