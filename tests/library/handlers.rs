//! Handlers that are programs, over real pipes: what they answer, how they fail, what is left of them.

use crate::support;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use framegate::core::call_queue::Overflow;
use framegate::gateway::Config;
use framegate::gateway::control::Setting;
use framegate::gateway::snapshot::{CallsUse, Snapshot};
use framegate::wire::{Header, Kind, Status};
use support::{Client, PATIENCE, Running, data, payload, silent, start};

const MIB: usize = 1 << 20;

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| word.to_string()).collect()
}

/// A gateway whose handlers are `sh` with this script.
fn shell(script: &str) -> Config {
    Config { handler: words(&["sh", "-c", script]), ..Config::default() }
}

/// `cat` answers every frame with the same one in its place.
fn cat() -> Config {
    Config { handler: words(&["cat"]), ..Config::default() }
}

/// Handlers whose pipes take calls at once, and that answer them as `cat` does from [`Gate::open`] on.
struct Gate {
    folder: tempfile::TempDir,
    /// Open in both directions: so nobody waits for an other end, and none comes to its end.
    pipe: std::fs::File,
}

impl Gate {
    fn new() -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("mkfifo").arg(folder.path().join("gate")).status().expect("mkfifo runs");
        assert!(made.success());
        let pipe =
            std::fs::OpenOptions::new().read(true).write(true).open(folder.path().join("gate")).unwrap();
        Gate { folder, pipe }
    }

    fn config(&self) -> Config {
        shell(&self.script())
    }

    /// Each takes a line of its own, and waits until there is one.
    fn script(&self) -> String {
        format!("read line < '{}'; exec cat", self.folder.path().join("gate").display())
    }

    fn open(&self) {
        (&self.pipe).write_all(&b"go\n".repeat(16)).unwrap();
    }
}

/// The frame that shows that a handler works, before its script goes on.
const PROOF: &[u8] = b"proof!";
const PROOF_TOPIC: &str = "a.b";
const PROOF_LEN: usize = 32 + PROOF_TOPIC.len() + PROOF.len() + 32;

/// A gateway whose first handler answers one frame before it does what the script says, and whose others do not.
fn proven(folder: &Path, script: &str) -> Config {
    let works = folder.join("works").display().to_string();
    shell(&format!("[ -e '{works}' ] || {{ head -c {PROOF_LEN} > '{works}'; cat '{works}'; }}; {script}"))
}

fn prove(gateway: &Running) {
    assert_eq!(gateway.connect().publish(PROOF_TOPIC, PROOF).0, Status::Ok);
}

/// Why handlers do not start.
fn trouble(calls: &CallsUse) -> Option<&str> {
    calls.handlers.iter().find_map(|handler| handler.trouble.as_deref())
}

fn calls(gateway: &Running) -> CallsUse {
    gateway.control().describe(false).expect("it answers").calls.expect("it has handlers")
}

/// Waits until the calls are as they should be.
fn until(gateway: &Running, done: impl Fn(&CallsUse) -> bool) -> CallsUse {
    let began = Instant::now();
    loop {
        let calls = calls(gateway);
        if done(&calls) {
            return calls;
        }
        assert!(began.elapsed() < PATIENCE, "it does not come to that: {calls:?}");
        std::thread::yield_now();
    }
}

fn is_alive(pid: u32) -> bool {
    // A process that has ended and is not reaped is there too.
    Path::new(&format!("/proc/{pid}")).exists()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs").success());
}

fn pids(calls: &CallsUse) -> Vec<u32> {
    calls.handlers.iter().filter_map(|handler| handler.pid).collect()
}

fn reply(client: &mut Client) -> (u64, Status, String) {
    let got = client.next();
    (got.header.id, got.status().expect("a reply"), String::from_utf8_lossy(&got.payload).into_owned())
}

