//! What is in a source is posted, failed or left out, and the report says of each which.

use crate::support::store;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use store::{OK, Store};

fn case(name: &str) -> String {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    cases.join(name).to_str().unwrap().to_owned()
}

fn post(args: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command.arg("post").args(args).env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It may refuse before it reads.
    let _ = child.stdin.take().expect("it is piped").write_all(stdin);
    child.wait_with_output().expect("it ends")
}

/// The exit code, and the report, which adds up.
fn posted(args: &[&str], stdin: &[u8]) -> (i32, Value, String) {
    let output = post(&[args, &["--json"]].concat(), stdin);
    let said = String::from_utf8(output.stderr).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if !report.is_null() {
        let of = |name: &str| report[name].as_u64().unwrap();
        let sum = of("stored") + of("stored_before") + of("failed") + of("left_out") + of("unsent");
        assert_eq!(of("found"), sum, "{report}");
    }
    (output.status.code().expect("not killed"), report, said)
}

/// Posts a copy, so that journals are beside that.
fn posted_case(folder: &Path, name: &str, more: &[&str]) -> (Store, i32, Value, String) {
    let store = Store::start(usize::MAX, |_, _| OK);
    let path = folder.join(name);
    fs::copy(case(name), &path).unwrap();
    let (exit, report, said) = posted(&[&[path.to_str().unwrap(), &store.url()], more].concat(), b"");
    (store, exit, report, said)
}

