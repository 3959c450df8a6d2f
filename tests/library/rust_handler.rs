//! Handlers in Rust: what they keep waiting, how long, and what is left of a panic.

use crate::support;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use framegate::gateway::Config;
use framegate::gateway::Gateway;
use framegate::gateway::ledger::Ledger;
use framegate::gateway::snapshot::CallsUse;
use framegate::runtime::handler::{Answer, Call};
use framegate::sinks::{Condition, Outcome, Put, Sink};
use framegate::wire::{Header, Kind, Status};
use support::{PATIENCE, Running, data, silent, start_with};

/// Topics of calls that take until they are let go, and of those that panic.
const SLOW: &str = "slow";
const PANICS: &str = "panics";

/// A gateway whose handler lets everything pass, in its time.
fn gateway(config: Config) -> (Running, Sender<()>) {
    let (let_go, go) = channel();
    let go = parking_lot::Mutex::new(go);
    let handler = move |call: &Call<'_>| match call.topic {
        SLOW => {
            // An end lets it go, too.
            let _: Result<(), _> = go.lock().recv();
            Answer::Pass(b"late".to_vec())
        }
        PANICS => panic!("as it was told to"),
        _ => Answer::Pass(Vec::new()),
    };
    (start_with(config, |gateway| gateway.with_handler(handler).expect("it can work")), let_go)
}

fn calls(gateway: &Running) -> CallsUse {
    gateway.control().describe(false).expect("it answers").calls.expect("it has a handler")
}

fn ledger(gateway: &Running) -> Ledger {
    gateway.control().describe(false).expect("it answers").ledger
}

fn until(gateway: &Running, done: impl Fn(&CallsUse) -> bool) {
    let began = Instant::now();
    while !done(&calls(gateway)) {
        assert!(began.elapsed() < PATIENCE, "it does not come to that: {:?}", calls(gateway));
        std::thread::yield_now();
    }
}

#[test]
fn a_call_that_takes_too_long_is_refused_and_its_thread_is_counted_until_it_returns() {
    const FRAMES: u64 = 500;
    let (gateway, let_go) =
        gateway(Config { handler_timeout: Duration::from_millis(200), ..Config::default() });
    let mut subscriber = gateway.subscriber(">");
    let mut client = gateway.connect();
    let mut frames = client.frame(data(0), SLOW.as_bytes(), b"");
    (1..=FRAMES).for_each(|id| frames.extend(client.frame(data(id), b"a", b"x")));
    client.write(&frames);
    let told: Vec<_> = (0..=FRAMES).map(|_| client.next()).collect();
    let refused = told.iter().find(|got| got.header.id == 0).expect("each is answered");
    assert_eq!(refused.status(), Some(Status::Rejected));
    let reason = String::from_utf8_lossy(&refused.payload);
    assert_eq!(reason, "the handler gave no answer for 200ms");
    for id in 1..=FRAMES {
        assert_eq!(subscriber.next().header.id, id, "what is behind it goes on, in order");
    }
    assert_eq!(calls(&gateway).in_flight.now, 1, "its thread is with it still");
    let_go.send(()).unwrap();
    until(&gateway, |calls| calls.in_flight.now == 0);
    assert_eq!(client.publish("a", b"after").0, Status::Ok);
    let ledger = gateway.stop();
    assert_eq!((ledger.delivered, ledger.rejected.of(Status::Rejected)), (FRAMES + 1, 1), "{ledger}");
    assert_eq!(
        (ledger.calls.failed, ledger.calls.answered),
        (1, FRAMES + 1),
        "a late answer is none: {ledger}"
    );
}

#[test]
fn a_thread_that_never_returns_does_not_keep_the_gateway_from_ending() {
    let drain = Duration::from_millis(100);
    let (gateway, let_go) = gateway(Config { drain, ..Config::default() });
    let mut client = gateway.connect();
    client.send(silent(0), SLOW.as_bytes(), b"");
    until(&gateway, |calls| calls.in_flight.now == 1);
    let ledger = gateway.stop();
    assert_eq!(ledger.undelivered, 1, "{ledger}");
    drop(let_go);
}

#[test]
fn a_panic_refuses_its_frame_where_panics_unwind() {
    let (gateway, _let_go) = gateway(Config::default());
    let mut client = gateway.connect();
    assert_eq!(client.publish(PANICS, b""), (Status::Rejected, "the handler panicked".into()));
    assert_eq!(client.publish("a", b"").0, Status::Ok);
    gateway.stop();
}

