//! `framegate post` against stores that take, refuse, stall and break off, and through kills.

mod keys;
use crate::support;
use crate::support::nginx;
use crate::support::store;
mod watch;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nginx::Nginx;
use serde_json::Value;
use store::{Act, OK, PATIENCE, Store};
use support::process::Process;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.arg("post").args(args).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end; its report, and its exit code.
fn post(args: &[&str]) -> (Value, i32) {
    let output = command(args).arg("--json").output().expect("the program starts");
    (report(&output), output.status.code().expect("not killed"))
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A file of numbered lines.
fn lines(path: &Path, count: usize) -> String {
    let lines: String = (0..count).map(|n| format!("record {n}\n")).collect();
    fs::write(path, lines).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_record_of_a_store_that_misbehaves_has_the_right_outcome() {
    const FAILS: &str = "out of order\nagain";
    const LONG: &str = concat!(
        "a body of more than two hundred characters, of which the reason quotes as many and not one more, so that ",
        "a report of ten thousand failures can still be read by the one who has to find out what is wrong with all ",
        "of them"
    );
    let store = Store::start(usize::MAX, |record, before| {
        let number: usize = record.strip_prefix("record ").unwrap().parse().unwrap();
        match (number, before) {
            (1, _) => Act::Answer(503, "", FAILS),
            (2, 0) => Act::Answer(429, "Retry-After: 1\r\n", ""),
            (3, _) => Act::Hang,
            (4, _) => Act::Reset,
            (5, _) => Act::Answer(200, "Content-Type: application/json\r\n", "<html>hello</html>"),
            (6, _) => Act::Answer(404, "", "no such thing"),
            (8, _) => Act::Answer(200, "Content-Type: text/plain\r\n", "{\"code\":7}"),
            (9, 0) => Act::Cut,
            (10, _) => Act::Answer(429, "Retry-After: 0\r\n", "too many"),
            (11, _) => Act::Answer(307, "Location: http://other/\r\n", ""),
            (12, _) => Act::Babble,
            (13, _) => Act::Cut,
            (15, 0) => Act::Hang,
            (16, 0) => Act::Reset,
            (17, 0) => Act::Answer(408, "", ""),
            (18, _) => Act::Answer(400, "", LONG),
            (21, _) => Act::Answer(500, "", ""),
            (number, 0) if number % 7 == 0 => Act::Answer(500, "", ""),
            _ => OK,
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 70);
    let failed = folder.path().join("failed.jsonl");
    let (report, exit) = post(&[
        &file,
        &store.url(),
        "--timeout=500ms",
        "--retries=1",
        "--ok-when=code=0",
        "--max-in-flight=20",
        "--report",
        failed.to_str().unwrap(),
    ]);
    assert_eq!((exit, &report["stored"], &report["failed"]), (1, &58.into(), &12.into()), "{report}");
    let mut kinds: Vec<(&str, u64)> = report["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| (kind["kind"].as_str().unwrap(), kind["count"].as_u64().unwrap()))
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            ("200 OK, but code=7", 1),
            ("200 OK, but no JSON", 1),
            ("307 Temporary Redirect", 1),
            ("400 Bad Request", 1),
            ("404 Not Found", 1),
            ("429 Too Many Requests", 1),
            ("500 Internal Server Error", 1),
            ("503 Service Unavailable", 1),
            ("bad response", 1),
            ("closed", 1),
            ("reset", 1),
            ("timed out", 1),
        ]
    );

    let failed = fs::read_to_string(failed).unwrap();
    let mut failed: Vec<Value> = failed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(failed.pop().unwrap()["summary"]["failed"], 12);
    let of = |line: usize| {
        let name = format!("line {}", line + 1);
        failed.iter().find(|failed| failed["record"] == name).unwrap_or_else(|| panic!("{name} did not fail"))
    };
    let long = format!("400 Bad Request: {}", &LONG[..200]);
    for (number, status, tries, reason) in [
        (1, Some(503), 2, "503 Service Unavailable: out of order again"),
        (3, None, 2, "no whole response within 500ms"),
        (4, None, 2, "the connection broke: Connection reset by peer"),
        (5, Some(200), 1, "200 OK, but no JSON: <html>hello</html>"),
        (6, Some(404), 1, "404 Not Found: no such thing"),
        (8, Some(200), 1, "200 OK, but code=7: {\"code\":7}"),
        (10, Some(429), 2, "429 Too Many Requests: too many"),
        (
            11,
            Some(307),
            1,
            "307 Temporary Redirect, a redirect to http://other/: give the URL that it leads to",
        ),
        (18, Some(400), 1, &long),
        (21, Some(500), 2, "500 Internal Server Error"),
    ] {
        let failed = of(number);
        assert_eq!(failed["status"].as_u64(), status, "{failed}");
        assert_eq!(failed["tries"], tries, "{failed}");
        assert_eq!(failed["reason"], reason);
        assert!(failed["key"].as_str().unwrap().len() == 64 && failed["source"] == file.as_str());
    }
    let said = |number: usize| of(number)["reason"].as_str().unwrap().to_owned();
    assert!(said(12).contains("SSH-2.0-OpenSSH_9.9"), "{}", said(12));
    assert!(said(13).contains("closed by the server"), "{}", said(13));
    // What may pass was tried again with the same key, what may not was not.
    for (number, times) in [
        (0, 2),
        (1, 2),
        (2, 2),
        (5, 1),
        (6, 1),
        (7, 2),
        (8, 1),
        (9, 2),
        (10, 2),
        (11, 1),
        (13, 2),
        (14, 2),
        (15, 2),
        (16, 2),
        (17, 2),
        (18, 1),
        (19, 1),
    ] {
        assert_eq!(store.times(&format!("record {number}")), times, "record {number}");
    }
    // On a connection that was used before, that may have been the rest of the answer before: then it was sent again.
    assert!((1..=2).contains(&store.times("record 12")));
    let log = store.log();
    assert!(log.seen.values().all(|seen| seen.iter().all(|one| one.key == seen[0].key)));
    let asked = &log.seen["record 2"];
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1), "Retry-After is honoured");
}

#[test]
fn a_store_that_refuses_connections_gets_fewer() {
    let store = Store::start(5, |_, _| OK);
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 2000);
    let (report, exit) = post(&[&file, &store.url(), "--max-in-flight=100", "--max-connections=100"]);
    assert_eq!((exit, &report["stored"], &report["failed"]), (0, &2000.into(), &0.into()), "{report}");
    let log = store.log();
    assert!(log.refused > 0);
    assert!(log.seen.len() == 2000 && log.seen.values().all(|seen| seen.len() == 1));
}

