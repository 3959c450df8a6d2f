//! The thread that posts, a queue to it and a queue back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::keys::Keys;
use super::request::FramePost;
use crate::core::limits::HTTP_PUTS;
use crate::http::connect::{Failed, without_number};
use crate::http::dispatch::{self, Dispatcher, Outcome as End};
use crate::http::wire::Field;
use crate::runtime::net::Waker;
use crate::runtime::wake::{Panicked, WakeQueue};
use crate::sinks::{Condition, Outcome, Put, Sink};

/// 10 s: how long whoever ends the sink waits for its thread.
const END: Duration = Duration::from_secs(10);

/// Where and how to post.
#[derive(Clone, Debug)]
pub struct Options {
    /// How frames are carried.
    pub carried: dispatch::Options,
    /// What every payload is said to be.
    pub content_type: Field,
    /// Whether one frame of a key is under way at a time.
    pub ordered: bool,
}

/// A sink with a thread of its own.
pub struct HttpSink {
    /// Puts that were not collected: at most [`HTTP_PUTS`], so both queues have room for them.
    given: usize,
    shared: Arc<Shared>,
    waker: Waker,
    ended: Receiver<()>,
}

/// What both sides see.
struct Shared {
    puts: WakeQueue<Put>,
    ends: AtomicBool,
    outcomes: WakeQueue<Outcome>,
    max_in_flight: AtomicUsize,
    condition: Mutex<Condition>,
    panicked: Panicked,
}

impl HttpSink {
    /// Looks the store up and starts the thread, which calls `wake` when a sleeping reactor has something to collect.
    ///
    /// # Errors
    /// Where the store has no address, or this machine cannot do it.
    pub fn start(options: Options, wake: impl Fn() + Send + Sync + 'static) -> Result<HttpSink, Failed> {
        let max_in_flight = options.carried.max_in_flight;
        let dispatcher = Dispatcher::new(options.carried)?;
        let (waker, call) = (dispatcher.waker(), dispatcher.waker());
        let shared = Arc::new(Shared {
            puts: WakeQueue::new(HTTP_PUTS, move || call.wake()),
            ends: AtomicBool::new(false),
            outcomes: WakeQueue::new(HTTP_PUTS, wake),
            max_in_flight: AtomicUsize::new(max_in_flight),
            condition: Mutex::default(),
            panicked: Panicked::default(),
        });
        let (end, ended) = bounded(1);
        let worker = Worker {
            dispatcher,
            content_type: options.content_type,
            keys: options.ordered.then(Keys::default),
            shared: shared.clone(),
            max_in_flight,
            counted: Counted::default(),
            trouble: None,
            is_refusing: false,
            _end: end,
        };
        let told = shared.clone();
        thread::Builder::new()
            .name("http".into())
            .spawn(move || {
                if told.panicked.guard(|| worker.run()) {
                    told.outcomes.wake();
                }
            })
            .map_err(|why| Failed::Refused(format!("cannot start a thread: {why}: raise ulimit -u")))?;
        Ok(HttpSink { given: 0, shared, waker, ended })
    }
}

impl Sink for HttpSink {
    fn name(&self) -> &'static str {
        "http"
    }

    fn judges_frames(&self) -> bool {
        true
    }

    fn room(&self) -> usize {
        HTTP_PUTS - self.given
    }

    fn put(&mut self, put: Put) {
        self.given += 1;
        self.shared.puts.push(put);
        self.shared.puts.wake();
    }

    fn collect(&mut self) -> Option<Outcome> {
        let outcome = self.shared.outcomes.pop()?;
        self.given -= 1;
        Some(outcome)
    }

    fn prepare_sleep(&mut self) -> bool {
        self.shared.outcomes.prepare_sleep()
    }

    fn end_sleep(&mut self) {
        self.shared.outcomes.end_sleep();
    }

    fn set_max_in_flight(&mut self, most: usize) {
        self.shared.max_in_flight.store(most, Relaxed);
        self.shared.puts.wake();
    }

    fn condition(&self) -> Condition {
        self.shared.condition.lock().clone()
    }

    fn failure(&self) -> Option<String> {
        let said = self.shared.panicked.said()?;
        Some(format!(
            "the HTTP sink's thread panicked, which is a bug: {said}: start again, and what was not confirmed is sent \
             again by its publishers"
        ))
    }

    fn is_in_trouble(&self) -> bool {
        self.shared.condition.lock().trouble.is_some()
    }
}

/// What is under way is given up: whoever ends the sink has waited for what was to be waited for.
impl Drop for HttpSink {
    fn drop(&mut self) {
        self.shared.ends.store(true, Relaxed);
        self.waker.wake();
        if self.ended.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            log::error!("the HTTP sink does not end: it is left to itself");
        }
    }
}

struct Worker {
    dispatcher: Dispatcher<FramePost>,
    content_type: Field,
    /// Where frames go in order.
    keys: Option<Keys<FramePost>>,
    shared: Arc<Shared>,
    max_in_flight: usize,
    counted: Counted,
    /// What was said last to be in the store's way.
    trouble: Option<String>,
    /// Whether it was said that frames are refused for it.
    is_refusing: bool,
    /// Dropped, and seen, when the thread ends.
    _end: Sender<()>,
}

/// What became of frames since the start.
#[derive(Default)]
struct Counted {
    stored: u64,
    refused: u64,
}

