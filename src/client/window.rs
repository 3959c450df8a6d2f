//! What was handed over to be sent and is not answered yet, in the very bytes in which it is sent.
//!
//! Frames are kept in chunks, and a chunk is written, locked for and recycled as one; so a frame costs
//! no allocation, no lock and no system call of its own. Ids are consecutive, which makes the whole a ring:
//! a chunk is found by its first id and a frame by its place in the chunk.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::wire::{Header, Scheme, encode};

/// 64 KiB: what a chunk is handed over at, and so the size of a write. On two cores shared with the
/// gateway the median of four runs was 1.6 M small frames/s, with 256 KiB 1.2 M: the bytes are still
/// in the cache when they are written, and the gateway begins sooner.
pub const CHUNK: usize = 64 * 1024;

/// 8 chunks kept for reuse: the ones that are filled, written and answered at any moment.
const SPARE_CHUNKS: usize = 8;

/// Encoded frames back to back, with consecutive ids.
#[derive(Debug, Default)]
pub struct Chunk {
    first_id: u64,
    bytes: Vec<u8>,
    /// Where each frame ends. A chunk is at most one frame larger than [`CHUNK`], well within 32 bits.
    ends: Vec<u32>,
}

impl Chunk {
    /// Appends a frame. Its id is the one after the last.
    pub fn push(&mut self, header: Header, topic: &[u8], payload: &[u8], scheme: &Scheme) {
        if self.ends.is_empty() {
            self.first_id = header.id;
        }
        debug_assert_eq!(header.id, self.first_id + self.ends.len() as u64, "ids are consecutive");
        encode(header, topic, payload, scheme, &mut self.bytes);
        self.ends.push(u32::try_from(self.bytes.len()).expect("limits::PAYLOAD_MAX is checked before"));
    }

    /// Appends a frame as it is. `id` is its number here, one after the last, whatever its header says.
    pub fn push_as_it_is(&mut self, id: u64, frame: &[u8]) {
        if self.ends.is_empty() {
            self.first_id = id;
        }
        self.bytes.extend_from_slice(frame);
        self.ends.push(u32::try_from(self.bytes.len()).expect("limits::PAYLOAD_MAX is checked before"));
    }

    /// All its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many frames it holds.
    pub fn frames(&self) -> usize {
        self.ends.len()
    }

    /// How many frames end within its first `bytes` bytes.
    fn frames_within(&self, bytes: usize) -> usize {
        self.ends.partition_point(|&end| end as usize <= bytes)
    }

