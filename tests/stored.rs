//! What is stored, read back by the program: verified, printed in its order, published again.
#![cfg(unix)]

mod support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use framegate::frame::{Body, Header, Kind, Scheme, encode};
use framegate::gate::Config;
use framegate::memory::{Buffer, Memory};
use framegate::sinks::store::{Options, Policy, StoreThread, SyncPolicy};
use framegate::sinks::{Put, Sink};
use serde_json::Value;

use support::PATIENCE;

/// A store that frames are put into one by one.
struct Storing {
    store: StoreThread,
    memory: Arc<Memory>,
    next: u64,
}

impl Storing {
    fn start(folder: &Path, rotate: Duration) -> Storing {
        let policy = Policy { rotate, sync: SyncPolicy::Batch, keep: None };
        let options = Options { folder: folder.into(), scheme: Scheme::Sha256, policy };
        let store = StoreThread::start(&options, || ()).expect("a folder of our own");
        Storing { store, memory: Memory::new(Memory::least(1 << 20), 1 << 20), next: 1 }
    }

    /// Stores a frame of this topic; its payload is its id. Returns its bytes.
    fn put(&mut self, topic: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header { id: self.next, want_reply: true, ..Header::new(Kind::Data) };
        let payload = format!("payload {}", self.next);
        encode(header, topic.as_bytes(), payload.as_bytes(), &Scheme::Sha256, &mut bytes);
        let buffer = Arc::new(Buffer::charged(&self.memory, bytes.clone().into()));
        let body = Body::Slice { buffer, start: 0, end: bytes.len() };
        self.store.put(Put { ticket: self.next, from: 0, body, frames: 1 });
        let since = Instant::now();
        while self.store.collect().is_none() {
            assert!(since.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
        self.next += 1;
        bytes
    }
}

fn framegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = framegate(args).output().expect("the program starts");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The files that end so below a folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn tail_prints_in_the_order_in_which_it_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let mut storing = Storing::start(folder.path(), Duration::from_millis(20));
    let topics = ["a.x", "a.y", "", "b/c", "a.x"];
    let mut all = Vec::new();
    let mut expected = String::new();
    // Until there are segments of every kind: several finished ones of a topic, and open ones.
    while files(folder.path(), "frames").len() < 8 {
        let topic = topics[storing.next as usize % topics.len()];
        expected += &format!("{topic} 0 {id} payload {id}\n", id = storing.next);
        all.extend(storing.put(topic));
    }
    let (code, printed, said) = run(&["tail", "--store", store]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(printed, expected);
    let (_, printed, _) = run(&["tail", "--store", store, "a.*", "--count", "3"]);
    let some = expected.lines().filter(|line| line.starts_with("a.")).take(3);
    assert_eq!(printed.lines().collect::<Vec<_>>(), some.collect::<Vec<_>>());
    drop(storing);
    let raw = framegate(&["tail", "--store", store, "--format", "raw"]).output().unwrap();
    assert!(raw.stdout == all, "the very bytes");
    // Without an index the frames are there all the same, in order within their topic.
    files(folder.path(), "index").iter().for_each(|path| fs::remove_file(path).unwrap());
    let (code, printed, _) = run(&["tail", "--store", store, "a.x"]);
    let mine = expected.lines().filter(|line| line.starts_with("a.x"));
    assert_eq!(code, Some(0));
    assert_eq!(printed.lines().collect::<Vec<_>>(), mine.collect::<Vec<_>>());
}

#[test]
fn tail_begins_where_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let mut storing = Storing::start(folder.path(), PATIENCE);
    storing.put("a");
    storing.put("b");
    drop(storing);
    let since = humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string();
    let mut storing = Storing::start(folder.path(), PATIENCE);
    storing.next = 3;
    storing.put("a");
    storing.put("a");
    let ids = |since: &str| {
        let (code, printed, said) = run(&["tail", "--store", store, "--since", since]);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        printed.lines().map(|line| line.rsplit_once(' ').unwrap().1.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&since), ["3", "4"]);
    assert_eq!(ids("1h"), ["1", "2", "3", "4"]);
    assert_eq!(ids("2200-01-01T00:00:00Z"), Vec::<String>::new());
}

#[test]
fn tail_follows_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let mut storing = Storing::start(folder.path(), Duration::from_millis(50));
    storing.put("a");
    let mut tail = framegate(&["tail", "--store", store, "--follow", "--count", "36"]).spawn().unwrap();
    let mut printed = BufReader::new(tail.stdout.take().unwrap()).lines();
    // New frames, new segments, new topics; each is seen before the next is stored, or many at once.
    for round in 0..12 {
        let first = storing.next - u64::from(round == 0);
        for count in 0..if round % 4 == 3 { 9 } else { 1 } {
            let topic = ["a", "b", "c/d"][(round + count) % 3];
            if round > 0 || count > 0 {
                storing.put(topic);
            }
        }
        for id in first..storing.next {
            assert!(printed.next().unwrap().unwrap().ends_with(&format!(" 0 {id} payload {id}")));
        }
    }
    assert_eq!((tail.wait().unwrap().code(), printed.next().is_none()), (Some(0), true));
    // Nobody reads it any more, and nothing comes that would show that.
    let mut unread = framegate(&["tail", "--store", store, "--follow"]).spawn().unwrap();
    drop(unread.stdout.take());
    assert_eq!(unread.wait().unwrap().code(), Some(0));
    let tail = framegate(&["tail", "--store", store, "--follow"]).spawn().unwrap();
    let pid = tail.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let code = tail.wait_with_output().unwrap().status.code();
    // The signal may come before anything waits for it.
    assert!(matches!(code, Some(130) | None), "{code:?}");
}

