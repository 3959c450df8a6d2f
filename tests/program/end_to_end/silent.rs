//! Gateways that are connected and say nothing, and readers that are gone.

use super::*;

/// Stopped as a debugger or a full machine stops it: its system still takes connections and bytes.
fn stopped() -> Gateway {
    let gateway = serve(&[]);
    gateway.process.signal("STOP");
    gateway
}

const GONE: &str = "it has said nothing for 400ms, not even to a PING";

#[test]
fn a_sender_gives_up_a_gateway_that_is_stopped_and_a_server_that_is_silent() {
    let gateway = stopped();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = mute.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    // More than all buffers on the way take: the write waits, too.
    let large = write(folder.path(), "large", &vec![0; 48 << 20]);
    let (whole, unasked) = (["--whole", &large], ["--whole", "--no-reply", &large]);
    thread::scope(|scope| {
        for to in [&gateway.address, &mute] {
            for more in [&[][..], &["--no-reply"], &whole, &unasked] {
                scope.spawn(move || {
                    let args = [&["send", "--to", to, "--timeout", "400ms", "--no-retry"], more].concat();
                    let mut send = start(&args, Stdio::piped());
                    send.write(b"hello\n");
                    // Its input does not end: nobody but the gateway is in its way.
                    let _input = send.child.stdin.take();
                    let (code, _, said) = send.end();
                    assert_eq!(code, 3, "{args:?}: {said}");
                    assert!(said.contains(GONE), "{args:?}: {said}");
                });
            }
        }
    });
}

#[test]
fn a_sender_goes_on_when_the_gateway_does() {
    let gateway = stopped();
    let mut send = start(&["send", "--to", &gateway.address, "--timeout", "400ms"], Stdio::piped());
    send.write(b"hello\n");
    send.says("not even to a PING: it hangs, or is stopped or paused (--timeout); connecting again");
    gateway.process.signal("CONT");
    drop(send.child.stdin.take());
    let (code, report, said) = send.end();
    assert!(code == 0 && report.contains("OK 1") && report.contains("sent again"), "{code} {report} {said}");
    // Without a timeout it is waited for.
    gateway.process.signal("STOP");
    let mut send = start(&["send", "-v", "--to", &gateway.address, "--timeout", "off"], Stdio::piped());
    send.write(b"hello\n");
    drop(send.child.stdin.take());
    // Nothing is waited for here: this is how long nothing may happen, three times as long as it took above.
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(send.child.try_wait().unwrap(), None);
    gateway.process.signal("CONT");
    assert_eq!(send.end().0, 0);
}

#[test]
fn a_tail_gives_up_a_gateway_that_is_stopped_and_a_server_that_is_silent() {
    let gateway = serve(&[]);
    let subscribed = gateway.tail(&["--timeout", "400ms", "--no-retry"]);
    let again = gateway.tail(&["--timeout", "400ms", "--count", "1"]);
    gateway.process.signal("STOP");
    let (code, _, said) = subscribed.end();
    assert!(code == 3 && said.contains(GONE), "{code} {said}");
    again.says("connecting again");
    gateway.process.signal("CONT");
    again.says("subscribed again");
    assert_eq!(gateway.send(&[], b"hello\n").status.code(), Some(0));
    assert_eq!(again.end().1, " 0 1 hello\n");
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = mute.local_addr().unwrap().to_string();
    let tail = start(&["tail", "--from", &mute, "--timeout", "400ms", "--no-retry"], Stdio::null());
    let (code, _, said) = tail.end();
    assert!(code == 3 && said.contains(GONE), "{code} {said}");
}

/// Waits for the end of a request, as every HTTP server does, and refuses it.
fn web_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut stream, mut seen) = (BufReader::new(stream), Vec::new());
                while !seen.ends_with(b"\r\n\r\n") && stream.read_until(b'\n', &mut seen).is_ok_and(|n| n > 0)
                {
                }
                if seen.ends_with(b"\r\n\r\n") {
                    let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
                    let _ = stream.get_mut().write_all(refusal);
                }
                // Only the client ends the connection.
                let _ = stream.read_to_end(&mut seen);
            });
        }
    });
    address
}

