//! The client side of HTTP/1.1: what stands on the wire, how a server is reached, and many requests to one at once.
//! The admin server shares the first.

#[cfg(feature = "http")]
pub mod connect;
#[cfg(feature = "http")]
pub mod dispatch;
#[cfg(feature = "http")]
pub mod driver;
pub mod wire;
