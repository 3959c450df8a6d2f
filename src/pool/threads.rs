//! Worker threads, a queue to them and a queue back.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded, select_biased};

use super::idle::Idle;
use super::{Done, Job, Pool, Work, perform};
use crate::frame::Scheme;
use crate::limits::{JOBS, WORKERS_MAX};
use crate::snapshot::WorkersUse;
use crate::wake::WakeQueue;

/// Worker threads that verify.
pub struct Threads {
    /// `None` once it ends.
    queues: Option<Queues<Sender<Job>>>,
    /// A worker that takes one of these ends.
    ends: Sender<()>,
    handles: Vec<(JoinHandle<()>, Arc<Idle>)>,
    /// What every worker is made of, and what the reactor helps with.
    template: Worker,
    workers: usize,
    started: Instant,
    /// Numbers their threads.
    count: usize,
    /// Of workers that ended.
    busy_before: Duration,
}

/// Batches and pieces wait apart: a small frame waits for at most one piece of a large one. And so do the
/// calls of a handler in Rust, which take as long as they like.
#[derive(Clone)]
struct Queues<T> {
    batches: T,
    pieces: T,
    calls: T,
}

impl<T> Queues<T> {
    fn of(&self, work: &Work) -> &T {
        match work {
            Work::Batch(_) => &self.batches,
            Work::Piece(_) | Work::Answers(_) | Work::Draft(_) => &self.pieces,
            Work::Call(_) => &self.calls,
        }
    }
}

impl Threads {
    /// Starts `workers` threads, which call `wake` when a sleeping reactor has something to collect.
    pub fn start(
        workers: usize,
        scheme: &Scheme,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Threads> {
        let (batches, batch_jobs) = bounded(JOBS);
        let (pieces, piece_jobs) = bounded(JOBS);
        let (calls, call_jobs) = bounded(JOBS);
        let (ends, told_to_end) = bounded(WORKERS_MAX);
        let done = Arc::new(WakeQueue::new(JOBS, wake));
        let jobs = Queues { batches: batch_jobs, pieces: piece_jobs, calls: call_jobs };
        let template = Worker { jobs, ends: told_to_end, scheme: scheme.clone(), done };
        let mut threads = Threads {
            queues: Some(Queues { batches, pieces, calls }),
            ends,
            handles: Vec::new(),
            template,
            workers: 0,
            started: Instant::now(),
            count: 0,
            busy_before: Duration::ZERO,
        };
        threads.set_workers(workers)?;
        Ok(threads)
    }

    fn start_one(&mut self) -> io::Result<()> {
        let worker = self.template.clone();
        let idle = Arc::new(Idle::new(self.started, Instant::now()));
        let (thread, its) =
            (std::thread::Builder::new().name(format!("verify-{}", self.count)), idle.clone());
        self.handles.push((thread.spawn(move || worker.run(&its))?, idle));
        self.count += 1;
        self.workers += 1;
        Ok(())
    }

    /// Forgets the workers that have ended, but not how long they worked.
    fn bury(&mut self) {
        for at in (0..self.handles.len()).rev() {
            if self.handles[at].1.is_finished() {
                let (handle, idle) = self.handles.swap_remove(at);
                self.busy_before += idle.busy(Instant::now());
                join(handle);
            }
        }
    }
}

impl Pool for Threads {
    fn submit(&mut self, job: Job) {
        let queues = self.queues.as_ref().expect("open until it is dropped");
        let sent = queues.of(&job.work).try_send(job);
        sent.expect("the credits keep the number of jobs below the queue's capacity");
    }

    fn collect(&mut self) -> Option<Done> {
        self.template.done.pop()
    }

    fn help(&mut self) -> bool {
        // Never with a call: nobody knows how long it takes.
        let Queues { batches, pieces, .. } = &self.template.jobs;
        if batches.len() + pieces.len() <= self.workers {
            return false;
        }
        // The workers may have been faster.
        let Ok(job) = batches.try_recv().or_else(|_| pieces.try_recv()) else { return false };
        self.template.perform(job);
        true
    }

