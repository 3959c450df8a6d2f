//! How commands end: what they leave undone, what they say of it, and with which exit code.

use crate::support;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use framegate::wire::{Header, Kind, Scheme, encode};
use support::process::Process;

fn framegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A gateway on a free port, and its address.
fn serve(options: &[&str]) -> (Process, String) {
    let all = [&["serve", "--listen", "127.0.0.1:0", "--admin", "off"], options].concat();
    let gateway = Process::start(&mut framegate(&all));
    let address = gateway.address();
    (gateway, address)
}

fn send(address: &str, options: &[&str], input: &str) -> Output {
    let all = [&["send", "--to", address], options].concat();
    let mut child = framegate(&all).stdin(Stdio::piped()).spawn().expect("the program starts");
    // A sender that refuses at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_drain_that_is_over_too_early_says_what_was_left_and_exits_1() {
    // Connections wait in its queue; nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let (gateway, address) = serve(&["--http-sink", &url, "--drain", "300ms"]);
    assert_eq!(send(&address, &["--no-reply"], "one\ntwo\n").status.code(), Some(0));
    gateway.signal("TERM");
    let (code, printed, said) = gateway.end();
    let line = "\nsinks: put 2 = confirmed 0 + refused 0 + not confirmed 2\n";
    assert!(printed.contains(line), "{printed}");
    assert!(said.contains("--drain 300ms was over: 2 frames not confirmed by the sinks"), "{said}");
    assert_eq!(code, 1, "{said}");

    // It says when it has a frame, and answers none.
    let hangs = "sh -c 'head -c 1 > /dev/null; echo has a frame >&2; exec sleep 1000'";
    let (gateway, address) = serve(&["--handler", hangs, "--handlers", "1", "--drain", "300ms"]);
    let mut sender =
        Process::start(framegate(&["send", "--to", &address, "--no-retry"]).stdin(Stdio::piped()));
    sender.write(b"one\n");
    gateway.says("has a frame");
    gateway.signal("TERM");
    let (code, printed, said) = gateway.end();
    assert!(printed.contains(" + undelivered 1 (waiting for a handler 1)\n"), "{printed}");
    assert!(said.contains("--drain 300ms was over: 1 frame not answered by a handler"), "{said}");
    assert_eq!(code, 1, "{said}");
    assert_eq!(sender.end().0, 3, "its gateway went away");
}

#[test]
fn a_gateway_with_sinks_says_so_where_nothing_was_put() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, _) = serve(&["--store", folder.path().to_str().unwrap()]);
    gateway.signal("TERM");
    let (code, printed, _) = gateway.end();
    assert_eq!(code, 0);
    assert!(printed.contains("\nsinks: put 0 = confirmed 0 + refused 0 + not confirmed 0\n"), "{printed}");
}

#[test]
fn an_interrupted_sender_says_at_once_what_it_waits_for() {
    // It takes what is sent, as far as the system does, and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut sender = Process::start(framegate(&["send", "--to", &address]).stdin(Stdio::piped()));
    sender.write(b"one\ntwo\nthree\n");
    let (stream, _) = silent.accept().unwrap();
    // All three are there.
    let mut came = vec![0; 3 * (32 + 32) + 11];
    std::io::Read::read_exact(&mut &stream, &mut came).unwrap();
    sender.signal("INT");
    let line = sender.says("interrupted");
    assert!(
        line.ends_with(
            "interrupted: nothing more is read; waiting for the replies to 3 frames, for 5s at most; a second \
             signal ends it at once"
        ),
        "{line}"
    );
    sender.signal("INT");
    assert_eq!(sender.end().0, 130);
}

#[test]
fn frames_under_a_secret_are_refused_by_a_gateway_without_one_and_it_is_told_how_to_mend_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (secret, stored, kept) = (path("secret"), path("stored.frames"), path("store"));
    fs::write(&secret, "sixteen bytes...").unwrap();
    // As a gateway with the secret stores them.
    let (scheme, mut frames) = (Scheme::keyed(b"sixteen bytes..."), Vec::new());
    for (id, payload) in [(1, "one"), (2, "two")] {
        let header = Header { id, ..Header::new(Kind::Data) };
        encode(header, b"a", payload.as_bytes(), &scheme, &mut frames);
    }
    fs::write(&stored, &frames).unwrap();

    let (gateway, address) = serve(&["--store", &kept]);
    let frames = ["--whole", "--frames", &stored];
    for (options, code, said) in [
        (vec!["--secret-file", &secret], 2, "the gateway has no secret: leave --secret-file out"),
        (
            vec!["--secret-file", &secret, "--no-reply"],
            2,
            "the gateway has no secret: leave --secret-file out",
        ),
        (
            [&frames[..], &["--secret-file", &secret]].concat(),
            2,
            "the gateway has no secret: leave --secret-file out",
        ),
        (
            [&frames[..], &["--confirm", "--secret-file", &secret]].concat(),
            2,
            "the gateway has no secret: leave --secret-file out",
        ),
        // Without the secret nothing is sent: what cannot be verified here is damaged, or nobody's.
        (frames.to_vec(), 1, "if it was made under a secret, give that as --secret-file"),
    ] {
        let sent = send(&address, &options, "one\ntwo\n");
        let all = text(&sent.stderr);
        assert!(all.contains(said), "{options:?}: {all}{}", text(&sent.stdout));
        assert_eq!(sent.status.code(), Some(code), "{options:?}: {all}");
    }
    gateway.signal("TERM");
    let (code, printed, _) = gateway.end();
    assert_eq!(code, 0);
    assert!(printed.contains("\nsinks: put 0 = "), "nothing is stored that cannot be verified: {printed}");
}
