//! `framegate layout`, and `send --layout`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::cli::refused;

fn framegate(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_framegate"))
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // It may end before it has read all.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().unwrap();
    output
}

fn said(args: &[&str], input: &[u8], code: i32) -> (String, String) {
    let output = framegate(args, input);
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}\n{err}");
    (out, err)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const LOGIN: &str = "000F333536333037303432343431303133";
const CODEC_8: &str = "000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E0000000000000000010000C7CF";

#[test]
fn what_comes_with_the_program_is_listed_shown_and_checked() {
    let (list, _) = said(&["layout", "list"], b"", 0);
    let line = list.lines().find(|line| line.starts_with("teltonika ")).expect("it is listed");
    assert!(line.contains("crc-16/arc") && line.contains("teltonika.{imei}"), "{line}");
    let (json, _) = said(&["layout", "list", "--json"], b"", 0);
    assert_eq!(json.lines().count() + 1, list.lines().count());
    let folder = tempfile::tempdir().unwrap();
    for name in json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let name = name["name"].as_str().unwrap();
        let (text, _) = said(&["layout", "show", name], b"", 0);
        let file = folder.path().join("own.toml");
        fs::write(&file, text).unwrap();
        let (out, err) = said(&["layout", "check", file.to_str().unwrap()], b"", 0);
        assert!(out.starts_with(&format!("layout {name} is right: ")), "{out}");
        assert!(err.contains("only the declaration was checked"), "{err}");
    }
    refused(&["layout", "show", "gt60"], 2, &["unknown layout gt60: did you mean gt06?"]);
    refused(&["layout", "check"], 2, &["FILE"]);
    refused(&["layout", "check", "teltonika"], 2, &["--layout teltonika"]);
    refused(&["layout", "check", "--layout", "teltonka"], 2, &["did you mean teltonika?"]);
}

#[test]
fn a_capture_is_checked_in_hex_and_in_binary() {
    let hex = format!("# a login, a packet\n{LOGIN}\n{CODEC_8}\n");
    let binary = unhex(&[LOGIN, CODEC_8].concat());
    for (input, option) in [
        (hex.as_bytes(), None),
        (&binary, None),
        (&binary, Some("--binary")),
        (hex.as_bytes(), Some("--hex")),
    ] {
        let args: Vec<&str> =
            ["layout", "check", "--layout", "teltonika"].into_iter().chain(option).collect();
        let (out, err) = said(&args, input, 0);
        assert!(out.contains("topic teltonika.356307042441013  key 356307042441013"), "{out}");
        assert!(out.contains("\n  reply  00 00 00 01\n"), "{out}");
        assert!(out.ends_with("\n2 frames of 83 bytes: 1 right, 1 not checked\n"), "{out}");
        assert!(err.is_empty(), "{err}");
    }
    let args = ["layout", "check", "--layout", "teltonika", "--json"];
    let (out, _) = said(&args, &binary, 0);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["key"]), (3, &356_307_042_441_013u64.into()));
    // A frame that needs a login, a wrong check, and other bytes.
    let wrong = [LOGIN, &CODEC_8.replace("C7CF", "C7CE")].concat();
    for (input, part) in [
        (CODEC_8, "refused: imei is not known on this connection yet"),
        (&wrong, "would be 00 00 C7 CF"),
        ("16030100", "looks like TLS"),
        (&LOGIN[..20], "unfinished: this frame takes 17 bytes or more, of which the capture has 10"),
    ] {
        let (out, _) = said(&args[..4], input.as_bytes(), 1);
        assert!(out.contains(part), "{input}: {out}");
    }
    let (_, err) = said(&["layout", "check", "--layout", "teltonika", "--hex"], b"00 0F zz", 1);
    assert!(err.contains("line 1 of the capture: \"z\" is not a hexadecimal digit"), "{err}");
}