#[test]
fn verify_counts_and_places_the_first_bad_byte() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let mut storing = Storing::start(folder.path(), PATIENCE);
    let len = storing.put("a").len();
    storing.put("a");
    storing.put("b/c");
    // While it is open, and with a frame that is not whole yet.
    let open = files(folder.path(), "open");
    let mut one = OpenOptions::new().append(true).open(&open[0]).unwrap();
    one.write_all(b"FG\x01").unwrap();
    let (code, text, _) = run(&["verify", store]);
    assert_eq!(code, Some(0), "{text}");
    drop(storing);
    let (code, text, _) = run(&["verify", store]);
    assert_eq!(code, Some(1), "{text}");
    let bytes = fs::read(files(folder.path(), "frames").first().unwrap()).unwrap();
    fs::write(files(folder.path(), "frames").first().unwrap(), &bytes[..2 * len]).unwrap();
    let (code, text, _) = run(&["verify", store]);
    let total = 2 * len + fs::metadata(&files(folder.path(), "frames")[1]).unwrap().len() as usize;
    assert_eq!(code, Some(0));
    assert!(text.contains(&format!("a: 2 frames, {} bytes\n", 2 * len)), "{text}");
    assert!(text.ends_with(&format!("2 files, 3 frames, {total} bytes: all intact\n")), "{text}");

    let bad = &files(folder.path(), "frames")[0];
    let mut bytes = fs::read(bad).unwrap();
    bytes[len + 50] ^= 1;
    fs::write(bad, &bytes).unwrap();
    let (code, text, _) = run(&["verify", store, "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["frames"], &report["files"]), (Some(1), &2.into(), &2.into()));
    assert_eq!((&report["bad"][0]["byte"], &report["bad"][0]["frames"]), (&len.into(), &1.into()));
    let file = report["bad"][0]["file"].as_str().unwrap();
    let (code, text, _) = run(&["verify", file]);
    assert!(
        code == Some(1) && text.contains("BAD ") && text.contains("a digest that does not match"),
        "{text}"
    );
    // tail says so too, and prints the others.
    let (code, printed, said) = run(&["tail", "--store", store]);
    assert_eq!((code, printed.lines().count()), (Some(1), 2), "{printed}{said}");
    assert!(said.contains(&format!("byte {len}: ")), "{said}");
}

#[test]
fn what_is_stored_of_each_topic_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let free = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store"];
    let mut gateway = framegate(&[&free[..], &[store.to_str().unwrap()]].concat()).spawn().unwrap();
    let mut said = BufReader::new(gateway.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut after = |part: &str, end: char| {
        let line = said.find(|line| line.contains(part)).expect("it says where it listens");
        let (_, rest) = line.split_once(part).unwrap();
        rest.split_once(end).unwrap().0.to_string()
    };
    let (listen, admin) = (after("listening on ", ','), after("ctl on http://", '/'));
    let lines = folder.path().join("lines");
    fs::write(&lines, "1\n2\n3\n").unwrap();
    for (topic, times) in [("orders.eu", 2), ("", 1)] {
        for _ in 0..times {
            let (code, _, said) = run(&["send", "--to", &listen, "--topic", topic, lines.to_str().unwrap()]);
            assert_eq!((code, said.as_str()), (Some(0), ""));
        }
    }
    let (_, text, _) = run(&["ctl", "status", "--admin", &admin]);
    let shown =
        format!("    orders.eu: 6 frames, {} B\n    (the empty topic): 3 frames, {} B\n", 6 * 74, 3 * 65);
    assert!(text.contains(&shown), "{shown} in {text}");
    let (_, text, _) = run(&["ctl", "status", "--json", "--admin", &admin]);
    let status: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["sinks"]["each"][0]["topics"][0]["bytes"], 6 * 74);
    let (code, ..) = run(&["ctl", "drain", "--admin", &admin]);
    assert_eq!((code, gateway.wait().unwrap().code()), (Some(0), Some(0)));
}

