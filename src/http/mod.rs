//! The client side of HTTP/1.1: what stands on the wire, how a server is reached, and many requests to one at once.

pub mod connect;
pub mod dispatch;
pub mod wire;
