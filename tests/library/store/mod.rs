//! The store with its thread, as the gateway uses it.

mod appends;
mod troubles;

use crate::support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use framegate::core::limits::STORE_HELD_APPENDS;
use framegate::core::memory::{Buffer, Memory};
use framegate::gateway::Config;
use framegate::gateway::control::Setting;
use framegate::sinks::store::{
    Append, Disk, Now, Options, Policy, Puts, Recall, SegmentLog, Stamp, Start, StoreThread, SyncPolicy,
};
use framegate::sinks::{Condition, Outcome, Put, Sink};
use framegate::wire::{Body, DIGEST, Header, Kind, Scheme, Status, encode};

use support::{PATIENCE, data};

fn options(folder: &Path, rotate: Duration, sync: SyncPolicy) -> Options {
    let policy = Policy { rotate, sync, keep: None, topics: 100, hold: None };
    Options::new(folder, Scheme::Sha256, policy)
}

fn frame(topic: &str, id: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { id, ..Header::new(Kind::Data) };
    encode(header, topic.as_bytes(), b"payload", &Scheme::Sha256, &mut bytes);
    bytes
}

fn put(memory: &Arc<Memory>, topic: &str, id: u64) -> Put {
    let bytes = frame(topic, id);
    let end = bytes.len();
    let buffer = Arc::new(Buffer::charged(memory, bytes.into()));
    Put { ticket: id, from: 0, body: Body::Slice { buffer, start: 0, end }, frames: 1 }
}

/// The names and bytes in a topic's folder, sorted.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// The next word.
fn outcome(store: &mut StoreThread) -> Outcome {
    let since = Instant::now();
    loop {
        if let Some(outcome) = store.collect() {
            return outcome;
        }
        assert!(since.elapsed() < PATIENCE, "{:?}", store.condition());
        thread::yield_now();
    }
}

/// Until the store says so.
fn until(store: &StoreThread, is_so: impl Fn(&Condition) -> bool) -> Condition {
    let since = Instant::now();
    loop {
        let condition = store.condition();
        if is_so(&condition) {
            return condition;
        }
        assert!(since.elapsed() < PATIENCE, "{condition:?}");
        thread::yield_now();
    }
}

fn done(condition: &Condition, what: &str) -> u64 {
    condition.done.iter().find(|(name, _)| *name == what).unwrap().1
}
