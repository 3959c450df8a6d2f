//! Steering a running gateway from another thread, over real sockets and workers.

use crate::support;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use framegate::gateway::control::{Change, Setting, Unanswered};
use framegate::gateway::snapshot::{PauseCause, Phase, Survey};
use framegate::gateway::{Config, SlowPolicy};
use framegate::wire::Status;
use support::{PATIENCE, Running, data, payload, silent, start};

const MIB: usize = 1 << 20;

fn survey(gateway: &Running) -> Survey {
    gateway.control().describe(true).expect("it runs").survey.expect("it was asked for")
}

/// Looks until what is seen is as it must become.
fn eventually(gateway: &Running, mut seen: impl FnMut(&Survey) -> bool) -> Survey {
    let until = Instant::now() + PATIENCE;
    loop {
        let survey = survey(gateway);
        if seen(&survey) {
            return survey;
        }
        assert!(Instant::now() < until, "it never looks so: {survey:#?}");
    }
}

/// What is shown is what counts, where the memory leaves less than what was asked for.
#[test]
fn the_settings_are_those_in_force() {
    let gateway =
        start(Config { memory: 40 * MIB, outbox: 30 * MIB, parts_memory: 30 * MIB, ..Config::default() });
    let settings = gateway.control().describe(false).unwrap().settings;
    let of = |name| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    assert_eq!((of("outbox"), of("memory")), (Some("20MiB"), Some("40MiB")));
    assert_ne!(of("parts-memory"), Some("30MiB"));
    gateway.stop();
}

/// What a turn took until all that it read was verified, and what it took from then on, are parts of it.
#[test]
fn reading_and_writing_are_timed_apart() {
    const FRAMES: u64 = 200;
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    for id in 0..FRAMES {
        publisher.send(silent(id), b"t", &payload(2000, 1));
        subscriber.next();
    }
    let stages = gateway.control().describe(false).unwrap().stages;
    let (read, written) = (&stages.read_to_verified, &stages.verified_to_written);
    assert!(read.count() >= FRAMES - 1 && written.count() >= FRAMES - 1, "{stages:?}");
    // Each is rounded up.
    let parts = read.sum() + written.sum();
    assert!(parts <= stages.turn.sum() + 2 * (FRAMES + 1), "{parts} µs in turns of {} µs", stages.turn.sum());
    gateway.stop();
}

#[test]
fn a_pause_takes_nothing_in_and_loses_nothing() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    publisher.send(silent(0), b"t", b"before");
    assert_eq!(subscriber.next().payload, b"before");

    let paused = gateway.control().pause(PATIENCE).unwrap();
    assert_eq!((paused.quiet, paused.in_flight), (true, 0));
    let before = gateway.control().describe(false).unwrap();
    assert_eq!((before.phase, before.quiet), (Phase::Paused, true));
    for (id, len) in [(1, 10), (2, 300_000), (3, 10)] {
        publisher.send(silent(id), b"t", &payload(len, 1));
    }
    // Someone who connects meanwhile waits like everybody.
    let mut late = gateway.connect();
    late.send(data(9), b"t", b"late");
    let survey = eventually(&gateway, |survey| survey.paused.len() == 2);
    assert!(survey.paused.iter().all(|paused| paused.cause == PauseCause::Operator), "{survey:#?}");
    assert_eq!(gateway.control().describe(false).unwrap().ledger.read, before.ledger.read);
    subscriber.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(subscriber.try_next().unwrap_err().kind(), ErrorKind::WouldBlock);
    subscriber.socket.set_read_timeout(Some(PATIENCE)).unwrap();

    assert_eq!(gateway.control().resume(), Ok(true));
    assert_eq!(gateway.control().resume(), Ok(false));
    let mut ids: Vec<u64> = (0..4).map(|_| subscriber.next().header.id).collect();
    ids.retain(|id| *id != 9);
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(late.next().status(), Some(Status::Ok));
    let after = gateway.control().describe(false).unwrap();
    let operator = after.paused[PauseCause::Operator as usize];
    assert!(operator.now == 0 && operator.total >= Duration::from_millis(50), "{operator:?}");
    gateway.stop();
}

#[test]
fn a_pause_is_not_quiet_before_everything_is_written() {
    let gateway = start(Config::default());
    let mut frozen = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    let large = payload(8 * MIB, 3);
    publisher.send(data(1), b"t", &large);
    assert_eq!(publisher.next().status(), Some(Status::Ok));
    let paused = gateway.control().pause(Duration::from_millis(100)).unwrap();
    assert_eq!((paused.quiet, paused.in_flight), (false, 1), "the subscriber has not read it");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| gateway.control().pause(PATIENCE).unwrap());
        assert!(frozen.next().payload == large);
        assert!(waiting.join().unwrap().quiet);
    });
    gateway.stop();
}

