//! The bound on all buffered bytes, and who holds how many of them.
//!
//! Two shares keep half-read frames from waiting for each other. A large frame is charged whole
//! before its body is read, so what is admitted can always finish; small frames are charged as they
//! are read. Where there are handlers, a third share is for their answers, so that what waits for a
//! handler cannot take the room in which its answer comes. No share can take the last of another's:
//!
//! ```text
//! small   ≤ limit − max(large, one frame)           − max(answers, floor)
//! large   ≤ limit − max(small, limit / SMALL_SHARE) − max(answers, floor)
//! answers ≤ max(limit − small − large, floor, one answer + waiting)
//! small   = batches, unfinished small frames and replies + begun + entries + subscriptions
//! begun   ≤ what small frames may have − max(a quarter of it, what one small read may need)
//! floor   = max(limit / ANSWER_SHARE, one answer + the least that may wait), 0 without handlers
//! one answer = one frame + one read + what is held beside it
//! waiting ≤ floor − one answer
//! ```
//!
//! Of the small frames, *begun* are those longer than a small read, charged whole with their first bytes: peers that begin
//! them and stop leave room to whoever sends shorter ones.
//!
//! `limit` is what buffers have: where digests are remembered, their part of the memory is not in it.
//! Subscriptions stay for as long as their connections do, so they have a bound of their own
//! ([`Memory::for_subscriptions`]), beside which everything else can go on.
//!
//! Of the answers, *waiting* are those that are held until an earlier frame of their connection is answered: they
//! never take the room in which that answer is read. Under a limit that was lowered, what is held already may be more
//! than it; answers still have their floor then, since nothing is given back before they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::core::limits::{
    ANSWER_MIN, ANSWER_SHARE, BUFFER_OVERHEAD, LIGHT_MIN, LIGHT_SHARE, READ_MAX, RECLAIM_SHARE, SMALL_MIN,
    SMALL_SHARE, SPARE_BUFFERS, SUBSCRIPTIONS_MIN, SUBSCRIPTIONS_SHARE,
};

/// What is kept for small frames beside a large one, and what subscriptions may always take of it.
const SMALL_FLOOR: usize = SMALL_MIN + SUBSCRIPTIONS_MIN;

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Batches, unfinished small frames, replies.
    Small,
    /// Of the small ones, frames that are begun and longer than a small read.
    Begun,
    /// Frames that do not fit in one read.
    Large,
    /// What handlers answer, and what a call takes beside its frame.
    Answer,
}

/// What is kept for handlers beside the answer that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerRoom {
    /// For the beginnings of others, and for the calls.
    pub beside: usize,
    /// At least, for answers that wait for those to earlier frames.
    pub waiting: usize,
}

impl AnswerRoom {
    fn sum(self) -> usize {
        // More than any memory is enough to be refused.
        self.beside.saturating_add(self.waiting).min(usize::MAX / 64)
    }
}

/// The bytes in use and their bound. Shared by every buffer; charges come from the reactor alone,
/// discharges from wherever a buffer is dropped.
#[derive(Debug)]
pub struct Memory {
    limit: AtomicUsize,
    /// What buffers do not have of it.
    kept: AtomicUsize,
    large_floor: usize,
    /// What one answer takes, and what is held beside it; 0 without handlers.
    answer_min: AtomicUsize,
    /// What may wait at least.
    waiting_min: AtomicUsize,
    waiting: AtomicUsize,
    small: AtomicUsize,
    begun: AtomicUsize,
    large: AtomicUsize,
    answers: AtomicUsize,
    entries: AtomicUsize,
    subscriptions: AtomicUsize,
    spare: Mutex<Vec<Box<[u8]>>>,
}

impl Memory {
    /// The least limit that lets a frame of `frame_max` bytes pass beside small ones.
    pub fn least(frame_max: usize) -> usize {
        let large = frame_max + BUFFER_OVERHEAD;
        let for_small = large + SMALL_FLOOR;
        // large ≤ limit − limit / SMALL_SHARE
        let for_large = large.div_ceil(SMALL_SHARE - 1) * SMALL_SHARE;
        for_small.max(for_large)
    }

    /// What may be held for long under a limit: beside that and the subscriptions, a frame of `frame_max` bytes and
    /// small ones pass.
    pub fn beside_one_of_each(limit: usize, frame_max: usize) -> usize {
        // large ≤ limit − limit / SMALL_SHARE
        let left = (limit - limit / SMALL_SHARE).min(limit.saturating_sub(SMALL_MIN));
        left.saturating_sub(frame_max + BUFFER_OVERHEAD + Self::for_subscriptions(limit, frame_max, None))
    }

    /// What subscriptions may take under a limit: beside that, a frame of `frame_max` bytes and small ones pass, and
    /// where there are handlers, what is kept for their answers.
    pub fn for_subscriptions(limit: usize, frame_max: usize, room: Option<AnswerRoom>) -> usize {
        let large = frame_max + BUFFER_OVERHEAD;
        let answers = room.map_or(0, |room| (large + ANSWER_MIN + room.sum()).max(limit / ANSWER_SHARE));
        let beside = limit.saturating_sub(large + SMALL_MIN + answers);
        (limit / SUBSCRIPTIONS_SHARE).min(beside).max(SUBSCRIPTIONS_MIN)
    }