#[test]
fn what_overtakes_a_slow_call_and_must_wait_is_bounded_and_comes_in_order() {
    const PAIRS: u64 = 5_000;
    let (gateway, let_go) =
        gateway(Config { handler_timeout: Duration::from_secs(600), ..Config::default() });
    let mut client = gateway.connect();
    let mut frames = client.frame(data(0), SLOW.as_bytes(), b"");
    for id in 1..=PAIRS {
        frames.extend(client.frame(Header { id, ..Header::new(Kind::Ping) }, b"", b""));
        frames.extend(client.frame(silent(PAIRS + id), b"a", b"x"));
    }
    let mut socket = client.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut socket, &frames).unwrap());
    // Another connection is not kept; and in so many rounds whatever could go on has.
    let mut other = gateway.connect();
    let mut answered = 0;
    for round in 1..=300 {
        assert_eq!(other.publish("a", b"x").0, Status::Ok);
        answered = ledger(&gateway).calls.answered - round;
    }
    assert!((1..=64).contains(&answered), "{answered} calls went before the slow one");
    let_go.send(()).unwrap();
    let slow = client.next();
    assert_eq!((slow.header.id, slow.payload.as_slice()), (0, &b"late"[..]));
    for id in 1..=PAIRS {
        let got = client.next();
        assert_eq!((got.header.id, got.status()), (id, Some(Status::Ok)));
    }
    writing.join().unwrap();
    let ledger = gateway.stop();
    assert_eq!((ledger.delivered, ledger.control), (PAIRS + 301, PAIRS), "{ledger}");
}

#[test]
fn answers_that_wait_behind_a_slow_call_are_bounded_and_charged() {
    // Fewer than may wait for the handler, so that the other connection is read.
    const FRAMES: u64 = 6_000;
    let (gateway, let_go) =
        gateway(Config { handler_timeout: Duration::from_secs(600), ..Config::default() });
    let mut subscriber = gateway.subscriber("a");
    let client = gateway.connect();
    let mut frames = client.frame(silent(0), SLOW.as_bytes(), b"");
    (1..=FRAMES).for_each(|id| frames.extend(client.frame(silent(id), b"a", b"")));
    let mut socket = client.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut socket, &frames).unwrap());
    let mut other = gateway.connect();
    let mut held = 0;
    for round in 1..=300 {
        assert_eq!(other.publish("b", b"x").0, Status::Ok);
        held = ledger(&gateway).calls.answered - round;
    }
    // 1 MiB of 64 + 1 + 384 bytes each, and those that were with the workers.
    assert!((100..2_600).contains(&held), "{held} answers wait");
    let_go.send(()).unwrap();
    (1..=FRAMES).for_each(|id| assert_eq!(subscriber.next().header.id, id));
    writing.join().unwrap();
    gateway.stop();
}

/// A sink that fails with the first frame that it is handed.
struct Broken {
    wake: Arc<dyn Fn() + Send + Sync>,
    failed: bool,
}

impl Sink for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn judges_frames(&self) -> bool {
        false
    }
    fn room(&self) -> usize {
        usize::from(!self.failed)
    }
    fn put(&mut self, _: Put) {
        self.failed = true;
        (self.wake)();
    }
    fn collect(&mut self) -> Option<Outcome> {
        None
    }
    fn prepare_sleep(&mut self) -> bool {
        true
    }
    fn end_sleep(&mut self) {}
    fn condition(&self) -> Condition {
        Condition::default()
    }
    fn failure(&self) -> Option<String> {
        self.failed.then(|| "its thread panicked".into())
    }
}

#[test]
fn a_gateway_whose_thread_panicked_ends_with_that_and_does_not_stand_still() {
    let gateway = Gateway::bind(([127, 0, 0, 1], 0).into(), 1, Config::default()).unwrap();
    let gateway = gateway.with_sink(|wake| Ok::<_, ()>(Broken { wake: wake.into(), failed: false })).unwrap();
    let address = gateway.local_addr();
    let running = std::thread::spawn(move || gateway.run());
    let mut client = support::Client::connect(address, Config::default().scheme);
    client.send(data(1), b"a", b"x");
    let why = running.join().expect("no panic").expect_err("it ends with an error");
    assert_eq!(why.to_string(), "its thread panicked");
    assert!(matches!(client.try_next(), Ok(None) | Err(_)), "nothing is confirmed");
}
