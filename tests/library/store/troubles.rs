//! A store beside others: folders that somebody takes away, topics that cannot be stored, secrets that change.

use super::*;

#[test]
fn what_is_moved_away_and_brought_back_stands_nowhere_twice() {
    for (sync, first) in [(SyncPolicy::Batch, 1), (SyncPolicy::Batch, 0), (SyncPolicy::Off, 1)] {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = options(folder.path(), PATIENCE, sync);
        let memory = Memory::new(64 << 20, 1 << 20);
        let mut store = StoreThread::start(&options, || ()).unwrap();
        for id in 0..=first {
            store.put(put(&memory, "a", id));
            assert_eq!(outcome(&mut store).refusal, None);
        }
        let (a, away) = (folder.path().join("a"), elsewhere.path().join("a"));
        fs::rename(&a, &away).unwrap();
        for id in [10, 11] {
            store.put(put(&memory, "a", id));
            assert_eq!(outcome(&mut store).refusal, None);
        }
        drop(store);
        // What was confirmed there is there, and nothing else.
        let confirmed: Vec<u8> = (0..=first).flat_map(|id| frame("a", id)).collect();
        let open = files(&away).into_iter().find(|(name, _)| name.ends_with(".open")).unwrap();
        assert!(open.1 == confirmed, "{sync:?}: {} bytes of {}", open.1.len(), confirmed.len());
        for (name, bytes) in files(&away) {
            fs::write(a.join(name), bytes).unwrap();
        }
        drop(StoreThread::start(&options, || ()).unwrap());
        let finished = files(&a).into_iter().filter(|(name, _)| name.ends_with(".frames"));
        let stored: Vec<u8> = finished.flat_map(|(_, bytes)| bytes).collect();
        let all: Vec<u8> = (0..=first).chain([10, 11]).flat_map(|id| frame("a", id)).collect();
        assert!(stored == all, "{sync:?}: {} bytes of {}", stored.len(), all.len());
    }
}

#[test]
fn what_somebody_takes_away_is_said_and_begun_anew() {
    for (what, lost) in [("folder", 2), ("made again", 2), ("open", 2), ("index", 0), ("touched", 2)] {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), PATIENCE, SyncPolicy::Batch);
        let memory = Memory::new(64 << 20, 1 << 20);
        let mut store = StoreThread::start(&options, || ()).unwrap();
        for (id, topic) in [(0, "a"), (1, "a"), (2, "b")] {
            store.put(put(&memory, topic, id));
            assert_eq!(outcome(&mut store).refusal, None);
        }
        let a = folder.path().join("a");
        let of = |extension| {
            let mut all = fs::read_dir(&a).unwrap().map(|entry| entry.unwrap().path());
            all.find(|path| path.extension().unwrap() == extension).unwrap()
        };
        match what {
            "index" => fs::remove_file(of("index")).unwrap(),
            "open" => fs::remove_file(of("open")).unwrap(),
            "touched" => {
                let open = of("open");
                fs::remove_file(&open).unwrap();
                fs::write(open, "").unwrap();
            }
            _ => fs::remove_dir_all(&a).unwrap(),
        }
        if what == "made again" {
            fs::create_dir(&a).unwrap();
        }
        for (id, topic) in [(3, "b"), (4, "a"), (5, "b"), (6, "a")] {
            store.put(put(&memory, topic, id));
        }
        let mut told: Vec<u64> = (0..4).map(|_| outcome(&mut store).ticket).collect();
        told.sort_unstable();
        assert_eq!(told, [3, 4, 5, 6], "{what}");
        let condition = until(&store, |condition| done(condition, "frames") == 7);
        // It is no failure of the store's, after which a topic would wait.
        assert_eq!(
            (done(&condition, "lost"), condition.trouble, condition.failures),
            (lost, None, 0),
            "{what}"
        );
        drop(store);
        let stored = |topic: &str| {
            let files = files(&folder.path().join(topic));
            let frames = files.into_iter().filter(|(name, _)| name.ends_with(".frames"));
            frames.flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>()
        };
        let of = |topic, ids: &[u64]| ids.iter().flat_map(|id| frame(topic, *id)).collect::<Vec<u8>>();
        let ids = if lost == 0 { &[0, 1, 4, 6][..] } else { &[4, 6] };
        assert!(stored("a") == of("a", ids) && stored("b") == of("b", &[2, 3, 5]), "{what}");
    }
}

