//! What is written back to one peer, in the order of its frames.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use crate::core::memory::Buffer;
use crate::wire::layout::{Converted, Outcome, Said};

/// Answers to frames whose turn has come, from the first that is not decided. Who waits for none has none of it.
///
/// Published frames are numbered from 1. Their answers wait until the gateway has said what became of them; those to
/// other frames only for what comes before them.
#[derive(Default)]
pub struct Answers {
    runs: VecDeque<RunAnswers>,
    /// What handlers wrote, by the frames' numbers.
    written: VecDeque<(u64, Buffer)>,
}

/// Those to the frames of one run.
///
/// Published frames are mostly decided one after the other, many before any answer is taken: the last one is remembered,
/// so that the next is not counted from the first.
struct RunAnswers {
    converted: Converted,
    /// Published frames of the connection before it.
    before: u64,
    /// Its frames that are answered, and how many of them were published.
    done: usize,
    done_published: u64,
    /// Behind the frame that was decided last, and how many are published before that.
    said: usize,
    said_published: u64,
    /// How many frames were looked at to find those that were decided.
    #[cfg(test)]
    looked: u64,
}

impl Answers {
    /// A run's turn has come, behind so many published frames of the connection.
    pub fn begin(&mut self, converted: Converted, before: u64) {
        self.runs.push_back(RunAnswers {
            converted,
            before,
            done: 0,
            done_published: 0,
            said: 0,
            said_published: 0,
            #[cfg(test)]
            looked: 0,
        });
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.written.is_empty()
    }

    /// What the gateway says of a published frame.
    pub fn say(&mut self, number: NonZeroU64, said: Said) {
        let index = number.get() - 1;
        let at = self.runs.partition_point(|run| run.before <= index);
        let Some(run) = at.checked_sub(1).and_then(|at| self.runs.get_mut(at)) else { return };
        run.say(index - run.before, said);
    }

    /// What a handler wrote for a published frame: as its reply, or where it refused it. Of one that is refused the
    /// refusal of the layout is sent, if that declares one.
    pub fn say_written(&mut self, number: NonZeroU64, said: Said, bytes: Buffer) {
        let at = self.written.partition_point(|(before, _)| *before < number.get());
        self.written.insert(at, (number.get(), bytes));
        self.say(number, said);
    }