impl Worker {
    fn run(mut self) {
        loop {
            self.follow();
            self.dispatcher.do_what_is_due();
            self.bring_back();
            self.take();
            self.dispatcher.begin();
            self.tell();
            if self.shared.ends.load(Relaxed) {
                return;
            }
            // What was brought before this woke nobody.
            let is_none = self.shared.puts.prepare_sleep();
            let is_more = self.dispatcher.has_room() && !is_none
                || self.shared.max_in_flight.load(Relaxed) != self.max_in_flight;
            let until = is_more.then(|| self.dispatcher.now());
            if let Err(why) = self.dispatcher.wait(until) {
                log::error!("the HTTP sink cannot wait for sockets: {}", without_number(&why));
                // It may have been a moment's trouble; a loop without a wait would take a whole core.
                thread::sleep(Duration::from_millis(100));
            }
            self.shared.puts.end_sleep();
        }
    }

    /// What was set meanwhile.
    fn follow(&mut self) {
        let most = self.shared.max_in_flight.load(Relaxed);
        if most != self.max_in_flight {
            self.max_in_flight = most;
            self.dispatcher.set_max_in_flight(most);
        }
    }

    /// Takes frames as there is room.
    fn take(&mut self) {
        while self.dispatcher.has_room()
            && let Some(put) = self.shared.puts.pop()
        {
            let post = FramePost::new(put, self.content_type.clone());
            let post = match &mut self.keys {
                Some(keys) => keys.enter(post.header.key, post),
                None => Some(post),
            };
            if let Some(post) = post {
                self.dispatcher.give(post);
            }
        }
    }

    /// Brings back what has ended, and lets go what waited for it.
    fn bring_back(&mut self) {
        let ended = self.dispatcher.ended();
        if ended.is_empty() {
            return;
        }
        for ended in ended {
            let next = self.keys.as_mut().and_then(|keys| keys.leave(ended.request.header.key));
            if let Some(next) = next {
                self.dispatcher.give(next);
            }
            let refusal = match ended.outcome {
                End::Stored => None,
                End::Failed(reason) => {
                    let tries = match ended.tries {
                        // How often the store was tried stands there, which is what counts.
                        _ if ended.is_unreachable => String::new(),
                        0 => String::new(),
                        1 => " (1 try)".into(),
                        tries => format!(" ({tries} tries)"),
                    };
                    Some(format!("{reason}{tries}").into_boxed_str())
                }
                End::Unsent => Some("the gateway ends".into()),
            };
            match &refusal {
                None => self.counted.stored += 1,
                Some(why) => {
                    self.counted.refused += 1;
                    log::debug!("the HTTP sink: {why}");
                }
            }
            let FramePost { ticket, body, .. } = ended.request;
            let bytes = body.len();
            // What it held of the memory is free when the gate hears of it.
            drop(body);
            self.shared.outcomes.push(Outcome { ticket, bytes, refusal });
        }
        self.shared.outcomes.wake();
    }

    /// Tells how it fares.
    fn tell(&mut self) {
        let is_refusing = self.dispatcher.is_refusing();
        if self.trouble.as_deref() != self.dispatcher.trouble() || self.is_refusing != is_refusing {
            self.trouble = self.dispatcher.trouble().map(str::to_owned);
            self.is_refusing = is_refusing;
            match &self.trouble {
                Some(why) if is_refusing => {
                    log::warn!("the HTTP sink: {why}: frames are REJECTED until it is back");
                }
                Some(why) => log::warn!("the HTTP sink: {why}: frames wait for it"),
                None => log::info!("the HTTP sink: the store is there again"),
            }
        }
        let (counts, busy) = (self.dispatcher.counts(), self.dispatcher.busy());
        let mut condition = self.shared.condition.lock();
        condition.done.clear();
        condition.done.extend([
            ("stored", self.counted.stored),
            ("refused", self.counted.refused),
            ("requests", counts.requests),
            ("retries", counts.retries),
            ("connections_refused", counts.refused),
            ("connections_not_taken", counts.not_taken),
        ]);
        condition.now.clear();
        condition.now.extend([
            ("in_flight", busy as u64),
            ("max_in_flight", self.max_in_flight as u64),
            // Not yet taken, behind another of their key, or waiting for another try.
            (
                "waiting",
                (self.shared.puts.len() + self.keys.as_ref().map_or(0, Keys::len) + self.dispatcher.len()
                    - busy) as u64,
            ),
            ("connections", self.dispatcher.connections() as u64),
        ]);
        condition.failures = self.counted.refused + counts.retries;
        condition.trouble.clone_from(&self.trouble);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::memory::{Buffer, Memory};
    use crate::wire::Body;
    use crossbeam::sync::Parker;

    #[test]
    fn a_thread_that_panics_is_told_of_and_wakes_the_reactor() {
        let carried = dispatch::Options::one_at_a_time("http://127.0.0.1:9/");
        let content_type = "Content-Type: text/plain".parse().unwrap();
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let options = Options { carried, content_type, ordered: false };
        let mut sink = HttpSink::start(options, move || unparker.unpark()).unwrap();
        assert!(sink.prepare_sleep() && sink.failure().is_none());
        // A frame where there is none.
        let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
        let buffer = Arc::new(Buffer::charged(&memory, vec![0; 8].into()));
        let body = Body::Slice { buffer, start: 0, end: 8 };
        sink.put(Put { ticket: 1, from: 1, body, frames: 1 });
        parker.park();
        let failure = sink.failure().expect("it is told");
        assert!(failure.starts_with("the HTTP sink's thread panicked"), "{failure}");
    }
}
