//! Durable subscriptions against real gateways: killed, drained, full, and asked for what cannot be.

mod kills;

use crate::support;

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use framegate::client::{DurableOptions, DurableSubscriber, Error, Start};
use framegate::gateway::Config;
use framegate::sinks::store::Keep;
use framegate::wire::{Header, Kind, Scheme, Status};
use support::process::Process;
use support::{Client, Got, PATIENCE, Running, data, start};

const PROGRAM: &str = env!("CARGO_BIN_EXE_framegate");

fn config(store: &Path) -> Config {
    let mut config = Config { store: Some(store.into()), ..Config::default() };
    config.stored.rotate = Duration::from_millis(50);
    config
}

/// A connection with a durable subscription, and what came of it while a reply was waited for.
struct Durable {
    client: Client,
    early: VecDeque<Got>,
    next: u64,
}

impl Durable {
    fn connect(gateway: &Running) -> Durable {
        Durable { client: gateway.connect(), early: VecDeque::new(), next: 0 }
    }

    /// The reply to what asked for it with this id.
    fn reply(&mut self, id: u64) -> Got {
        loop {
            let got = self.client.next();
            if got.header.kind == Kind::Reply && (got.header.id == id || got.status().unwrap().closes()) {
                return got;
            }
            self.early.push_back(got);
        }
    }

    fn subscribe(&mut self, pattern: &str, lines: &str) -> Got {
        let header = Header { want_reply: true, id: 1, ..Header::new(Kind::Subscribe) };
        self.client.send(header, pattern.as_bytes(), lines.as_bytes());
        self.reply(1)
    }

    fn ack(&mut self, seq: u64) -> Got {
        let header = Header { want_reply: true, id: 2, key: seq, ..Header::new(Kind::Ack) };
        self.client.send(header, b"", b"");
        self.reply(2)
    }

    fn next(&mut self) -> Got {
        self.early.pop_front().unwrap_or_else(|| self.client.next())
    }

    /// So many frames, with the sequences that POSITION tells.
    fn take(&mut self, count: usize) -> Vec<(u64, String, String)> {
        let mut found = Vec::new();
        while found.len() < count {
            let got = self.next();
            match got.status() {
                Some(Status::Position) => self.next = got.header.key,
                None => {
                    found.push((self.next, got.topic.clone(), text(&got)));
                    self.next += 1;
                }
                Some(other) => panic!("{other}: {}", text(&got)),
            }
        }
        found
    }

    fn seqs(&mut self, count: usize) -> Vec<u64> {
        self.take(count).into_iter().map(|(seq, ..)| seq).collect()
    }
}

fn text(got: &Got) -> String {
    String::from_utf8_lossy(&got.payload).into_owned()
}

fn publish(gateway: &Running, topics: &[&str]) {
    let mut client = gateway.connect();
    for (n, topic) in topics.iter().enumerate() {
        assert_eq!(client.publish(topic, format!("{n}").as_bytes()).0, Status::Ok);
    }
}

