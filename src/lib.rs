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
//! # A gateway of your own
//!
//! ```
//! use framegate::{Config, Gateway};
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

#[cfg(not(without_gateway))]
pub use crate::gateway::control::{Control, Paused, Setting, Unanswered};
#[cfg(not(without_gateway))]
pub use crate::gateway::ledger::Ledger;
#[cfg(not(without_gateway))]
pub use crate::gateway::snapshot::Snapshot;
#[cfg(not(without_gateway))]
pub use crate::gateway::{
    BadDigestPolicy, CloseReason, Config, Gateway, Listener, Overflow, Pressure, SlowPolicy,
};
#[cfg(not(without_runtime))]
pub use crate::runtime::handler;
#[cfg(not(without_wire))]
pub use crate::wire::{Frame, Header, Kind, Scheme, Status};

/// Layouts: frames that other people's devices already speak, for [`Gateway::listen_also`]. Most are declared, with the
/// feature `layouts`; what no declaration covers is a [`Format`](layouts::Format) in Rust.
///
#[cfg_attr(feature = "layouts", doc = "```")]
#[cfg_attr(not(feature = "layouts"), doc = "```ignore")]
/// use framegate::{Config, Gateway, layouts::{Layouts, builtin}};
///
/// let mut gateway = Gateway::bind("127.0.0.1:0".parse()?, 1, Config::default())?;
/// gateway.listen_also("127.0.0.1:0".parse()?, builtin().get("gt06").cloned())?;
/// let (own, _) = Layouts::parse(
///     "[layout.own]\n\
///      topic = 'own'\n\
///      length = 'u32 @ 0'\n\
///      counts = '4..-32'\n\
///      check = { is = 'sha-256', over = '0..-32', at = 'bytes -32..' }",
///     "own.toml",
/// )
/// .map_err(|problems| problems[0].to_string())?;
/// gateway.listen_also("127.0.0.1:0".parse()?, own.get("own").cloned())?;
/// # assert_eq!(gateway.listeners().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(not(without_gateway))]
pub mod layouts {
    pub use crate::wire::layout::{Boundary, Format, Layout, Parsed, Progress, Verdict};
    #[cfg(feature = "layouts")]
    pub use crate::wire::layout::{Layouts, Problem, Warning, builtin};
}

/// TLS of listeners: a [`ServerTls`](tls::ServerTls) is what [`Gateway::listen_at`] wants in a [`Listener`].
#[cfg(feature = "tls")]
#[cfg(not(without_gateway))]
pub mod tls {
    pub use crate::runtime::tls::{ClientAuth, ServerFiles, ServerTls, Setup, SharedSetup, Wrong};
}

/// Frames on the disk, a folder a topic: [`StoreThread`](store::StoreThread) is a sink for [`Gateway::with_sink`].
#[cfg(not(without_sinks))]
pub mod store {
    pub use crate::sinks::store::{Keep, Options, Policy, Reader, Recall, StoreThread};
}

/// Frames to a server over HTTP, a request each: [`HttpSink`](http_sink::HttpSink) is a sink for [`Gateway::with_sink`].
#[cfg(feature = "http")]
#[cfg(not(without_sinks))]
pub mod http_sink {
    pub use crate::http::dispatch::judge::OkWhen;
    pub use crate::http::dispatch::{Options as Delivery, Unreachable};
    pub use crate::http::wire::{Field, Target};
    pub use crate::sinks::http::{HttpSink, Options};
}

// The layers, lowest first: each names only those above it in this list. `.ci/layers` reads the list and compiles each
// layer without those that follow it. All but the client are hidden: they are open to the program, the benches, the
// fuzz targets and the tests, and change with any release.

#[doc(hidden)]
pub mod core;

#[doc(hidden)]
#[cfg(not(without_wire))]
pub mod wire;

#[doc(hidden)]
#[cfg(not(without_runtime))]
pub mod runtime;

#[cfg(not(without_client))]
pub mod client;

#[doc(hidden)]
#[cfg(any(feature = "http", feature = "admin"))]
#[cfg(not(without_http))]
pub mod http;

#[doc(hidden)]
#[cfg(feature = "cli")]
#[cfg(not(without_tools))]
pub mod tools;

#[doc(hidden)]
#[cfg(not(without_sinks))]
pub mod sinks;

#[doc(hidden)]
#[cfg(not(without_gateway))]
pub mod gateway;

#[doc(hidden)]
#[cfg(feature = "admin")]
#[cfg(not(without_admin))]
pub mod admin;

#[doc(hidden)]
#[cfg(feature = "cli")]
#[cfg(not(without_cli))]
pub mod cli;

#[doc(hidden)]
#[cfg(any(test, feature = "check"))]
#[allow(missing_docs, reason = "the simulation's insides")]
pub mod testing;

/// What the pages show in Rust is compiled and run.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/client.md")]
    struct Client;
    #[doc = include_str!("../docs/durable.md")]
    struct Durable;
    #[doc = include_str!("../docs/handlers.md")]
    struct Handlers;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
}
