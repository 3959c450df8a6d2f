//! The deduplication window against a list that is looked through.

use std::time::{Duration, Instant};

use super::Choices;
use crate::core::limits::{DEDUP_ENTRY, DEDUP_SHARE};
use crate::gateway::acks::dedup::Dedup;
use crate::gateway::acks::sink_set::SinkSet;
use crate::wire::DIGEST;

const WINDOW: Duration = Duration::from_secs(10);

/// More choices find nothing new, and slow the search.
const CHOICES_MAX: usize = 1000;

/// Names of digests: few, so that they come again.
const NAMES: u8 = 12;

/// What was accepted and not forgotten: when, which digest, and which sinks have it. The oldest first; of those with
/// the same instant the one that came first.
type List = Vec<(Instant, u8, SinkSet)>;

/// What is remembered is what a list says that is looked through: within the window, within the bound, and again
/// after it was forgotten.
pub fn check_dedup(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let memory = |digests: usize| digests * DEDUP_SHARE * DEDUP_ENTRY;
    let mut max = 1 + choices.below(8);
    let mut dedup = Dedup::new(WINDOW, memory(max));
    let mut model = List::new();
    let (start, mut early, mut lost) = (Instant::now() + 2 * WINDOW, 0, None);
    let mut now = start;
    while !choices.is_empty() {
        let name = choices.below(NAMES.into()) as u8;
        let digest = [name; DIGEST];
        let done =
            *[SinkSet::ALL, SinkSet::NONE, SinkSet::one(0)].get(choices.below(3)).expect("one of three");
        match choices.below(8) {
            kind @ 0..4 => {
                let at = if kind == 0 { now - Duration::from_secs(choices.below(12) as u64) } else { now };
                match kind {
                    0 => dedup.remember(digest, done, at),
                    _ => {
                        model.retain(|&(at, ..)| now < at + WINDOW);
                        dedup.accept(digest, done, at);
                    }
                }
                model.retain(|&(_, held, _)| held != name);
                let mut has_room = true;
                for _ in 0..2 {
                    if has_room && model.len() >= max {
                        early += 1;
                        lost = lost.max(Some(model[0].0.min(at)));
                        has_room = model[0].0 <= at;
                        if has_room {
                            model.remove(0);
                        }
                    }
                }
                let place = model.iter().take_while(|(held, ..)| *held <= at).count();
                if has_room {
                    model.insert(place, (at, name, done));
                }
            }
            4 => {
                dedup.forget(&digest);
                model.retain(|&(_, held, _)| held != name);
            }
            5 => {
                dedup.set_done(&digest, done);
                model.iter_mut().filter(|(_, held, _)| *held == name).for_each(|(.., held)| *held = done);
            }
            6 => now += Duration::from_secs(choices.below(12) as u64),
            _ => {
                max = 1 + choices.below(8);
                dedup.set_memory(memory(max));
            }
        }
        assert_eq!((dedup.len(), dedup.max(), dedup.forgotten_early()), (model.len(), max, early));
        assert_eq!(dedup.is_full(), model.len() >= max);
        let reach = lost.map_or(WINDOW, |at: Instant| now.saturating_duration_since(at).min(WINDOW));
        assert_eq!(dedup.reach(now), reach);
        if choices.flip() {
            model.retain(|&(at, ..)| now < at + WINDOW);
            // All of them at the end.
            let names = if choices.is_empty() { 0..NAMES } else { name..name + 2 };
            for name in names {
                let known = model.iter().find(|(_, held, _)| *held == name).map(|(.., done)| *done);
                assert_eq!(dedup.find(&[name; DIGEST], now), known, "digest {name}");
            }
        }
    }
}
