//! What is refused: foreign names and sites, changes without the token, wrong bodies, and what is no request.

use super::*;

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

#[test]
fn who_is_refused_is_told_so_while_it_still_sends() {
    let site = site(Config::default());
    let host = site.address;
    let post = |more: &str| {
        format!("POST /ctl/resume HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}\r\n")
    };
    for (request, expected) in [
        (format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "x".repeat(100_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "X-Y: z\r\n".repeat(200)), 431),
        (post("Content-Length: 100000\r\n") + &" ".repeat(100_000), 413),
        (post("Transfer-Encoding: chunked\r\n") + "2000\r\n" + &" ".repeat(0x2000) + "\r\n0\r\n\r\n", 413),
        (post("Transfer-Encoding: chunked\r\n") + "zz\r\n", 400),
        (post("Content-Length: 5\r\n") + "{}", 400),
        (post("Content-Length: 2\r\nContent-Length: 2\r\n") + "{}", 400),
        (post("Transfer-Encoding: gzip\r\n") + "{}", 400),
        (post("Expect: a miracle\r\n") + "{}", 417),
        (post("Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n", 200),
        (format!("get / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 501),
    ] {
        let mut socket = site.connect();
        socket.write_all(request.as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).expect("no reset");
        assert_eq!(answer(&all).status, expected, "{:?}", &request[..request.len().min(200)]);
    }
    // A client that asks first is told to go on.
    let mut socket = site.connect();
    socket.write_all(post("Expect: 100-continue\r\nContent-Length: 2\r\n").as_bytes()).unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"{}").unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    assert_eq!(answer(&all).status, 200);
}
