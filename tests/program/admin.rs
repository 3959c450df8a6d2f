//! The admin server over real sockets, and `ctl` against it: what is answered, what is refused, and
//! that nobody there can hold up the gateway.

use crate::support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use framegate::admin::{Admin, LogLevel, Options, Running as RunningAdmin, Token};
use framegate::gateway::Config;
use framegate::gateway::control::Change;
use framegate::wire::Status;
use serde_json::{Value, json};
use support::{PATIENCE, Running, data, payload, start};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A log that nobody writes to.
struct NoLog;

impl LogLevel for NoLog {
    fn level(&self) -> String {
        "info".into()
    }

    fn set_level(&self, level: &str) -> Result<Change, String> {
        assert_ne!(level, "a bug", "there is one");
        Ok(Change { name: "log".into(), old: "info".into(), new: level.into(), also: None })
    }
}

struct Site {
    gateway: Running,
    address: SocketAddr,
    admin: RunningAdmin,
}

/// A gateway and its admin server, both on free ports.
fn site(config: Config) -> Site {
    site_at("127.0.0.1:0", config, None, &[])
}

fn site_at(address: &str, config: Config, token: Option<&str>, hosts: &[&str]) -> Site {
    let gateway = start(config);
    let admin = Admin::bind(address.parse().unwrap()).expect("a free port");
    let options = Options {
        token: token.map(|token| Token::new(token.as_bytes()).unwrap()),
        hosts: hosts.iter().map(|host| host.to_string()).collect(),
        gateway: gateway.address,
        log: Arc::new(NoLog),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], admin.local_addr().port()));
    let admin = admin.start(gateway.control().clone(), options).expect("a thread");
    Site { gateway, address, admin }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|wrong| panic!("{wrong}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self
            .head
            .lines()
            .find(|line| line.split_once(':').is_some_and(|(given, _)| given.eq_ignore_ascii_case(name)));
        line.map(|line| line.split_once(':').unwrap().1.trim())
    }
}

impl Site {
    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends a request with these headers, and reads its answer to the end.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let mut socket = self.connect();
        socket.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        answer(&all)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    fn post(&self, verb: &str, body: &str) -> Answer {
        self.ask("POST", &format!("/ctl/{verb}"), &[("Content-Type", "application/json")], body)
    }

    fn status(&self) -> Value {
        let answer = self.get("/status");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    fn ctl(&self, args: &[&str]) -> Output {
        ctl(&[args, &["--admin", &self.address.to_string()]].concat())
    }
}

fn answer(all: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(all);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.into(), body: body.into() }
}

fn ctl(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_framegate"))
        .arg("ctl")
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_panic_of_the_admin_server_ends_one_request_and_nothing_else() {
    let site = site(Config::default());
    for _ in 0..2 {
        let request = "POST /ctl/set HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                       Content-Length: 30\r\n\r\n{\"name\":\"log\",\"value\":\"a bug\"}";
        let mut socket = site.connect();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(site.gateway.connect().publish("a", b"x").0, Status::Ok, "the gateway goes on");
        assert_eq!(site.get("/healthz").status, 200, "it answers again");
    }
    site.gateway.stop();
}

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
fn foreign_names_and_sites_are_refused() {
    let site = site_at("127.0.0.1:0", Config::default(), None, &["gate.internal"]);
    let host = site.address.to_string();
    for (path, headers, expected) in [
        ("/status", &[("Host", "evil.example")][..], 421),
        ("/", &[("Host", "evil.example:7451")], 421),
        ("/events", &[("Host", "evil.example")], 421),
        ("/status", &[("Host", "gate.internal:7451")], 200),
        ("/status", &[("Host", "localhost")], 200),
        ("/status", &[("Origin", "http://evil.example")], 403),
        ("/events", &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")], 403),
        // These name nobody, and are asked for by any name.
        ("/metrics", &[("Host", "prometheus-target.example")], 200),
        ("/healthz", &[("Host", "anything")], 200),
    ] {
        let answer = site.ask("GET", path, headers, "");
        assert_eq!(answer.status, expected, "{path} {headers:?}: {}", answer.body);
    }
    let json = ("Content-Type", "application/json");
    let ours = format!("http://{host}");
    for (headers, expected) in [
        (vec![json, ("Host", "evil.example")], 421),
        (vec![json, ("Origin", "http://evil.example")], 403),
        (vec![json, ("Origin", "null")], 403),
        (vec![json, ("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Content-Type", "text/plain")], 415),
        (vec![("Content-Type", "application/x-www-form-urlencoded")], 415),
        (vec![], 415),
        (vec![json, ("Origin", ours.as_str()), ("Sec-Fetch-Site", "same-origin")], 200),
    ] {
        let answer = site.ask("POST", "/ctl/pause", &headers, "{}");
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.body);
        let phase = site.status()["phase"].clone();
        assert_eq!(phase, if expected == 200 { "paused" } else { "running" });
    }
    // What a browser asks before it would send JSON to another site.
    let preflight = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    let answer = site.ask("OPTIONS", "/ctl/pause", &preflight, "");
    assert!(answer.status >= 400 && answer.header("access-control-allow-origin").is_none());
}

#[test]
fn changes_take_the_token_and_reading_does_not() {
    let site = site_at("127.0.0.1:0", Config::default(), Some(TOKEN), &[]);
    assert_eq!(site.status()["access"], "token");
    assert_eq!(site.post("pause", "{}").status, 401);
    let with = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
        site.ask("POST", "/ctl/pause", &headers, "{}")
    };
    let wrong = with(&TOKEN.replace('f', "e"));
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(site.status()["phase"], "running");
    assert_eq!(with(TOKEN).status, 200);
    assert_eq!(site.status()["phase"], "paused");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let refused = site.ctl(&["resume"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("name its file with --token-file"), "{}", said(&refused));
    let done = site.ctl(&["resume", "--token-file", file.to_str().unwrap()]);
    assert_eq!((done.status.code(), printed(&done).as_str()), (Some(0), "resumed\n"));
}

#[test]
fn what_other_machines_reach_changes_nothing_without_a_token() {
    let site = site_at("0.0.0.0:0", Config::default(), None, &[]);
    assert_eq!(site.status()["access"], "closed");
    let refused = site.post("drain", "{}");
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("--admin-token-file"), "{}", refused.body);
}

