//! `bench frames --layout`: every layout's listener is loaded, and what goes wrong is told under its kind.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use framegate::gateway::{Config, Listener};
use framegate::wire::layout::builtin;
use framegate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, encode};
use serde_json::Value;

use crate::bench_frames::{bench, kinds, report};
use crate::cli::refused;
use crate::support;

fn loaded(args: &[&str]) -> (i32, Value) {
    report(&bench(&[&["--json", "-q"], args].concat()).output().unwrap())
}

#[test]
fn listeners_of_all_kinds_are_loaded_and_their_answers_counted() {
    // A login and its reply, a binary and a text delimiter, escapes, a digest, no check at all.
    for (layout, answers) in [
        ("teltonika", true),
        ("gt06", true),
        ("jt808", true),
        ("generic-sha256", false),
        ("lines-nmea", false),
        ("syslog", false),
    ] {
        let args = ["--layout", layout, "--publishers=3", "--subscribers=2", "--idle=2", "--duration=200ms"];
        let (code, report) = loaded(&args);
        assert_eq!((code, kinds(&report)), (0, vec![]), "{layout}: {report}");
        let count = |name: &str| report["frames"][name].as_u64().unwrap();
        assert!(count("sent") > 100 && count("sent") * 2 == count("received"), "{layout}: {report}");
        assert_eq!((count("lost"), count("foreign")), (0, 0), "{layout}");
        let of = &report["layout"];
        assert_eq!((&of["name"], &of["frame_bytes"]), (&layout.into(), &report["frames"]["payload_bytes"]));
        assert!(of["frame_bytes"].as_u64().unwrap() >= 200, "{layout}: {of}");
        let expected = if answers { count("sent") } else { 0 };
        assert_eq!(
            (of["replies"].as_u64(), of["refused"].as_u64()),
            (Some(expected), Some(0)),
            "{layout}: {of}"
        );
        assert_eq!(report["connections"]["end"], 3 + 2 + 2, "{layout}");
        assert!(report["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{layout}");
        assert_ne!(of["listener"], report["gateway"], "{layout}");
    }
}

#[test]
fn a_rate_large_frames_a_size_and_a_secret_go_with_a_layout() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, layouts) = (folder.path().join("secret"), folder.path().join("house.toml"));
    std::fs::write(&secret, "a shared secret.\n").unwrap();
    let text = "[layout.house]\ntopic = \"house.{device}\"\nlength = \"u32 @ 0\"\ncounts = \"0..\"\n\
                device = \"text 4..10\"\n\
                check = { is = \"hmac-sha-256\", over = \"0..-32\", at = \"bytes -32..\" }\n";
    std::fs::write(&layouts, text).unwrap();
    let [secret, layouts] = [&secret, &layouts].map(|path| path.to_str().unwrap());
    let args = ["--layouts", layouts, "--layout", "house", "--secret-file", secret, "--payload=1000"];
    let more = ["--rate=2000", "--duration=300ms", "--big=1", "--big-payload=1MiB", "--", "--workers", "1"];
    let (code, report) = loaded(&[&args[..], &more].concat());
    assert_eq!((code, kinds(&report)), (0, vec![]), "{report}");
    assert_eq!((&report["layout"]["frame_bytes"], &report["frames"]["lost"]), (&1000.into(), &0.into()));
    let sent = report["frames"]["sent"].as_u64().unwrap();
    assert!((400..=600).contains(&sent), "{sent}");
    assert!(report["large"]["frames"]["received"].as_u64().unwrap() > 0, "{report}");
    assert!(report["topic"].as_str().unwrap().starts_with("house."), "{report}");
    // Without it the listener's check is unknown.
    let args = ["bench", "frames", "--layouts", layouts, "--layout", "house", "-q"];
    refused(&args, 2, &["layout house is checked with the listener's secret", "--secret-file"]);
}

/// One that runs, with a listener of gt06.
fn running(config: Config) -> (support::Running, [String; 2]) {
    let layout = builtin().get("gt06").cloned();
    let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), layout, tls: None };
    let mut listens = None;
    let gateway = support::start_with(Config { listeners: vec![listener], ..config }, |gateway| {
        listens = Some(gateway.listeners()[0].address);
        gateway
    });
    let addresses = [gateway.address, listens.unwrap()].map(|address| address.to_string());
    (gateway, addresses)
}

