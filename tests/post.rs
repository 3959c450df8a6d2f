//! `framegate post` against stores that take, refuse, stall and break off, and through kills.
#![cfg(unix)]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the store does with a request.
#[derive(Clone, Copy)]
enum Act {
    /// Answers with a status, further header lines and a body.
    Answer(u16, &'static str, &'static str),
    /// Answers nothing.
    Hang,
    /// Breaks the connection off.
    Reset,
    /// Ends the connection within the answer.
    Cut,
}

const OK: Act = Act::Answer(200, "", "{\"code\":0}");

/// Decides by a record and how often it was seen before.
type Decide = dyn Fn(&str, usize) -> Act + Send + Sync;

#[derive(Default)]
struct Log {
    /// When each record was seen, and its keys, by its body.
    seen: HashMap<String, Vec<(Instant, String)>>,
    requests: usize,
    open: usize,
    refused: usize,
}

struct Store {
    address: SocketAddr,
    log: Arc<(Mutex<Log>, Condvar)>,
}

impl Store {
    /// A store that takes `most` connections at once and breaks off all others.
    fn start(most: usize, decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new((Mutex::new(Log::default()), Condvar::new()));
        let (shared, decide): (_, Arc<Decide>) = (log.clone(), Arc::new(decide));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut log = shared.0.lock().unwrap();
                if log.open == most {
                    log.refused += 1;
                    reset(stream);
                    continue;
                }
                log.open += 1;
                drop(log);
                let (shared, decide) = (shared.clone(), decide.clone());
                thread::spawn(move || {
                    // However a connection ends, it is over.
                    let _ = serve(stream, &shared, &*decide);
                    shared.0.lock().unwrap().open -= 1;
                });
            }
        });
        Store { address, log }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until so many requests have come.
    fn wait_for(&self, requests: usize) {
        let log = self.log.0.lock().unwrap();
        let waited = self.log.1.wait_timeout_while(log, PATIENCE, |log| log.requests < requests);
        assert!(!waited.unwrap().1.timed_out(), "{requests} requests never came");
    }

    fn requests(&self) -> usize {
        self.log.0.lock().unwrap().requests
    }

    /// How often a record was seen.
    fn times(&self, record: &str) -> usize {
        self.log.0.lock().unwrap().seen.get(record).map_or(0, Vec::len)
    }
}

