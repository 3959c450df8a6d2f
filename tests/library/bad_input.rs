//! What must not crash, leak, stall others, or let a wrong byte through.

use crate::support;

use std::io::{Read, Write};
use std::net::TcpStream;

use framegate::gateway::{BadDigestPolicy, Config};
use framegate::wire::{Header, Kind, Scheme, Status};
use support::{Client, Got, Running, data, payload, reset, silent, start};

/// Sees that the gateway still serves others, and that nothing of what was sent before came out.
fn assert_well(gateway: &Running, subscriber: &mut Client) {
    let mut publisher = gateway.connect();
    assert_eq!(publisher.publish("well", b"still here").0, Status::Ok);
    let got = subscriber.next();
    assert_eq!((got.topic.as_str(), got.payload.as_slice()), ("well", &b"still here"[..]));
}

#[test]
fn every_bit_of_a_frame_flipped() {
    let gateway = start(Config { payload_max: 1000, ..Config::default() });
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    let good = publisher.frame(data(7), b"orders.eu", b"hello");
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        publisher.write(&bytes);
        // What follows shows whether the stream goes on.
        publisher.send(silent(8), b"after", b"");
        publisher.end();
        let statuses: Vec<_> = publisher.rest().iter().map(|got| got.status().unwrap()).collect();
        let after = match bit / 8 {
            // Magic, version, status: the stream cannot be cut.
            0..=2 | 6 | 7 => [Status::Malformed].as_slice(),
            // A PING, SUBSCRIBE or UNSUBSCRIBE with a wrong digest, or a kind that a peer must not send.
            3 => match good[3] ^ 1 << (bit % 8) {
                2 | 4 => &[Status::BadDigest],
                _ => &[Status::Malformed],
            },
            // WANT_REPLY gone: dropped in silence. Other flags do not exist.
            4 if bit % 8 == 0 => &[],
            4 => &[Status::Malformed],
            // Lengths: the stream goes out of step (MALFORMED), waits for bytes that never come, or is too large.
            5 | 8..=11 => {
                assert!(statuses.iter().all(|s| *s != Status::Ok), "bit {bit}: {statuses:?}");
                &statuses.clone()
            }
            _ => &[Status::BadDigest],
        };
        assert_eq!(statuses, after, "bit {bit}");
        publisher = gateway.connect();
    }
    // What followed the flipped frames came out where their ends were known; they themselves never.
    gateway.connect().publish("mark", b"");
    while let got = subscriber.next()
        && got.topic != "mark"
    {
        assert_eq!(got.topic, "after");
    }
    gateway.stop();
}

#[test]
fn every_header_field_out_of_range() {
    let gateway = start(Config { payload_max: 1000, ..Config::default() });
    let mut subscriber = gateway.subscriber(">");
    type Break = fn(&mut [u8]);
    let cases: [(&str, Break, Status, u64); 9] = [
        ("magic", |b| b[0] = b'X', Status::Malformed, 0),
        ("version 0", |b| b[2] = 0, Status::Malformed, 0),
        ("version 2", |b| b[2] = 2, Status::Malformed, 0),
        ("a REPLY", |b| b[3] = 1, Status::Malformed, 7),
        ("kind 7", |b| b[3] = 7, Status::Malformed, 7),
        ("kind 255", |b| b[3] = 255, Status::Malformed, 7),
        ("flag 1", |b| b[4] = 3, Status::Malformed, 7),
        ("status", |b| b[7] = 1, Status::Malformed, 7),
        ("payload length", |b| b[8..12].fill(255), Status::TooLarge, 7),
    ];
    for (name, break_it, status, id) in cases {
        let mut publisher = gateway.connect();
        publisher.send(data(6), b"before", b"");
        let mut bytes = publisher.frame(data(7), b"orders.eu", b"hello");
        break_it(&mut bytes);
        publisher.write(&bytes);
        let replies: Vec<_> = publisher.rest().iter().map(|g| (g.header.id, g.status().unwrap())).collect();
        assert_eq!(replies, [(6, Status::Ok), (id, status)], "{name}");
        assert_eq!(subscriber.next().topic, "before", "what came before is finished first");
    }
    let ledger = gateway.stop();
    assert_eq!((ledger.rejected.of(Status::Malformed), ledger.rejected.of(Status::TooLarge)), (8, 1));
}

