//! Verifying beside the reactor: the only room that starts workers.

mod idle;
mod threads;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{iter, mem};

use serde::Serialize;

use crate::core::limits::{LANE_PIECE, PAIRED_FRAMES, PIECE};
use crate::core::memory::Memory;
use crate::runtime::handler::{Performed, Task};
use crate::runtime::tls::Handshake;
use crate::wire::layout::{Converted, LargeRun, LargeStep, Run};
use crate::wire::{Batch, Draft, Piecewise, Scheme, Verified, verify, verify_together};

pub use threads::Threads;

/// The threads that verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkersUse {
    /// How many there are to be.
    pub threads: usize,
    /// Time that all of them together were busy since the start.
    #[serde(rename = "busy_seconds", serialize_with = "crate::core::units::serialize_seconds")]
    pub busy: Duration,
}

/// Where verdicts come from. [`Threads`] is the real one; the simulator has another.
pub trait Pool {
    /// Hands work over. The caller keeps at most [`JOBS`](crate::core::limits::JOBS) jobs submitted and not
    /// collected, so there is always room.
    fn submit(&mut self, job: Job);

    /// A job that is done, in any order.
    fn collect(&mut self) -> Option<Done>;

    /// Does one of the jobs that wait on this thread, if more of them wait than there are workers. False if
    /// the workers can keep up.
    fn help(&mut self) -> bool;

    /// Called before a sleep: from now on, a job that gets done wakes the reactor. Whether there is
    /// nothing to collect already.
    fn prepare_sleep(&mut self) -> bool;

    /// Called after a sleep.
    fn end_sleep(&mut self);

    /// How many workers there are to be.
    fn workers(&self) -> usize;

    /// Changes how many there are to be, at least 1: more are started at once, the surplus end as they
    /// become idle.
    fn set_workers(&mut self, workers: usize) -> io::Result<()>;

    /// How busy they were until `now`.
    fn usage(&self, now: Instant) -> WorkersUse;

    /// Why some job will never be done, if that is so: a worker panicked. The gateway ends with that, since the
    /// connection that the job is of would stand still for ever; so it must have woken the reactor.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// Work for a worker.
#[derive(Debug)]
pub struct Job {
    /// Whose it is.
    pub ticket: Ticket,
    /// What is to be verified.
    pub work: Work,
}

/// Who asked for a job. The pool only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection's key.
    pub conn: u64,
    /// The number of the batch or large frame in its connection.
    pub number: u64,
    /// When it was submitted.
    pub since: Instant,
}

/// What is to be verified.
#[derive(Debug)]
pub enum Work {
    /// All digests of a batch.
    Batch(Batch),
    /// The next piece of a large frame.
    Piece(Box<Piecewise>),
    /// All digests of what a handler wrote, which knows no secret.
    Answers(Batch),
    /// The next piece of a frame that is made here.
    Draft(Box<Draft>),
    /// A call of a handler in Rust.
    Call(Box<Task>),
    /// Foreign frames become native ones, in this memory.
    Run(Box<Run>, Arc<Memory>),
    /// The next piece of a large foreign frame.
    LargeRun(Box<LargeRun>),
    /// The next step of a TLS handshake.
    Handshake(Box<Handshake>),
}

/// A job that is done.
#[derive(Debug)]
pub struct Done {
    /// As it was submitted.
    pub ticket: Ticket,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether it was hashed beside another job.
    pub paired: bool,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// A batch's verdict.
    Batch(Verified),
    /// The large frame, a piece further.
    Piece(Box<Piecewise>),
    /// The verdict on what a handler wrote.
    Answers(Verified),
    /// The frame that is made here, a piece further.
    Draft(Box<Draft>),
    /// What the handler in Rust answered.
    Call(Performed),
    /// Foreign frames that were verified.
    Run(Box<Converted>),
    /// The large foreign frame, a piece further.
    LargeRun(Box<LargeRun>),
    /// The handshake, a step further.
    Handshake(Box<Handshake>),
}

/// Jobs that wait.
pub(crate) trait Waiting {
    /// How many wait that may be like this one; others may take them meanwhile.
    fn count(&self, like: &Work) -> usize;

    /// Takes one of them.
    fn take(&mut self, like: &Work) -> Option<Job>;
}

/// Does a job, and beside it others that wait, where several cost little more than one: hashing two streams takes as long as
/// hashing the longer of them.
pub(crate) fn perform(job: Job, waiting: &mut impl Waiting, scheme: &Scheme, done: impl FnMut(Done)) {
    let others = job.work.others(waiting, Piecewise::together());
    perform_together(job, others, scheme, done);
}