#[test]
fn every_mistake_of_a_declaration_is_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("house.toml");
    let path = file.to_str().unwrap();
    let text = "[layout.house]\ntopic = \"house\"\nlength = \"u17 @ 0\"\ncheck = { is = \"crc-16/nope\", over = \"0..-2\", at = \"u16 @ -2\" }\n";
    fs::write(&file, text).unwrap();
    let (out, err) = said(&["layout", "check", path], LOGIN.as_bytes(), 2);
    let lines: Vec<&str> = err.lines().collect();
    assert!(out.is_empty() && lines.len() == 2, "{out}{err}");
    assert!(lines[0].contains("house.toml line 3: layout house, length: unknown type"), "{err}");
    assert!(lines[1].contains("house.toml line 4: layout house, check: "), "{err}");
    // Beside settings of serve, and two of them.
    let of =
        |name: &str| format!("[layout.{name}]\ntopic = \"{name}\"\nlength = \"u16 @ 0\"\ncheck = \"none\"\n");
    fs::write(&file, format!("memory = \"1GiB\"\n{}{}", of("a"), of("b"))).unwrap();
    let (out, _) = said(&["layout", "check", path], b"", 0);
    assert_eq!(out.lines().count(), 2, "{out}");
    let (_, err) = said(&["layout", "check", path], LOGIN.as_bytes(), 2);
    assert!(err.contains("declares a, b: say with --layout which one"), "{err}");
    said(&["layout", "check", path, "--layout", "b"], b"0002 4142", 0);
    fs::write(&file, format!("memroy = \"1GiB\"\n{}", of("a"))).unwrap();
    said(&["layout", "check", path], b"", 2);
    fs::write(&file, "memory = \"1GiB\"\n").unwrap();
    refused(&["layout", "check", path], 2, &["it declares no layout"]);
    refused(&["layout", "check", "/nowhere.toml"], 2, &["/nowhere.toml: ", "[layout.NAME]"]);
}

#[test]
fn endless_input_ends_with_its_reader() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_framegate"))
        .args(["layout", "check", "--layout", "netstring"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || while stdin.write_all(&b"5:hello,".repeat(1000)).is_ok() {});
    let mut first = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"0..8 ");
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&output.stderr));
}

/// A gateway as a device sees it: for each number of bytes that it reads, what it writes.
fn gateway(script: Vec<(usize, &'static str)>, reads_on: bool) -> (String, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        let mut read = Vec::new();
        for (bytes, answer) in script {
            let mut block = vec![0; bytes];
            stream.read_exact(&mut block).unwrap();
            read.extend(block);
            stream.write_all(&unhex(answer)).unwrap();
        }
        if reads_on {
            stream.read_to_end(&mut read).unwrap();
        } else {
            stream.shutdown(Shutdown::Both).unwrap();
        }
        read
    });
    (address, thread)
}

#[test]
fn a_capture_is_sent_as_a_device_does() {
    let capture = [LOGIN, CODEC_8, CODEC_8, "FF"].concat();
    let (address, gateway_) = gateway(vec![(17, "01"), (66, "00000001"), (66, "00000000")], true);
    let args = ["send", "--layout", "teltonika", "--hex", "--replies", "--to", &address];
    let (out, err) = said(&args, capture.as_bytes(), 1);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..4],
        ["0..17  reply 01", "17..83  reply 00000001", "83..149  refusal 00000000", "149..150  none"]
    );
    assert!(lines[4].starts_with("sent 4 frames, 150 B in "), "{out}");
    assert!(lines[4].ends_with(": 2 answered as declared, 1 refused, 1 without a declared answer"), "{out}");
    assert!(err.is_empty(), "{err}");
    assert_eq!(gateway_.join().unwrap(), unhex(&capture));

    let (address, gateway_) = gateway(vec![(17, "01"), (66, "00000001")], true);
    let args = ["send", "--layout", "teltonika", "--json", "--to", &address];
    let (out, _) = said(&args, [LOGIN, CODEC_8].concat().as_bytes(), 0);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&report["frames"], &report["replied"], &report["refused"]),
        (&2.into(), &2.into(), &0.into())
    );
    gateway_.join().unwrap();
}

