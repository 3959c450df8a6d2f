//! A pool that completes jobs when and in the order that the dice say.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::dice::Dice;
use crate::frame::{Piecewise, Scheme, verify};
use crate::limits::{JOBS, PIECE};
use crate::pool::{Done, Job, Outcome, Pool, Ticket, Work};
use crate::snapshot::WorkersUse;

/// Jobs that were submitted, and those that are done.
pub struct Workers {
    jobs: Vec<Job>,
    done: VecDeque<Done>,
    scheme: Scheme,
    /// Swaps the verdicts of two jobs of one connection: a fault that the oracle must see.
    canary: bool,
    /// How many there are; here that makes no difference.
    count: usize,
}

impl Workers {
    pub fn new(scheme: Scheme, canary: bool) -> Workers {
        Workers { jobs: Vec::new(), done: VecDeque::new(), scheme, canary, count: 1 }
    }

    /// Whether there is a job to do.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether there is a verdict to collect.
    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Does one of the jobs.
    pub fn work(&mut self, dice: &mut Dice<'_>) {
        if self.jobs.is_empty() {
            return;
        }
        let mut job = self.jobs.swap_remove(dice.below(self.jobs.len()));
        if self.canary && matches!(job.work, Work::Batch(_)) {
            let other = self
                .jobs
                .iter_mut()
                .find(|other| other.ticket.conn == job.ticket.conn && matches!(other.work, Work::Batch(_)));
            if let Some(other) = other {
                std::mem::swap(&mut job.work, &mut other.work);
            }
        }
        match job.work {
            Work::Batch(batch) => self.push(job.ticket, Outcome::Batch(verify(batch, &self.scheme))),
            Work::Piece(mut large) => {
                let other = self.jobs.iter().position(|other| matches!(other.work, Work::Piece(_)));
                if let Some(Job { ticket, work: Work::Piece(mut other) }) =
                    other.map(|at| self.jobs.remove(at))
                {
                    Piecewise::hash_two(&mut large, &mut other, PIECE);
                    self.push(ticket, Outcome::Piece(other));
                } else {
                    large.hash(PIECE);
                }
                self.push(job.ticket, Outcome::Piece(large));
            }
        }
    }

    fn push(&mut self, ticket: Ticket, outcome: Outcome) {
        self.done.push_back(Done { ticket, outcome });
    }
}

/// The gateway's side of the workers.
pub struct SimPool(pub Rc<RefCell<Workers>>);

impl Pool for SimPool {
    fn submit(&mut self, job: Job) {
        let mut workers = self.0.borrow_mut();
        workers.jobs.push(job);
        assert!(workers.jobs.len() + workers.done.len() <= JOBS, "more jobs than the queues hold");
    }

    fn collect(&mut self) -> Option<Done> {
        self.0.borrow_mut().done.pop_front()
    }

    fn prepare_sleep(&mut self) -> bool {
        !self.0.borrow().has_done()
    }

    fn end_sleep(&mut self) {}

    fn workers(&self) -> usize {
        self.0.borrow().count
    }

    fn set_workers(&mut self, workers: usize) -> io::Result<()> {
        self.0.borrow_mut().count = workers;
        Ok(())
    }

    fn usage(&self, _: Instant) -> WorkersUse {
        WorkersUse { threads: self.workers(), ..WorkersUse::default() }
    }
}
