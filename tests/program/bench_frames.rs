//! `bench frames` against a gateway that does its job, and against one that does not: whatever is wrong is
//! reported under its kind, and is exit 1.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use framegate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, Width, encode};
use serde_json::Value;

use crate::cli::refused;
use crate::support;

pub fn bench(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(["bench", "frames"]).args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its exit code, and its report.
pub fn report(output: &Output) -> (i32, Value) {
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {said}"));
    (output.status.code().expect("not killed"), report)
}

/// How many errors of each kind a report tells.
pub fn kinds(report: &Value) -> Vec<(String, u64)> {
    let errors = report["errors"].as_object().expect("errors by kind");
    let mut kinds: Vec<_> =
        errors.iter().map(|(kind, error)| (kind.clone(), error["count"].as_u64().unwrap())).collect();
    kinds.sort();
    kinds
}

/// What the fake gateway makes of the n-th frame for its subscriber.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Drop(u64),
    Swap(u64),
    Flip(u64, usize),
    Twice(u64),
    Garbage(u64),
    Close(u64),
    Slow(u64),
    Gap(u64),
    /// The publisher's connection is closed at this frame.
    ClosePublisher(u64),
    /// One that is nobody's of the load comes beside this frame.
    Foreign(u64),
}

/// Distributes everything to whoever subscribed last, as it came, but for one fault.
struct Fake {
    subscriber: Mutex<Option<TcpStream>>,
    state: Mutex<State>,
    fault: Fault,
    dedup: bool,
}

#[derive(Default)]
struct State {
    frames: u64,
    /// Waits to be swapped with the next.
    held: Vec<u8>,
    probes: u64,
}

fn fake(fault: Fault, dedup: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fake = Arc::new(Fake { subscriber: Mutex::default(), state: Mutex::default(), fault, dedup });
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let fake = fake.clone();
            // It fails where the bench has gone.
            thread::spawn(move || fake.serve(stream));
        }
    });
    address
}

fn reply(status: Status, key: u64, id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { status: status as u16, key, id, ..Header::new(Kind::Reply) };
    encode(header, b"", b"because", &Scheme::Sha256, &mut bytes);
    bytes
}

impl Fake {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut decoder = Decoder::new(Rules { payload_max: 1 << 20, replies: false });
        loop {
            while let Some(frame) = decoder.next_frame().expect("the bench sends frames") {
                let Header { kind, want_reply, id, .. } = frame.header;
                match kind {
                    Kind::Subscribe => {
                        // Nothing is to be distributed before the OK, and everything behind it.
                        let mut subscriber = self.subscriber.lock().unwrap();
                        stream.write_all(&reply(Status::Ok, 0, id))?;
                        *subscriber = Some(stream.try_clone()?);
                    }
                    _ if want_reply => {
                        let mut state = self.state.lock().unwrap();
                        state.probes += 1;
                        let again = self.dedup && state.probes > 1;
                        let status = if again { Status::Duplicate } else { Status::Ok };
                        stream.write_all(&reply(status, 0, id))?;
                    }
                    _ => {
                        if !self.distribute(frame.bytes)? {
                            return stream.shutdown(Shutdown::Both);
                        }
                    }
                }
            }
            let n = stream.read(decoder.spare())?;
            if n == 0 {
                return stream.shutdown(Shutdown::Both);
            }
            decoder.advance(n);
        }
    }

    /// Whether the publisher may stay.
    fn distribute(&self, frame: &[u8]) -> std::io::Result<bool> {
        let mut state = self.state.lock().unwrap();
        let n = state.frames;
        state.frames += 1;
        let mut bytes = std::mem::take(&mut state.held);
        let mut ended = false;
        match self.fault {
            Fault::Drop(at) if n == at => {}
            Fault::Gap(at) if n == at => bytes = reply(Status::Gap, 1, 0),
            Fault::Swap(at) if n == at => {
                state.held = frame.to_vec();
                return Ok(true);
            }
            Fault::Flip(at, byte) if n == at => {
                bytes.extend_from_slice(frame);
                bytes[byte] ^= 1;
            }
            Fault::Twice(at) if n == at => bytes = [frame, frame].concat(),
            Fault::Garbage(at) if n == at => bytes = b"HTTP/1.1 500 Internal Server Error\r\n\r\n".repeat(3),
            Fault::Slow(at) if n == at => {
                bytes = reply(Status::Slow, 0, 0);
                ended = true;
            }
            Fault::Close(at) if n == at => ended = true,
            Fault::ClosePublisher(at) if n == at => return Ok(false),
            Fault::Foreign(at) if n == at => {
                encode(Header::new(Kind::Data), b"t", b"hello", &Scheme::Sha256, &mut bytes);
                bytes.extend_from_slice(frame);
            }
            // The swapped one comes behind.
            _ => bytes = [frame, &bytes].concat(),
        }
        let mut subscriber = self.subscriber.lock().unwrap();
        if let Some(stream) = &mut *subscriber {
            stream.write_all(&bytes)?;
            if ended {
                stream.shutdown(Shutdown::Both)?;
                *subscriber = None;
            }
        }
        Ok(true)
    }
}

