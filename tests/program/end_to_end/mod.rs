//! The program as its users run it: a gateway, senders and tails, each a process.

mod ends;
mod signals;
mod silent;
mod stored;
use crate::support;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framegate::wire::{Header, Kind, Scheme, Status, encode};
use serde_json::Value;
use support::PATIENCE;
use support::process::Process;

fn framegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(args: &[&str], stdin: Stdio) -> Process {
    Process::start(framegate(args).stdin(stdin))
}

struct Gateway {
    process: Process,
    address: String,
}

/// Starts a gateway on a free port.
fn serve(options: &[&str]) -> Gateway {
    serve_at("127.0.0.1:0", options)
}

fn serve_at(listen: &str, options: &[&str]) -> Gateway {
    let process = start(&[&["serve", "--listen", listen, "--admin", "off"], options].concat(), Stdio::null());
    Gateway { address: process.address(), process }
}

impl Gateway {
    fn send(&self, options: &[&str], input: &[u8]) -> Output {
        let mut child = framegate(&[&["send", "--to", &self.address], options].concat())
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // A sender that refuses at once reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// A tail that has subscribed.
    fn tail(&self, options: &[&str]) -> Process {
        let tail = start(&[&["tail", "-v", "--from", &self.address], options].concat(), Stdio::null());
        tail.says("subscribed to");
        tail
    }

    /// Ends it, and gives its ledger.
    fn end(self) -> String {
        self.process.signal("TERM");
        let (code, printed, _) = self.process.end();
        assert_eq!(code, 0);
        printed
    }
}

/// A peer that closes when the gateway has: it waits two seconds for one that does not.
fn close_when_told(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // How it ends is another matter.
    let _ = stream.read_to_end(&mut Vec::new());
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn write(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_string()
}

/// Lines of every kind: empty, with `\r`, not UTF-8, long, and a last one without an end.
fn lines(count: usize) -> Vec<u8> {
    let mut text = b"\nhello\r\n\xff\xfe\0\n".to_vec();
    text.extend(vec![b'x'; 300_000]);
    for index in 0..count {
        text.extend(format!("\nline {index}").into_bytes());
    }
    text
}

#[test]
fn a_published_file_is_reproduced_byte_for_byte() {
    let gateway = serve(&[]);
    let text = lines(20_000);
    let count = (text.iter().filter(|&&byte| byte == b'\n').count() + 1).to_string();
    for options in [&[][..], &["--no-reply"], &["--max-in-flight", "1"]] {
        let mut tail = gateway.tail(&["logs.>", "--format", "payload", "--count", &count]);
        let mut stdout = tail.child.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            stdout.read_to_end(&mut all).unwrap();
            all
        });
        let sent = gateway.send(&[&["--topic", "logs.web"], options].concat(), &text);
        assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
        assert_eq!(tail.end().0, 0);
        assert!(reader.join().unwrap() == [&text[..], b"\n"].concat(), "{options:?}: other bytes came out");
    }
    let ledger = gateway.end();
    assert!(!ledger.is_empty());
}

#[test]
fn formats_and_interactive_use() {
    let gateway = serve(&[]);
    let mut text = gateway.tail(&[]);
    let json = gateway.tail(&["a.*", "--json", "--count", "2"]);
    let mut send =
        start(&["send", "--to", &gateway.address, "--topic", "a.b", "--key", "7", "--json"], Stdio::piped());
    // Each line arrives before the next is written.
    let mut stdout = BufReader::new(text.child.stdout.take().unwrap());
    for (id, line) in [(1, "first"), (2, "caf\u{e9}")] {
        send.write(format!("{line}\n").as_bytes());
        let mut shown = String::new();
        stdout.read_line(&mut shown).unwrap();
        assert_eq!(shown, format!("a.b 7 {id} {line}\n"));
    }
    let (code, report, _) = send.end();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["statuses"]["OK"], &report["frames"]), (0, &2.into(), &2.into()));
    let (code, printed, _) = json.end();
    assert_eq!(code, 0);
    let first: Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert_eq!(first, serde_json::json!({"topic": "a.b", "key": 7, "id": 1, "payload": "first"}));
}

