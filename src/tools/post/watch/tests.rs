use super::*;
use crossbeam::channel;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;

const LONG: Duration = Duration::from_secs(3600);

impl Watcher {
    fn names_at(&mut self, now: Instant) -> Vec<String> {
        let names = self.look(now).complete.into_iter();
        names.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_file_that_does_not_change_is_taken_after_a_while_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut watcher = Watcher::new(folder.path()).unwrap();
    // Of what was there before, the system says nothing.
    watcher.watched.as_mut().unwrap().events = None;
    let now = Instant::now();
    for name in ["b", ".hidden", "a", "c.zip.part", "d.tmp"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    fs::create_dir(folder.path().join("done")).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    assert!(watcher.names_at(now).is_empty());
    let later = now + POST_SETTLE;
    fs::write(folder.path().join("a"), "grown").unwrap();
    let b = watcher.look(later).complete;
    assert_eq!((b.len(), &b[0].0), (1, &folder.path().join("b")));
    let later = later + POST_SETTLE;
    assert_eq!(watcher.names_at(later), ["a"]);
    assert!(watcher.names_at(later).is_empty());
    // Still there after a long time: it was not worked on. The other is.
    assert_eq!(watcher.names_at(later + AGAIN), ["a"]);
    drop(b);
    assert_eq!(watcher.names_at(later + AGAIN), ["b"]);
}

#[test]
fn a_file_of_which_the_end_was_not_told_is_taken_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut watcher = Watcher::new(folder.path()).unwrap();
    let now = Instant::now();
    let [mut a, mut b] = ["a", "b"].map(|name| File::create(folder.path().join(name)).unwrap());
    let known = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    // Two of one kind behind each other are one.
    for _ in 0..known.trim().parse::<usize>().unwrap() {
        a.write_all(b"a").unwrap();
        b.write_all(b"b").unwrap();
    }
    drop((a, b));
    assert!(watcher.names_at(now).is_empty());
    assert!(watcher.files.values().all(|seen| seen.told.is_none()), "the end was lost");
    assert_eq!(watcher.names_at(now + POST_SETTLE), ["a", "b"]);
}

#[test]
fn a_file_is_taken_when_it_is_closed_or_renamed_in_but_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
    let watcher = Watcher::new(folder.path()).unwrap();
    let (to, sources) = channel::bounded(1);
    std::thread::spawn(move || watcher.run(&to, &|path| path.with_extension("j")));
    let patience = Duration::from_secs(60);
    let next = || sources.recv_timeout(patience).unwrap().path;

    let mut open = File::create(folder.path().join("open")).unwrap();
    open.write_all(b"a part").unwrap();
    fs::write(other.path().join("moved"), "all").unwrap();
    fs::rename(other.path().join("moved"), folder.path().join("moved")).unwrap();
    // The other came first and is not closed.
    assert_eq!(next(), folder.path().join("moved"));
    drop(open);
    assert_eq!(next(), folder.path().join("open"));
}

#[test]
fn what_is_still_open_is_not_taken_however_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let before = File::create(path("before")).unwrap();
    fs::write(path("before"), "not all").unwrap();
    let mut watcher = Watcher::new(folder.path()).unwrap();
    let renamed = File::create(path(".renamed")).unwrap();
    fs::rename(path(".renamed"), path("renamed")).unwrap();
    // One of two closes it.
    let twice = File::create(path("twice")).unwrap();
    fs::write(path("twice"), "not all").unwrap();
    let now = Instant::now();
    assert!(watcher.names_at(now).is_empty());
    assert!(watcher.names_at(now + LONG).is_empty());
    drop((before, renamed, twice));
    assert!(watcher.names_at(now + LONG).len() == 3);
}

#[test]
fn another_folder_at_the_path_is_watched_like_the_first() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let (inbox, real) = (path("inbox"), path("real"));
    let again: [(&str, &dyn Fn()); 4] = [
        ("removed and made anew", &|| {
            fs::remove_dir_all(&real).unwrap();
            fs::create_dir(&real).unwrap();
        }),
        ("moved, and another made", &|| {
            fs::rename(&real, path("old")).unwrap();
            fs::create_dir(&real).unwrap();
        }),
        ("a link that is switched", &|| {
            fs::create_dir(path("new")).unwrap();
            symlink("new", path("link")).unwrap();
            fs::rename(path("link"), &inbox).unwrap();
        }),
        // Seen from here, a mount is this: another device and inode, and the other one lives on.
        ("exchanged", &|| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            fs::create_dir(path("mounted")).unwrap();
            renameat_with(CWD, path("new"), CWD, path("mounted"), RenameFlags::EXCHANGE).unwrap();
        }),
    ];
    fs::create_dir(&real).unwrap();
    symlink("real", &inbox).unwrap();
    let mut watcher = Watcher::new(&inbox).unwrap();
    let now = Instant::now();
    for (what, happens) in again {
        let old = File::create(inbox.join("slow")).unwrap();
        assert!(watcher.names_at(now).is_empty());
        happens();
        let mut slow = File::create(inbox.join("slow")).unwrap();
        slow.write_all(b"a part").unwrap();
        // The end of another one of that name.
        drop(old);
        for later in [now, now, now + POST_SETTLE, now + LONG] {
            assert!(watcher.names_at(later).is_empty(), "{what}");
        }
        let watched = watcher.watched.as_ref().unwrap();
        assert!(watched.events.is_some() && !watched.is_over);
        slow.write_all(b" and the rest").unwrap();
        drop(slow);
        fs::write(inbox.join("quick"), "all").unwrap();
        assert!(watcher.look(now + LONG).is_more_soon, "{what}");
        let mut names = watcher.names_at(now + LONG + TICK);
        names.sort();
        assert_eq!(names, ["quick", "slow"], "{what}");
        fs::remove_file(inbox.join("slow")).unwrap();
        fs::remove_file(inbox.join("quick")).unwrap();
    }
}

#[test]
fn a_folder_that_is_gone_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let inbox = root.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    let mut watcher = Watcher::new(&inbox).unwrap();
    let now = Instant::now();
    fs::remove_dir(&inbox).unwrap();
    for _ in 0..2 {
        assert!(watcher.names_at(now).is_empty());
        assert_eq!(watcher.trouble.as_deref(), Some("No such file or directory"));
    }
    fs::write(&inbox, "no folder").unwrap();
    assert!(watcher.names_at(now).is_empty());
    assert!(watcher.trouble.as_ref().is_some_and(|why| why.eq_ignore_ascii_case("not a directory")));
    fs::remove_file(&inbox).unwrap();
    fs::create_dir(&inbox).unwrap();
    assert!(watcher.names_at(now).is_empty() && watcher.trouble.is_none());
    fs::write(inbox.join("a"), "all").unwrap();
    assert!(watcher.names_at(now).is_empty());
    assert_eq!(watcher.names_at(now + TICK), ["a"]);
}
