//! A gateway with the sink.

use std::time::Instant;

use framegate::control::Setting;
use framegate::frame::Status;
use framegate::gate::Config;
use framegate::sinks::http::{HttpSink, Options};
use framegate::snapshot::{PauseCause, Snapshot};

use super::options;
use super::store::{Act, OK, PATIENCE, Store};
use super::support::{Running, data, silent, start_with};

fn start(config: Config, options: Options) -> Running {
    start_with(config, |gateway| gateway.with_sink(|wake| HttpSink::start(options, wake)).expect("a store"))
}

/// Looks at the gateway until it is as wanted.
fn look_until(gateway: &Running, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let began = Instant::now();
    loop {
        let snapshot = gateway.control().describe(false).expect("it runs");
        if is_so(&snapshot) {
            return snapshot;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        std::thread::yield_now();
    }
}

#[test]
fn ok_is_what_the_store_says() {
    const LONG: &str = concat!(
        "a body of more than two hundred characters, of which the reason quotes as many and not one more, so that ",
        "a publisher that keeps its replies can still find out from them what the store does not like, and yet no ",
        "store can fill anybody's memory"
    );
    let store = Store::start(usize::MAX, |record, _| match record {
        "bad" => Act::Answer(422, "", LONG),
        "busy" => Act::Answer(503, "", "later"),
        _ => OK,
    });
    let gateway = start(Config::default(), options(&store.url()));
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    assert_eq!(publisher.publish("orders.eu", b"good"), (Status::Ok, String::new()));
    let reason = format!("http: 422 Unprocessable Entity: {} (1 try)", &LONG[..200]);
    assert_eq!(publisher.publish("orders.eu", b"bad"), (Status::Rejected, reason));
    let reason = "http: 503 Service Unavailable: later (2 tries)".to_owned();
    assert_eq!(publisher.publish("orders.eu", b"busy"), (Status::Rejected, reason));
    // What is not distributed is not stored either.
    assert_eq!(publisher.publish("a b", b"no topic").0, Status::Rejected);
    // One that asks for nothing is stored as well.
    publisher.send(silent(9), b"orders.us", b"silent");
    store.wait_for(5);
    let seen = store.log().seen["silent"][0].fields.clone();
    assert_eq!((seen["framegate-topic"].as_str(), seen["framegate-id"].as_str()), ("orders.us", "9"));
    // Whoever subscribes does not wait for the store.
    for payload in ["good", "bad", "busy", "silent"] {
        assert_eq!(subscriber.next().payload, payload.as_bytes());
    }
    drop((publisher, subscriber));
    let ledger = gateway.stop();
    assert_eq!((ledger.sunk.put, ledger.sunk.confirmed, ledger.sunk.refused), (4, 2, 2));
}

#[test]
fn publishers_wait_for_the_store() {
    const FRAMES: usize = 30_000;
    // Long ones, so that few of them are read ahead.
    const LEN: usize = 500;
    let store = Store::start(usize::MAX, |_, _| Act::Held);
    let gateway = start(Config::default(), options(&store.url()));
    let mut publisher = gateway.connect();
    let mut bytes = Vec::new();
    for n in 0..FRAMES {
        bytes.extend(publisher.frame(silent(n as u64), b"a", format!("{n:LEN$}").as_bytes()));
    }
    let mut socket = publisher.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut socket, &bytes));
    let by_sinks = PauseCause::ALL.iter().position(|cause| *cause == PauseCause::Sinks).unwrap();
    let snapshot = look_until(&gateway, "a pause", |snapshot| snapshot.paused[by_sinks].now > 0);
    store.wait_for(100);
    assert_eq!(store.log().busy_max, 100);
    // It has what the queue takes, and the rest of what it had read already.
    let put = snapshot.ledger.sunk.put;
    assert!((10_000..15_000).contains(&put), "{put}");
    let sink = &snapshot.sinks.as_ref().unwrap().each[0];
    assert_eq!((sink.name, sink.lag), ("http", put));
    assert!(snapshot.memory.used_bytes < snapshot.memory.limit_bytes / 2);

    gateway.control().set(Setting::HttpMaxInFlight(150)).unwrap().unwrap();
    store.wait_for(150);
    store.release();
    writing.join().unwrap().unwrap();
    publisher.end();
    assert!(publisher.rest().is_empty());
    let ledger = gateway.stop();
    assert_eq!((ledger.sunk.confirmed, ledger.sunk.refused), (FRAMES as u64, 0));
    let log = store.log();
    assert_eq!((log.requests, log.seen.len()), (FRAMES, FRAMES));
    assert!(log.busy_max <= 150);
}

#[test]
fn draining_waits_for_the_store() {
    let store = Store::start(usize::MAX, |_, _| Act::Held);
    let gateway = start(Config::default(), options(&store.url()));
    let mut publisher = gateway.connect();
    publisher.send(data(1), b"a", b"one");
    store.wait_for(1);
    gateway.begin_drain();
    store.release();
    let told: Vec<_> = publisher.rest().iter().map(|frame| (frame.header.id, frame.status())).collect();
    assert_eq!(told[0], (1, Some(Status::Ok)));
    let ledger = gateway.stop();
    assert_eq!(ledger.sunk.confirmed, 1);
}
