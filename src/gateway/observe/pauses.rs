//! Who is not read though there may be something to read: why, and for how long.

use std::time::{Duration, Instant};

use crate::gateway::conn::Conn;
use crate::gateway::snapshot::{PauseCause, PausedBy};
use crate::runtime::net::Moment;

/// A connection that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why, at its last try.
    pub cause: PauseCause,
    /// Since when it is for that cause.
    pub since: Moment,
}

/// Connections paused and the time they spent so, by cause.
#[derive(Debug)]
pub struct Pauses {
    start: Instant,
    by: [Counts; PauseCause::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    now: u64,
    /// Time of pauses that ended.
    ended: Duration,
    /// Of those that did not, the sum of the times from the start to their beginnings: so the time until
    /// any moment follows without a look at each.
    begun: Duration,
}

impl Pauses {
    /// Nobody is paused.
    pub fn new(start: Instant) -> Pauses {
        Pauses { start, by: Default::default() }
    }

    /// The connection was ready and is not read.
    pub fn begin<S>(&mut self, conn: &mut Conn<S>, cause: PauseCause, now: Instant) {
        if conn.reading.paused.is_some_and(|pause| pause.cause == cause) {
            return;
        }
        self.end(conn, now);
        conn.reading.paused = Some(Pause { cause, since: now.into() });
        let by = &mut self.by[cause as usize];
        by.now += 1;
        by.begun += now.saturating_duration_since(self.start);
    }

    /// The connection is read, or ends. Whether it was paused.
    pub fn end<S>(&mut self, conn: &mut Conn<S>, now: Instant) -> bool {
        let Some(Pause { cause, since }) = conn.reading.paused.take() else { return false };
        let (by, since) = (&mut self.by[cause as usize], since.get());
        by.now -= 1;
        by.begun -= since.saturating_duration_since(self.start);
        by.ended += now.saturating_duration_since(since);
        true
    }

    /// Who is paused now, and the time that was spent so until now.
    pub fn counts(&self, now: Instant) -> [PausedBy; PauseCause::ALL.len()] {
        let run = now.saturating_duration_since(self.start);
        self.by.map(|by| {
            let going_on =
                run.saturating_mul(u32::try_from(by.now).unwrap_or(u32::MAX)).saturating_sub(by.begun);
            PausedBy { now: by.now, total: by.ended + going_on }
        })
    }
}