fn perform_together(job: Job, others: Vec<Job>, scheme: &Scheme, mut done: impl FnMut(Done)) {
    let mut push = |ticket, outcome, paired| done(Done { ticket, outcome, paired });
    if others.is_empty() {
        return push(job.ticket, job.work.alone(scheme), false);
    }
    let (mut batches, mut pieces) = (Vec::new(), Vec::new());
    for Job { ticket, work } in iter::once(job).chain(others) {
        match work {
            Work::Batch(batch) => batches.push((ticket, batch)),
            Work::Piece(large) => pieces.push((ticket, large)),
            work => push(ticket, work.alone(scheme), false),
        }
    }
    let (tickets, batches): (Vec<Ticket>, Vec<Batch>) = batches.into_iter().unzip();
    let paired = batches.len() > 1;
    let verified = verify_together(batches, scheme);
    tickets.into_iter().zip(verified).for_each(|(ticket, batch)| push(ticket, Outcome::Batch(batch), paired));
    let each = if pieces.len() > 2 { LANE_PIECE } else { PIECE };
    let mut frames: Vec<&mut Piecewise> = pieces.iter_mut().map(|(_, large)| &mut **large).collect();
    Piecewise::hash_together(&mut frames, each);
    let paired = pieces.len() > 1;
    pieces.into_iter().for_each(|(ticket, large)| push(ticket, Outcome::Piece(large), paired));
}

impl Work {
    fn alone(self, scheme: &Scheme) -> Outcome {
        match self {
            Work::Batch(batch) => Outcome::Batch(verify(batch, scheme)),
            Work::Piece(mut large) => {
                large.hash(PIECE);
                Outcome::Piece(large)
            }
            Work::Answers(batch) => Outcome::Answers(verify(batch, &Scheme::Sha256)),
            Work::Draft(mut draft) => {
                draft.hash(PIECE);
                Outcome::Draft(draft)
            }
            Work::Call(task) => Outcome::Call(task.perform(scheme)),
            Work::Run(run, memory) => Outcome::Run(Box::new(run.convert(scheme, &memory))),
            Work::LargeRun(large) => match large.go_on(scheme) {
                LargeStep::Done(converted) => Outcome::Run(converted),
                LargeStep::More(large) => Outcome::LargeRun(large),
            },
            Work::Handshake(mut handshake) => {
                handshake.go_on();
                Outcome::Handshake(handshake)
            }
        }
    }

    /// Those that wait and are to be hashed beside it, where at least `least` messages and at most `most` are hashed together.
    fn others(&self, waiting: &mut impl Waiting, (least, most): (usize, usize)) -> Vec<Job> {
        match self {
            // As many as fill the lanes; the last may be a full one. By pairs one, where a frame would be left over that is
            // long enough to matter.
            Work::Batch(batch) => self.take(waiting, |others| {
                let frames =
                    batch.frames() as usize + others.iter().map(|job| job.work.frames()).sum::<usize>();
                match most {
                    2 => others.is_empty() && frames % 2 == 1 && frames <= PAIRED_FRAMES,
                    _ => frames < most,
                }
            }),
            // As many as make it faster, and one where that is only two: fewer of them than fill enough lanes gain nothing
            // together, and another worker may take them.
            Work::Piece(_) => {
                let waits = waiting.count(self);
                let count = if waits + 1 >= least { waits.min(most - 1) } else { 1 };
                self.take(waiting, |others| others.len() < count)
            }
            Work::Answers(_)
            | Work::Draft(_)
            | Work::Call(_)
            | Work::Run(..)
            | Work::LargeRun(_)
            | Work::Handshake(_) => Vec::new(),
        }
    }

    /// Takes of those that wait while more are wanted.
    fn take(&self, waiting: &mut impl Waiting, wants: impl Fn(&[Job]) -> bool) -> Vec<Job> {
        let mut others: Vec<Job> = Vec::new();
        while wants(&others)
            && let Some(job) = waiting.take(self)
        {
            let is_alike = mem::discriminant(&job.work) == mem::discriminant(self);
            others.push(job);
            if !is_alike {
                // It is done after this one: further ones would wait for it, though other workers are free.
                break;
            }
        }
        others
    }