#[test]
fn one_that_runs_is_loaded_and_people_read_what_with() {
    let (gateway, [native, listener]) = running(Config::default());
    let args =
        [&native, "--layout=gt06", "--to", &listener, "--rate=2000", "--duration=300ms", "--payload=100"];
    let output = bench(&[&args[..], &["-q"]].concat()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{page}{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        &format!("gateway      {native}"),
        &format!("listener     {listener} of layout gt06"),
        "8 publishers of gt06 frames of 100 B at 2,000 frames/s, 1 subscriber",
        " as declared, 0 refused, 0 missing",
        "errors       none",
    ] {
        assert!(page.contains(part), "no {part:?} in\n{page}");
    }
    // Where nobody subscribes, latency is until the device is answered.
    let args = ["--layout=gt06", "--to", &listener, "--subscribers=0", "--rate=2000", "--duration=300ms"];
    let (code, report) = loaded(&args);
    assert_eq!((code, kinds(&report)), (0, vec![]), "{report}");
    assert_eq!(report["layout"]["replies"], report["frames"]["sent"]);
    assert!(report["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    // A listener of something else.
    let args = ["bench", "frames", &native, "--layout=gt06", "--to", &native, "-q"];
    refused(&args, 2, &["does not answer as layout gt06 declares: is it a listener of that layout"]);
    let ledger = gateway.stop();
    assert_eq!((ledger.listeners[1].rejected, ledger.listeners[1].bytes_skipped), (0, 0), "{ledger}");
}

#[test]
fn a_gateway_that_deduplicates_is_told_before() {
    let (_gateway, [native, listener]) =
        running(Config { dedup: Some(std::time::Duration::from_secs(60)), ..Config::default() });
    let args = ["bench", "frames", &native, "--layout=gt06", "--to", &listener, "-q"];
    refused(&args, 2, &["--dedup"]);
}

#[test]
fn what_makes_no_sense_with_a_layout_is_said_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let fixed = file("fixed.toml", "[layout.fixed]\ntopic = \"f\"\nsize = 12\ncheck = \"none\"\n");
    let alike =
        file("alike.toml", "[layout.alike]\ntopic = \"a\"\nstart = \"AA BB\"\nsize = 2\ncheck = \"none\"\n");
    let wrong = file("wrong.toml", "[layout.wrong]\ntopic = \"a\"\nsize = \"x\"\ncheck = \"none\"\n");
    let there = "127.0.0.1:1";
    for (args, parts) in [
        (&["--layout", "gt60"][..], &["unknown layout gt60: did you mean gt06?"][..]),
        (&["--layout", "gt06", "--topic", "x"], &["--topic: layout gt06 says itself", "leave it out"]),
        (&["--layout", "gt06", "--publishers", "0"], &["nothing speaks layout gt06", "--idle"]),
        (
            &["--layouts", &fixed, "--layout", "fixed", "--payload", "256"],
            &["layout fixed has no frames of 256 bytes: give --payload 12, the nearest, or leave it out"],
        ),
        (&["--layout", "gt06", "--payload", "1MiB"], &["has no frames of 1,048,576 bytes", "the nearest"]),
        (&["--layouts", &alike, "--layout", "alike"], &["too alike to be told apart"]),
        (&["--layouts", &wrong, "--layout", "wrong"], &["wrong.toml line 3: layout wrong, size: "]),
        (&["--layouts", &fixed], &["--layout"]),
        (&["--to", there], &["--layout"]),
        (&[there, "--layout", "gt06"], &["give the listener of layout gt06 with --to"]),
        (&["--layout", "gt06", "--to", there], &["give the ADDR of the same gateway too"]),
        (
            &["--layout", "gt06", "--to", there, "--subscribers", "0", "--", "--workers", "1"],
            &["for a gateway that this starts"],
        ),
    ] {
        refused(&[&["bench", "frames", "-q"], args].concat(), 2, parts);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = ["bench", "frames", "-q", "--layout", "gt06", "--subscribers=0", "--to", &nobody];
    refused(&args, 3, &["refused", "framegate serve --listen-layout gt06="]);
}

/// What a gateway does wrong with the n-th frame.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Drop(u64),
    Swap(u64),
    Twice(u64),
    Flip(u64),
    /// It is distributed, and not answered.
    Silent(u64),
    /// It is refused, and not distributed.
    Refuse(u64),
    /// It is distributed, and answered with other bytes.
    Other(u64),
    /// The connection is closed.
    Close(u64),
}

/// 8 bytes, of which it answers each with 06, and with 15 if it refuses.
const FAKED: &str =
    "[layout.faked]\ntopic = \"faked\"\nsize = 8\ncheck = \"none\"\nreply = \"06\"\nrefuse = \"15\"\n";

/// A gateway with one fault: where subscribers connect, and where devices do.
fn fake(fault: Fault) -> [SocketAddr; 2] {
    let [native, foreign] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [&native, &foreign].map(|listener| listener.local_addr().unwrap());
    let subscriber: Arc<Mutex<Option<TcpStream>>> = Arc::default();
    let theirs = subscriber.clone();
    thread::spawn(move || {
        for mut stream in native.incoming().map_while(Result::ok) {
            let mut decoder = Decoder::new(Rules { payload_max: 1 << 20, replies: false });
            let id = loop {
                if let Some(frame) = decoder.next_frame().expect("the bench sends frames") {
                    break frame.header.id;
                }
                let n = stream.read(decoder.spare()).unwrap();
                decoder.advance(n);
            };
            let mut reply = Vec::new();
            let header = Header { status: Status::Ok as u16, id, ..Header::new(Kind::Reply) };
            encode(header, b"", b"", &Scheme::Sha256, &mut reply);
            // What is sent as soon as it has its reply comes to it.
            let mut theirs = theirs.lock().unwrap();
            stream.write_all(&reply).unwrap();
            *theirs = Some(stream);
        }
    });
    thread::spawn(move || {
        for stream in foreign.incoming().map_while(Result::ok) {
            // It fails where the bench has gone.
            let _ = devices(stream, &subscriber, fault);
        }
    });
    addresses
}

/// One device after the other: the bench has one.
fn devices(
    mut stream: TcpStream,
    subscriber: &Mutex<Option<TcpStream>>,
    fault: Fault,
) -> std::io::Result<()> {
    let (mut n, mut held, mut raw) = (0, Vec::new(), [0; 8]);
    // Two come before the load to see whether they do.
    let mut probes = 2;
    while stream.read_exact(&mut raw).is_ok() {
        let mut frame = Vec::new();
        encode(Header::new(Kind::Data), b"faked", &raw, &Scheme::Sha256, &mut frame);
        let (mut answer, mut bytes) = (&b"\x06"[..], [&frame[..], &held].concat());
        let is = |at: u64| probes == 0 && n == at;
        held.clear();
        match fault {
            Fault::Drop(at) if is(at) => bytes.clear(),
            Fault::Swap(at) if is(at) => (held, bytes) = (frame, Vec::new()),
            Fault::Twice(at) if is(at) => bytes.extend_from_slice(&frame),
            Fault::Flip(at) if is(at) => bytes[40] ^= 1,
            Fault::Silent(at) if is(at) => answer = b"",
            Fault::Refuse(at) if is(at) => (answer, bytes) = (b"\x15", Vec::new()),
            Fault::Other(at) if is(at) => answer = b"\x07",
            Fault::Close(at) if is(at) => return stream.shutdown(Shutdown::Both),
            _ => {}
        }
        match probes {
            0 => n += 1,
            _ => probes -= 1,
        }
        if let Some(stream) = &mut *subscriber.lock().unwrap() {
            stream.write_all(&bytes)?;
        }
        stream.write_all(answer)?;
    }
    stream.shutdown(Shutdown::Both)
}

fn broken(folder: &Path, fault: Fault) -> (i32, Value) {
    let file = folder.join("faked.toml");
    std::fs::write(&file, FAKED).unwrap();
    let [native, foreign] = fake(fault).map(|address| address.to_string());
    let args = ["--layout=faked", "--layouts", file.to_str().unwrap(), "--to", &foreign, &native];
    loaded(&[&args[..], &["--publishers=1", "--rate=2000", "--duration=300ms"]].concat())
}

#[test]
fn each_fault_is_told_under_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    type Case = (Fault, &'static [(&'static str, u64)], &'static str);
    let cases: [Case; 9] = [
        (Fault::None, &[], ""),
        (Fault::Drop(200), &[("lost", 1)], "number 200 of publisher 0 never came"),
        (Fault::Swap(200), &[("out of order", 1)], "number 200 of publisher 0 came late"),
        (Fault::Twice(200), &[("twice", 1)], "number 200 of publisher 0 came again"),
        (Fault::Flip(200), &[("bad digest", 1)], "subscriber 0"),
        (Fault::Silent(200), &[("unanswered", 1)], "publisher 0: number "),
        (Fault::Refuse(200), &[("lost", 1), ("refused", 1)], "number 200"),
        (Fault::Other(200), &[("other answer", 1)], "number 200 was answered otherwise"),
        (Fault::Close(200), &[("closed", 1)], "publisher 0"),
    ];
    thread::scope(|scope| {
        for (at, (fault, expected, example)) in cases.into_iter().enumerate() {
            let folder = folder.path().join(at.to_string());
            std::fs::create_dir(&folder).unwrap();
            scope.spawn(move || {
                let (code, report) = broken(&folder, fault);
                let found: Vec<_> = kinds(&report).into_iter().filter(|(kind, _)| kind != "reset").collect();
                let mut expected: Vec<_> =
                    expected.iter().map(|&(kind, count)| (kind.to_string(), count)).collect();
                if matches!(fault, Fault::Close(_)) {
                    // What was on its way then may be lost, and the system may say that it was reset.
                    assert!(code == 1 && !report["errors"].as_object().unwrap().is_empty(), "{report}");
                    expected.clear();
                } else {
                    assert_eq!(
                        (code, &found),
                        (i32::from(!expected.is_empty()), &expected),
                        "case {at}: {report}"
                    );
                }
                let examples = report["errors"].to_string();
                assert!(examples.contains(example), "case {at}: {examples}");
            });
        }
    });
}