#[test]
fn every_size_goes_through_a_handler_and_keeps_its_place() {
    const PUBLISHERS: usize = 3;
    const SIZES: [usize; 9] = [0, 1, 4_000, 16_000, 17_000, 65_000, 262_000, 263_000, 3 * MIB];
    let gateway = start(Config { handlers: 3, ..cat() });
    let mut subscriber = gateway.subscriber(">");
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut client = gateway.connect();
            scope.spawn(move || {
                for round in 0..SIZES.len() * 3 {
                    let header = Header { key: publisher as u64, ..data(round as u64) };
                    client.send(header, b"a", &payload(SIZES[round % SIZES.len()], round));
                }
                client.end();
                let mut ids: Vec<u64> = client.rest().iter().map(|got| got.header.id).collect();
                ids.sort_unstable();
                assert!(ids.into_iter().eq(0..3 * SIZES.len() as u64), "each is answered once");
            });
        }
        let mut next = [0; PUBLISHERS];
        for _ in 0..PUBLISHERS * SIZES.len() * 3 {
            let got = subscriber.next();
            let (publisher, round) = (got.header.key as usize, got.header.id as usize);
            assert_eq!(round, next[publisher], "in the order in which it was sent");
            next[publisher] += 1;
            assert!(got.payload == payload(SIZES[round % SIZES.len()], round), "byte for byte");
        }
    });
    let ledger = gateway.stop();
    assert_eq!((ledger.calls.answered, ledger.calls.replaced), (81, 81), "{ledger}");
}

#[test]
fn digests_are_those_of_the_listener_whatever_the_handler_knows() {
    let scheme = framegate::wire::Scheme::keyed(b"secret");
    let gateway = start(Config { scheme, ..cat() });
    let mut subscriber = gateway.subscriber(">");
    for len in [10, 500_000] {
        assert_eq!(gateway.connect().publish("a", &payload(len, 1)).0, Status::Ok);
        assert!(subscriber.next().payload == payload(len, 1));
    }
    gateway.stop();
}