    fn prepare_sleep(&mut self) -> bool {
        self.template.done.prepare_sleep()
    }

    fn end_sleep(&mut self) {
        self.template.done.end_sleep();
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn set_workers(&mut self, workers: usize) -> io::Result<()> {
        self.bury();
        while self.workers > workers {
            self.ends.try_send(()).expect("there are not more workers than it holds");
            self.workers -= 1;
        }
        while self.workers < workers {
            // One that was told to end and has not yet stays.
            match self.template.ends.try_recv() {
                Ok(()) => self.workers += 1,
                Err(_) => self.start_one()?,
            }
        }
        Ok(())
    }

    fn usage(&self, now: Instant) -> WorkersUse {
        let living: Duration = self.handles.iter().map(|(_, idle)| idle.busy(now)).sum();
        WorkersUse { threads: self.workers, busy: self.busy_before + living }
    }
}

/// Workers finish what is queued, then end.
impl Drop for Threads {
    fn drop(&mut self) {
        self.queues = None;
        self.handles.drain(..).for_each(|(handle, _)| join(handle));
    }
}

fn join(handle: JoinHandle<()>) {
    if handle.join().is_err() {
        log::error!("a worker had panicked");
    }
}

#[derive(Clone)]
struct Worker {
    jobs: Queues<Receiver<Job>>,
    ends: Receiver<()>,
    scheme: Scheme,
    done: Arc<WakeQueue<Done>>,
}

impl Worker {
    fn run(self, idle: &Idle) {
        while let Some(job) = self.next(idle) {
            self.perform(job);
            self.done.wake();
        }
        idle.finish(Instant::now());
    }

    fn perform(&self, job: Job) {
        let another = |work: &Work| self.jobs.of(work).try_recv().ok();
        // The credits keep the number of jobs below the queue's capacity.
        perform(job, another, &self.scheme, |done| self.done.push(done));
    }

    /// Batches before pieces, and calls last.
    fn next(&self, idle: &Idle) -> Option<Job> {
        if self.ends.try_recv().is_ok() {
            return None;
        }
        let Queues { batches, pieces, calls } = &self.jobs;
        match batches.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return pieces.try_recv().ok(),
            Err(TryRecvError::Empty) => {}
        }
        if let Ok(job) = pieces.try_recv().or_else(|_| calls.try_recv()) {
            return Some(job);
        }
        idle.begin(Instant::now());
        let job = select_biased! {
            recv(batches) -> job => job.or_else(|_| pieces.recv()).ok(),
            recv(pieces) -> job => job.or_else(|_| batches.recv()).ok(),
            // At the end those that wait are not begun.
            recv(calls) -> job => job.ok(),
            recv(self.ends) -> _ => None,
        };
        idle.end(Instant::now());
        job
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
        Job { ticket: Ticket { conn: 1, number, since: Instant::now() }, work: Work::Batch(batch) }
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

    #[test]
    fn workers_come_and_go_while_there_is_work() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let mut bytes = Vec::new();
        encode(Header::new(Kind::Data), b"t", &[7; 2000], &Scheme::Sha256, &mut bytes);
        let mut pool = Threads::start(1, &Scheme::Sha256, || ()).unwrap();
        for (round, workers) in [4, 1, 3, 2, 2].into_iter().enumerate() {
            for number in 0..JOBS as u64 {
                let batch = Batch::new(Buffer::charged(&memory, bytes.clone().into()), bytes.len(), 1, None);
                let ticket = Ticket { conn: round as u64, number, since: Instant::now() };
                pool.submit(Job { ticket, work: Work::Batch(batch) });
            }
            pool.set_workers(workers).unwrap();
            assert_eq!(pool.usage(Instant::now()).threads, workers);
            for _ in 0..JOBS {
                while pool.collect().is_none() {
                    std::thread::yield_now();
                }
            }
        }
        // The surplus end as they become idle; then they are forgotten, but not what they did.
        while pool.handles.len() > 2 {
            pool.bury();
            std::thread::yield_now();
        }
        assert!(pool.usage(Instant::now()).busy >= pool.busy_before && pool.busy_before > Duration::ZERO);
    }
}
