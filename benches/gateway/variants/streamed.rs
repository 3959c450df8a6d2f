//! Hashes a frame as it streams in, a piece a read, and yields after each piece of a large one.

use std::sync::Arc;

use framegate::wire::DIGEST;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

use super::{accept, multi_thread};
use crate::hub::{Hub, Side};
use crate::reading::Reading;
use crate::wire::{READ_MIN, is_intact, segments};

pub fn serve() {
    accept(&multi_thread(), connection);
}

/// The digest of the frame that is not whole yet.
struct Begun {
    hasher: Sha256,
    hashed: usize,
}

pub async fn connection(stream: TcpStream, hub: Arc<Hub>) {
    let (half, other) = stream.into_split();
    let mut reading = Reading::new(half);
    let mut side = Side::new(hub, other);
    let mut begun: Option<Begun> = None;
    while let Some((run, header)) = reading.read().await {
        if !run.is_empty() {
            let verdicts = segments(&run, |frame| match begun.take() {
                // It is the first of the run that was begun before.
                Some(begun) => begun.agrees_with(frame),
                None => is_intact(frame),
            });
            side.deliver(&run, &verdicts).await;
        }
        // What is smaller is in the cache when it is whole, and hashed there in one go.
        if let Some(header) = header.filter(|header| header.frame_len() > READ_MIN) {
            let begun = begun.get_or_insert_with(|| Begun { hasher: Sha256::new(), hashed: 0 });
            let to = reading.begun().len().min(header.frame_len() - DIGEST);
            begun.hasher.update(&reading.begun()[begun.hashed..to]);
            begun.hashed = to;
            tokio::task::yield_now().await;
        }
    }
}

impl Begun {
    fn agrees_with(mut self, frame: &[u8]) -> bool {
        let (hashed, digest) = frame.split_at(frame.len() - DIGEST);
        self.hasher.update(&hashed[self.hashed..]);
        self.hasher.finalize().as_slice() == digest
    }
}
