//! Who is called next.

use super::*;

fn open(in_flight_max: usize, waiting_max: usize) -> Calls {
    let mut calls = Calls::new(in_flight_max, waiting_max);
    calls.set_open(true);
    calls
}

fn begin_all(calls: &mut Calls) -> Vec<u64> {
    std::iter::from_fn(|| calls.begin(|_| true)).collect()
}

fn wake_all(calls: &mut Calls) -> Vec<u64> {
    let mut woken = Vec::new();
    calls.wake(0, |conn| {
        woken.push(conn);
        true
    });
    woken
}

#[test]
fn exactly_as_many_as_may_are_let_in() {
    let mut calls = open(2, 3);
    assert_eq!(calls.arrive(1, 10), 5, "two that begin at once, three that wait");
    assert_eq!(begin_all(&mut calls), [1, 1]);
    assert_eq!((calls.in_flight(), calls.waiting(), calls.room()), (2, 3, 0));
    assert_eq!(calls.arrive(2, 1), 0);
    calls.done();
    assert_eq!((calls.room(), calls.arrive(2, 4)), (1, 1));
    let mut shut = Calls::new(2, 3);
    assert_eq!(shut.arrive(1, 10), 3, "none begins");
}

#[test]
fn each_connection_goes_once_before_any_goes_again() {
    let mut calls = open(100, 100);
    for (conn, n) in [(1, 4), (2, 1), (3, 2)] {
        assert_eq!(calls.arrive(conn, n), n);
    }
    assert_eq!(begin_all(&mut calls), [1, 2, 3, 1, 3, 1, 1]);
    assert!(begin_all(&mut calls).is_empty() && calls.callers.is_empty());
}

#[test]
fn what_is_beyond_is_let_in_one_of_each_in_turn() {
    let mut calls = open(1, 1);
    assert_eq!(calls.arrive(1, 9), 2);
    calls.leave_beyond(1, 2);
    calls.leave_beyond(2, 1);
    assert!(calls.is_beyond(1) && calls.is_beyond(2));
    assert_eq!(begin_all(&mut calls), [1]);
    for expected in [&[][..], &[2], &[1]] {
        calls.done();
        assert_eq!(wake_all(&mut calls), expected);
        assert_eq!(begin_all(&mut calls).len(), 1);
    }
    assert!(!calls.is_beyond(1) && !calls.is_beyond(2));
}

#[test]
fn as_many_readers_are_woken_as_there_is_room_for() {
    let mut calls = open(1, 0);
    assert_eq!((calls.arrive(9, 1), begin_all(&mut calls)), (1, vec![9]));
    for conn in [1, 2, 1, 3] {
        calls.wait_to_read(conn);
    }
    assert!(wake_all(&mut calls).is_empty());
    calls.done();
    assert_eq!(wake_all(&mut calls), [1]);
    calls.set_in_flight_max(9);
    assert_eq!(wake_all(&mut calls), [2, 3]);
}

#[test]
fn a_reader_is_woken_when_the_last_of_its_calls_begins() {
    let mut calls = open(1, 1);
    assert_eq!((calls.arrive(1, 2), calls.arrive(2, 5)), (2, 0));
    calls.leave_beyond(2, 5);
    assert_eq!(begin_all(&mut calls), [1]);
    calls.wait_to_read(1);
    for expected in [&[][..], &[], &[1]] {
        let woken = wake_all(&mut calls);
        assert_eq!((&*woken, calls.room()), (expected, 0), "others have filled the queue");
        assert_eq!(calls.has_none_waiting(1), !expected.is_empty());
        calls.done();
        assert_eq!(begin_all(&mut calls).len(), 1);
    }
    assert!(!calls.has_none_waiting(2));
}

#[test]
fn whoever_is_not_ready_is_passed_over() {
    let mut calls = open(10, 10);
    calls.arrive(1, 2);
    calls.arrive(2, 2);
    assert_eq!(calls.begin(|conn| conn != 1), Some(2));
    assert_eq!(calls.begin(|_| true), Some(2), "the first is still aside");
    assert_eq!(calls.begin(|_| true), None);
    calls.arrive(1, 1);
    assert_eq!(calls.begin(|_| true), None);
    calls.resume(1);
    assert_eq!(begin_all(&mut calls), [1, 1, 1]);
}

