//! Signals at every moment of a gateway's life, and those that a terminal and a limit send.

use framegate::sinks::store::Stamp;

use super::*;

/// Connects as soon as somebody listens.
fn connect_at_once(address: &str) -> TcpStream {
    let since = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(why) => assert!(since.elapsed() < PATIENCE, "{address}: {why}"),
        }
    }
}

#[test]
fn a_signal_as_soon_as_the_port_answers_is_a_drain() {
    for round in 0..20 {
        let address = free_address();
        let args = ["serve", "--listen", &address, "--admin", "off"];
        let gateway = start(&args, Stdio::null());
        let mut stream = connect_at_once(&address);
        let mut frame = Vec::new();
        encode(
            Header { want_reply: true, id: 7, ..Header::new(Kind::Data) },
            b"a",
            b"",
            &Scheme::Sha256,
            &mut frame,
        );
        // Every other time something was accepted.
        let expected = if round % 2 == 0 {
            stream.write_all(&frame).unwrap();
            stream.read_exact(&mut [0; 32 + 32]).unwrap();
            "frames: read 1"
        } else {
            "frames: read 0"
        };
        gateway.signal("TERM");
        close_when_told(stream);
        let (code, ledger, said) = gateway.end();
        assert_eq!(code, 0, "{said}");
        assert!(ledger.contains(expected), "{ledger}");
    }
}

/// A store that takes long to open: each topic has a segment that a crash left open.
fn slow_store(topics: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let stamp = Stamp::at(std::time::SystemTime::now() - Duration::from_secs(60));
    for topic in 0..topics {
        let topic = format!("t{topic}");
        fs::create_dir(folder.path().join(&topic)).unwrap();
        let mut frame = Vec::new();
        encode(Header::new(Kind::Data), topic.as_bytes(), b"x", &Scheme::Sha256, &mut frame);
        fs::write(folder.path().join(&topic).join(format!("{stamp}.open")), frame).unwrap();
    }
    folder
}

#[test]
fn a_signal_while_the_store_is_opened_ends_it_at_once_and_the_port_never_answered() {
    let store = slow_store(1_000);
    let address = free_address();
    let path = store.path().to_str().unwrap();
    let args = ["serve", "--json", "--listen", &address, "--admin", "off", "--store", path];
    let gateway = start(&args, Stdio::null());
    // It has begun to open the store.
    wait_for(&store.path().join(".lock"), true);
    let refused = TcpStream::connect(&address).map(drop).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    gateway.signal("TERM");
    let (code, ledger, said) = gateway.end();
    assert!(code == 0 && said.contains("ended by a signal before it had started"), "{code} {said}");
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    assert_eq!(ledger["read"], 0);
    // The next start goes on where it was.
    let gateway = serve(&["--store", path]);
    gateway.end();
    let output = framegate(&["verify", "--json", path]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["frames"]), (Some(0), &1_000.into()), "{report}");
}

#[test]
fn a_gateway_is_ready_when_its_port_answers() {
    let (address, admin) = (free_address(), free_address());
    // A handler that is started before the port answers.
    let args = ["serve", "--listen", &address, "--admin", &admin, "--handler", "cat"];
    let gateway = start(&args, Stdio::null());
    let ready = || {
        let mut stream = TcpStream::connect(&admin).ok()?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let since = Instant::now();
    while !ready().is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(since.elapsed() < PATIENCE);
    }
    TcpStream::connect(&address).expect("it said that it is ready");
    gateway.signal("TERM");
    assert_eq!(gateway.end().0, 0);
}

#[test]
fn a_hangup_does_not_end_a_gateway() {
    let gateway = serve(&["--drain", "5s"]);
    for _ in 0..2 {
        gateway.process.signal("HUP");
        gateway.process.says("HUP: there is nothing to reload");
    }
    assert_eq!(gateway.send(&[], b"hello\n").status.code(), Some(0));
    assert!(gateway.end().contains("frames: read 1"));
}

/// Starts it as a terminal does, where HUP is not ignored: whoever runs this test may have been started by nohup.
#[cfg(target_os = "linux")]
fn on_a_terminal(args: &[&str]) -> Process {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_framegate")]).args(args).env_remove("RUST_LOG");
    Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
}

