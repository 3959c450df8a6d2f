//! The program: what it prints, draws and exits with.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use super::server::{Asked, OK, Server};

pub fn framegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The report of a run that ends with this code.
pub fn json(mut command: Command, code: i32) -> Value {
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {said}"))
}

#[test]
fn the_report_for_people_and_the_plot() {
    let server = Server::start(|asked| asked.send(OK));
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let output = framegate(&["bench", "http", &server.url(), "--think", "1ms..20ms", "--duration", "1s"])
        .arg("--plot")
        .arg(&plot)
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    let url = format!("HEAD {} at {}", server.url(), server.address);
    for part in [
        &url,
        "10 connections, thinking 1ms to 20ms, 1.0 s",
        "at least 10 since",
        "200: ",
        "errors       none",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let plot = fs::read_to_string(plot).unwrap();
    for part in ["<svg", "connections", "responses/s", "latency"] {
        assert!(plot.contains(part), "{part}");
    }
}

#[test]
fn errors_and_bounds_set_the_exit_code() {
    let server = Server::start(|asked| match asked.request {
        0 => asked.send(OK),
        _ => false,
    });
    let url = server.url();
    let bench = |more: &[&str]| {
        let mut command = framegate(&["bench", "http", &url, "--think", "0", "--requests", "20", "--json"]);
        command.args(more);
        command
    };
    let report = json(bench(&[]), 1);
    assert_eq!(report["errors"]["closed"]["count"], 10, "{report}");
    json(bench(&["--fail-above", "errors=10"]), 0);
    json(bench(&["--fail-above", "errors=9"]), 1);
    json(bench(&["--fail-above", "errors=100%,p99=1m"]), 0);
    json(bench(&["--fail-above", "errors=100%,max=0"]), 1);
}

#[test]
fn a_signal_ends_it_with_the_report() {
    let (tell, told) = channel();
    let server = Server::start(move |asked| {
        let _ = tell.send(asked.connection);
        asked.send(OK)
    });
    let mut child = framegate(&["bench", "http", &server.url(), "--think", "1ms", "--json"]).spawn().unwrap();
    while told.recv_timeout(Duration::from_secs(30)).expect("it opens ten") < 9 {}
    assert!(child.try_wait().unwrap().is_none(), "it runs until it is stopped");
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["doubts"].to_string().contains("a signal ended it early"), "{report}");
}

#[test]
fn what_cannot_work_is_said_in_one_line() {
    let silent = Server::start(Asked::wait);
    let url = silent.url();
    for (args, code, part) in [
        (&["localhost:80"][..], 2, "write it as http://localhost:80"),
        (&["ftp://h/"], 2, "neither http:// nor https://"),
        (&[&url, "-k", "1s"], 2, "'1s' for '--keepalive <TIME>': allowed is 2s to"),
        (&[&url, "--think", "5..1"], 2, "write it as 1s..5s"),
        (&[&url, "--think", "1", "--rate", "5"], 2, "cannot be used with"),
        (&[&url, "-c", "0"], 2, "--connections"),
        (&[&url, "--rate", "0"], 2, "'0' for '--rate <N>': allowed is"),
        (&[&url, "--header", "no colon"], 2, "write it as 'Name: value'"),
        (&[&url, "--header", "Content-Length: 1"], 2, "cannot be set"),
        (&[&url, "--method", "CONNECT"], 2, "a tunnel"),
        (&[&url, "--body", "/nonexistent"], 2, "give a file that can be read"),
        (&[&url, "--insecure"], 2, "for https:// alone"),
        (&[&url, "--duration", "0"], 2, "'0' for '--duration <TIME>': allowed is 1ms to"),
        (&[&url, "--bind", "::1"], 2, "--bind holds no address"),
        (&[&url, "-c", "1000000", "--bind", "127.0.0.1"], 2, "1,000,0"),
        (&["http://nowhere.invalid/"], 3, "cannot find nowhere.invalid"),
    ] {
        let output = framegate(&["bench", "http"]).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(part) && said.lines().count() == 1, "{args:?} should say {part:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?} prints nothing");
    }
}
