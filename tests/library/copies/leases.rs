//! Leases and pauses while fragments are held and sinks are slow.

use super::*;

#[test]
fn what_promises_nothing_is_answered_while_a_sink_takes_nothing() {
    for alone in [false, true] {
        let disk = Desk::new("disk", alone);
        let gateway = start_with(Config { dedup: None, ..config() }, |gateway| disk.add_to(gateway));
        let mut client = gateway.connect();
        let mut bytes = client.frame(data(1), b"a", b"to be stored");
        bytes.extend(client.frame(Header { id: 2, ..Header::new(Kind::Ping) }, b"", b""));
        let subscribe = Header { id: 3, want_reply: true, ..Header::new(Kind::Subscribe) };
        bytes.extend(client.frame(subscribe, b"other", b""));
        bytes.extend(client.frame(data(4), b"no topic", b""));
        let damaged = bytes.len() + 40;
        bytes.extend(client.frame(data(5), b"a", b"damaged"));
        bytes[damaged] ^= 1;
        client.write(&bytes);
        let mut statuses: Vec<(u64, Status)> =
            (0..4).map(|_| told(&mut client)).map(|(id, is, _)| (id, is)).collect();
        statuses.sort_unstable();
        let expected = [(2, Status::Ok), (3, Status::Ok), (4, Status::Rejected), (5, Status::BadDigest)];
        assert_eq!(statuses, expected);
        disk.judge(None);
        assert_eq!(told(&mut client), (1, Status::Ok, String::new()));
        gateway.stop();
    }
}

#[test]
fn no_lease_ends_while_a_sink_takes_nothing() {
    let lease = Duration::from_millis(200);
    // In trouble from the first frame on, or silent as a disk that does not answer.
    for trouble in [true, false] {
        let disk = Desk::new("disk", false);
        disk.set_trouble(trouble);
        let gateway = start_with(Config { lease, ..config() }, |gateway| disk.add_to(gateway));
        let mut client = gateway.connect();
        client.send(data(9), b"a", b"to be stored");
        disk.wait_for(1);
        client.send(part(1, 0, 2), b"a", b"early");
        look_until(&gateway, "an old fragment", |snapshot| snapshot.parts.oldest > 5 * lease);
        let at = std::time::Instant::now();
        disk.set_trouble(false);
        disk.judge(None);
        assert_eq!(told(&mut client).1, Status::Ok);
        assert_eq!(told(&mut client).1, Status::Expired);
        assert!(at.elapsed() >= lease, "one lease after that");
        gateway.stop();
    }
}

#[test]
fn a_held_fragment_does_not_hold_up_the_end_of_its_connection() {
    let disk = Desk::new("disk", false);
    let gateway = start_with(Config { on_bad_digest: BadDigestPolicy::Close, ..config() }, |gateway| {
        disk.add_to(gateway)
    });
    let mut subscriber = gateway.subscriber(">");
    // What waits for a sink is told before the end.
    for (key, garbage, status) in [(1, false, Status::BadDigest), (2, true, Status::Malformed)] {
        let mut client = gateway.connect();
        let mut bytes = client.frame(Header { key, ..data(1) }, b"a", b"stored");
        bytes.extend(client.frame(part(key, 0, 2), b"a", b"held "));
        let mut last = client.frame(data(3), b"a", b"damaged");
        last[if garbage { 0 } else { 40 }] ^= 1;
        bytes.extend(last);
        client.write(&bytes);
        disk.judge(None);
        let mut all: Vec<_> =
            client.rest().iter().map(|got| (got.header.id, got.status().unwrap())).collect();
        // What promises nothing need not wait for what does; the end does.
        all.sort_by_key(|&(_, status)| status);
        let id = if garbage { 0 } else { 3 };
        assert_eq!(all, [(1, Status::Ok), (id, status)]);
        assert_eq!(subscriber.next().payload, b"stored");
        // The fragment is held, and its message becomes whole.
        let mut other = gateway.connect();
        other.send(part(key, 1, 2), b"a", b"on");
        disk.judge(None);
        assert_eq!(told(&mut other), (1, Status::Ok, String::new()));
        assert_eq!(subscriber.next().payload, b"held on");
    }
    drop(subscriber);
    let ledger = gateway.stop();
    assert_eq!((ledger.fragments, ledger.connections.accepted), (4, 5), "{ledger}");
}