#[test]
fn frames_cut_at_every_byte() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut bytes = Vec::new();
    {
        let client = gateway.connect();
        bytes.extend(client.frame(data(1), b"a", b"first"));
        bytes.extend(client.frame(data(2), b"a", b"second"));
    }
    let first = 64 + 1 + 5;
    for cut in 0..bytes.len() {
        let mut publisher = gateway.connect();
        publisher.write(&bytes[..cut]);
        publisher.end();
        let whole = usize::from(cut >= first);
        let replies = publisher.rest();
        assert_eq!(replies.len(), whole, "cut at {cut}");
        for _ in 0..whole {
            assert_eq!(subscriber.next().payload, b"first");
        }
        // In two pieces it is two frames, wherever the cut is.
        let mut publisher = gateway.connect();
        publisher.write(&bytes[..cut]);
        if cut >= first {
            assert_eq!(publisher.next().header.id, 1, "the first does not wait for the second");
        }
        publisher.write(&bytes[cut..]);
        publisher.end();
        assert_eq!(publisher.rest().len(), 2 - whole);
        assert_eq!([subscriber.next().payload, subscriber.next().payload], [&b"first"[..], b"second"]);
    }
    let unfinished: usize = (0..bytes.len()).map(|cut| if cut < first { cut } else { cut - first }).sum();
    assert_eq!(gateway.stop().bytes_unfinished, unfinished as u64);
}

#[test]
fn noise_and_other_protocols() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let noise: Vec<u8> =
        (0..64 * 1024u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    for (bytes, says) in [
        (&noise[..], "not a frame"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "looks like HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "looks like TLS"),
        (b"G", "not a frame"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "looks like SSH"),
    ] {
        let mut stranger = gateway.connect();
        stranger.write(bytes);
        let replies = stranger.rest();
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].status(), Some(Status::Malformed));
        let reason = String::from_utf8_lossy(&replies[0].payload).into_owned();
        assert!(reason.contains(says), "{reason}");
    }
    assert_well(&gateway, &mut subscriber);
    gateway.stop();
}

#[test]
fn bad_topics_and_patterns_are_refused_and_the_stream_goes_on() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    for topic in
        [&b"a.*"[..], b">", b"*", b"a b", b"a\tb", b"a\0", b"a..b", b".a", b"a.", b"\xff\xfe", b"\x7f"]
    {
        publisher.send(data(3), topic, b"x");
        let reply = publisher.next();
        assert_eq!((reply.status(), reply.header.id), (Some(Status::Rejected), 3), "{topic:?}");
        assert!(reply.payload.starts_with(b"the topic"), "it says why");
        assert_well(&gateway, &mut subscriber);
    }
    for kind in [Kind::Subscribe, Kind::Unsubscribe] {
        let ask = Header { want_reply: true, id: 4, ..Header::new(kind) };
        for pattern in [&b"a..b"[..], b">.a", b"a. b", b"\xc3"] {
            publisher.send(ask, pattern, b"");
            assert_eq!(publisher.next().status(), Some(Status::Rejected), "{pattern:?}");
        }
        publisher.send(ask, b"a", b"payload");
        assert_eq!(publisher.next().status(), Some(Status::Rejected));
    }
    let part = Header { part_count: 2, part_index: 2, ..data(5) };
    publisher.send(part, b"a", b"part");
    assert_eq!(publisher.next().status(), Some(Status::Rejected));
    assert_eq!(publisher.publish("a", b"good").0, Status::Ok);
    assert_eq!(subscriber.next().payload, b"good");
    gateway.stop();
}

#[test]
fn a_payload_at_the_limit_and_one_more() {
    let max = 3 << 20;
    let gateway = start(Config { payload_max: max, ..Config::default() });
    let mut subscriber = gateway.subscriber("big");
    let mut publisher = gateway.connect();
    let largest = payload(max, 1);
    assert_eq!(publisher.publish("big", &largest).0, Status::Ok);
    assert!(subscriber.next().payload == largest);
    // It is known from the header alone.
    let header = publisher.frame(data(9), b"big", &payload(max + 1, 2));
    publisher.write(&header[..32]);
    let replies = publisher.rest();
    assert_eq!((replies[0].status(), replies[0].header.id), (Some(Status::TooLarge), 9));
    gateway.stop();
}

#[test]
fn a_large_frame_with_a_wrong_digest_takes_its_turn() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    for at in [32 + 5, 1 << 20, (2 << 20) + 36] {
        let mut bytes = publisher.frame(data(1), b"a", &payload(2 << 20, 3));
        bytes[at] ^= 1;
        publisher.write(&bytes);
        publisher.send(data(2), b"a", b"after");
        let replies = [publisher.next(), publisher.next()].map(|got| (got.header.id, got.status().unwrap()));
        assert_eq!(replies, [(1, Status::BadDigest), (2, Status::Ok)], "byte {at}");
        assert_eq!(subscriber.next().payload, b"after");
    }
    gateway.stop();
}

