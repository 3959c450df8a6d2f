//! Handlers in Rust: they answer frames before these are distributed, on the worker threads.
//!
//! ```
//! use framegate::runtime::handler::{Answer, Call};
//! use framegate::{client::{Publisher, PublisherOptions}, Config, Gateway};
//!
//! // Lets orders pass and tells their publisher how long they are; nothing else is taken.
//! let handler = |call: &Call<'_>| match call.topic.strip_prefix("orders.") {
//!     Some(_) => Answer::Pass(format!("{} bytes", call.payload.len()).into()),
//!     None => Answer::Reject("only orders are taken here".into()),
//! };
//! let gateway = Gateway::bind("127.0.0.1:0".parse()?, 1, Config::default())?.with_handler(handler)?;
//! let (address, control) = (gateway.local_addr().to_string(), gateway.control());
//! let running = std::thread::spawn(move || gateway.run());
//!
//! let (tell, told) = std::sync::mpsc::channel();
//! let mut publisher = Publisher::connect_and_take(&address, PublisherOptions::default(), move |reply| {
//!     let payload = String::from_utf8_lossy(reply.payload);
//!     tell.send(format!("{} {} {payload}", reply.id, reply.status)).unwrap();
//! })?;
//! publisher.send("orders.eu", 0, b"two of them")?;
//! publisher.send("letters.eu", 0, b"dear all")?;
//! publisher.finish();
//! let mut told: Vec<String> = told.iter().collect();
//! told.sort();
//! assert_eq!(told, ["1 OK 11 bytes", "2 REJECTED only orders are taken here"]);
//!
//! control.drain();
//! running.join().expect("it does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::core::memory::Memory;
use crate::wire::access::Who;
use crate::wire::{Body, Draft, HEADER, Header, Kind, Scheme, Status, Verified, check_topic};

/// Answers frames before they are distributed.
///
/// It is called by several workers at once, and as long as it runs its worker verifies nothing: what takes
/// long wants more workers than there are cores, or a program of its own (`--handler`).
///
/// A call that takes longer than [`handler_timeout`](crate::gateway::Config::handler_timeout) has its frame REJECTED, and
/// what is behind that frame goes on. The thread itself cannot be ended: what it answers later is thrown away, and until
/// it returns it counts as a call in flight, and is missing among the workers. Where every worker is kept so, further
/// calls wait for one. A drain waits for them no longer than it is told to, and then leaves such threads behind.
pub trait Handler: Send + Sync + 'static {
    /// Answers one frame.
    ///
    /// Where panics unwind, as they do unless a program is built otherwise, a panic in it has the frame REJECTED, and
    /// nothing else happens: whatever state it left behind is the handler's own affair. In a program that is built with
    /// `panic = "abort"` it ends the process.
    fn handle(&self, call: &Call<'_>) -> Answer;
}

impl<F: Fn(&Call<'_>) -> Answer + Send + Sync + 'static> Handler for F {
    fn handle(&self, call: &Call<'_>) -> Answer {
        self(call)
    }
}

/// A verified frame that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its key.
    pub key: u64,
    /// Its payload.
    pub payload: &'a [u8],
    /// The name of the identity that published it, where the gateway has an access file and knows it by that.
    pub identity: Option<&'a str>,
    /// Where that connection comes from.
    pub peer: SocketAddr,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is distributed as it was; its publisher gets these bytes with the reply, if it asked for one.
    Pass(Vec<u8>),
    /// Another is distributed in its place, in the same turn of the publisher's order.
    Replace {
        /// The topic.
        topic: String,
        /// The key.
        key: u64,
        /// The payload.
        payload: Vec<u8>,
    },
    /// It is not distributed; its publisher is told REJECTED with this reason.
    Reject(String),
    /// It is not distributed; its publisher is told to send it again later.
    Busy(String),
}

/// A handler that can be shown and shared.
#[derive(Clone)]
pub struct Function(pub(crate) Arc<dyn Handler>);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

