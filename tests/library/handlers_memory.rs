//! Handlers and little memory: whatever is left for answers, nothing that was accepted is lost or refused.

use crate::support;

use std::io::Write;
use std::time::{Duration, Instant};

use framegate::gateway::Config;
use framegate::gateway::control::Setting;
use framegate::gateway::snapshot::CallsUse;
use framegate::wire::{Header, Kind, Status};
use support::{Client, PATIENCE, Running, data, payload, silent, start};

const MIB: usize = 1 << 20;

/// `sh` with this script as the handler; one that waits for its gate is not ended for that.
fn shell(script: &str) -> Config {
    let (handler, handler_timeout) = (["sh", "-c", script].map(String::from).to_vec(), PATIENCE);
    Config { handler, handler_timeout, ..Config::default() }
}

fn calls(gateway: &Running) -> CallsUse {
    gateway.control().describe(false).expect("it answers").calls.expect("it has handlers")
}

/// Waits until the calls are as they should be.
fn until(gateway: &Running, done: impl Fn(&CallsUse) -> bool) {
    let began = Instant::now();
    loop {
        let calls = calls(gateway);
        if done(&calls) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it does not come to that: {calls:?}");
        std::thread::yield_now();
    }
}

/// Publishes so many frames of 1 MiB, as [`publish`] does.
fn publish_large(
    gateway: &Running,
    frames: u64,
    header: impl Fn(u64) -> Header,
) -> (Client, std::thread::JoinHandle<()>) {
    let encoder = gateway.connect();
    let frame = |id| encoder.frame(header(id), b"", &payload(MIB, id as usize));
    publish(gateway, (0..frames).flat_map(frame).collect())
}

/// Publishes from a thread of its own, since the gateway may stop reading.
fn publish(gateway: &Running, frames: Vec<u8>) -> (Client, std::thread::JoinHandle<()>) {
    let client = gateway.connect();
    let mut socket = client.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        socket.write_all(&frames).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
    });
    (client, writing)
}

/// Takes the frames with the ids up to `frames`, in order, once.
fn take(subscriber: &mut Client, frames: u64) {
    for id in 0..frames {
        assert_eq!(subscriber.next().header.id, id, "in order, each once");
    }
}

#[test]
fn whatever_memory_is_left_every_frame_is_answered() {
    const FRAMES: u64 = 400;
    let cat = || Config { handler: vec!["cat".into()], handlers: 2, ..Config::default() };
    for (config, memory) in [
        (Config { memory: 64 * MIB, ..cat() }, None),
        (Config { payload_max: 63 * MIB, ..cat() }, None),
        (cat(), Some(64 * MIB)),
    ] {
        let gateway = start(config);
        if let Some(memory) = memory {
            gateway.control().set(Setting::Memory(memory)).unwrap().unwrap();
        }
        let mut subscriber = gateway.subscriber(">");
        for header in [silent, data] {
            let mut client = gateway.connect();
            let frames: Vec<u8> = (0..FRAMES).flat_map(|id| client.frame(header(id), b"", b"x")).collect();
            client.write(&frames);
            client.end();
            take(&mut subscriber, FRAMES);
            let told = client.rest();
            assert!(told.iter().all(|got| got.status() == Some(Status::Ok)), "nobody is told BUSY");
            assert_eq!(told.len() as u64, if header(0).want_reply { FRAMES } else { 0 });
        }
        let ledger = gateway.stop();
        assert_eq!((ledger.delivered, ledger.rejected.total()), (2 * FRAMES, 0), "{ledger}");
        assert_eq!(ledger.calls.repeated, 0, "small answers find room: {ledger}");
    }
}

#[test]
fn settings_that_leave_no_room_for_answers_are_refused_with_the_mend() {
    let config = Config { payload_max: 16 * MIB, handlers: 2, ..shell("exec cat") };
    let wrong = Config { memory: 40 * MIB, ..config.clone() }.check().unwrap_err();
    assert!(wrong.contains("give --memory 45MiB or more"), "{wrong}");
    assert_eq!(Config { memory: 45 * MIB, ..config.clone() }.check(), Ok(()));
    let gateway = start(config);
    let wrong = gateway.control().set(Setting::Memory(40 * MIB)).unwrap().unwrap_err();
    assert!(wrong.contains("--memory 45MiB"), "{wrong}");
    gateway.control().set(Setting::Memory(45 * MIB)).unwrap().unwrap();
    // Beside what a call takes there is room for its answer: 4 KiB each.
    gateway.control().set(Setting::Memory(56 * MIB)).unwrap().unwrap();
    let wrong = gateway.control().set(Setting::MaxInFlight(4_000)).unwrap().unwrap_err();
    assert!(wrong.contains("give --memory 71MiB"), "{wrong}");
    gateway.control().set(Setting::MaxInFlight(1_500)).unwrap().unwrap();
    // Each of more frames at once may have to wait for others.
    let wrong = gateway.control().set(Setting::MaxInFlight(10_000)).unwrap().unwrap_err();
    assert!(wrong.contains("is too little for"), "{wrong}");
    gateway.stop();
}

#[test]
fn answers_that_cannot_wait_stay_with_their_handler() {
    const FRAMES: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let [first, gate] = ["first", "gate"].map(|name| folder.path().join(name).display().to_string());
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo runs").success());
    // One of the two answers nothing until the gate is open.
    let script = format!("mkdir '{first}' 2> /dev/null && read line < '{gate}'; exec cat");
    let gateway = start(Config { memory: 64 * MIB, payload_max: 4 * MIB, handlers: 2, ..shell(&script) });
    until(&gateway, |calls| calls.handlers.iter().all(|handler| handler.pid.is_some()));
    let mut subscriber = gateway.subscriber(">");
    let (_client, writing) = publish_large(&gateway, FRAMES, silent);
    // The other goes ahead as far as its answers find room.
    until(&gateway, |calls| calls.handlers.iter().any(|handler| handler.done >= 3));
    std::fs::write(&gate, "go\n").unwrap();
    take(&mut subscriber, FRAMES);
    writing.join().unwrap();
    let ledger = gateway.stop();
    assert_eq!((ledger.delivered, ledger.rejected.total()), (FRAMES, 0), "{ledger}");
    assert_eq!(ledger.calls.repeated, 0, "none is answered twice: {ledger}");
}