#[test]
fn a_handler_that_fails_is_replaced_and_its_frame_refused_after_the_second() {
    for (script, part) in [
        ("exit 3", "exited with status 3"),
        ("head -c 32 > /dev/null; exit 4", "exited with status 4"),
        ("exec >&-; sleep 1000", "closed its pipe"),
        ("head -c 32 > /dev/null; echo rubbish; cat > /dev/null", "what is no answer"),
        ("head -c 32 > /dev/null; kill -9 $$", "killed by signal 9"),
        ("sleep 1000", "gave no answer for 200ms"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let timeout = Duration::from_millis(200);
        let gateway = start(Config { handler_timeout: timeout, ..proven(folder.path(), script) });
        prove(&gateway);
        let (status, reason) = gateway.connect().publish("a.b", b"poison");
        assert_eq!(status, Status::Rejected, "{script}: {reason}");
        assert!(
            reason.contains("two handlers failed with it") && reason.contains(part),
            "{script}: {reason}"
        );
        let ledger = gateway.stop();
        assert_eq!((ledger.calls.tried_again, ledger.calls.failed), (1, 1), "{script}: {ledger}");
    }
}

#[test]
fn what_a_handler_must_not_write_is_found() {
    // A PING, a REPLY that nobody waits for, one with a status that is no answer, and a wrong digest: each
    // as a file, written when a call comes.
    let folder = tempfile::tempdir().unwrap();
    let frame = |header: Header| {
        let mut bytes = Vec::new();
        framegate::wire::encode(header, b"", b"", &framegate::wire::Scheme::Sha256, &mut bytes);
        bytes
    };
    let mut wrong = frame(Header { id: 1, ..Header::new(Kind::Reply) });
    *wrong.last_mut().unwrap() ^= 1;
    let closing = Header { id: 1, status: Status::Closing as u16, ..Header::new(Kind::Reply) };
    for (name, bytes, part) in [
        ("ping", frame(Header::new(Kind::Ping)), "wrote a Ping"),
        ("unknown", frame(Header { id: 99, ..Header::new(Kind::Reply) }), "a call 99 that it does not have"),
        ("status", frame(closing), "with the status 19"),
        ("digest", wrong, "a wrong digest"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let script = format!("head -c 32 > /dev/null; cat '{}'; cat > /dev/null", path.display());
        let works = tempfile::tempdir().unwrap();
        let gateway = start(proven(works.path(), &script));
        prove(&gateway);
        let (status, reason) = gateway.connect().publish("a", b"x");
        assert_eq!(status, Status::Rejected);
        assert!(reason.contains(part), "{name}: {reason}");
        gateway.stop();
    }
}

#[test]
fn an_innocent_frame_survives_the_death_of_its_handler() {
    let (gate, folder) = (Gate::new(), tempfile::tempdir().unwrap());
    let gateway = start(proven(folder.path(), &gate.script()));
    prove(&gateway);
    let mut client = gateway.connect();
    let mut subscriber = gateway.subscriber(">");
    for id in 0..50 {
        client.send(data(id), b"a", &payload(1000, id as usize));
    }
    let before = until(&gateway, |calls| calls.in_flight.now == 50);
    kill(pids(&before)[0]);
    let after = until(&gateway, |calls| pids(calls).len() == 1 && pids(calls) != pids(&before));
    assert_eq!((after.handlers[0].failed, after.handlers[0].restarts), (1, 1));
    gate.open();
    for id in 0..50 {
        assert_eq!(subscriber.next().header.id, id, "in order, each tried alone");
    }
    let mut told: Vec<_> = (0..50).map(|_| reply(&mut client)).collect();
    told.sort();
    assert!(told.iter().enumerate().all(|(at, (id, status, _))| (at as u64, Status::Ok) == (*id, *status)));
    let ledger = gateway.stop();
    assert_eq!((ledger.calls.tried_again, ledger.calls.failed), (50, 0), "{ledger}");
}

#[test]
fn beyond_the_queue_exactly_those_are_told_busy() {
    let gate = Gate::new();
    let config = Config { max_in_flight: 5, max_queued: 7, overflow: Overflow::Reject, ..gate.config() };
    let gateway = start(config);
    until(&gateway, |calls| pids(calls).len() == 1);
    let mut client = gateway.connect();
    let burst: Vec<u8> = (0..50).flat_map(|id| client.frame(data(id), b"a", b"x")).collect();
    client.write(&burst);
    let busy: Vec<_> = (0..38).map(|_| reply(&mut client)).collect();
    assert!(busy.iter().map(|(id, ..)| *id).eq(12..50), "the first twelve are taken: {busy:?}");
    assert!(busy.iter().all(|(_, status, reason)| *status == Status::Busy && reason.contains("again")));
    // One that could not be told waits, and its connection with it.
    client.send(silent(50), b"a", b"silent");
    until(&gateway, |calls| (calls.in_flight.now, calls.queued.now) == (5, 7));
    gate.open();
    let mut done: Vec<_> = (0..12).map(|_| reply(&mut client)).map(|(id, status, _)| (id, status)).collect();
    done.sort();
    assert!(done.into_iter().eq((0..12).map(|id| (id, Status::Ok))));
    client.end();
    assert!(client.rest().is_empty());
    let ledger = gateway.stop();
    assert_eq!((ledger.read, ledger.delivered, ledger.rejected.of(Status::Busy)), (51, 13, 38), "{ledger}");
}

#[test]
fn a_publisher_that_sends_again_gets_everything_done() {
    use framegate::client::{Publisher, PublisherOptions};
    let gateway = start(Config { max_in_flight: 3, max_queued: 4, overflow: Overflow::Reject, ..cat() });
    let mut publisher =
        Publisher::connect(&gateway.address.to_string(), PublisherOptions::default()).unwrap();
    for number in 0..1000 {
        publisher.send("a", 0, &payload(100, number)).unwrap();
    }
    let report = publisher.finish();
    assert!(report.is_complete() && report.answers.count(Status::Ok) == 1000, "{report:?}");
    assert!(report.resent > 0, "some were told BUSY: {report:?}");
    gateway.stop();
}

#[test]
fn limits_change_in_the_middle_of_a_burst() {
    let gate = Gate::new();
    let gateway = start(Config { handlers: 2, max_queued: 500, ..gate.config() });
    let control = gateway.control().clone();
    let mut subscriber = gateway.subscriber(">");
    let mut client = gateway.connect();
    let frames = 2000;
    let burst: Vec<u8> =
        (0..frames).flat_map(|id| client.frame(data(id), b"a", &payload(200, id as usize))).collect();
    let mut writer = client.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&burst).unwrap());
    until(&gateway, |calls| (calls.in_flight.now, calls.queued.now) == (100, 500));
    // Down: what is there stays; up: at once.
    control.set(Setting::MaxInFlight(10)).unwrap().unwrap();
    assert_eq!(calls(&gateway).in_flight.now, 100);
    control.set(Setting::MaxInFlight(200)).unwrap().unwrap();
    until(&gateway, |calls| calls.in_flight.now == 200);
    control.set(Setting::Handlers(4)).unwrap().unwrap();
    until(&gateway, |calls| pids(calls).len() == 4);

    // A pause finishes what is with the handlers, and gives them nothing more.
    let asked = Instant::now();
    // What was read a moment ago may still be with a worker.
    while control.pause(Duration::ZERO).unwrap().in_flight != 200 {
        assert!(asked.elapsed() < PATIENCE, "more than the handlers have stays in flight");
        std::thread::yield_now();
    }
    gate.open();
    let pausing = std::thread::spawn(move || control.pause(PATIENCE).unwrap());
    let reader = std::thread::spawn(move || {
        let ids: Vec<u64> = (0..frames).map(|_| subscriber.next().header.id).collect();
        assert!(ids.into_iter().eq(0..frames), "in order, each once");
    });
    let mut told: Vec<u64> = (0..200).map(|_| reply(&mut client).0).collect();
    let paused = pausing.join().unwrap();
    assert!(paused.quiet && paused.in_flight == 0, "{paused:?}");
    let held = calls(&gateway);
    assert_eq!((held.in_flight.now, held.queued.now), (0, 500), "{held:?}");
    gateway.control().set(Setting::MaxInFlight(10)).unwrap().unwrap();
    assert!(gateway.control().resume().unwrap());
    told.extend((200..frames).map(|_| reply(&mut client).0));
    told.sort_unstable();
    assert!(told.into_iter().eq(0..frames), "each is answered once");
    writing.join().unwrap();
    reader.join().unwrap();
    gateway.control().set(Setting::Handlers(1)).unwrap().unwrap();
    until(&gateway, |calls| calls.handlers.len() == 1);
    gateway.stop();
}

