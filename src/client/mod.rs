//! A blocking client: [`Publisher`] sends frames and knows what became of each, [`Subscriber`] takes
//! what its patterns match and checks every digest again; [`DurableSubscriber`] goes on where it was.
//!
//! A publisher has three threads. The caller's encodes and hashes frames into a chunk and hands full
//! chunks over; the link writes them, and connects again when the connection goes away; one more
//! reads the replies. They meet in the window, which keeps the bytes of every unanswered frame, and take
//! its lock once a chunk, a write and a read.

mod backoff;
mod connect;
mod durable;
mod error;
mod identity;
mod link;
mod publisher;
mod replies;
mod report;
mod shared;
mod silence;
mod stream;
mod subscriber;
#[cfg(feature = "tls")]
mod tls;
mod window;

pub use backoff::Backoff;
#[cfg(all(feature = "cli", not(without_cli)))]
pub(crate) use connect::{Security, connect_within};
pub use durable::{Delivery, DurableOptions, DurableSubscriber};
pub use error::Error;
pub use identity::Identity;
pub use publisher::{Interrupter, Publisher, PublisherOptions, RETRY};
pub use report::{Answers, Report};
pub use shared::Reply;
pub use silence::TIMEOUT;
#[cfg(all(feature = "cli", not(without_cli)))]
pub(crate) use stream::Stream;
pub use subscriber::{Begun, Event, Subscriber};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsOptions};

pub use crate::wire::durable::Start;
