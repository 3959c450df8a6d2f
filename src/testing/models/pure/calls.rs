//! The calls of many connections against a list of them all.

use std::collections::VecDeque;

use super::choices::Choices;
use crate::core::call_queue::{Calls, Overflow};

/// Choices, and connections at most: more find nothing new, and slow the search.
const CHOICES_MAX: usize = 400;
const CONNS: usize = 6;

/// One connection's calls, as a list has them.
#[derive(Default)]
struct Model {
    waiting: usize,
    beyond: usize,
    aside: bool,
    /// Others may go so many times before it must.
    passed: usize,
}

/// As many are let in as the bounds say, each connection goes once before any goes again, a connection that waits
/// to be let in or read is in time, and nothing is counted twice or forgotten.
pub fn check_calls(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let (mut in_flight_max, mut waiting_max) = (choices.below(6), choices.below(8));
    let mut calls = Calls::new(in_flight_max, waiting_max);
    let mut open = false;
    let mut conns: Vec<Model> = (0..CONNS).map(|_| Model::default()).collect();
    let mut beyond: VecDeque<usize> = VecDeque::new();
    let (mut in_flight, mut readers) = (0, VecDeque::new());
    while !choices.is_empty() {
        let conn = choices.below(CONNS);
        let waiting: usize = conns.iter().map(|conn| conn.waiting).sum();
        let free = if open { in_flight_max.saturating_sub(in_flight) } else { 0 };
        let room = (waiting_max + free).saturating_sub(waiting);
        assert_eq!((calls.room(), calls.waiting(), calls.in_flight()), (room, waiting, in_flight));
        let mut let_in = Vec::new();
        match choices.below(12) {
            0..3 => {
                let n = choices.below(6);
                let let_in = calls.arrive(conn as u64, n);
                let behind = conns[conn].beyond > 0;
                assert_eq!(let_in, if behind { 0 } else { n.min(room) });
                conns[conn].waiting += let_in;
                if choices.flip() {
                    calls.leave_beyond(conn as u64, n - let_in);
                    if n > let_in && !behind {
                        beyond.push_back(conn);
                    }
                    conns[conn].beyond += n - let_in;
                }
            }
            3..7 => {
                let unready = choices.below(2 * CONNS);
                let began = calls.begin(|conn| conn != unready as u64);
                if open && in_flight < in_flight_max {
                    // Only as far as one was found is anyone looked at.
                    let found = conns.iter().any(|conn| conn.waiting > 0 && !conn.aside);
                    assert!(began.is_none() || found);
                    if let Some(conn) = conns.get_mut(unready) {
                        let seen = began.is_none() && conn.waiting > 0;
                        conn.aside |= seen;
                    }
                    let ready =
                        |(at, conn): &(usize, &Model)| conn.waiting > 0 && !conn.aside && *at != unready;
                    assert_eq!(began.is_some(), conns.iter().enumerate().any(|each| ready(&each)));
                } else {
                    assert_eq!(began, None);
                }
                let Some(began) = began else { continue };
                let began = began as usize;
                in_flight += 1;
                conns[began].waiting -= 1;
                conns[began].passed = 0;
                // Nothing of it waits: it is read whatever others have waiting.
                if conns[began].waiting == 0 && conns[began].beyond == 0 && readers.contains(&began) {
                    let_in.push(began);
                }
                for (at, other) in conns.iter_mut().enumerate().filter(|(at, _)| *at != began) {
                    // It may have been seen, and set aside: then nobody expects it to go.
                    let counts = other.waiting > 0 && !other.aside && at != unready;
                    other.passed = if counts { other.passed + 1 } else { 0 };
                    assert!(other.passed <= CONNS, "each goes once before any goes again");
                }
                if unready < CONNS && conns[unready].waiting > 0 {
                    // Whether it was seen is not known from outside: make it known.
                    calls.resume(unready as u64);
                    conns[unready].aside = false;
                    conns[unready].passed = 0;
                }
            }
            7 if in_flight > 0 => {
                calls.done();
                in_flight -= 1;
            }
            8 => {
                calls.resume(conn as u64);
                conns[conn].aside = false;
            }
            9 => match choices.below(3) {
                0 => {
                    in_flight_max = choices.below(6);
                    calls.set_in_flight_max(in_flight_max);
                }
                1 => {
                    waiting_max = choices.below(8);
                    calls.set_waiting_max(waiting_max);
                }
                _ => {
                    open = choices.flip();
                    calls.set_open(open);
                }
            },
            10 => {
                calls.wait_to_read(conn as u64);
                if !readers.contains(&conn) {
                    readers.push_back(conn);
                }
            }
            11 if choices.below(4) == 0 => {
                calls.forget(conn as u64);
                conns[conn] = Model::default();
                beyond.retain(|&other| other != conn);
                readers.retain(|&other| other != conn);
            }
            _ => {}
        }
        // Room is for those beyond first, one of each in turn.
        loop {
            let waiting: usize = conns.iter().map(|conn| conn.waiting).sum();
            let free = if open { in_flight_max.saturating_sub(in_flight) } else { 0 };
            let Some(conn) = beyond.pop_front_if(|_| waiting < waiting_max + free) else { break };
            conns[conn].beyond -= 1;
            conns[conn].waiting += 1;
            match conns[conn].beyond {
                0 => let_in.push(conn),
                _ => beyond.push_back(conn),
            }
        }
        for (at, conn) in (0..).zip(&conns) {
            let none = conn.waiting == 0 && conn.beyond == 0;
            assert_eq!((calls.is_beyond(at), calls.has_none_waiting(at)), (conn.beyond > 0, none));
        }
        let woken = calls.room().min(readers.len());
        let expected: Vec<usize> = let_in.into_iter().chain(readers.drain(..woken)).collect();
        let mut named = Vec::new();
        calls.wake(|conn| {
            named.push(conn as usize);
            true
        });
        assert_eq!(named, expected);
    }
    assert_eq!((calls.in_flight_max(), calls.waiting_max()), (in_flight_max, waiting_max));
    match in_flight % 2 {
        0 => calls.give_up(),
        _ => (0..in_flight).for_each(|_| calls.done()),
    }
    for policy in [Overflow::Pause, Overflow::Reject] {
        assert_eq!(policy.name().parse(), Ok(policy));
        assert!(policy.name()[1..].parse::<Overflow>().is_err());
    }
    (0..CONNS).for_each(|conn| calls.forget(conn as u64));
    assert!(calls.is_empty(), "nothing is left");
}
