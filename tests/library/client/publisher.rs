//! Publishing, whatever the gateway does.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use framegate::client::{Error, Publisher, PublisherOptions, Report};
use framegate::wire::{Frame, NO_SUBSCRIBER, Scheme, Status};
use socket2::{Domain, Socket, Type};

use crate::client::fake::{accept, fake, ids};

pub fn no_retry() -> PublisherOptions {
    PublisherOptions { retry: None, ..PublisherOptions::default() }
}

pub fn no_reply() -> PublisherOptions {
    PublisherOptions { replies: false, ..PublisherOptions::default() }
}

/// Publishes so many small frames; what goes wrong on the way is in the report.
pub fn publish(to: &str, count: usize, options: PublisherOptions) -> Report {
    let mut publisher = Publisher::connect(to, options).unwrap();
    for index in 0..count {
        if publisher.send("t.x", 7, format!("payload {index}").as_bytes()).is_err() {
            break;
        }
    }
    publisher.finish()
}

pub fn ok(report: &Report) -> u64 {
    report.answers.count(Status::Ok)
}

#[test]
fn frames_arrive_in_order_and_are_answered() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let frames = peer.frames(2500);
        for frame in &frames {
            peer.reply(Status::Ok, frame.header.id, "");
        }
        assert_eq!(peer.answer_all(), 500);
        frames
    });
    let options = PublisherOptions { max_in_flight: 5000, ..PublisherOptions::default() };
    let report = publish(&gateway.address, 3000, options);
    assert_eq!((ok(&report), report.frames, report.unanswered, report.resent), (3000, 3000, 0, 0));
    assert_eq!(report.bytes, (0..3000).map(|index| format!("payload {index}").len() as u64).sum::<u64>());
    assert!(report.is_complete(), "{report:?}");
    let frames = gateway.end();
    assert_eq!(ids(&frames), (1..=2500).collect::<Vec<u64>>());
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!((frame.topic.as_str(), frame.header.key, frame.header.want_reply), ("t.x", 7, true));
        assert_eq!(frame.payload, format!("payload {index}").as_bytes());
        assert!(Frame { header: frame.header, bytes: &frame.bytes }.is_intact(&Scheme::Sha256));
    }
}

#[test]
fn answers_in_any_order_are_counted_once_each() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let frames = peer.frames(1000);
        peer.reply(Status::Ok, 5000, "never sent");
        for frame in frames.iter().rev() {
            let status = if frame.header.id % 10 == 0 { Status::Rejected } else { Status::Ok };
            peer.reply(status, frame.header.id, &format!("no {}", frame.header.id));
            // Once the last one is answered, the publisher may be gone.
            if frame.header.id > 1 {
                peer.reply(Status::Ok, frame.header.id, "twice");
            }
        }
        peer.answer_all()
    });
    let report = publish(&gateway.address, 1000, PublisherOptions::default());
    assert_eq!(
        (ok(&report), report.answers.count(Status::Rejected), report.answers.total()),
        (900, 100, 1000)
    );
    assert_eq!(report.answers.reason(Status::Rejected), Some("no 1000"));
    assert!(!report.is_complete());
    gateway.end();
}

#[test]
fn what_is_unanswered_is_sent_again_with_the_same_bytes_in_the_same_order() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let first = peer.frames(10);
        for id in [2, 4, 9] {
            peer.reply(Status::Ok, id, "");
        }
        peer.close();
        // A connection that is of no use: nothing is answered on it.
        drop(accept(listener));
        let mut peer = accept(listener);
        let again = peer.frames(7);
        for id in ids(&again) {
            peer.reply(Status::Ok, id, "");
        }
        assert_eq!(peer.answer_all(), 0);
        (first, again)
    });
    let report = publish(&gateway.address, 10, PublisherOptions::default());
    assert_eq!((ok(&report), report.unanswered), (10, 0));
    assert!(report.resent >= 7, "{report:?}");
    let (first, again) = gateway.end();
    assert_eq!(ids(&again), [1, 3, 5, 6, 7, 8, 10]);
    let expected: Vec<_> = first.into_iter().filter(|frame| ![2, 4, 9].contains(&frame.header.id)).collect();
    assert_eq!(again, expected);
}

