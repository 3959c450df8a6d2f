//! What comes from others is shown on a terminal, and does not drive it.

use crate::support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framegate::wire::{Header, Kind, Scheme, Status, encode};
use support::PATIENCE;
use support::process::Process;

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Publishes a line; the exit code.
fn send(to: &str, line: &[u8]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    let mut child = command
        .args(["send", "-q", "--to", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    child.stdin.take().unwrap().write_all(line).unwrap();
    child.wait().unwrap().code()
}

/// Neither bytes as they are nor a payload as text or JSON drives a terminal.
#[test]
fn what_comes_does_not_drive_a_terminal() {
    let on_a_terminal = |args: &str| {
        let command = format!("{} {args}", env!("CARGO_BIN_EXE_framegate"));
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
        script.stderr(Stdio::piped()).spawn()
    };
    let Ok(raw) = on_a_terminal("tail --format raw --from 127.0.0.1:1") else {
        return crate::support::skipped::missing("what a terminal shows wants script");
    };
    let raw = raw.wait_with_output().unwrap();
    assert_eq!(raw.status.code(), Some(2), "{}", printed(&raw));
    assert!(printed(&raw).contains("bytes that a terminal would obey"), "{}", printed(&raw));
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "off"]).stdin(Stdio::null());
    let gateway = Process::start(command.env_remove("RUST_LOG"));
    let address = gateway.address();
    for (format, shown) in
        [("text", "\\u{9b}2J\\u{7f}"), ("payload", "\\u{9b}2J\\u{7f}"), ("json", "\\u009b2J\\u007f")]
    {
        let args =
            format!("tail --from {} --count 1 --format {format} --ready-file {}", address, ready.display());
        let tail = on_a_terminal(&args).unwrap();
        let since = Instant::now();
        while !ready.exists() {
            assert!(since.elapsed() < PATIENCE, "it does not subscribe");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(send(&address, "\u{9b}2J\x7f\n".as_bytes()), Some(0));
        let tail = tail.wait_with_output().unwrap();
        assert!(printed(&tail).contains(shown), "{format}: {:?}", printed(&tail));
    }
    // Nor does what a handler has answered.
    let file = folder.path().join("x");
    fs::write(&file, b"x").unwrap();
    for (format, shown) in [("", "\\u{9b}2J\\u{7f}"), ("--json", "\\u009b2J\\u007f")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (to, file) = (listener.local_addr().unwrap(), file.display());
        let sender = on_a_terminal(&format!("send --to {to} --whole {file} --replies {format}")).unwrap();
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 32 + 1 + 32]).unwrap();
        let header = Header { id: 1, status: Status::Ok as u16, ..Header::new(Kind::Reply) };
        let mut bytes = Vec::new();
        encode(header, b"", "\u{9b}2J\x7f".as_bytes(), &Scheme::Sha256, &mut bytes);
        stream.write_all(&bytes).unwrap();
        drop(stream);
        let sender = sender.wait_with_output().unwrap();
        assert!(printed(&sender).contains(shown), "{format}: {:?}", printed(&sender));
    }
}