#[test]
fn what_speaks_http_is_no_gateway_and_that_is_said_at_once() {
    let gateway = start(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], Stdio::null());
    let admin = gateway.says("ctl on http://");
    let admin = admin.split("http://").nth(1).unwrap().split(['/', ' ', ',']).next().unwrap().to_string();
    thread::scope(|scope| {
        for to in [admin, web_server()] {
            for args in [
                &["send"][..],
                &["send", "--no-retry"],
                &["send", "--no-reply"],
                &["tail"],
                &["tail", "--no-retry"],
            ] {
                let to = to.clone();
                scope.spawn(move || {
                    let direction = if args[0] == "send" { "--to" } else { "--from" };
                    // Its input does not end, so that nothing but the answer ends it.
                    let mut process =
                        start(&[args, &[direction, &to, "--timeout", "off"]].concat(), Stdio::piped());
                    let _input = process.child.stdin.take();
                    if args[0] == "send" {
                        _input.as_ref().unwrap().write_all(b"hello\n").unwrap();
                    }
                    let (code, _, said) = process.end();
                    assert_eq!(code, 3, "{args:?} {to}: {said}");
                    let why = "is not a gateway: this looks like HTTP";
                    assert!(said.contains(why), "{args:?} {to}: {said}");
                });
            }
        }
    });
}

#[test]
fn a_sender_with_nothing_to_send_proves_that_there_is_a_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let secret = write(folder.path(), "secret", &[b's'; 32]);
    let gateway = serve(&[]);
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = closing.local_addr().unwrap().to_string();
    thread::spawn(move || closing.incoming().for_each(drop));
    let web = web_server();
    for more in [&[][..], &["--no-retry"], &["--no-reply"], &["--no-reply", "--no-retry"]] {
        let ended = |to: &str, secret: &[&str]| {
            let output = framegate(&[&["send", "--to", to], more, secret].concat()).output().unwrap();
            (output.status.code(), said(&output))
        };
        assert_eq!(ended(&gateway.address, &[]), (Some(0), String::new()), "{more:?}");
        for to in [&web, &closed] {
            let (code, said) = ended(to, &[]);
            assert_eq!(code, Some(3), "{more:?} {to}: {said}");
        }
        let (code, said) = ended(&gateway.address, &["--secret-file", &secret]);
        assert_eq!(code, Some(2), "{more:?}: {said}");
    }
}

/// Takes the first line of what a command prints and leaves, as `head -1` does.
fn first_line(process: &mut Process) -> String {
    let mut stdout = BufReader::new(process.child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    line
}

#[test]
fn what_streams_ends_when_its_reader_is_gone_however_quiet_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let gateway = serve(&["--store", store]);
    let mut live = gateway.tail(&["--format", "json"]);
    let mut stored = start(&["tail", "--store", store, "--follow"], Stdio::null());
    let mut replies = start(&["send", "--to", &gateway.address, "--replies"], Stdio::piped());
    replies.write(b"one\n");
    assert!(first_line(&mut live).contains("\"one\""));
    assert_eq!(first_line(&mut stored), " 0 1 one\n");
    assert_eq!(first_line(&mut replies), "1 OK\n");
    // Nothing more is published.
    assert_eq!((live.end().0, stored.end().0), (0, 0));
    // Sending is what that one is for: it goes on, and the exit code says what became of it.
    replies.write(b"two\n");
    let (code, _, said) = replies.end();
    assert_eq!((code, said.as_str()), (0, ""));
    gateway.end();
    // Also while there is not a gateway, and while one is silent.
    let gateway = serve(&[]);
    let mut away = gateway.tail(&[]);
    gateway.process.signal("KILL");
    away.says("connecting again");
    drop(away.child.stdout.take());
    assert_eq!(away.end().0, 0);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut tail = start(&["tail", "--from", &mute.local_addr().unwrap().to_string()], Stdio::null());
    let _peer = mute.accept().unwrap();
    drop(tail.child.stdout.take());
    assert_eq!(tail.end().0, 0);
}

#[test]
fn what_prints_once_does_not_mind_that_nobody_reads() {
    let gateway = serve(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.frames", b"");
    for args in [
        &["--help"][..],
        &["verify", &file],
        &["verify", "--json", &file],
        &["send", "--to", &gateway.address],
        &["bench", "frames", &gateway.address, "--duration", "100ms", "--rate", "100"],
    ] {
        let mut process = start(args, Stdio::null());
        drop(process.child.stdout.take());
        let (code, _, said) = process.end();
        assert_eq!(code, 0, "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}
