//! A watched folder in which files change while they are posted, and which is itself another one than before.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Instant;

use super::command;
use super::store::{Act, OK, PATIENCE, Store};
use super::support::process::Process;

/// Writes a file elsewhere and renames it to its place, over whatever is there.
fn place(path: &Path, text: &str) {
    let made = path.with_file_name(".made");
    fs::write(&made, text).unwrap();
    fs::rename(made, path).unwrap();
}

fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE, "{} never came", path.display());
        thread::yield_now();
    }
}

fn end(mut watching: Process) {
    watching.signal("TERM");
    assert_eq!(watching.child.wait().unwrap().code(), Some(130));
}

#[test]
fn files_that_change_while_they_are_posted_or_wait_are_not_put_away_unsent() {
    let store = Store::start(usize::MAX, |record, _| if record.starts_with("hold") { Act::Held } else { OK });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut command =
        command(&["--watch", folder.path().to_str().unwrap(), &store.url(), "--max-in-flight=3"]);
    let watching = Process::start(command.env("RUST_LOG", "framegate=debug"));
    place(&path("appended.txt"), "hold a\nold\n");
    watching.says("appended.txt is complete");
    place(&path("replaced.txt"), "hold b\n");
    watching.says("replaced.txt is complete");
    // More than is read ahead: what comes behind it waits in line.
    let many: String = (0..3000).map(|n| format!("{n}\n")).collect();
    place(&path("many.txt"), &format!("hold c\n{many}"));
    watching.says("many.txt is complete");
    store.wait_for(4);
    place(&path("waits.txt"), "first\n");
    watching.says("waits.txt is complete");

    let mut appended = File::options().append(true).open(path("appended.txt")).unwrap();
    appended.write_all(b"new\n").unwrap();
    place(&path("replaced.txt"), "other\n");
    place(&path("waits.txt"), "second\n");
    store.release();
    watching.says("appended.txt: 2 records; it stays, for it was written to meanwhile");
    drop(appended);
    for name in ["appended.txt", "replaced.txt", "waits.txt", "many.txt"] {
        wait_for(&path("done").join(name));
    }
    end(watching);
    let done = |name: &str| fs::read_to_string(path("done").join(name)).unwrap();
    assert_eq!(done("appended.txt"), "hold a\nold\nnew\n");
    assert_eq!((done("replaced.txt"), done("waits.txt")), ("other\n".to_owned(), "second\n".to_owned()));
    // What was stored of a file that grew is not sent again.
    for (record, times) in [
        ("hold a", 1),
        ("old", 1),
        ("new", 1),
        ("hold b", 1),
        ("other", 1),
        ("first", 0),
        ("second", 1),
        ("2999", 1),
    ] {
        assert_eq!(store.times(record), times, "{record}");
    }
    // Nothing of ours is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_is_another_one_than_before_is_watched() {
    let store = Store::start(usize::MAX, |_, _| OK);
    let root = tempfile::tempdir().unwrap();
    let inbox = root.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let log = root.path().join("log");
    let mut command = command(&["--watch", inbox.to_str().unwrap(), &store.url()]);
    let watching = Process::start_with_log(&mut command, Some(File::create(&log).unwrap()));
    place(&inbox.join("a.txt"), "a\n");
    wait_for(&inbox.join("done/a.txt"));

    fs::rename(&inbox, root.path().join("old")).unwrap();
    fs::create_dir(&inbox).unwrap();
    // It may have looked while there was none.
    watching.says("watched");
    let mut slow = File::create(inbox.join("slow.txt")).unwrap();
    slow.write_all(b"one\n").unwrap();
    place(&inbox.join("b.txt"), "b\n");
    wait_for(&inbox.join("done/b.txt"));
    slow.write_all(b"two\n").unwrap();
    drop(slow);
    wait_for(&inbox.join("done/slow.txt"));

    fs::remove_dir_all(&inbox).unwrap();
    watching.says("waiting until that is mended");
    fs::create_dir(&inbox).unwrap();
    watching.says("watched");
    place(&inbox.join("c.txt"), "c\n");
    wait_for(&inbox.join("done/c.txt"));
    end(watching);
    for record in ["a", "b", "one", "two", "c"] {
        assert_eq!(store.times(record), 1, "{record}");
    }
    let said = fs::read_to_string(log).unwrap();
    assert!(!said.contains("Os {"), "{said}");
}