#[test]
fn an_adaptive_run_begins_with_few() {
    let store = Store::start(usize::MAX, |_, _| Act::Held);
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 2000);
    let mut command = command(&[&file, &store.url(), "--adaptive", "--max-in-flight=100", "--json"]);
    let child = command.spawn().unwrap();
    store.wait_for(10);
    assert_eq!(store.log().busy_max, 10);
    store.release();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &report(&output)["stored"]), (Some(0), &2000.into()), "{output:?}");
    assert!(store.log().busy_max <= 100);
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_where_it_was() {
    const IN_FLIGHT: usize = 10;
    const KILLS: usize = 20;
    const COUNT: usize = 10_000;
    let seed =
        std::env::var("FRAMEGATE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FRAMEGATE_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let store = Store::start(usize::MAX, |record, _| match record {
        record if record.ends_with("77") => Act::Answer(422, "", "not this one"),
        _ => OK,
    });
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), COUNT);
    let url = store.url();
    let args = [file.as_str(), &url, "--max-in-flight=10"];
    let mut moments: Vec<usize> = (0..KILLS).map(|_| dice.usize(..COUNT)).collect();
    moments.sort_unstable();
    // How many requests had come when each run was over.
    let mut ends = Vec::new();
    for moment in moments {
        let mut child = command(&args).spawn().unwrap();
        // Some of them before the first request, or in whatever the process does then.
        if moment > store.requests() {
            store.wait_for(moment);
        }
        thread::sleep(Duration::from_micros(dice.u64(..5000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it sent before it was killed may still be on its way.
        ends.push(store.wait_until("the end of its connections", |log| log.open == 0).requests);
    }
    let failed = folder.path().join("failed.jsonl");
    let (report, exit) = post(&[&args[..], &["--report", failed.to_str().unwrap()]].concat());
    let of = |name: &str| report[name].as_u64().unwrap() as usize;
    assert_eq!((exit, of("stored") + of("stored_before"), of("failed")), (1, COUNT - 100, 100), "{report}");
    assert!(of("stored_before") > 0, "{report}");
    assert_eq!(report["failures"][0]["kind"], "422 Unprocessable Entity", "{report}");
    let failed = fs::read_to_string(failed).unwrap();
    let named = failed.lines().filter(|line| !line.starts_with("{\"summary\""));
    assert_eq!(named.filter(|line| line.contains("422 Unprocessable Entity: not this one")).count(), 100);
    let log = store.log();
    assert_eq!(log.seen.len(), COUNT);
    assert!(log.seen.values().all(|seen| seen.iter().all(|one| one.key == seen[0].key)));
    let keys: std::collections::HashSet<&str> = log.seen.values().map(|seen| seen[0].key.as_str()).collect();
    assert_eq!(keys.len(), COUNT);
    // What came twice was under way when a run was killed: of its last requests, no more than were in flight.
    let mut again = vec![0; KILLS];
    for seen in log.seen.values() {
        for twice in seen.windows(2) {
            let run = ends.partition_point(|&end| end <= twice[0].number);
            assert!(twice[1].number >= ends[run], "a record came twice in one run: {seen:?}");
            again[run] += 1;
        }
    }
    assert!(again.iter().all(|&again| again <= IN_FLIGHT), "{again:?}");
    drop(log);

    // All is done: nothing is sent again.
    let before = store.requests();
    let (report, exit) = post(&args);
    assert_eq!((exit, report["stored_before"].as_u64()), (1, Some(COUNT as u64 - 100)));
    assert_eq!(store.requests(), before);
}

#[test]
fn a_store_behind_tls() {
    let Some(nginx) = Nginx::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 500);
    let run = |host: &str, more: &[&str], cert: &str| {
        let url = format!("https://{host}:{}/{}", nginx.tls_port, more.len());
        let mut command = command(&[&[file.as_str(), &url, "--json", "--retries=0"], more].concat());
        let output = command.env("SSL_CERT_FILE", cert).output().unwrap();
        (output.status.code(), output)
    };
    let (exit, output) = run("localhost", &[], &nginx.cert());
    assert_eq!((exit, &report(&output)["stored"]), (Some(0), &500.into()), "{output:?}");
    let (exit, output) = run("127.0.0.1", &["--insecure"], &nginx.cert());
    assert_eq!((exit, &report(&output)["stored"]), (Some(0), &500.into()), "{output:?}");
    // The certificate is not for this address.
    let (exit, output) = run("127.0.0.1", &["--max-in-flight", "7"], &nginx.cert());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(exit, Some(3), "{said}");
    assert!(said.contains("not valid for name") && said.lines().count() == 1, "{said}");
}

#[test]
fn only_what_failed_is_sent_again() {
    let store = Store::start(usize::MAX, |record, before| match before {
        0 if record.ends_with('3') => Act::Answer(422, "", "not yet"),
        _ => OK,
    });
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 100);
    let failed = folder.path().join("failed.jsonl");
    let (url, failed) = (store.url(), failed.to_str().unwrap());
    let (report, exit) = post(&[&file, &url, "--report", failed]);
    assert_eq!((exit, &report["stored"], &report["failed"]), (1, &90.into(), &10.into()));
    // As before: what failed for good is not tried again by itself.
    let (report, exit) = post(&[&file, &url, "--report", failed]);
    assert_eq!((exit, &report["stored_before"], &report["failed"]), (1, &90.into(), &10.into()));
    assert_eq!(report["failures"][0]["kind"], "422 Unprocessable Entity");
    let (report, exit) = post(&["--retry-failed", failed, &url]);
    assert_eq!((exit, &report["stored"], &report["requests"]), (0, &10.into(), &10.into()), "{report}");
    let (report, exit) = post(&[&file, &url]);
    assert_eq!((exit, &report["stored_before"], &report["requests"]), (0, &100.into(), &0.into()));
    assert_eq!((store.times("record 13"), store.times("record 14")), (2, 1));
}

