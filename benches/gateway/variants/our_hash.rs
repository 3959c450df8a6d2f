//! Hashes in the connection's task as `task` does, but the frames of a run side by side, by Framegate's own code: how much
//! of its lead is the hash, and how much the rest.

use std::sync::Arc;

use framegate::wire::{DIGEST, HEADER, Scheme};
use tokio::net::TcpStream;

use super::{accept, multi_thread};
use crate::hub::{Hub, Side};
use crate::reading::Reading;
use crate::wire::{header_of, segments};

pub fn serve() {
    accept(&multi_thread(), connection);
}

async fn connection(stream: TcpStream, hub: Arc<Hub>) {
    let (half, other) = stream.into_split();
    let mut reading = Reading::new(half);
    let mut side = Side::new(hub, other);
    while let Some(run) = reading.next_run().await {
        let mut intact = intact(&run).into_iter();
        let segments = segments(&run, |_| intact.next().expect("each frame was looked at"));
        side.deliver(&run, &segments).await;
    }
}

/// Of each frame of a run whether its digest is right.
fn intact(run: &[u8]) -> Vec<bool> {
    let mut rest = run;
    let frames = std::iter::from_fn(|| {
        let (frame, behind) = (!rest.is_empty()).then(|| rest.split_at(header_of(rest).frame_len()))?;
        rest = behind;
        frame.split_last_chunk::<DIGEST>()
    });
    let most = run.len() / (HEADER + DIGEST);
    let mut intact = Vec::new();
    let frames = frames.enumerate().map(|(at, (hashed, digest))| (hashed, (at, digest)));
    Scheme::Sha256.digest_each(most, frames, |found, (at, digest)| {
        if intact.len() <= at {
            intact.resize(at + 1, false);
        }
        intact[at] = found == *digest;
    });
    intact
}
