//! Framegate: verified frames in, in order out.
//!
//! Publishers push length-prefixed frames over TCP, each with a SHA-256 digest. The gateway cuts the
//! streams, verifies every digest, keeps each connection's order and distributes by topic. Every
//! queue is bounded, slow parts push back on the publishers, and nothing accepted is lost silently.
//!
//! # The path of a frame
//!
//! ```text
//! socket ─ read ─ cut ─┬─ verify here ─────────────────────┬─ distribute ─ outbox ─ write ─ socket
//!                      └─ submit ─ worker ─ wake ─ reorder ─┘      └─ reply
//! ```
//!
//! One thread, the reactor, owns every socket, every connection and every decision. Worker threads do
//! one thing: they are handed a batch of whole frames, or a piece of a large one, and hand back a
//! verdict. A batch is what one read of one connection gave, in one shared buffer; it is stamped,
//! queued, verified, put in order and written out as a whole, so that a wake-up, a queue slot and a
//! write are paid a batch, not a frame, and no payload is copied between the read and the write.
//!
//! # The rooms
//!
//! | room | holds |
//! | --- | --- |
//! | [`frame`] | wire layout, cutting, batches, digests, topics and patterns; pure |
//! | [`order`] | the reorder window; pure |
//! | [`calls`] | who is called next: bounds and fairness; pure |
//! | [`parts`] | parts until their whole is there or their lease ends; pure |
//! | [`memory`] | the bound on all buffered bytes and who holds how many |
//! | [`ledger`] | what became of every frame |
//! | [`http`] | the client side of HTTP/1.1 as a state machine; pure |
//! | [`histogram`], [`units`] | how values are spread; sizes and times as people write them; pure |
//! | [`snapshot`] | what a gateway looks like at one moment; plain data |
//! | [`control`] | how another thread steers a running gate and looks into it |
//! | [`handler`] | handlers in Rust: what they are asked, and answer |
//! | [`net`] | the only room that knows mio: sockets, outboxes, deadlines |
//! | [`web`] | the way to a web server: its addresses, and why a connection failed |
//! | [`courier`] | letters to a store over HTTP: connections, pace, tries, judgement |
//! | [`wake`] | how other threads wake the reactor once for many things |
//! | [`pool`] | the only room that starts workers, and their queues |
//! | [`sinks`] | where frames go beside their subscribers: a store on the disk, one over HTTP |
//! | [`gate`] | one thread, one turn: connections, admission, order, distribution, draining |
//! | [`gateway`] | a gate on real sockets and threads |
//! | [`admin`] | metrics, status, controls and the page over HTTP, on a thread of its own |
//! | [`client`] | publishers and subscribers, for programs and for `send` and `tail` |
//! | [`records`] | what `send` and `post` read: lines, files, archives, tables |
//! | [`post`] | records to a store over HTTP: journal, report, watched folders |
//! | [`load`] | the load generators of `bench`, and how they report |
//! | [`cli`] | arguments in, exit code out |
//! | [`ranges`] | every number and time that can be set, and what it may be |
//! | [`limits`] | every bound, with its reason |
//! | [`error`] | what peers are told |
//!
//! Arrows point one way: a test reads the imports and keeps it so. There are two seams,
//! [`net::Net`] and [`pool::Pool`]; the simulation replaces both.
//!
//! # A gateway of your own
//!
//! ```
//! use framegate::{gate::Config, gateway::Gateway};
//!
//! let gateway = Gateway::bind("127.0.0.1:0".parse()?, 1, Config::default())?;
//! let control = gateway.control();
//! let running = std::thread::spawn(move || gateway.run());
//! // Publishers and subscribers come and go.
//! control.drain();
//! let ledger = running.join().expect("it does not panic")?;
//! assert!(ledger.is_balanced());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod admin;
pub mod calls;
#[cfg(any(test, feature = "check"))]
#[allow(missing_docs, reason = "the simulation's insides")]
pub mod check;
pub mod cli;
pub mod client;
pub mod control;
pub mod courier;
pub mod error;
pub mod frame;
pub mod gate;
pub mod gateway;
pub mod handler;
pub mod histogram;
pub mod http;
pub mod ledger;
pub mod limits;
pub mod load;
pub mod memory;
pub mod net;
pub mod order;
pub mod parts;
pub mod pool;
pub mod post;
pub mod ranges;
pub mod records;
pub mod sinks;
pub mod snapshot;
pub mod units;
pub mod wake;
pub mod web;
