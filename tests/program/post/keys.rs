//! Which records have the same key, and what is taken for stored.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::store::{Act, OK, Store};
use super::{command, lines, post, report};

/// What a store has that stores a request of each key once: how often each record.
fn stored(store: &Store) -> BTreeMap<String, usize> {
    let log = store.log();
    let of = |seen: &[super::store::Seen]| seen.iter().map(|seen| &seen.key).collect::<HashSet<_>>().len();
    log.seen.iter().map(|(record, seen)| (record.clone(), of(seen))).collect()
}

fn keys(store: &Store) -> BTreeMap<String, String> {
    store.log().seen.iter().map(|(record, seen)| (record.clone(), seen.last().unwrap().key.clone())).collect()
}

fn of(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(record, count)| ((*record).to_owned(), *count)).collect()
}

fn write(path: &Path, text: &str) -> String {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A zip of one file that is not packed.
fn zip(path: &Path, name: &str, body: &[u8]) -> String {
    let (crc, size) = (crc32fast::hash(body).to_le_bytes(), (body.len() as u32).to_le_bytes());
    let len = (name.len() as u16).to_le_bytes();
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc, &size, &size, &len, &[0; 2]].concat();
    let local = [b"PK\x03\x04", &common[..], name.as_bytes(), body].concat();
    let central = [b"PK\x01\x02\x14\0", &common[..], &[0; 14], name.as_bytes()].concat();
    let (size, at) = ((central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &size[..], &at, &[0; 2]].concat();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, [local, central, end].concat()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn sources_of_one_name_share_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = "same\nother\n";
    let plain = [write(&path("a/orders.csv.txt"), text), write(&path("b/orders.csv.txt"), text)];
    let zipped = [zip(&path("a/orders.zip"), "m", b"member"), zip(&path("b/orders.zip"), "m", b"member")];
    let folders = ["a", "b"].map(|name| write(&path(name).join("in/x.txt"), "below\n"));
    let folders = folders.map(|file| Path::new(&file).parent().unwrap().to_str().unwrap().to_owned());
    let sources: Vec<&str> = plain.iter().chain(&zipped).chain(&folders).map(String::as_str).collect();
    fs::create_dir(path("journals")).unwrap();
    for more in [&[][..], &["--journal", path("journals").to_str().unwrap()], &["--source-id=today"]] {
        let store = Store::start(usize::MAX, |_, _| OK);
        let url = store.url();
        let run = || post(&[&sources[..], &[&url], more].concat());
        let (report, exit) = run();
        assert_eq!((exit, &report["stored"], &report["broken"]), (0, &8.into(), &Value::Array(vec![])));
        assert_eq!(stored(&store), of(&[("below", 2), ("member", 2), ("other", 2), ("same", 2)]), "{more:?}");
        // Each of them goes on under its journal.
        let (report, exit) = run();
        assert_eq!(
            (exit, &report["stored_before"], &report["requests"]),
            (0, &8.into(), &0.into()),
            "{report}"
        );
    }
}

#[test]
fn equal_lines_of_a_file_are_two_records() {
    let store = Store::start(usize::MAX, |_, _| OK);
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder.path().join("a.txt"), "same\nsame\n");
    let (_, exit) = post(&[&file, &store.url()]);
    assert_eq!((exit, stored(&store)), (0, of(&[("same", 2)])));
}

