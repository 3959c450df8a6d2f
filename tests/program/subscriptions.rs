//! Strangers who subscribe in bulk: what that takes is bounded, charged and given back, and others go on.

use crate::support;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framegate::gateway::Config;
use framegate::gateway::control::Setting;
use framegate::wire::{Header, Kind, Scheme, Status};
use serde_json::Value;
use support::process::Process;
use support::{Client, PATIENCE, data};

const PROGRAM: &str = env!("CARGO_BIN_EXE_framegate");
const MIB: u64 = 1 << 20;

/// As many as one connection may have.
const PATTERNS: usize = 4096;

/// The real program, and what it says of itself.
struct Gateway {
    process: Process,
    address: SocketAddr,
    admin: String,
}

impl Gateway {
    fn start(memory: &str) -> Gateway {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--memory", memory]);
        let process = Process::start(command.env_remove("RUST_LOG").stdout(Stdio::null()));
        let address = process.address();
        let line = process.says("ctl on http://");
        let (_, admin) = line.split_once("ctl on http://").unwrap();
        let admin = admin.split('/').next().unwrap().to_owned();
        Gateway { process, address: address.parse().unwrap(), admin }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address, Scheme::Sha256)
    }

    fn status(&self) -> Value {
        let output = Command::new(PROGRAM).args(["ctl", "status", "--json", "--admin", &self.admin]).output();
        let output = output.expect("it runs");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn subscriptions(&self) -> u64 {
        self.status()["memory"]["subscriptions_bytes"].as_u64().expect("it is a number")
    }

    /// The same, once it is as wanted.
    fn until_subscriptions(&self, is_so: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let charged = self.subscriptions();
            if is_so(charged) {
                return charged;
            }
            assert!(Instant::now() < deadline, "{charged} bytes are charged");
        }
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system says so");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB")
    }
}

/// One of the longest patterns that there are, of 127 tokens: no two numbers have the same.
fn pattern(number: usize) -> String {
    let letter = |at: usize| if at < 24 && number >> at & 1 == 1 { "b" } else { "a" };
    (0..127).map(letter).collect::<Vec<_>>().join(".")
}

fn subscribe(client: &Client, pattern: &str, want_reply: bool) -> Vec<u8> {
    client.frame(Header { want_reply, ..Header::new(Kind::Subscribe) }, pattern.as_bytes(), b"")
}

