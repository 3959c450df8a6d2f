//! A real Prometheus scrapes a gateway, and a query gives what was done.

use crate::support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use framegate::admin::{Admin, LogLevel, Options};
use framegate::gateway::Config;
use framegate::gateway::control::Change;
use framegate::wire::Status;
use serde_json::Value;
use support::process::Process;
use support::{PATIENCE, data, start};

/// What it scrapes by, and what it is asked.
const PAGE: &str = include_str!("../../docs/operations.md");

struct NoLog;

impl LogLevel for NoLog {
    fn level(&self) -> String {
        "info".into()
    }

    fn set_level(&self, _: &str) -> Result<Change, String> {
        Err("there is none".into())
    }
}

#[test]
fn a_query_gives_the_rate() {
    if let Err(why) = Command::new("prometheus").arg("--version").output() {
        return crate::support::skipped::missing(&format!("the queries of docs/ want prometheus: {why}"));
    }
    let gateway = start(Config::default());
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = admin.local_addr();
    let options = Options {
        tls: None,
        token: None,
        hosts: Vec::new(),
        gateway: gateway.address,
        log: Arc::new(NoLog),
        reload: None,
    };
    let _admin = admin.start(gateway.control().clone(), options).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let shown = PAGE
        .split_once("```yaml\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("the page shows it")
        .0;
    let text = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n{}",
        shown.replace("127.0.0.1:7451", &target.to_string())
    );
    fs::write(&config, text).unwrap();
    // It does not tell which port it took: one that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null());
    let _prometheus = Process::start(&mut command);

    // As long as it takes: frames, and the question how many there were a second.
    let mut publisher = gateway.connect();
    let until = Instant::now() + PATIENCE;
    let mut sent = 0;
    loop {
        for _ in 0..100 {
            publisher.send(data(sent), b"t", b"x");
            assert_eq!(publisher.next().status(), Some(Status::Ok));
            sent += 1;
        }
        if query(&address, "rate(framegate_frames_read_total[5s])").is_some_and(|rate| rate > 1.0) {
            break;
        }
        assert!(Instant::now() < until, "Prometheus never tells a rate");
    }
    // And in the end, exactly how many.
    while query(&address, "framegate_frames_read_total") != Some(sent as f64) {
        assert!(Instant::now() < until, "Prometheus never counts {sent}");
    }
    // What the page says is worth a graph or an alert can be asked.
    let asked: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(ask, _)| ask)
        .filter(|ask| ask.contains("framegate_"))
        .collect();
    assert!(asked.len() > 10, "{asked:?}");
    for ask in asked {
        let answer = answer(&address, ask).expect("it answers");
        assert_eq!(answer["status"], "success", "{ask}: {answer}");
    }
    assert_eq!(gateway.stop().read, sent);
}

/// The value that a query gives, once there is one.
fn query(address: &str, query: &str) -> Option<f64> {
    answer(address, query)?["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

fn answer(address: &str, query: &str) -> Option<Value> {
    let query = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
    let mut socket = TcpStream::connect(address).ok()?;
    write!(socket, "GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut all = String::new();
    socket.read_to_string(&mut all).ok()?;
    serde_json::from_str(all.split_once("\r\n\r\n")?.1).ok()
}
