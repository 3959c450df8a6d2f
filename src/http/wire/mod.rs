//! The client side of HTTP/1.1 as a state machine over [`httparse`]. Pure: no sockets, threads, clock or files.
//!
//! A [`Target`] is where a URL points, a [`Request`] the bytes that are the same in every request to it.
//! An [`Exchange`] is one response: it is fed bytes as they arrive, hands the head and the body to a
//! [`Receive`], and says where the response ends and whether the connection lives on. What is no HTTP is a
//! [`Fault`] that says what it looks like.
//!
//! ```
//! use framegate::http::wire::{Exchange, Fed, Head, Method, Receive, Request, Target};
//!
//! #[derive(Default)]
//! struct Seen { status: u16, body: Vec<u8> }
//!
//! impl Receive for Seen {
//!     fn head(&mut self, head: &Head<'_>) { self.status = head.status; }
//!     fn body(&mut self, bytes: &[u8]) { self.body.extend_from_slice(bytes); }
//! }
//!
//! let target: Target = "http://localhost:8080/healthz".parse()?;
//! let request = Request::new(&Method::GET, &target, &[]);
//! let mut bytes = Vec::new();
//! request.encode(&[], b"", &mut bytes);
//! assert!(bytes.starts_with(b"GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\n"));
//!
//! let mut seen = Seen::default();
//! let mut exchange = request.exchange();
//! assert_eq!(exchange.feed(b"HTTP/1.1 200 OK\r\nContent-Le", &mut seen)?, Fed::More);
//! assert_eq!(exchange.feed(b"ngth: 2\r\n\r\nOK", &mut seen)?, Fed::Done { taken: 13 });
//! assert!(exchange.keeps_alive());
//! assert_eq!((seen.status, &seen.body[..]), (200, &b"OK"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod chunked;
mod exchange;
mod fault;
mod field;
mod head;
mod request;
mod status;
mod target;

pub use chunked::Chunked;
pub use exchange::{Exchange, Fed, Receive};
pub use fault::{Fault, Missing};
pub use field::{Field, FieldError};
pub use head::Head;
pub use request::{Method, MethodError, Request, parse_method};
pub use status::status_text;
pub use target::{Target, TargetError};
