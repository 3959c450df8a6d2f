//! The program with a store, killed and out of space: what got OK is there, once, and whole.

use crate::stored_frames::each_stored;
use crate::support;
use crate::support::store as http_store;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framegate::wire::{Header, Scheme, Status, encode};
use http_store::Store;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use support::process::Process;
use support::{Client, PATIENCE, data, payload};

/// A gateway in a process of its own.
struct Serving {
    process: Process,
    address: SocketAddr,
    /// From its start until it listened.
    took: Duration,
}

impl Serving {
    fn start(mut command: Command) -> Serving {
        let since = Instant::now();
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
        let process = Process::start(&mut command);
        let address = process.address().parse().unwrap();
        Serving { process, address, took: since.elapsed() }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address, Scheme::Sha256)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process.child)
    }

    /// Ends it in peace. What it printed.
    fn stop(self) -> String {
        self.process.signal("TERM");
        let (code, ledger, _) = self.process.end();
        assert_eq!(code, 0);
        ledger
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_framegate");

fn serve(store: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--store-rotate", "50ms", "--store"]);
    command.arg(store);
    command
}

/// Publishes to so many topics until the connection breaks. The ids that got OK.
pub fn publish_until_killed(mut client: Client, key: u64, topics: u64) -> Vec<u64> {
    let mut confirmed = Vec::new();
    for first in (0..).step_by(16) {
        let mut batch = Vec::new();
        for id in first..first + 16 {
            let topic = format!("topic.{}", id % topics);
            let header = Header { key, ..data(id) };
            let payload = payload((id * 97 % 900) as usize, id as usize);
            encode(header, topic.as_bytes(), &payload, &client.scheme, &mut batch);
        }
        if client.socket.write_all(&batch).is_err() {
            break;
        }
        for _ in 0..16 {
            match client.try_next() {
                Ok(Some(got)) => {
                    assert_eq!(got.status(), Some(Status::Ok));
                    confirmed.push(got.header.id);
                }
                Ok(None) | Err(_) => return confirmed,
            }
        }
    }
    confirmed
}

/// Every frame of a store as `tail` gives it: how often each key and id is there.
fn stored(store: &Path) -> HashMap<(u64, u64), usize> {
    let mut found = HashMap::new();
    each_stored(store, |frame| {
        let Header { key, id, .. } = frame.header;
        assert_eq!(frame.payload(), payload((id * 97 % 900) as usize, id as usize));
        *found.entry((key, id)).or_default() += 1;
    });
    found
}

fn verifies(store: &Path) {
    let output = Command::new(PROGRAM).arg("verify").arg(store).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// FRAMEGATE_KILLS=100 for a long one.
#[test]
fn whatever_got_ok_survives_being_killed() {
    let kills = std::env::var("FRAMEGATE_KILLS").map_or(20, |n| n.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let mut confirmed = Vec::new();
    let mut longest = Duration::ZERO;
    for cycle in 0..kills {
        let mut serving = Serving::start(serve(folder.path()));
        longest = longest.max(serving.took);
        let publishers: Vec<_> = (0..3)
            .map(|at| {
                let (client, key) = (serving.connect(), cycle * 3 + at);
                thread::spawn(move || (key, publish_until_killed(client, key, 5)))
            })
            .collect();
        // In the middle of the load, at another moment each time.
        thread::sleep(Duration::from_millis(20 + cycle * 37 % 90));
        serving.process.child.kill().unwrap();
        serving.process.child.wait().unwrap();
        for publisher in publishers {
            let (key, ids) = publisher.join().unwrap();
            confirmed.extend(ids.into_iter().map(|id| (key, id)));
        }
    }
    // It finishes what the last one left.
    Serving::start(serve(folder.path())).stop();
    verifies(folder.path());
    let found = stored(folder.path());
    assert!(confirmed.len() > 16 * kills as usize, "only {} were confirmed", confirmed.len());
    for name in &confirmed {
        assert_eq!(found.get(name), Some(&1), "{name:?} got OK");
    }
    assert!(found.values().all(|times| *times == 1), "a frame is stored twice");
    println!(
        "{kills} kills: {} frames got OK, {} are stored, the longest start took {longest:.1?}",
        confirmed.len(),
        found.len()
    );
}

/// Bytes of everything in a store.
fn size(store: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(store) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        // It has got its final name.
        Err(_) => 0,
    };
    entries.map_while(Result::ok).map(size).sum()
}

/// Sends lines through a gateway that is killed in the middle, again and again, and started with these options; each
/// is in the store once.
fn check_sent_through_kills(options: &[&str], kills: usize) -> Vec<String> {
    let lines = 20_000.max(300 * kills);
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("store"), folder.path().join("lines"));
    let text: Vec<String> = (0..lines).map(|n| format!("line {n}")).collect();
    std::fs::write(&file, text.join("\n")).unwrap();
    let serve_at = |address: &str| {
        let mut command = Command::new(PROGRAM);
        let args = ["--admin", "off", "--store-rotate", "200ms", "--dedup", "1h", "--store"];
        command.args(["serve", "--listen", address]).args(args).arg(&store).args(options);
        Serving::start(command)
    };
    let mut serving = serve_at("127.0.0.1:0");
    let address = serving.address.to_string();
    let mut send = Command::new(PROGRAM);
    send.args(["send", "--topic", "t", "--max-in-flight", "300", "--to", &address]).arg(&file);
    let send = send.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for kill in 1..=kills {
        let since = Instant::now();
        // A frame takes 72 bytes or more.
        while size(&store) < (70 * lines * kill / (kills + 1)) as u64 {
            assert!(since.elapsed() < PATIENCE, "{} bytes are stored", size(&store));
            thread::sleep(Duration::from_millis(1));
        }
        serving.process.child.kill().unwrap();
        serving.process.child.wait().unwrap();
        serving = serve_at(&address);
    }
    let Output { stdout, stderr, status } = send.wait_with_output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{told}");
    serving.stop();
    verifies(&store);
    let mut tail = Command::new(PROGRAM);
    tail.args(["tail", "--format", "payload", "--store"]).arg(&store);
    let printed = String::from_utf8(tail.output().unwrap().stdout).unwrap();
    let mut times: HashMap<&str, usize> = HashMap::new();
    printed.lines().for_each(|line| *times.entry(line).or_default() += 1);
    let twice = times.values().filter(|times| **times > 1).count();
    assert_eq!((times.len(), twice), (lines, 0), "{told}");
    text
}

#[test]
fn what_is_sent_again_after_being_killed_is_stored_once() {
    check_sent_through_kills(&[], 4);
}

/// FRAMEGATE_KILLS=100 for a long one. A request that was on its way when the gateway was killed may be sent again;
/// its key says that it is the same.
#[test]
fn what_is_sent_again_after_being_killed_is_in_both_sinks_once() {
    let http = Store::start(usize::MAX, |_, _| http_store::OK);
    let kills = std::env::var("FRAMEGATE_KILLS").map_or(4, |n| n.parse().expect("a number"));
    let options = ["--http-sink", &http.url(), "--http-max-in-flight", "32"];
    let lines = check_sent_through_kills(&options, kills);
    let log = http.log();
    let mut keys = HashSet::new();
    for line in &lines {
        let seen = log.seen.get(line).unwrap_or_else(|| panic!("{line} was not posted"));
        assert!(seen.iter().all(|again| again.key == seen[0].key), "{line} has several keys");
        assert!(keys.insert(&seen[0].key), "{line} has the key of another");
    }
    assert_eq!(log.seen.len(), lines.len(), "nothing else was posted");
}

#[test]
fn a_disk_without_room_confirms_nothing_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    // A write beyond the limit of a file's size is refused, and does not end the program.
    let script =
        format!("trap '' XFSZ; exec {PROGRAM} serve --listen 127.0.0.1:0 --admin off --store \"$0\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(folder.path());
    let serving = Serving::start(command);
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    let limit = |current| {
        prlimit(Some(serving.pid()), Resource::Fsize, Rlimit { current, maximum }).expect("it is our child");
    };

    let mut client = serving.connect();
    let ids = 0..100;
    for id in ids.clone() {
        let payload = payload((id * 97 % 900) as usize, id as usize);
        client.send(data(id), b"t", &payload);
        if id < 10 {
            assert_eq!(client.next().status(), Some(Status::Ok));
        }
        if id == 9 {
            limit(Some(1));
        }
    }
    let line = serving.process.says("nothing is confirmed and publishers wait");
    assert!(line.contains("File too large"), "{line}");
    client.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let told = client.try_next();
    assert!(told.is_err(), "{told:?} came though nothing can be stored");
    let mut told: Vec<u64> = (0..10).collect();

    limit(maximum);
    client.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    while told.len() < 100 {
        let got = client.next();
        assert_eq!(got.status(), Some(Status::Ok));
        told.push(got.header.id);
    }
    serving.process.says("works again");
    told.sort_unstable();
    assert!(told.iter().copied().eq(ids));
    let ledger = serving.stop();
    assert!(ledger.contains("sinks: put 100 = confirmed 100 + refused 0 + not confirmed 0"), "{ledger}");
    verifies(folder.path());
    let found = stored(folder.path());
    assert!(found.len() == 100 && found.values().all(|times| *times == 1));
}

#[test]
fn what_cannot_be_used_as_a_store_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = serve(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("choose a folder that this user can write to"), "{said}");
    let serving = Serving::start(serve(folder.path()));
    let said = String::from_utf8(serve(folder.path()).output().unwrap().stderr).unwrap();
    assert!(said.contains("another gateway stores there: stop it"), "{said}");
    let mut client = serving.connect();
    assert_eq!(client.publish("t", b"").0, Status::Ok);
    serving.stop();
}
