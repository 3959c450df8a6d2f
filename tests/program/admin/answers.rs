//! What is answered: paths, figures, events, and what a steering did.

use super::*;

#[test]
fn every_path_answers_and_others_say_so() {
    let site = site(Config::default());
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/status", "application/json"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
    ] {
        let answer = site.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("access-control-allow-origin"), None, "no other site reads it");
        assert_eq!(site.ask("HEAD", path, &[], "").body, "", "{path}");
        let refused = site.ask("DELETE", path, &[], "");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
    assert!(site.get("/").header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(site.get("/status?x=1").status, 200);
    for path in ["/etc/passwd", "/..", "/metrics/", "/ctl", "//"] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
    assert_eq!(site.get("/ctl/pause").status, 405);
    assert_eq!(site.post("dance", "{}").status, 404);
    // One connection, several requests.
    let mut socket = site.connect();
    for _ in 0..3 {
        write!(socket, "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", site.address).unwrap();
        let mut all = Vec::new();
        while !all.ends_with(b"ok\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            all.push(byte[0]);
        }
        assert_eq!(answer(&all).status, 200);
    }
}

#[test]
fn numbers_agree_and_prometheus_is_content() {
    let site = site(Config::default());
    let mut subscriber = site.gateway.subscriber(">");
    let mut publisher = site.gateway.connect();
    for id in 0..10 {
        publisher.send(data(id), b"t", &payload(1000, 1));
        assert_eq!(publisher.next().status(), Some(Status::Ok));
        subscriber.next();
    }
    let mut forged = publisher.frame(data(1), b"t", b"payload");
    *forged.last_mut().unwrap() ^= 1;
    publisher.write(&forged);
    publisher.next();
    let until = Instant::now() + PATIENCE;
    let status = loop {
        let status = site.status();
        if status["ledger"]["rejected_total"] == 1 && status["rates"].is_object() {
            break status;
        }
        assert!(Instant::now() < until, "{status}");
    };
    let ledger = &status["ledger"];
    assert_eq!(
        (&ledger["read"], &ledger["delivered"], &ledger["control"]),
        (&12.into(), &10.into(), &1.into())
    );
    assert_eq!(status["rejected"][0]["last"], "BAD_DIGEST");
    assert_eq!((&status["subscribers"], &status["publishers"]), (&1.into(), &1.into()));
    assert_eq!(status["settings"]["memory"], "256MiB");

    let metrics = site.get("/metrics").body;
    for line in [
        "framegate_frames_read_total 12",
        "framegate_frames_total{fate=\"delivered\"} 10",
        "framegate_frames_rejected_total{status=\"BAD_DIGEST\"} 1",
        "framegate_connections 2",
        "framegate_subscribers 1",
        "framegate_verified_to_written_seconds_count 10",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    check_metrics(&metrics);
}

/// What Prometheus' own linter says of the metrics: nothing.
fn check_metrics(metrics: &str) {
    let lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut lint = match lint {
        Ok(lint) => lint,
        Err(why) => {
            let what = format!("the metrics are checked by promtool, which Debian has in prometheus: {why}");
            return crate::support::skipped::missing(&what);
        }
    };
    lint.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    let all = format!("{}{}", printed(&output), said(&output));
    assert!(output.status.success() && all.is_empty(), "promtool: {all}");
}

#[test]
fn steering_answers_with_what_it_did() {
    let site = site(Config::default());
    let answer = site.post("pause", "{\"wait\":\"30s\"}");
    assert_eq!(answer.json(), json!({"phase": "paused", "quiet": true, "in_flight": 0, "queued": 0}));
    assert_eq!(site.get("/readyz").body, "ok, paused\n");
    assert_eq!(site.post("resume", "").json(), json!({"phase": "running", "was_paused": true}));
    let change = site.post("set", "{\"name\":\"memory\",\"value\":\"64MiB\"}").json();
    assert_eq!([&change["name"], &change["old"], &change["new"]], ["memory", "256MiB", "64MiB"]);
    // What depends on it is said.
    let also = change["also"].as_str().expect("less is left for parts");
    assert!(also.starts_with("parts-memory, which depends on it, is ") && !also.contains("outbox"), "{also}");
    assert_eq!(site.status()["memory"]["limit_bytes"], 64 << 20);
    assert_eq!(site.post("set", "{\"name\":\"log\",\"value\":\"debug\"}").json()["new"], "debug");
}

#[test]
fn while_it_drains_it_is_alive_but_not_ready() {
    let site = site(Config { drain: Duration::from_secs(30), ..Config::default() });
    let mut frozen = site.gateway.subscriber(">");
    let mut publisher = site.gateway.connect();
    publisher.send(data(1), b"t", &payload(8 << 20, 1));
    assert_eq!(publisher.next().status(), Some(Status::Ok));
    assert_eq!(site.post("drain", "{}").status, 202);
    let ready = site.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "the gateway is draining\n"));
    assert_eq!(site.get("/healthz").status, 200);
    assert_eq!(site.status()["phase"], "draining");
    frozen.next();
    drop(frozen);
    let Site { gateway, admin, .. } = site;
    assert_eq!(gateway.stop().delivered, 1);
    drop(admin);
}

/// Reads a stream of events until it has seen so many of each name.
fn events(socket: &mut TcpStream, wanted: &[(&str, usize)]) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    let enough = |text: &str| {
        wanted.iter().all(|(name, count)| text.matches(&format!("event: {name}\n")).count() >= *count)
    };
    while !enough(&text) {
        let n = socket.read(&mut buffer).unwrap();
        assert!(n > 0, "the stream goes on: {text}");
        text += &String::from_utf8_lossy(&buffer[..n]);
    }
    text
}

#[test]
fn events_come_each_second_to_so_many_pages() {
    let site = site(Config::default());
    let open = |site: &Site| {
        let mut socket = site.connect();
        write!(socket, "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", site.address).unwrap();
        socket
    };
    let mut first = open(&site);
    let text = events(&mut first, &[("history", 1), ("status", 3), ("sample", 2)]);
    assert!(
        text.contains("content-type: text/event-stream") || text.contains("Content-Type: text/event-stream"),
        "{text}"
    );
    let mut pages: Vec<TcpStream> = (1..16).map(|_| open(&site)).collect();
    pages.iter_mut().for_each(|page| drop(events(page, &[("history", 1)])));
    let refused = site.get("/events");
    assert_eq!(refused.status, 503, "{}", refused.body);
    // They keep out nobody else, and a page that is closed makes room.
    assert_eq!(site.get("/healthz").status, 200);
    drop(first);
    let until = Instant::now() + PATIENCE;
    loop {
        let mut again = open(&site);
        let mut start = [0; 12];
        again.read_exact(&mut start).unwrap();
        if &start == b"HTTP/1.1 200" {
            break;
        }
        assert!(Instant::now() < until, "there is room again");
    }
}
