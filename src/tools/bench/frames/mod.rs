//! `bench frames`: publishers and subscribers of one gateway, on one loop.
//!
//! With a rate, frames are sent when they are due whatever became of those before (open loop), and
//! latency counts from then: a gateway that stalls cannot hide it by slowing its load down. Without one,
//! each publisher writes as fast as the gateway reads, and latency counts from the write. Every frame that
//! a subscriber gets is compared with what was sent, and its place in its publisher's sequence is
//! checked, while it is measured.
//!
//! Publishers may be devices that speak a layout instead: what they send is made from its declaration, and what is
//! distributed of it is known again by its digest.

mod answers;
mod check;
mod conn;
mod devices;
mod known;
mod publish;
mod report;
mod ring;
mod run;
mod sequence;
mod setup;
mod tally;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::checks;
use crate::client::{Identity, Tls};
use crate::wire::{DIGEST, HEADER, Scheme};

pub use devices::LayoutLoad;
pub use report::{Frames, Large, LayoutReport, Report};
pub use run::Load;

/// What to load a gateway with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the gateway may be; the first that takes a connection is it. None where nothing of the load connects there.
    pub gateway: Vec<SocketAddr>,
    /// Its process, if it is one of this machine to be watched.
    pub process: Option<u32>,
    /// Connections that publish.
    pub publishers: usize,
    /// Connections that each get every frame.
    pub subscribers: usize,
    /// Bytes of each payload, of native frames.
    pub payload: usize,
    /// What publishers and idle connections speak, if it is not the native protocol.
    pub layout: Option<LayoutLoad>,
    /// Frames a second of all publishers together; none for as fast as the gateway reads.
    pub rate: Option<f64>,
    /// How long frames are sent.
    pub duration: Duration,
    /// Connections that publish large frames beside, as fast as the gateway reads, on a topic and to a
    /// subscriber of their own.
    pub large: usize,
    /// Bytes of each payload of those.
    pub large_payload: usize,
    /// Connections that say nothing.
    pub idle: usize,
    /// The topic of the frames; large ones have this and `.large`.
    pub topic: String,
    /// How digests are made.
    pub scheme: Scheme,
    /// Who native connections say that they are.
    pub identity: Option<Identity>,
    /// The gateway as it was named, which its certificate is for; empty where that does not matter.
    pub host: String,
    /// How connections speak TLS, if they do.
    pub tls: Option<Tls>,
    /// Local addresses to connect from, in turn; the system's choice if there are none.
    pub sources: Vec<IpAddr>,
    /// Tells this run's frames from all others.
    pub nonce: u32,
}

/// Why a load could not be measured, in one line with the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// What was asked for cannot work, here or with this gateway.
    Refused(String),
    /// The gateway cannot be reached, or does not behave like one.
    Gone(String),
    /// It was asked to stop before it began.
    Stopped,
}

impl Options {
    /// The topic of large frames.
    pub fn large_topic(&self) -> String {
        if self.topic.is_empty() { "large".to_string() } else { format!("{}.large", self.topic) }
    }

    fn connections(&self) -> usize {
        self.publishers + self.subscribers + self.large + usize::from(self.large > 0) + self.idle
    }

    /// Bytes of each frame, and of each large one.
    fn frame_lens(&self) -> (usize, usize) {
        let around = |topic: &str| HEADER + topic.len() + DIGEST;
        (around(&self.topic) + self.payload, around(&self.large_topic()) + self.large_payload)
    }

    /// Whether this process and this machine can do it.
    fn check(&self) -> Result<(), Failed> {
        let (frame, large) = self.frame_lens();
        let sequences = (self.publishers * self.subscribers * size_of::<sequence::Sequence>()) as u64;
        let small = match &self.layout {
            Some(load) => load.bytes(self.publishers),
            None => ring::bytes(frame, self.publishers),
        };
        let rings = small + ring::bytes(large, self.large);
        checks::files(self.connections())
            .and_then(|()| checks::ports(self.connections(), 1, &self.sources))
            .and_then(|()| checks::memory(rings + sequences, "these publishers and subscribers"))
            .map_err(Failed::Refused)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Refused(said) | Failed::Gone(said) => f.write_str(said),
            Failed::Stopped => f.write_str("stopped before it began"),
        }
    }
}