    /// Takes what is decided and waits for nothing before it.
    pub fn ready(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(run) = self.runs.front_mut() {
            while let Some(fate) = run.converted.fates.get(run.done) {
                match (fate.outcome, fate.said) {
                    (Outcome::Published, Said::Nothing) => return bytes,
                    (Outcome::Published, Said::Ok) | (Outcome::Accepted, _) => {
                        bytes.extend_from_slice(run.converted.reply(fate));
                    }
                    (Outcome::Published, Said::Other | Said::Refused) => {
                        let number = run.before + run.done_published + 1;
                        let written = self.written.pop_front_if(|(of, _)| *of == number);
                        let written = written.as_ref().map_or(&[][..], |(_, written)| written);
                        let refusal = run.converted.refusal(fate);
                        let is_declared = fate.said == Said::Refused && !refusal.is_empty();
                        bytes.extend_from_slice(if is_declared { refusal } else { written });
                    }
                    (Outcome::BadCheck | Outcome::Refused(_), _) => {
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

impl RunAnswers {
    /// What the gateway says of a published frame, counted from the first of the run.
    fn say(&mut self, index: u64, said: Said) {
        if index < self.done_published {
            return;
        }
        let is_behind = index >= self.said_published && self.said >= self.done;
        let (from, before) =
            if is_behind { (self.said, self.said_published) } else { (self.done, self.done_published) };
        let fates = self.converted.fates.iter_mut().enumerate().skip(from);
        #[cfg(test)]
        let fates = fates.inspect(|_| self.looked += 1);
        let mut published = fates.filter(|(_, fate)| fate.outcome == Outcome::Published);
        let Some((at, fate)) = published.nth((index - before) as usize) else { return };
        fate.said = said;
        (self.said, self.said_published) = (at + 1, index + 1);
    }
}

#[cfg(all(test, feature = "layouts"))]
mod tests {
    use super::*;
    use crate::core::memory::{Memory, Share};
    use crate::wire::Scheme;
    use crate::wire::layout::{Kept, Layouts, Run, Spot};

    /// A run of frames of two bytes, a number and its complement: where that is wrong, the frame is refused. Each is
    /// answered with its number.
    fn run(frames: &[[u8; 2]]) -> (Converted, u32) {
        run_of("refuse = \"FF\"", frames)
    }

    fn run_of(refuse: &str, frames: &[[u8; 2]]) -> (Converted, u32) {
        let text = "[layout.a]\ntopic = \"a\"\nsize = 2\nnumber = \"bytes 0..1\"\nreply = \"{number}\"\n\
                    check = { is = \"xor-8\", over = \"0..1\", at = \"u8 @ 1\" }\n";
        let (layouts, _) = Layouts::parse(&format!("{text}{refuse}\n"), "test").expect("it is right");
        let layout = layouts.get("a").expect("it is declared").clone();
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let spot = |at: usize| Spot { start: 2 * at as u32, end: 2 * at as u32 + 2, shape: 0 };
        let room = memory.charge(Share::Small, layout.room(frames.len(), 2 * frames.len()));
        let buffer = Buffer::charged(&memory, frames.concat().into());
        let spots = (0..frames.len()).map(spot).collect();
        let converted = Run { layout, buffer, frames: spots, kept: Kept::default(), room }
            .convert(&Scheme::Sha256, &memory);
        let published = converted.native.as_ref().map_or(0, |native| native.frames());
        (converted, published)
    }

    #[test]
    fn answers_leave_in_the_order_of_the_frames_whatever_is_decided_first() {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            let mut answers = Answers::default();
            let (converted, published) = run(&[[1, 1], [2, 0], [3, 3], [4, 4], [5, 0], [6, 6]]);
            assert_eq!(published, 4);
            answers.begin(converted, 0);
            let mut got = answers.ready();
            for index in order {
                let said = if index == 2 { Said::Refused } else { Said::Ok };
                answers.say(NonZeroU64::MIN.saturating_add(index), said);
                got.extend(answers.ready());
            }
            assert_eq!(got, [1, 0xff, 3, 0xff, 0xff, 6], "{order:?}");
        }
    }

    #[test]
    fn what_a_handler_writes_goes_out_unless_it_refuses_and_a_refusal_is_declared() {
        let number = |n| NonZeroU64::new(n).expect("it counts from 1");
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let written = |bytes: &[u8]| Buffer::charged(&memory, bytes.into());
        let frames = [[1, 1], [2, 2], [3, 3], [4, 4]];
        for (refuse, expected) in [("refuse = \"FF\"", &[7, 0xff, 3, 9][..]), ("", &[7, 8, 3, 9])] {
            let mut answers = Answers::default();
            answers.begin(run_of(refuse, &frames).0, 0);
            answers.say_written(number(4), Said::Other, written(&[9]));
            answers.say_written(number(2), Said::Refused, written(&[8]));
            answers.say(number(3), Said::Ok);
            assert_eq!(answers.ready(), [0; 0]);
            answers.say_written(number(1), Said::Other, written(&[7]));
            assert_eq!(answers.ready(), expected, "{refuse}");
            assert!(answers.is_empty());
        }
    }

    #[test]
    fn to_find_a_frame_takes_no_longer_for_many() {
        let frames: Vec<[u8; 2]> = (0..2_000).map(|n| [n as u8, n as u8 ^ u8::from(n % 5 == 0)]).collect();
        let (converted, published) = run(&frames);
        let mut answers = Answers::default();
        answers.begin(converted, 0);
        (0..u64::from(published))
            .for_each(|index| answers.say(NonZeroU64::MIN.saturating_add(index), Said::Ok));
        // Each once.
        assert_eq!(answers.runs[0].looked, frames.len() as u64);
        assert_eq!(answers.ready().len(), frames.len());
    }
}