#[test]
fn what_is_set_aside_is_counted() {
    let mut calls = open(1, 2);
    assert_eq!((calls.arrive(1, 9), calls.set_aside()), (3, 0));
    calls.leave_beyond(1, 6);
    calls.leave_beyond(2, 5);
    assert_eq!((calls.waiting(), calls.set_aside()), (3, 11));
    // Those that wait of one that may not be called go there, and as many others come.
    assert_eq!(calls.begin(|conn| conn != 1), Some(2));
    assert_eq!((calls.waiting(), calls.set_aside()), (2, 11));
    assert_eq!(calls.arrive(1, 0), 0);
    calls.forget(2);
    assert_eq!((calls.waiting(), calls.set_aside()), (0, 9));
    calls.set_waiting_max(5);
    assert_eq!(calls.arrive(1, 2), 2);
    assert_eq!((calls.waiting(), calls.set_aside()), (0, 11));
    calls.resume(1);
    assert_eq!((calls.waiting(), calls.set_aside()), (5, 6));
    calls.forget(1);
    calls.done();
    assert!(calls.is_empty() && calls.set_aside() == 0);
}

#[test]
fn what_waits_of_one_that_may_not_be_called_takes_nobodys_room() {
    let mut calls = open(1, 2);
    assert_eq!((calls.arrive(1, 3), calls.arrive(2, 2)), (3, 0));
    calls.leave_beyond(2, 2);
    assert_eq!(calls.begin(|conn| conn != 1), Some(2), "it was let in at once");
    assert_eq!((calls.waiting(), calls.room()), (1, 1));
    assert_eq!(calls.arrive(3, 2), 1);
    calls.resume(1);
    assert!(calls.is_beyond(1), "it is let in again when there is room");
    calls.done();
    assert_eq!(calls.begin(|_| true), Some(3), "it had no turn yet");
    assert_eq!((calls.waiting(), calls.is_beyond(1)), (2, true));
    calls.set_waiting_max(9);
    assert!(!calls.is_beyond(1) && calls.waiting() == 4);
}

#[test]
fn who_calls_seldom_does_not_wait_behind_those_who_always_call() {
    let mut calls = open(100, 100);
    let mut order = String::new();
    for conn in [1, 2, 3, 4] {
        calls.arrive(conn, 9);
    }
    for turn in 0..15 {
        if turn == 6 {
            calls.arrive(9, 2);
        }
        order += &calls.begin(|_| true).unwrap().to_string();
    }
    assert_eq!(order, "123142931429314", "its second call is in turn with the others'");
}

#[test]
fn limits_change_while_it_runs() {
    let mut calls = open(4, 10);
    calls.arrive(1, 14);
    assert_eq!(begin_all(&mut calls).len(), 4);
    calls.set_in_flight_max(2);
    for left in [3, 2, 1] {
        assert_eq!(calls.begin(|_| true), None);
        calls.done();
        assert_eq!(calls.in_flight(), left);
    }
    assert_eq!(begin_all(&mut calls).len(), 1);
    calls.set_in_flight_max(6);
    assert_eq!(begin_all(&mut calls).len(), 4);
    calls.set_waiting_max(0);
    assert_eq!((calls.waiting(), calls.room()), (5, 0), "nobody is put out");
    calls.set_open(false);
    calls.done();
    assert_eq!(calls.begin(|_| true), None);
}