/// One publisher, so that the n-th frame is its n-th.
const SMALL: [&str; 7] =
    ["--json", "--publishers=1", "--rate=2000", "--duration=300ms", "--payload=100", "--topic=t", "-q"];

fn broken(fault: Fault) -> (i32, Value) {
    let address = fake(fault, false).to_string();
    report(&bench(&[&[address.as_str()], &SMALL[..]].concat()).output().unwrap())
}

#[test]
fn each_fault_is_told_under_its_kind() {
    // The header of a frame is 32 bytes, its topic 1, its payload 100, its digest 32.
    let cases = [
        (Fault::Drop(200), &[("lost", 1)][..], "number 200 of publisher 0 never came"),
        (Fault::Gap(200), &[("lost", 1)], "told of 1 that it dropped"),
        (Fault::Swap(200), &[("out of order", 1)], "number 200 of publisher 0 came late"),
        (Fault::Flip(200, 50), &[("bad digest", 1)], "id 200"),
        (Fault::Flip(200, 24), &[("bad digest", 1)], "subscriber 0"),
        (Fault::Flip(200, 164), &[("bad digest", 1)], "id 200"),
        (Fault::Twice(200), &[("twice", 1)], "number 200 of publisher 0 came again"),
        (Fault::Garbage(200), &[("malformed", 1)], "looks like HTTP"),
        (Fault::Close(200), &[("closed", 1)], "subscriber 0: the gateway closed it"),
        (Fault::Slow(200), &[("SLOW", 1)], "subscriber 0: because"),
    ];
    thread::scope(|scope| {
        for (at, (fault, expected, example)) in cases.into_iter().enumerate() {
            scope.spawn(move || {
                let (code, report) = broken(fault);
                let expected: Vec<_> =
                    expected.iter().map(|&(kind, count)| (kind.to_string(), count)).collect();
                assert_eq!((code, kinds(&report)), (1, expected), "case {at}: {report}");
                let (_, error) = report["errors"].as_object().unwrap().iter().next().unwrap();
                assert!(error["example"].as_str().unwrap().contains(example), "case {at}: {error}");
                assert!(report["doubts"].to_string().contains("errors are present (1)"));
            });
        }
    });
}

#[test]
fn a_publisher_that_is_closed_is_told_and_the_frames_balance() {
    let address = fake(Fault::ClosePublisher(100), false).to_string();
    let args = [&[address.as_str()], &SMALL[..], &["--publishers=2"]].concat();
    let args: Vec<&str> = args.into_iter().filter(|arg| *arg != "--publishers=1").collect();
    let (code, report) = report(&bench(&args).output().unwrap());
    assert_eq!(code, 1, "{report}");
    let frames = &report["frames"];
    let count = |name: &str| frames[name].as_u64().unwrap();
    assert_eq!(count("sent"), count("received") + count("lost") + count("undelivered"), "{frames}");
    let closed: Vec<_> = kinds(&report).into_iter().filter(|(kind, _)| kind != "lost").collect();
    assert!(matches!(&closed[..], [(kind, 1)] if kind == "closed" || kind == "reset"), "{closed:?}");
}