fn reset(stream: TcpStream) {
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn serve(stream: TcpStream, log: &(Mutex<Log>, Condvar), decide: &Decide) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut len, mut key) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => len = value.parse().unwrap(),
                Some(("Idempotency-Key", value)) => key = value.to_owned(),
                _ if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).unwrap();
        let mut locked = log.0.lock().unwrap();
        locked.requests += 1;
        let seen = locked.seen.entry(body.clone()).or_default();
        seen.push((Instant::now(), key));
        let act = decide(&body, seen.len() - 1);
        drop(locked);
        log.1.notify_all();
        let stream = reader.get_mut();
        match act {
            Act::Answer(status, fields, body) => {
                let head = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + body).as_bytes())?;
            }
            Act::Hang => {
                // Until the other side gives up.
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            Act::Reset => {
                reset(reader.into_inner());
                return Ok(());
            }
            Act::Cut => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.arg("post").args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end; its report, and its exit code.
fn post(args: &[&str]) -> (Value, i32) {
    let output = command(args).arg("--json").output().expect("the program starts");
    (report(&output), output.status.code().expect("not killed"))
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A file of numbered lines.
fn lines(path: &Path, count: usize) -> String {
    let lines: String = (0..count).map(|n| format!("record {n}\n")).collect();
    fs::write(path, lines).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_record_of_a_store_that_misbehaves_has_the_right_outcome() {
    const FAILS: &str = "out of order\nagain";
    let store = Store::start(usize::MAX, |record, before| {
        let number: usize = record.strip_prefix("record ").unwrap().parse().unwrap();
        match (number, before) {
            (1, _) => Act::Answer(503, "", FAILS),
            (2, 0) => Act::Answer(429, "Retry-After: 1\r\n", ""),
            (3, _) => Act::Hang,
            (4, _) => Act::Reset,
            (5, _) => Act::Answer(200, "Content-Type: application/json\r\n", "<html>hello</html>"),
            (6, _) => Act::Answer(404, "", "no such thing"),
            (8, _) => Act::Answer(200, "Content-Type: text/plain\r\n", "{\"code\":7}"),
            (9, 0) => Act::Cut,
            (number, 0) if number % 7 == 0 => Act::Answer(500, "", ""),
            _ => OK,
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 70);
    let failed = folder.path().join("failed.jsonl");
    let (report, exit) = post(&[
        &file,
        &store.url(),
        "--timeout=500ms",
        "--retries=1",
        "--ok-when=code=0",
        "--max-in-flight=20",
        "--report",
        failed.to_str().unwrap(),
    ]);
    assert_eq!((exit, &report["stored"], &report["failed"]), (1, &64.into(), &6.into()), "{report}");

    let failed = fs::read_to_string(failed).unwrap();
    let mut failed: Vec<Value> = failed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(failed.pop().unwrap()["summary"]["failed"], 6);
    let of = |line: usize| {
        let name = format!("line {}", line + 1);
        failed.iter().find(|failed| failed["record"] == name).unwrap_or_else(|| panic!("{name} did not fail"))
    };
    for (number, status, tries, reason) in [
        (1, Some(503), 2, "503 Service Unavailable: out of order again"),
        (3, None, 2, "no whole response within 500ms"),
        (4, None, 2, "the connection broke: Connection reset by peer"),
        (5, Some(200), 1, "200 OK, but no JSON: <html>hello</html>"),
        (6, Some(404), 1, "404 Not Found: no such thing"),
        (8, Some(200), 1, "200 OK, but code=7: {\"code\":7}"),
    ] {
        let failed = of(number);
        assert_eq!(failed["status"].as_u64(), status, "{failed}");
        assert_eq!(failed["tries"], tries, "{failed}");
        assert_eq!(failed["reason"], reason);
        assert!(failed["key"].as_str().unwrap().len() == 64 && failed["source"] == file.as_str());
    }
    // What may pass was tried again with the same key, what may not was not.
    for (number, times) in [(0, 2), (1, 2), (2, 2), (5, 1), (6, 1), (7, 2), (8, 1), (9, 2), (10, 1), (14, 2)]
    {
        assert_eq!(store.times(&format!("record {number}")), times, "record {number}");
    }
    let log = store.log.0.lock().unwrap();
    assert!(log.seen.values().all(|seen| seen.iter().all(|(_, key)| *key == seen[0].1)));
    let asked = &log.seen["record 2"];
    assert!(asked[1].0 - asked[0].0 >= Duration::from_secs(1), "Retry-After is honoured");
}

#[test]
fn a_store_that_refuses_connections_gets_fewer() {
    let store = Store::start(5, |_, _| OK);
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 2000);
    let (report, exit) = post(&[&file, &store.url(), "--max-in-flight=100", "--max-connections=100"]);
    assert_eq!((exit, &report["stored"], &report["failed"]), (0, &2000.into(), &0.into()), "{report}");
    let log = store.log.0.lock().unwrap();
    assert!(log.refused > 0);
    assert!(log.seen.len() == 2000 && log.seen.values().all(|seen| seen.len() == 1));
}

#[test]
fn a_run_that_is_killed_goes_on_where_it_was() {
    const IN_FLIGHT: usize = 10;
    const KILLS: usize = 5;
    let store = Store::start(usize::MAX, |_, _| OK);
    let folder = tempfile::tempdir().unwrap();
    let count = 20_000;
    let file = lines(&folder.path().join("a.txt"), count);
    let url = store.url();
    let args = [file.as_str(), &url, "--max-in-flight=10"];
    let mut killed = 0;
    for kill in 1..=KILLS {
        let mut child = command(&args).spawn().unwrap();
        store.wait_for(kill * count / (KILLS + 1));
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    let (report, exit) = post(&args);
    let of = |name: &str| report[name].as_u64().unwrap() as usize;
    assert_eq!((exit, of("stored") + of("stored_before"), of("failed")), (0, count, 0), "{report}");
    assert!(killed > 0 && of("stored_before") > 0, "{report}");
    let log = store.log.0.lock().unwrap();
    assert_eq!(log.seen.len(), count);
    let twice = log.requests - count;
    assert!(twice <= killed * IN_FLIGHT, "{twice} of {killed} kills");
    assert!(log.seen.values().all(|seen| seen.iter().all(|(_, key)| *key == seen[0].1)));
    drop(log);

    // All is done: nothing is sent again.
    let before = store.requests();
    let (report, exit) = post(&args);
    assert_eq!((exit, report["stored_before"].as_u64()), (0, Some(count as u64)));
    assert_eq!(store.requests(), before);
}

#[test]
fn only_what_failed_is_sent_again() {
    let store = Store::start(usize::MAX, |record, before| match before {
        0 if record.ends_with('3') => Act::Answer(422, "", "not yet"),
        _ => OK,
    });
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 100);
    let failed = folder.path().join("failed.jsonl");
    let (url, failed) = (store.url(), failed.to_str().unwrap());
    let (report, exit) = post(&[&file, &url, "--report", failed]);
    assert_eq!((exit, &report["stored"], &report["failed"]), (1, &90.into(), &10.into()));
    // As before: what failed for good is not tried again by itself.
    let (report, exit) = post(&[&file, &url, "--report", failed]);
    assert_eq!((exit, &report["stored_before"], &report["failed"]), (1, &90.into(), &10.into()));
    assert_eq!(report["failures"][0]["kind"], "422 Unprocessable Entity");
    let (report, exit) = post(&["--retry-failed", failed, &url]);
    assert_eq!((exit, &report["stored"], &report["requests"]), (0, &10.into(), &10.into()), "{report}");
    let (report, exit) = post(&[&file, &url]);
    assert_eq!((exit, &report["stored_before"], &report["requests"]), (0, &100.into(), &0.into()));
    assert_eq!((store.times("record 13"), store.times("record 14")), (2, 1));
}

/// A process that watches, ended with the test.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn archives_are_taken_as_they_arrive_and_put_away_by_one_of_two() {
    let store = Store::start(usize::MAX, |record, _| match record {
        "bad" => Act::Answer(400, "", "bad"),
        _ => OK,
    });
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let watch = || {
        Watching(command(&["--watch", inbox.to_str().unwrap(), &store.url(), "--retries=0"]).spawn().unwrap())
    };
    let mut both = [watch(), watch()];
    for n in 0..20 {
        let text: String = (0..10).map(|line| format!("{n} {line}\n")).collect();
        let text = if n == 7 { text + "bad\n" } else { text };
        let written = folder.path().join("written");
        fs::write(&written, text).unwrap();
        fs::rename(written, inbox.join(format!("{n}.txt"))).unwrap();
    }
    let count = |name: &str| fs::read_dir(inbox.join(name)).map_or(0, Iterator::count);
    let began = Instant::now();
    // One, and its report.
    while count("done") < 19 || count("failed") < 2 {
        assert!(began.elapsed() < PATIENCE, "{} done, {} failed", count("done"), count("failed"));
        thread::yield_now();
    }
    let report = fs::read_to_string(inbox.join("failed/7.txt.report.jsonl")).unwrap();
    assert!(report.contains("\"record\":\"line 11\"") && report.contains("400 Bad Request: bad"), "{report}");
    assert!(inbox.join("failed/7.txt").exists());
    for watching in &mut both {
        let pid = watching.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        assert_eq!(watching.0.wait().unwrap().code(), Some(130));
    }
    let log = store.log.0.lock().unwrap();
    assert_eq!((log.seen.len(), log.requests), (201, 201));
    // Nothing of ours is left.
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 2);
}