#[test]
fn every_case_comes_out_as_its_table_says() {
    let hole = "\0".repeat(300_000) + "tail";
    for (name, more, records, failed, left_out) in [
        ("hardlink.tar", &[][..], &["one\n"][..], 0, 1),
        ("sparse-gnu.tar", &[], &[hole.as_str()], 0, 0),
        ("sparse-pax.tar", &[], &[&hole], 0, 0),
        ("no-magic.tar", &[], &["one\n"], 0, 0),
        ("empty.tar", &[], &[], 0, 0),
        ("cut.tar", &[], &[], 1, 0),
        ("stub.zip", &[], &["{\"a\":1}"], 0, 0),
        ("mac-and-link.zip", &[], &["{\"a\":1}"], 0, 2),
        ("lines.txt.bz2", &[], &["one", "two"], 0, 0),
        ("lines.txt.xz", &[], &["one", "two"], 0, 0),
        ("padded.txt.gz", &[], &["one", "two"], 0, 0),
        ("open-quote.csv", &[], &[], 1, 0),
        ("open-quote.csv", &["--record=line"], &["a,b", "1,\"2", "3,4", "5,6"], 0, 0),
        ("semicolons.csv", &[], &["{\"id\":\"1\",\"name\":\"ann\"}", "{\"id\":\"2\",\"name\":\"bo\"}"], 0, 0),
        ("semicolons.csv", &["--delimiter=,"], &["{\"id;name\":\"1;ann\"}", "{\"id;name\":\"2;bo\"}"], 0, 0),
        ("bom-crlf.jsonl", &[], &["{\"a\":1}", "{\"a\":2}"], 0, 1),
        ("bom-crlf.jsonl", &["--keep-blank"], &["", "{\"a\":1}", "{\"a\":2}"], 0, 0),
        ("error-page.zip", &["--record=line"], &["<h1>404</h1>", "</html>", "<html>"], 0, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (store, exit, report, said) = posted_case(folder.path(), name, more);
        assert_eq!(
            (exit, &report["failed"]),
            (i32::from(failed > 0), &failed.into()),
            "{name}: {report}{said}"
        );
        assert_eq!(report["left_out"], left_out, "{name}: {report}");
        let log = store.log();
        let mut expected: Vec<&str> = records.to_vec();
        expected.sort_unstable();
        let mut got: Vec<&str> = log.seen.keys().map(String::as_str).collect();
        got.sort_unstable();
        assert!(got == expected, "{name}: {} records", got.len());
    }
}

#[test]
fn what_is_not_understood_is_refused_with_the_mend() {
    for (name, more, said) in [
        ("error-page.zip", None, "its name ends in .zip and it holds an HTML page"),
        (
            "one-pixel.png",
            None,
            "it is a PNG picture, not lines of text: --record file posts it as one record",
        ),
        ("one-pixel.png", Some("--record=line"), "it is a PNG picture"),
        ("utf16.txt", None, "it is UTF-16: convert it, with iconv -f UTF-16 -t UTF-8"),
        ("utf16.txt", Some("--record=line"), "it is UTF-16"),
        ("same-columns.csv", None, "two of its columns are called 'first': rename one in the header"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let more: Vec<&str> = more.into_iter().collect();
        let (store, exit, report, got) = posted_case(folder.path(), name, &more);
        assert_eq!((exit, report), (2, Value::Null), "{name}");
        assert!(got.contains(said) && got.contains(&format!("{name} is not posted: ")), "{name}: {got}");
        assert_eq!(store.log().requests, 0, "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (store, exit, ..) = posted_case(folder.path(), "one-pixel.png", &["--record=file"]);
    assert_eq!((exit, store.log().requests), (0, 1));
}

#[test]
fn what_failed_and_what_was_left_out_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, report, said) = posted_case(folder.path(), "cut.tar", &[]);
    assert_eq!(report["first"][0]["record"], "first.txt");
    assert_eq!(report["first"][0]["reason"], "incomplete: the archive ends within it");
    assert_eq!(report["broken_sources"], 1);
    assert!(said.contains("cut.tar to its end: the archive ends in first.txt"), "{said}");
    let failed = folder.path().join("failed.jsonl");
    let (_, _, report, _) =
        posted_case(folder.path(), "mac-and-link.zip", &["--report", failed.to_str().unwrap()]);
    let kinds: Vec<&str> = report["left_out_kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| kind["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["macOS metadata file", "link"]);
    assert_eq!(report["first_left_out"][1]["record"], "link");
    let lines = fs::read_to_string(&failed).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["record"], "__MACOSX/._a.json");
    assert_eq!((&lines[1]["record"], &lines[1]["left_out"]), (&"link".into(), &"link".into()));
    assert_eq!(lines[2]["summary"]["found"], 3);
    // Nothing of it failed, so there is nothing to send again.
    let store = Store::start(usize::MAX, |_, _| OK);
    let (exit, ..) = posted(&["--retry-failed", failed.to_str().unwrap(), &store.url()], b"");
    assert_eq!((exit, store.log().requests), (0, 0));
    let path = folder.path().join("hardlink.tar");
    fs::copy(case("hardlink.tar"), &path).unwrap();
    let output = post(&[path.to_str().unwrap(), &store.url()], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "left out     1 hard link",
        ": b.txt: hard link to a.txt",
        "in all       2 found: 1 stored + 1 left out",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn one_that_cannot_be_read_in_a_folder_does_not_keep_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    let path = |name: &str| source.join(name);
    fs::write(path("a.txt"), "one\n").unwrap();
    fs::write(path("sub/z.txt"), "two\nthree\n").unwrap();
    fs::copy(case("one-pixel.png"), path("b.txt")).unwrap();
    fs::copy(case("cut.tar"), path("c.tar")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    symlink(".", path("sub/loop")).unwrap();
    fs::write(path(".hidden"), "x").unwrap();
    // Whoever runs this as root is refused nothing: then somebody else posts.
    fs::create_dir(path("closed")).unwrap();
    let closed: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(path("closed"), closed).unwrap();
    let failed = folder.path().join("failed.jsonl");
    let store = Store::start(usize::MAX, |_, _| OK);
    let mut command = Command::new(as_anybody(folder.path()));
    command.args(["post", source.to_str().unwrap(), &store.url(), "--json", "--report"]).arg(&failed);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        give_away(folder.path());
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    }
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(1), "{report}");
    let numbers = ["found", "stored", "failed", "left_out"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(numbers, [10, 3, 6, 1], "{report}");
    let named: Vec<(&str, &str)> = report["first"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failed| (failed["record"].as_str().unwrap(), failed["reason"].as_str().unwrap()))
        .collect();
    for (at, name, why) in [
        (0, "b.txt", "it is a PNG picture"),
        (1, "c.tar first.txt", "incomplete"),
        (2, "c.tar", "incomplete: the archive ends in first.txt"),
        (3, "closed", "cannot be read: Permission denied"),
        (4, "dangling", "cannot be read: a link to nowhere: No such file"),
        (5, "sub/loop", "cannot be read: a link to "),
    ] {
        assert!(named[at].0 == name && named[at].1.starts_with(why), "{:?}, not {name}", named[at]);
    }
    // Once it is mended, all of what failed as a file is sent.
    fs::write(path("b.txt"), "four\nfive\n").unwrap();
    let (exit, report, _) = posted(&["--retry-failed", failed.to_str().unwrap(), &store.url()], b"");
    assert_eq!((exit, &report["stored"]), (1, &2.into()), "{report}");
}

const NOBODY: u32 = 65_534;

/// The program, where anybody can run it.
fn as_anybody(folder: &Path) -> PathBuf {
    if !rustix::process::geteuid().is_root() {
        return env!("CARGO_BIN_EXE_framegate").into();
    }
    let program = folder.join("framegate");
    // By another process: what another test starts meanwhile would hold the copy open, and it could not be run.
    let mut copy = Command::new("cp");
    assert!(copy.arg(env!("CARGO_BIN_EXE_framegate")).arg(&program).status().unwrap().success());
    program
}

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), None).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

