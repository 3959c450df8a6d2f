//! A sink of a simulated fleet.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::super::rng::SimRng;
use crate::sinks::{Condition, Outcome, Put, Sink};
use crate::testing::heap;
use crate::wire::Frame;

/// A sink that gives its word when chance has it.
#[derive(Default)]
pub(super) struct SinkState {
    held: VecDeque<Put>,
    pub done: VecDeque<Outcome>,
    pub confirmed: BTreeSet<u64>,
    pub refuses: bool,
}

impl SinkState {
    pub fn act(&mut self, rng: &mut SimRng<'_>) -> bool {
        let _scope = heap::world();
        if self.held.is_empty() {
            return false;
        }
        let put = self.held.remove(rng.below(self.held.len())).expect("it is there");
        let refusal = (self.refuses && rng.one_in(6)).then(|| Box::from("full"));
        if refusal.is_none() {
            let bytes: Vec<u8> = put.body.slices().flatten().copied().collect();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let frame = Frame::first_of(rest);
                self.confirmed.insert(frame.header.key);
                rest = &rest[frame.bytes.len()..];
            }
        }
        self.done.push_back(Outcome { ticket: put.ticket, bytes: put.body.len(), refusal });
        true
    }
}

pub(super) struct SimSink(pub Rc<RefCell<SinkState>>);

impl Sink for SimSink {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn judges_frames(&self) -> bool {
        false
    }

    fn room(&self) -> usize {
        50 - self.0.borrow().held.len().min(50)
    }

    fn put(&mut self, put: Put) {
        let _scope = heap::world();
        self.0.borrow_mut().held.push_back(put);
    }

    fn collect(&mut self) -> Option<Outcome> {
        self.0.borrow_mut().done.pop_front()
    }

    fn prepare_sleep(&mut self) -> bool {
        self.0.borrow().done.is_empty()
    }

    fn end_sleep(&mut self) {}

    fn condition(&self) -> Condition {
        Condition::default()
    }
}
