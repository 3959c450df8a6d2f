//! Sends requests to one server over HTTP: a bounded number at once, over connections that are used again, and
//! again where that may help. `post` and the HTTP sink are made of it.
//!
//! ```text
//! give ─ ready ─ connection ─ answer ─ judge ─┬─ ended
//!          └───── waiting for another try ────┘
//! ```
//!
//! How many requests are under way is [`pace`]'s to say, how many connections [`connection_limit`]' is; what an answer means is
//! [`judge`]'s, how long to wait before another try [`retry`]'s, which connections the server's system dropped
//! [`connecting`]'s, and which its program never took [`unaccepted`]'s. These six are pure: told the time and given a source of chance.

mod conn;
pub mod connecting;
pub mod connection_limit;
mod connections;
mod dispatcher;
pub mod judge;
pub mod overtaken;
pub mod pace;
mod refusing;
pub mod retry;
pub mod unaccepted;

use std::time::Duration;

use crate::core::limits::DISPATCH_CONNECT;
use crate::http::wire::{Field, Target};
use judge::{OkWhen, Reason};

pub use dispatcher::Dispatcher;

/// What is sent.
pub trait Request {
    /// Header fields of its own.
    fn fields(&self) -> Vec<Field>;

    /// Bytes of its body.
    fn body_len(&self) -> usize;

    /// Bytes of its body from `at` on, as many as lie together; none behind its end.
    fn body_at(&self, at: usize) -> &[u8];
}

/// How requests are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where they go.
    pub target: Target,
    /// Header fields of every request.
    pub fields: Vec<Field>,
    /// Requests under way at once.
    pub max_in_flight: usize,
    /// Connections open at once.
    pub max_connections: usize,
    /// Whether it finds out how many requests at once the server takes.
    pub adaptive: bool,
    /// How long an answer may take to be whole.
    pub timeout: Duration,
    /// Tries after the first one.
    pub retries: u32,
    /// What an answer must hold beside a 2xx.
    pub ok_when: Option<OkWhen>,
    /// Whether anybody's certificate will do.
    pub insecure: bool,
    /// What happens while the server cannot be reached.
    pub when_unreachable: Unreachable,
    /// How long it is waited for.
    pub patience: Duration,
    /// What its source of chance begins with.
    pub seed: u64,
}

/// What happens while the server cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// It is waited for without end.
    Waits,
    /// It is waited for, if it was there before; then nothing more is sent.
    Ends,
    /// It is waited for; then what waits fails, and what comes later does so at once, until it is back.
    Fails,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it.
    Stored,
    /// It is given up.
    Failed(Reason),
    /// It was given back before that was known, because nothing more begins.
    Unsent,
}

/// A request that is under way no more.
#[derive(Debug)]
pub struct Ended<L> {
    /// What was given.
    pub request: L,
    /// How often it was tried.
    pub tries: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether it was given up because the server is unreachable, whatever its own tries came to.
    pub is_unreachable: bool,
}

/// What a dispatcher did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were begun.
    pub requests: u64,
    /// Of those, how many were not a request's first.
    pub retries: u64,
    /// Connections that the server refused.
    pub refused: u64,
    /// Connections that the server's system agreed to and its program did not take.
    pub not_taken: u64,
    /// Connections that were open at once, at most.
    pub connections_max: usize,
}

impl Options {
    /// One request at a time to `url`, tried once: what most tests want.
    #[cfg(test)]
    pub(crate) fn one_at_a_time(url: &str) -> Options {
        Options {
            target: url.parse().expect("a test knows its URL"),
            fields: Vec::new(),
            max_in_flight: 1,
            max_connections: 1,
            adaptive: false,
            timeout: Duration::from_secs(30),
            retries: 0,
            ok_when: None,
            insecure: false,
            when_unreachable: Unreachable::Fails,
            patience: Duration::from_secs(60),
            seed: 1,
        }
    }

    fn connect_timeout(&self) -> Duration {
        self.timeout.min(DISPATCH_CONNECT)
    }
}
