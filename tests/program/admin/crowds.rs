//! Many connections, and a panic: none of it holds up the gateway, or the others.

use super::*;

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
fn who_asks_for_nothing_keeps_nobody_out() {
    let site = site(Config::default());
    let mut subscriber = site.gateway.subscriber(">");
    let mut publisher = site.gateway.connect();
    // More than there are slots, each with the beginning of a request.
    let mut idle: Vec<TcpStream> = Vec::new();
    for round in 0..500 {
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
fn a_new_connection_has_time_to_ask() {
    let site = site(Config::default());
    let half = |mut socket: TcpStream| {
        let _ = socket.write_all(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
        socket
    };
    // All slots are taken, and more than as many come behind this one before it asks. A machine that is so busy that
    // this takes longer than a new connection may, says nothing.
    let asks_late = || {
        let mut crowd: Vec<TcpStream> = (0..64).map(|_| half(site.connect())).collect();
        let mut late = site.connect();
        crowd.extend((0..80).map(|_| half(site.connect())));
        // The oldest went for it, and the others for those behind it: it would be next.
        assert!(crowd[..64].iter_mut().all(|socket| !matches!(socket.read(&mut [0]), Ok(1..))));
        late.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        if late.read(&mut [0]).is_ok() {
            return false;
        }
        late.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.address);
        let mut all = Vec::new();
        let asked = late.write_all(request.as_bytes()).and_then(|()| late.read_to_end(&mut all));
        asked.is_ok() && !all.is_empty() && answer(&all).status == 200
    };
    assert!((0..5).any(|_| asks_late()), "it went before it was read");
}

#[test]
fn the_end_waits_for_answers_and_for_nothing_else() {
    let site = site(Config { drain: Duration::from_secs(30), ..Config::default() });
    let _idle: Vec<TcpStream> = (0..10).map(|_| site.connect()).collect();
    let mut page = site.connect();
    write!(page, "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", site.address).unwrap();
    let mut waits = site.connect();
    let body = "{\"wait\":\"1m\"}";
    // A subscriber that does not read, so that a pause waits.
    let _frozen = site.gateway.subscriber(">");
    let mut publisher = site.gateway.connect();
    publisher.send(data(1), b"t", &payload(8 << 20, 1));
    assert_eq!(publisher.next().status(), Some(Status::Ok));
    write!(
        waits,
        "POST /ctl/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    while site.status()["phase"] != "paused" {}
    let began = Instant::now();
    drop(site.admin);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut all = Vec::new();
    waits.read_to_end(&mut all).unwrap();
    assert_eq!(answer(&all).status, 503, "it is told that nobody knows");
    let mut all = String::new();
    page.read_to_string(&mut all).unwrap();
    assert!(all.ends_with("\r\n0\r\n\r\n"), "the stream has its end");
}
