//! Publishing to a gateway that is connected and says nothing.

use std::io::Read;
use std::time::Duration;

use framegate::client::{Publisher, PublisherOptions};
use framegate::wire::Status;

use crate::client::fake::{accept, fake};
use crate::client::publisher::{no_reply, no_retry, ok, publish};

/// With a timeout that a test can wait for.
fn impatient(options: PublisherOptions) -> PublisherOptions {
    PublisherOptions { timeout: Some(Duration::from_millis(400)), ..options }
}

#[test]
fn a_connection_on_which_nobody_answers_is_lost_and_the_next_is_used() {
    let gateway = fake(|listener| {
        // Takes everything and says nothing, until the publisher gives it up.
        let mut silent = accept(listener);
        let mut taken = Vec::new();
        silent.stream.read_to_end(&mut taken).unwrap();
        accept(listener).answer_all()
    });
    let report = publish(&gateway.address, 3, impatient(PublisherOptions::default()));
    assert_eq!((ok(&report), report.resent, gateway.end()), (3, 3, 3));
    assert!(report.is_complete(), "{report:?}");
    for options in [no_retry(), PublisherOptions { retry: None, ..no_reply() }] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let report = publish(&listener.local_addr().unwrap().to_string(), 3, impatient(options));
        let said = report.error.unwrap().to_string();
        assert!(said.contains("it has said nothing for 400ms, not even to a PING"), "{said}");
    }
}

#[test]
fn a_gateway_that_answers_pings_alone_is_there() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        let frames = peer.frames(3);
        // They come each half of the timeout.
        peer.pings(6);
        for frame in frames {
            peer.reply(Status::Ok, frame.header.id, "");
        }
        peer.answer_all()
    });
    let report = publish(&gateway.address, 3, impatient(no_retry()));
    assert_eq!((ok(&report), report.resent, gateway.end()), (3, 0, 0));
}

#[test]
fn a_gateway_that_reads_slowly_is_there() {
    let gateway = fake(|listener| {
        let mut peer = accept(listener);
        // More comes than all buffers on the way take. For five times the timeout a little now and then, and not a word.
        let mut taken = vec![0; 1 << 20];
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(100));
            peer.stream.read_exact(&mut taken).unwrap();
        }
        let mut rest = Vec::new();
        peer.stream.read_to_end(&mut rest).unwrap();
        rest.len()
    });
    let mut publisher = Publisher::connect(&gateway.address, impatient(no_retry())).unwrap();
    let mut sent = 0;
    while sent < 80 && publisher.send("t", 0, &vec![0; 512 << 10]).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 80, "it is not given up as long as it takes something");
    // Nobody answers any more: that is the end.
    let report = publisher.finish();
    assert!(report.error.is_some() && gateway.end() > 0, "{report:?}");
}

#[test]
fn no_time_is_too_long() {
    let gateway = fake(|listener| accept(listener).answer_all());
    let (timeout, retry) = (Some(Duration::MAX), Some(Duration::MAX));
    let options = PublisherOptions { timeout, retry, patience: Duration::MAX, ..PublisherOptions::default() };
    let mut publisher = Publisher::connect(&gateway.address, options).unwrap();
    publisher.send("t", 0, b"x").unwrap();
    publisher.interrupter().interrupt(Duration::MAX);
    assert_eq!((ok(&publisher.finish()), gateway.end()), (1, 1));
}