#[test]
fn without_retry_what_is_unanswered_stays_so() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        peer.frames(10);
        peer.reply(Status::Ok, 1, "");
        peer.close();
    });
    let report = publish(&gateway.address, 10, no_retry());
    assert_eq!((ok(&report), report.unanswered, report.frames), (1, 9, 10));
    assert!(matches!(report.error, Some(Error::Gone { .. })), "{report:?}");
    gateway.end();
}

#[test]
fn a_frame_that_is_too_large_fails_alone() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        for id in ids(&peer.frames(4)) {
            peer.reply(Status::Ok, id, "");
        }
        peer.reply(Status::TooLarge, 5, "too much");
        peer.close();
        let mut peer = accept(listener);
        let again = peer.frames(5);
        for id in ids(&again) {
            peer.reply(Status::Ok, id, "");
        }
        peer.answer_all();
        ids(&again)
    });
    let report = publish(&gateway.address, 10, PublisherOptions::default());
    assert_eq!((ok(&report), report.answers.count(Status::TooLarge), report.unanswered), (9, 1, 0));
    assert_eq!(report.answers.reason(Status::TooLarge), Some("too much"));
    assert_eq!((report.error, gateway.end()), (None, vec![6, 7, 8, 9, 10]));
}

#[test]
fn busy_is_sent_again_until_it_is_taken() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        peer.frames(4);
        for (status, id) in [(Status::Busy, 2), (Status::Ok, 1), (Status::Busy, 3), (Status::Ok, 4)] {
            peer.reply(status, id, "");
        }
        // Whether both come again at once depends on when the replies were read.
        for _ in 0..3 {
            for id in ids(&peer.frames(2)) {
                peer.reply(Status::Busy, id, "");
            }
        }
        let mut last = ids(&peer.frames(2));
        last.iter().for_each(|&id| peer.reply(Status::Ok, id, ""));
        assert_eq!(peer.answer_all(), 0);
        last.sort_unstable();
        last
    });
    let report = publish(&gateway.address, 4, PublisherOptions::default());
    assert_eq!((ok(&report), report.answers.total(), report.resent), (4, 4, 8));
    assert_eq!(gateway.end(), [2, 3]);
}

#[test]
fn without_retry_busy_is_an_answer() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        peer.frames(2);
        peer.reply(Status::Busy, 1, "full");
        peer.reply(Status::Ok, 2, "");
        assert_eq!(peer.answer_all(), 0);
    });
    let report = publish(&gateway.address, 2, no_retry());
    assert_eq!((ok(&report), report.answers.count(Status::Busy), report.error), (1, 1, None));
    gateway.end();
}

#[test]
fn a_draining_gateway_is_one_that_went_away() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        peer.frames(3);
        peer.reply(Status::Ok, 1, "");
        peer.reply(Status::Closing, 2, "draining");
        peer.close();
        accept(listener).answer_all()
    });
    let report = publish(&gateway.address, 3, PublisherOptions::default());
    assert_eq!((ok(&report), report.answers.total(), report.error), (3, 3, None));
    assert_eq!(gateway.end(), 2);
}

#[test]
fn a_missing_or_wrong_secret_is_said_with_its_mend() {
    let keyed = PublisherOptions { scheme: Scheme::keyed(b"mine"), ..PublisherOptions::default() };
    for (options, mend) in [(PublisherOptions::default(), "give --secret-file"), (keyed, "another secret")] {
        let gateway = fake(|listener| {
            let mut peer = accept(listener);
            // The client cannot check this digest.
            peer.scheme = Scheme::keyed(b"theirs");
            peer.frame();
            let said = "the first frame does not carry the HMAC of the gateway's secret";
            peer.reply(Status::Unauthorized, 1, said);
            peer.close();
        });
        let report = publish(&gateway.address, 1, options);
        let error = report.error.expect("it is refused");
        assert!(matches!(error, Error::Unauthorized { .. }) && error.to_string().contains(mend), "{error}");
        assert_eq!(report.unanswered, 1);
        gateway.end();
    }
}

