//! What is stored, read back by the program: verified, printed in its order, published again.

mod misfiled;

use crate::support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use framegate::core::memory::{Buffer, Memory};
use framegate::gateway::Config;
use framegate::sinks::store::{Options, Policy, Stamp, StoreThread, SyncPolicy};
use framegate::sinks::{Put, Sink};
use framegate::wire::{Body, Header, Kind, Scheme, encode};
use serde_json::Value;

use misfiled::segment;
use support::PATIENCE;
use support::process::Process;

/// A store that frames are put into one by one.
struct Storing {
    store: StoreThread,
    memory: Arc<Memory>,
    next: u64,
    scheme: Scheme,
}

impl Storing {
    fn start(folder: &Path, rotate: Duration) -> Storing {
        Storing::start_under(folder, rotate, Scheme::Sha256)
    }

    fn start_under(folder: &Path, rotate: Duration, scheme: Scheme) -> Storing {
        let policy = Policy { rotate, sync: SyncPolicy::Batch, keep: None, topics: 1000, hold: None };
        let options = Options::new(folder, scheme.clone(), policy);
        let store = StoreThread::start(&options, || ()).expect("a folder of our own");
        Storing { store, memory: Memory::new(Memory::least(1 << 20), 1 << 20), next: 1, scheme }
    }