#[test]
fn draining_waits_for_the_handlers_and_leaves_nobody_behind() {
    let gate = Gate::new();
    let gateway = start(Config { handlers: 1, drain: PATIENCE, ..gate.config() });
    let mut subscriber = gateway.subscriber(">");
    let mut client = gateway.connect();
    for id in 0..300 {
        client.send(data(id), b"a", b"x");
    }
    let all = until(&gateway, |calls| calls.in_flight.now == 100 && calls.queued.now == 200);
    gateway.begin_drain();
    gate.open();
    let told = client.rest();
    assert_eq!(told.iter().filter(|got| got.status() == Some(Status::Ok)).count(), 300);
    assert_eq!(subscriber.rest().iter().filter(|got| got.header.kind == Kind::Data).count(), 300);
    let ledger = gateway.stop();
    assert_eq!((ledger.delivered, ledger.undelivered), (300, 0), "{ledger}");
    assert!(!pids(&all).into_iter().any(is_alive), "a handler is left behind");
}

#[test]
fn who_was_reset_with_calls_in_line_is_not_asked_for_when_a_drain_runs_out() {
    let gate = Gate::new();
    let drain = Duration::from_millis(200);
    let gateway = start(Config { max_in_flight: 2, max_queued: 3, drain, ..gate.config() });
    until(&gateway, |calls| pids(calls).len() == 1);
    // Most have one call, which is let in when another leaves; some have more than that.
    let mut clients: Vec<Client> = (0..200).map(|_| gateway.connect()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        let frames = if at % 10 == 0 { 20 } else { 1 };
        let burst: Vec<u8> = (0..frames).flat_map(|id| client.frame(silent(id), b"a", b"x")).collect();
        client.write(&burst);
    }
    let until = |done: &dyn Fn(&Snapshot) -> bool| {
        let began = Instant::now();
        while !done(&gateway.control().describe(false).expect("it answers")) {
            assert!(began.elapsed() < PATIENCE, "it does not come to that");
            std::thread::yield_now();
        }
    };
    until(&|now| now.ledger.read == 180 + 20 * 20);
    clients.into_iter().for_each(|client| support::reset(client.socket));
    until(&|now| now.ledger.connections.closed == 200);
    let ledger = gateway.stop();
    assert_eq!((ledger.unanswered, ledger.undelivered), (580, 580), "{ledger}");
}

