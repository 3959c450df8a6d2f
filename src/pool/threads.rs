//! Fixed worker threads, a queue to them and a queue back.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded, select_biased};
use crossbeam::queue::ArrayQueue;

use super::{Done, Job, Outcome, Pool, Ticket, Work};
use crate::frame::{Piecewise, Scheme, verify};
use crate::limits::{JOBS, PIECE};
use crate::wake::WakeFlag;

/// Worker threads that verify.
pub struct Threads {
    batches: Option<Sender<Job>>,
    pieces: Option<Sender<Job>>,
    done: Arc<DoneQueue>,
    handles: Vec<JoinHandle<()>>,
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
        let mut threads = Threads { batches: Some(batches), pieces: Some(pieces), done, handles: Vec::new() };
        for number in 0..workers {
            let worker = Worker {
                batches: batch_jobs.clone(),
                pieces: piece_jobs.clone(),
                scheme: scheme.clone(),
                done: threads.done.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("verify-{number}"));
            threads.handles.push(thread.spawn(move || worker.run())?);
        }
        Ok(threads)
    }
}

impl Pool for Threads {
    fn submit(&mut self, job: Job) {
        let queue = match job.work {
            Work::Batch(_) => &self.batches,
            Work::Piece(_) => &self.pieces,
        };
        let queue = queue.as_ref().expect("open until it is dropped");
        queue.try_send(job).expect("the credits keep the number of jobs below the queue's capacity");
    }

    fn collect(&mut self) -> Option<Done> {
        self.done.queue.pop()
    }

    fn prepare_sleep(&mut self) -> bool {
        self.done.flag.lower();
        self.done.queue.is_empty()
    }

    fn end_sleep(&mut self) {
        self.done.flag.keep_raised();
    }
}

/// Workers finish what is queued, then end.
impl Drop for Threads {
    fn drop(&mut self) {
        self.batches = None;
        self.pieces = None;
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                log::error!("a worker had panicked");
            }
        }
    }
}

struct Worker {
    batches: Receiver<Job>,
    pieces: Receiver<Job>,
    scheme: Scheme,
    done: Arc<DoneQueue>,
}

impl Worker {
    fn run(self) {
        while let Some(job) = self.next() {
            match job.work {
                Work::Batch(batch) => self.push(job.ticket, Outcome::Batch(verify(batch, &self.scheme))),
                Work::Piece(large) => self.hash(job.ticket, large),
            }
            if self.done.flag.raise() {
                (self.done.wake)();
            }
        }
    }

    /// Hashes a piece, and beside it one of another frame if there is one.
    fn hash(&self, ticket: Ticket, mut large: Box<Piecewise>) {
        if let Ok(Job { ticket: other_ticket, work: Work::Piece(mut other) }) = self.pieces.try_recv() {
            Piecewise::hash_two(&mut large, &mut other, PIECE);
            self.push(other_ticket, Outcome::Piece(other));
        } else {
            large.hash(PIECE);
        }
        self.push(ticket, Outcome::Piece(large));
    }

    fn push(&self, ticket: Ticket, outcome: Outcome) {
        let pushed = self.done.queue.push(Done { ticket, outcome });
        pushed.expect("the credits keep the number of jobs below the queue's capacity");
    }

    /// Batches before pieces: a small frame waits for at most one piece of a large one.
    fn next(&self) -> Option<Job> {
        match self.batches.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return self.pieces.try_recv().ok(),
            Err(TryRecvError::Empty) => {}
        }
        select_biased! {
            recv(self.batches) -> job => job.or_else(|_| self.pieces.recv()).ok(),
            recv(self.pieces) -> job => job.or_else(|_| self.batches.recv()).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Batch, Header, Kind, encode};
    use crate::memory::{Buffer, Memory};
    use crossbeam::sync::Parker;

    #[test]
    fn every_job_comes_back_and_a_sleeper_is_woken() {
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mut pool = Threads::start(3, &Scheme::Sha256, move || unparker.unpark()).unwrap();
        let mut bytes = Vec::new();
        encode(Header::new(Kind::Data), b"t", b"payload", &Scheme::Sha256, &mut bytes);
        for number in 0..JOBS as u64 {
            let batch = Batch::new(Buffer::charged(&memory, bytes.clone().into()), bytes.len(), 1, None);
            pool.submit(Job { ticket: Ticket { conn: 1, number }, work: Work::Batch(batch) });
        }
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
