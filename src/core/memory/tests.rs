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
        assert!(memory.has_room(Share::Small, SMALL_FLOOR));
    }
}

#[test]
fn subscriptions_leave_room_for_one_of_each() {
    for frame in [64, 4096, READ_MAX, 16 * MIB] {
        let room = AnswerRoom { beside: frame / 3, waiting: frame / 5 };
        let large = frame + BUFFER_OVERHEAD;
        for (least, room) in
            [(Memory::least(frame), None), (Memory::least_with_answers(frame, room), Some(room))]
        {
            for limit in [least, least + 10_000, 3 * least, 64 * least] {
                let memory = match room {
                    Some(room) => Memory::with_answers(limit, frame, room),
                    None => Memory::new(limit, frame),
                };
                let subscriptions = Memory::for_subscriptions(limit, frame, room);
                assert!(subscriptions >= SUBSCRIPTIONS_MIN);
                memory.set_subscriptions(subscriptions);
                assert_eq!(memory.used(), subscriptions);
                assert!(memory.has_room(Share::Small, SMALL_MIN), "{frame} in {limit}");
                let small = memory.charge(Share::Small, SMALL_MIN);
                assert!(memory.has_room(Share::Large, large), "{frame} in {limit}");
                drop(small);
            }
        }
    }
}

#[test]
fn beside_what_is_held_for_long_one_of_each_passes() {
    for frame in [64, 4096, READ_MAX, 16 * MIB] {
        let large = frame + BUFFER_OVERHEAD;
        for limit in [Memory::least(frame), Memory::least(frame) + 10_000, 64 * MIB] {
            let memory = Memory::new(limit, frame);
            let held = Memory::beside_one_of_each(limit, frame);
            memory.set_subscriptions(Memory::for_subscriptions(limit, frame, None));
            for share in [Share::Small, Share::Large] {
                let _held = memory.charge(share, held);
                assert!(memory.has_room(Share::Large, large), "{frame} in {limit}");
                assert!(memory.has_room(Share::Small, SMALL_MIN), "{frame} in {limit}");
            }
        }
    }
}

#[test]
fn what_waits_for_a_handler_leaves_room_for_its_answer() {
    for frame in [64, 4096, READ_MAX, 16 * MIB, 1024 * MIB] {
        let room = AnswerRoom { beside: frame / 3, waiting: frame / 5 };
        let limit = Memory::least_with_answers(frame, room);
        for limit in [limit, limit + limit / 3, 3 * limit] {
            let memory = Memory::with_answers(limit, frame, room);
            assert!(memory.waiting_max() >= room.waiting, "{frame} in {limit}");
            let large = frame + BUFFER_OVERHEAD;
            assert!(memory.has_room(Share::Large, large) && memory.has_room(Share::Small, SMALL_MIN));
            let mut held = Vec::new();
            let mut piece = limit;
            while piece > 0 {
                for share in [Share::Small, Share::Large] {
                    while memory.has_room(share, piece) {
                        held.push(memory.charge(share, piece));
                    }
                }
                piece /= 2;
            }
            let answers = large + ANSWER_MIN + room.beside + memory.waiting_max();
            assert!(memory.has_room(Share::Answer, answers), "{frame} in {limit}");
            let answers = memory.charge(Share::Answer, answers);
            assert!(memory.used() <= limit);
            held.clear();
            drop(answers);
            assert_eq!(memory.used(), 0);
        }
    }
}

#[test]
fn under_a_limit_that_was_lowered_answers_have_their_room() {
    let (frame, room) = (MIB, AnswerRoom { beside: MIB, waiting: MIB });
    let memory = Memory::with_answers(256 * MIB, frame, room);
    let answer = frame + BUFFER_OVERHEAD + ANSWER_MIN + room.beside;
    let mut small = memory.charge(Share::Small, 0);
    while memory.has_room(Share::Small, MIB) {
        small.resize(small.bytes() + MIB);
    }
    assert!(memory.may_wait(8 * MIB));
    let waiting = memory.wait(8 * MIB);
    let held = memory.charge(Share::Answer, 8 * MIB);
    memory.set_limit(Memory::least_with_answers(frame, room));
    assert!(!memory.may_wait(1) && !memory.has_room(Share::Small, 1));
    assert!(memory.has_room(Share::Answer, answer), "the answer for which the others wait");
    drop((waiting, held));
    assert!(memory.may_wait(room.waiting) && memory.has_room(Share::Answer, answer));
    assert!(!memory.has_room(Share::Answer, 64 * MIB));
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
fn a_charge_changes_and_is_split() {
    let memory = Memory::new(64 * MIB, MIB);
    let mut charge = memory.charge(Share::Small, 100);
    for bytes in [40, 70] {
        charge.resize(bytes);
        assert_eq!((charge.bytes(), memory.used()), (bytes, bytes));
    }
    let part = charge.split(30);
    assert_eq!((charge.bytes(), part.bytes(), memory.used()), (40, 30, 70));
    drop(charge);
    assert_eq!(memory.used(), 30);
    drop(part);
    assert_eq!(memory.used(), 0);
}
