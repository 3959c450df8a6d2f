//! The memory's shares against plain arithmetic.

use super::choices::Choices;
use crate::core::limits::{
    ANSWER_MIN, ANSWER_SHARE, BUFFER_OVERHEAD, LIGHT_MIN, LIGHT_SHARE, READ_MAX, RECLAIM_SHARE, SMALL_MIN,
    SMALL_SHARE, SPARE_BUFFERS,
};
use crate::core::memory::{AnswerRoom, Buffer, Charge, Memory, Share, Waiting};

/// Largest frames to be admitted: from nothing to many reads.
const FRAMES: [usize; 5] = [64, 4096, READ_MAX, 1 << 20, 1 << 24];

/// Choices, and charges held at once: more find nothing new, and slow the search.
const CHOICES_MAX: usize = 600;
const HELD: usize = 100;

/// The three shares and what they hold, as the room's formula has it.
struct Model {
    limit: usize,
    floor: usize,
    /// 0 without handlers.
    answer_floor: usize,
    small: usize,
    /// Of the small ones.
    begun: usize,
    large: usize,
    answers: usize,
    entries: usize,
    subscriptions: usize,
}

impl Model {
    /// Less than nothing where answers have taken what is kept for others.
    fn room(&self, share: Share) -> isize {
        let small = self.small_used();
        let answers = self.answers.max(self.answer_floor);
        let (used, kept) = match share {
            Share::Begun => {
                let begun = self.begun_may() - self.begun as isize;
                return self.room(Share::Small).min(begun);
            }
            Share::Small => (small, self.large.max(self.floor) + answers),
            Share::Large => (self.large, small.max(self.limit / SMALL_SHARE) + answers),
            Share::Answer => (self.answers, small + self.large),
        };
        self.limit as isize - kept as isize - used as isize
    }

    fn small_used(&self) -> usize {
        self.small + self.begun + self.entries + self.subscriptions
    }

    fn small_may(&self) -> usize {
        let beside = self.large.max(self.floor) + self.answers.max(self.answer_floor);
        self.limit.saturating_sub(beside)
    }

    fn begun_may(&self) -> isize {
        let may = self.small_may();
        may.saturating_sub(LIGHT_MIN.max(may / LIGHT_SHARE)) as isize
    }

    fn of(&mut self, share: Share) -> &mut usize {
        match share {
            Share::Small => &mut self.small,
            Share::Begun => &mut self.begun,
            Share::Large => &mut self.large,
            Share::Answer => &mut self.answers,
        }
    }
}