#[test]
fn what_is_no_fault_is_exit_0() {
    for (fault, foreign) in [(Fault::None, 0), (Fault::Foreign(200), 1)] {
        let (code, report) = broken(fault);
        assert_eq!((code, kinds(&report)), (0, vec![]), "{report}");
        assert_eq!(report["frames"]["foreign"], foreign);
        assert_eq!(report["doubts"].to_string().contains("another publisher"), foreign == 1);
        assert_eq!(report["frames"]["received"], report["frames"]["sent"]);
    }
}

#[test]
fn what_cannot_be_measured_is_said_before() {
    let fake = fake(Fault::None, true).to_string();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let http_address = http.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in http.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (args, code, parts) in [
        (&[fake.as_str()][..], 2, &["answers DUPLICATE", "start it without --dedup"][..]),
        (&[&http_address], 3, &["is not a gateway", "looks like HTTP"]),
        (&[&nobody], 3, &["refused", "is the gateway running? framegate serve"]),
        (&["nowhere.invalid:7450"], 3, &["cannot reach a gateway at nowhere.invalid:7450"]),
        (&["--", "--max-payload", "128"], 2, &["TOO_LARGE", "--max-payload"]),
        (&["--", "--memory", "1"], 2, &["the gateway did not start", "memory"]),
        (&["--payload", "2GiB"], 2, &["'2GiB' for '--payload <SIZE>': allowed is 0 to 1GiB"]),
        (&["--rate", "fast"], 2, &["invalid rate 'fast'"]),
        (&["--duration", "0"], 2, &["'0' for '--duration <TIME>': allowed is 1ms to"]),
        (&["--topic", "a b"], 2, &["--topic 'a b'"]),
        (&["--publishers", "0"], 2, &["nothing publishes"]),
        (&["--idle", "1000000"], 2, &["1,000,009 connections", "ulimit -n"]),
        (&["--fail-above", "p98=1s"], 2, &["write it as p99=50ms"]),
        (&["--plot", "/nonexistent/a.svg"], 2, &["--plot /nonexistent/a.svg"]),
        (&["--bind", "192.0.2.1", "--duration", "1s"], 2, &["--bind"]),
    ] {
        refused(&[&["bench", "frames"], args, &["-q"]].concat(), code, parts);
    }
}

#[test]
fn a_gateway_of_its_own_is_loaded_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("frames.svg");
    let output = bench(&["--json", "--duration=400ms", "--publishers=3", "--subscribers=2", "--idle=5"])
        .args(["--big=1", "--big-payload=1MiB", "--bind=127.0.0.1,127.0.0.2", "-q", "--plot"])
        .arg(&plot)
        .output()
        .unwrap();
    let (code, report) = report(&output);
    assert_eq!((code, kinds(&report)), (0, vec![]), "{report}");
    for frames in [&report["frames"], &report["large"]["frames"]] {
        let count = |name: &str| frames[name].as_u64().unwrap();
        let subscribers = if frames["payload_bytes"] == 256 { 2 } else { 1 };
        assert!(count("sent") > 0 && count("sent") * subscribers == count("received"), "{frames}");
    }
    assert_eq!(report["connections"]["end"], 3 + 2 + 5 + 1 + 1);
    assert!(report["latency_us"]["p50"].as_f64().unwrap() > 0.0);
    assert_eq!(report["gateway_is_own"], true);
    #[cfg(target_os = "linux")]
    assert!(report["gateway_spent"]["rss_bytes"].as_u64().unwrap() > 0);
    let drawn = std::fs::read_to_string(plot).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("frames/s") && drawn.contains("p99"));
    // It went with the load.
    assert!(TcpStream::connect(report["gateway"].as_str().unwrap()).is_err());
}