#[test]
fn a_name_goes_on_where_it_was_and_a_replay_begins_where_it_asks_to() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    publish(&gateway, &["a", "b", "a", "c.d", "a"]);
    let mut client = Durable::connect(&gateway);
    let begun = client.subscribe("a", "durable: n\nfrom: oldest\n");
    assert_eq!((begun.status(), &*text(&begun)), (Some(Status::Ok), "position: 1\noldest: 1"));
    let first = client.take(3);
    let expected = [(1, "a", "0"), (3, "a", "2"), (5, "a", "4")]
        .map(|(seq, topic, text)| (seq, topic.into(), text.into()));
    assert_eq!(first, expected);
    assert_eq!(client.ack(3).status(), Some(Status::Ok));
    // Once more, a lower one, and one of 0 say nothing new.
    for seq in [3, 1, 0] {
        assert_eq!(client.ack(seq).status(), Some(Status::Ok));
    }
    drop(client);
    publish(&gateway, &["a", "x"]);
    gateway.stop();

    let gateway = start(config(folder.path()));
    let mut client = Durable::connect(&gateway);
    let begun = client.subscribe("a", "durable: n\n");
    assert_eq!(&*text(&begun), "position: 4\noldest: 1");
    assert_eq!(client.take(2), [(5, "a".into(), "4".into()), (6, "a".into(), "0".into())]);
    publish(&gateway, &["b", "a"]);
    assert_eq!(client.take(1), [(9, "a".into(), "1".into())], "what comes now, by the same way");
    let mut all = Durable::connect(&gateway);
    assert_eq!(&*text(&all.subscribe(">", "from: seq 2\n")), "position: 2\noldest: 1");
    let seqs = all.seqs(8);
    assert_eq!(seqs, [2, 3, 4, 5, 6, 7, 8, 9], "every number");
    let mut since = Durable::connect(&gateway);
    since.subscribe("c.*", "from: ago 1h");
    assert_eq!(since.take(1)[0].0, 4);
    gateway.leave();
}

#[test]
fn two_patterns_that_come_together_begin_together() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    publish(&gateway, &["a", "b", "a", "b", "c"]);
    let mut client = Durable::connect(&gateway);
    let mut frames = Vec::new();
    for pattern in ["a", "b"] {
        let header = Header { want_reply: true, ..Header::new(Kind::Subscribe) };
        frames.extend(client.client.frame(header, pattern.as_bytes(), b"durable: n\nfrom: oldest"));
    }
    client.client.write(&frames);
    for _ in 0..2 {
        assert_eq!(text(&client.next()), "position: 1\noldest: 1");
    }
    let seqs = client.seqs(4);
    assert_eq!(seqs, [1, 2, 3, 4]);
    // One that comes later begins with what is not done.
    assert_eq!(client.ack(2).status(), Some(Status::Ok));
    assert_eq!(text(&client.subscribe("c", "durable: n\nfrom: oldest")), "position: 3\noldest: 1");
    let seqs = client.seqs(3);
    assert_eq!(seqs, [3, 4, 5]);
    gateway.leave();
}

#[test]
fn no_more_than_the_window_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    publish(&gateway, &["t"; 20]);
    let mut client = Durable::connect(&gateway);
    client.subscribe("t", "durable: n\nfrom: oldest\nwindow: 3");
    assert_eq!(client.take(3).last().unwrap().0, 3);
    client.client.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(client.client.try_next().is_err(), "nothing more comes");
    client.client.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.ack(2).status(), Some(Status::Ok));
    assert_eq!(client.take(2).last().unwrap().0, 5);
    gateway.leave();
}