#[test]
fn an_archive_that_is_moved_away_meanwhile_ends_nothing() {
    let store = Store::start(usize::MAX, |record, _| if record == "record 0" { Act::Held } else { OK });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut watching =
        Process::start(&mut command(&["--watch", folder.path().to_str().unwrap(), &store.url()]));
    // What is not complete yet by its name is not looked at.
    lines(&path("z.part"), 9);
    lines(&path("a.txt"), 1);
    store.wait_for(1);
    fs::remove_file(path("a.txt")).unwrap();
    store.release();
    fs::rename(path("z.part"), path("b.txt")).unwrap();
    let began = Instant::now();
    while !path("done/b.txt").exists() {
        assert!(began.elapsed() < PATIENCE && watching.child.try_wait().unwrap().is_none(), "b.txt is taken");
        thread::yield_now();
    }
    watching.signal("TERM");
    assert_eq!(watching.child.wait().unwrap().code(), Some(130));
    assert_eq!((store.times("record 0"), store.times("record 8")), (2, 1));
}

#[test]
fn archives_are_taken_as_they_arrive_and_put_away_by_one_of_two() {
    let store = Store::start(usize::MAX, |record, _| match record {
        "bad" => Act::Answer(400, "", "bad"),
        _ => OK,
    });
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let watch =
        || Process::start(&mut command(&["--watch", inbox.to_str().unwrap(), &store.url(), "--retries=0"]));
    let mut both = [watch(), watch()];
    for n in 0..20 {
        let text: String = (0..10).map(|line| format!("{n} {line}\n")).collect();
        let text = if n == 7 { text + "bad\n" } else { text };
        let written = folder.path().join("written");
        fs::write(&written, text).unwrap();
        fs::rename(written, inbox.join(format!("{n}.txt"))).unwrap();
    }
    let count = |name: &str| fs::read_dir(inbox.join(name)).map_or(0, Iterator::count);
    let began = Instant::now();
    // One, and its report.
    while count("done") < 19 || count("failed") < 2 {
        assert!(began.elapsed() < PATIENCE, "{} done, {} failed", count("done"), count("failed"));
        thread::yield_now();
    }
    let report = fs::read_to_string(inbox.join("failed/7.txt.report.jsonl")).unwrap();
    assert!(report.contains("\"record\":\"line 11\"") && report.contains("400 Bad Request: bad"), "{report}");
    assert!(inbox.join("failed/7.txt").exists());
    for watching in &mut both {
        watching.signal("TERM");
        assert_eq!(watching.child.wait().unwrap().code(), Some(130));
    }
    let log = store.log();
    assert_eq!((log.seen.len(), log.requests), (201, 201));
    // Nothing of ours is left.
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 2);
}

