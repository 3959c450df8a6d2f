//! A sink whose word a test gives.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use framegate::gateway::Gateway;
use framegate::sinks::{Condition, Outcome, Put, Sink};

use super::PATIENCE;

/// The test's side of it.
#[derive(Clone)]
pub struct Desk(Arc<Shared>);

struct Shared {
    name: &'static str,
    alone: bool,
    state: Mutex<State>,
    came: Condvar,
    wake: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
struct State {
    puts: VecDeque<Put>,
    done: VecDeque<Outcome>,
    trouble: bool,
    full: bool,
    /// Puts that it ever got.
    count: usize,
}

impl Desk {
    /// One that judges each frame alone, or not.
    pub fn new(name: &'static str, alone: bool) -> Desk {
        let (state, came, wake) = (Mutex::default(), Condvar::new(), Mutex::new(None));
        Desk(Arc::new(Shared { name, alone, state, came, wake }))
    }

    /// Adds it to a gateway.
    pub fn add_to(&self, gateway: Gateway) -> Gateway {
        let start = |wake: Box<dyn Fn() + Send + Sync>| {
            *self.0.wake.lock().unwrap() = Some(wake);
            Ok::<_, std::convert::Infallible>(DeskSink(self.0.clone()))
        };
        gateway.with_sink(start).unwrap()
    }

    /// Puts that it ever got.
    pub fn count(&self) -> usize {
        self.0.state.lock().unwrap().count
    }

    /// Something is in its way, or not.
    pub fn set_trouble(&self, trouble: bool) {
        self.0.state.lock().unwrap().trouble = trouble;
    }

    /// It takes nothing more, or does again.
    pub fn set_full(&self, full: bool) {
        self.0.state.lock().unwrap().full = full;
    }

    /// Gives its word on the oldest put, once there is one, and returns its bytes.
    pub fn judge(&self, refusal: Option<&str>) -> Vec<u8> {
        let state = self.0.state.lock().unwrap();
        let (mut state, waited) =
            self.0.came.wait_timeout_while(state, PATIENCE, |state| state.puts.is_empty()).unwrap();
        assert!(!waited.timed_out(), "nothing was put into {}", self.0.name);
        let put = state.puts.pop_front().expect("one came");
        let bytes: Vec<u8> = put.body.slices().flatten().copied().collect();
        let refusal = refusal.map(Into::into);
        state.done.push_back(Outcome { ticket: put.ticket, bytes: bytes.len(), refusal });
        drop(state);
        self.0.wake.lock().unwrap().as_ref().expect("it was added")();
        bytes
    }

    /// Waits until it was given as many puts as that.
    pub fn wait_for(&self, count: usize) {
        let state = self.0.state.lock().unwrap();
        let waited = self.0.came.wait_timeout_while(state, PATIENCE, |state| state.count < count).unwrap();
        assert!(!waited.1.timed_out(), "{} puts came to {}", waited.0.count, self.0.name);
    }
}

struct DeskSink(Arc<Shared>);

impl Sink for DeskSink {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn judges_frames(&self) -> bool {
        self.0.alone
    }

    fn room(&self) -> usize {
        let state = self.0.state.lock().unwrap();
        if state.full { 0 } else { 1_000 - state.puts.len() - state.done.len() }
    }

    fn put(&mut self, put: Put) {
        let mut state = self.0.state.lock().unwrap();
        state.puts.push_back(put);
        state.count += 1;
        self.0.came.notify_all();
    }

    fn collect(&mut self) -> Option<Outcome> {
        self.0.state.lock().unwrap().done.pop_front()
    }

    fn prepare_sleep(&mut self) -> bool {
        self.0.state.lock().unwrap().done.is_empty()
    }

    fn end_sleep(&mut self) {}

    fn condition(&self) -> Condition {
        let trouble = self.0.state.lock().unwrap().trouble.then(|| "the disk is full".into());
        Condition { trouble, ..Condition::default() }
    }
}
