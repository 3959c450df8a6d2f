//! A sink that confirms and refuses when and in the order that the dice say.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::dice::Dice;
use crate::frame::Frame;
use crate::sinks::{Condition, Outcome, Put, Sink};

/// Names a frame: its publisher, and its place in the script.
pub type Name = (u64, u64);

/// What a sink has and had.
#[derive(Default)]
pub struct Shelf {
    /// Judges each frame alone.
    alone: bool,
    /// Refuses some, where it judges each alone.
    refuses: bool,
    room: usize,
    held: Vec<Put>,
    done: VecDeque<Outcome>,
    /// The last frame of each connection: they come in order.
    last: HashMap<u64, u64>,
    pub confirmed: HashSet<Name>,
    pub refused: HashSet<Name>,
}

impl Shelf {
    pub fn new(alone: bool, refuses: bool, room: usize) -> Shelf {
        Shelf { alone, refuses: alone && refuses, room, ..Shelf::default() }
    }

    /// Whether there is an outcome to collect.
    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Lets go of what it has given no word on.
    pub fn end(&mut self) {
        self.held.clear();
    }

    /// Gives its word on one put. Whether there was one.
    pub fn act(&mut self, dice: &mut Dice<'_>) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let put = self.held.swap_remove(dice.below(self.held.len()));
        let refused = self.refuses && dice.one_in(4);
        let said = if refused { &mut self.refused } else { &mut self.confirmed };
        each_name(&put, |name| assert!(said.insert(name), "2: {name:?} is put twice"));
        let refusal = refused.then(|| "no".into());
        self.done.push_back(Outcome { ticket: put.ticket, bytes: put.body.len(), refusal });
        true
    }
}

fn each_name(put: &Put, mut show: impl FnMut(Name)) {
    let bytes = put.body.bytes(0..put.body.len());
    let (mut rest, mut frames) = (&bytes[..], 0);
    while !rest.is_empty() {
        let frame = Frame::first_of(rest);
        show((frame.header.key, frame.header.id));
        rest = &rest[frame.bytes.len()..];
        frames += 1;
    }
    assert_eq!(frames, put.frames);
}

/// The gateway's side of it.
pub struct SimSink(pub Rc<RefCell<Shelf>>);

impl Sink for SimSink {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn judges_frames(&self) -> bool {
        self.0.borrow().alone
    }

    fn room(&self) -> usize {
        let shelf = self.0.borrow();
        shelf.room - shelf.held.len() - shelf.done.len()
    }

    fn put(&mut self, put: Put) {
        assert!(self.room() > 0, "5: there is no room for another put");
        let mut shelf = self.0.borrow_mut();
        assert!(!shelf.alone || put.frames == 1);
        let last = &mut shelf.last;
        each_name(&put, |(_, id)| {
            let before = last.insert(put.from, id);
            assert!(before.is_none_or(|before| before < id), "1: {id} is put after {before:?}");
        });
        shelf.held.push(put);
    }

    fn collect(&mut self) -> Option<Outcome> {
        self.0.borrow_mut().done.pop_front()
    }

    fn prepare_sleep(&mut self) -> bool {
        !self.0.borrow().has_done()
    }

    fn end_sleep(&mut self) {}

    fn condition(&self) -> Condition {
        Condition::default()
    }
}