#[test]
fn what_goes_wrong_while_a_capture_is_sent_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let capture = [LOGIN, CODEC_8].concat();
    // It answers nothing.
    let (address, gateway_) = gateway(vec![(17, "")], true);
    let (_, err) = said(
        &["send", "--layout", "teltonika", "--timeout", "100ms", "--to", &address],
        capture.as_bytes(),
        1,
    );
    assert!(err.contains("frame 1 was not answered within 100ms"), "{err}");
    assert_eq!(gateway_.join().unwrap(), unhex(LOGIN));
    // It closes.
    let (address, gateway_) = gateway(vec![(17, "01"), (66, "")], false);
    let (_, err) = said(&["send", "--layout", "teltonika", "--to", &address], capture.as_bytes(), 3);
    assert!(err.contains("behind 2 frames: the gateway closed the connection"), "{err}");
    gateway_.join().unwrap();
    // Nothing is waited for.
    let (address, gateway_) = gateway(vec![], true);
    let (out, _) =
        said(&["send", "--layout", "teltonika", "--no-reply", "--to", &address], capture.as_bytes(), 0);
    assert!(out.contains("2 of which no answer was waited for"), "{out}");
    assert_eq!(gateway_.join().unwrap(), unhex(&capture));
    // Dirt is sent where the layout scans, and ends it where not.
    let dirty = b"$GPGGA,*7A\r\nxyz$GPGGA,*7B\r\n";
    let (address, gateway_) = gateway(vec![], true);
    let (out, _) = said(&["send", "--layout", "lines-nmea", "--to", &address], dirty, 1);
    assert!(out.contains(": 1 without a declared answer, 1 that a gateway drops"), "{out}");
    assert!(out.contains("; 3 bytes between frames, sent as they are"), "{out}");
    assert_eq!(gateway_.join().unwrap(), dirty);
    let (address, gateway_) = gateway(vec![(17, "01")], true);
    let (_, err) =
        said(&["send", "--layout", "teltonika", "--to", &address], format!("{LOGIN}AABBCC").as_bytes(), 1);
    assert!(err.contains("byte 17 of the capture: no shape of the layout starts so"), "{err}");
    gateway_.join().unwrap();
    // Digits are taken for hex, and that is said; or it is said what they are.
    let netstring = b"616263";
    for (option, sent, told) in [
        (
            None,
            &b"abc"[..],
            Some("the capture is taken for hexadecimal digits: with --binary it is taken as it is"),
        ),
        (Some("--hex"), b"abc", None),
        (Some("--binary"), b"616263", None),
    ] {
        let own = folder.path().join("three.toml");
        fs::write(&own, "[layout.three]\ntopic = \"t\"\nsize = 3\ncheck = \"none\"\n").unwrap();
        let (address, gateway_) = gateway(vec![], true);
        let args = ["send", "--layouts", own.to_str().unwrap(), "--layout", "three", "--to", &address];
        let args: Vec<&str> = args.into_iter().chain(option).collect();
        let (_, err) = said(&args, netstring, 0);
        assert_eq!(err.contains("the capture is taken for"), told.is_some(), "{err}");
        assert!(told.is_none_or(|told| err.contains(told)), "{err}");
        assert_eq!(gateway_.join().unwrap(), sent, "{option:?}");
    }
    let (address, gateway_) = gateway(vec![], true);
    let (_, err) = said(&["send", "--layout", "lines-nmea", "--to", &address], b"$GPGGA,*7A\r\n", 0);
    assert!(
        err.contains("taken for bytes as they are: with --hex it is read as hexadecimal digits"),
        "{err}"
    );
    gateway_.join().unwrap();
    refused(&["send", "--hex"], 2, &["--layout"]);
    refused(&["send", "--layout", "gt06", "--hex", "--binary"], 2, &["--binary"]);
    refused(&["send", "--layout", "teltonika", "--topic", "x"], 2, &["--topic"]);
    refused(&["send", "--layouts", "x.toml"], 2, &["--layout"]);
}

#[test]
fn warnings_are_of_the_layout_that_is_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.toml");
    let path = file.to_str().unwrap();
    let of = |name: &str| {
        format!(
            "[layout.{name}]\ntopic = \"{name}.{{kind}}\"\nkind = \"u8 @ 2\"\nlength = \"u16 @ 0\"\ncheck = \"none\"\n"
        )
    };
    fs::write(&file, of("a") + &of("b")).unwrap();
    let warned = |err: &str| {
        ["a", "b"].map(|name| err.contains(&format!("layout {name}, kind: kind is not verified")))
    };
    let (_, err) = said(&["layout", "check", path], b"", 0);
    assert_eq!(warned(&err), [true, true], "{err}");
    let (_, err) = said(&["layout", "check", path, "--layout", "b"], b"0001 41", 0);
    assert_eq!(warned(&err), [false, true], "{err}");
    let (address, gateway_) = gateway(vec![], true);
    let (_, err) = said(&["send", "--layouts", path, "--layout", "a", "--to", &address], b"\0\x01A", 0);
    assert_eq!(warned(&err), [true, false], "{err}");
    gateway_.join().unwrap();
}

