//! Worker threads, a queue to them and a queue back.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select_biased};

use super::idle::Idle;
use super::{Done, Job, Pool, Waiting, Work, WorkersUse, perform};
use crate::core::limits::{JOBS, WORKERS_MAX};
use crate::runtime::wake::{Panicked, WakeQueue};
use crate::wire::{Scheme, choose_fastest};

/// 5 s for the workers to end at the end. Verifying takes milliseconds: who takes longer is with a handler in Rust.
const END: Duration = Duration::from_secs(5);

/// 8 turns of a worker: where batches never end, calls get on all the same, and take an eighth of its turns.
const CALL_EVERY: u64 = 8;

/// 8 turns as well, where neither batches nor pieces end: handshakes get on.
const HANDSHAKE_EVERY: u64 = 8;

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
    /// Is disconnected once every worker has ended.
    ended: Receiver<()>,
}

/// Batches and pieces wait apart: a small frame waits for at most one piece of a large one. And so do the
/// calls of a handler in Rust and what formats in Rust parse, which take as long as they like. Handshakes wait for all that
/// connections which stand have sent.
#[derive(Clone)]
struct Queues<T> {
    batches: T,
    pieces: T,
    calls: T,
    handshakes: T,
}

impl<T> Queues<T> {
    fn of(&self, work: &Work) -> &T {
        match work {
            // A format in code: the reactor never helps with what is not ours.
            Work::Run(run, _) if run.layout.is_code() => &self.calls,
            Work::LargeRun(run) if run.is_code() => &self.calls,
            Work::Batch(_) | Work::Run(..) => &self.batches,
            Work::Piece(_) | Work::Answers(_) | Work::Draft(_) | Work::LargeRun(_) => &self.pieces,
            Work::Call(_) => &self.calls,
            Work::Handshake(_) => &self.handshakes,
        }
    }
}

impl Waiting for &Queues<Receiver<Job>> {
    fn count(&self, like: &Work) -> usize {
        self.of(like).len()
    }

    fn take(&mut self, like: &Work) -> Option<Job> {
        self.of(like).try_recv().ok()
    }
}

