//! What is given to a store's thread comes back and lies there, and what fails is told.

use crossbeam::sync::Parker;
use framegate::core::limits::STORE_APPENDS;
use framegate::sinks::OfTopic;

use super::*;

/// Enough that several are written together.
const FRAMES: u64 = 8;

#[test]
fn a_thread_that_panics_is_told_of_and_wakes_the_reactor() {
    let (folder, parker) = (tempfile::tempdir().unwrap(), Parker::new());
    let unparker = parker.unparker().clone();
    let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
    let options = options(folder.path(), PATIENCE, SyncPolicy::Off);
    let mut store = StoreThread::start(&options, move || unparker.unpark()).unwrap();
    assert!(store.prepare_sleep() && store.failure().is_none());
    // A frame where there is none.
    let buffer = Arc::new(Buffer::charged(&memory, vec![0; 8].into()));
    store.put(Put { ticket: 1, from: 0, body: Body::Slice { buffer, start: 0, end: 8 }, frames: 1 });
    parker.park();
    let failure = store.failure().expect("it is told");
    assert!(failure.starts_with("the store's thread panicked"), "{failure}");
    // Whatever is put before the gateway has ended is nobody's.
    (2..=STORE_APPENDS as u64).for_each(|id| store.put(put(&memory, "a", id)));
}

#[test]
fn what_is_appended_comes_back_and_lies_there() {
    for sync in [SyncPolicy::Batch, SyncPolicy::Off] {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), PATIENCE, sync);
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mut store = StoreThread::start(&options, move || unparker.unpark()).unwrap();
        for id in 0..FRAMES {
            store.put(put(&memory, ["a", "b/c"][id as usize % 2], id));
        }
        let mut stored = Vec::new();
        while (stored.len() as u64) < FRAMES {
            let Some(Outcome { ticket, .. }) = store.collect() else {
                if store.prepare_sleep() {
                    parker.park_timeout(PATIENCE);
                }
                store.end_sleep();
                continue;
            };
            stored.push(ticket);
        }
        assert!(stored.is_sorted() && memory.used() == 0);
        let again = StoreThread::start(&options, || ()).err().unwrap().to_string();
        assert!(again.contains("another gateway stores there: stop it"), "{again}");
        drop(store);
        for (name, first) in [("a", 0), ("b%2Fc", 1)] {
            let topic = ["a", "b/c"][first];
            let ids = (first as u64..FRAMES).step_by(2);
            let expected: Vec<u8> = ids.flat_map(|id| frame(topic, id)).collect();
            let [(frames, bytes), (index, _)] = &files(&folder.path().join(name))[..] else {
                panic!("a segment and its index");
            };
            assert!(frames.ends_with(".frames") && index.ends_with(".index") && *bytes == expected);
        }
    }
}

#[test]
fn a_segment_gets_its_final_name_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), Duration::from_millis(1), SyncPolicy::Batch);
    let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
    let mut store = StoreThread::start(&options, || ()).unwrap();
    store.put(put(&memory, "a", 0));
    let since = Instant::now();
    while !store.condition().done.contains(&("segments", 1)) {
        assert!(since.elapsed() < PATIENCE);
        thread::yield_now();
    }
    let condition = store.condition();
    assert_eq!((condition.done[0], condition.trouble), (("frames", 1), None));
    let bytes = frame("a", 0).len() as u64;
    assert_eq!(condition.topics, [OfTopic { topic: "a".into(), frames: 1, bytes }]);
    assert!(files(&folder.path().join("a"))[0].0.ends_with(".frames"));
}

#[test]
fn what_cannot_be_stored_is_tried_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), PATIENCE, SyncPolicy::Batch);
    let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
    let mut store = StoreThread::start(&options, || ()).unwrap();
    // Where the topic's folder should be, there is a file.
    let in_the_way = folder.path().join("a");
    fs::write(&in_the_way, "").unwrap();
    store.put(put(&memory, "a", 7));
    let since = Instant::now();
    while store.condition().failures < 2 {
        assert!(since.elapsed() < PATIENCE);
        thread::yield_now();
    }
    let trouble = store.condition().trouble.unwrap();
    assert!(trouble.starts_with("cannot make the folder a: "), "{trouble}");
    assert!(store.collect().is_none());
    fs::remove_file(in_the_way).unwrap();
    while store.collect().is_none() {
        assert!(since.elapsed() < PATIENCE);
        thread::yield_now();
    }
    drop(store);
    assert_eq!(files(&folder.path().join("a"))[0].1, frame("a", 7));
}

#[test]
fn a_folder_that_cannot_be_used_says_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let options = options(&path, PATIENCE, SyncPolicy::Batch);
    let said = StoreThread::start(&options, || ()).err().unwrap().to_string();
    assert!(said.contains("choose a folder that this user can write to"), "{said}");
}