    /// How many frames it has, if it is a batch.
    fn frames(&self) -> usize {
        match self {
            Work::Batch(batch) => batch.frames() as usize,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::{Buffer, Memory, Share};
    use crate::wire::{Header, Kind, encode};

    struct Queue(Vec<Job>);

    impl Waiting for Queue {
        fn count(&self, _: &Work) -> usize {
            self.0.len()
        }

        fn take(&mut self, _: &Work) -> Option<Job> {
            self.0.pop()
        }
    }

    #[test]
    fn what_is_of_another_kind_ends_what_goes_together() {
        let memory = Memory::new(Memory::least(1 << 24), 1 << 24);
        let mut jobs = pieces(&memory, 8);
        let first = jobs.pop().unwrap();
        let draft = Draft::new(Header::new(Kind::Data), &Scheme::Sha256);
        jobs[5].work = Work::Draft(Box::new(draft));
        let mut queue = Queue(jobs);
        let others = first.work.others(&mut queue, (2, 16));
        let kinds: Vec<bool> = others.iter().map(|job| matches!(job.work, Work::Piece(_))).collect();
        assert_eq!((kinds, queue.0.len()), (vec![true, false], 5));
    }

    /// Large frames of one more piece each, that came whole.
    fn pieces(memory: &Arc<Memory>, count: u64) -> Vec<Job> {
        let piece = |number: u64| {
            let (mut bytes, payload) = (Vec::new(), vec![number as u8; number as usize * LANE_PIECE / 2]);
            encode(Header::new(Kind::Data), b"t", &payload, &Scheme::Sha256, &mut bytes);
            let charge = memory.charge(Share::Large, bytes.len());
            let mut large = Piecewise::new(bytes.len(), &Scheme::Sha256, charge, None);
            large.push(Buffer::new(bytes.into(), memory.charge(Share::Large, 0)));
            let ticket = Ticket { conn: number, number, since: Instant::now() };
            Job { ticket, work: Work::Piece(Box::new(large)) }
        };
        (0..count).map(piece).collect()
    }

    #[test]
    fn as_many_large_frames_go_together_as_make_it_faster() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        for (waits, together, taken) in [
            (0, (2, 2), 0),
            (5, (2, 2), 1),
            (3, (7, 8), 1),
            (6, (7, 8), 6),
            (20, (7, 8), 7),
            (20, (12, 16), 15),
        ] {
            let mut jobs = pieces(&memory, waits + 1);
            let job = jobs.pop().unwrap();
            assert_eq!(job.work.others(&mut Queue(jobs), together).len(), taken, "{waits} of {together:?}");
        }
    }

    #[test]
    fn as_many_batches_go_together_as_fill_the_lanes() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let job = |frames: usize, number: u64| {
            let mut bytes = Vec::new();
            (0..frames)
                .for_each(|_| encode(Header::new(Kind::Data), b"t", b"p", &Scheme::Sha256, &mut bytes));
            let batch =
                Batch::new(Buffer::charged(&memory, bytes.clone().into()), bytes.len(), frames as u32, None);
            Job { ticket: Ticket { conn: number, number, since: Instant::now() }, work: Work::Batch(batch) }
        };
        for (first, each, together, taken) in [
            (1, 3, (1, 1), 0),
            (1, 3, (2, 2), 1),
            (2, 3, (2, 2), 0),
            (15, 3, (2, 2), 1),
            (17, 3, (2, 2), 0),
            (1, 3, (12, 16), 5),
            (1, 1, (12, 16), 15),
            (1, 100, (12, 16), 1),
            (16, 1, (12, 16), 0),
            (7, 1, (7, 8), 1),
        ] {
            let queue = (1..=20).map(|number| job(each, number)).collect();
            let one = job(first, 0);
            let others = one.work.others(&mut Queue(queue), together);
            assert_eq!(others.len(), taken, "{first} and {each} of {together:?}");
            let mut done = Vec::new();
            perform_together(one, others, &Scheme::Sha256, |it| done.push(it));
            assert_eq!(done[0].ticket.number, 0, "what was first is first");
            assert!(done.iter().all(|done| done.paired == (taken > 0)));
            assert!(done.iter().all(|done| matches!(&done.outcome, Outcome::Batch(_))));
        }
    }

    #[test]
    fn large_frames_that_go_together_have_their_verdicts_a_piece_at_a_time() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let (mut jobs, mut rounds, mut seen) = (pieces(&memory, 9), 0, 0);
        while let Some(job) = jobs.pop() {
            rounds += 1;
            let is_together = jobs.len() > 1;
            let others = std::mem::take(&mut jobs);
            perform_together(job, others, &Scheme::Sha256, |done| {
                let Outcome::Piece(large) = done.outcome else { panic!("a piece went in") };
                if is_together {
                    assert!(done.paired);
                }
                if !large.is_finished() {
                    return jobs.push(Job { ticket: done.ticket, work: Work::Piece(large) });
                }
                seen += 1 << done.ticket.number;
                assert!(large.finish().iter().all(|frame| frame.intact));
            });
        }
        // The longest has a little more than four pieces.
        assert_eq!((seen, rounds), ((1 << 9) - 1, 5));
        assert_eq!(memory.used(), 0);
    }
}
