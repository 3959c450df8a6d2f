//! Looking at every connection, a slice a turn, for those that stand out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Observe;
use crate::core::limits::{CLOSED_KEPT, SURVEY_ROWS, SURVEY_TURN};
use crate::gateway::CloseReason;
use crate::gateway::conn::table::Conns;
use crate::gateway::conn::{Conn, ConnId, State};
use crate::gateway::control::Answer;
use crate::gateway::egress::outbox_item::OutboxItem;
use crate::gateway::observe::traffic::Rejects;
use crate::gateway::snapshot::{Closed, PauseCause, Paused, Peer, Rejecting, Slow, Snapshot, Survey};

/// 1 s: a connection that waits so long for its own frames is not merely busy.
const IN_FLIGHT_LONG: Duration = Duration::from_secs(1);

/// A look at every connection that is not finished, and who asked for it.
#[derive(Debug, Default)]
pub struct Surveyor {
    /// The next slot to look at.
    cursor: usize,
    found: Survey,
    asked: Vec<Answer<Snapshot>>,
}

/// A connection that ended.
#[derive(Debug)]
pub struct Ended {
    peer: Peer,
    reason: CloseReason,
    at: Instant,
}

/// The last connections that ended.
#[derive(Debug, Default)]
pub struct History {
    ended: VecDeque<Ended>,
}

impl History {
    /// A connection ended.
    pub fn push(&mut self, peer: Peer, reason: CloseReason, at: Instant) {
        if self.ended.len() == CLOSED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { peer, reason, at });
    }

    fn shown(&self, now: Instant) -> Vec<Closed> {
        let closed = |ended: &Ended| Closed {
            peer: ended.peer.clone(),
            reason: ended.reason.to_string(),
            ago: now.saturating_duration_since(ended.at),
        };
        self.ended.iter().rev().map(closed).collect()
    }
}

impl Observe {
    /// Someone wants to know of every connection. One look answers all who ask while it goes on.
    pub fn ask_survey(&mut self, answer: Answer<Snapshot>) {
        self.surveyor.asked.push(answer);
    }

    /// Whether someone waits for a survey.
    pub fn is_surveyed(&self) -> bool {
        !self.surveyor.asked.is_empty()
    }

    /// Looks at the next connections, if someone asked. When all were looked at: what was found, and who asked.
    pub fn survey_on<S>(
        &mut self,
        conns: &Conns<S>,
        is_subscriber: impl Fn(ConnId) -> bool,
        now: Instant,
    ) -> Option<(Survey, Vec<Answer<Snapshot>>)> {
        if !self.is_surveyed() {
            return None;
        }
        let end = conns.slots().min(self.surveyor.cursor + SURVEY_TURN);
        for slot in self.surveyor.cursor..end {
            if let Some(conn) = conns.in_slot(slot) {
                self.surveyor.found.subscribers += u64::from(is_subscriber(conn.id));
                look_at(&mut self.surveyor.found, conns, conn, now);
            }
        }
        self.surveyor.cursor = end;
        if end < conns.slots() {
            return None;
        }
        let Surveyor { mut found, asked, .. } = std::mem::take(&mut self.surveyor);
        found.closed = self.history.shown(now);
        Some((found, asked))
    }
}

fn look_at<S>(found: &mut Survey, conns: &Conns<S>, conn: &Conn<S>, now: Instant) {
    found.publishers += u64::from(conn.traffic.publishes);
    let first =
        conn.order.stage.as_ref().and_then(|stage| stage.waiting.front()).filter(|first| first.called);
    let queued = first.map(|first| now.saturating_duration_since(first.since));
    found.oldest_queued = found.oldest_queued.max(queued.unwrap_or_default());
    let pending = conn.writing.outbox.pending() as u64;
    found.pending_bytes += pending;
    found.pending_bytes_max = found.pending_bytes_max.max(pending);
    if pending > 0 {
        rank(&mut found.slow, pending, |slow| slow.pending_bytes, || slow(conn, now));
    }
    if let Some(pause) = conn.reading.paused.filter(|_| conn.state == State::Open)
        && let time = now.saturating_duration_since(pause.since.get())
        // Every busy publisher waits for its own frames again and again.
        && (pause.cause != PauseCause::InFlight || time >= IN_FLIGHT_LONG)
    {
        let by = conn.reading.held_by.and_then(|id| conns.get(id)).map(|holder| holder.peer);
        let row = || Paused { peer: conn.described(now), cause: pause.cause, by, time };
        rank(&mut found.paused, time, |paused| paused.time, row);
    }
    if let Some(&Rejects { count, last, at }) = conn.traffic.rejects.as_deref() {
        let ago = now.saturating_duration_since(at);
        let row = || Rejecting { peer: conn.described(now), rejected: count, last, ago };
        rank(&mut found.rejected, count, |row| row.rejected, row);
    }
}

/// Keeps the rows with the largest keys, the largest first.
fn rank<R, K: Ord>(rows: &mut Vec<R>, key: K, key_of: impl Fn(&R) -> K, row: impl FnOnce() -> R) {
    if rows.len() == SURVEY_ROWS && rows.last().is_some_and(|last| key_of(last) >= key) {
        return;
    }
    let at = rows.partition_point(|other| key_of(other) >= key);
    rows.insert(at, row());
    rows.truncate(SURVEY_ROWS);
}

fn slow<S>(conn: &Conn<S>, now: Instant) -> Slow {
    let first = conn.writing.outbox.first().and_then(OutboxItem::distributed_at);
    let idle = conn.writing.unread_for(now).unwrap_or_default();
    Slow {
        peer: conn.described(now),
        pending_bytes: conn.writing.outbox.pending() as u64,
        oldest: first.map_or(idle, |at| now.saturating_duration_since(at)),
        idle,
        dropped: conn.traffic.dropped,
        holding: conn.writing.slow.as_ref().map_or(0, |slow| slow.holding.len() as u64),
    }
}

impl<S> Conn<S> {
    /// Who it is and what it did, for people.
    pub(in crate::gateway) fn described(&self, now: Instant) -> Peer {
        Peer {
            address: self.peer,
            identity: self.standing.as_ref().and_then(|standing| standing.name()).map(Box::from),
            age: now.saturating_duration_since(self.opened.get()),
            frames_read: self.traffic.frames_read,
            bytes_read: self.traffic.bytes_read,
            frames_written: self.traffic.frames_written,
            bytes_written: self.traffic.bytes_written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_in_order() {
        let mut rows = Vec::new();
        for key in (0..1_000).map(|i| i * 7919 % 1_000) {
            rank(&mut rows, key, |row| *row, || key);
        }
        let expected: Vec<i32> = (0..SURVEY_ROWS as i32).map(|i| 999 - i).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn the_latest_are_kept() {
        let (mut history, now) = (History::default(), Instant::now());
        for port in 0..300 {
            let peer = Peer {
                address: ([127, 0, 0, 1], port).into(),
                identity: None,
                age: std::time::Duration::ZERO,
                frames_read: 0,
                bytes_read: 0,
                frames_written: 0,
                bytes_written: 0,
            };
            history.push(peer, CloseReason::Idle, now);
        }
        let shown = history.shown(now);
        assert_eq!((shown.len(), shown[0].peer.address.port()), (CLOSED_KEPT, 299));
    }
}