#[test]
fn standard_input_is_a_source_of_any_kind() {
    let folder = tempfile::tempdir().unwrap();
    for (stdin, more, records) in [
        (b"one\r\n\ntwo".to_vec(), &[][..], &["one", "two"][..]),
        (fs::read(case("lines.txt.xz")).unwrap(), &[], &["one", "two"]),
        // Read from its end, for which it is put into a file.
        (fs::read(case("mac-and-link.zip")).unwrap(), &[], &["{\"a\":1}"]),
        (fs::read(case("hardlink.tar")).unwrap(), &[], &["one\n"]),
        (b"a;b\n1;2\n".to_vec(), &["--record=csv"], &["{\"a\":\"1\",\"b\":\"2\"}"]),
        (b"one\ntwo\n".to_vec(), &["--record=file"], &["one\ntwo\n"]),
        (Vec::new(), &[], &[]),
    ] {
        let store = Store::start(usize::MAX, |_, _| OK);
        let (exit, report, said) = posted(&[&["-", &store.url()], more].concat(), &stdin);
        assert_eq!((exit, &report["stored"]), (0, &records.len().into()), "{report}{said}");
        let log = store.log();
        assert!(records.iter().all(|record| log.seen.contains_key(*record)), "{records:?}");
    }
    let store = Store::start(usize::MAX, |_, _| OK);
    let (exit, report, said) = posted(&["-", &store.url()], &fs::read(case("one-pixel.png")).unwrap());
    assert!(exit == 2 && said.contains("standard input is not posted: it is a PNG"), "{report}{said}");
    // With a journal it goes on where it was, if it was broken off or is said to be the same.
    let journal = folder.path().join("journal");
    let args = ["-", &store.url(), "--journal", journal.to_str().unwrap(), "--source-id=export"];
    assert_eq!(posted(&args, b"one\n").1["stored"], 1);
    let (_, report, _) = posted(&args, b"one\ntwo\n");
    assert_eq!((&report["stored"], &report["stored_before"]), (&1.into(), &1.into()));
}

#[test]
fn a_source_is_given_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("sub/a.txt"), "one\n").unwrap();
    symlink("sub/a.txt", path("b.txt")).unwrap();
    let store = Store::start(usize::MAX, |_, _| OK);
    for (sources, why) in [
        ([path("sub/a.txt"), path("sub/a.txt")], "is given twice: name it once"),
        ([path("sub/a.txt"), path("sub/../sub/a.txt")], "is given twice"),
        ([path("b.txt"), path("sub/a.txt")], "is given twice"),
        ([path("sub"), path("sub/a.txt")], "which is given too: name one of them"),
        (["-".to_owned(), "-".to_owned()], "- is given twice"),
    ] {
        let (exit, _, said) = posted(&[&sources[0], &sources[1], &store.url()], b"");
        assert!(exit == 2 && said.contains(why), "{said}");
    }
    assert_eq!(store.log().requests, 0);
}

#[test]
fn a_delimiter_is_one_character() {
    for given in ["", "ab", "\"", "ä"] {
        let output = post(&["--delimiter", given, "a.csv", "http://h/"], b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("expected one ASCII character"), "{said}");
    }
}