#[test]
fn what_cannot_be_is_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    publish(&gateway, &["t"; 3]);
    let refused = |client: &mut Durable, pattern: &str, lines: &str| {
        let got = client.subscribe(pattern, lines);
        assert_eq!(got.status(), Some(Status::Rejected), "{lines}: {}", text(&got));
        text(&got)
    };
    let mut client = Durable::connect(&gateway);
    let long = format!("durable: {}", "x".repeat(65));
    for (pattern, lines, said) in [
        ("t", "durable: a b", "write 1 to 64 of"),
        ("t", &long, "write 1 to 64 of"),
        ("t", "durable: n\nfrom: yesterday", "write new, oldest, seq 17"),
        ("t", "durable: n\nwindow: 0", "write a number of frames from 1 to"),
        ("t", "durable: n\nwindow: 1\nwindow: 2", "stands there twice"),
        ("t", "durable: n\nexpire: soon", "write a time such as"),
        ("t", "durable: n\nreset: yes", "add 'from: oldest'"),
        ("t", "durable: n\ncolour: red", "there are durable, from, reset, window and expire"),
        ("t", "window: 5", "add 'durable: NAME'"),
        ("t", "from: seq 1000000", "beyond the end, the next frame is 4"),
        ("t", "durable: n\nfrom: seq 1000000", "beyond the end, the next frame is 4"),
        ("a..b", "durable: n", "token"),
    ] {
        let why = refused(&mut client, pattern, lines);
        assert!(why.contains(said), "{lines}: {why}");
    }
    let got = client.ack(1);
    assert_eq!(got.status(), Some(Status::Rejected), "an ACK of a stranger");
    assert!(text(&got).contains("SUBSCRIBE with 'durable: NAME' first"), "{}", text(&got));
    assert_eq!(client.subscribe("t", "durable: n\nfrom: oldest").status(), Some(Status::Ok));
    client.take(3);
    assert!(refused(&mut client, "u", "durable: m").contains("open another connection for m"));
    assert!(refused(&mut client, "u", "durable: n\nwindow: 7").contains("repeat them"));
    assert!(refused(&mut client, "u", "").contains("repeat its lines, or open another"));
    let mut plain = Durable::connect(&gateway);
    assert_eq!(plain.subscribe("u", "").status(), Some(Status::Ok));
    assert!(refused(&mut plain, "u", "durable: m").contains("open another for a durable subscription"));
    // It was never delivered.
    let got = client.ack(4);
    assert_eq!(
        (got.status(), &*text(&got)),
        (Some(Status::Malformed), "an ACK of 4, and the last that was delivered is 3")
    );
    assert!(client.client.rest().is_empty(), "the connection closes");
    // What it holds stays; what it acknowledged in vain does not count.
    let mut client = Durable::connect(&gateway);
    assert_eq!(text(&client.subscribe("t", "durable: n")), "position: 1\noldest: 1");
    let header = Header { want_reply: true, id: 9, ..Header::new(Kind::Unsubscribe) };
    client.client.send(header, b"", b"durable: n");
    assert_eq!(client.reply(9).status(), Some(Status::Ok));
    assert!(gateway.control().subscriptions().unwrap().unwrap().is_empty(), "it is forgotten");
    gateway.leave();

    let gateway = start(Config::default());
    let mut client = Durable::connect(&gateway);
    assert!(refused(&mut client, "t", "durable: n").contains("start it with --store DIR"));
    assert!(refused(&mut client, "t", "from: oldest").contains("start it with --store DIR"));
    gateway.leave();
}

#[test]
fn the_newest_connection_has_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    publish(&gateway, &["t"; 4]);
    let (mut old, mut new) = (Durable::connect(&gateway), Durable::connect(&gateway));
    old.subscribe("t", "durable: n\nfrom: oldest\nwindow: 2");
    old.take(2);
    assert_eq!(old.ack(1).status(), Some(Status::Ok));
    assert_eq!(old.take(1)[0].0, 3);
    assert_eq!(text(&new.subscribe("t", "durable: n")), "position: 2\noldest: 1");
    let last = old.client.rest();
    assert_eq!(last.last().unwrap().status(), Some(Status::Taken), "{last:?}");
    // Too late.
    let header = Header { key: 3, ..Header::new(Kind::Ack) };
    let late = old.client.frame(header, b"", b"");
    let _ = old.client.socket.write_all(&late);
    assert_eq!(new.take(3)[0].0, 2);
    drop(new);
    let mut again = Durable::connect(&gateway);
    assert_eq!(text(&again.subscribe("t", "durable: n")), "position: 2\noldest: 1");
    let options = DurableOptions::new("n", &["t"]);
    let mut client = DurableSubscriber::connect(&gateway.address.to_string(), options).unwrap();
    // However much of it came before.
    assert_eq!(again.client.rest().last().unwrap().status(), Some(Status::Taken));
    let third = DurableSubscriber::connect(&gateway.address.to_string(), DurableOptions::new("n", &["t"]));
    let taken = loop {
        match client.next_delivery() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(taken, Error::Taken("n".into()), "a client that lost its name does not fight for it");
    drop(third);
    gateway.leave();
}

