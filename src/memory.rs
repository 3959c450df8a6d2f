//! The bound on all buffered bytes, and who holds how many of them.
//!
//! Two shares keep half-read frames from waiting for each other. A large frame is charged whole
//! before its body is read, so what is admitted can always finish; small frames are charged as they
//! are read. Neither share can take the last of the other's:
//!
//! ```text
//! small + entries ≤ limit − max(large, one frame)
//! large           ≤ limit − max(small + entries, limit / SMALL_SHARE)
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::limits::{BUFFER_OVERHEAD, READ_MAX, SMALL_MIN, SMALL_SHARE, SPARE_BUFFERS};

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Batches, unfinished small frames, replies.
    Small,
    /// Frames that do not fit in one read.
    Large,
}

/// The bytes in use and their bound. Shared by every buffer; charges come from the reactor alone,
/// discharges from wherever a buffer is dropped.
#[derive(Debug)]
pub struct Memory {
    limit: AtomicUsize,
    large_floor: usize,
    small: AtomicUsize,
    large: AtomicUsize,
    entries: AtomicUsize,
    spare: Mutex<Vec<Box<[u8]>>>,
}

impl Memory {
    /// The least limit that lets a frame of `frame_max` bytes pass beside small ones.
    pub fn least(frame_max: usize) -> usize {
        let large = frame_max + BUFFER_OVERHEAD;
        let for_small = large + SMALL_MIN;
        // large ≤ limit − limit / SMALL_SHARE
        let for_large = large.div_ceil(SMALL_SHARE - 1) * SMALL_SHARE;
        for_small.max(for_large)
    }

    /// Bounds buffered bytes to `limit`, at least [`Memory::least`] of `frame_max`.
    pub fn new(limit: usize, frame_max: usize) -> Arc<Memory> {
        assert!(limit >= Self::least(frame_max), "the configuration checks this");
        Arc::new(Memory {
            limit: AtomicUsize::new(limit),
            large_floor: frame_max + BUFFER_OVERHEAD,
            small: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            spare: Mutex::new(Vec::new()),
        })
    }

    /// The bound, in bytes.
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Changes the bound. Under a lower one nothing more is charged until enough is given back.
    pub fn set_limit(&self, limit: usize) {
        assert!(limit >= Self::least(self.large_floor - BUFFER_OVERHEAD), "the configuration checks this");
        self.limit.store(limit, Relaxed);
    }

    /// Bytes charged now: for small frames, for large ones, for the entries of outboxes.
    pub fn charged(&self) -> [usize; 3] {
        [&self.small, &self.large, &self.entries].map(|bytes| bytes.load(Relaxed))
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.small_used() + self.large.load(Relaxed)
    }

    /// Whether `bytes` more of `share` may be charged.
    pub fn has_room(&self, share: Share, bytes: usize) -> bool {
        let small = self.small_used();
        let large = self.large.load(Relaxed);
        let limit = self.limit();
        match share {
            Share::Small => small + large.max(self.large_floor) + bytes <= limit,
            Share::Large => large + small.max(limit / SMALL_SHARE) + bytes <= limit,
        }
    }

    /// Charges `bytes`. Whoever calls has asked [`has_room`](Self::has_room) for at least as many
    /// since anything else was charged, or charges one of the few small things that cannot wait
    /// (a last reply, a GAP).
    pub fn charge(self: &Arc<Self>, share: Share, bytes: usize) -> Charge {
        self.of(share).fetch_add(bytes, Relaxed);
        Charge { memory: self.clone(), share, bytes }
    }

    /// Sets what the entries of all outboxes take; they are counted, not owned.
    pub fn set_entries(&self, bytes: usize) {
        self.entries.store(bytes, Relaxed);
    }

    /// A buffer of [`READ_MAX`] bytes with any content, reused if one is spare.
    pub fn buffer(&self) -> Box<[u8]> {
        self.spare.lock().pop().unwrap_or_else(|| vec![0; READ_MAX].into_boxed_slice())
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_BUFFERS {
            spare.push(bytes);
        }
    }

    fn small_used(&self) -> usize {
        self.small.load(Relaxed) + self.entries.load(Relaxed)
    }

    fn of(&self, share: Share) -> &AtomicUsize {
        match share {
            Share::Small => &self.small,
            Share::Large => &self.large,
        }
    }
}

/// Bytes charged until it is dropped.
#[derive(Debug)]
pub struct Charge {
    memory: Arc<Memory>,
    share: Share,
    bytes: usize,
}

impl Charge {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes, "a charge only shrinks");
        self.memory.of(self.share).fetch_sub(self.bytes - bytes, Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.of(self.share).fetch_sub(self.bytes, Relaxed);
    }
}

/// Bytes read from or made for a peer, and their charge.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    charge: Charge,
}

impl Buffer {
    /// Bytes charged by what `charge` holds (nothing, for a piece of a large frame that is charged whole).
    pub fn new(bytes: Box<[u8]>, charge: Charge) -> Buffer {
        Buffer { bytes, charge }
    }

    /// Bytes that are charged here for what they take.
    pub fn charged(memory: &Arc<Memory>, bytes: Box<[u8]>) -> Buffer {
        let charge = memory.charge(Share::Small, bytes.len() + BUFFER_OVERHEAD);
        Buffer { bytes, charge }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == READ_MAX {
            self.charge.memory.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn each_share_leaves_the_other_its_part() {
        let memory = Memory::new(64 * MIB, 16 * MIB);
        let frame = 16 * MIB + BUFFER_OVERHEAD;
        let mut small = memory.charge(Share::Small, 0);
        while memory.has_room(Share::Small, MIB) {
            let more = small.bytes() + MIB;
            drop(small);
            small = memory.charge(Share::Small, more);
        }
        assert!(memory.has_room(Share::Large, frame), "one large frame always fits");
        let large = memory.charge(Share::Large, frame);
        assert!(!memory.has_room(Share::Large, frame));
        assert!(memory.used() <= memory.limit());
        drop(small);
        let mut held = vec![large];
        while memory.has_room(Share::Large, frame) {
            held.push(memory.charge(Share::Large, frame));
        }
        assert!(memory.has_room(Share::Small, 64 * MIB / SMALL_SHARE - MIB), "small frames always fit");
        held.clear();
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn the_least_limit_holds_one_of_each() {
        for frame in [64, 4096, READ_MAX, 16 * MIB, 1024 * MIB] {
            let memory = Memory::new(Memory::least(frame), frame);
            assert!(memory.has_room(Share::Large, frame + BUFFER_OVERHEAD));
            assert!(memory.has_room(Share::Small, SMALL_MIN));
        }
    }

    #[test]
    fn full_buffers_are_reused_and_their_charge_ends() {
        let memory = Memory::new(64 * MIB, MIB);
        let buffer = Buffer::charged(&memory, memory.buffer());
        let address = buffer.as_ptr();
        assert_eq!(memory.used(), READ_MAX + BUFFER_OVERHEAD);
        drop(buffer);
        assert_eq!(memory.used(), 0);
        let reused = memory.buffer();
        assert_eq!(reused.as_ptr(), address);
    }

    #[test]
    fn a_charge_shrinks() {
        let memory = Memory::new(64 * MIB, MIB);
        let mut charge = memory.charge(Share::Small, 100);
        charge.shrink(40);
        assert_eq!((charge.bytes(), memory.used()), (40, 40));
        drop(charge);
        assert_eq!(memory.used(), 0);
    }
}
