//! Subscribing, whatever the gateway sends.

use std::io::{Read, Write};
use std::time::Duration;

use framegate::client::{Error, Event, Subscriber};
use framegate::wire::{Header, Kind, Scheme, Status, encode};

use crate::client::fake::{Peer, accept, fake};

fn data(id: u64) -> Header {
    Header { id, ..Header::new(Kind::Data) }
}

/// Confirms so many patterns, and gives them.
fn confirm(peer: &mut Peer, count: usize) -> Vec<String> {
    let frames = peer.frames(count);
    for frame in &frames {
        assert_eq!((frame.header.kind, frame.header.want_reply), (Kind::Subscribe, true));
        peer.reply(Status::Ok, frame.header.id, "");
    }
    frames.into_iter().map(|frame| frame.topic).collect()
}

fn subscribe(to: &str, patterns: &[&str]) -> Result<Subscriber, Error> {
    Subscriber::connect(to, patterns, Scheme::Sha256)
}

#[test]
fn events_come_in_order_and_digests_are_checked() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let patterns = confirm(&mut peer, 2);
        peer.send(data(1), "a", b"one");
        peer.send(Header { key: 12, status: Status::Gap as u16, ..Header::new(Kind::Reply) }, "", b"");
        let mut bad = Vec::new();
        encode(data(2), b"a", b"two", &Scheme::Sha256, &mut bad);
        bad[33] ^= 1;
        peer.stream.write_all(&bad).unwrap();
        // The answer to a PING is nobody's event.
        peer.reply(Status::Ok, 0, "");
        peer.send(data(3), "b", &vec![3; 3 << 20]);
        peer.reply(Status::Slow, 0, "33 MB behind");
        peer.close();
        patterns
    });
    let mut subscriber = subscribe(&gateway.address, &["a", "b.>"]).unwrap();
    match subscriber.next_event().unwrap() {
        Event::Frame(frame) => assert_eq!((frame.topic(), frame.payload()), (&b"a"[..], &b"one"[..])),
        other => panic!("{other:?}"),
    }
    assert!(matches!(subscriber.next_event().unwrap(), Event::Gap(12)));
    assert!(matches!(subscriber.next_event().unwrap(), Event::Bad(frame) if frame.header.id == 2));
    match subscriber.next_event().unwrap() {
        Event::Frame(frame) => assert_eq!((frame.header.id, frame.payload().len()), (3, 3 << 20)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(subscriber.next_event().unwrap(), Event::Closed(Status::Slow, "33 MB behind")));
    for _ in 0..2 {
        assert!(matches!(subscriber.next_event().unwrap(), Event::End));
    }
    drop(subscriber);
    assert_eq!(gateway.end(), ["a", "b.>"]);
}

#[test]
fn what_comes_before_the_last_confirmation_is_not_lost() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let frames = peer.frames(3);
        for (id, frame) in (10..).zip(frames) {
            peer.reply(Status::Ok, frame.header.id, "");
            peer.send(data(id), "early", b"x");
        }
        // One more pattern, later.
        let frame = peer.frame().unwrap();
        peer.send(data(13), "early", &vec![0; 1 << 20]);
        peer.reply(Status::Ok, frame.header.id, "");
        peer.close();
    });
    let mut subscriber = subscribe(&gateway.address, &["early", "b", "c"]).unwrap();
    subscriber.subscribe(&["d"]).unwrap();
    for id in 10..14 {
        assert!(matches!(subscriber.next_event().unwrap(), Event::Frame(frame) if frame.header.id == id));
    }
    drop(subscriber);
    gateway.end();
}

#[test]
fn a_refused_pattern_says_why() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let frames = peer.frames(2);
        peer.reply(Status::Ok, frames[0].header.id, "");
        peer.reply(Status::Rejected, frames[1].header.id, "too many patterns");
        peer.close();
    });
    let error = subscribe(&gateway.address, &["a", "b"]).err().unwrap();
    assert_eq!(error.to_string(), "the gateway refuses the pattern 'b': too many patterns");
    gateway.end();
    assert!(matches!(subscribe("127.0.0.1:1", &["a"]), Err(Error::Unreachable { .. })));
}

#[test]
fn a_missing_secret_and_a_gone_gateway_are_told_apart() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let frame = peer.frame().unwrap();
        peer.scheme = Scheme::keyed(b"theirs");
        peer.reply(Status::Unauthorized, frame.header.id, "");
        peer.close();
        accept(listener).close();
        let mut peer = accept(listener);
        peer.frame();
        peer.reply(Status::Closing, 0, "draining");
        peer.close();
    });
    let error = |address: &str| subscribe(address, &[">"]).err().unwrap();
    assert!(matches!(error(&gateway.address), Error::Unauthorized { keyed: false, .. }));
    assert!(matches!(error(&gateway.address), Error::Gone { .. }));
    assert!(matches!(error(&gateway.address), Error::Gone { why, .. } if why == "CLOSING: draining"));
    gateway.end();
}

#[test]
fn another_server_is_recognised_after_the_frames_before() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        confirm(&mut peer, 1);
        peer.send(data(1), "a", b"x");
        peer.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        peer.close();
    });
    let mut subscriber = subscribe(&gateway.address, &[">"]).unwrap();
    assert!(matches!(subscriber.next_event().unwrap(), Event::Frame(_)));
    for _ in 0..2 {
        assert!(matches!(subscriber.next_event(), Err(Error::NoGateway { .. })));
    }
    drop(subscriber);
    gateway.end();
}

#[test]
fn what_answers_a_subscription_with_something_else_is_no_gateway() {
    let gateway = fake(|listener| {
        // It stays open, as a server that greets does.
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        // An echo.
        let mut stream = listener.accept().unwrap().0;
        let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
    });
    for part in ["this looks like SSH", "a SUBSCRIBE frame where only a REPLY can come"] {
        let error = subscribe(&gateway.address, &["a"]).err().unwrap();
        assert!(matches!(error, Error::NoGateway { .. }) && error.to_string().contains(part), "{error}");
    }
    gateway.end();
}

#[test]
fn a_gateway_that_does_not_answer_a_ping_is_gone() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let subscribed = peer.frame().unwrap();
        peer.reply(Status::Ok, subscribed.header.id, "");
        // The first PING is answered, and no other.
        let mut bytes = [0; 64];
        peer.stream.read_exact(&mut bytes).unwrap();
        peer.reply(Status::Ok, 0, "");
        let mut rest = Vec::new();
        peer.stream.read_to_end(&mut rest).unwrap();
        rest.len()
    });
    let mut subscriber = Subscriber::open(&gateway.address, Scheme::Sha256, Duration::ZERO).unwrap();
    subscriber.set_timeout(Some(Duration::from_millis(400))).unwrap();
    subscriber.subscribe(&["a"]).unwrap();
    let said = subscriber.next_event().unwrap_err().to_string();
    assert!(said.contains("it has said nothing for 400ms, not even to a PING"), "{said}");
    for timeout in [None, Some(Duration::ZERO), Some(Duration::from_nanos(1)), Some(Duration::MAX)] {
        subscriber.set_timeout(timeout).unwrap();
    }
    drop(subscriber);
    assert!(gateway.end() >= 64, "it was asked");
}