#[test]
fn a_store_whose_folder_is_taken_away_is_made_again_and_held_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let options = options(&path, PATIENCE, SyncPolicy::Batch);
    let memory = Memory::new(64 << 20, 1 << 20);
    // Stamps ran ahead of the clock once.
    let ages = format!("{} {}\n", Stamp(2_000_000_000), Stamp(1_000_000_000));
    fs::create_dir(&path).unwrap();
    fs::write(path.join(".clock"), &ages).unwrap();
    let mut store = StoreThread::start(&options, || ()).unwrap();
    store.put(put(&memory, "a", 0));
    assert_eq!(outcome(&mut store).refusal, None);
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "in the way").unwrap();
    store.put(put(&memory, "b", 1));
    until(&store, |condition| condition.failures > 1);
    assert!(store.collect().is_none() && store.is_in_trouble());
    fs::remove_file(&path).unwrap();
    assert_eq!(outcome(&mut store).refusal, None);
    let again = StoreThread::start(&options, || ()).err().unwrap().to_string();
    assert!(again.contains("another gateway stores there: stop it"), "{again}");
    store.put(put(&memory, "a", 2));
    assert_eq!(outcome(&mut store).refusal, None);
    assert_eq!(done(&until(&store, |condition| done(condition, "frames") == 3), "lost"), 1);
    drop(store);
    assert_eq!(files(&path.join("a"))[0].1, frame("a", 2));
    assert!(path.join(".schemes").exists());
    assert_eq!(fs::read_to_string(path.join(".clock")).unwrap(), ages);
}

#[test]
fn a_topic_in_trouble_leaves_places_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), PATIENCE, SyncPolicy::Batch);
    let memory = Memory::new(64 << 20, 1 << 20);
    let mut store = StoreThread::start(&options, || ()).unwrap();
    fs::write(folder.path().join("a"), "in the way").unwrap();
    // As many wait as may.
    for id in 0..STORE_HELD_APPENDS as u64 {
        store.put(put(&memory, "a", id));
    }
    let condition = until(&store, |condition| condition.failures > 1);
    let trouble = condition.trouble.unwrap();
    assert!(trouble.contains("other topics are stored") && !store.is_in_trouble(), "{trouble}");
    for id in 100_000..100_020 {
        store.put(put(&memory, "b", id));
        assert_eq!(outcome(&mut store), Outcome { ticket: id, bytes: frame("b", id).len(), refusal: None });
        store.put(put(&memory, "a", 100_000 + id));
        let refused = outcome(&mut store);
        let why = refused.refusal.unwrap();
        assert_eq!(refused.ticket, 100_000 + id);
        assert!(why.starts_with("the topic cannot be stored: cannot make the folder a: "), "{why}");
    }
    fs::remove_file(folder.path().join("a")).unwrap();
    let held: Vec<u64> = (0..STORE_HELD_APPENDS).map(|_| outcome(&mut store).ticket).collect();
    assert!(held.is_sorted() && held.len() == STORE_HELD_APPENDS, "{held:?}");
    assert_eq!(until(&store, |condition| condition.trouble.is_none()).trouble, None);
    drop(store);
    let expected: Vec<u8> = (0..STORE_HELD_APPENDS as u64).flat_map(|id| frame("a", id)).collect();
    assert_eq!(files(&folder.path().join("a"))[0].1, expected, "in their order");
}

