//! What each step of a frame's way costs, alone and in the cache.
//!
//! `cargo bench --bench micro` prints a table; words after `--` choose rows by parts of their names.
//! Times are of one call. Where a call handles many frames, the rows below tell them apart: `item/s` are frames
//! a second, and 1 GB/s is 1 ns a byte, of the frames as they are on the wire.

mod decode;
mod layouts;
mod pool;
mod queues;
mod topics;
mod verify;

use framegate::wire::{Header, Kind, Scheme, encode};

fn main() {
    println!("{}", framegate::wire::implementation());
    divan::main();
}

/// 256 KiB: what one full read of the gateway brings.
const READ: usize = 256 << 10;

/// Frames of `payload` bytes, as many as one read brings but at least two, and how many they are.
fn run_of(payload: usize) -> (Vec<u8>, usize) {
    let one = frame(payload);
    let count = (READ / one.len()).max(2);
    (one.repeat(count), count)
}

fn frame(payload: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..payload).map(|at| (at * 31) as u8).collect();
    let mut frame = Vec::new();
    encode(Header::new(Kind::Data), b"bench", &payload, &Scheme::Sha256, &mut frame);
    frame
}