#[test]
#[cfg(target_os = "linux")]
fn a_closed_terminal_ends_a_sender_and_a_tail_unless_that_is_ignored() {
    let gateway = serve(&[]);
    let tail = on_a_terminal(&["tail", "-v", "--from", &gateway.address]);
    tail.says("subscribed to");
    // It says so twice.
    tail.signal("HUP");
    tail.signal("HUP");
    assert_eq!(tail.end().0, 130);
    let mut copy = gateway.tail(&["--count", "1"]);
    let mut send = on_a_terminal(&["send", "--to", &gateway.address]);
    send.write(b"hello\n");
    // It was sent, and answered or about to be.
    assert_eq!(copy.finish().1, " 0 1 hello\n");
    let stdin = send.child.stdin.take();
    send.signal("HUP");
    let (code, report, _) = send.end();
    assert!(code == 130 && report.contains("OK 1"), "{code} {report}");
    drop(stdin);
    let binary = env!("CARGO_BIN_EXE_framegate");
    let command = format!("trap '' HUP; exec {binary} tail -v --from {} --count 1", gateway.address);
    let tail = Process::start(Command::new("sh").args(["-c", &command]).stdout(Stdio::piped()));
    tail.says("subscribed to");
    tail.signal("HUP");
    assert_eq!(gateway.send(&[], b"still there\n").status.code(), Some(0));
    assert_eq!(tail.end().1, " 0 1 still there\n");
}

/// Runs it with files of at most so many KiB.
fn with_file_size(kib: u64, args: &[&str]) -> Process {
    // The unit of sh is 512 bytes, or what POSIX says of it.
    let command = format!("ulimit -f {} && exec \"$0\" \"$@\"", 2 * kib);
    let mut shell = Command::new("sh");
    shell.args(["-c", &command, env!("CARGO_BIN_EXE_framegate")]).args(args).env_remove("RUST_LOG");
    Process::start(shell.stdin(Stdio::null()).stdout(Stdio::piped()))
}

#[test]
fn a_limit_of_file_sizes_is_a_full_disk_to_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let path = store.to_str().unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--drain", "1s", "--store", path];
    let process = with_file_size(256, &[&args[..], &["--patrol", "100ms"]].concat());
    let gateway = Gateway { address: process.address(), process };
    // In segments that end where they must: 40 frames of 64 KiB in files of 256 KiB.
    let files: Vec<String> =
        (0..40).map(|n| write(folder.path(), &n.to_string(), &vec![n as u8; 65_000])).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let sent =
        gateway.send(&[&["--topic", "a", "--max-in-flight", "1", "--whole"], &files[..]].concat(), b"");
    assert_eq!((sent.status.code(), printed(&sent).contains("OK 40")), (Some(0), true), "{}", printed(&sent));
    gateway.process.says("the limit of file sizes is reached: raise it (ulimit -f, LimitFSIZE= of systemd)");
    // What fits into no file waits, as it does for a full disk, and the gateway lives. What it logged before is passed.
    gateway.process.signal("HUP");
    gateway.process.says("HUP: there is nothing to reload");
    let large = write(folder.path(), "large", &vec![0; 300_000]);
    let mut waits =
        start(&["send", "--to", &gateway.address, "--topic", "a", "--whole", &large], Stdio::null());
    gateway.process.says("not confirmed 1 frame");
    assert_eq!(waits.child.try_wait().unwrap(), None);
    gateway.process.signal("TERM");
    let (code, _, said) = gateway.process.end();
    assert!(code == 1 && said.contains("1 frame not confirmed by the sinks"), "{code} {said}");
    drop(waits);
    let output = framegate(&["verify", "--json", path]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["frames"]), (Some(0), &40.into()), "{report}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_handler_has_the_signals_as_they_were() {
    let shows = "sh -c 'grep SigIgn /proc/$$/status >&2; exec cat >/dev/null'";
    let gateway = serve(&["--handlers", "1", "--handler", shows]);
    let line = gateway.process.says("SigIgn:");
    let mask = line.rsplit(['\t', ' ', 't']).next().unwrap();
    let ignored = u64::from_str_radix(mask, 16).unwrap_or_else(|why| panic!("{line}: {why}"));
    for (name, number) in [("PIPE", 13), ("TERM", 15), ("XFSZ", 25)] {
        assert_eq!(ignored >> (number - 1) & 1, 0, "{name} is ignored by a handler: {line}");
    }
}