#[test]
fn what_a_topic_in_trouble_may_hold_follows_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    // An eighth of it is 4 MiB, and later 3 MiB.
    let config = Config { store: Some(folder.path().into()), memory: 32 << 20, ..Config::default() };
    let gateway = support::start(config);
    fs::write(folder.path().join("a"), "in the way").unwrap();
    let mut client = gateway.connect();
    gateway.control().set(Setting::Memory(24 << 20)).unwrap().unwrap();
    // 3.5 MiB.
    for id in 0..56 {
        client.send(data(id), b"a", &vec![0; 64 << 10]);
    }
    let told = client.next();
    assert_eq!(told.status(), Some(Status::Rejected));
    fs::remove_file(folder.path().join("a")).unwrap();
    while client.next().header.id > 0 {}
    gateway.stop();
}

#[test]
fn a_store_has_as_many_topics_as_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), PATIENCE, SyncPolicy::Batch);
    options.policy.topics = 2;
    let memory = Memory::new(64 << 20, 1 << 20);
    for run in 0..2 {
        let mut store = StoreThread::start(&options, || ()).unwrap();
        for (id, (topic, is_stored)) in (0..).zip([("a", true), ("b", true), ("c", false), ("a", true)]) {
            store.put(put(&memory, topic, 10 * run + id));
            let refusal = outcome(&mut store).refusal;
            assert_eq!(refusal.is_none(), is_stored, "{topic} {refusal:?}");
            assert!(refusal.is_none_or(|why| why.contains("2 topics, as many as --store-topics allows")));
        }
        assert_eq!(store.condition().trouble, None);
    }
    assert!(!folder.path().join("c").exists());
}

#[test]
fn what_was_made_under_another_secret_is_never_cut_off() {
    let (old, new) = (Scheme::keyed(b"old"), Scheme::keyed(b"new"));
    for (of, with, earlier, knows, is_used) in [
        (&old, &new, None, true, false),
        (&old, &new, None, false, false),
        (&old, &Scheme::Sha256, None, true, false),
        (&old, &Scheme::Sha256, None, false, false),
        (&old, &new, Some(&old), true, true),
        (&old, &new, Some(&old), false, true),
        // Everybody has plain SHA-256.
        (&Scheme::Sha256, &new, None, true, true),
        (&Scheme::Sha256, &new, None, false, true),
    ] {
        let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut options = options(live.path(), PATIENCE, SyncPolicy::Batch);
        options.scheme = of.clone();
        let memory = Memory::new(64 << 20, 1 << 20);
        let mut store = StoreThread::start(&options, || ()).unwrap();
        let mut bytes = Vec::new();
        encode(Header::new(Kind::Data), b"a", b"payload", of, &mut bytes);
        let buffer = Arc::new(Buffer::charged(&memory, bytes.clone().into()));
        let body = Body::Slice { buffer, start: 0, end: bytes.len() };
        store.put(Put { ticket: 1, from: 0, body, frames: 1 });
        assert_eq!(outcome(&mut store).refusal, None);
        // What a crash would leave.
        fs::create_dir(folder.path().join("a")).unwrap();
        for (name, bytes) in files(&live.path().join("a")) {
            fs::write(folder.path().join("a").join(name), bytes).unwrap();
        }
        if knows {
            fs::copy(live.path().join(".schemes"), folder.path().join(".schemes")).unwrap();
        }
        let before = files(&folder.path().join("a"));
        options.folder = folder.path().into();
        options.scheme = with.clone();
        options.earlier = earlier.into_iter().cloned().collect();
        match StoreThread::start(&options, || ()) {
            Ok(_) => assert!(is_used),
            Err(why) => {
                let why = why.to_string();
                assert!(!is_used && why.contains("--store-secret-file"), "{why}");
                assert_eq!(files(&folder.path().join("a")), before, "nothing was touched");
                continue;
            }
        }
        let [(name, stored), _] = &files(&folder.path().join("a"))[..] else { panic!("nothing is cut") };
        assert!(name.ends_with(".frames") && *stored == bytes);
    }
}