#[test]
fn what_was_removed_is_told_and_names_are_moved_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.stored.rotate = Duration::from_millis(1);
    config.stored.keep = Some(Keep::Size(1000));
    let gateway = start(config);
    let mut client = Durable::connect(&gateway);
    client.subscribe("t", "durable: n\nfrom: oldest");
    drop(client);
    let since = Instant::now();
    let (gap, first) = loop {
        publish(&gateway, &["t"; 10]);
        let mut client = Durable::connect(&gateway);
        assert_eq!(text(&client.subscribe(">", "from: seq 1"))[..11], *"position: 1");
        let got = client.next();
        if got.status() == Some(Status::Gap) {
            break (got, client.take(1)[0].0);
        }
        assert!(since.elapsed() < PATIENCE, "nothing is removed");
    };
    let (from, to) = text(&gap)
        .strip_prefix("from ")
        .unwrap()
        .split_once(" to ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    assert_eq!((from, gap.header.key, first), (1, to, to + 1), "exactly what is missing");
    let control = gateway.control();
    let moved = control.rewind("n", Start::Oldest).unwrap().unwrap();
    assert!(moved.old == 1 && moved.new > 1, "{moved:?}");
    assert!(
        control.rewind("nobody", Start::New).unwrap().unwrap_err().contains("ctl subscriptions lists them")
    );
    let beyond = control.rewind("n", Start::Seq(1 << 60)).unwrap().unwrap_err();
    assert!(beyond.contains("beyond the end"), "{beyond}");
    let mut client = Durable::connect(&gateway);
    let begun = text(&client.subscribe("t", "durable: n"));
    assert!(begun.starts_with(&format!("position: {}\n", moved.new)), "{begun}");
    assert!(control.forget("n").unwrap().unwrap_err().contains("is in use: stop its subscriber first"));
    // One that is moved while it is connected comes again.
    let moved = control.rewind("n", Start::New).unwrap().unwrap();
    assert!(moved.was_connected);
    let last = client.client.rest();
    assert_eq!(last.last().unwrap().status(), Some(Status::Closing));
    control.forget("n").unwrap().unwrap();
    gateway.leave();
}

#[test]
fn a_drain_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    publish(&gateway, &["t"; 5]);
    let mut client = Durable::connect(&gateway);
    client.subscribe("t", "durable: n\nfrom: oldest\nwindow: 2");
    client.take(2);
    assert_eq!(client.ack(1).status(), Some(Status::Ok));
    client.take(1);
    gateway.begin_drain();
    let last = client.client.rest();
    assert_eq!(last.last().unwrap().status(), Some(Status::Closing));
    drop(client);
    gateway.stop();
    let gateway = start(config(folder.path()));
    let mut client = Durable::connect(&gateway);
    assert_eq!(text(&client.subscribe("t", "durable: n")), "position: 2\noldest: 1");
    let seqs = client.seqs(4);
    assert_eq!(seqs, [2, 3, 4, 5]);
    gateway.leave();
}

#[test]
fn a_damaged_file_of_positions_is_told_and_jumps_nowhere_silently() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    publish(&gateway, &["t"; 5]);
    for name in ["kept", "lost"] {
        let mut client = Durable::connect(&gateway);
        client.subscribe("t", &format!("durable: {name}\nfrom: oldest"));
        client.take(5);
        assert_eq!(client.ack(3).status(), Some(Status::Ok));
    }
    gateway.stop();
    let path = folder.path().join(".positions");
    let text_of = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text_of.replace("lost 4", "lost 6")).unwrap();
    let gateway = start(config(folder.path()));
    let mut client = Durable::connect(&gateway);
    assert!(text(&client.subscribe("t", "durable: kept")).starts_with("position: 4\n"));
    let mut client = Durable::connect(&gateway);
    assert!(text(&client.subscribe("t", "durable: lost\nfrom: new")).starts_with("position: 6\n"));
    let gap = client.next();
    assert_eq!((gap.status(), gap.header.key), (Some(Status::Gap), u64::MAX));
    assert!(text(&gap).starts_with("from 1 to 5"), "{}", text(&gap));
    gateway.leave();
}

