//! Each way to misbehave is counted under its kind, nothing hangs, and nothing is left open.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use framegate::http::connect::Failed;
use framegate::http::wire::Method;
use framegate::tools::bench::http::{Load, OkStatus, Options, Pace, Report, Schedule, Think};

use super::server::{Asked, OK, Server};

const TIMEOUT: Duration = Duration::from_millis(250);

/// Longer than any of these runs takes; one that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn options(url: &str) -> Options {
    Options {
        target: url.parse().unwrap(),
        method: Method::GET,
        fields: Vec::new(),
        body: Vec::new(),
        connections: 4,
        ramp: 10,
        ramp_every: Duration::from_millis(10),
        pace: Pace::BackToBack,
        timeout: TIMEOUT,
        duration: None,
        requests: Some(40),
        reconnect: true,
        ok_status: OkStatus::default(),
        sources: Vec::new(),
        insecure: false,
        seed: 1,
    }
}

fn run(options: Options) -> Result<Report, Failed> {
    let began = Instant::now();
    let report = Load::new(options).and_then(|load| load.run(&mut |_| ()));
    assert!(began.elapsed() < PATIENCE, "it hangs");
    report
}

/// Loads a server that gives this answer, with options changed.
fn load(
    answer: impl Fn(&mut Asked) -> bool + Send + Sync + 'static,
    change: impl FnOnce(&mut Options),
) -> Report {
    let server = Server::start(answer);
    let mut options = options(&server.url());
    change(&mut options);
    run(options).expect("the server takes connections")
}

/// Every error is of one kind, and its example says `part`.
fn only(report: &Report, kind: &str, part: &str) {
    let errors: Vec<_> = report.figures.errors.iter().collect();
    let [(found, count, example)] = errors[..] else { panic!("one kind is expected: {errors:?}") };
    assert!(found == kind && count > 0 && example.contains(part), "{errors:?} should be {kind}: {part}");
}

