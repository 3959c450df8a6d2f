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
//! # The layers
//!
//! | layer | holds |
//! | --- | --- |
//! | [`core`] | order, queues, reassembly, memory and every bound with its reason; pure |
//! | [`wire`] | layout, cutting, batches, digests, topics and patterns; pure |
//! | [`runtime`] | sockets and pipes (the only place that knows mio), worker threads, wake-ups |
//! | [`client`] | publishers and subscribers, for programs and for `send` and `tail` |
//! | [`http`] | the client side of HTTP/1.1, and many requests to one server at once |
//! | [`tools`] | records from files and archives, `post`, and the load generators of `bench` |
//! | [`sinks`] | where frames go beside their subscribers: a store on the disk, a server over HTTP |
//! | [`gateway`] | one thread, one turn: connections, admission, order, distribution, draining |
//! | [`admin`] | metrics, status, controls and the page over HTTP, on a thread of its own |
//! | [`cli`] | arguments in, exit code out |
//!
//! Each names only those above it: `.ci/layers` compiles it without the others. There are two seams,
//! [`Net`](runtime::net::Net) and [`Pool`](runtime::pool::Pool); the simulation replaces both.
//!
//! # A gateway of your own
//!
//! ```
//! use framegate::gateway::{Config, Gateway};
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

// The layers, lowest first: each names only those above it in this list. `.ci/layers` reads the list and compiles each
// layer without those that follow it.

pub mod core;

#[cfg(not(without_wire))]
pub mod wire;

#[cfg(not(without_runtime))]
pub mod runtime;

#[cfg(not(without_client))]
pub mod client;

#[cfg(feature = "http")]
#[cfg(not(without_http))]
pub mod http;

#[cfg(feature = "cli")]
#[cfg(not(without_tools))]
pub mod tools;

#[cfg(not(without_sinks))]
pub mod sinks;

#[cfg(not(without_gateway))]
pub mod gateway;

#[cfg(feature = "admin")]
#[cfg(not(without_admin))]
pub mod admin;

#[cfg(feature = "cli")]
#[cfg(not(without_cli))]
pub mod cli;

#[cfg(any(test, feature = "check"))]
#[allow(missing_docs, reason = "the simulation's insides")]
pub mod testing;

/// What the pages show in Rust is compiled and run.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/client.md")]
    struct Client;
    #[doc = include_str!("../docs/handlers.md")]
    struct Handlers;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
}