#[test]
fn a_wrong_digest_closes_where_it_is_set_to() {
    let config = Config { on_bad_digest: BadDigestPolicy::Close, ..Config::default() };
    let gateway = start(config);
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    let mut bytes = publisher.frame(data(1), b"a", b"good");
    bytes.extend(publisher.frame(data(2), b"a", b"bad"));
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.extend(publisher.frame(data(3), b"a", b"too late"));
    publisher.write(&bytes);
    let replies: Vec<_> = publisher.rest().iter().map(|g| (g.header.id, g.status().unwrap())).collect();
    assert_eq!(replies, [(1, Status::Ok), (2, Status::BadDigest)]);
    assert_eq!(subscriber.next().payload, b"good");
    assert_well(&gateway, &mut subscriber);
    let ledger = gateway.stop();
    assert_eq!((ledger.rejected.of(Status::BadDigest), ledger.undelivered), (1, 1));
}

#[test]
fn without_the_secret_nobody_gets_in() {
    let scheme = Scheme::keyed(b"a shared secret");
    let gateway = start(Config { scheme, ..Config::default() });
    let mut subscriber = gateway.subscriber(">");
    for stranger_scheme in [Scheme::Sha256, Scheme::keyed(b"another")] {
        let mut stranger = gateway.connect();
        stranger.scheme = stranger_scheme;
        stranger.send(silent(5), b"a", b"let me in");
        stranger.scheme = gateway.scheme.clone();
        let replies: Vec<Got> = stranger.rest();
        assert_eq!((replies[0].status(), replies[0].header.id), (Some(Status::Unauthorized), 5));
    }
    let mut publisher = gateway.connect();
    assert_eq!(publisher.publish("well", b"still here").0, Status::Ok);
    assert_eq!(subscriber.next().payload, b"still here");
    // Later frames with a wrong digest are only that.
    publisher.scheme = Scheme::Sha256;
    publisher.send(data(6), b"a", b"unkeyed");
    publisher.scheme = gateway.scheme.clone();
    assert_eq!(publisher.next().status(), Some(Status::BadDigest));
    let ledger = gateway.stop();
    assert_eq!(ledger.rejected.of(Status::Unauthorized), 2);
}

#[test]
fn peers_that_vanish_in_the_middle_of_a_frame() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    for len in [10, 100_000, 1 << 20] {
        let mut publisher = gateway.connect();
        assert_eq!(publisher.publish("well", b"still here").0, Status::Ok);
        assert_eq!(subscriber.next().payload, b"still here");
        let bytes = publisher.frame(data(1), b"a", &payload(len, 0));
        publisher.write(&bytes[..bytes.len() - 1]);
        reset(publisher.socket);
        assert_well(&gateway, &mut subscriber);
    }
    gateway.stop();
}

#[test]
fn two_thousand_connections_opened_and_closed_at_once() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let gateway = &gateway;
            scope.spawn(move || {
                let sockets: Vec<_> =
                    (0..100).map(|_| TcpStream::connect(gateway.address).expect("connects")).collect();
                for (i, mut socket) in sockets.into_iter().enumerate() {
                    match (i + thread) % 4 {
                        0 => drop(socket),
                        1 => reset(socket),
                        2 => socket.write_all(b"FG\x01").expect("it is open"),
                        _ => {
                            socket.write_all(b"no").expect("it is open");
                            let mut reply = Vec::new();
                            // The gateway may be faster to close than this is to read.
                            let _ = socket.read_to_end(&mut reply);
                        }
                    }
                }
            });
        }
    });
    assert_well(&gateway, &mut subscriber);
    let ledger = gateway.stop();
    assert!(ledger.connections.accepted >= 2_000, "{ledger}");
}

#[test]
fn a_client_that_asks_and_never_reads_stops_only_itself() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber("well");
    let deaf = gateway.connect();
    deaf.socket.set_nonblocking(true).unwrap();
    let ping = deaf.frame(Header { id: 1, ..Header::new(Kind::Ping) }, b"", b"").repeat(10_000);
    let mut sent = 0;
    // Until the gateway reads no more of it: its replies fill the socket, then the outbox.
    let mut refused = 0;
    while refused < 50 {
        match (&*deaf.socket).write(&ping[sent % 64..]) {
            Ok(n) => (sent, refused) = (sent + n, 0),
            Err(_) => {
                refused += 1;
                assert_well(&gateway, &mut subscriber);
            }
        }
        assert!(sent < 1 << 30, "the gateway reads for ever");
    }
    assert_well(&gateway, &mut subscriber);
    drop(deaf);
    gateway.stop();
}
