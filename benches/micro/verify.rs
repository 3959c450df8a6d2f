//! Digests: what the gateway does with a batch, against `sha2` a frame at a time.

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use framegate::core::memory::{Buffer, Memory};
use framegate::wire::{Batch, Scheme, verify};

use crate::{frame, run_of};

const PAYLOADS: [usize; 6] = [64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20];

/// A sample is one batch, so that it is hashed while it is in the cache, as after a read.
#[divan::bench(args = PAYLOADS, sample_count = 200, sample_size = 1)]
fn batch_payload(bencher: Bencher, payload: usize) {
    batches(bencher, payload, &Scheme::Sha256);
}

/// The same on a listener with a secret.
#[divan::bench(args = PAYLOADS, sample_count = 200, sample_size = 1)]
fn keyed_batch_payload(bencher: Bencher, payload: usize) {
    batches(bencher, payload, &Scheme::keyed(b"secret"));
}

#[divan::bench(args = PAYLOADS, sample_count = 200, sample_size = 1)]
fn sha2_alone_payload(bencher: Bencher, payload: usize) {
    let (run, frames) = run_of(payload);
    let frame_len = run.len() / frames;
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(run.len()));
    bencher.bench_local(|| {
        black_box(&run).chunks_exact(frame_len).filter(|frame| Scheme::Sha256.is_intact(frame)).count()
    });
}

/// A batch of one frame, as a quiet connection's are: there is no other to hash beside it.
#[divan::bench(args = PAYLOADS, sample_count = 200)]
fn single_payload(bencher: Bencher, payload: usize) {
    let one = frame(payload);
    let bencher = bencher.counter(ItemsCount::new(1usize)).counter(BytesCount::new(one.len()));
    bencher.bench_local(|| Scheme::Sha256.is_intact(black_box(&one)));
}

fn batches(bencher: Bencher, payload: usize, scheme: &Scheme) {
    let (run, frames) = run_of(payload);
    let memory = Memory::new(Memory::least(run.len()), run.len());
    let batch = |memory: &Arc<Memory>| {
        let buffer = Buffer::charged(memory, run.clone().into());
        Batch::new(buffer, run.len(), frames as u32, None)
    };
    let bencher = bencher.counter(ItemsCount::new(frames)).counter(BytesCount::new(run.len()));
    bencher.with_inputs(|| batch(&memory)).bench_local_values(|batch| verify(batch, scheme));
}