#[test]
fn however_many_connections_end_together_each_costs_a_constant_time() {
    const CONNS: u64 = 10_000;
    let mut calls = open(CONNS as usize / 2, 2 * CONNS as usize);
    for conn in 0..CONNS {
        assert_eq!(calls.arrive(conn, 2), 2);
        calls.wait_to_read(conn);
    }
    // Some stand in the ring then, and the others before it.
    assert_eq!(begin_all(&mut calls).len(), CONNS as usize / 2);
    calls.give_up();
    calls.set_in_flight_max(0);
    for conn in 0..CONNS {
        calls.leave_beyond(conn, 1);
    }
    // From the back, so that none that is forgotten is first in a queue.
    for conn in (0..CONNS).rev() {
        calls.set_waiting_max(0);
        calls.forget(conn);
        let left = conn as usize;
        for queue in [&calls.fresh, &calls.ring, &calls.beyond, &calls.readers, &calls.let_in] {
            assert!(queue.entries.len() <= 2 * left + 1, "{} for {left}", queue.entries.len());
            assert!(queue.looks <= 3 * CONNS as usize, "{} looks", queue.looks);
        }
    }
    assert!(calls.is_empty());
}

#[test]
fn one_that_is_not_to_be_read_any_more_takes_nobodys_room() {
    let mut calls = open(1, 0);
    assert_eq!(calls.arrive(1, 1), 1);
    assert_eq!(calls.begin(|_| true), Some(1));
    calls.wait_to_read(2);
    calls.wait_to_read(3);
    calls.done();
    let mut woken = Vec::new();
    calls.wake(0, |conn| {
        woken.push(conn);
        conn != 2
    });
    assert_eq!(woken, [2, 3]);
}

#[test]
fn one_that_is_forgotten_is_not_woken() {
    let mut calls = open(1, 1);
    assert_eq!(calls.arrive(1, 2), 2);
    [2, 3].into_iter().for_each(|conn| calls.leave_beyond(conn, 1));
    assert_eq!(calls.begin(|_| true), Some(1));
    // What the first leaves is let in, and the second of these leaves before anybody is told.
    calls.forget(1);
    calls.set_waiting_max(9);
    calls.forget(2);
    assert_eq!(wake_all(&mut calls), [3]);
    calls.forget(3);
    calls.done();
    assert!(calls.is_empty());
}

#[test]
fn one_that_is_forgotten_and_comes_again_has_one_turn() {
    let mut calls = open(9, 9);
    for conn in [1, 2, 3] {
        calls.arrive(conn, 1);
    }
    calls.forget(1);
    calls.arrive(1, 1);
    assert_eq!(begin_all(&mut calls), [2, 3, 1]);
}

#[test]
fn a_connection_that_ends_takes_its_calls_with_it() {
    let mut calls = open(1, 2);
    calls.arrive(1, 3);
    calls.leave_beyond(1, 5);
    calls.leave_beyond(2, 1);
    assert_eq!(begin_all(&mut calls), [1]);
    calls.forget(1);
    assert_eq!((calls.in_flight(), calls.waiting()), (1, 1), "the one beyond was let in");
    calls.done();
    assert_eq!(begin_all(&mut calls), [2]);
    calls.done();
    calls.wake(0, |conn| conn == 2);
    assert!(calls.is_empty());
}

#[test]
fn who_always_calls_has_every_ninth_turn_however_many_come() {
    let mut calls = open(1000, 1000);
    calls.arrive(1, 9);
    assert_eq!(calls.begin(|_| true), Some(1));
    let mut since = 0;
    for conn in 100..200 {
        // Each of them calls once, and leaves an entry in the ring that has nothing.
        calls.arrive(conn, 1);
        calls.arrive(conn + 1000, 1);
        match calls.begin(|_| true) {
            Some(1) => since = 0,
            _ => since += 1,
        }
        assert!(since <= FRESH_TURNS || calls.has_none_waiting(1), "{since} others went");
    }
    assert!(calls.has_none_waiting(1));
}

#[test]
fn who_was_set_aside_is_not_first_for_that() {
    let mut calls = open(100, 100);
    for conn in [1, 2, 3] {
        calls.arrive(conn, 3);
    }
    assert_eq!(calls.begin(|conn| conn != 1), Some(2));
    assert_eq!(calls.begin(|_| true), Some(3));
    calls.resume(1);
    assert_eq!(begin_all(&mut calls), [2, 3, 1, 2, 3, 1, 1]);
}
