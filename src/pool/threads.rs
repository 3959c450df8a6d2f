//! Fixed worker threads, a queue to them and a queue back.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded, select_biased};
use crossbeam::queue::ArrayQueue;

use super::{Done, Job, Pool, WakeFlag, Work, perform};
use crate::frame::Scheme;
use crate::limits::JOBS;

/// Worker threads that verify.
pub struct Threads {
    /// `None` once it ends.
    queues: Option<Queues<Sender<Job>>>,
    /// The workers' end, for the reactor to help with.
    helper: Worker,
    handles: Vec<JoinHandle<()>>,
}

/// Batches and pieces wait apart: a small frame waits for at most one piece of a large one.
#[derive(Clone)]
struct Queues<T> {
    batches: T,
    pieces: T,
}

impl<T> Queues<T> {
    fn of(&self, work: &Work) -> &T {
        match work {
            Work::Batch(_) => &self.batches,
            Work::Piece(_) => &self.pieces,
        }
    }
}

struct DoneQueue {
    queue: ArrayQueue<Done>,
    flag: WakeFlag,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Threads {
    /// Starts `workers` threads, which call `wake` when a sleeping reactor has something to collect.
    pub fn start(
        workers: usize,
        scheme: &Scheme,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Threads> {
        let (batches, batch_jobs) = bounded(JOBS);
        let (pieces, piece_jobs) = bounded(JOBS);
        let queue = ArrayQueue::new(JOBS);
        let done = Arc::new(DoneQueue { queue, flag: WakeFlag::new(), wake: Box::new(wake) });
        let jobs = Queues { batches: batch_jobs, pieces: piece_jobs };
        let helper = Worker { jobs, scheme: scheme.clone(), done };
        let mut threads = Threads { queues: Some(Queues { batches, pieces }), helper, handles: Vec::new() };
        for number in 0..workers {
            let worker = threads.helper.clone();
            let thread = std::thread::Builder::new().name(format!("verify-{number}"));
            threads.handles.push(thread.spawn(move || worker.run())?);
        }
        Ok(threads)
    }
}

impl Pool for Threads {
    fn submit(&mut self, job: Job) {
        let queues = self.queues.as_ref().expect("open until it is dropped");
        let sent = queues.of(&job.work).try_send(job);
        sent.expect("the credits keep the number of jobs below the queue's capacity");
    }

    fn collect(&mut self) -> Option<Done> {
        self.helper.done.queue.pop()
    }

    fn help(&mut self) -> bool {
        let jobs = &self.helper.jobs;
        if jobs.batches.len() + jobs.pieces.len() <= self.handles.len() {
            return false;
        }
        // The workers may have been faster.
        let Some(job) = jobs.batches.try_recv().or_else(|_| jobs.pieces.try_recv()).ok() else {
            return false;
        };
        self.helper.perform(job);
        true
    }

    fn prepare_sleep(&mut self) -> bool {
        self.helper.done.flag.lower();
        self.helper.done.queue.is_empty()
    }

    fn end_sleep(&mut self) {
        self.helper.done.flag.keep_raised();
    }
}

/// Workers finish what is queued, then end.
impl Drop for Threads {
    fn drop(&mut self) {
        self.queues = None;
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                log::error!("a worker had panicked");
            }
        }
    }
}

#[derive(Clone)]
struct Worker {
    jobs: Queues<Receiver<Job>>,
    scheme: Scheme,
    done: Arc<DoneQueue>,
}

impl Worker {
    fn run(self) {
        while let Some(job) = self.next() {
            self.perform(job);
            if self.done.flag.raise() {
                (self.done.wake)();
            }
        }
    }

    fn perform(&self, job: Job) {
        let another = |work: &Work| self.jobs.of(work).try_recv().ok();
        perform(job, another, &self.scheme, |done| {
            let pushed = self.done.queue.push(done);
            pushed.expect("the credits keep the number of jobs below the queue's capacity");
        });
    }

    /// Batches before pieces.
    fn next(&self) -> Option<Job> {
        let Queues { batches, pieces } = &self.jobs;
        match batches.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return pieces.try_recv().ok(),
            Err(TryRecvError::Empty) => {}
        }
        select_biased! {
            recv(batches) -> job => job.or_else(|_| pieces.recv()).ok(),
            recv(pieces) -> job => job.or_else(|_| batches.recv()).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Ticket};
    use super::*;
    use crate::frame::{Batch, Header, Kind, encode};
    use crate::memory::{Buffer, Memory};
    use crossbeam::sync::Parker;

    fn job(memory: &Arc<Memory>, number: u64) -> Job {
        let mut bytes = Vec::new();
        encode(Header::new(Kind::Data), b"t", b"payload", &Scheme::Sha256, &mut bytes);
        let batch = Batch::new(Buffer::charged(memory, bytes.clone().into()), bytes.len(), 1, None);
        Job { ticket: Ticket { conn: 1, number }, work: Work::Batch(batch) }
    }

    #[test]
    fn the_reactor_helps_in_pairs_where_the_workers_cannot_keep_up() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let mut pool = Threads::start(0, &Scheme::Sha256, || ()).unwrap();
        (0..3).for_each(|number| pool.submit(job(&memory, number)));
        assert!(pool.help() && pool.help());
        assert!(!pool.help(), "nothing is left to help with");
        let done: Vec<_> = std::iter::from_fn(|| pool.collect()).collect();
        let told: Vec<_> = done.iter().map(|done| (done.ticket.number, done.paired)).collect();
        assert_eq!(told, [(0, true), (1, true), (2, false)]);
    }

    #[test]
    fn every_job_comes_back_and_a_sleeper_is_woken() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mut pool = Threads::start(3, &Scheme::Sha256, move || unparker.unpark()).unwrap();
        (0..JOBS as u64).for_each(|number| pool.submit(job(&memory, number)));
        let mut seen = [false; JOBS];
        while seen.contains(&false) {
            let Some(done) = pool.collect() else {
                if pool.prepare_sleep() {
                    parker.park();
                }
                pool.end_sleep();
                continue;
            };
            let Outcome::Batch(verified) = done.outcome else { panic!("a batch went in") };
            assert!(verified.iter().all(|frame| frame.intact));
            assert!(!std::mem::replace(&mut seen[done.ticket.number as usize], true));
        }
        drop(pool);
        assert_eq!(memory.used(), 0);
    }
}