/// So do those to calls that began when nobody knew how long answers are.
#[test]
fn answers_that_nobody_expected_stay_with_their_handler() {
    const FRAMES: u64 = 24;
    let folder = tempfile::tempdir().unwrap();
    let [first, gate, all] =
        ["first", "gate", "all"].map(|name| folder.path().join(name).display().to_string());
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo runs").success());
    // One of the two answers nothing until the gate is open, the other once it has its half of the frames.
    let half = FRAMES as usize / 2 * (64 + MIB);
    let script = format!(
        "if mkdir '{first}' 2> /dev/null; then read line < '{gate}'; else head -c {half} > '{all}'; cat '{all}'; fi; \
         exec cat"
    );
    let gateway = start(Config { memory: 55 * MIB, payload_max: 4 * MIB, handlers: 2, ..shell(&script) });
    until(&gateway, |calls| calls.handlers.iter().all(|handler| handler.pid.is_some()));
    let mut subscriber = gateway.subscriber(">");
    let (_client, writing) = publish_large(&gateway, FRAMES, silent);
    // It answers as far as there is room.
    until(&gateway, |calls| calls.handlers.iter().any(|handler| handler.done >= 5));
    // So many turns it has for what it is not to do: none is read and thrown away.
    for _ in 0..2000 {
        assert_eq!(gateway.control().describe(false).expect("it answers").ledger.calls.repeated, 0);
    }
    std::fs::write(&gate, "go\n").unwrap();
    take(&mut subscriber, FRAMES);
    writing.join().unwrap();
    let ledger = gateway.stop();
    assert_eq!((ledger.delivered, ledger.rejected.total()), (FRAMES, 0), "{ledger}");
}

#[test]
fn answers_in_the_reverse_order_that_find_no_room_are_asked_for_again() {
    const FRAMES: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("all").display().to_string();
    let len = 64 + MIB;
    let script = format!(
        "head -c {} > '{all}'; at={FRAMES}; while [ $at -gt 0 ]; do at=$((at - 1)); \
         dd if='{all}' bs={len} skip=$at count=1 2> /dev/null; done; exec cat",
        FRAMES as usize * len
    );
    let config = Config { memory: 96 * MIB, max_in_flight: FRAMES as usize, ..shell(&script) };
    let gateway = start(config);
    let mut subscriber = gateway.subscriber(">");
    let (mut client, writing) = publish_large(&gateway, FRAMES, data);
    take(&mut subscriber, FRAMES);
    writing.join().unwrap();
    assert!(client.rest().iter().all(|got| got.status() == Some(Status::Ok)));
    let ledger = gateway.stop();
    assert_eq!((ledger.delivered, ledger.calls.answered), (FRAMES, FRAMES), "{ledger}");
    assert!((1..FRAMES).contains(&ledger.calls.repeated), "those that found no room: {ledger}");
}

#[test]
fn copies_of_a_frame_leave_the_room_for_its_answer() {
    const COPIES: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo runs").success());
    let gateway = start(Config {
        memory: 8 * MIB,
        payload_max: 64 << 10,
        dedup: Some(Duration::from_secs(3600)),
        ..shell(&format!("read line < '{gate}'; exec cat"))
    });
    let mut subscriber = gateway.subscriber(">");
    let frame = gateway.connect().frame(silent(7), b"", &payload(60_000, 1));
    let copies = gateway.connect().frame(silent(8), b"", b"x").repeat(COPIES);
    let (_client, writing) = publish(&gateway, [frame, copies].concat());
    // As many as may wait for the first do; others are in line.
    until(&gateway, |calls| calls.in_flight.now == 2 && calls.queued.now >= 5_000);
    let memory = gateway.control().describe(false).unwrap().memory;
    assert!(memory.answers_bytes <= memory.limit_bytes / 2, "{memory:?}");
    std::fs::write(&gate, "go\n").unwrap();
    assert_eq!([subscriber.next().header.id, subscriber.next().header.id], [7, 8]);
    writing.join().unwrap();
    let copies = (COPIES - 1) as u64;
    let began = Instant::now();
    while gateway.control().describe(false).unwrap().ledger.rejected.of(Status::Duplicate) < copies {
        assert!(began.elapsed() < PATIENCE, "the copies are not done");
        std::thread::yield_now();
    }
    gateway.stop();
}

#[test]
fn under_a_limit_that_was_lowered_what_waits_is_answered() {
    const FRAMES: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo runs").success());
    let gateway = start(shell(&format!("read line < '{gate}'; exec cat")));
    let mut subscriber = gateway.subscriber(">");
    let header = |id| Header { key: id, ..silent(id) };
    let (_client, writing) = publish_large(&gateway, FRAMES, header);
    until(&gateway, |calls| calls.in_flight.now == 100);
    gateway.control().set(Setting::Memory(64 * MIB)).unwrap().unwrap();
    std::fs::write(&gate, "go\n").unwrap();
    for id in 0..FRAMES {
        let got = subscriber.next();
        assert_eq!((got.header.kind, got.header.id), (Kind::Data, id));
        assert!(got.payload == payload(MIB, id as usize));
    }
    writing.join().unwrap();
    gateway.stop();
}
