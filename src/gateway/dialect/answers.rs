//! What is written back to one peer, in the order of its frames.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use crate::core::memory::Buffer;
use crate::wire::layout::{Converted, Outcome, Said};

/// Answers to frames whose turn has come, from the first that is not decided.
///
/// Published frames are numbered from 1. Their answers wait until the gateway has said what became of them; those to
/// other frames only for what comes before them.
#[derive(Default)]
pub struct Answers {
    runs: VecDeque<RunAnswers>,
    /// Published frames in all runs so far.
    published: u64,
    /// What handlers wrote, by the frames' numbers.
    written: VecDeque<(u64, Buffer)>,
}

/// Those to the frames of one run.
struct RunAnswers {
    converted: Converted,
    /// Published frames of the connection before it.
    before: u64,
    /// Its frames that are answered, and how many of them were published.
    done: usize,
    done_published: u64,
}

impl Answers {
    /// A run's turn has come, `frames` of it are published. The number of the first.
    pub fn begin(&mut self, converted: Converted, frames: u32) -> NonZeroU64 {
        let before = self.published;
        self.published += u64::from(frames);
        self.runs.push_back(RunAnswers { converted, before, done: 0, done_published: 0 });
        NonZeroU64::MIN.saturating_add(before)
    }

    /// What the gateway says of a published frame.
    pub fn say(&mut self, number: NonZeroU64, said: Said) {
        let index = number.get() - 1;
        let at = self.runs.partition_point(|run| run.before <= index);
        let Some(run) = at.checked_sub(1).and_then(|at| self.runs.get_mut(at)) else { return };
        // Nearly always it is the first that is not decided.
        let Some(behind) = index.checked_sub(run.before + run.done_published) else { return };
        let mut open =
            run.converted.fates[run.done..].iter_mut().filter(|fate| fate.outcome == Outcome::Published);
        if let Some(fate) = open.nth(behind as usize) {
            fate.said = said;
        }
    }

    /// What a handler wrote for a published frame.
    pub fn say_other(&mut self, number: NonZeroU64, bytes: Buffer) {
        let at = self.written.partition_point(|(before, _)| *before < number.get());
        self.written.insert(at, (number.get(), bytes));
        self.say(number, Said::Other);
    }

    /// Takes what is decided and waits for nothing before it.
    pub fn ready(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(run) = self.runs.front_mut() {
            while let Some(fate) = run.converted.fates.get(run.done) {
                match (fate.outcome, fate.said) {
                    (Outcome::Published, Said::Nothing) => return bytes,
                    (Outcome::Published, Said::Ok) | (Outcome::Taken, _) => {
                        bytes.extend_from_slice(run.converted.reply(fate));
                    }
                    (Outcome::Published, Said::Other) => {
                        let written = self.written.pop_front();
                        bytes.extend_from_slice(written.as_ref().map_or(&[], |(_, written)| written));
                    }
                    (Outcome::Published, Said::Refused) | (Outcome::BadCheck | Outcome::Refused(_), _) => {
                        bytes.extend_from_slice(run.converted.refusal(fate));
                    }
                }
                run.done_published += u64::from(fate.outcome == Outcome::Published);
                run.done += 1;
            }
            self.runs.pop_front();
        }
        bytes
    }
}
