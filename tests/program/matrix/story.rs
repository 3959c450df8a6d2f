//! What was seen of a world, from every side: what the oracle judges.

use std::sync::Arc;

use serde_json::Value;

use super::options::Options;
use super::wire::{Digest, Frame};
use super::world::{Ending, Item};

#[derive(Default)]
pub struct Story {
    pub secret: Option<Vec<u8>>,
    pub phases: Vec<Phase>,
    /// What lies in the store at the end, where there is one.
    pub stored: Option<Stored>,
    /// What went wrong on the way: nothing may.
    pub trouble: Vec<String>,
}

/// One life of the gateway.
pub struct Phase {
    pub options: Options,
    pub killed: bool,
    /// It was told to end before all was done.
    pub cut_short: bool,
    pub lines: Vec<Line>,
    pub watchers: Vec<Watcher>,
    pub posts: Vec<Post>,
    /// As `serve --json` printed it.
    pub ledger: Option<Value>,
    pub exit: Option<i32>,
    /// The most that was resident, in bytes, and what the memory was set to at most.
    pub resident: u64,
    pub memory: usize,
    pub log: String,
}

/// What became of a publisher's connection.
#[derive(Default)]
pub struct Line {
    /// What was written as a whole, in this order.
    pub items: Vec<Arc<Item>>,
    pub ending: Ending,
    /// Its last PING was answered: all before it has taken effect.
    pub is_complete: bool,
    pub replies: Vec<Frame>,
    /// What it got as a subscriber.
    pub got: Vec<Frame>,
    /// What it got after the gateway had begun to end, or what broke it.
    pub end: String,
}

/// A subscriber that was there from the beginning and read to the end.
#[derive(Default)]
pub struct Watcher {
    pub patterns: Vec<String>,
    pub got: Vec<Frame>,
    /// It was told SLOW: what it has is not all.
    pub was_cut: bool,
    /// Frames that it was told to have lost.
    pub gaps: u64,
    pub end: String,
}

/// A request at the HTTP store.
#[derive(Clone, Debug)]
pub struct Post {
    pub number: usize,
    /// The Idempotency-Key.
    pub digest: String,
    pub topic: Vec<u8>,
    pub key: u64,
    pub id: u64,
    pub body: Arc<str>,
    /// What it was answered; none where the connection was broken off.
    pub answer: Option<u16>,
}

/// A store on the disk.
#[derive(Default)]
pub struct Stored {
    /// The frames of each topic's folder, in the order of its files.
    pub folders: Vec<(Vec<u8>, Vec<Frame>)>,
    /// All frames in the order in which `tail --store` gives them.
    pub order: Vec<Digest>,
    /// What `verify` said, and its exit code.
    pub verified: (i32, String),
    /// Files that belong to nothing, or hold what is no frame.
    pub odd: Vec<String>,
}