    /// The least limit where there are handlers, for which `room` is kept beside the answer that is read.
    pub fn least_with_answers(frame_max: usize, room: AnswerRoom) -> usize {
        let large = frame_max + BUFFER_OVERHEAD;
        let answer = large + ANSWER_MIN + room.sum();
        // The floor is either of two; both must leave room for a large frame and for small ones.
        let beside_least = (large + SMALL_FLOOR).max(large.div_ceil(SMALL_SHARE - 1) * SMALL_SHARE);
        let beside_share = beside_least.div_ceil(ANSWER_SHARE - 1) * ANSWER_SHARE;
        (large + SMALL_FLOOR + answer)
            .max((large + answer).div_ceil(SMALL_SHARE - 1) * SMALL_SHARE)
            .max(beside_share)
            .max(large.div_ceil(SMALL_SHARE - 2) * SMALL_SHARE)
    }

    /// Bounds buffered bytes to `limit`, at least [`Memory::least`] of `frame_max`.
    pub fn new(limit: usize, frame_max: usize) -> Arc<Memory> {
        assert!(limit >= Self::least(frame_max), "the configuration checks this");
        Self::with_floors(limit, frame_max + BUFFER_OVERHEAD, 0, 0)
    }

    /// The same with room for what handlers answer; at least [`Memory::least_with_answers`].
    pub fn with_answers(limit: usize, frame_max: usize, room: AnswerRoom) -> Arc<Memory> {
        assert!(limit >= Self::least_with_answers(frame_max, room), "the configuration checks this");
        let large = frame_max + BUFFER_OVERHEAD;
        Self::with_floors(limit, large, large + ANSWER_MIN + room.beside, room.waiting)
    }

    fn with_floors(limit: usize, large_floor: usize, answer_min: usize, waiting_min: usize) -> Arc<Memory> {
        Arc::new(Memory {
            limit: AtomicUsize::new(limit),
            kept: AtomicUsize::new(0),
            large_floor,
            answer_min: AtomicUsize::new(answer_min),
            waiting_min: AtomicUsize::new(waiting_min),
            waiting: AtomicUsize::new(0),
            small: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            spare: Mutex::new(Vec::new()),
        })
    }

    /// The bound, in bytes.
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Changes the bound, which the configuration checks. Under a lower one nothing more is charged until
    /// enough is given back.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// Keeps `bytes` of the limit from everything that is charged. The configuration checks that what is left is
    /// enough.
    pub fn keep(&self, bytes: usize) {
        self.kept.store(bytes, Relaxed);
    }

    /// Bytes that nothing is charged to, since something else has them.
    pub fn kept(&self) -> usize {
        self.kept.load(Relaxed)
    }

    /// What may be charged in all.
    fn for_buffers(&self) -> usize {
        self.limit().saturating_sub(self.kept())
    }

    /// Changes what is kept for handlers beside the answer that is read.
    pub fn set_answer_room(&self, room: AnswerRoom) {
        self.answer_min.store(self.large_floor + ANSWER_MIN + room.beside, Relaxed);
        self.waiting_min.store(room.waiting, Relaxed);
    }

    /// Bytes charged now: for small frames, for large ones, for answers, for the entries of outboxes.
    pub fn charged(&self) -> [usize; 4] {
        let [small, begun, large, answers, entries] =
            [&self.small, &self.begun, &self.large, &self.answers, &self.entries]
                .map(|bytes| bytes.load(Relaxed));
        [small + begun, large, answers, entries]
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.small_used() + self.large.load(Relaxed) + self.answers.load(Relaxed)
    }

    /// Whether `bytes` more of `share` may be charged.
    pub fn has_room(&self, share: Share, bytes: usize) -> bool {
        let small = self.small_used();
        let large = self.large.load(Relaxed);
        let answers = self.answers.load(Relaxed);
        let kept = answers.max(self.answer_floor());
        let limit = self.for_buffers();
        match share {
            Share::Small => small + large.max(self.large_floor) + kept + bytes <= limit,
            Share::Begun => self.has_room(Share::Small, bytes) && self.begun() + bytes <= self.begun_may(),
            Share::Large => large + small.max(limit / SMALL_SHARE) + kept + bytes <= limit,
            Share::Answer => {
                let own = self.answer_floor().max(self.answer_min.load(Relaxed) + self.waiting());
                answers + bytes <= own.max(limit.saturating_sub(small + large))
            }
        }
    }

    /// Whether of what small frames may have, and begun ones among them, there is enough that nobody waits again at once.
    pub fn small_is_eased(&self) -> bool {
        let is_eased = |used, may| used <= may - may / RECLAIM_SHARE;
        is_eased(self.small_used(), self.small_may()) && is_eased(self.begun(), self.begun_may())
    }

    /// What frames that are begun hold of what small ones may.
    fn begun(&self) -> usize {
        self.begun.load(Relaxed)
    }