/// What is charged is counted until it is given back, and a caller that asks for room first keeps the bound.
pub fn check_memory(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let frame = FRAMES[choices.below(FRAMES.len())];
    let (more, floor) = (choices.below(1 << 24), frame + BUFFER_OVERHEAD);
    let answers = choices.flip();
    let room = AnswerRoom { beside: choices.below(1 << 20), waiting: choices.below(1 << 16) };
    // What something else has of the limit is as if it were not there.
    let kept = choices.below(1 << 16);
    let (memory, limit, answer_floor) = if answers {
        let limit = Memory::least_with_answers(frame, room) + more;
        (Memory::with_answers(limit + kept, frame, room), limit, answer_floor_of(limit, floor, room))
    } else {
        let limit = Memory::least(frame) + more;
        (Memory::new(limit + kept, frame), limit, 0)
    };
    memory.keep(kept);
    assert_eq!((memory.limit(), memory.kept()), (limit + kept, kept));
    let held = Memory::beside_one_of_each(limit, frame);
    assert!(held == 0 || held + floor + SMALL_MIN + Memory::for_subscriptions(limit, frame, None) <= limit);
    let (small, begun, large, entries) = (0, 0, 0, 0);
    let mut model =
        Model { limit, floor, answer_floor, small, begun, large, answers: 0, entries, subscriptions: 0 };
    let subscriptions_max = Memory::for_subscriptions(limit, frame, answers.then_some(room));
    let mut charges: Vec<(Share, Charge)> = Vec::new();
    let mut buffers: Vec<Buffer> = Vec::new();
    let (mut waits, mut waiting): (Vec<Waiting>, usize) = (Vec::new(), 0);
    let waiting_max = answers.then(|| answer_floor - (floor + ANSWER_MIN + room.beside));
    while !choices.is_empty() {
        let share = match choices.below(5) {
            0 | 1 => Share::Small,
            4 => Share::Begun,
            2 if answers => Share::Answer,
            _ => Share::Large,
        };
        let bytes = match choices.below(8) {
            // All that is left, and one byte more.
            0 => model.room(share).max(0) as usize,
            1 => model.room(share).max(0) as usize + 1,
            _ => choices.below(limit + 1) >> choices.below(24),
        };
        let room = memory.has_room(share, bytes);
        assert_eq!(room, bytes as isize <= model.room(share), "{share:?} {bytes}");
        assert_eq!(memory.small_free(), model.room(Share::Small).max(0) as usize);
        match choices.below(8) {
            0 | 1 if room && charges.len() < HELD => {
                let charge = memory.charge(share, bytes);
                assert_eq!(charge.bytes(), bytes);
                charges.push((share, charge));
                *model.of(share) += bytes;
            }
            2 if !charges.is_empty() => {
                let at = choices.below(charges.len());
                let (share, charge) = charges.swap_remove(at);
                *model.of(share) -= charge.bytes();
                drop(charge);
            }
            3 if !charges.is_empty() => {
                let at = choices.below(charges.len());
                let (share, charge) = &mut charges[at];
                let keep = bytes.min(charge.bytes());
                *model.of(*share) -= charge.bytes() - keep;
                charge.resize(keep);
                assert_eq!(charge.bytes(), keep);
            }
            4 => {
                // They are set as a sum: room for the growth is room for the new sum.
                let growth = bytes.saturating_sub(model.entries);
                if memory.has_room(Share::Small, growth) {
                    memory.set_entries(bytes);
                    model.entries = bytes;
                }
            }
            5 => {
                // Beside what they may take, all else goes on.
                let growth = bytes.saturating_sub(model.subscriptions);
                if bytes <= subscriptions_max && memory.has_room(Share::Small, growth) {
                    memory.set_subscriptions(bytes);
                    model.subscriptions = bytes;
                }
            }
            6 => {
                let mut buffer = if bytes % 2 == 0 { memory.buffer() } else { vec![0; bytes % 5000].into() };
                let takes = buffer.len() + BUFFER_OVERHEAD;
                assert!(bytes % 2 == 1 || buffer.len() == READ_MAX);
                assert!(memory.spare() <= SPARE_BUFFERS);
                buffer.fill(1);
                if buffers.len() < SPARE_BUFFERS + 4 && memory.has_room(Share::Small, takes) {
                    buffers.push(Buffer::charged(&memory, buffer));
                    model.small += takes;
                } else if let Some(buffer) = buffers.pop() {
                    model.small -= buffer.len() + BUFFER_OVERHEAD;
                }
            }
            7 if choices.flip() => {
                // Each of them waits with so many bytes that are charged apart.
                let bytes = bytes >> choices.below(16);
                if let Some(max) = waiting_max {
                    assert_eq!((memory.waiting_max(), memory.may_wait(bytes)), (max, waiting + bytes <= max));
                    if waiting + bytes <= max {
                        waits.push(memory.wait(bytes));
                        waiting += bytes;
                    }
                }
            }
            7 => {
                waits.clear();
                waiting = 0;
            }
            _ => {}
        }
        assert_eq!(memory.waiting(), waiting);
        check(&memory, &model);
    }
    drop((charges, buffers, waits));
    memory.set_entries(0);
    memory.set_subscriptions(0);
    assert_eq!((memory.used(), memory.waiting()), (0, 0), "all of it was given back");
    // Under another limit there is other room.
    let room = AnswerRoom { beside: room.waiting, waiting: room.beside };
    let limit = limit + 2 * choices.below(1 << 20);
    if answers && limit >= Memory::least_with_answers(frame, room) {
        memory.set_limit(limit + kept);
        memory.set_answer_room(room);
        let answer_floor = answer_floor_of(limit, floor, room);
        let model =
            Model { limit, floor, answer_floor, small, begun, large, answers: 0, entries, subscriptions: 0 };
        for share in [Share::Small, Share::Begun, Share::Large, Share::Answer] {
            let most = model.room(share).max(0) as usize;
            assert_eq!(
                (memory.has_room(share, most), memory.has_room(share, most + 1)),
                (true, false),
                "{share:?}"
            );
        }
    }
}

/// What is kept for answers, of which the largest may come while others wait.
fn answer_floor_of(limit: usize, floor: usize, room: AnswerRoom) -> usize {
    (floor + ANSWER_MIN + room.beside + room.waiting).max(limit / ANSWER_SHARE)
}

fn check(memory: &Memory, model: &Model) {
    let small = model.small_used();
    assert_eq!(memory.charged(), [model.small + model.begun, model.large, model.answers, model.entries]);
    let may = model.small_may();
    let begun_may = model.begun_may() as usize;
    let is_eased = small <= may - may / RECLAIM_SHARE && model.begun <= begun_may - begun_may / RECLAIM_SHARE;
    assert_eq!(memory.small_is_eased(), is_eased);
    assert_eq!(memory.used(), small + model.large + model.answers);
    assert!(memory.used() <= memory.limit(), "a caller that asks first stays within the bound");
    if model.answers == 0 && model.answer_floor > 0 {
        assert!(memory.has_room(Share::Answer, model.answer_floor), "frames never keep their answers out");
    }
    // Answers may take all that is free; they go without waiting for anything that is read.
    if model.answers > model.answer_floor {
        return;
    }
    if model.large == 0 {
        assert!(memory.has_room(Share::Large, model.floor), "small ones never keep a large frame out");
    }
    if model.small + model.begun + model.entries == 0 {
        let least = (model.limit / SMALL_SHARE).min(model.limit - model.floor - model.answer_floor);
        let least = match model.large {
            // Nor do subscriptions, where no large frame has come before them.
            0 => SMALL_MIN,
            _ => least.saturating_sub(model.subscriptions).min(SMALL_MIN),
        };
        assert!(memory.has_room(Share::Small, least), "large ones never keep small frames out");
    }
}