#[test]
fn what_cannot_be_read_says_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (args, part) in [
        (&["verify", "/nonexistent"][..], "give stored files"),
        (&["verify", empty], "holds no file that ends in .frames"),
        (&["verify"], "FILE|DIR"),
        (&["tail", "--store", "/nonexistent"], "give the folder of a gateway's --store"),
        (&["tail", "--since", "5m"], "--store"),
        (&["tail", "--store", empty, "--since", "later"], "5m (that long ago)"),
        (&["send", "--frames", "x"], "--whole"),
        (&["send", "--whole", "--frames", "--topic", "t", "x"], "--topic"),
    ] {
        let (code, printed, said) = run(args);
        assert_eq!((code, printed.as_str(), said.lines().count()), (Some(2), "", 1), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?} should say {part}: {said}");
    }
}

#[test]
fn a_stored_file_is_published_again_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut storing = Storing::start(folder.path(), PATIENCE);
    let stored: Vec<Vec<u8>> = (0..100).map(|_| storing.put("a.b")).collect();
    drop(storing);
    let file = files(folder.path(), "frames").remove(0);
    let file = file.to_str().unwrap();
    let gateway = support::start(Config { dedup: Some(PATIENCE), ..Config::default() });
    let mut subscriber = gateway.subscriber(">");
    let to = gateway.address.to_string();
    let (code, report, said) = run(&["send", "--to", &to, "--whole", "--frames", file]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(report.starts_with("sent 100 frames") && report.contains("OK 100"), "{report}");
    for frame in &stored {
        assert!(subscriber.next().bytes == *frame, "the very bytes");
    }
    let (code, report, _) = run(&["send", "--to", &to, "--whole", "--frames", file]);
    assert!(code == Some(0) && report.contains("DUPLICATE 100"), "{report}");

    let mut bytes = fs::read(file).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(file, &bytes).unwrap();
    let (code, report, said) = run(&["send", "-q", "--to", &to, "--whole", "--frames", file]);
    assert_eq!(code, Some(1));
    assert!(report.starts_with("sent 99 frames"), "{report}");
    assert!(said.contains("digest that does not match") && said.contains("nothing after"), "{said}");
    gateway.stop();
}