#[test]
fn layouts_may_be_of_several_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, name: &str| {
        let path = folder.path().join(file);
        fs::write(
            &path,
            format!("[layout.{name}]\ntopic = \"{name}\"\nlength = \"u16 @ 0\"\ncheck = \"none\"\n"),
        )
        .unwrap();
        path.to_str().unwrap().to_string()
    };
    let (a, b, again) = (write("a.toml", "a"), write("b.toml", "b"), write("again.toml", "a"));
    for name in ["a", "b"] {
        let (address, gateway_) = gateway(vec![], true);
        said(&["send", "--layouts", &a, "--layouts", &b, "--layout", name, "--to", &address], b"\0\x01A", 0);
        gateway_.join().unwrap();
    }
    let send = ["send", "--to", "127.0.0.1:1", "--layouts", &a, "--layouts"];
    let args = |more: &[&'static str]| [&send[..], &[&*again, "--layout"], more].concat();
    refused(
        &args(&["a"]),
        2,
        &["layout a is declared in ", "again.toml and in ", "give one of them another name"],
    );
    let unknown = [&send[..], &[&*b, "--layout", "house-of-cards"]].concat();
    refused(&unknown, 2, &["unknown layout house-of-cards: declared are a, b; framegate layout list shows"]);
}

#[test]
fn what_serve_would_refuse_is_not_called_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let path = file.to_str().unwrap();
    let own = "[layout.house]\ntopic = \"house\"\nlength = \"u16 @ 0\"\ncheck = \"none\"\n";
    for (text, expected) in [
        (
            "[[listener]]\naddress = \"127.0.0.1:0\"\nlayout = \"huose\"\n",
            "line 3: listener: unknown layout huose: did you mean house?",
        ),
        (
            "listen-layout = [\n  \"ubx=127.0.0.1:0\",\n  \"gt60=127.0.0.1:0\",\n]\n",
            "line 3: listen-layout: unknown layout gt60: did you mean gt06?",
        ),
        (
            "[listener]\naddress = \"127.0.0.1:0\"\n",
            "line 1: a listener is a table of its own: write [[listener]]",
        ),
        ("memory = true\n", "line 1: memory is true: expected a size"),
    ] {
        fs::write(&file, format!("{text}{own}")).unwrap();
        refused(&["layout", "check", path], 2, &["gateway.toml ", expected]);
        refused(
            &["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--config", path],
            2,
            &["gateway.toml ", expected],
        );
    }
    // Those of other files, and those that come with the program, are declared as well.
    let other = folder.path().join("other.toml");
    fs::write(&other, own.replace("house", "other")).unwrap();
    let listeners = ["other", "gt06", "house", "native"]
        .map(|name| format!("[[listener]]\naddress = \"127.0.0.1:0\"\nlayout = \"{name}\"\n"));
    fs::write(&file, format!("layouts = {:?}\n{}{own}", other.to_str().unwrap(), listeners.concat()))
        .unwrap();
    said(&["layout", "check", path], b"", 0);
}

#[test]
fn other_answers_than_the_declared_ones_are_a_failure() {
    for (answer, code, what) in [
        ("01", 0, ": 1 answered as declared"),
        ("02", 1, ": 1 answered otherwise"),
        // More than is declared.
        ("0107", 1, ": 1 answered as declared, 1 answered otherwise"),
    ] {
        let (address, gateway_) = gateway(vec![(17, answer)], true);
        let (out, err) = said(&["send", "--layout", "teltonika", "--to", &address], LOGIN.as_bytes(), code);
        assert!(out.trim_end().ends_with(what), "{answer}: {out}{err}");
        gateway_.join().unwrap();
    }
    // Where the layout leaves the answer to a handler, any will do.
    let sentence = b"$GPGGA,*7A\r\n";
    let (address, gateway_) = gateway(vec![(sentence.len(), "06")], true);
    let (out, _) = said(&["send", "--layout", "lines-nmea", "--to", &address], sentence, 0);
    assert!(out.trim_end().ends_with(": 1 without a declared answer, 1 answered all the same"), "{out}");
    gateway_.join().unwrap();
}
