use super::*;
use std::io::Write;
use std::sync::Arc;

/// A file that was read, and what is to become of it.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn reads(&self, name: &str) -> (Source, Journal) {
        let identity = Identity { source: name.into(), url: "u".into(), record: "file".into() };
        let own = self.path(&format!(".{name}.journal"));
        let path = self.path(name);
        let fingerprint = Some(Arc::new(Fingerprint::at(&path).unwrap()));
        let (journal, _) = Journal::open(&own, &identity).unwrap();
        (Source { journal: Some(own), path, only: None, fingerprint }, journal)
    }

    /// What becomes of it, below the folder, and whether its journal stays.
    fn puts(&self, (source, journal): (Source, Journal), error: Option<&str>) -> (Moved, bool) {
        let own = journal.path().to_owned();
        let end = End { is_done: error.is_none(), error, lines: None };
        let put = match move_done(&source, journal, end).unwrap() {
            Moved::To(to) => {
                assert!(to.exists() && !source.path.exists());
                Moved::To(to.strip_prefix(self.folder.path()).unwrap().to_owned())
            }
            put => put,
        };
        assert!(!report_of(&own).exists());
        (put, own.exists())
    }
}

fn to(path: &str) -> (Moved, bool) {
    (Moved::To(path.into()), false)
}

#[test]
fn sources_are_put_away_under_their_name() {
    let desk = Desk { folder: tempfile::tempdir().unwrap() };
    let put = |error: Option<&str>| {
        fs::write(desk.path("a.zip"), "x").unwrap();
        desk.puts(desk.reads("a.zip"), error)
    };
    assert_eq!(put(None), to("done/a.zip"));
    assert_eq!(put(None), to("done/2/a.zip"));
    // A link to nothing has a name, too.
    fs::create_dir(desk.path("done/3")).unwrap();
    std::os::unix::fs::symlink("nowhere", desk.path("done/3/a.zip")).unwrap();
    assert_eq!(put(None), to("done/4/a.zip"));
    assert_eq!(put(Some("torn")), to("failed/a.zip"));
    let report = fs::read_to_string(desk.path("failed/a.zip.report.jsonl")).unwrap();
    assert_eq!(report, "{\"summary\":{\"error\":\"torn\"}}\n");
    // A link leads from there to where it led before.
    fs::write(desk.path(".target"), "x").unwrap();
    std::os::unix::fs::symlink(".target", desk.path("link")).unwrap();
    assert_eq!(desk.puts(desk.reads("link"), None), to("done/link"));
    assert!(desk.path("done/link").is_symlink());
    assert_eq!(fs::read_to_string(desk.path("done/link")).unwrap(), "x");
    // Its own report has the name of another source.
    fs::write(desk.path("failed/b.report.jsonl"), "a source").unwrap();
    fs::write(desk.path("b"), "x").unwrap();
    assert_eq!(desk.puts(desk.reads("b"), Some("torn")), to("failed/2/b"));
    // Another process was faster.
    fs::write(desk.path("c"), "x").unwrap();
    let read = desk.reads("c");
    fs::remove_file(desk.path("c")).unwrap();
    assert_eq!(desk.puts(read, Some("torn")), (Moved::Gone, false));
    // With the folder, which does not come back for that.
    let inner = Desk { folder: tempfile::tempdir_in(desk.folder.path()).unwrap() };
    fs::write(inner.path("d"), "x").unwrap();
    let read = inner.reads("d");
    fs::remove_dir_all(inner.folder.path()).unwrap();
    assert_eq!(inner.puts(read, None), (Moved::Gone, false));
    assert!(!inner.folder.path().exists());
}