#[test]
fn files_lines_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let one = write(folder.path(), "one", b"a\nb");
    let two = write(folder.path(), "two", b"c\n");
    let gateway = serve(&[]);
    let tail = gateway.tail(&["--count", "5"]);
    assert_eq!(gateway.send(&[&one, "-", &two], b"").status.code(), Some(0));
    let whole = gateway.send(&["--whole", &one, &two], b"");
    assert!(printed(&whole).starts_with("sent 2 frames, 5 B in "), "{}", printed(&whole));
    let (code, shown, _) = tail.end();
    assert_eq!((code, shown.as_str()), (0, " 0 1 a\n 0 2 b\n 0 3 c\n 0 1 a\\nb\n 0 2 c\\n\n"));
}

#[test]
fn secrets_are_needed_and_their_lack_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let secret = write(folder.path(), "secret", b"hush, hush, hush\n");
    let other = write(folder.path(), "other", b"hash, hash, hash\n");
    let gateway = serve(&["--secret-file", &secret]);
    for (options, mend) in [(&[][..], "give --secret-file"), (&["--secret-file", &other], "another secret")] {
        let refused = gateway.send(&[&["-q"], options].concat(), b"hello\n");
        let line = said(&refused);
        assert_eq!((refused.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.contains(mend) && refused.stdout.is_empty(), "{line}");
        let tail =
            framegate(&[&["tail", "-q", "--from", &gateway.address], options].concat()).output().unwrap();
        assert_eq!(tail.status.code(), Some(2));
        assert!(said(&tail).contains(mend), "{}", said(&tail));
    }
    let tail = gateway.tail(&["--secret-file", &secret, "--count", "1"]);
    assert_eq!(gateway.send(&["--secret-file", &secret], b"hello\n").status.code(), Some(0));
    assert_eq!(tail.end().1, " 0 1 hello\n");

    let open = serve(&[]);
    let refused = open.send(&["-q", "--secret-file", &secret], b"hello\n");
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("leave --secret-file out"), "{}", said(&refused));
}

#[test]
fn a_line_that_is_too_large_fails_alone() {
    let gateway = serve(&["--max-payload", "1KiB"]);
    let large = "x".repeat(1025);
    let text = format!("a\nb\n{large}\nc\n{large}\nd\n");
    let sent = gateway.send(&["-q"], text.as_bytes());
    assert_eq!(sent.status.code(), Some(1));
    let report = printed(&sent);
    assert!(report.contains(": OK 4, TOO_LARGE 2 (") && report.contains("max-payload"), "{report}");
}

#[test]
fn the_same_bytes_again_are_done_already() {
    let gateway = serve(&["--dedup", "1m"]);
    let first = gateway.send(&[], b"a\nb\n");
    let again = gateway.send(&[], b"a\nb\nc\n");
    assert!(printed(&first).contains("OK 2"), "{}", printed(&first));
    assert!(printed(&again).contains("OK 1, DUPLICATE 2"), "{}", printed(&again));
    assert_eq!((first.status.code(), again.status.code()), (Some(0), Some(0)));
}

#[test]
fn a_sender_outlives_its_gateway() {
    let gateway = serve(&[]);
    let address = gateway.address.clone();
    let tail = gateway.tail(&["--count", "2"]);
    let mut send = start(&["send", "-v", "--to", &address], Stdio::piped());
    send.write(b"1\n2\n");
    assert_eq!(tail.end().1, " 0 1 1\n 0 2 2\n");
    gateway.end();
    // Only what is to be sent makes it connect again.
    send.write(b"3\n");
    send.says("connecting again");
    let gateway = serve_at(&address, &[]);
    send.says("again");
    send.write(b"4\n");
    let (code, report, said) = send.end();
    assert_eq!(code, 0, "{report} {said}");
    assert!(report.contains("sent 4 frames") && report.contains("OK 4"), "{report}");
    gateway.end();
}

#[test]
fn without_retry_a_gateway_that_goes_away_is_exit_3() {
    let mut gateway = serve(&[]);
    let mut tail = gateway.tail(&["--no-retry"]);
    let mut send = start(&["send", "--no-retry", "--to", &gateway.address], Stdio::piped());
    send.write(b"1\n");
    let mut shown = BufReader::new(tail.child.stdout.take().unwrap());
    shown.read_line(&mut String::new()).unwrap();
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    // Whether it notices while it reads or while it sends.
    let _ = send.child.stdin.as_mut().unwrap().write_all(b"2\n");
    let (code, report, said) = send.end();
    assert_eq!(code, 3, "{report} {said}");
    assert!(said.contains("went away") && report.starts_with("sent "), "{report} {said}");
    let (code, _, said) = tail.end();
    assert!(code == 3 && said.contains("went away"), "{code} {said}");
}