#[test]
fn a_handler_that_does_not_end_is_killed_with_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("child");
    // It hears of no end: its child holds its pipes.
    let script = format!("trap '' TERM; sleep 1000 & echo $! > '{}'; exec sleep 1001", path.display());
    let gateway = start(Config { drain: Duration::from_millis(300), ..shell(&script) });
    let all = until(&gateway, |calls| pids(calls).len() == 1);
    let began = Instant::now();
    let child = loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        match text.trim().parse() {
            Ok(pid) => break pid,
            Err(_) => assert!(began.elapsed() < PATIENCE, "it does not start"),
        }
    };
    assert!(is_alive(child));
    gateway.stop();
    assert!(!pids(&all).into_iter().any(is_alive));
    // Whoever reaps orphans may need a moment to do it; what is dead is a zombie until then.
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    while !gone() {
        assert!(began.elapsed() < PATIENCE, "its child is left behind");
        std::thread::yield_now();
    }
}

#[test]
fn a_handler_that_does_not_start_is_said_and_frames_wait_for_it() {
    for (script, parts) in [
        ("echo 'no module named x' >&2; exit 1", &["exited with status 1", "logged: no module named x"][..]),
        ("sleep 1000", &["gave no answer for 200ms"]),
        ("exec >&-; sleep 1000", &["closed its pipe"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mended = folder.path().join("mended");
        let script = format!("[ -e '{}' ] && exec cat; {script}", mended.display());
        let gateway =
            start(Config { handlers: 2, handler_timeout: Duration::from_millis(200), ..shell(&script) });
        let mut subscriber = gateway.subscriber(">");
        let mut client = gateway.connect();
        for id in 0..50 {
            client.send(data(id), b"a", b"x");
            client.send(silent(50 + id), b"a", b"y");
        }
        // All of them have failed, some more than once.
        let calls = until(&gateway, |calls| calls.handlers.iter().all(|handler| handler.failed >= 2));
        let said = trouble(&calls).expect("it is said");
        assert!(said.contains("no handler has answered anything yet"), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        std::fs::write(mended, b"").unwrap();
        for at in 0..50 {
            assert_eq!([subscriber.next().header.id, subscriber.next().header.id], [at, 50 + at], "in order");
        }
        client.end();
        assert!(client.rest().iter().all(|got| got.status() == Some(Status::Ok)));
        until(&gateway, |calls| trouble(calls).is_none());
        let ledger = gateway.stop();
        assert_eq!((ledger.delivered, ledger.calls.failed, ledger.rejected.total()), (100, 0, 0), "{ledger}");
    }
}

#[test]
fn a_frame_that_kills_a_handler_first_of_all_is_found_once_another_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    // One frame at a time; those of this test are all as long.
    let script = format!(
        "frame='{}'/$$; while head -c {PROOF_LEN} > $frame && [ -s $frame ]; do \
         grep -q poison $frame && exit 9; cat $frame; done",
        folder.path().display()
    );
    let gateway = start(shell(&script));
    let mut poisoner = gateway.connect();
    poisoner.send(data(1), PROOF_TOPIC.as_bytes(), b"poison");
    until(&gateway, |calls| trouble(calls).is_some_and(|said| said.contains("exited with status 9")));
    assert_eq!(gateway.connect().publish(PROOF_TOPIC, b"health").0, Status::Ok);
    let (id, status, reason) = reply(&mut poisoner);
    assert_eq!((id, status), (1, Status::Rejected));
    assert!(reason.contains("two handlers failed with it"), "{reason}");
    gateway.stop();
}

/// One that was there at the start and is not any more.
#[test]
fn a_program_that_goes_away_is_said_and_frames_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("handler");
    let make = || std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
    make();
    let config = Config { handler: vec![program.display().to_string()], ..Config::default() };
    let gateway = start(config);
    let mut client = gateway.connect();
    assert_eq!(client.publish("a", b"before").0, Status::Ok);
    std::fs::remove_file(&program).unwrap();
    let pid = until(&gateway, |calls| calls.handlers[0].pid.is_some()).handlers[0].pid.unwrap();
    assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    let calls = until(&gateway, |calls| trouble(calls).is_some());
    let said = trouble(&calls).unwrap();
    assert!(said.starts_with("it cannot be started: No such file"), "{said}");
    client.send(data(2), b"a", b"meanwhile");
    make();
    assert_eq!(reply(&mut client).1, Status::Ok);
    until(&gateway, |calls| trouble(calls).is_none());
    gateway.stop();
}

#[test]
fn frames_that_kill_every_handler_first_of_all_are_found_too() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "frame='{}'/$$; while head -c {PROOF_LEN} > $frame && [ -s $frame ]; do \
         grep -q poison $frame && exit 9; cat $frame; done",
        folder.path().display()
    );
    // One in every place where a frame can be before a handler has answered anything, and some more.
    let gateway = start(Config { handlers: 2, max_in_flight: 4, ..shell(&script) });
    let mut poisoner = gateway.connect();
    for id in 1..=6 {
        poisoner.send(data(id), PROOF_TOPIC.as_bytes(), b"poison");
    }
    until(&gateway, |calls| calls.handlers.iter().any(|handler| handler.failed >= 1));
    let mut other = gateway.connect();
    other.send(data(7), PROOF_TOPIC.as_bytes(), b"health");
    let mut told = Vec::new();
    for _ in 1..=6 {
        let (id, status, reason) = reply(&mut poisoner);
        assert!(reason.contains("two handlers failed with it; the second "), "{reason}");
        assert_eq!(status, Status::Rejected);
        told.push(id);
    }
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3, 4, 5, 6]);
    assert_eq!(reply(&mut other).1, Status::Ok);
    let calls = until(&gateway, |calls| trouble(calls).is_none());
    assert!(calls.handlers.iter().map(|handler| handler.failed).sum::<u64>() > 6, "{calls:?}");
    let ledger = gateway.stop();
    assert_eq!((ledger.calls.failed, ledger.delivered, ledger.rejected.total()), (6, 1, 6), "{ledger}");
}