#[test]
fn a_file_that_an_archive_holds_twice_is_two_records() {
    let store = Store::start(usize::MAX, |_, _| OK);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    for (name, body) in [("m", "x"), ("m (2)", "x"), ("m", "x"), ("m", "y"), ("m", "x")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, body.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap();
    let args = [path.to_str().unwrap(), &store.url()];
    let (report, exit) = post(&args);
    assert_eq!((exit, &report["stored"], stored(&store)), (0, &5.into(), of(&[("x", 4), ("y", 1)])));
    let (report, exit) = post(&args);
    assert_eq!((exit, &report["stored_before"], &report["requests"]), (0, &5.into(), &0.into()), "{report}");
}

#[test]
fn a_file_keeps_its_keys_where_it_grows_or_moves_and_no_other_gets_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = Store::start(usize::MAX, |_, _| OK);
    let url = store.url();
    let run = |file: &str| post(&[file, &url]);
    let log = write(&path("in/app.log"), "start\none\n");
    assert_eq!(run(&log).1, 0);
    // It grows: what is new is sent.
    write(&path("in/app.log"), "start\none\ntwo\n");
    let (report, exit) = run(&log);
    assert_eq!((exit, &report["stored_before"], &report["stored"]), (0, &2.into(), &1.into()), "{report}");
    // It is rotated: the new one is another file, though it begins as the old one did.
    fs::rename(&log, path("in/app.log.1")).unwrap();
    write(&path("in/app.log"), "start\none\ntwo\nthree\n");
    let (report, exit) = run(&log);
    assert_eq!((exit, &report["stored_before"], &report["stored"]), (0, &0.into(), &4.into()), "{report}");
    assert_eq!(stored(&store), of(&[("one", 2), ("start", 2), ("three", 1), ("two", 2)]));
    // Emptied in its place and written anew: likewise.
    write(&path("in/app.log"), "start\none\n");
    let (report, exit) = run(&log);
    assert_eq!((exit, &report["stored"]), (0, &2.into()), "{report}");
    assert_eq!(stored(&store)["start"], 3);
    // Another begins at the same place, after it was removed.
    fs::remove_file(&log).unwrap();
    write(&path("in/app.log"), "start\none\n");
    let (report, exit) = run(&log);
    assert_eq!((exit, &report["stored"]), (0, &2.into()), "{report}");
    assert_eq!(stored(&store)["start"], 4);
    // Moved with its journal it is the same.
    fs::rename(path("in"), path("elsewhere")).unwrap();
    let (report, exit) = run(path("elsewhere/app.log").to_str().unwrap());
    assert_eq!((exit, &report["stored_before"], &report["requests"]), (0, &2.into(), &0.into()), "{report}");
}

#[test]
fn a_file_in_the_place_of_one_that_is_not_done_is_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(usize::MAX, |record, before| match record {
        "bad" if before == 0 => Act::Answer(422, "", "not yet"),
        _ => OK,
    });
    let path = folder.path().join("people.txt");
    let (file, url) = (write(&path, "one\nbad\n"), store.url());
    assert_eq!(post(&[&file, &url]).1, 1);
    let before = keys(&store);
    // As an editor writes it.
    let edited = write(&folder.path().join("edited"), "one\ngood\n");
    fs::rename(&edited, &path).unwrap();
    let output = command(&[&file, &url]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another file") && said.contains("remove the journal"), "{said}");
    let id = said.split("--source-id ").nth(1).unwrap().split(';').next().unwrap();
    // Who says that it is the same goes on: just what was edited is sent.
    let (report, exit) = post(&[&file, &url, "--source-id", id]);
    assert_eq!((exit, &report["stored_before"], &report["stored"]), (0, &1.into(), &1.into()), "{report}");
    assert_eq!(keys(&store)["one"], before["one"]);
    let output = command(&[&file, &url, "--source-id=x"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains(&format!("has the source id {id}, not x")),
        "{said}"
    );
}

#[test]
fn a_file_in_a_folder_that_takes_the_place_of_another_has_its_own_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("in").join(name);
    let store = Store::start(usize::MAX, |_, _| OK);
    let (url, source) = (store.url(), folder.path().join("in"));
    let source = source.to_str().unwrap();
    write(&path("app.log"), "start\n");
    write(&path("b.txt"), "beside\n");
    assert_eq!(post(&[source, &url]).1, 0);
    fs::rename(path("app.log"), path("app.log.1")).unwrap();
    write(&path("app.log"), "start\n");
    let (report, exit) = post(&[source, &url]);
    // The one that was renamed has other names for its records.
    assert_eq!((exit, &report["stored_before"], &report["stored"]), (0, &1.into(), &2.into()), "{report}");
    let (report, exit) = post(&[source, &url]);
    assert_eq!((exit, &report["stored_before"], &report["requests"]), (0, &3.into(), &0.into()), "{report}");
    assert_eq!(stored(&store), of(&[("beside", 1), ("start", 3)]));
}

