//! A step of a handshake, which is work for a worker.

use std::fmt;

use super::{Engine, SharedSetup, TlsFault, whole_records};
use crate::wire::access::CertName;

/// Who the peer of a session is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The names in its certificate, and its key.
    pub names: Box<[CertName]>,
    /// Whether it has brought a certificate.
    pub has_certificate: bool,
    /// Whether an earlier session was resumed, so that its certificate was not verified in this handshake.
    pub is_resumed: bool,
    /// The version of the protocol, for people.
    pub version: &'static str,
}

/// A session and what came for it: whole records, and behind them perhaps more.
pub struct Handshake {
    /// The session.
    pub session: Box<dyn Engine>,
    /// What it is made of.
    pub setup: SharedSetup,
    /// What came and was not taken.
    pub input: Vec<u8>,
    /// Who the peer is, once the handshake is over.
    pub found: Result<Option<Peer>, TlsFault>,
}

impl Handshake {
    /// Takes the whole records, as long as the handshake goes on.
    pub fn go_on(&mut self) {
        self.found = self.take();
    }

    fn take(&mut self) -> Result<Option<Peer>, TlsFault> {
        let whole = whole_records(&self.input);
        let mut records = &self.input[..whole];
        let mut result = Ok(());
        while result.is_ok() && !records.is_empty() && self.session.is_handshaking() {
            result = self.session.take(&mut records);
        }
        let taken = whole - records.len();
        self.input.drain(..taken);
        result?;
        if self.session.is_handshaking() {
            return Ok(None);
        }
        let peer = self.session.peer();
        if peer.is_resumed {
            // The certificates of the earlier session were stored, and are not verified again by the handshake.
            self.session.check(&*self.setup).map_err(TlsFault::Certificate)?;
        }
        Ok(Some(peer))
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("input", &self.input.len()).field("found", &self.found).finish()
    }
}
