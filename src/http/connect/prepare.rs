//! What stands before the first connection.

use std::fmt;
use std::net::IpAddr;

use super::{Endpoints, resolve, without_number};
use crate::http::wire::Target;
use crate::runtime::net::{Reactor, Tls, Trust};

/// Why nothing can be sent, in one line with the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// What was asked for cannot work here.
    Refused(String),
    /// The server cannot be found, or never took a connection.
    Gone(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failed::Refused(said) | Failed::Gone(said)) = self;
        f.write_str(said)
    }
}

/// Looks a server up: where connections go, from `sources` where some are given.
///
/// # Errors
/// Where it has no address, or no source is of the family of any.
pub fn find(target: &Target, sources: &[IpAddr]) -> Result<Endpoints, Failed> {
    let addresses = resolve(target.host(), target.port()).map_err(|why| {
        let why = without_number(&why);
        Failed::Gone(format!("cannot find {}: {why}: check the host of the URL", target.host()))
    })?;
    Endpoints::new(&addresses, sources).map_err(Failed::Refused)
}

/// What connections are waited for with, and how TLS is agreed on where the target asks for it; with
/// `insecure`, anybody's certificate will do.
///
/// # Errors
/// Where the system gives nothing to wait with, or has no certificates.
pub fn prepare(target: &Target, insecure: bool) -> Result<(Reactor, Option<Tls>), Failed> {
    let net = Reactor::new()
        .map_err(|why| Failed::Refused(format!("cannot wait for sockets: {}", without_number(&why))))?;
    let trust = if insecure { Trust::Anyone } else { Trust::System };
    let tls = target.is_secure().then(|| Tls::new(target.host(), trust)).transpose();
    Ok((net, tls.map_err(Failed::Refused)?))
}
