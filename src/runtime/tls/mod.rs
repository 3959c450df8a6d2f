//! TLS: sessions as the gateway sees them, which bytes go in and out of and no socket, and how both sides are set up.
//!
//! A gateway has an [`Engine`] for each connection that came at a listener with TLS: rustls, or in the simulation a toy.
//! Handshakes are work for the workers ([`Handshake`]); what comes behind them is opened and sealed by the event loop.

#[cfg(feature = "tls")]
mod client;
mod fault;
mod handshake;
#[cfg(feature = "tls")]
mod names;
#[cfg(feature = "tls")]
mod pem;
mod records;
#[cfg(feature = "tls")]
mod rustls_engine;
#[cfg(feature = "tls")]
mod server;
#[cfg(any(test, feature = "check"))]
pub mod toy;

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(any(test, feature = "check"))]
use crate::wire::access::CertName;

#[cfg(feature = "tls")]
pub use client::{ClientFiles, ClientTls, Tls, Trust, said_of};
pub use fault::{CertFault, TLS_FAULTS, TlsFault};
pub use handshake::{Handshake, Peer};
pub use records::{Records, whole_records};
#[cfg(feature = "tls")]
pub use server::{ClientAuth, ServerFiles, ServerTls, Wrong};

/// One connection's TLS: records go in, and what they hold comes out; and the other way.
pub trait Engine: Send {
    /// Takes some bytes of records from the front of `records`, and opens those that are whole.
    ///
    /// What is opened is to be [read](Self::read) before much more is taken.
    ///
    /// # Errors
    /// Where they are not what the protocol allows; what the peer is told of it is [to be written](Self::write_to).
    fn take(&mut self, records: &mut &[u8]) -> Result<(), TlsFault>;

    /// Reads what was opened. How many bytes.
    fn read(&mut self, into: &mut [u8]) -> usize;

    /// Whether something was opened and not read.
    fn holds_plain(&self) -> bool;

    /// Seals some of the slices, as many bytes as it has room for.
    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Writes what was sealed. How many bytes.
    fn write_to(&mut self, to: &mut dyn io::Write) -> io::Result<usize>;

    /// Whether something was sealed and not written.
    fn holds_back(&self) -> bool;

    /// Seals the word that nothing more comes.
    fn close(&mut self);

    /// Whether the peer has said that nothing more comes.
    fn is_ended(&self) -> bool;

    /// Whether it is not agreed on yet.
    fn is_handshaking(&self) -> bool;

    /// Lets go of room that an idle connection does not need.
    fn shrink(&mut self) {}

    /// Who the peer is, once the handshake is over.
    fn peer(&self) -> Peer;

    /// Whether a setup would take the peer's certificate now.
    fn check(&self, setup: &dyn Setup) -> Result<(), CertFault>;
}

impl fmt::Debug for dyn Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

/// What the sessions of one listener are made of: its certificate, its key, and whose certificates it takes.
pub trait Setup: fmt::Debug + Send + Sync {
    /// A session that has not begun.
    ///
    /// # Errors
    /// What the implementation says.
    fn session(&self) -> Result<Box<dyn Engine>, TlsFault>;

    /// Whether it would take a chain of certificates, in DER, now: the peer's own is the first.
    ///
    /// # Errors
    /// Why not.
    fn verify(&self, chain: &[&[u8]]) -> Result<(), CertFault>;

    /// Since when and until when its own certificate is valid, where it has one.
    fn validity(&self) -> Option<(SystemTime, SystemTime)>;
}

/// A setup that several may have.
pub type SharedSetup = Arc<dyn Setup>;

/// The names of one certificate, for tests that have none.
#[cfg(any(test, feature = "check"))]
pub fn dns_names(names: &[&str]) -> Box<[CertName]> {
    names.iter().map(|name| CertName::dns(name)).collect()
}
