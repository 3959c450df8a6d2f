//! What people see: times, pauses, connections that stand out, lines in the log.

#[cfg(any(test, feature = "check"))]
pub(in crate::gateway) mod invariants;
pub(in crate::gateway) mod notices;
pub(in crate::gateway) mod pauses;
pub(in crate::gateway) mod survey;
pub(in crate::gateway) mod timing;
pub(in crate::gateway) mod traffic;

use std::time::{Duration, Instant};

use pauses::Pauses;
use survey::{History, Surveyor};

use crate::gateway::CloseReason;
use crate::gateway::conn::Conn;
use crate::gateway::snapshot::{PauseCause, PausedBy};

/// What is kept for people, and for the simulation.
pub struct Observe {
    started: Instant,
    pauses: Pauses,
    surveyor: Surveyor,
    history: History,
    /// Who was closed and why, for the simulation.
    #[cfg(any(test, feature = "check"))]
    closed: Vec<(std::net::SocketAddr, CloseReason)>,
    /// Connections that were reset while they were not read, by the cause of that, likewise.
    #[cfg(any(test, feature = "check"))]
    reset_while: [u64; PauseCause::ALL.len()],
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

    /// Since it began.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// A connection that is ready is not read, for this cause.
    pub fn begin_pause<S>(&mut self, conn: &mut Conn<S>, cause: PauseCause, now: Instant) {
        self.pauses.begin(conn, cause, now);
    }

    /// The connection is read, or ends. Whether it was paused.
    pub fn end_pause<S>(&mut self, conn: &mut Conn<S>, now: Instant) -> bool {
        self.pauses.end(conn, now)
    }

    /// Who is paused now, and the time that was spent so until now.
    pub fn pauses(&self, now: Instant) -> [PausedBy; PauseCause::ALL.len()] {
        self.pauses.counts(now)
    }

    /// A connection is closed.
    pub fn closed<S>(&mut self, conn: &Conn<S>, reason: &CloseReason, now: Instant) {
        self.history.push(conn.described(now), reason.clone(), now);
        #[cfg(any(test, feature = "check"))]
        self.closed.push((conn.peer, reason.clone()));
    }

    /// A connection was reset, and ends.
    #[cfg(any(test, feature = "check"))]
    pub fn reset<S>(&mut self, conn: &Conn<S>) {
        if let Some(pause) = conn.reading.paused {
            self.reset_while[pause.cause as usize] += 1;
        }
    }
}