#[test]
fn what_was_stored_lately_is_recalled() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), PATIENCE, SyncPolicy::Batch);
    let memory = Memory::new(64 << 20, 1 << 20);
    for run in 0..3 {
        let mut store = StoreThread::start(&options, || ()).unwrap();
        for id in 0..4 {
            store.put(put(&memory, ["a", "b"][id as usize % 2], 10 * run + id));
            outcome(&mut store);
        }
    }
    let stored_by = Instant::now();
    let digest = |topic, id| *frame(topic, id).last_chunk::<DIGEST>().unwrap();
    let ids = (0..3).flat_map(|run| (0..4).map(move |id| (run, id)));
    let all: Vec<_> = ids.map(|(run, id)| digest(["a", "b"][id as usize % 2], 10 * run + id)).collect();
    for (window, most, left) in [(PATIENCE, 100, 12), (PATIENCE, 5, 5), (Duration::ZERO, 100, 0)] {
        options.recall = Some(Recall { window, most });
        let recent = StoreThread::start(&options, || ()).unwrap().take_recent();
        let digests: Vec<_> = recent.iter().map(|(_, digest)| *digest).collect();
        assert_eq!(digests, all[12 - left..]);
        let now = Instant::now();
        assert!(recent.is_sorted_by_key(|(at, _)| *at));
        assert!(recent.iter().all(|(at, _)| *at <= stored_by && now - *at < PATIENCE));
    }
}

#[test]
fn frames_that_came_in_one_write_are_told_each_what_became_of_its_topic() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { store: Some(folder.path().into()), ..Config::default() };
    config.stored.topics = 1;
    let gateway = support::start(config);
    let mut client = gateway.connect();
    // Together: one of them is a topic too many.
    let frames = |ids: &[(u64, &str)], client: &support::Client| {
        let mut bytes = Vec::new();
        for (id, topic) in ids {
            encode(data(*id), topic.as_bytes(), b"payload", &client.scheme, &mut bytes);
        }
        bytes
    };
    let bytes = frames(&[(1, "a"), (2, "b"), (3, "a"), (4, "a")], &client);
    std::io::Write::write_all(&mut client.socket, &bytes).unwrap();
    let mut told: Vec<_> = (0..4).map(|_| client.next()).map(|got| (got.header.id, got.status())).collect();
    told.sort_unstable_by_key(|(id, _)| *id);
    let (ok, rejected) = (Some(Status::Ok), Some(Status::Rejected));
    assert_eq!(told, [(1, ok), (2, rejected), (3, ok), (4, ok)]);
    gateway.stop();

    // And one of them cannot be stored now.
    let gateway = support::start(Config { store: Some(folder.path().into()), ..Config::default() });
    let mut client = gateway.connect();
    fs::write(folder.path().join("b"), "in the way").unwrap();
    let bytes = frames(&[(5, "b"), (6, "a"), (7, "b"), (8, "c")], &client);
    std::io::Write::write_all(&mut client.socket, &bytes).unwrap();
    let mut told: Vec<_> = (0..2).map(|_| client.next()).map(|got| (got.header.id, got.status())).collect();
    told.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(told, [(6, ok), (8, ok)], "they do not wait for the others");
    fs::remove_file(folder.path().join("b")).unwrap();
    let told: Vec<_> = (0..2).map(|_| client.next()).map(|got| (got.header.id, got.status())).collect();
    assert_eq!(told, [(5, ok), (7, ok)]);
    gateway.stop();
}

/// What the store says of stamps is said of those given before: none is given again, or before it.
#[test]
fn stamps_go_on_behind_those_that_the_store_speaks_of() {
    // In 2100.
    let ahead = Stamp(4_102_444_800_000_000_000);
    for (name, line) in [
        (".schemes", format!("{ahead} sha-256\n")),
        (".clock", format!("{ahead} {}\n", Stamp(1_000_000_000))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), line).unwrap();
        let options = options(folder.path(), PATIENCE, SyncPolicy::Batch);
        let memory = Memory::new(64 << 20, 1 << 20);
        let mut store = StoreThread::start(&options, || ()).unwrap();
        store.put(put(&memory, "a", 0));
        assert_eq!(outcome(&mut store).refusal, None);
        drop(store);
        let first = &files(&folder.path().join("a"))[0].0;
        assert!(*first >= ahead.to_string(), "{name}: {first}");
    }
}