/// Asks for patterns, each with a reply. How many it got, and why it did not get the others.
fn ask_for(mut client: Client, patterns: std::ops::Range<usize>) -> (Client, usize, Vec<String>) {
    let count = patterns.len();
    let frames: Vec<u8> = patterns.flat_map(|number| subscribe(&client, &pattern(number), true)).collect();
    let mut socket = client.socket.try_clone().unwrap();
    let writing = thread::spawn(move || socket.write_all(&frames).expect("the gateway reads"));
    let (mut held, mut reasons) = (0, Vec::new());
    for _ in 0..count {
        let reply = client.next();
        match reply.status() {
            Some(Status::Ok) => held += 1,
            Some(Status::Rejected) => reasons.push(String::from_utf8(reply.payload).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    writing.join().unwrap();
    (client, held, reasons)
}

#[test]
fn as_many_of_the_longest_patterns_as_a_connection_may_have_take_little() {
    let gateway = Gateway::start("256MiB");
    let client = gateway.connect();
    // What a first use touches.
    let (client, ..) = ask_for(client, 0..1);
    let (before, charged_before) = (gateway.resident(), gateway.subscriptions());
    let (mut client, held, reasons) = ask_for(client, 1..PATTERNS);
    assert_eq!((held, reasons.len()), (PATTERNS - 1, 0), "{reasons:?}");
    // The status may be that of a moment before.
    let charged =
        gateway.until_subscriptions(|charged| charged > charged_before + 253 * (PATTERNS as u64 - 1));
    let after = gateway.resident();
    let took = after.saturating_sub(before);
    assert!(took < 16 * MIB, "they took {} MiB", took / MIB);
    assert!(charged < 4 * MIB, "{charged} bytes are charged");

    let (again, held, reasons) = ask_for(client, PATTERNS..PATTERNS + 1);
    client = again;
    assert_eq!((held, &reasons[..]), (0, &["a connection holds at most 4096 patterns".to_owned()][..]));
    for number in 0..PATTERNS {
        let header = Header { want_reply: true, ..Header::new(Kind::Unsubscribe) };
        client.send(header, pattern(number).as_bytes(), b"");
        assert_eq!(client.next().status(), Some(Status::Ok));
    }
    // All of it is given back.
    gateway.until_subscriptions(|charged| charged == 0);
}

#[test]
fn strangers_who_subscribe_in_bulk_are_refused_and_hold_up_nobody() {
    const STRANGERS: usize = 40;
    const MEMORY: u64 = 64 * MIB;
    let gateway = Gateway::start("64MiB");
    let mut subscriber = gateway.connect();
    let bytes = subscribe(&subscriber, "orders.>", true);
    subscriber.write(&bytes);
    assert_eq!(subscriber.next().status(), Some(Status::Ok));
    let mut publisher = gateway.connect();
    let mut number = 0;
    let mut goes_on = || {
        number += 1;
        publisher.send(data(number), format!("orders.{number}").as_bytes(), b"one");
        assert_eq!(publisher.next().status(), Some(Status::Ok));
        assert_eq!(subscriber.next().header.id, number);
    };
    goes_on();
    let own = gateway.subscriptions();

    let began: Vec<_> = (0..STRANGERS)
        .map(|stranger| {
            let client = gateway.connect();
            thread::spawn(move || ask_for(client, stranger * PATTERNS..(stranger + 1) * PATTERNS))
        })
        .collect();
    let mut most = 0;
    while began.iter().any(|stranger| !stranger.is_finished()) {
        goes_on();
        most = most.max(gateway.resident());
    }
    let strangers: Vec<_> = began.into_iter().map(|stranger| stranger.join().unwrap()).collect();
    most = most.max(gateway.resident());
    assert!(most < MEMORY + 32 * MIB, "{} MiB are resident", most / MIB);

    let held: usize = strangers.iter().map(|(_, held, _)| held).sum();
    let reasons: Vec<&String> = strangers.iter().flat_map(|(_, _, reasons)| reasons).collect();
    assert!(held > 1000 && !reasons.is_empty(), "{held} are held");
    let expected = "patterns take the 6144 KiB that they may: unsubscribe, or give more --memory";
    assert!(reasons.iter().all(|reason| *reason == expected), "{:?}", reasons.last());
    let status = gateway.status();
    let share = MEMORY / 8;
    let charged = status["memory"]["subscriptions_bytes"].as_u64().unwrap();
    assert!(charged > share / 2 && charged <= share, "{charged} bytes are charged");
    let patterns = &status["subscriptions"]["patterns"]["now"];
    assert_eq!(patterns.as_u64(), Some(held as u64 + 1), "{status}");

    // Whoever held patterns before may have others in their place.
    goes_on();
    drop(strangers);
    let deadline = Instant::now() + PATIENCE;
    loop {
        goes_on();
        let charged = gateway.subscriptions();
        // What the pair has, and the topics that are remembered of it.
        let topics = number_of(&gateway, "read") * 256;
        if gateway.status()["subscriptions"]["patterns"]["now"] == 1 && charged <= own + topics {
            break;
        }
        assert!(Instant::now() < deadline, "{charged} bytes are still charged, {own} before");
        thread::sleep(Duration::from_millis(20));
    }
    drop((subscriber, publisher));
    while gateway.subscriptions() > 0 {
        assert!(Instant::now() < deadline, "something is left");
        thread::sleep(Duration::from_millis(20));
    }
}

fn number_of(gateway: &Gateway, name: &str) -> u64 {
    gateway.status()["ledger"][name].as_u64().expect("it is a number")
}

#[test]
fn shapes_are_bounded_and_the_reason_says_which() {
    let gateway = Gateway::start("256MiB");
    let shape = |stars: usize| {
        let token = |at: usize| if stars >> at & 1 == 1 { "*" } else { "a" };
        format!("{}.>", (0..11).map(token).collect::<Vec<_>>().join("."))
    };
    let mut clients: Vec<Client> = (0..5).map(|_| gateway.connect()).collect();
    let mut ask = |client: usize, stars: usize| {
        let bytes = subscribe(&clients[client], &shape(stars), true);
        clients[client].write(&bytes);
        let reply = clients[client].next();
        (reply.status(), String::from_utf8(reply.payload).unwrap())
    };
    for stars in 0..256 {
        assert_eq!(ask(stars / 64, stars).0, Some(Status::Ok), "{stars}");
    }
    let own = "a connection's patterns have at most 64 shapes (tokens, places of '*', '>')";
    assert_eq!(ask(0, 64), (Some(Status::Rejected), own.to_owned()));
    let all = "the gateway's patterns have 256 shapes (tokens, places of '*', '>') already";
    assert_eq!(ask(4, 256), (Some(Status::Rejected), all.to_owned()));
    // A shape that is there is for everyone.
    assert_eq!(ask(4, 7).0, Some(Status::Ok));
    let mut publisher = gateway.connect();
    let topic = ["a"; 12].join(".");
    publisher.send(data(1), topic.as_bytes(), b"");
    assert_eq!(publisher.next().status(), Some(Status::Ok));
    for client in &mut clients {
        assert_eq!(client.next().topic, topic, "once each");
    }
}

#[test]
fn memory_is_not_set_below_what_patterns_need() {
    let config = Config { payload_max: 1 << 20, memory: 64 << 20, ..Config::default() };
    let gateway = support::start(config);
    let (client, held, reasons) = ask_for(gateway.connect(), 0..PATTERNS);
    assert_eq!(held, PATTERNS, "{reasons:?}");
    let set = || gateway.control().set(Setting::Memory(8 << 20)).expect("it answers");
    let wrong = set().unwrap_err();
    assert!(wrong.contains("and 768 KiB would be left for them: set memory higher"), "{wrong}");
    let limit = || gateway.control().describe(false).expect("it answers").memory.limit_bytes;
    assert_eq!(limit(), 64 << 20);
    drop(client);
    let deadline = Instant::now() + PATIENCE;
    while let Err(why) = set() {
        assert!(Instant::now() < deadline, "{why}");
        thread::yield_now();
    }
    assert_eq!(limit(), 8 << 20);
    gateway.stop();
}
