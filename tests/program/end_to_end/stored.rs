//! What a sender tells of frames whose fate is known late, or not at all.

use super::*;

/// A store over HTTP that refuses everything, until the test ends.
fn refusing_store() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let refuse = |stream: TcpStream| -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut line, mut len) = (String::new(), 0);
            while reader.read_line(&mut line)? > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    len = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            if line.is_empty() {
                return Ok(());
            }
            reader.read_exact(&mut vec![0; len])?;
            reader.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")?;
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // One that the gateway ends is of no interest.
            thread::spawn(move || drop(refuse(stream)));
        }
    });
    url
}

#[test]
fn what_became_of_stored_frames_is_known_or_said_not_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = serve(&[]);
    let tail = gateway.tail(&["--format", "raw", "--count", "3"]);
    gateway.send(&["--topic", "a", "--key", "7", "--no-reply"], b"1\n2\n3\n");
    let mut tail = tail;
    let mut raw = Vec::new();
    tail.child.stdout.take().unwrap().read_to_end(&mut raw).unwrap();
    let file = write(folder.path(), "a.frames", &raw);
    let store = refusing_store();
    let gateway = serve(&["--http-sink", &store]);
    let sent = gateway.send(&["--whole", "--frames", &file], b"");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    let unknown = ": 3 read by the gateway; they ask for no reply, so what became of them is not known\n";
    assert!(printed(&sent).ends_with(unknown), "{}", printed(&sent));
    let sent = gateway.send(&["--whole", "--frames", "--confirm", &file], b"");
    let report = printed(&sent);
    assert_eq!(sent.status.code(), Some(1), "{report}");
    assert!(report.contains(": REJECTED 3 (") && report.contains("400"), "{report}");
    // Without that sink they come out with what they held.
    let gateway = serve(&[]);
    let tail = gateway.tail(&["--count", "3"]);
    assert_eq!(gateway.send(&["--whole", "--frames", "--confirm", &file], b"").status.code(), Some(0));
    assert_eq!(tail.end().1, "a 7 1 1\na 7 2 2\na 7 3 3\n");
}

/// Whatever number a stored frame has, its answer is not taken for that to a PING.
#[test]
fn stored_frames_are_answered_whatever_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = Vec::new();
    for id in [0, 1, u64::MAX - 1, u64::MAX] {
        let header = Header { id, want_reply: true, ..Header::new(Kind::Data) };
        encode(header, b"a", b"", &Scheme::Sha256, &mut raw);
    }
    let file = write(folder.path(), "a.frames", &raw);
    let gateway = serve(&[]);
    let sent = gateway.send(&["--whole", "--frames", &file], b"");
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    assert!(printed(&sent).contains(": OK 4"), "{}", printed(&sent));
}

/// What was answered before the secret changed is done, and said to be.
#[test]
fn what_was_answered_before_the_secret_changed_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "old", b"the secret of yesterday\n");
    let new = write(folder.path(), "new", b"the secret of today\n");
    let mut gateway = serve(&["--secret-file", &old]);
    let address = gateway.address.clone();
    let send = ["send", "--to", &address, "--secret-file", &old, "--replies"];
    let mut send = start(&send, Stdio::piped());
    send.write(b"1\n");
    let mut printed = BufReader::new(send.child.stdout.take().unwrap());
    let mut reply = String::new();
    printed.read_line(&mut reply).unwrap();
    assert!(reply.starts_with("1 OK"), "{reply}");
    gateway.process.child.kill().unwrap();
    gateway.process.child.wait().unwrap();
    let _gateway = serve_at(&address, &["--secret-file", &new]);
    send.write(b"2\n");
    drop(send.child.stdin.take());
    let mut report = String::new();
    printed.read_to_string(&mut report).unwrap();
    let (code, _, said) = send.end();
    assert!(code == 2 && said.contains("secret"), "{code} {said}");
    assert!(report.starts_with("sent 2 frames, ") && report.contains(": OK 1, "), "{report:?} {said}");
}