    /// Stores a frame of this topic; its payload is its id. Returns its bytes.
    fn put(&mut self, topic: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header { id: self.next, want_reply: true, ..Header::new(Kind::Data) };
        let payload = format!("payload {}", self.next);
        encode(header, topic.as_bytes(), payload.as_bytes(), &self.scheme, &mut bytes);
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
fn tail_waits_for_a_store_that_is_being_made_and_names_the_store_of_a_topic() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let process = Process::start(
        framegate(&["tail", "--store", store, "--follow", "--count", "1"]).stdin(Stdio::null()),
    );
    process.says("is empty: waiting for a gateway that stores there");
    let mut storing = Storing::start(folder.path(), Duration::from_secs(60));
    storing.put("a.x");
    let (code, printed, _) = process.end();
    assert_eq!((code, printed.as_str()), (0, "a.x 0 1 payload 1\n"));
    let topic = folder.path().join("a.x");
    let (code, _, said) = run(&["tail", "--store", topic.to_str().unwrap()]);
    let mend = format!(
        "it is the folder of one topic: give --store {}",
        folder.path().canonicalize().unwrap().display()
    );
    assert!(code == Some(2) && said.contains(&mend), "{said}");
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
    let unread = ["tail", "--store", store, "--follow"];
    let mut unread = support::process::Process::start(&mut framegate(&unread));
    let mut stdout = BufReader::new(unread.child.stdout.take().unwrap());
    for _ in 1..storing.next {
        stdout.read_line(&mut String::new()).unwrap();
    }
    drop(stdout);
    assert_eq!(unread.end().0, 0);
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

#[test]
fn what_was_stored_under_several_secrets_is_read_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = root.to_str().unwrap();
    let secret = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_string()
    };
    let (old, new) = (secret("old"), secret("new"));
    for (first, scheme) in [(1, Scheme::Sha256), (3, Scheme::keyed(b"old")), (5, Scheme::keyed(b"new"))] {
        let mut storing = Storing::start_under(&root, PATIENCE, scheme);
        storing.next = first;
        storing.put("a");
        storing.put("a");
    }
    let both = ["--secret-file", &new, "--secret-file", &old];
    let (code, text, _) = run(&[&["verify", store], &both[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 frames of these under plain SHA-256: the store had no secret then\n"), "{text}");
    let (code, printed, said) = run(&[&["tail", "--store", store], &both[..]].concat());
    assert_eq!((code, printed.lines().count(), said.as_str()), (Some(0), 6, ""));
    // One that is missing is said, and the others are read.
    for (given, bad, left) in [(&both[..2], 1, 4), (&[], 2, 2)] {
        let (code, text, _) = run(&[&["verify", store], given].concat());
        assert_eq!(
            (code, text.matches("under a secret that was not given").count()),
            (Some(1), bad),
            "{text}"
        );
        let (code, printed, said) = run(&[&["tail", "--store", store], given].concat());
        assert_eq!((code, printed.lines().count()), (Some(1), left), "{said}");
        assert!(said.contains("give that secret with one more --secret-file"), "{said}");
    }
    // To a gateway with the new secret, all of it.
    let gateway =
        support::start(Config { scheme: Scheme::keyed(b"new"), dedup: Some(PATIENCE), ..Config::default() });
    let to = gateway.address.to_string();
    let files = files(&root, "frames");
    let paths: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let (code, report, said) =
        run(&[&["send", "--to", &to, "--whole", "--frames"], &both[..], &paths[..]].concat());
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(report.contains("OK 6"), "{report}");
    gateway.stop();
    // What anybody could have made is not intact where a secret was in force.
    let mut plain = Vec::new();
    encode(Header::new(Kind::Data), b"a", b"forged", &Scheme::Sha256, &mut plain);
    fs::write(&files[1], plain).unwrap();
    fs::remove_file(files[1].with_extension("index")).unwrap();
    let (code, text, _) = run(&[&["verify", store], &both[..]].concat());
    assert!(code == Some(1) && text.contains("a digest that does not match"), "{text}");
    let (code, _, said) = run(&["tail", "--secret-file", &old, "--secret-file", &new]);
    assert!(code == Some(2) && said.contains("that is for --store alone"), "{said}");
}

#[test]
fn a_tail_that_follows_learns_that_the_secret_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let secret = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, name).unwrap();
        path.to_str().unwrap().to_string()
    };
    let (old, new) = (secret("old"), secret("new"));
    let mut storing = Storing::start_under(&root, PATIENCE, Scheme::keyed(b"old"));
    storing.put("a");
    let mut args = vec!["tail", "--store", root.to_str().unwrap(), "--follow", "--count", "2"];
    args.extend(["--secret-file", &new, "--secret-file", &old]);
    let mut tail = support::process::Process::start(&mut framegate(&args));
    let mut printed = BufReader::new(tail.child.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "a 0 1 payload 1\n");
    let next = storing.next;
    drop(storing);
    let mut storing = Storing::start_under(&root, PATIENCE, Scheme::keyed(b"new"));
    storing.next = next;
    storing.put("a");
    // Of a frame that it took for damaged it would say so and wait for ever.
    let watched = std::thread::spawn(move || {
        let mut line = String::new();
        printed.read_line(&mut line).unwrap();
        line
    });
    let since = Instant::now();
    while !watched.is_finished() {
        assert!(since.elapsed() < PATIENCE, "the frame under the new secret is not printed");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(watched.join().unwrap(), "a 0 2 payload 2\n");
    let (code, _, said) = tail.end();
    assert!(code == 0 && !said.contains("left out"), "{said}");
}

#[test]
fn a_clock_that_was_ahead_once_is_said_and_ages_are_right_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = (folder.path().to_str().unwrap(), folder.path());
    drop(Storing::start(root, PATIENCE));
    let ahead = Stamp(4_102_444_800_000_000_000);
    let now = std::time::SystemTime::now();
    let ago = |minutes: u64| now - Duration::from_secs(60 * minutes);
    // Stored in 2100, as the clock said; two hours ago it was set right. Since then: 90 and 30 minutes ago.
    segment(root, "a", &[(ahead.0, "a")]);
    segment(root, "a", &[(ahead.0 + 10, "a")]);
    segment(root, "b", &[(ahead.0 + 20, "b")]);
    for (path, minutes) in files(root, "frames").into_iter().zip([0, 90, 30]) {
        fs::File::options().append(true).open(path).unwrap().set_modified(ago(minutes)).unwrap();
    }
    let record = format!("{} {}\n", Stamp(ahead.0 + 5), Stamp::at(ago(120)));
    fs::write(root.join(".clock"), record).unwrap();
    let ids = |since: &str| {
        let (code, printed, said) = run(&["tail", "--store", store, "--since", since, "--format", "payload"]);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        printed.lines().map(|line| line.parse::<u64>().unwrap() - ahead.0).collect::<Vec<_>>()
    };
    assert_eq!(ids("1h"), [20]);
    assert_eq!(ids("100m"), [10, 20]);
    assert_eq!(ids("3h"), [0, 10, 20], "that much is not known of the first");
    assert_eq!(ids("10m"), Vec::<u64>::new());
    // A gateway says it at its start, and removes by these ages.
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--store", store];
    args.extend(["--store-keep", "1h", "--store-rotate", "1s"]);
    let process = support::process::Process::start(&mut framegate(&args));
    let line = process.says("the store's stamps run ahead of the clock by ");
    assert!(line.contains("2100-01-01T00:00:00Z"), "{line}");
    let since = Instant::now();
    while files(root, "frames").len() > 1 {
        assert!(since.elapsed() < PATIENCE, "{:?}", files(root, "frames"));
        std::thread::sleep(Duration::from_millis(10));
    }
    process.signal("TERM");
    assert_eq!(process.end().0, 0);
    assert!(files(&root.join("b"), "frames").len() == 1 && files(&root.join("a"), "frames").is_empty());
}