    /// What they may hold of it.
    fn begun_may(&self) -> usize {
        let may = self.small_may();
        may.saturating_sub((may / LIGHT_SHARE).max(LIGHT_MIN))
    }

    /// What small frames may have and do not.
    pub fn small_free(&self) -> usize {
        self.small_may().saturating_sub(self.small_used())
    }

    /// What small frames may have beside what is held by others now.
    pub fn small_may(&self) -> usize {
        let large = self.large.load(Relaxed).max(self.large_floor);
        let kept = self.answers.load(Relaxed).max(self.answer_floor());
        self.for_buffers().saturating_sub(large + kept)
    }

    /// How many bytes of answers may wait for others: beside them there is always room for one more answer,
    /// the largest, so that the one that they wait for can come.
    pub fn waiting_max(&self) -> usize {
        self.answer_floor() - self.answer_min.load(Relaxed)
    }

    /// Bytes that wait for the answers to earlier frames, or are set aside for what may have to.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Whether `bytes` more may wait.
    pub fn may_wait(&self, bytes: usize) -> bool {
        self.waiting().saturating_add(bytes) <= self.waiting_max()
    }

    /// Counts `bytes` that wait, or may have to. Their memory is charged apart.
    pub fn wait(self: &Arc<Self>, bytes: usize) -> Waiting {
        self.waiting.fetch_add(bytes, Relaxed);
        Waiting { memory: self.clone(), bytes }
    }

    /// The least that is kept for answers.
    pub fn answer_floor(&self) -> usize {
        match self.answer_min.load(Relaxed) {
            0 => 0,
            least => (least + self.waiting_min.load(Relaxed)).max(self.for_buffers() / ANSWER_SHARE),
        }
    }

    /// Charges `bytes`. The caller has asked [`has_room`](Self::has_room) for at least as many
    /// since anything else was charged, or charges one of the few small things that cannot wait
    /// (a last reply, a GAP).
    pub fn charge(self: &Arc<Self>, share: Share, bytes: usize) -> Charge {
        self.of(share).fetch_add(bytes, Relaxed);
        Charge { memory: self.clone(), share, bytes }
    }

    /// Charges `bytes` to somebody who knows how many they are, and [releases them](Self::release).
    pub fn take(&self, share: Share, bytes: usize) {
        self.of(share).fetch_add(bytes, Relaxed);
    }

    /// Releases what was [taken](Self::take).
    pub fn release(&self, share: Share, bytes: usize) {
        self.of(share).fetch_sub(bytes, Relaxed);
    }

    /// Sets what the entries of all outboxes take; they are counted, not owned.
    pub fn set_entries(&self, bytes: usize) {
        self.entries.store(bytes, Relaxed);
    }

    /// Sets what subscriptions take. A subscriber is not made to wait: what is read after that is.
    pub fn set_subscriptions(&self, bytes: usize) {
        self.subscriptions.store(bytes, Relaxed);
    }

    /// What subscriptions take.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(Relaxed)
    }

    /// A buffer of [`READ_MAX`] bytes with any content, reused if one is spare.
    pub fn buffer(&self) -> Box<[u8]> {
        self.spare.lock().pop().unwrap_or_else(|| vec![0; READ_MAX].into_boxed_slice())
    }

    /// How many buffers are spare.
    #[cfg(any(test, feature = "check"))]
    pub fn spare(&self) -> usize {
        self.spare.lock().len()
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_BUFFERS {
            spare.push(bytes);
        }
    }

    fn small_used(&self) -> usize {
        self.small.load(Relaxed) + self.begun() + self.entries.load(Relaxed) + self.subscriptions()
    }

    fn of(&self, share: Share) -> &AtomicUsize {
        match share {
            Share::Small => &self.small,
            Share::Begun => &self.begun,
            Share::Large => &self.large,
            Share::Answer => &self.answers,
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

    /// Gives back all but `bytes`; or takes what is missing to them, which is never more than one of the
    /// small things that cannot wait.
    pub fn resize(&mut self, bytes: usize) {
        let counter = self.memory.of(self.share);
        if bytes <= self.bytes {
            counter.fetch_sub(self.bytes - bytes, Relaxed);
        } else {
            counter.fetch_add(bytes - self.bytes, Relaxed);
        }
        self.bytes = bytes;
    }

    /// Takes `bytes` of it into a charge of their own.
    pub fn split(&mut self, bytes: usize) -> Charge {
        self.bytes = self.bytes.checked_sub(bytes).expect("no more than it holds");
        Charge { memory: self.memory.clone(), share: self.share, bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.of(self.share).fetch_sub(self.bytes, Relaxed);
    }
}

/// Bytes that wait until the answer to an earlier frame comes; counted until it is dropped.
#[derive(Debug)]
pub struct Waiting {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.memory.waiting.fetch_sub(self.bytes, Relaxed);
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
        Self::charged_to(memory, Share::Small, bytes)
    }

    /// The same, of a share.
    pub fn charged_to(memory: &Arc<Memory>, share: Share, bytes: Box<[u8]>) -> Buffer {
        let charge = memory.charge(share, bytes.len() + BUFFER_OVERHEAD);
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
mod tests;
