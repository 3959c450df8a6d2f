//! The reorder window against a map of everything that has begun.

use std::collections::BTreeMap;

use super::choices::Choices;
use crate::order::Reorder;

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
