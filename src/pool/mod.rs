//! Verifying beside the reactor: the only room that starts workers.

mod threads;

use crate::frame::{Batch, Piecewise, Verified};

pub use threads::Threads;

/// Where verdicts come from. [`Threads`] is the real one; the simulator has another.
pub trait Pool {
    /// Hands work over. The caller keeps at most [`JOBS`](crate::limits::JOBS) jobs submitted and not
    /// collected, so there is always room.
    fn submit(&mut self, job: Job);

    /// A job that is done, in any order.
    fn collect(&mut self) -> Option<Done>;

    /// Called before a sleep: from now on, a job that gets done wakes the reactor. Whether there is
    /// nothing to collect already.
    fn prepare_sleep(&mut self) -> bool;

    /// Called after a sleep.
    fn end_sleep(&mut self);
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
}

/// What is to be verified.
#[derive(Debug)]
pub enum Work {
    /// All digests of a batch.
    Batch(Batch),
    /// The next piece of a large frame.
    Piece(Box<Piecewise>),
}

/// A job that is done.
#[derive(Debug)]
pub struct Done {
    /// As it was submitted.
    pub ticket: Ticket,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// A batch's verdict.
    Batch(Verified),
    /// The large frame, a piece further.
    Piece(Box<Piecewise>),
}