#[test]
fn a_patrol_says_how_full_the_queues_are() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = serve(&["--patrol", "100ms", "--store", folder.path().to_str().unwrap()]);
    let line = gateway.process.says("patrol: ");
    for part in
        ["connections 0 of ", "jobs 0 of ", "memory ", "incomplete messages 0 of 1000000", "store 0 B"]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(gateway.send(&["--topic", "a"], b"one\ntwo\n").status.code(), Some(0));
    // It goes on, and ends with the gateway.
    gateway.process.says("patrol: ");
    gateway.process.says("patrol: ");
    assert!(gateway.end().starts_with("frames: read 2 "));
}

#[test]
fn draining_ends_a_tail_after_its_last_frame() {
    let gateway = serve(&["--json"]);
    let tail = gateway.tail(&["--no-retry"]);
    assert_eq!(gateway.send(&[], b"hello\n").status.code(), Some(0));
    let ledger: Value = serde_json::from_str(&gateway.end()).unwrap();
    assert!(ledger.is_object());
    let (code, shown, said) = tail.end();
    assert_eq!((code, shown.as_str()), (3, " 0 1 hello\n"));
    assert!(said.contains(" drains and ends (CLOSING)") && !said.contains("connecting again"), "{said}");
}

#[test]
fn a_signal_ends_a_sender_and_a_tail_with_130() {
    let gateway = serve(&[]);
    let mut tail = gateway.tail(&[]);
    let mut send = start(&["send", "--to", &gateway.address], Stdio::piped());
    send.write(b"hello\n");
    let mut stdout = BufReader::new(tail.child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    // Its standard input stays open: it is stopped while it waits for more.
    let stdin = send.child.stdin.take();
    send.signal("INT");
    let (code, report, _) = send.end();
    assert!(code == 130 && report.contains("OK 1"), "{code} {report}");
    drop(stdin);
    tail.signal("TERM");
    assert_eq!(tail.end().0, 130);
}

#[test]
fn a_second_signal_does_not_wait() {
    // Takes connections and never answers, so that nothing in flight is ever finished.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let mut send = start(&["send", "-v", "--to", &address], Stdio::piped());
    send.write(b"hello\n");
    let mut peer = mute.accept().unwrap().0;
    peer.read_exact(&mut [0; 32 + 5 + 32]).unwrap();
    send.signal("INT");
    send.says("a second signal ends it at once");
    send.signal("TERM");
    let (code, report, _) = send.end();
    assert_eq!((code, report.as_str()), (130, ""));
}

#[test]
fn a_tail_that_nobody_reads_ends_quietly() {
    let gateway = serve(&[]);
    let mut tail = gateway.tail(&[]);
    // Nothing comes that could not be printed: it is told of the pipe's end alone.
    drop(tail.child.stdout.take());
    let (code, _, said) = tail.end();
    assert_eq!((code, said.as_str()), (0, ""));
}

/// Waits until a file is there, or is gone.
fn wait_for(path: &Path, is_there: bool) {
    let since = Instant::now();
    while path.exists() != is_there {
        assert!(since.elapsed() < PATIENCE, "{} there: {}", path.display(), !is_there);
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on, and will not be given to anybody else for now.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn what_is_started_before_its_gateway_finds_it() {
    let (address, admin) = (free_address(), free_address());
    let load = ["bench", "frames", &address, "-q", "--duration", "200ms", "--rate", "1000"];
    let mut load = framegate(&load).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut send = start(&["send", "-v", "--to", &address, "--topic", "a"], Stdio::piped());
    let tail = start(&["tail", "a", "-v", "--from", &address, "--count", "1"], Stdio::null());
    let mut status = framegate(&["ctl", "status", "--admin", &admin]).spawn().unwrap();
    // Both were refused once, and nobody is told of that but for -v.
    send.says("trying again for 3s");
    tail.says("trying again for 3s");
    let gateway =
        Process::start(framegate(&["serve", "--listen", &address, "--admin", &admin]).stdin(Stdio::null()));
    gateway.address();
    tail.says("subscribed to");
    send.write(b"hello\n");
    assert_eq!((send.end().0, tail.end().1.as_str()), (0, "a 0 1 hello\n"));
    assert_eq!(status.wait().unwrap().code(), Some(0));
    assert_eq!(load.wait().unwrap().code(), Some(0));
}

#[test]
fn a_script_waits_for_a_subscription() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let gateway = serve(&[]);
    let tail = |options: &[&str]| {
        let tail = ["tail", "--from", &gateway.address, "--ready-file", ready.to_str().unwrap()];
        start(&[&tail, options].concat(), Stdio::null())
    };
    let counted = tail(&["--count", "1"]);
    wait_for(&ready, true);
    assert_eq!(gateway.send(&[], b"hello\n").status.code(), Some(0));
    assert_eq!(counted.end().1, " 0 1 hello\n");
    assert!(!ready.exists(), "it goes with the subscription");
    let signalled = tail(&[]);
    wait_for(&ready, true);
    signalled.signal("TERM");
    assert_eq!(signalled.end().0, 130);
    assert!(!ready.exists());
    // One that is killed leaves it, and the next does not take that for its own.
    let mut killed = tail(&[]);
    wait_for(&ready, true);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let never = ["tail", "--from", &address, "--ready-file", ready.to_str().unwrap()];
    let _never = start(&never, Stdio::null());
    wait_for(&ready, false);
}

#[test]
fn a_tail_goes_on_with_the_next_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut gateway = serve(&[]);
    let address = gateway.address.clone();
    let tail = gateway.tail(&["--json", "--count", "3", "--ready-file", ready.to_str().unwrap()]);
    wait_for(&ready, true);
    assert_eq!(gateway.send(&[], b"1\n").status.code(), Some(0));
    gateway.end();
    let said = tail.says("connecting again, for 1m at most");
    assert!(said.contains(" drains and ends (CLOSING)"), "{said}");
    wait_for(&ready, false);
    gateway = serve_at(&address, &[]);
    let said = tail.says("subscribed again after");
    assert!(said.contains("what was published meanwhile is missing here"), "{said}");
    wait_for(&ready, true);
    assert_eq!(gateway.send(&[], b"2\n").status.code(), Some(0));
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    let said = tail.says("connecting again");
    assert!(said.contains(" went away: ") && !said.contains("drains"), "{said}");
    let gateway = serve_at(&address, &[]);
    tail.says("subscribed again after");
    assert_eq!(gateway.send(&[], b"3\n4\n").status.code(), Some(0));
    let (code, shown, _) = tail.end();
    let payload = |line: &str| serde_json::from_str::<Value>(line).unwrap()["payload"].clone();
    let shown: Vec<Value> = shown.lines().map(payload).collect();
    assert_eq!((code, shown), (0, vec!["1".into(), Value::Null, "2".into(), Value::Null, "3".into()]));
}

#[test]
fn a_tail_lets_go_of_a_gateway_that_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tail = start(&["tail", "--from", &listener.local_addr().unwrap().to_string()], Stdio::null());
    let mut stream = listener.accept().unwrap().0;
    stream.read_exact(&mut [0; 32 + 1 + 32]).unwrap();
    let mut bytes = Vec::new();
    for (id, status) in [(1, Status::Ok), (0, Status::Closing)] {
        let header = Header { id, status: status as u16, ..Header::new(Kind::Reply) };
        encode(header, b"", b"", &Scheme::Sha256, &mut bytes);
    }
    stream.write_all(&bytes).unwrap();
    drop(listener);
    // It waits for another, and this one need not wait for it.
    tail.says("connecting again");
    stream.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// Whatever has taken the gateway's place will not become one.
#[test]
fn a_tail_gives_up_on_what_is_no_gateway_after_one_that_was() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tail = start(&["tail", "--from", &listener.local_addr().unwrap().to_string()], Stdio::null());
    let mut stream = listener.accept().unwrap().0;
    stream.read_exact(&mut [0; 32 + 1 + 32]).unwrap();
    let mut bytes = Vec::new();
    let header = Header { id: 1, status: Status::Ok as u16, ..Header::new(Kind::Reply) };
    encode(header, b"", b"", &Scheme::Sha256, &mut bytes);
    stream.write_all(&bytes).unwrap();
    drop(stream);
    let mut stream = listener.accept().unwrap().0;
    stream.read_exact(&mut [0; 32 + 1 + 32]).unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    let (code, _, said) = tail.end();
    assert!(code == 3 && said.contains(" is not a gateway: ") && !said.contains("gave up"), "{code} {said}");
}