#[test]
fn limits_change_while_it_runs() {
    let gateway = start(Config { payload_max: MIB, ..Config::default() });
    let set = |setting| gateway.control().set(setting).unwrap();
    let change = |name: &str, old: &str, new: &str| {
        Ok(Change { name: name.into(), old: old.into(), new: new.into(), also: None })
    };
    assert_eq!(set(Setting::Workers(4)), change("workers", "2", "4"));
    let smaller = set(Setting::Memory(32 * MIB)).unwrap();
    assert_eq!((smaller.old.as_str(), smaller.new.as_str()), ("256MiB", "32MiB"));
    let also = "outbox, which depends on it, is 16MiB instead of 32MiB, and parts-memory, which depends on it, is \
                16MiB instead of 64MiB";
    assert_eq!(smaller.also.as_deref(), Some(also));
    // What is set is what is in force, or it is refused.
    let refused = set(Setting::Outbox(1 << 30)).unwrap_err();
    assert!(refused.contains("half of memory 32MiB: set it to 16MiB or less"), "{refused}");
    assert_eq!(set(Setting::Outbox(MIB)), change("outbox", "16MiB", "1MiB"));
    assert_eq!(set(Setting::Outbox(16 * MIB)), change("outbox", "1MiB", "16MiB"));
    assert_eq!(set(Setting::Outbox(MIB)), change("outbox", "16MiB", "1MiB"));
    assert_eq!(set(Setting::Workers(1)), change("workers", "4", "1"));
    let refused = set(Setting::Memory(MIB)).unwrap_err();
    assert!(refused.contains("give --memory"), "{refused}");
    assert!(set(Setting::Outbox(0)).unwrap_err().contains("outbox 0: allowed is 1 to "));

    let snapshot = gateway.control().describe(false).unwrap();
    assert_eq!((snapshot.memory.limit_bytes, snapshot.workers.threads), (32 << 20, 1));
    for setting in [("memory", "32MiB"), ("outbox", "1MiB"), ("parts-memory", "16MiB"), ("workers", "1")] {
        assert!(snapshot.settings.contains(&(setting.0, setting.1.to_string())), "{:?}", snapshot.settings);
    }
    // All of it in force: frames of every path still come out.
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    for (id, len) in [(1, 10), (2, 200_000), (3, MIB)] {
        publisher.send(silent(id), b"t", &payload(len, 1));
        assert!(subscriber.next().payload == payload(len, 1));
    }
    gateway.stop();
}

