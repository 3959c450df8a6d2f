//! Verifying beside the reactor: the only room that starts workers.

mod idle;
mod threads;

use std::io;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::core::limits::{LANE_PIECE, PAIRED_FRAMES, PIECE};
use crate::core::memory::Memory;
use crate::runtime::handler::{Performed, Task};
use crate::wire::layout::{Converted, LargeRun, LargeStep, Run};
use crate::wire::{Batch, Draft, Piecewise, Scheme, Verified, verify, verify_two};

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
pub(crate) fn perform(job: Job, waiting: &mut impl Waiting, scheme: &Scheme, mut done: impl FnMut(Done)) {
    let mut push = |ticket, outcome, paired| done(Done { ticket, outcome, paired });
    let others = job.work.others(waiting);
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
    match <[_; 2]>::try_from(batches) {
        Ok([(ticket, batch), (other, beside)]) => {
            let [batch, beside] = verify_two([batch, beside], scheme);
            push(ticket, Outcome::Batch(batch), true);
            push(other, Outcome::Batch(beside), true);
        }
        Err(batches) => {
            batches.into_iter().for_each(|(ticket, batch)| {
                push(ticket, Outcome::Batch(verify(batch, scheme)), false);
            });
        }
    }
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
        }
    }

    /// Those that wait and are to be hashed beside it. Of batches one, where a stream would be left over that is long enough
    /// to matter. Of pieces as many as make it faster, and one where that is only two: fewer of them than fill enough
    /// lanes gain nothing together, and another worker may take them.
    fn others(&self, waiting: &mut impl Waiting) -> Vec<Job> {
        let count = match self {
            Work::Batch(batch) => usize::from(batch.frames() % 2 == 1 && batch.frames() <= PAIRED_FRAMES),
            Work::Piece(_) => {
                let (least, most) = Piecewise::together();
                let waits = waiting.count(self);
                if waits + 1 >= least { waits.min(most - 1) } else { 1 }
            }
            Work::Answers(_) | Work::Draft(_) | Work::Call(_) | Work::Run(..) | Work::LargeRun(_) => 0,
        };
        iter::from_fn(|| waiting.take(self)).take(count).collect()
    }
}