#[test]
fn a_program_that_is_not_there_is_said() {
    let config = Config { handler: words(&["/nowhere/at/all"]), ..Config::default() };
    let gateway = framegate::gateway::Gateway::bind(([127, 0, 0, 1], 0).into(), 1, config).unwrap();
    let error = gateway.run().unwrap_err();
    assert!(error.to_string().contains("cannot start the handler /nowhere/at/all"), "{error}");
}

/// Many who send more than the handlers do, and one who sends a frame: it goes in its turn, and not after all that the
/// others had sent before it.
#[test]
fn who_sends_little_does_not_wait_for_all_that_others_send() {
    const FLOODS: u64 = 20;
    const FRAMES: u64 = 2_000;
    let gate = Gate::new();
    let gateway = start(Config { handlers: 1, max_in_flight: 10, max_queued: 100, ..gate.config() });
    let mut subscriber = gateway.subscriber(">");
    let encoder = gateway.connect();
    // More than one read takes, or a flood that is all there would be read to its end and wait for nothing.
    let frames: Vec<u8> = (0..FRAMES).flat_map(|id| encoder.frame(silent(id), b"flood", &[0; 400])).collect();
    let floods: Vec<_> = (0..FLOODS)
        .map(|_| {
            let (client, frames) = (gateway.connect(), frames.clone());
            std::thread::spawn(move || (&*client.socket).write_all(&frames).expect("all of it is read"))
        })
        .collect();
    // How many were read, and how many wait to be.
    let look = || {
        let described = gateway.control().describe(false).expect("it answers");
        (described.ledger.read, described.paused.iter().map(|by| by.now).sum::<u64>())
    };
    let until = |what: &str, is_so: &dyn Fn((u64, u64)) -> bool| {
        let began = Instant::now();
        while !is_so(look()) {
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}", look());
            std::thread::yield_now();
        }
    };
    until("the floods stand still", &|(_, paused)| paused == FLOODS);
    let mut client = gateway.connect();
    let (read, _) = look();
    client.send(data(1), b"one", b"");
    until("it is seen", &|(now, paused)| now > read || paused > FLOODS);
    gate.open();
    assert_eq!(client.next().status(), Some(Status::Ok));
    let before = (0..).find(|_| subscriber.next().topic == "one").expect("it comes");
    assert!(before < 1_000, "{before} frames came before it");
    for flood in floods {
        flood.join().unwrap();
    }
    gateway.stop();
}
