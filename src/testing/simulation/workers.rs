//! A pool that completes jobs when and in the order that chance has it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::Canary;
use super::rng::SimRng;
use crate::core::limits::{JOBS, PIECE};
use crate::runtime::pool::WorkersUse;
use crate::runtime::pool::{Done, Job, Pool, Waiting, Work, perform};
use crate::testing::heap;
use crate::wire::Scheme;

/// Jobs that were submitted, and those that are done.
pub struct Workers {
    jobs: Vec<Job>,
    done: VecDeque<Done>,
    scheme: Scheme,
    /// Something is wrong that the oracle must see.
    canary: Option<Canary>,
    /// Messages that were hashed to their end.
    pub messages: u64,
    /// How many there are; here that makes no difference.
    count: usize,
}

impl Workers {
    pub fn new(scheme: Scheme, canary: Option<Canary>) -> Workers {
        Workers { jobs: Vec::new(), done: VecDeque::new(), scheme, canary, messages: 0, count: 1 }
    }

    /// What they verify under.
    #[cfg(all(test, feature = "layouts"))]
    pub fn scheme(&self) -> Scheme {
        self.scheme.clone()
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
    pub fn work(&mut self, rng: &mut SimRng<'_>) {
        if !self.jobs.is_empty() {
            let at = rng.below(self.jobs.len());
            self.work_on(at);
        }
    }

    fn work_on(&mut self, at: usize) {
        let mut job = self.jobs.swap_remove(at);
        let is_swapped = |work: &Work| match work {
            Work::Batch(_) => self.canary == Some(Canary::Verdicts),
            Work::Run(..) => [Some(Canary::Verdicts), Some(Canary::Runs)].contains(&self.canary),
            _ => false,
        };
        if self.canary == Some(Canary::Doubled)
            && let Work::Run(run, _) = &mut job.work
            && let [first, second, ..] = &mut run.frames[..]
        {
            second.clone_from(first);
        }
        if is_swapped(&job.work) {
            let other = self
                .jobs
                .iter_mut()
                .find(|other| other.ticket.conn == job.ticket.conn && is_swapped(&other.work));
            if let Some(other) = other {
                std::mem::swap(&mut job.work, &mut other.work);
            }
        }
        if let Work::Draft(draft) = &job.work {
            self.messages += u64::from(draft.unhashed() <= PIECE);
        }
        let Workers { jobs, done, scheme, .. } = self;
        // What comes of it is the gateway's.
        let _scope = heap::gateway();
        perform(job, &mut OfAKind(jobs), scheme, |one| {
            let _scope = heap::world();
            done.push_back(one);
        });
    }
}

/// Jobs that wait, of which the first of a kind is taken.
struct OfAKind<'a>(&'a mut Vec<Job>);

impl Waiting for OfAKind<'_> {
    fn count(&self, like: &Work) -> usize {
        self.0.iter().filter(|job| is_like(job, like)).count()
    }

    fn take(&mut self, like: &Work) -> Option<Job> {
        self.0.iter().position(|job| is_like(job, like)).map(|at| self.0.remove(at))
    }
}

fn is_like(job: &Job, like: &Work) -> bool {
    std::mem::discriminant(&job.work) == std::mem::discriminant(like)
}

/// The gateway's side of the workers.
pub struct SimPool(pub Rc<RefCell<Workers>>);

impl Pool for SimPool {
    fn submit(&mut self, job: Job) {
        let _scope = heap::world();
        let mut workers = self.0.borrow_mut();
        workers.jobs.push(job);
        assert!(workers.jobs.len() + workers.done.len() <= JOBS, "more jobs than the queues hold");
    }

    fn collect(&mut self) -> Option<Done> {
        let _scope = heap::world();
        self.0.borrow_mut().done.pop_front()
    }

    fn help(&mut self) -> bool {
        let _scope = heap::world();
        let mut workers = self.0.borrow_mut();
        // One worker, and one job that it might be at.
        let waits = workers.jobs.len() > 1;
        if waits {
            workers.work_on(0);
        }
        waits
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