#[test]
fn what_is_not_what_was_read_stays() {
    type Happens<'a> = &'a dyn Fn(&Path);
    let desk = Desk { folder: tempfile::tempdir().unwrap() };
    let append = |path: &Path| File::options().append(true).open(path).unwrap();
    let cases: [(&str, Happens<'_>, Change, bool); 6] = [
        ("appended to", &|path| append(path).write_all(b" more").unwrap(), Change::Written, true),
        (
            "replaced",
            &|path| {
                fs::write(desk.path(".new"), "new").unwrap();
                fs::rename(desk.path(".new"), path).unwrap();
            },
            Change::Replaced,
            false,
        ),
        (
            "of one size and time",
            &|path| {
                let before = path.metadata().unwrap().modified().unwrap();
                fs::write(path, "new").unwrap();
                append(path).set_modified(before).unwrap();
            },
            Change::Written,
            true,
        ),
        ("cut off", &|path| fs::write(path, "").unwrap(), Change::Replaced, false),
        (
            "renamed to and fro",
            &|path| {
                fs::rename(path, desk.path(".other")).unwrap();
                fs::rename(desk.path(".other"), path).unwrap();
            },
            Change::Written,
            true,
        ),
        (
            "another link",
            &|path| {
                fs::write(desk.path(".target"), "new").unwrap();
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink(".target", path).unwrap();
            },
            Change::Replaced,
            false,
        ),
    ];
    for (what, happens, change, is_journal_kept) in cases {
        for error in [None, Some("torn")] {
            let _ = fs::remove_file(desk.path("a"));
            fs::write(desk.path("a"), "old").unwrap();
            let read = desk.reads("a");
            happens(&desk.path("a"));
            let put = desk.puts(read, error);
            assert_eq!(put, (Moved::Stays(change), is_journal_kept), "{what}");
            assert!(desk.path("a").exists(), "{what}");
            for away in ["done", "failed"] {
                assert!(fs::read_dir(desk.path(away)).map_or(0, Iterator::count) == 0, "{what}");
            }
        }
    }
    fs::remove_file(desk.path("a")).unwrap();
    fs::write(desk.path("a"), "old").unwrap();
    let writer = append(&desk.path("a"));
    let read = desk.reads("a");
    assert_eq!(desk.puts(read, None), (Moved::Stays(Change::Open), true));
    drop(writer);
    assert_eq!(desk.puts(desk.reads("a"), None), to("done/a"));
}

/// What happens between the check and the move.
#[test]
fn what_was_moved_and_is_something_else_is_moved_back() {
    let desk = Desk { folder: tempfile::tempdir().unwrap() };
    let (from, away) = (desk.path("a"), desk.path("away"));
    let checked = |is_replaced: bool| {
        fs::write(&from, "old").unwrap();
        let print = Fingerprint::at(&from).unwrap();
        let read = Read::check(&from, &print).unwrap().unwrap();
        if is_replaced {
            fs::write(desk.path("new"), "new").unwrap();
            fs::rename(desk.path("new"), &from).unwrap();
        }
        (read.move_to(&away).unwrap(), read.lease.is_some())
    };
    assert_eq!(checked(true), (Some(Change::Replaced), true));
    assert_eq!(fs::read_to_string(&from).unwrap(), "new");
    assert!(!away.exists());
    assert_eq!(checked(false), (None, true));
    assert_eq!(fs::read_to_string(&away).unwrap(), "old");
    // One that writes now has what it opened.
    fs::rename(&away, &from).unwrap();
    let print = Fingerprint::at(&from).unwrap();
    let read = Read::check(&from, &print).unwrap().unwrap();
    let path = from.clone();
    let writer = std::thread::spawn(move || {
        File::options().append(true).open(path).unwrap().write_all(b" and more").unwrap();
    });
    while !read.lease.as_ref().unwrap().is_broken() {
        std::thread::yield_now();
    }
    assert_eq!(read.move_to(&away).unwrap(), Some(Change::Open));
    // From here on it goes on.
    drop(read);
    writer.join().unwrap();
    assert_eq!(fs::read_to_string(&from).unwrap(), "old and more");
    // Where a newer one has its name, both stay.
    fs::write(&away, "older").unwrap();
    put_back(&away, &from).unwrap();
    assert_eq!(fs::read_to_string(desk.path("2.a")).unwrap(), "older");
}

#[test]
fn another_file_system_is_copied_to() {
    let desk = Desk { folder: tempfile::tempdir().unwrap() };
    let Ok(shm) = tempfile::tempdir_in("/dev/shm") else { return };
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&path.metadata().unwrap());
    if device(shm.path()) == device(desk.folder.path()) {
        return;
    }
    std::os::unix::fs::symlink(shm.path(), desk.path("failed")).unwrap();
    fs::write(desk.path("a"), "all").unwrap();
    let modified = desk.path("a").metadata().unwrap().modified().unwrap();
    assert_eq!(desk.puts(desk.reads("a"), Some("torn")), to("failed/a"));
    let moved = desk.path("failed/a");
    assert_eq!(fs::read_to_string(&moved).unwrap(), "all");
    assert_eq!(moved.metadata().unwrap().modified().unwrap(), modified);
    let mut names: Vec<_> =
        fs::read_dir(shm.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".a.journal", "a", "a.report.jsonl"]);
    assert_eq!(fs::read_dir(desk.folder.path()).unwrap().count(), 1, "nothing but the link is left");
}