#[test]
fn a_pattern_that_can_hardly_be_meant_is_told() {
    let gateway = serve(&[]);
    let tail = start(&["tail", "--from", &gateway.address, "ok.*", "logs.a*"], Stdio::null());
    let said = tail.says("WARN");
    assert!(said.contains("the pattern 'logs.a*': * and > stand for whole tokens"), "{said}");
}

#[test]
fn what_the_deduplication_window_holds_is_said() {
    let options = ["--dedup", "1h", "--max-payload", "1MiB", "--memory", "8MiB"];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "off"];
    let process = start(&[&serve[..], &options].concat(), Stdio::null());
    let line = process.says("dedup 1h: up to ");
    let most: usize = line.split(' ').find_map(|word| word.parse().ok()).expect("a number of digests");
    let gateway = Gateway { address: process.address(), process };
    let lines: String = (0..=most).map(|n| format!("{n}\n")).collect();
    assert_eq!(gateway.send(&[], lines.as_bytes()).status.code(), Some(0));
    let line = gateway.process.says("the deduplication window is full");
    assert!(line.contains("raise --memory or shorten --dedup"), "{line}");
}

#[test]
fn that_nobody_has_what_was_sent_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = serve(&[]);
    let tail = gateway.tail(&["a.>"]);
    let sent = |options: &[&str]| printed(&gateway.send(options, b"1\n2\n"));
    assert!(sent(&["--topic", "a.b"]).ends_with(": OK 2\n"));
    let lost = ": OK 2; 2 frames matched no subscriber and no sink: nobody has them\n";
    assert!(sent(&["--topic", "b"]).ends_with(lost));
    let report: Value = serde_json::from_str(&sent(&["--topic", "b", "--json"])).unwrap();
    assert_eq!((&report["unmatched"], &report["statuses"]["OK"]), (&2.into(), &2.into()));
    let unknown = ": 2 read by the gateway; they ask for no reply, so what became of them is not known\n";
    assert!(sent(&["--no-reply"]).ends_with(unknown));
    drop(tail);
    assert!(gateway.end().contains("(matching no subscriber 6)"));
    // A store has it, and then nobody needs to.
    let gateway = serve(&["--store", folder.path().to_str().unwrap()]);
    assert!(printed(&gateway.send(&[], b"1\n")).ends_with(": OK 1\n"));
}