#[test]
fn a_reply_with_a_wrong_digest_is_not_believed() {
    let keyed = || PublisherOptions { scheme: Scheme::keyed(b"mine"), ..PublisherOptions::default() };
    for (options, scheme, said) in [
        (PublisherOptions::default(), Scheme::keyed(b"theirs"), "it has a secret"),
        (keyed(), Scheme::keyed(b"theirs"), "it has another secret"),
        (keyed(), Scheme::Sha256, "leave --secret-file out"),
    ] {
        let gateway = fake(|listener| {
            let mut peer = accept(listener);
            peer.scheme = scheme;
            peer.frame();
            peer.reply(Status::Ok, 1, "");
            peer.close();
        });
        let report = publish(&gateway.address, 1, options);
        assert_eq!((ok(&report), report.unanswered), (0, 1));
        let error = report.error.expect("it is not believed").to_string();
        assert!(error.contains(said), "{error}");
        gateway.end();
    }
}

#[test]
fn malformed_is_the_end() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        peer.frames(2);
        peer.reply(Status::Malformed, 0, "no frame");
        peer.close();
    });
    let report = publish(&gateway.address, 2, PublisherOptions::default());
    assert_eq!(report.unanswered, 2);
    assert!(matches!(report.error, Some(Error::Malformed(said)) if said.contains("no frame")));
    gateway.end();
}

#[test]
fn another_server_is_recognised() {
    let gateway = fake(|listener| {
        use std::io::Write;
        let mut peer = accept(listener);
        peer.frame();
        peer.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        peer.close();
    });
    let report = publish(&gateway.address, 1, PublisherOptions::default());
    let error = report.error.unwrap().to_string();
    assert!(error.contains("is not a gateway") && error.contains("HTTP/1.1"), "{error}");
    gateway.end();
}

#[test]
fn no_more_is_in_flight_than_asked_for() {
    const WINDOW: usize = 5;
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let mut waiting = ids(&peer.frames(WINDOW));
        for next in WINDOW as u64 + 1..=50 {
            assert!(peer.is_dry(), "{waiting:?} are in flight");
            // One answer makes room for one frame.
            let answered = waiting.remove(next as usize % WINDOW);
            peer.reply(Status::Ok, answered, "");
            assert_eq!(ids(&peer.frames(1)), [next]);
            waiting.push(next);
        }
        waiting.iter().for_each(|&id| peer.reply(Status::Ok, id, ""));
        assert_eq!(peer.answer_all(), 0);
    });
    let options = PublisherOptions { max_in_flight: WINDOW, ..PublisherOptions::default() };
    let report = publish(&gateway.address, 50, options);
    assert_eq!(ok(&report), 50);
    gateway.end();
}

#[test]
fn a_frame_larger_than_the_window_is_in_flight_alone() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let mut sizes = Vec::new();
        for id in 1..=3 {
            let frame = peer.frame().unwrap();
            sizes.push(frame.payload.len());
            assert!(id != 2 || peer.is_dry(), "nothing else fits beside it");
            peer.reply(Status::Ok, frame.header.id, "");
        }
        peer.answer_all();
        sizes
    });
    let large = vec![1; (64 << 20) + 1];
    let mut publisher = Publisher::connect(&gateway.address, PublisherOptions::default()).unwrap();
    for payload in [b"small", &large[..], b"small"] {
        publisher.send("t", 0, payload).unwrap();
    }
    assert_eq!(ok(&publisher.finish()), 3);
    assert_eq!(gateway.end(), [5, large.len(), 5]);
}

#[test]
fn without_replies_the_gateway_has_everything_when_it_closes() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let mut frames = Vec::new();
        // The client half-closes, and waits for our end.
        while let Some(frame) = peer.frame() {
            assert!(!frame.header.want_reply);
            frames.push(frame);
        }
        ids(&frames)
    });
    let report = publish(&gateway.address, 20_000, no_reply());
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.frames, report.answers.total()), (20_000, 0));
    assert_eq!(gateway.end(), (1..=20_000).collect::<Vec<u64>>());
}