/// One call of a function, as a worker gets it.
#[derive(Debug)]
pub struct Task {
    pub(crate) function: Function,
    pub(crate) header: Header,
    /// Its id is the number of its answer, which is nobody's: what goes on in its place asks for no reply.
    pub(crate) is_numbered: bool,
    pub(crate) frame: Body,
    pub(crate) who: Option<Who>,
    pub(crate) peer: SocketAddr,
    pub(crate) payload_max: usize,
    pub(crate) memory: Arc<Memory>,
    /// When a worker began it.
    pub(crate) begun: Arc<OnceLock<Instant>>,
}

/// What came of a call.
#[derive(Debug)]
pub enum Performed {
    /// It passes, with the reply where one is wanted.
    Pass(Option<Verified>),
    /// This frame goes on in its place.
    Replace(Verified),
    /// It is refused, with the reply where one is wanted.
    Refuse(Status, Option<Verified>),
}

impl Task {
    /// Calls the function, and makes the frame that comes of its answer.
    pub(crate) fn perform(self, scheme: &Scheme) -> Performed {
        let answer = self.call();
        match answer {
            Answer::Pass(bytes) if bytes.len() <= self.payload_max => {
                Performed::Pass(self.reply(Status::Ok, bytes, scheme))
            }
            Answer::Replace { topic, key, payload } if payload.len() <= self.payload_max => {
                match check_topic(topic.as_bytes()) {
                    Ok(_) if topic.len() <= usize::from(u8::MAX) => {
                        let mut header = Header { key, ..self.header };
                        if self.is_numbered {
                            (header.id, header.want_reply) = (0, false);
                        }
                        let mut draft = Draft::new(header, scheme);
                        draft.topic(topic.into_bytes(), &self.memory);
                        draft.payload(payload, &self.memory);
                        Performed::Replace(draft.hashed())
                    }
                    Ok(_) => {
                        self.refuse(Status::Rejected, "a handler's answer: its topic is too long", scheme)
                    }
                    Err(wrong) => {
                        self.refuse(Status::Rejected, &format!("a handler's answer: {wrong}"), scheme)
                    }
                }
            }
            Answer::Pass(_) | Answer::Replace { .. } => {
                self.refuse(Status::Rejected, "a handler's answer is larger than max-payload", scheme)
            }
            Answer::Reject(reason) => self.refuse(Status::Rejected, &reason, scheme),
            Answer::Busy(reason) => self.refuse(Status::Busy, &reason, scheme),
        }
    }

    fn call(&self) -> Answer {
        let range = |from: usize, len: usize| self.frame.bytes(from..from + len);
        let topic = range(HEADER, self.header.topic_len as usize);
        let payload = range(HEADER + self.header.topic_len as usize, self.header.payload_len as usize);
        let topic: Cow<'_, str> = String::from_utf8_lossy(&topic);
        let identity = self.who.as_ref().and_then(Who::name);
        let call = Call { topic: &topic, key: self.header.key, payload: &payload, identity, peer: self.peer };
        // Whatever state it left behind is its own affair.
        catch_unwind(AssertUnwindSafe(|| self.function.0.handle(&call)))
            .unwrap_or_else(|_| Answer::Reject("the handler panicked".into()))
    }

    fn refuse(&self, status: Status, reason: &str, scheme: &Scheme) -> Performed {
        let reason = &reason[..reason.floor_char_boundary(self.payload_max)];
        Performed::Refuse(status, self.reply(status, reason.into(), scheme))
    }

    fn reply(&self, status: Status, bytes: Vec<u8>, scheme: &Scheme) -> Option<Verified> {
        let header = Header { status: status as u16, id: self.header.id, ..Header::new(Kind::Reply) };
        self.header.want_reply.then(|| {
            let mut draft = Draft::new(header, scheme);
            draft.payload(bytes, &self.memory);
            draft.hashed()
        })
    }
}