#[test]
fn a_thousand_at_the_oldest_all_get_everything() {
    const FRAMES: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(config(folder.path()));
    let mut publisher = gateway.connect();
    for id in 0..FRAMES {
        publisher.send(data(id), if id % 3 == 0 { b"a" } else { b"b" }, &[7; 100]);
    }
    for _ in 0..FRAMES {
        assert_eq!(publisher.next().status(), Some(Status::Ok));
    }
    let crowd: Vec<_> = (0..1000)
        .map(|n| {
            let mut client = Durable::connect(&gateway);
            let header = Header { want_reply: true, ..Header::new(Kind::Subscribe) };
            client.client.send(header, b">", format!("durable: n{n}\nfrom: oldest").as_bytes());
            client
        })
        .collect();
    for mut client in crowd {
        assert_eq!(client.next().status(), Some(Status::Ok));
        let seqs = client.take(FRAMES as usize).into_iter().map(|(seq, ..)| seq);
        assert!(seqs.eq(1..=FRAMES));
    }
    gateway.leave();
}

fn serve(store: &Path, address: &str) -> (Process, SocketAddr) {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", address, "--admin", "off", "--store-rotate", "50ms", "--store"]);
    command.arg(store).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null());
    let process = Process::start(&mut command);
    let address = process.address().parse().unwrap();
    (process, address)
}

#[test]
fn tail_goes_on_where_it_was_and_ctl_moves_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store"])
        .arg(folder.path());
    let process = Process::start(command.env_remove("RUST_LOG").stdout(Stdio::null()));
    let address = process.address();
    let line = process.says("ctl on http://");
    let admin = line.split_once("ctl on http://").unwrap().1.split('/').next().unwrap().to_owned();
    let mut client = Client::connect(address.parse().unwrap(), Scheme::Sha256);
    for n in 0..10 {
        assert_eq!(
            client.publish(if n % 2 == 0 { "even" } else { "odd" }, format!("{n}").as_bytes()).0,
            Status::Ok
        );
    }
    let tail = |arguments: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(["tail", "--from", &address, "--format", "payload"])
            .args(arguments)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(tail(&["even", "--durable", "n", "--start-at", "oldest", "--count", "2"]), "0 2");
    assert_eq!(tail(&["even", "--durable", "n", "--count", "2", "--window", "1"]), "4 6");
    assert_eq!(tail(&["--start-at", "seq 9", "--count", "2"]), "8 9");
    let ctl = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).args(["ctl", "--admin", &admin]).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, listed) = ctl(&["subscriptions"]);
    assert!(
        code == 0
            && listed
                .lines()
                .any(|line| line.starts_with("n ") && line.contains(" 7 ") && line.contains("even")),
        "{listed}"
    );
    let (code, moved) = ctl(&["rewind", "n", "--to", "seq 3"]);
    assert_eq!((code, &*moved), (0, "n: goes on with 3 instead of 8\n"));
    assert_eq!(tail(&["even", "--durable", "n", "--count", "1"]), "2");
    let (code, said) = ctl(&["rewind", "n", "--to", "yesterday"]);
    assert!(code == 2 && said.contains("expected new, oldest, seq 17"), "{said}");
    let (code, said) = ctl(&["forget", "n"]);
    assert!(code == 0 && said.contains("n is forgotten; it was at 3"), "{said}");
    let (code, said) = ctl(&["forget", "n"]);
    assert!(code == 2 && said.contains("no durable name 'n' is known"), "{said}");
    drop(process);
}