#[test]
fn a_key_can_be_made_by_anybody_from_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(usize::MAX, |_, _| Act::Answer(400, "", "no"));
    let failed = folder.path().join("failed.jsonl");
    let file = lines(&folder.path().join("a.txt"), 3);
    let (_, exit) = post(&[&file, &store.url(), "--report", failed.to_str().unwrap()]);
    assert_eq!(exit, 1);
    let text = fs::read_to_string(&failed).unwrap();
    let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, failed) = all.split_last().unwrap();
    assert_eq!(failed.len(), 3);
    let keys = keys(&store);
    for line in failed {
        let name = line["record"].as_str().unwrap();
        let number: usize = name.strip_prefix("line ").unwrap().parse().unwrap();
        let record = format!("record {}", number - 1);
        let made = format!("{}\0{name}\0{record}", line["source_id"].as_str().unwrap());
        let made: String = Sha256::digest(made).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((line["key"].as_str().unwrap(), &made), (made.as_str(), &keys[&record]));
    }
    // The last line has the counts, and nothing that stands above.
    let summary = summary["summary"].as_object().unwrap();
    assert_eq!((&summary["found"], &summary["failed"]), (&3.into(), &3.into()));
    assert!(!summary.contains_key("first") && summary.contains_key("failures"), "{summary:?}");
}

/// Posts what is given on standard input.
fn pipe(text: &str, args: &[&str]) -> (Value, i32) {
    let mut child = command(&[&["-"], args].concat()).arg("--json").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (report(&output), output.status.code().unwrap())
}

#[test]
fn standard_input_has_the_keys_of_its_id_and_else_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(usize::MAX, |_, _| OK);
    let url = store.url();
    assert_eq!((pipe("x\n", &[&url]).1, pipe("x\n", &[&url]).1, stored(&store)["x"]), (0, 0, 2));
    let one = [&*url, "--source-id=one"];
    assert_eq!((pipe("y\n", &one).1, pipe("y\n", &one).1, stored(&store)["y"]), (0, 0, 1));
    assert_eq!((pipe("y\n", &[&url, "--source-id=two"]).1, stored(&store)["y"]), (0, 2));
    // A stream that came to its end is done, and the next one under the journal is another.
    let journal = folder.path().join("journal");
    let under = [&*url, "--journal", journal.to_str().unwrap()];
    assert_eq!((pipe("z\n", &under).1, pipe("z\nzz\n", &under).1), (0, 0));
    assert_eq!((stored(&store)["z"], stored(&store)["zz"]), (2, 1));
}

#[test]
fn a_stream_that_was_broken_off_goes_on_under_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let store = Store::start(usize::MAX, |record, _| if record == "held" { Act::Held } else { OK });
    let url = store.url();
    let under = [&*url, "--journal", journal.to_str().unwrap(), "--max-in-flight=1"];
    let mut child = command(&[&["-"], &under[..]].concat()).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one\nheld\n").unwrap();
    store.wait_for(2);
    child.kill().unwrap();
    child.wait().unwrap();
    store.release();
    let (report, exit) = pipe("one\nheld\nlast\n", &under);
    assert_eq!((exit, &report["stored_before"], &report["stored"]), (0, &1.into(), &2.into()), "{report}");
    assert_eq!(stored(&store), of(&[("held", 1), ("last", 1), ("one", 1)]));
}

/// A watch over a folder, until it is dropped.
struct Watch(super::Process);

impl Watch {
    fn over(folder: &Path, url: &str) -> Watch {
        Watch(super::Process::start(&mut command(&["--watch", folder.to_str().unwrap(), url])))
    }

    fn until(&mut self, path: &Path) {
        let began = std::time::Instant::now();
        while !path.exists() {
            assert!(began.elapsed() < super::PATIENCE, "{} never came", path.display());
            assert!(self.0.child.try_wait().unwrap().is_none(), "it goes on");
            std::thread::yield_now();
        }
    }

    fn end(mut self) {
        self.0.signal("TERM");
        assert_eq!(self.0.child.wait().unwrap().code(), Some(130));
    }
}