/// Runs it with files of at most so many times 512 bytes.
fn limited(blocks: u32, args: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        &format!("ulimit -f {blocks} && exec \"$0\" post \"$@\""),
        env!("CARGO_BIN_EXE_framegate"),
    ]);
    shell.args(args).env_remove("RUST_LOG").stdin(Stdio::null()).output().expect("the shell starts")
}

#[test]
fn a_limit_of_file_sizes_is_an_error_with_its_mend() {
    let mend = "the limit of file sizes is reached: raise it (ulimit -f, LimitFSIZE= of systemd)";
    let folder = tempfile::tempdir().unwrap();
    let (source, report) = (folder.path().join("a.txt"), folder.path().join("failed.jsonl"));
    let source = lines(&source, 500);
    let answers = Store::start(usize::MAX, |_, _| OK);
    let output = limited(16, &[&source, &answers.url()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write the journal: ") && said.contains(mend), "{said}");
    // With the limit raised it goes on where it was, and what was stored is not sent twice but for what was under way.
    let (goes_on, code) = post(&[&source, &answers.url()]);
    assert_eq!((code, goes_on["failed"].as_u64()), (0, Some(0)), "{goes_on}");
    let refuses = Store::start(usize::MAX, |_, _| Act::Answer(400, "", "no"));
    let source = lines(&folder.path().join("b.txt"), 500);
    let journal = folder.path().join("journal");
    let (report, journal) = (report.to_str().unwrap(), journal.to_str().unwrap());
    let output = limited(64, &[&source, &refuses.url(), "--report", report, "--journal", journal]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write the ") && said.contains(mend), "{said}");
}

#[test]
fn what_comes_behind_an_answer_makes_no_stored_record_failed() {
    for answer in [
        Act::Raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nmore than that", ""),
        Act::Raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "}"),
        Act::Raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n", ""),
        Act::Raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "\r\n"),
        Act::Raw("HTTP/1.1 204 No Content\r\n\r\n0\r\n\r\n", ""),
        Act::Raw("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", "{}"),
        Act::Raw("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"),
        Act::Raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", ""),
        Act::Raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
    ] {
        let Act::Raw(first, then) = answer else { unreachable!() };
        let store = Store::start(usize::MAX, move |_, _| answer);
        let folder = tempfile::tempdir().unwrap();
        let file = lines(&folder.path().join("a.txt"), 30);
        let (report, exit) = post(&[&file, &store.url(), "--retries=0", "--max-in-flight=3"]);
        assert_eq!((exit, &report["stored"]), (0, &30.into()), "{first:?} then {then:?}: {report}");
        if then.is_empty() {
            assert_eq!(report["requests"], 30, "none was sent again: {first:?}: {report}");
        }
    }
}

#[test]
fn connections_that_a_store_never_accepts_hold_up_nothing() {
    let store = Store::accepts(4, |_, _| Act::Later(Duration::from_millis(5)));
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), 400);
    let began = Instant::now();
    let (report, exit) = post(&[&file, &store.url(), "--max-in-flight=50", "--max-connections=50"]);
    assert_eq!((exit, &report["stored"], &report["failed"]), (0, &400.into(), &0.into()), "{report}");
    // Each of those that wait would otherwise have the 30 s of its timeout.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {report}", began.elapsed());
    assert!(report["not_taken"].as_u64().unwrap() >= 1, "{report}");
    let log = store.log();
    assert!(log.seen.values().all(|seen| seen.len() == 1), "what was not accepted was not worked on");
}

#[test]
fn a_store_that_accepts_slowly_gets_all_connections_as_it_accepts_them() {
    const WANTED: usize = 300;
    let store = Store::accepts_slowly(Duration::from_millis(2), |_, _| Act::Held);
    let folder = tempfile::tempdir().unwrap();
    let file = lines(&folder.path().join("a.txt"), WANTED);
    let most = [format!("--max-in-flight={WANTED}"), format!("--max-connections={WANTED}")];
    let began = Instant::now();
    let post = Process::start(&mut command(&[&file, &store.url(), "--json", &most[0], &most[1]]));
    store.wait_for(WANTED);
    // The system would ask for those that it dropped again after 1 s, 3 s, 7 s and 15 s, a few of them with success.
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    store.release();
    let (exit, report, _) = post.end();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((exit, &report["stored"]), (0, &WANTED.into()), "{report}");
    assert_eq!((&report["requests"], &report["not_taken"]), (&WANTED.into(), &0.into()), "{report}");
}
