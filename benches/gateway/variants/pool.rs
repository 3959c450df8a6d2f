//! Hashes on a pool of threads beside the runtime, a batch of frames a job; the order is restored.

use bytes::Bytes;
use crossbeam::channel::{Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::ordered::Checked;
use super::{accept, cores, multi_thread, ordered};

/// 1,024 jobs wait, Framegate's figure; beyond that a task verifies its own.
const JOBS: usize = 1024;

struct Job {
    batch: Bytes,
    done: oneshot::Sender<Checked>,
}

pub fn serve() {
    let jobs = start(cores());
    accept(&multi_thread(), move |stream, hub| {
        let jobs = jobs.clone();
        let whole = |run, items: &mut std::collections::VecDeque<_>| items.push_back(run);
        ordered::connection(stream, hub, whole, move |batch| {
            let (done, checked) = oneshot::channel();
            match jobs.try_send(Job { batch, done }) {
                Ok(()) => {}
                Err(TrySendError::Full(job)) => job.run(),
                Err(TrySendError::Disconnected(_)) => unreachable!("workers do not end"),
            }
            async { checked.await.expect("verifying does not panic") }
        })
    });
}

fn start(workers: usize) -> Sender<Job> {
    let (jobs, queue) = bounded::<Job>(JOBS);
    for _ in 0..workers {
        let queue = queue.clone();
        std::thread::spawn(move || queue.iter().for_each(Job::run));
    }
    jobs
}

impl Job {
    fn run(self) {
        // Its connection may be gone.
        let _ = self.done.send(ordered::check(self.batch));
    }
}
