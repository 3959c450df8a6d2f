//! The file has changed: every live connection is judged again, some a turn, and what it subscribes to is looked at.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::AccessControl;
use super::standing::Judged;
use crate::gateway::conn::Conn;
use crate::gateway::control::Answer;
use crate::wire::access::{Access, Refusal, Rights};

/// What came of a change of the access file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reviewed {
    /// Identities in the file.
    pub identities: u64,
    /// Connections that were judged again.
    pub connections: u64,
    /// Those that were closed.
    pub closed: u64,
    /// Patterns that were taken from connections that stay.
    pub patterns_taken: u64,
}

impl Reviewed {
    fn and_closed(self, beside: u64) -> Reviewed {
        Reviewed { closed: self.closed + beside, ..self }
    }
}

/// How far that is, and who waits for it.
#[derive(Debug, Default)]
pub struct Review {
    /// The next slot; none where nothing is under way.
    cursor: Option<usize>,
    found: Reviewed,
    /// Each with how many connections were closed beside.
    asked: Vec<(Answer<Reviewed>, u64)>,
}

impl Review {
    /// Whether connections are still to be judged.
    pub fn is_under_way(&self) -> bool {
        self.cursor.is_some()
    }
}

impl AccessControl {
    /// Puts another file into force. The answer is given when every connection was judged by it.
    pub fn replace(&mut self, access: Arc<Access>, answer: Option<Answer<Reviewed>>) {
        self.review.found = Reviewed { identities: access.identities().len() as u64, ..Reviewed::default() };
        self.review.cursor = Some(0);
        self.review.asked.extend(answer.map(|answer| (answer, 0)));
        self.access = Some(access);
        self.generation += 1;
        self.permits.forget();
    }

    /// The next slot to be looked at, below so many, and when all were, none: then the answers are given.
    pub fn next_slot(&mut self, slots: usize) -> Option<usize> {
        let cursor = self.review.cursor.as_mut()?;
        if *cursor < slots {
            *cursor += 1;
            return Some(*cursor - 1);
        }
        self.review.cursor = None;
        let found = self.review.found;
        log::info!(
            "the access file is in force: {} identities; of {} connections {} were closed, and {} patterns taken from others",
            found.identities,
            found.connections,
            found.closed,
            found.patterns_taken
        );
        self.review.asked.drain(..).for_each(|(answer, beside)| answer.give(found.and_closed(beside)));
        None
    }

    /// Answers what came of a change, by which so many connections were closed beside: when all are judged.
    pub fn answer(&mut self, answer: Answer<Reviewed>, closed: u64) {
        match self.review.cursor {
            Some(_) => self.review.asked.push((answer, closed)),
            None => answer.give(self.review.found.and_closed(closed)),
        }
    }

    /// Judges a live connection again. What it may do from now on, if that is known already.
    pub fn review<S>(&mut self, conn: &mut Conn<S>, now: Instant) -> Result<Option<Arc<Rights>>, Refusal> {
        let Some(standing) = &conn.standing else { return Ok(None) };
        self.review.found.connections += 1;
        match &standing.judged {
            Judged::NotYet { .. } => {
                let is_known = self.identify(conn, None, now).is_ok();
                let standing = conn.standing.as_mut().expect("it was there a moment ago");
                if !is_known {
                    standing.look_at.get_or_insert((now + self.patience).into());
                }
                self.look_ahead(standing, is_known);
                return Ok(None);
            }
            // It is being closed.
            Judged::Refused(_) => return Ok(None),
            Judged::Is(_) if standing.generation == self.generation => {}
            Judged::Is(_) => self.judge_again(conn, now),
        }
        let standing = conn.standing.as_ref().expect("it was there a moment ago");
        if let Some(refusal) = standing.refusal() {
            self.review.found.closed += 1;
            return Err(refusal.clone());
        }
        Ok(standing.rights().cloned())
    }

    /// So many patterns were taken from a connection.
    pub fn count_taken(&mut self, patterns: usize) {
        self.review.found.patterns_taken += patterns as u64;
        self.counts.patterns_taken += patterns as u64;
    }
}