#[test]
fn what_is_sent_again_has_its_key_wherever_its_source_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let refuses = Arc::new(Mutex::new(true));
    let refusing = refuses.clone();
    let store = Store::start(usize::MAX, move |record, _| match record {
        "bad" if *refusing.lock().unwrap() => Act::Answer(422, "", "not yet"),
        _ => OK,
    });
    let (url, text) = (store.url(), "good\nbad\n");
    let arrives = || {
        write(&path("inbox/.new"), text);
        fs::rename(path("inbox/.new"), path("inbox/a.txt")).unwrap();
    };
    fs::create_dir(path("inbox")).unwrap();
    let mut watch = Watch::over(&path("inbox"), &url);
    // Each day a file of the same name and text.
    for put_away in ["inbox/failed/a.txt", "inbox/failed/2/a.txt", "inbox/failed/3/a.txt"] {
        arrives();
        watch.until(&path(put_away));
    }
    watch.end();
    assert_eq!(stored(&store), of(&[("bad", 3), ("good", 3)]));
    *refuses.lock().unwrap() = false;
    let retry = |folder: &str| {
        let report = path(folder).join("a.txt.report.jsonl");
        let (report, exit) = post(&["--retry-failed", report.to_str().unwrap(), &url]);
        assert_eq!((exit, &report["stored"], &report["requests"]), (0, &1.into(), &1.into()), "{report}");
    };
    retry("inbox/failed");
    // Where nothing but its report is left beside it, too.
    for entry in fs::read_dir(path("inbox/failed/2")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "journal") {
            fs::remove_file(entry).unwrap();
        }
    }
    retry("inbox/failed/2");
    assert_eq!((store.times("good"), store.times("bad")), (3, 5));
    // Moved back it is the same file, and just what failed is sent.
    let mut watch = Watch::over(&path("inbox"), &url);
    fs::rename(path("inbox/failed/3/a.txt"), path("inbox/a.txt")).unwrap();
    watch.until(&path("inbox/done/a.txt"));
    watch.end();
    assert_eq!((store.times("good"), store.times("bad")), (3, 6));
    assert_eq!(stored(&store), of(&[("bad", 3), ("good", 3)]));
}

#[test]
fn a_journal_of_an_earlier_version_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let store = Store::start(usize::MAX, |_, _| OK);
    let (file, url) = (write(&folder.path().join("a.txt"), "one\ntwo\n"), store.url());
    // As it was written: the name was the id.
    let key: String = Sha256::digest("a.txt\0line 1\0one").iter().map(|byte| format!("{byte:02x}")).collect();
    let identity = format!("{{\"source\":\"a.txt\",\"url\":\"{url}\",\"record\":\"auto\"}}");
    let sum = |text: String| format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()));
    let old = sum(format!("framegate-journal-1 {identity}")) + sum(format!("ok {key}")).as_str();
    fs::write(&journal, &old).unwrap();
    let args = [&*file, &url, "--journal", journal.to_str().unwrap()];
    let output = command(&args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), store.requests()), (Some(2), 0), "{said}");
    assert!(said.contains("--source-id 'a.txt'") && said.contains("remove the journal"), "{said}");
    assert_eq!(fs::read_to_string(&journal).unwrap(), old);
    let (report, exit) = post(&[&args[..], &["--source-id", "a.txt"]].concat());
    assert_eq!((exit, &report["stored_before"], &report["stored"]), (0, &1.into(), &1.into()), "{report}");
    // From then on it is known by itself.
    let (report, exit) = post(&args);
    assert_eq!((exit, &report["stored_before"], &report["requests"]), (0, &2.into(), &0.into()), "{report}");
}

#[test]
fn journals_of_one_name_in_two_folders_are_two() {
    let folder = tempfile::tempdir().unwrap();
    let place = |source: &str| {
        fs::create_dir_all(folder.path().join(source).parent().unwrap()).unwrap();
        framegate::tools::post::journal_in(folder.path(), &folder.path().join(source), "http://h/", "auto")
    };
    let all: HashSet<PathBuf> = ["a/x", "b/x", "a/y"].map(place).into();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|path| path.parent() == Some(folder.path())));
    // Names that are shown alike, or are too long for more.
    use std::os::unix::ffi::OsStrExt;
    let of = |name: &[u8]| {
        framegate::tools::post::journal_of(Path::new(std::ffi::OsStr::from_bytes(name)), "http://h/", "auto")
    };
    assert_ne!(of(b"x\xff"), of(b"x\xfe"));
    let long = of(&[b'x'; 255]);
    assert!(long.file_name().unwrap().len() <= 255 && long != of(&[b'x'; 254]), "{long:?}");
}
