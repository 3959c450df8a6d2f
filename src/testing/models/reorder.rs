//! The reorder window, and the steps that may be overtaken by many, against a map of everything that has begun.

use std::collections::BTreeMap;

use super::choices::Choices;
use crate::core::reorder::{Reorder, Steps};

/// Items in a window at once; more finds nothing new.
const WINDOW: usize = 200;

/// What completes in any order is released in the order in which it began.
pub fn check_reorder(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut window = Reorder::default();
    // Sequence numbers between begin and release, and what completed.
    let mut model: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    let (mut begun, mut released) = (0, 0);
    while !choices.is_empty() {
        match choices.below(4) {
            0 if model.len() < WINDOW => {
                let seq = window.begin();
                assert_eq!(seq, begun, "numbers are taken in turn");
                model.insert(seq, None);
                begun += 1;
            }
            0 | 1 => {
                let open: Vec<u64> =
                    model.iter().filter(|(_, item)| item.is_none()).map(|(&seq, _)| seq).collect();
                if open.is_empty() {
                    continue;
                }
                let seq = open[choices.below(open.len())];
                window.insert(seq, seq);
                model.insert(seq, Some(seq));
            }
            2 => release(&mut window, &mut model, &mut released),
            _ => {
                let before = model.len();
                (0..before).for_each(|_| release(&mut window, &mut model, &mut released));
            }
        }
        assert_eq!((window.len(), window.is_empty()), (model.len(), model.is_empty()));
    }
    // What is still open completes, the last first, and then all of it comes out.
    for (&seq, item) in model.iter_mut().rev().filter(|(_, item)| item.is_none()) {
        window.insert(seq, seq);
        *item = Some(seq);
    }
    while !model.is_empty() {
        release(&mut window, &mut model, &mut released);
    }
    assert!(window.is_empty() && released == begun);
    check_steps(data);
}

/// A step between its beginning and its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Held,
    Done,
}

/// The same of steps, most of which have nothing to release; and those take no room.
fn check_steps(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut steps = Steps::default();
    let mut model: BTreeMap<u64, State> = BTreeMap::new();
    let mut begun = 0;
    while !choices.is_empty() {
        match choices.below(4) {
            0 if model.len() < WINDOW => {
                assert_eq!(steps.begin(), begun, "numbers are taken in turn");
                model.insert(begun, State::Open);
                begun += 1;
            }
            0..3 => {
                let open: Vec<u64> =
                    model.iter().filter(|(_, state)| **state == State::Open).map(|(&seq, _)| seq).collect();
                if open.is_empty() {
                    continue;
                }
                let seq = open[choices.below(open.len())];
                let is_held = choices.below(4) == 0;
                model.insert(seq, if is_held { State::Held } else { State::Done });
                if is_held { steps.hold(seq, seq) } else { steps.done(seq) }
            }
            _ => release_step(&mut steps, &mut model),
        }
        while model.first_key_value().is_some_and(|(_, state)| *state == State::Done) {
            model.pop_first();
        }
        assert_eq!(steps.is_empty(), model.is_empty());
        assert!(model.first_key_value().is_none_or(|(&first, _)| steps.is_next(first)));
        let count = |state| model.values().filter(|other| **other == state).count();
        assert!(steps.entries() <= count(State::Open) + 2 * count(State::Held), "what is done is runs");
    }
    let open: Vec<u64> = model.keys().rev().copied().collect();
    for seq in open {
        if model[&seq] == State::Open {
            steps.done(seq);
            model.insert(seq, State::Done);
        }
    }
    while !model.is_empty() {
        release_step(&mut steps, &mut model);
    }
    assert!(steps.is_empty() && steps.entries() == 0);
}

fn release_step(steps: &mut Steps<u64>, model: &mut BTreeMap<u64, State>) {
    while model.first_key_value().is_some_and(|(_, state)| *state == State::Done) {
        model.pop_first();
    }
    let held = model.first_key_value().is_some_and(|(_, state)| *state == State::Held);
    let expected = if held { model.pop_first().map(|(seq, _)| seq) } else { None };
    assert_eq!(steps.release(), expected);
}

fn release(window: &mut Reorder<u64>, model: &mut BTreeMap<u64, Option<u64>>, released: &mut u64) {
    let expected = match model.first_key_value() {
        Some((&seq, &Some(item))) => {
            model.remove(&seq);
            Some(item)
        }
        _ => None,
    };
    let item = window.release();
    assert_eq!(item, expected);
    if let Some(item) = item {
        assert_eq!(item, *released, "none is left out, none comes twice");
        *released += 1;
    }
}
