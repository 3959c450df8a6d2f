//! Where distributed frames go beside their subscribers.
//!
//! A [`Sink`] is handed frames with tickets, and hands the tickets back: confirmed, or refused for a reason. A
//! publisher's OK is sent when every sink has confirmed its frame. What a sink was handed it keeps until
//! it hands the ticket back; that it cannot take more it says before, by its [room](Sink::room).
//!
//! A sink does what blocks on a thread of its own; the gate sees a queue there and a queue back.

#[cfg(feature = "http")]
pub mod http;
pub mod store;

use crate::wire::Body;

/// A place that confirms what it was handed. The simulation has one of its own.
pub trait Sink {
    /// Its name in the log, in metrics and in reasons.
    fn name(&self) -> &'static str;

    /// Whether it may confirm one frame and refuse its neighbour. It is then handed each frame alone, under a
    /// ticket of its own; else runs of frames of one topic, each under a ticket of its own, which it confirms or
    /// refuses as a whole.
    fn judges_frames(&self) -> bool;

    /// How many more [puts](Self::put) it takes. It grows by [`collect`](Self::collect) alone, so that nobody
    /// has to look for it in between.
    fn room(&self) -> usize;

    /// Hands frames over, where there is room. Those of one connection come in their order.
    fn put(&mut self, put: Put);

    /// What became of a put: of each, once, in any order.
    fn collect(&mut self) -> Option<Outcome>;

    /// Called before a sleep: from now on, an outcome wakes the reactor. Whether there is nothing to collect
    /// already.
    fn prepare_sleep(&mut self) -> bool;

    /// Called after a sleep.
    fn end_sleep(&mut self);

    /// From now on at most so many requests at once, where it sends some.
    fn set_max_in_flight(&mut self, _most: usize) {}

    /// From now on all buffers together have so many bytes; what it holds of them is to have its share.
    fn set_memory(&mut self, _bytes: usize) {}

    /// How it fares.
    fn condition(&self) -> Condition;

    /// Why it will never give its word again, if that is so: its thread panicked. The gateway ends with that, since
    /// publishers would wait for ever; so it must have woken the reactor. It is asked often.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Whether it confirms nothing now, since something is in its way. It is asked often.
    fn is_in_trouble(&self) -> bool {
        self.condition().trouble.is_some()
    }
}

/// Frames for a sink: of one topic, one connection, back to back.
#[derive(Debug)]
pub struct Put {
    /// Comes back with the outcome. The sink only carries it.
    pub ticket: u64,
    /// The connection that published them; of a whole, the one that its last part is of.
    pub from: u64,
    /// Their bytes.
    pub body: Body,
    /// How many they are.
    pub frames: u32,
}

/// What became of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As it was put.
    pub ticket: u64,
    /// How many bytes it was.
    pub bytes: usize,
    /// Why it is not, and never will be, confirmed.
    pub refusal: Option<Box<str>>,
}

/// How a sink fares.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// What was done since the start, by names for metrics.
    pub done: Vec<(&'static str, u64)>,
    /// What is so now, likewise.
    pub now: Vec<(&'static str, u64)>,
    /// What was done of the busiest topics, the busiest first, where it tells topics apart.
    pub topics: Vec<OfTopic>,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// What is in its way now.
    pub trouble: Option<String>,
}

/// What was done of one topic since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfTopic {
    /// Which.
    pub topic: String,
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}