#[test]
fn a_reset_connection_is_gone_though_fragments_of_it_are_held() {
    let gateway = start(config());
    let mut client = gateway.connect();
    client.send(part(1, 0, 2), b"a", b"held");
    look_until(&gateway, "the fragment", |snapshot| snapshot.parts.held == 1);
    reset(client.socket);
    look_until(&gateway, "its end", |snapshot| snapshot.queues.connections.now == 0);
    // One that has sent all that it will waits for its reply.
    let mut other = gateway.connect();
    other.send(part(1, 1, 2), b"a", b"whole");
    other.end();
    assert_eq!(other.rest().len(), 1);
    gateway.stop();
}

#[test]
fn a_pause_says_that_fragments_wait() {
    let gateway = start(Config { max_keys: 1, ..config() });
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    first.send(part(1, 0, 2), b"a", b"held");
    look_until(&gateway, "the fragment", |snapshot| snapshot.parts.held == 1);
    second.send(part(2, 0, 2), b"a", b"no room");
    second.send(silent(3), b"a", b"behind it");
    look_until(&gateway, "the other", |snapshot| snapshot.parts.parked == 1);
    let paused = gateway.control().pause(PATIENCE).expect("it runs");
    assert!(paused.quiet && paused.in_flight == 0 && paused.queued == 0, "{paused:?}");
    assert_eq!(paused.held, 1);
    assert!(paused.parked >= 1, "{paused:?}");
    gateway.control().resume().expect("it runs");
    gateway.stop();
}

/// No lease ends while publishers are kept from sending, though the sink that keeps them gives its word all the time.
#[test]
fn no_lease_ends_while_a_sink_has_no_room() {
    let lease = Duration::from_secs(1);
    let disk = Desk::new("disk", true);
    let gateway = start_with(Config { lease, dedup: None, ..config() }, |gateway| disk.add_to(gateway));
    let mut client = gateway.connect();
    client.send(part(1, 0, 2), b"a", b"held");
    let frames: Vec<u8> = (0..500).flat_map(|id| client.frame(silent(id), b"a", b"to be stored")).collect();
    client.write(&frames);
    disk.wait_for(500);
    disk.set_full(true);
    let mut left = 500;
    while look_until(&gateway, "a look", |_| true).parts.oldest < 4 * lease {
        disk.judge(None);
        left -= 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(look_until(&gateway, "a look", |_| true).parts.held, 1);
    disk.set_full(false);
    (0..left).for_each(|_| drop(disk.judge(None)));
    assert_eq!(told(&mut client).1, Status::Expired);
    gateway.stop();
}

/// A sink that had nothing for long is not silent when it gets something.
#[test]
fn leases_end_though_frames_come_now_and_then() {
    let lease = Duration::from_millis(400);
    let disk = Desk::new("disk", false);
    let gateway = start_with(Config { lease, ..config() }, |gateway| disk.add_to(gateway));
    let (mut client, mut other) = (gateway.connect(), gateway.connect());
    client.send(part(1, 0, 2), b"a", b"held");
    client.socket.set_read_timeout(Some(3 * lease / 4)).unwrap();
    for id in 0.. {
        match client.try_next() {
            Ok(got) => {
                assert_eq!(got.expect("it stays").status(), Some(Status::Expired));
                break;
            }
            Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(id < 20, "it is held for ever");
        other.send(data(id), b"a", b"now and then");
        disk.judge(None);
        assert_eq!(told(&mut other).1, Status::Ok);
    }
    gateway.stop();
}

/// A sink in trouble keeps a lease at once, however little of it is left.
#[test]
fn a_lease_that_is_about_to_end_waits_for_a_sink_in_trouble() {
    let lease = Duration::from_secs(2);
    let disk = Desk::new("disk", false);
    disk.set_trouble(true);
    let gateway = start_with(Config { lease, ..config() }, |gateway| disk.add_to(gateway));
    let mut client = gateway.connect();
    client.send(part(1, 0, 2), b"a", b"held");
    look_until(&gateway, "an old fragment", |snapshot| snapshot.parts.oldest > lease * 3 / 5);
    client.send(data(9), b"a", b"to be stored");
    disk.wait_for(1);
    look_until(&gateway, "an older one", |snapshot| snapshot.parts.oldest > 2 * lease);
    disk.set_trouble(false);
    disk.judge(None);
    assert_eq!([told(&mut client).1, told(&mut client).1], [Status::Ok, Status::Expired]);
    gateway.stop();
}
