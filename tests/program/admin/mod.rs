//! The admin server over real sockets, and `ctl` against it: what is answered, what is refused, and
//! that nobody there can hold up the gateway.

mod answers;
mod crowds;
mod ctl;
mod refusals;

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
        reload: None,
        tls: None,
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