/// Whatever is hashed side by side, small frames and the pieces of large ones, keyed and not, every frame arrives unchanged.
/// What the processor does not have is refused by name.
#[test]
fn every_width_of_hashing_carries_small_and_large_frames() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef").unwrap();
    let keyed = format!("--secret-file={}", secret.display());
    let mut refused = Vec::new();
    for width in Width::ALL.map(Width::name) {
        for keyed in [None, Some(keyed.as_str())] {
            let mut command = bench(&["--json", "--duration=300ms", "--publishers=9", "-q"]);
            command.args(["--big=9", "--big-payload=1MiB"]).args(keyed).args(["--", "--digest", width]);
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("this processor has no") {
                assert!(said.contains(&format!("--digest {width}")), "{said}");
                refused.push(width);
                continue;
            }
            let (code, report) = report(&output);
            assert_eq!((code, kinds(&report)), (0, vec![]), "{width}: {report} {said}");
            for frames in [&report["frames"], &report["large"]["frames"]] {
                assert!(frames["received"].as_u64() > Some(0), "{width}: {frames}");
                assert_eq!(frames["sent"], frames["received"], "{width}: {frames}");
            }
        }
    }
    assert!(!refused.contains(&"one"));
    if !refused.is_empty() {
        eprintln!("skipped: this processor does not have {}", refused.join(", "));
    }
}

#[test]
fn a_secret_is_the_gateways_too() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a shared secret.\n").unwrap();
    let secret = secret.to_str().unwrap();
    let own = bench(&["--json", "--duration=200ms", "--rate=1000", "-q", "--secret-file", secret])
        .output()
        .unwrap();
    assert_eq!(report(&own).0, 0);
    let gateway = support::start(framegate::gateway::Config::default());
    let address = gateway.address.to_string();
    let refused = bench(&[&address, "-q", "--secret-file", secret]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("give its --secret-file, or leave it out"), "{said}");
}

#[test]
fn people_read_a_page_and_a_bound_decides() {
    let gateway = support::start(framegate::gateway::Config::default());
    let address = gateway.address.to_string();
    let run = |bound: &str| {
        bench(&[&address, "--duration=200ms", "--rate=1000", "-q", "--fail-above", bound]).output().unwrap()
    };
    let good = run("p50=1m,errors=0");
    let page = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{page}");
    for part in [
        "gateway      127.0.0.1:",
        "8 publishers of 256 B at 1,000 frames/s, 1 subscriber",
        "0 lost",
        "errors       none",
        "generator  ",
    ] {
        assert!(page.contains(part), "no {part:?} in\n{page}");
    }
    let bad = run("p50=1ns");
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("is above 1ns"));
    let ledger = gateway.stop();
    assert_eq!(ledger.rejected.total(), 0);
}

/// A bench that runs until it is ended, and where its own gateway is.
struct Endless {
    child: Child,
    gateway: TcpStream,
}

fn endless() -> Endless {
    let mut child = bench(&["-v", "--json", "--duration=1h", "--rate=1000"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = said.find(|line| line.contains("listens on")).expect("it starts a gateway");
    let gateway = TcpStream::connect(line.rsplit(' ').next().unwrap()).unwrap();
    said.find(|line| line.contains("sending begins")).expect("it begins");
    // Nobody may stop because nobody reads what it says.
    thread::spawn(move || said.for_each(drop));
    Endless { child, gateway }
}

#[test]
fn an_interrupt_ends_it_with_the_report() {
    let Endless { mut child, mut gateway } = endless();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&report["interrupted"], &report["frames"]["lost"]), (&true.into(), &0.into()), "{report}");
    gateway.set_read_timeout(Some(support::PATIENCE)).unwrap();
    gateway.read_to_end(&mut Vec::new()).expect("the gateway goes with it");
}

#[test]
fn a_gateway_of_its_own_goes_when_the_bench_is_killed() {
    let Endless { mut child, mut gateway } = endless();
    child.kill().unwrap();
    child.wait().unwrap();
    gateway.set_read_timeout(Some(support::PATIENCE)).unwrap();
    gateway.read_to_end(&mut Vec::new()).expect("the gateway goes with it");
}

#[test]
fn a_gateway_that_goes_away_is_exit_3() {
    let gateway =
        support::start(framegate::gateway::Config { drain: std::time::Duration::ZERO, ..Default::default() });
    let address = gateway.address.to_string();
    let mut child = bench(&[&address, "-v", "--json", "--duration=1h", "--rate=1000"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    said.find(|line| line.contains("sending begins")).expect("it begins");
    drop(gateway);
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    let said: Vec<String> = said.collect();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{printed} {said:?}");
    assert!(said.last().unwrap().contains("the gateway closed every connection"), "{said:?}");
    assert!(serde_json::from_str::<Value>(&printed).unwrap()["errors"].is_object());
}
