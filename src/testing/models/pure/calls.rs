//! The calls of many connections against a list of them all.

use std::collections::VecDeque;

use super::choices::Choices;
use crate::core::call_queue::{Calls, Overflow};
use crate::core::limits::FRESH_TURNS;

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

/// All connections, and the line of those with calls beyond the bound.
struct Models {
    conns: Vec<Model>,
    beyond: VecDeque<usize>,
    in_flight: usize,
    in_flight_max: usize,
    waiting_max: usize,
    open: bool,
}

impl Models {
    fn waiting(&self) -> usize {
        self.conns.iter().map(|conn| conn.waiting).sum()
    }

    fn room(&self) -> usize {
        let free = if self.open { self.in_flight_max.saturating_sub(self.in_flight) } else { 0 };
        (self.waiting_max + free).saturating_sub(self.waiting())
    }

    /// One call of each in turn of those beyond that are not aside. Adds those all of whose calls are let in.
    fn let_in_beyond(&mut self, let_in: &mut Vec<usize>) {
        while self.room() > 0
            && let Some(at) = self.beyond.pop_front()
        {
            let conn = &mut self.conns[at];
            if conn.aside {
                continue;
            }
            conn.beyond -= 1;
            conn.waiting += 1;
            match conn.beyond {
                0 => let_in.push(at),
                _ => self.beyond.push_back(at),
            }
        }
    }

    fn line_up(&mut self, at: usize) {
        if !self.beyond.contains(&at) {
            self.beyond.push_back(at);
        }
    }
}

/// As many are let in as the bounds say, each connection goes once before any goes again, a connection that waits
/// to be let in or read is in time, and nothing is counted twice or forgotten.
pub fn check_calls(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let (in_flight_max, waiting_max) = (choices.below(6), choices.below(8));
    let mut calls = Calls::new(in_flight_max, waiting_max);
    let conns = (0..CONNS).map(|_| Model::default()).collect();
    let beyond = VecDeque::new();
    let mut models = Models { conns, beyond, in_flight: 0, in_flight_max, waiting_max, open: false };
    let mut readers = VecDeque::new();
    while !choices.is_empty() {
        let at = choices.below(CONNS);
        let room = models.room();
        let expected = (room, models.waiting(), models.in_flight);
        assert_eq!((calls.room(), calls.waiting(), calls.in_flight()), expected);
        assert_eq!(calls.set_aside(), models.conns.iter().map(|conn| conn.beyond).sum::<usize>());
        let mut let_in = Vec::new();
        match choices.below(12) {
            0..3 => {
                let n = choices.below(6);
                let admitted = calls.arrive(at as u64, n);
                let conn = &mut models.conns[at];
                let is_behind = conn.beyond > 0 && !conn.aside;
                assert_eq!(admitted, if is_behind { 0 } else { n.min(room) });
                *if conn.aside { &mut conn.beyond } else { &mut conn.waiting } += admitted;
                if choices.flip() {
                    calls.leave_beyond(at as u64, n - admitted);
                    models.conns[at].beyond += n - admitted;
                    if n > admitted && !models.conns[at].aside {
                        models.line_up(at);
                    }
                }
            }
            3..7 => {
                let unready = choices.below(2 * CONNS);
                let mut seen = false;
                let began = calls.begin(|conn| {
                    seen |= conn == unready as u64;
                    conn != unready as u64
                });
                if seen {
                    // What it has waiting takes nobody's room.
                    let conn = &mut models.conns[unready];
                    assert!(conn.waiting > 0 && !conn.aside, "only one of the ring is looked at");
                    conn.aside = true;
                    conn.beyond += std::mem::take(&mut conn.waiting);
                    conn.passed = 0;
                    models.let_in_beyond(&mut let_in);
                }
                let may = models.open && models.in_flight < models.in_flight_max;
                let is_ready = |(at, conn): (usize, &Model)| conn.waiting > 0 && at != unready;
                assert_eq!(began.is_some(), may && models.conns.iter().enumerate().any(is_ready));
                assert!(may || !seen);
                let Some(began) = began else { continue };
                let began = began as usize;
                models.in_flight += 1;
                let conn = &mut models.conns[began];
                conn.waiting -= 1;
                conn.passed = 0;
                // Nothing of it waits: it is read whatever others have waiting.
                let is_done = conn.waiting == 0 && conn.beyond == 0;
                if is_done && readers.contains(&began) && !let_in.contains(&began) {
                    let_in.push(began);
                }
                for (at, other) in models.conns.iter_mut().enumerate() {
                    other.passed = if other.waiting > 0 && at != began { other.passed + 1 } else { 0 };
                    // Between two of the ring there may be fresh ones.
                    assert!(
                        other.passed <= (1 + FRESH_TURNS) * CONNS,
                        "each goes once before any goes again"
                    );
                }
            }
            7 if models.in_flight > 0 => {
                calls.done();
                models.in_flight -= 1;
            }
            8 => {
                calls.resume(at as u64);
                if std::mem::take(&mut models.conns[at].aside) {
                    models.line_up(at);
                }
            }
            9 => match choices.below(3) {
                0 => {
                    models.in_flight_max = choices.below(6);
                    calls.set_in_flight_max(models.in_flight_max);
                }
                1 => {
                    models.waiting_max = choices.below(8);
                    calls.set_waiting_max(models.waiting_max);
                }
                _ => {
                    models.open = choices.flip();
                    calls.set_open(models.open);
                }
            },
            10 => {
                calls.wait_to_read(at as u64);
                if !readers.contains(&at) && !models.conns[at].aside {
                    readers.push_back(at);
                }
            }
            11 if choices.below(4) == 0 => {
                calls.forget(at as u64);
                models.conns[at] = Model::default();
                models.beyond.retain(|&other| other != at);
                readers.retain(|&other| other != at);
            }
            _ => {}
        }
        // Room is for those beyond first.
        models.let_in_beyond(&mut let_in);
        for (at, conn) in (0..).zip(&models.conns) {
            let none = conn.waiting == 0 && conn.beyond == 0;
            assert_eq!((calls.is_beyond(at), calls.has_none_waiting(at)), (conn.beyond > 0, none));
        }
        let coming = choices.below(3);
        let mut expected = let_in;
        let mut room = calls.room().saturating_sub(coming);
        while room > 0
            && let Some(at) = readers.pop_front()
        {
            // One that was set aside meanwhile is woken when its calls were let in.
            if !models.conns[at].aside {
                expected.push(at);
                room -= 1;
            }
        }
        let mut named = Vec::new();
        calls.wake(coming, |conn| {
            named.push(conn as usize);
            true
        });
        assert_eq!(named, expected);
    }
    let Models { in_flight, in_flight_max, waiting_max, .. } = models;
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
