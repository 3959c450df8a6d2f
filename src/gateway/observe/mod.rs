//! What people see: times, pauses, connections that stand out, lines in the log.

#[cfg(any(test, feature = "check"))]
pub(in crate::gateway) mod invariants;
pub(in crate::gateway) mod notices;
pub(in crate::gateway) mod pauses;
pub(in crate::gateway) mod survey;
pub(in crate::gateway) mod timing;
pub(in crate::gateway) mod traffic;

use std::time::Instant;

use pauses::Pauses;
use survey::{History, Surveyor};

/// What is kept for people, and for the simulation.
pub struct Observe {
    pub(in crate::gateway) started: Instant,
    pub(in crate::gateway) pauses: Pauses,
    pub(in crate::gateway) surveyor: Surveyor,
    pub(in crate::gateway) history: History,
    /// Who was closed and why, for the simulation.
    #[cfg(any(test, feature = "check"))]
    pub(in crate::gateway) closed: Vec<(std::net::SocketAddr, crate::gateway::CloseReason)>,
    /// Connections that were reset while they were not read, by the cause of that, likewise.
    #[cfg(any(test, feature = "check"))]
    pub(in crate::gateway) reset_while: [u64; crate::gateway::snapshot::PauseCause::ALL.len()],
}

impl Observe {
    /// From `now` on.
    pub fn new(now: Instant) -> Observe {
        Observe {
            started: now,
            pauses: Pauses::new(now),
            surveyor: Surveyor::default(),
            history: History::default(),
            #[cfg(any(test, feature = "check"))]
            closed: Vec::new(),
            #[cfg(any(test, feature = "check"))]
            reset_while: Default::default(),
        }
    }
}
