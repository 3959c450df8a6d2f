//! A gateway with the sink.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use framegate::gateway::Config;
use framegate::gateway::control::Setting;
use framegate::gateway::snapshot::{PauseCause, Snapshot};
use framegate::http::dispatch;
use framegate::runtime::handler::{Answer, Call};
use framegate::sinks::http::{HttpSink, Options};
use framegate::wire::{Header, Kind, Status};

use super::options;
use super::store::{Act, OK, PATIENCE, Store};
use super::support::{Client, Running, data, look_until, silent, start_with};

fn start(config: Config, options: Options) -> Running {
    start_with(config, |gateway| gateway.with_sink(|wake| HttpSink::start(options, wake)).expect("a store"))
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
    assert_eq!((ledger.to_sinks.put, ledger.to_sinks.confirmed, ledger.to_sinks.refused), (4, 2, 2));
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
    let put = snapshot.ledger.to_sinks.put;
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
    assert_eq!((ledger.to_sinks.confirmed, ledger.to_sinks.refused), (FRAMES as u64, 0));
    let log = store.log();
    assert_eq!((log.requests, log.seen.len()), (FRAMES, FRAMES));
    assert!(log.busy_max <= 150);
}

#[test]
fn a_copy_is_told_what_becomes_of_the_first_with_a_handler() {
    // A store that takes the frame in the end, and one that never does.
    for (act, timeout, first, copy) in [
        (Act::Held, PATIENCE, Status::Ok, Status::Duplicate),
        (Act::Hang, Duration::from_millis(500), Status::Rejected, Status::Rejected),
    ] {
        let store = Store::start(usize::MAX, move |_, _| act);
        let carried = dispatch::Options { timeout, retries: 0, ..options(&store.url()).carried };
        let options = Options { carried, ..options(&store.url()) };
        let gateway = start_with(Config { dedup: Some(PATIENCE), ..Config::default() }, |gateway| {
            let handled = gateway.with_handler(|_: &Call<'_>| Answer::Pass(Vec::new())).unwrap();
            handled.with_sink(|wake| HttpSink::start(options, wake)).expect("a store")
        });
        let mut publishers = [gateway.connect(), gateway.connect()];
        publishers[0].send(data(1), b"a", b"x");
        store.wait_for(1);
        // The copy's own turn is over before it is answered: it holds up nobody.
        publishers[1].send(data(1), b"a", b"x");
        publishers[1].send(Header { id: 2, ..Header::new(Kind::Ping) }, b"", b"");
        let pong = publishers[1].next();
        assert_eq!((pong.header.id, pong.status()), (2, Some(Status::Ok)));
        store.release();
        let told = publishers.each_mut().map(|publisher| publisher.next().status());
        assert_eq!(told, [Some(first), Some(copy)]);
        // What was refused is not taken for done.
        publishers[0].send(data(1), b"a", b"x");
        assert_eq!(publishers[0].next().status(), Some(copy));
        let seen = if copy == Status::Duplicate { 1 } else { 2 };
        assert_eq!(store.times("x"), seen);
        drop(publishers);
        let ledger = gateway.stop();
        assert_eq!(ledger.to_sinks.put, seen as u64);
    }
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
    assert_eq!(ledger.to_sinks.confirmed, 1);
}

/// A store in a process of its own, which can be killed: it notes a key before it answers.
const STORE: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[2], "a") as keys:
            keys.write(self.headers["Idempotency-Key"] + "\n")
        self.send_response(204)
        self.end_headers()
    def log_message(self, *what):
        pass
ThreadingHTTPServer.request_queue_size = 1000
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Store)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// The process and its port; none where there is no Python.
fn python_store(port: u16, keys: &Path) -> Option<(Child, u16)> {
    let mut command = Command::new("python3");
    command.args(["-c", STORE, &port.to_string()]).arg(keys).stdout(Stdio::piped());
    match command.spawn() {
        Ok(mut child) => {
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            Some((child, line.trim().parse().expect("its port")))
        }
        Err(why) => {
            assert!(std::env::var_os("FRAMEGATE_TOOLS_REQUIRED").is_none(), "python3: {why}");
            println!("there is no python3 here: nothing was tried");
            None
        }
    }
}

#[test]
fn a_store_that_is_killed_has_what_was_confirmed() {
    const FRAMES: u64 = 2000;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let Some((mut store, port)) = python_store(0, &keys) else { return };
    let gateway = start(Config::default(), options(&format!("http://127.0.0.1:{port}/")));
    let mut publisher = gateway.connect();
    let mut digests = HashMap::new();
    let mut bytes = Vec::new();
    for id in 0..FRAMES {
        let frame = publisher.frame(data(id), b"a", id.to_string().as_bytes());
        let digest: String = frame[frame.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
        digests.insert(id, digest);
        bytes.extend(frame);
    }
    publisher.write(&bytes);
    let mut confirmed = Vec::new();
    let mut take = |publisher: &mut Client| {
        let reply = publisher.next();
        assert_eq!(reply.status(), Some(Status::Ok), "{}", String::from_utf8_lossy(&reply.payload));
        confirmed.push(reply.header.id);
    };
    (0..FRAMES / 4).for_each(|_| take(&mut publisher));
    store.kill().unwrap();
    store.wait().unwrap();
    let has = || fs::read_to_string(&keys).unwrap().lines().map(str::to_owned).collect::<HashSet<_>>();
    let trouble = |snapshot: &Snapshot| snapshot.sinks.as_ref().unwrap().each[0].trouble.is_some();
    look_until(&gateway, "trouble", trouble);
    // Of what the gateway knows to be stored, nothing was lost with the process.
    let known = gateway.control().describe(false).unwrap().ledger.to_sinks;
    assert!(known.confirmed < FRAMES && known.refused == 0, "{known:?}");
    assert!(has().len() as u64 >= known.confirmed, "{} of {known:?}", has().len());

    let (mut store, _) = python_store(port, &keys).unwrap();
    (FRAMES / 4..FRAMES).for_each(|_| take(&mut publisher));
    let has = has();
    assert!(confirmed.iter().all(|id| has.contains(&digests[id])), "each that is confirmed is stored");
    assert_eq!((confirmed.len() as u64, has.len() as u64), (FRAMES, FRAMES));
    drop(publisher);
    let ledger = gateway.stop();
    assert_eq!((ledger.to_sinks.confirmed, ledger.to_sinks.refused), (FRAMES, 0));
    store.kill().unwrap();
    store.wait().unwrap();
}
