//! Many new topics at once: what they cost, and which publishers wait for that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Now, Policy, SegmentLog};
use crate::core::limits::{STORE_END_TURN, STORE_NEW_TOPICS};
use crate::core::memory::{Buffer, Memory};
use crate::sinks::Put;
use crate::sinks::store::recover::Start;
use crate::sinks::store::{Append, Puts, Stamp, SyncPolicy};
use crate::testing::models::disk::SimDisk;
use crate::wire::{Body, Header, Kind, Scheme, encode};

/// A store, and what waits for it.
struct Scene {
    disk: SimDisk,
    segment_log: SegmentLog<SimDisk>,
    memory: Arc<Memory>,
    puts: Puts,
    waiting: VecDeque<Append>,
    now: Now,
}

impl Scene {
    fn new() -> Scene {
        let (rotate, sync) = (Duration::from_secs(1000), SyncPolicy::Batch);
        let policy = Policy { rotate, sync, keep: None, topics: 1000, hold: None };
        let now = Now { stamp: Stamp(1), instant: Instant::now() };
        let disk = SimDisk::new();
        Scene {
            segment_log: SegmentLog::new(disk.clone(), policy, Start::default(), now),
            disk,
            memory: Memory::new(Memory::least(1 << 20), 1 << 20),
            puts: Puts::default(),
            waiting: VecDeque::new(),
            now,
        }
    }

    fn put(&mut self, from: u64, topic: &str, ticket: u64) {
        let mut bytes = Vec::new();
        encode(Header::new(Kind::Data), topic.as_bytes(), b"", &Scheme::Sha256, &mut bytes);
        let end = bytes.len();
        let buffer = Arc::new(Buffer::charged(&self.memory, bytes.into()));
        let put = Put { ticket, from, body: Body::Slice { buffer, start: 0, end }, frames: 1 };
        self.puts.take(put, |append| self.waiting.push_back(append));
    }

    /// One round: whose tickets were stored in it, in this order.
    fn round(&mut self) -> Vec<u64> {
        let mut stored = Vec::new();
        let told = |append, refusal| stored.extend(self.puts.done(append, refusal));
        self.segment_log.store(&mut self.waiting, self.now, told).expect("the disk works");
        assert!(stored.iter().all(|outcome| outcome.refusal.is_none()));
        stored.iter().map(|outcome| outcome.ticket).collect()
    }
}

/// Ten clients with new topics kept every other publisher waiting for seconds: each topic took its syncs before what had
/// come behind it was stored.
#[test]
fn a_known_topic_does_not_wait_for_new_ones() {
    const NEW: u64 = 10;
    let mut scene = Scene::new();
    scene.put(2, "well", 0);
    assert_eq!(scene.round(), [0]);
    let synced = scene.disk.root_syncs();
    (1..=NEW).for_each(|n| scene.put(1, &format!("new.{n}"), n));
    // It is behind them in its connection's order, and may not be stored before them.
    scene.put(1, "well", NEW + 1);
    scene.put(2, "well", 100);
    let first = scene.round();
    let news: Vec<u64> = (1..=STORE_NEW_TOPICS as u64).collect();
    assert_eq!(first, [&news[..], &[100]].concat(), "some new ones, and who has none");
    let (mut stored, mut rounds) = (news, 1);
    while !scene.waiting.is_empty() {
        stored.extend(scene.round());
        rounds += 1;
    }
    assert_eq!(stored, (1..=NEW + 1).collect::<Vec<_>>(), "a connection's order is kept");
    assert_eq!(rounds, NEW.div_ceil(STORE_NEW_TOPICS as u64), "each round takes as many as it may");
    assert_eq!(scene.disk.root_syncs() - synced, rounds, "their folders are synced together");
}

/// What needs no new topic in a store that has it already is bounded by nothing.
#[test]
fn known_topics_begin_as_many_segments_as_there_is_room_for() {
    let mut scene = Scene::new();
    for n in 0..3 {
        scene.put(1, &format!("{n}"), n);
        scene.round();
    }
    scene.segment_log.close_all(scene.now).expect("the disk works");
    (0..3).for_each(|n| scene.put(1, &format!("{n}"), 10 + n));
    assert_eq!(scene.round(), [10, 11, 12]);
}

/// With one sync after the other, a hundred topics kept each publisher waiting for 0.4 s.
#[test]
fn what_many_topics_need_is_synced_together() {
    let mut scene = Scene::new();
    for n in 0..3 {
        scene.put(1, &format!("{n}"), n);
        scene.round();
    }
    let waits = scene.disk.sync_waits();
    (0..3).for_each(|n| scene.put(1, &format!("{n}"), 10 + n));
    assert_eq!((scene.round(), scene.disk.sync_waits() - waits), (vec![10, 11, 12], 1));
    scene.segment_log.close_all(scene.now).expect("the disk works");
    let ends = 3_u64.div_ceil(STORE_END_TURN as u64);
    assert_eq!(scene.disk.sync_waits() - waits, 1 + 2 * ends, "the indexes, and then their folders");
}