#[test]
fn a_second_signal_ends_a_gateway_with_what_it_knows() {
    let mute = "sh -c 'head -c 1 >/dev/null; echo got it >&2; exec sleep 1000'";
    let gateway = serve(&["--json", "--drain", "1h", "--handlers", "1", "--handler", mute]);
    // No sender of ours, which would send a PING where it is not answered for a second.
    let mut publisher = TcpStream::connect(&gateway.address).unwrap();
    let mut frame = Vec::new();
    encode(Header { id: 1, ..Header::new(Kind::Data) }, b"", b"1", &Scheme::Sha256, &mut frame);
    publisher.write_all(&frame).unwrap();
    gateway.process.says("handler 1: got it");
    gateway.process.signal("TERM");
    gateway.process.says("a second signal ends at once");
    gateway.process.signal("TERM");
    let (code, ledger, said) = gateway.process.end();
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    assert_eq!((code, &ledger["read"], &ledger["delivered"]), (130, &1.into(), &0.into()));
    let cut = "with exit code 130: the ledger is cut short, with 1 frame not finished";
    assert!(said.contains(cut), "{said}");
}

#[test]
fn the_first_line_of_a_gateway_says_what_frames_meet() {
    let folder = tempfile::tempdir().unwrap();
    let secret = write(folder.path(), "secret", b"hush, hush, hush\n");
    let store = folder.path().join("store");
    let store = store.to_str().unwrap();
    let options = ["--store", store, "--secret-file", &secret, "--handler", "cat", "--handlers", "2"];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "off"];
    let gateway = start(&[&serve[..], &options].concat(), Stdio::null());
    let line = gateway.says(" listening on ");
    let rest = format!(", store {store}, 2 handlers 'cat', no HTTP sink, secret {secret}");
    assert!(line.ends_with(&rest), "{line}");
}
