//! Verifying beside the reactor: the only room that starts workers.

mod idle;
mod sync {
    pub use std::sync::atomic::{AtomicBool, Ordering};
}
mod threads;
mod wake;

use std::io;
use std::time::Instant;

use crate::frame::{Batch, Piecewise, Verified};
use crate::snapshot::WorkersUse;

pub use threads::Threads;
pub use wake::WakeFlag;

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

    /// How many workers there are to be.
    fn workers(&self) -> usize;

    /// Changes how many there are to be, at least 1: more are started at once, the surplus end as they
    /// become idle.
    fn set_workers(&mut self, workers: usize) -> io::Result<()>;

    /// How busy they were until `now`.
    fn usage(&self, now: Instant) -> WorkersUse;
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