#[test]
fn an_outbox_made_larger_lets_its_publishers_go_on() {
    let config = Config {
        outbox: MIB,
        slow: SlowPolicy::Pause,
        slow_timeout: Duration::from_secs(3600),
        ..Config::default()
    };
    let gateway = start(config);
    let mut frozen = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    publisher.socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let bytes = publisher.frame(silent(1), b"t", &payload(100_000, 1));
    // Until nothing goes out any more, with whole frames and part of one sent.
    let mut sent = 0;
    loop {
        match publisher.socket.write(&bytes[sent % bytes.len()..]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let addresses = [publisher.socket.local_addr().unwrap(), frozen.socket.local_addr().unwrap()];
    let seen = eventually(&gateway, |survey| !survey.paused.is_empty());
    let paused = &seen.paused[0];
    assert_eq!((paused.peer.address, paused.cause), (addresses[0], PauseCause::Subscriber));
    assert_eq!(
        (paused.by, seen.slow[0].peer.address, seen.slow[0].holding),
        (Some(addresses[1]), addresses[1], 1)
    );

    gateway.control().set(Setting::Outbox(100 * MIB)).unwrap().unwrap();
    publisher.socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let rest = bytes.len() - sent % bytes.len();
    publisher.write(&bytes[bytes.len() - rest..]);
    let frames = (sent + rest) / bytes.len();
    for _ in 0..frames {
        assert_eq!(frozen.next().header.id, 1);
    }
    gateway.stop();
}

#[test]
fn who_stands_out_is_found() {
    let gateway = start(Config::default());
    let mut frozen = gateway.subscriber("to.frozen");
    let mut publisher = gateway.connect();
    publisher.send(data(1), b"to.frozen", &payload(8 * MIB, 1));
    assert_eq!(publisher.next().status(), Some(Status::Ok));
    let mut forger = gateway.connect();
    let mut forged = forger.frame(data(1), b"t", b"payload");
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..3 {
        forger.write(&forged);
        assert_eq!(forger.next().status(), Some(Status::BadDigest));
    }
    let mut confused = gateway.connect();
    let confused_address = confused.socket.local_addr().unwrap();
    confused.write(b"GET / HTTP/1.1\r\n\r\n________________");
    confused.rest();
    drop(confused);

    let seen = eventually(&gateway, |survey| !survey.closed.is_empty());
    assert_eq!((seen.subscribers, seen.publishers), (1, 1), "a forger has published nothing");
    let slow = &seen.slow[0];
    assert_eq!(slow.peer.address, frozen.socket.local_addr().unwrap());
    assert!(slow.pending_bytes > 0 && slow.pending_bytes <= 8 << 20, "{slow:?}");
    assert_eq!((seen.pending_bytes, seen.pending_bytes_max), (slow.pending_bytes, slow.pending_bytes));
    let rejecting = &seen.rejected[0];
    assert_eq!(rejecting.peer.address, forger.socket.local_addr().unwrap());
    assert_eq!((rejecting.rejected, rejecting.last), (3, Status::BadDigest));
    let closed = &seen.closed[0];
    assert_eq!(closed.peer.address, confused_address);
    assert!(closed.reason.contains("HTTP"), "{}", closed.reason);

    let mut oldest = slow.oldest;
    eventually(&gateway, |survey| {
        let now = survey.slow[0].oldest;
        std::mem::replace(&mut oldest, now) < now && now > Duration::from_millis(20)
    });
    // What was written counts for the one who got it.
    frozen.next();
    eventually(&gateway, |survey| survey.slow.is_empty());
    frozen.end();
    frozen.socket.read_to_end(&mut Vec::new()).unwrap();
    let seen = eventually(&gateway, |survey| survey.closed.len() == 2);
    assert_eq!((seen.closed[0].peer.frames_written, seen.closed[0].reason.as_str()), (1, "finished"));
    gateway.stop();
}

#[test]
fn what_is_measured_agrees_with_what_was_done() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    for len in [10, 100_000, 1_000_000] {
        publisher.send(data(1), b"t", &payload(len, 1));
        assert_eq!(publisher.next().status(), Some(Status::Ok));
        subscriber.next();
    }
    let snapshot = gateway.control().describe(false).unwrap();
    let stages = &snapshot.stages;
    // The SUBSCRIBE too is a batch.
    assert!(stages.batch_frames.count() >= 4 && stages.batch_frames.sum() == 4, "{:?}", stages.batch_frames);
    assert_eq!(stages.read_to_verified.count(), stages.batch_frames.count());
    assert_eq!(stages.verified_to_written.count(), 3);
    assert!(stages.read_to_verified.sum() >= 4 && stages.verified_to_written.sum() >= 3);
    assert!(stages.turn.count() > 0 && stages.turn_longest > Duration::ZERO);
    assert!(snapshot.workers.busy > Duration::ZERO, "a worker hashed the large ones");
    let ledger = gateway.stop();
    assert_eq!(ledger.read, 4);
}

#[test]
fn a_gateway_that_has_ended_says_so() {
    let gateway = start(Config::default());
    let control = gateway.control().clone();
    gateway.stop();
    assert_eq!(control.resume(), Err(Unanswered::Gone));
    assert!(control.describe(true).is_err());
}

#[test]
fn a_pause_waits_for_quiet_however_long_it_may() {
    let gateway = start(Config::default());
    let mut subscriber = gateway.subscriber(">");
    let mut publisher = gateway.connect();
    // More than the sockets on the way to the subscriber hold.
    for _ in 0..20 {
        publisher.send(data(1), b"t", &payload(MIB, 1));
        assert_eq!(publisher.next().status(), Some(Status::Ok));
    }
    let paused = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| gateway.control().pause(Duration::MAX));
        // It answers others meanwhile.
        while gateway.control().describe(false).unwrap().phase != Phase::Paused {}
        assert!(!gateway.control().pause(Duration::ZERO).unwrap().quiet);
        (0..20).for_each(|_| drop(subscriber.next()));
        waiting.join().unwrap().unwrap()
    });
    assert!(paused.quiet, "{paused:?}");
    gateway.control().resume().unwrap();
    gateway.stop();
}

#[test]
fn settings_beyond_their_range_are_no_gateway() {
    for config in [
        Config { idle_timeout: Duration::MAX, ..Config::default() },
        Config { drain: Duration::MAX, ..Config::default() },
        Config { max_queued: usize::MAX, ..Config::default() },
    ] {
        let refused = framegate::gateway::Gateway::bind(([127, 0, 0, 1], 0).into(), 1, config).err().unwrap();
        assert!(
            refused.kind() == ErrorKind::InvalidInput && refused.to_string().contains("allowed is "),
            "{refused}"
        );
    }
}