#[test]
fn without_replies_what_a_connection_loses_is_unconfirmed() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let frames = peer.frames(3).len();
        peer.close();
        frames
    });
    let options = PublisherOptions { retry: Some(Duration::from_millis(1)), ..no_reply() };
    let report = publish(&gateway.address, 3, options);
    assert_eq!((report.unconfirmed, report.unsent, report.is_complete()), (3, 0, false), "{report:?}");
    assert_eq!(gateway.end(), 3);
}

#[test]
fn without_replies_what_comes_after_a_lost_connection_is_sent() {
    let (closed, wait) = std::sync::mpsc::channel();
    let gateway = fake(move |listener| {
        let mut peer = accept(listener);
        peer.frames(3);
        drop(peer);
        closed.send(()).unwrap();
        let mut peer = accept(listener);
        std::iter::from_fn(|| peer.frame()).count()
    });
    let mut publisher = Publisher::connect(&gateway.address, no_reply()).unwrap();
    for _ in 0..3 {
        publisher.send("t", 0, b"lost").unwrap();
    }
    publisher.flush().unwrap();
    wait.recv().unwrap();
    let large = vec![0; 1 << 20];
    for _ in 0..100 {
        publisher.send("t", 0, &large).unwrap();
    }
    let report = publisher.finish();
    // What went into the buffers of a connection that nobody reads is as lost as what was read from it.
    let taken = gateway.end() as u64;
    assert_eq!((report.unsent, report.frames), (0, 103));
    assert_eq!((report.unconfirmed >= 3, report.unconfirmed + taken), (true, 103), "{report:?}");
}

#[test]
fn a_gateway_that_is_not_there_is_an_error_at_once() {
    let address = fake(|listener| listener.local_addr().unwrap().to_string()).end();
    let error = Publisher::connect(&address, PublisherOptions::default()).err().unwrap();
    assert!(error.to_string().contains("is the gateway running? framegate serve"), "{error}");
}

#[test]
fn retrying_ends() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        peer.frames(1);
    });
    let options = PublisherOptions { retry: Some(Duration::from_millis(300)), ..PublisherOptions::default() };
    let report = publish(&gateway.address, 1, options);
    assert_eq!(report.unanswered, 1);
    assert!(report.error.unwrap().to_string().starts_with("gave up on the gateway at"));
    gateway.end();
}

#[test]
fn a_gateway_that_closes_every_connection_is_given_up() {
    let gateway = fake(|listener| {
        listener.set_nonblocking(false).unwrap();
        // Until the client gives up, which ends the test and this thread with it.
        while let Ok((stream, _)) = listener.accept() {
            drop(stream);
        }
    });
    let options = PublisherOptions { retry: Some(Duration::from_millis(500)), ..PublisherOptions::default() };
    let report = publish(&gateway.address, 1, options);
    assert!(matches!(report.error, Some(Error::Unreachable { .. })), "{report:?}");
}

#[test]
fn an_interrupt_ends_waiting() {
    let (taken, both_taken) = std::sync::mpsc::channel();
    let gateway = fake(move |listener| {
        let mut peer = accept(listener);
        peer.frames(2);
        taken.send(()).unwrap();
        // Answers nothing; ends when the client does.
        assert_eq!(peer.frame(), None);
    });
    let options = PublisherOptions { max_in_flight: 2, ..PublisherOptions::default() };
    let mut publisher = Publisher::connect(&gateway.address, options).unwrap();
    let interrupter = publisher.interrupter();
    publisher.send("t", 0, b"1").unwrap();
    publisher.send("t", 0, b"2").unwrap();
    publisher.flush().unwrap();
    both_taken.recv().unwrap();
    let interrupt = std::thread::spawn(move || interrupter.interrupt(Duration::ZERO));
    assert_eq!(publisher.send("t", 0, b"3"), Err(Error::Interrupted));
    let report = publisher.finish();
    assert_eq!((report.frames, report.unanswered), (2, 2));
    interrupt.join().unwrap();
    gateway.end();
}

