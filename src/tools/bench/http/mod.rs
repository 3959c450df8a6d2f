//! `bench http`: many connections to a web server, held and used as people do.
//!
//! Connections are opened a few at a time. Each sends a request, waits for all of the response, thinks, and
//! sends again, as long as it lives; or, in an open loop, requests are sent when they are due, on whichever
//! connection is idle. A connection that ends is counted, by kind where the server had not announced it, and
//! opened again.
//!
//! The request is encoded once for all of them, reads go into one buffer that is lent, and of an idle
//! connection there is a socket, a state and an entry among the deadlines.

mod conn;
mod connections;
mod pace;
mod report;
mod run;
mod status;

use std::net::IpAddr;
use std::time::Duration;

use super::checks;
use crate::http::connect::Failed;
use crate::http::wire::{Field, Method, Target};

pub use pace::{Pace, Schedule, Think};
pub use report::{Closes, LeftOut, Report};
pub use run::Load;
pub use status::{OkStatus, StatusRange};

/// What to load a server with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where requests go.
    pub target: Target,
    /// Their method.
    pub method: Method,
    /// Header fields of every request.
    pub fields: Vec<Field>,
    /// The body of every request.
    pub body: Vec<u8>,
    /// How many connections are wanted.
    pub connections: usize,
    /// So many are opened each `ramp_every`.
    pub ramp: usize,
    /// See `ramp`.
    pub ramp_every: Duration,
    /// When requests are sent.
    pub pace: Pace,
    /// How long a connection may take to stand, and a response to be whole.
    pub timeout: Duration,
    /// After how long it ends; none: when it is stopped.
    pub duration: Option<Duration>,
    /// After how many requests it ends; none: when it is stopped.
    pub requests: Option<u64>,
    /// Whether a connection that ended is opened again.
    pub reconnect: bool,
    /// Statuses that are no errors.
    pub ok_status: OkStatus,
    /// Local addresses to connect from, in turn; the system's choice if there are none.
    pub sources: Vec<IpAddr>,
    /// Whether anybody's certificate will do.
    pub insecure: bool,
    /// What its source of chance begins with.
    pub seed: u64,
}

/// 48 KiB beside the sockets: what TLS may own of a connection while it is agreed on.
const TLS_BYTES: usize = 48 * 1024;

impl Options {
    /// Whether this process and this machine can hold so many connections to so many addresses.
    fn check(&self, addresses: usize) -> Result<(), Failed> {
        let each = size_of::<conn::Conn>() + if self.target.is_secure() { TLS_BYTES } else { 0 };
        checks::files(self.connections)
            .and_then(|()| checks::ports(self.connections, addresses, &self.sources))
            .and_then(|()| checks::memory((self.connections * each) as u64, "these connections"))
            .map_err(Failed::Refused)
    }
}
