//! `framegate ctl` against an admin server.

use super::*;

#[test]
fn ctl_does_what_it_says() {
    let site = site(Config::default());
    let mut publisher = site.gateway.connect();
    assert_eq!(publisher.publish("t", b"x").0, Status::Ok);
    let done = |args: &[&str]| {
        let output = site.ctl(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        printed(&output)
    };
    let text = done(&["status"]);
    assert!(text.contains("frames: read 1 = delivered 1 + control 0"), "{text}");
    let status: Value = serde_json::from_str(&done(&["status", "--json"])).unwrap();
    assert_eq!((&status["ledger"]["read"], &status["phase"]), (&1.into(), &"running".into()));
    assert_eq!(done(&["pause"]), "paused, and everything that was accepted is finished\n");
    assert!(done(&["status"]).contains(": paused, quiet, up "));
    assert_eq!(done(&["resume"]), "resumed\n");
    assert_eq!(done(&["resume"]), "it was not paused\n");
    assert_eq!(done(&["set", "workers", "3"]), "workers: 2 -> 3\n");
    let json: Value = serde_json::from_str(&done(&["set", "outbox", "1MiB", "--json"])).unwrap();
    assert_eq!(json, json!({"name": "outbox", "old": "32MiB", "new": "1MiB"}));

    // A subscriber that does not read: a pause that waits for it is not quiet in time.
    let _frozen = site.gateway.subscriber(">");
    done(&["set", "outbox", "32MiB"]);
    publisher.send(data(2), b"t", &payload(8 << 20, 1));
    assert_eq!(publisher.next().status(), Some(Status::Ok));
    let output = site.ctl(&["pause", "--wait", "100ms"]);
    assert_eq!(
        (output.status.code(), printed(&output).as_str()),
        (Some(1), "paused; 1 frame is not finished yet\n")
    );
    assert_eq!(done(&["pause"]), "paused; 1 frame is not finished yet\n");

    for (args, part) in [
        (&["set", "memory", "big"][..], "invalid size 'big'"),
        (&["set", "listen", "x"], "choose workers, memory, outbox"),
        (&["set", "memory", "1"], "give --memory"),
    ] {
        let output = site.ctl(args);
        let line = said(&output);
        assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.contains(part), "{line}");
    }
    assert!(done(&["drain"]).starts_with("draining"));
}

#[test]
fn ctl_of_what_is_no_gateway_is_exit_3() {
    for (says, part) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"[..],
            "is not a gateway: check --admin",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "is not a gateway: check --admin"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "is not a gateway: check --admin"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            "is not a gateway: check --admin",
        ),
        (b"SSH-2.0-x\r\n", "is not a gateway: check --admin"),
        (b"", "closed by the server before it answered: is it running, with this --admin?"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 14\r\n\r\n{\"error\":\"no\"}", "framegate: no\n"),
    ] {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = stranger.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut peer, _) = stranger.accept().unwrap();
            let _ = peer.read(&mut [0; 1000]);
            peer.write_all(says).unwrap();
        });
        let output = ctl(&["status", "--admin", &address]);
        assert_eq!(output.status.code(), Some(3));
        assert!(said(&output).contains(part), "{}", said(&output));
        thread.join().unwrap();
    }
    let output = ctl(&["status", "--admin", "nowhere.invalid:1"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    for wrong in [
        "not an address",
        "",
        "::1:1",
        ":7451",
        "127.0.0.1:99999",
        "user@localhost",
        "localhost/x",
        "https://a",
    ] {
        let output = ctl(&["status", "--admin", wrong]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let expected = format!("--admin {wrong}: not of the form HOST:PORT: write it as 127.0.0.1:7451");
        assert!(said(&output).contains(&expected), "{}", said(&output));
    }
}
