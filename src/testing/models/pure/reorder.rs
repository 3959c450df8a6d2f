//! The reorder window, and the steps that may be overtaken by many, against a list of everything that has begun.

use std::collections::VecDeque;

use super::choices::Choices;
use crate::core::reorder::{Reorder, Steps};

/// Choices, and items in a window at once: more find nothing new, and slow the search.
const CHOICES_MAX: usize = 200;
const WINDOW: usize = 60;

/// What completes in any order is released in the order in which it began.
pub fn check_reorder(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let mut window = Reorder::default();
    // Whether each is complete, of those between begin and release; and the numbers of those that are not.
    let mut model: VecDeque<bool> = VecDeque::new();
    let mut open: Vec<u64> = Vec::new();
    let mut released = 0;
    while !choices.is_empty() {
        match choices.below(4) {
            0 if model.len() < WINDOW => {
                let seq = window.begin();
                assert_eq!(seq, released + model.len() as u64, "numbers are taken in turn");
                model.push_back(false);
                open.push(seq);
            }
            0 | 1 => {
                if !open.is_empty() {
                    let seq = open.remove(choices.below(open.len()));
                    window.insert(seq, seq);
                    model[(seq - released) as usize] = true;
                }
            }
            2 => {
                release(&mut window, &mut model, &mut released);
            }
            _ => while release(&mut window, &mut model, &mut released) {},
        }
        assert_eq!((window.len(), window.is_empty()), (model.len(), model.is_empty()));
        assert!(window.is_next(released) && !window.is_next(released + 1));
    }
    // What is still open completes, the last first, and then all of it comes out.
    for seq in open.into_iter().rev() {
        window.insert(seq, seq);
        model[(seq - released) as usize] = true;
    }
    while !model.is_empty() {
        release(&mut window, &mut model, &mut released);
    }
    assert!(window.is_empty());
}

/// Whether there was one.
fn release(window: &mut Reorder<u64>, model: &mut VecDeque<bool>, released: &mut u64) -> bool {
    let expected = model.pop_front_if(|is_complete| *is_complete).map(|_| *released);
    assert_eq!(window.release(), expected, "none is left out, none comes twice");
    *released += u64::from(expected.is_some());
    expected.is_some()
}

/// A step between its beginning and its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Held,
    Done,
}

/// Steps as a list.
#[derive(Default)]
struct List {
    /// The number of the first.
    first: u64,
    states: VecDeque<State>,
    open: Vec<u64>,
    held: usize,
}

impl List {
    fn end(&mut self, seq: u64, state: State) {
        self.states[(seq - self.first) as usize] = state;
        self.held += usize::from(state == State::Held);
    }

    /// What is done goes as soon as it is the first.
    fn pop_done(&mut self) {
        while self.states.pop_front_if(|state| *state == State::Done).is_some() {
            self.first += 1;
        }
    }

    fn release(&mut self) -> Option<u64> {
        self.pop_done();
        self.states.pop_front_if(|state| *state == State::Held)?;
        (self.first, self.held) = (self.first + 1, self.held - 1);
        Some(self.first - 1)
    }
}

/// The same of steps, most of which have nothing to release; and those take no room.
pub fn check_steps(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let mut steps = Steps::default();
    let mut model = List::default();
    while !choices.is_empty() {
        match choices.below(4) {
            0 if model.states.len() < WINDOW => {
                let seq = model.first + model.states.len() as u64;
                assert_eq!(steps.begin(), seq, "numbers are taken in turn");
                model.states.push_back(State::Open);
                model.open.push(seq);
            }
            0..3 => {
                if !model.open.is_empty() {
                    let seq = model.open.remove(choices.below(model.open.len()));
                    let is_held = choices.below(4) == 0;
                    model.end(seq, if is_held { State::Held } else { State::Done });
                    if is_held { steps.hold(seq, seq) } else { steps.done(seq) }
                }
            }
            _ => assert_eq!(steps.release(), model.release()),
        }
        model.pop_done();
        assert_eq!(steps.is_empty(), model.states.is_empty());
        assert!(model.states.is_empty() || steps.is_next(model.first));
        assert!(steps.entries() <= model.open.len() + 2 * model.held, "what is done is runs");
    }
    for seq in std::mem::take(&mut model.open).into_iter().rev() {
        steps.done(seq);
        model.end(seq, State::Done);
    }
    while !model.states.is_empty() {
        assert_eq!(steps.release(), model.release());
    }
    assert!(steps.is_empty() && steps.entries() == 0);
}