impl Threads {
    /// Starts `workers` threads, which call `wake` when a sleeping reactor has something to collect.
    pub fn start(
        workers: usize,
        scheme: &Scheme,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Threads> {
        let now = Instant::now();
        choose_fastest(|| now.elapsed());
        let (batches, batch_jobs) = bounded(JOBS);
        let (pieces, piece_jobs) = bounded(JOBS);
        let (calls, call_jobs) = bounded(JOBS);
        let (handshakes, handshake_jobs) = bounded(JOBS);
        let (ends, told_to_end) = bounded(WORKERS_MAX);
        let done = Arc::new(WakeQueue::new(JOBS, wake));
        let jobs =
            Queues { batches: batch_jobs, pieces: piece_jobs, calls: call_jobs, handshakes: handshake_jobs };
        let (living, ended) = bounded(0);
        let (scheme, panicked, living) = (scheme.clone(), Arc::default(), Some(living));
        let template = Worker { jobs, ends: told_to_end, scheme, done, panicked, living };
        let mut threads = Threads {
            queues: Some(Queues { batches, pieces, calls, handshakes }),
            ends,
            handles: Vec::new(),
            template,
            workers: 0,
            started: Instant::now(),
            count: 0,
            busy_before: Duration::ZERO,
            ended,
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
    fn reap(&mut self) {
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
        let Queues { batches, pieces, handshakes, .. } = &self.template.jobs;
        let job = match batches.len() + pieces.len() > self.workers {
            true => batches.try_recv().or_else(|_| pieces.try_recv()).ok(),
            // Where there are no workers, nobody else does it.
            false if self.workers == 0 => handshakes.try_recv().ok(),
            false => None,
        };
        // The workers may have been faster.
        let Some(job) = job else { return false };
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
        self.reap();
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

    fn failure(&self) -> Option<String> {
        self.template.panicked.said().map(|said| format!("a worker thread panicked, which is a bug: {said}"))
    }
}

/// Workers finish what is queued, then end. One that a handler keeps is left behind.
impl Drop for Threads {
    fn drop(&mut self) {
        self.queues = None;
        self.template.living = None;
        if self.ended.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            let kept = self.handles.iter().filter(|(_, idle)| !idle.is_finished()).count();
            log::error!(
                "{kept} of the workers are with a handler that does not return: they are left behind"
            );
            self.handles.retain(|(_, idle)| idle.is_finished());
        }
        self.handles.drain(..).for_each(|(handle, _)| join(handle));
    }
}

fn join(handle: JoinHandle<()>) {
    // Its jobs' panics are caught.
    handle.join().expect("a worker ends in peace");
}

#[derive(Clone)]
struct Worker {
    jobs: Queues<Receiver<Job>>,
    ends: Receiver<()>,
    scheme: Scheme,
    done: Arc<WakeQueue<Done>>,
    panicked: Arc<Panicked>,
    /// Dropped when it ends.
    living: Option<Sender<()>>,
}

impl Worker {
    fn run(self, idle: &Idle) {
        let mut turn = 0;
        while let Some(job) = self.next(turn, idle) {
            turn += 1;
            if let Work::Call(task) = &job.work {
                // It is begun once.
                let _ = task.begun.set(Instant::now());
            }
            // Where panics abort, the process ends here. Where they unwind, what is broken is never used again: the
            // gateway is told, and ends.
            self.panicked.guard(|| self.perform(job));
            self.done.wake();
        }
        idle.finish(Instant::now());
    }

    fn perform(&self, job: Job) {
        // The credits keep the number of jobs below the queue's capacity.
        perform(job, &mut &self.jobs, &self.scheme, |done| self.done.push(done));
    }

    /// Batches before pieces, then handshakes, and calls last; but a call first in one turn of [`CALL_EVERY`], and a handshake
    /// in one of [`HANDSHAKE_EVERY`].
    fn next(&self, turn: u64, idle: &Idle) -> Option<Job> {
        if self.ends.try_recv().is_ok() {
            return None;
        }
        let Queues { batches, pieces, calls, handshakes } = &self.jobs;
        if turn % HANDSHAKE_EVERY == HANDSHAKE_EVERY / 2
            && let Ok(job) = handshakes.try_recv()
        {
            return Some(job);
        }
        if turn.is_multiple_of(CALL_EVERY)
            && let Ok(job) = calls.try_recv()
        {
            return Some(job);
        }
        match batches.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return pieces.try_recv().ok(),
            Err(TryRecvError::Empty) => {}
        }
        if let Ok(job) = pieces.try_recv().or_else(|_| handshakes.try_recv()).or_else(|_| calls.try_recv()) {
            return Some(job);
        }
        idle.begin(Instant::now());
        let job = select_biased! {
            recv(batches) -> job => job.or_else(|_| pieces.recv()).ok(),
            recv(pieces) -> job => job.or_else(|_| batches.recv()).ok(),
            recv(handshakes) -> job => job.or_else(|_| pieces.recv()).ok(),
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
    use crate::core::memory::{Buffer, Memory};
    use crate::wire::{Batch, Header, Kind, encode};
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
    fn a_worker_that_panics_is_told_of_and_wakes_the_reactor() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mut pool = Threads::start(1, &Scheme::Sha256, move || unparker.unpark()).unwrap();
        assert!(pool.prepare_sleep() && pool.failure().is_none());
        // Two frames where there is none.
        let batch = Batch::new(Buffer::charged(&memory, Box::default()), 0, 2, None);
        let ticket = Ticket { conn: 1, number: 0, since: Instant::now() };
        pool.submit(Job { ticket, work: Work::Batch(batch) });
        parker.park();
        pool.end_sleep();
        assert!(pool.collect().is_none());
        let failure = pool.failure().expect("it is told");
        assert!(failure.starts_with("a worker thread panicked"), "{failure}");
        // The others go on, so that what is under way can end.
        pool.submit(job(&memory, 1));
        while pool.collect().is_none() {
            std::thread::yield_now();
        }
        drop(pool);
        assert_eq!(memory.used(), 0);
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
            pool.reap();
            std::thread::yield_now();
        }
        assert!(pool.usage(Instant::now()).busy >= pool.busy_before && pool.busy_before > Duration::ZERO);
    }
}