#[test]
fn wrong_bodies_say_what_is_wrong() {
    let site = site(Config::default());
    for (verb, body, expected, part) in [
        ("set", "", 400, "missing field"),
        ("set", "{\"name\":\"memory\"}", 400, "missing field `value`"),
        ("set", "{\"name\":\"memory\",\"value\":\"big\"}", 400, "invalid size 'big'"),
        ("set", "{\"name\":\"listen\",\"value\":\"x\"}", 400, "choose workers, memory, outbox"),
        ("set", "{\"name\":\"memory\",\"value\":1}", 400, "too little"),
        ("set", "{\"name\":\"a\\u0000\\nb\",\"value\":1}", 400, "'a\\u{0}\\nb' cannot be set"),
        ("pause", "{\"wait\":\"2h\"}", 400, "more than 1m"),
        ("pause", "{\"wiat\":\"2s\"}", 400, "unknown field"),
        ("pause", "[[[[", 400, "the body is wrong"),
        ("resume", "\u{0}\u{1}", 400, "the body is wrong"),
    ] {
        let answer = site.post(verb, body);
        assert_eq!(answer.status, expected, "{body}: {}", answer.body);
        let error = answer.json()["error"].as_str().unwrap().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{body}: {error}");
    }
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(100_000));
    // It is not read to its end, so the system may tell of that before the answer is read.
    let mut socket = site.connect();
    let head = format!(
        "POST /ctl/set HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        site.address,
        long.len()
    );
    let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(long.as_bytes()));
    let mut all = Vec::new();
    if socket.read_to_end(&mut all).is_ok() {
        assert_eq!(answer(&all).status, 413);
    }
    assert_eq!(site.status()["phase"], "running");
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
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut peer, _) = stranger.accept().unwrap();
        let _ = peer.read(&mut [0; 1000]);
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").unwrap();
    });
    let output = ctl(&["status", "--admin", &address]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("is not a gateway: check --admin"), "{}", said(&output));
    thread.join().unwrap();
    let wrong = ctl(&["status", "--admin", "not an address"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
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

#[test]
fn who_asks_for_nothing_keeps_nobody_out() {
    let site = site(Config::default());
    let mut subscriber = site.gateway.subscriber(">");
    let mut publisher = site.gateway.connect();
    // More than there are seats, each with the beginning of a request.
    let mut idle: Vec<TcpStream> = Vec::new();
    for round in 0..1_000 {
        let mut socket = site.connect();
        let _ = socket.write_all(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
        idle.push(socket);
        if round % 100 == 99 {
            for socket in idle.iter_mut().rev().take(64) {
                let _ = socket.write_all(b"x");
            }
            let asked = Instant::now();
            assert_eq!(site.get("/healthz").status, 200);
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
            publisher.send(data(round), b"t", b"x");
            assert_eq!(publisher.next().status(), Some(Status::Ok));
            assert_eq!(subscriber.next().header.id, round);
        }
    }
    let open = idle.iter().filter(|socket| {
        socket.set_nonblocking(true).unwrap();
        matches!(socket.peek(&mut [0]), Err(why) if why.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(open.count() <= 64, "the others had to go");
}

#[test]
fn what_is_no_request_is_refused_and_costs_nobody_anything() {
    let site = site(Config::default());
    let host = site.address.to_string();
    let huge = "x".repeat(1 << 20);
    let many: String = (0..10_000).map(|i| format!("X-{i}: y\r\n")).collect();
    let mut requests = vec![
        format!("GET /status HTTP/1.1\r\nHost: {host}\r\nX-Huge: {huge}\r\n\r\n").into_bytes(),
        format!("GET /{huge} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
        format!("GET /status HTTP/1.1\r\nHost: {host}\r\n{many}\r\n").into_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        b"FG\x01\x00".repeat(100),
        vec![0xff; 10_000],
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n".to_vec(),
        b"POST /ctl/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /ctl/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /ctl/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_vec(),
        b"POST /ctl/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n".to_vec(),
        b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec(),
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n".to_vec(),
    ];
    // And whatever else: a good request with bytes of it changed.
    let good = format!(
        "POST /ctl/resume HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let mut state = 7_u64;
    for _ in 0..2_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 20) as u8;
        }
        requests.push(bytes);
    }
    for request in requests {
        let mut socket = site.connect();
        // It may be closed before all of it is sent.
        let _ = socket.write_all(&request);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut all = Vec::new();
        let _ = socket.read_to_end(&mut all);
        assert!(all.is_empty() || all.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&all));
    }
    assert_eq!(site.get("/healthz").status, 200);
    let mut publisher = site.gateway.connect();
    assert_eq!(publisher.publish("t", b"x").0, Status::Ok);
}