/// Frames of these topics, each an append.
fn appends(memory: &Arc<Memory>, topics: &[&str]) -> Vec<Append> {
    let mut appends = Vec::new();
    for topic in topics {
        Puts::default().take(put(memory, topic, 0), |append| appends.push(append));
    }
    appends
}

/// Stores without a thread, at a time that the test gives in seconds; how many were refused.
fn rounds() -> impl FnMut(&mut SegmentLog<Disk>, Vec<Append>, u64) -> u64 {
    let begun = Instant::now();
    move |segment_log, appends, at| {
        let (mut waiting, mut refused) = (appends.into(), 0);
        let now = Now { stamp: Stamp(1), instant: begun + Duration::from_secs(at) };
        let told = |_: Append, refusal: Option<Box<str>>| refused += u64::from(refusal.is_some());
        segment_log.store(&mut waiting, now, told).unwrap();
        assert!(waiting.is_empty());
        refused
    }
}

/// Of so many topics.
fn segment_log(folder: &Path, topics: usize) -> SegmentLog<Disk> {
    let policy = Policy { topics, ..options(folder, PATIENCE, SyncPolicy::Batch).policy };
    let now = Now { stamp: Stamp(1), instant: Instant::now() };
    SegmentLog::new(Disk::new(folder), policy, Start::default(), now)
}

#[test]
fn what_may_be_stored_already_is_not_refused_and_nothing_is_while_nothing_can_be_stored() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::new(64 << 20, 1 << 20);
    let (mut store, mut segment_log) = (rounds(), segment_log(folder.path(), 100));
    // Nothing may wait.
    segment_log.set_held_max(0);
    fs::write(folder.path().join("a"), "in the way").unwrap();
    let tried = appends(&memory, &["a"]).into_iter().map(Append::tried).collect();
    assert_eq!(store(&mut segment_log, tried, 0), 0, "after a crash it may be there");
    // What looks whether anything can be stored finds that nothing can.
    fs::create_dir_all(folder.path().join(".probe/in the way")).unwrap();
    assert_eq!(store(&mut segment_log, appends(&memory, &["a"]), 0), 0);
    assert_eq!(segment_log.failing().frames(), 2);
    fs::remove_dir_all(folder.path().join(".probe")).unwrap();
    assert_eq!(store(&mut segment_log, appends(&memory, &["a"]), 5), 2, "those that were never written");
    assert_eq!(segment_log.failing().frames(), 1);
}

#[test]
fn a_topic_in_trouble_that_is_one_too_many_is_in_trouble_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::new(64 << 20, 1 << 20);
    let (mut store, mut segment_log) = (rounds(), segment_log(folder.path(), 1));
    fs::write(folder.path().join("a"), "in the way").unwrap();
    assert_eq!(store(&mut segment_log, appends(&memory, &["a", "b"]), 0), 0);
    assert_eq!(segment_log.failing().len(), 1);
    assert_eq!(store(&mut segment_log, Vec::new(), 5), 1, "the store has as many topics as it may");
    assert_eq!(segment_log.failing().len(), 0);
}

#[test]
fn folders_that_somebody_took_away_make_room_for_topics() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::new(64 << 20, 1 << 20);
    let (mut store, mut segment_log) = (rounds(), segment_log(folder.path(), 1));
    assert_eq!(store(&mut segment_log, appends(&memory, &["a", "b"]), 0), 1);
    fs::remove_dir_all(folder.path().join("a")).unwrap();
    assert_eq!(
        store(&mut segment_log, appends(&memory, &["b"]), 30),
        1,
        "they are not counted at each frame"
    );
    assert_eq!(store(&mut segment_log, appends(&memory, &["b"]), 60), 0);
}