#[test]
fn what_behaves_has_no_errors() {
    type Say = fn(&mut Asked) -> bool;
    let ways: [(&str, Say); 6] = [
        ("at once", |asked| asked.send(OK)),
        ("in single bytes", |asked| OK.chars().all(|byte| asked.send(&byte.to_string()))),
        ("in chunks", |asked| {
            asked.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        }),
        ("with more before it", |asked| {
            asked.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n") && asked.send(OK)
        }),
        ("in HTTP/1.0", |asked| {
            asked.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx")
        }),
        ("without a body", |asked| asked.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")),
    ];
    for (name, answer) in ways {
        let report = load(answer, |_| ());
        let figures = &report.figures;
        assert_eq!((figures.done, figures.errors.total()), (40, 0), "{name}: {:?}", figures.errors);
        assert_eq!(report.statuses.iter().map(|(_, count)| count).sum::<u64>(), 40, "{name}");
        assert_eq!((figures.connections.min, figures.connections.end), (4, 4), "{name}");
        assert_eq!((report.closes.announced, report.closes.reopened), (0, 0), "{name}");
    }
}

#[test]
fn the_request_is_what_was_asked_for() {
    let report = load(
        |asked| {
            let mut body = [0; 7];
            let read = std::io::Read::read_exact(&mut asked.socket, &mut body);
            let lines: Vec<&str> = asked.head.lines().collect();
            let right = read.is_ok()
                && &body == b"a body\n"
                && lines[0] == "PUT /path HTTP/1.1"
                && lines.contains(&"X-Mine: yes")
                && lines.contains(&"Content-Length: 7");
            asked.send(if right { OK } else { "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n" })
        },
        |options| {
            options.method = Method::PUT;
            options.fields = vec!["X-Mine: yes".parse().unwrap()];
            options.body = b"a body\n".to_vec();
        },
    );
    assert_eq!(report.statuses.iter().collect::<Vec<_>>(), [(200, 40)]);
}

#[test]
fn a_close_that_was_announced_is_no_error() {
    type Say = fn(&mut Asked) -> bool;
    let ways: [Say; 3] = [
        |asked| {
            asked.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx") && asked.wait()
        },
        |asked| !asked.send("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
        |asked| !asked.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"),
    ];
    for answer in ways {
        let report = load(answer, |_| ());
        assert_eq!((report.figures.done, report.figures.errors.total()), (40, 0), "{report}");
        assert_eq!(report.closes.announced, 40);
        assert!(report.closes.reopened >= 36, "at once, but for the last");
    }
}

#[test]
fn a_server_that_closes_after_each_third_response() {
    let report = load(|asked| asked.request < 3 && asked.send(OK), |_| ());
    only(&report, "closed", "before it answered");
    assert_eq!(report.figures.done + report.figures.errors.total(), 40, "each request has its end");
    assert_eq!(report.figures.errors.total(), 10, "{report}");
}

#[test]
fn a_server_that_closes_what_is_idle() {
    let think = Pace::Think(Think::new(Duration::from_secs(60), Duration::from_secs(60)));
    let report = load(
        |asked| !asked.send(OK),
        |options| {
            options.pace = think;
            options.requests = Some(8);
        },
    );
    only(&report, "closed", "without a request");
    assert_eq!(report.figures.done, 8);
}

#[test]
fn a_server_that_never_answers_or_too_slowly() {
    let report = load(Asked::wait, |options| options.requests = Some(8));
    only(&report, "timed out", "no whole response within 250ms");
    assert_eq!((report.figures.done, report.figures.errors.total()), (0, 8));

    // Bytes keep coming, but the whole does not come in time.
    let slowly = |asked: &mut Asked| {
        asked.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while asked.send("x") {
            thread::sleep(Duration::from_millis(5));
        }
        false
    };
    only(&load(slowly, |options| options.requests = Some(8)), "timed out", "no whole response");
    let too_little =
        |asked: &mut Asked| asked.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nless") && asked.wait();
    only(&load(too_little, |options| options.requests = Some(8)), "timed out", "no whole response");
}

#[test]
fn a_server_that_talks_nonsense() {
    for (bytes, part) in [
        ("\0\x01\x02garbage\r\n\r\n", "this is no HTTP: it begins with"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "looks like SSH"),
        ("\x15\x03\x01\0\x02\x02F", "use https://"),
        ("HTTP/2.0 200 OK\r\n\r\n", "a version of HTTP"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "more than one Content-Length",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a chunk's size"),
    ] {
        let answer = move |asked: &mut Asked| asked.send(bytes) && asked.wait();
        let report = load(answer, |options| options.requests = Some(8));
        only(&report, "bad response", part);
        assert_eq!((report.figures.done, report.figures.errors.total()), (0, 8), "{bytes:?}");
    }
}

#[test]
fn what_follows_a_response_undoes_nothing_and_ends_the_connection() {
    let answer = |asked: &mut Asked| {
        asked.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nmore than that") && asked.wait()
    };
    let report = load(answer, |options| options.requests = Some(8));
    only(&report, "bad response", "no request asked for");
    assert_eq!((report.figures.done, report.figures.errors.total()), (8, 8), "{report}");

    for doubtful in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n",
    ] {
        let report = load(move |asked: &mut Asked| asked.send(doubtful) && asked.wait(), |_| ());
        assert_eq!((report.figures.done, report.figures.errors.total()), (40, 0), "{doubtful:?}: {report}");
        assert_eq!(report.closes.announced, 40, "a connection each: {doubtful:?}");
    }
}

#[test]
fn a_bad_status_is_an_error_unless_it_is_said_to_be_right() {
    let answer = |asked: &mut Asked| {
        let status = ["200 OK", "500 Oh", "404 No", "302 Found"][asked.request % 4];
        asked.send(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
    };
    let one = |options: &mut Options| options.connections = 1;
    let report = load(answer, one);
    only(&report, "bad status", "500 Internal Server Error");
    assert_eq!((report.figures.done, report.figures.errors.total(), report.figures.tried()), (40, 20, 40));
    for (ranges, errors) in [(&["200-499"][..], 10), (&["404", "5xx"], 20), (&["200-999"], 0)] {
        let ok = OkStatus::new(ranges.iter().map(|range| range.parse().unwrap()).collect());
        let report = load(answer, |options| {
            one(options);
            options.ok_status = ok;
        });
        assert_eq!((report.figures.done, report.figures.errors.total()), (40, errors), "{ranges:?}");
    }
}

#[test]
fn a_head_without_an_end() {
    let report = load(
        |asked| {
            asked.send("HTTP/1.1 200 OK\r\n");
            while asked.send("X-Filler: 0123456789\r\n") {}
            false
        },
        |options| {
            options.requests = Some(4);
            options.timeout = PATIENCE;
        },
    );
    only(&report, "bad response", "more than");
}

#[test]
fn a_server_that_resets_or_closes_in_the_middle() {
    only(&load(Asked::reset, |_| ()), "reset", "the connection broke");
    let halfway = |asked: &mut Asked| !asked.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    only(&load(halfway, |_| ()), "closed", "6 bytes before the end of a body");
    let in_head = |asked: &mut Asked| !asked.send("HTTP/1.1 200 OK\r\nContent-Le");
    only(&load(in_head, |_| ()), "closed", "in the head");
}

#[test]
fn every_failure_of_a_mixture_is_counted_under_its_kind() {
    let report = load(
        |asked| match asked.connection % 5 {
            0 => asked.wait(),
            1 => asked.reset(),
            2 => asked.send("nonsense") && asked.wait(),
            3 => false,
            _ => asked.send(OK),
        },
        |options| {
            options.connections = 20;
            options.requests = Some(500);
        },
    );
    let kinds: Vec<_> = report.figures.errors.iter().map(|(kind, ..)| kind).collect();
    for kind in ["timed out", "reset", "bad response", "closed"] {
        assert!(report.figures.errors.of(kind) >= 4, "{kind}: {report}");
    }
    assert_eq!(kinds.len(), 4, "{report}");
    assert_eq!(report.figures.done + report.figures.errors.total(), 500, "each request has its end");
}

#[test]
fn a_server_that_goes_away() {
    let server = Server::of(4, |asked| asked.request < 5 && asked.send(OK));
    let report =
        run(Options { requests: None, duration: Some(Duration::from_millis(800)), ..options(&server.url()) });
    let report = report.unwrap();
    assert_eq!(report.figures.done, 20);
    assert_eq!((report.figures.errors.of("closed"), report.figures.connections.end), (4, 0), "{report}");
    let refused = report.figures.errors.of("refused");
    assert!((4..=4 * 9).contains(&refused), "each tries again, but not all the time: {refused}");
}

#[test]
fn without_reconnecting_it_ends_with_the_last_connection() {
    let report = load(
        |asked| asked.request < 2 && asked.send(OK),
        |options| {
            options.reconnect = false;
            options.requests = None;
        },
    );
    assert_eq!((report.figures.done, report.figures.errors.of("closed")), (8, 4), "{report}");
    assert_eq!((report.figures.connections.end, report.closes.reopened), (0, 0));
}

#[test]
fn what_was_begun_in_time_may_end() {
    let slow = |asked: &mut Asked| {
        thread::sleep(Duration::from_millis(150));
        asked.send(OK)
    };
    let report = load(slow, |options| {
        options.requests = None;
        options.duration = Some(Duration::from_millis(200));
    });
    // The second response of each comes after the end: it counts among the latencies, not in the rate.
    assert_eq!((report.figures.done, report.figures.errors.total()), (4, 0), "{report}");
    assert!(report.figures.seconds < 0.3 && report.figures.latency_us.unwrap().min >= 150e3);
}

#[test]
fn an_open_loop_counts_from_when_requests_were_due() {
    let stalling = |asked: &mut Asked| {
        if asked.request == 10 {
            thread::sleep(Duration::from_millis(400));
        }
        asked.send(OK)
    };
    let report = load(stalling, |options| {
        options.connections = 1;
        options.timeout = PATIENCE;
        options.pace = Pace::Rate(Schedule::new(200.0));
        options.requests = Some(100);
    });
    let latency = report.figures.latency_us.unwrap();
    // 80 requests were due during the stall and waited for it, half of them for more than half of it.
    assert!(latency.p50 > 100e3 && latency.max >= 400e3, "{report}");
    assert_eq!((report.figures.done, report.figures.errors.total()), (100, 0));

    let slow = |asked: &mut Asked| {
        thread::sleep(Duration::from_millis(20));
        asked.send(OK)
    };
    let report = load(slow, |options| {
        options.connections = 1;
        options.pace = Pace::Rate(Schedule::new(1000.0));
        options.requests = None;
        options.duration = Some(Duration::from_millis(300));
    });
    assert!(report.behind > 200, "{report}");
    assert!(report.to_string().contains("the server did not keep up"), "{report}");
}

#[test]
fn a_server_that_never_took_a_connection_is_gone() {
    let server = Server::start(|asked| asked.send(OK));
    // A port that was free a moment ago, and that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Err(Failed::Gone(why)) = run(options(&format!("http://{address}/"))) else {
        panic!("it is not there")
    };
    assert!(why.contains(&address.to_string()) && why.contains("refused"), "{why}");

    // It waits for the end of a head, and TLS has none.
    let Err(Failed::Gone(why)) = run(options(&format!("https://{}/", server.address))) else {
        panic!("it speaks no TLS")
    };
    assert!(why.contains("no connection within 250ms"), "{why}");
    let Err(Failed::Gone(why)) = run(options("http://nowhere.invalid/")) else { panic!("it has no address") };
    assert!(why.contains("cannot find nowhere.invalid"), "{why}");
}

#[test]
fn connections_come_from_the_addresses_that_were_given() {
    let server = Server::start(|asked| asked.send(OK));
    let sources = vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
    let report = run(Options { sources, ..options(&server.url()) }).unwrap();
    assert_eq!(report.figures.errors.total(), 0);
    let mut peers: Vec<String> =
        server.peers.lock().unwrap().iter().map(|peer| peer.ip().to_string()).collect();
    peers.sort();
    assert_eq!(peers, ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]);
    let sources = vec!["::1".parse().unwrap()];
    let Err(Failed::Refused(why)) = run(Options { sources, ..options(&server.url()) }) else {
        panic!("no source is of its family")
    };
    assert!(why.contains("--bind"), "{why}");
}