    /// Where the bytes of some of its frames are.
    fn range(&self, frames: Range<usize>) -> Range<usize> {
        let start = frames.start.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        start..self.ends[frames.end - 1] as usize
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Something to write: parts of a chunk, in order.
#[derive(Debug)]
pub struct Job {
    /// The chunk.
    pub chunk: Arc<Chunk>,
    /// Which of its bytes.
    pub ranges: Vec<Range<usize>>,
}

/// A chunk and which of its frames are answered.
#[derive(Debug)]
struct Held {
    /// None once every frame is answered.
    chunk: Option<Arc<Chunk>>,
    first_id: u64,
    frames: usize,
    unanswered: usize,
    /// A bit a frame.
    answered: Vec<u64>,
}

/// The frames in flight, oldest first.
///
/// `first ≤ next ≤ first + held.len()`: chunks are numbered as they come, and those before `next` were
/// written on the present connection.
#[derive(Debug, Default)]
pub struct Window {
    held: VecDeque<Held>,
    first: u64,
    next: u64,
    /// Unanswered frames of all chunks.
    frames: usize,
    /// Bytes of all chunks that hold an unanswered frame.
    bytes: usize,
    /// Where the last answer was; the next is nearly always there too.
    hint: usize,
    spare: Vec<Chunk>,
}

impl Window {
    /// Unanswered frames.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Bytes kept for them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether every frame is answered.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Appends a chunk of frames that follow those before, and gives an empty one for the next.
    pub fn push(&mut self, chunk: Chunk) -> Chunk {
        let frames = chunk.frames();
        if frames > 0 {
            self.frames += frames;
            self.bytes += chunk.bytes.len();
            self.held.push_back(Held {
                first_id: chunk.first_id,
                frames,
                unanswered: frames,
                answered: vec![0; frames.div_ceil(64)],
                chunk: Some(Arc::new(chunk)),
            });
        }
        self.invariants();
        self.spare.pop().unwrap_or_default()
    }

    /// What to write next on this connection.
    pub fn next_job(&mut self) -> Option<Job> {
        loop {
            let held = self.held.get((self.next - self.first) as usize)?;
            self.next += 1;
            if let Some(chunk) = &held.chunk {
                return Some(Job { chunk: chunk.clone(), ranges: held.unanswered_ranges(chunk) });
            }
        }
    }

    /// A new connection: everything unanswered is to be written again, in the same order.
    pub fn restart(&mut self) {
        self.next = self.first;
    }

    /// Unanswered frames that were written on this connection, whole or in part.
    pub fn frames_written(&self) -> usize {
        let written = (self.next - self.first) as usize;
        self.held.iter().take(written).map(|held| held.unanswered).sum()
    }

    /// The frame with this id once more, if it is unanswered.
    pub fn job_again(&self, id: u64) -> Option<Job> {
        let held = &self.held[self.find(id)?];
        let index = (id - held.first_id) as usize;
        let chunk = held.chunk.as_ref().filter(|_| !held.is_answered(index))?;
        Some(Job { chunk: chunk.clone(), ranges: vec![chunk.range(index..index + 1)] })
    }

    /// Whether the frame with this id is unanswered.
    pub fn holds(&self, id: u64) -> bool {
        self.find(id).is_some_and(|at| !self.held[at].is_answered((id - self.held[at].first_id) as usize))
    }

    /// The frame with this id has its final answer; whether it was waiting for one.
    pub fn answer(&mut self, id: u64) -> bool {
        let Some(at) = self.find(id) else { return false };
        self.hint = at;
        let held = &mut self.held[at];
        let index = (id - held.first_id) as usize;
        if held.is_answered(index) {
            return false;
        }
        held.answered[index / 64] |= 1 << (index % 64);
        held.unanswered -= 1;
        self.frames -= 1;
        if held.unanswered == 0 {
            self.release(at);
        }
        true
    }

    /// Writing is the answer to frames that want none: those within the first `bytes` bytes of what
    /// the job writes. How many they were.
    pub fn answer_written(&mut self, job: &Job, bytes: usize) -> usize {
        let mut left = bytes;
        let mut answered = 0;
        for range in &job.ranges {
            let first = job.chunk.frames_within(range.start);
            let end = job.chunk.frames_within(range.start + left.min(range.len()));
            for index in first..end {
                answered += usize::from(self.answer(job.chunk.first_id + index as u64));
            }
            left = left.saturating_sub(range.len());
        }
        answered
    }

    /// Takes the bytes of a chunk back for the next one, once nobody else holds them.
    pub fn recycle(&mut self, chunk: Arc<Chunk>) {
        if let Some(mut chunk) = Arc::into_inner(chunk)
            && self.spare.len() < SPARE_CHUNKS
            && chunk.bytes.capacity() <= 2 * CHUNK
        {
            chunk.clear();
            self.spare.push(chunk);
        }
    }

    fn release(&mut self, at: usize) {
        if let Some(chunk) = self.held[at].chunk.take() {
            self.bytes -= chunk.bytes.len();
            self.recycle(chunk);
        }
        while self.held.front().is_some_and(|held| held.unanswered == 0) {
            self.held.pop_front();
            self.first += 1;
            self.next = self.next.max(self.first);
            self.hint = self.hint.saturating_sub(1);
        }
        self.invariants();
    }

    fn find(&self, id: u64) -> Option<usize> {
        let holds = |held: &Held| held.first_id <= id && id - held.first_id < held.frames as u64;
        if self.held.get(self.hint).is_some_and(holds) {
            return Some(self.hint);
        }
        let at = self.held.partition_point(|held| held.first_id <= id).checked_sub(1)?;
        holds(&self.held[at]).then_some(at)
    }

    fn invariants(&self) {
        debug_assert!(self.first <= self.next && self.next <= self.first + self.held.len() as u64);
        debug_assert_eq!(self.frames, self.held.iter().map(|held| held.unanswered).sum::<usize>());
        debug_assert_eq!(self.frames == 0, self.bytes == 0);
    }
}

impl Held {
    fn is_answered(&self, index: usize) -> bool {
        self.answered[index / 64] >> (index % 64) & 1 == 1
    }

    /// The bytes of the unanswered frames, neighbours together.
    fn unanswered_ranges(&self, chunk: &Chunk) -> Vec<Range<usize>> {
        if self.unanswered == self.frames {
            let whole = 0..chunk.bytes.len();
            return vec![whole];
        }
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for index in (0..self.frames).filter(|&index| !self.is_answered(index)) {
            let range = chunk.range(index..index + 1);
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;
    use proptest::prelude::*;

    fn fill(chunk: &mut Chunk, ids: Range<u64>) {
        for id in ids {
            let header = Header { id, want_reply: true, ..Header::new(Kind::Data) };
            chunk.push(header, b"t", &[0; 3], &Scheme::Sha256);
        }
    }

    /// A window of chunks with the given numbers of frames, ids from 1.
    fn window(frames: &[u64]) -> Window {
        let mut window = Window::default();
        let mut id = 1;
        for &frames in frames {
            let mut chunk = Chunk::default();
            fill(&mut chunk, id..id + frames);
            window.push(chunk);
            id += frames;
        }
        window
    }

    /// The ids in what the window would write now.
    fn written(window: &mut Window) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some(job) = window.next_job() {
            for range in &job.ranges {
                for frame in job.chunk.bytes()[range.clone()].chunks(68) {
                    ids.push(Header::decode(frame.first_chunk().unwrap()).unwrap().id);
                }
            }
        }
        ids
    }

    #[test]
    fn what_is_unanswered_is_written_again_in_order() {
        let mut window = window(&[3, 1, 2]);
        assert_eq!(written(&mut window), [1, 2, 3, 4, 5, 6]);
        assert_eq!((window.frames(), window.bytes(), window.frames_written()), (6, 6 * 68, 6));
        for id in [2, 4, 5] {
            assert!(window.holds(id) && window.answer(id) && !window.answer(id) && !window.holds(id));
        }
        assert!(!window.answer(0) && !window.answer(7));
        assert!(written(&mut window).is_empty());
        window.restart();
        assert_eq!(written(&mut window), [1, 3, 6]);
        assert!(window.job_again(4).is_none());
        assert_eq!(window.job_again(3).unwrap().ranges.first(), Some(&(136..204)));
        for id in [1, 3, 6] {
            assert!(window.answer(id));
        }
        assert!(window.is_empty() && window.held.is_empty() && window.bytes() == 0);
    }

    #[test]
    fn writing_answers_what_is_written_whole() {
        let mut window = window(&[3]);
        let job = window.next_job().unwrap();
        assert_eq!(window.answer_written(&job, 2 * 68 + 67), 2);
        window.restart();
        let job = window.next_job().unwrap();
        assert_eq!((job.ranges.len(), job.ranges.first()), (1, Some(&(136..204))));
        assert_eq!(window.answer_written(&job, 67), 0);
        assert_eq!(window.answer_written(&job, 68), 1);
        assert!(window.is_empty());
    }

    #[test]
    fn chunks_are_used_again_once_nobody_holds_them() {
        let mut window = window(&[1]);
        let job = window.next_job().unwrap();
        let address = job.chunk.bytes().as_ptr();
        assert!(window.answer(1));
        assert!(window.spare.is_empty(), "the writer still holds it");
        window.recycle(job.chunk);
        let chunk = window.push(Chunk::default());
        assert_eq!((chunk.frames(), chunk.bytes.as_ptr()), (0, address));
    }

    proptest! {
        /// Against a list of unanswered ids.
        #[test]
        fn agrees_with_a_list(chunks in prop::collection::vec(1u64..100, 1..8), order in any::<prop::sample::Index>(), answered in prop::collection::vec(0u64..900, 0..600)) {
            let total: u64 = chunks.iter().sum();
            let mut window = window(&chunks);
            let mut model: Vec<u64> = (1..=total).collect();
            let restart_at = order.index(answered.len() + 1);
            for (step, id) in answered.into_iter().enumerate() {
                let held = model.iter().position(|&waiting| waiting == id);
                prop_assert_eq!(window.answer(id), held.is_some());
                held.map(|at| model.remove(at));
                prop_assert_eq!(window.frames(), model.len());
                if step == restart_at {
                    window.restart();
                    prop_assert_eq!(written(&mut window), model.clone());
                }
            }
            window.restart();
            prop_assert_eq!(written(&mut window), model);
        }
    }
}
