//! Ending a load from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::runtime::net::Waker;

/// Ends a load early, with its report. Given to the thread that waits for a signal, and asked by the load.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    waker: Waker,
}

impl Stop {
    /// `waker` is that of the load's reactor.
    pub fn new(waker: Waker) -> Stop {
        Stop { asked: Arc::default(), waker }
    }

    /// The load ends.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was asked to end.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}