#[test]
fn topics_are_checked_before_they_are_sent() {
    let gateway = fake(|listener| accept(listener).answer_all());
    let mut publisher = Publisher::connect(&gateway.address, PublisherOptions::default()).unwrap();
    assert!(matches!(publisher.send("a b", 0, b""), Err(Error::Topic(_))));
    assert_eq!(publisher.send(&"x".repeat(256), 0, b""), Err(Error::TopicTooLong));
    assert_eq!(publisher.send("", 0, b""), Ok(1));
    assert_eq!(ok(&publisher.finish()), 1);
    assert_eq!(gateway.end(), 1);
}

#[test]
fn what_ends_every_connection_without_an_answer_is_no_gateway() {
    // What asks for no reply is not sent again, so there is no second connection.
    let frames = 3 * (32 + "t.x".len() + "payload 0".len() + 32);
    for (options, connections, bytes, part) in [
        (PublisherOptions::default(), 5, frames, "ended 5 connections without an answer"),
        // The PING before them is not answered either.
        (no_reply(), 1, 68 + frames, "ended the connection without an answer"),
    ] {
        let gateway = fake(move |listener| {
            // Nobody connects any more after that.
            for _ in 0..connections {
                let mut stream = listener.accept().unwrap().0;
                stream.read_exact(&mut vec![0; bytes]).unwrap();
            }
        });
        let report = publish(&gateway.address, 3, options);
        let error = report.error.expect("it is given up");
        assert!(error.is_gone() && matches!(error, Error::NoGateway { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        gateway.end();
    }
}

#[test]
fn what_answers_with_something_else_is_no_gateway() {
    let gateway = fake(|listener| {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        // An echo.
        let mut stream = listener.accept().unwrap().0;
        let mut bytes = vec![0; 64];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
    });
    for part in ["this looks like HTTP", "a DATA frame where only a REPLY can come"] {
        let error = publish(&gateway.address, 1, PublisherOptions::default()).error.expect("it is given up");
        assert!(matches!(error, Error::NoGateway { .. }) && error.to_string().contains(part), "{error}");
    }
    gateway.end();
}

#[test]
fn a_gateway_that_listens_a_moment_later_is_found() {
    // Bound and not listening: whoever connects is refused, and nobody else gets the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    assert!(Publisher::connect(&address, PublisherOptions::default()).is_err());
    let starting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        socket.listen(8).unwrap();
        accept(&socket.into()).answer_all()
    });
    let options = PublisherOptions { patience: Duration::from_secs(60), ..PublisherOptions::default() };
    let report = publish(&address, 2, options);
    assert_eq!((ok(&report), starting.join().unwrap()), (2, 2));
}

#[test]
fn what_nobody_got_and_what_is_not_told_is_counted() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        for frame in peer.frames(3) {
            peer.reply(Status::Ok, frame.header.id, if frame.header.id == 2 { NO_SUBSCRIBER } else { "" });
        }
        peer.answer_all();
        accept(listener).answer_all()
    });
    let report = publish(&gateway.address, 3, PublisherOptions::default());
    assert_eq!((ok(&report), report.answers.unmatched(), report.unasked), (3, 1, 0));
    let report = publish(&gateway.address, 4, no_reply());
    assert_eq!((report.frames, report.unasked, report.is_complete()), (4, 4, true), "{report:?}");
    assert_eq!(gateway.end(), 4);
}

/// A gateway that was killed is none that never was one, though nothing asked it for a reply.
#[test]
fn a_gateway_that_goes_away_is_one_though_nothing_asked_for_a_reply() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        // It answers PINGs alone.
        peer.frames(3);
    });
    let report = publish(&gateway.address, 3, no_reply());
    assert_eq!((&report.error, report.unconfirmed), (&None, 3), "{report:?}");
    gateway.end();
}

/// Whatever it does then: what has answered once is a gateway.
#[test]
fn a_gateway_that_closes_each_connection_after_an_answer_is_one() {
    const CONNECTIONS: usize = 7;
    let gateway = fake(|listener| {
        for _ in 0..CONNECTIONS {
            let mut peer = accept(listener);
            let id = peer.frame().expect("a frame").header.id;
            peer.reply(Status::Ok, id, "");
            peer.close();
        }
    });
    let report = publish(&gateway.address, CONNECTIONS, PublisherOptions::default());
    assert_eq!((ok(&report), &report.error), (CONNECTIONS as u64, &None), "{report:?}");
    gateway.end();
}
