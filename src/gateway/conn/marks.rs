//! What is still to be done, and for which connections: parts mark a connection, and the turn takes the lists.
//!
//! So nothing that works on a connection can end it in the middle of its own work, whatever it calls.

use std::collections::VecDeque;

use super::table::Conns;
use super::{ConnId, End, State};
use crate::gateway::CloseReason;

/// Connections by what is to be done for them. Each stands in a list at most once.
#[derive(Debug, Default)]
pub struct Due {
    /// Ready to be read, this turn or the next.
    pub runnable: VecDeque<ConnId>,
    /// With something new to write.
    pub dirty: Vec<ConnId>,
    /// Whose next step towards their end may be due.
    pub ending: Vec<ConnId>,
}

impl<S> Conns<S> {
    /// It may be read.
    pub fn mark_runnable(&mut self, id: ConnId) {
        let conn = &mut self[id];
        let is_over = matches!(conn.state, State::Lost | State::Gone);
        if conn.reading.readable && !conn.reading.queued && conn.reading.waiting.is_none() && !is_over {
            conn.reading.queued = true;
            self.due.runnable.push_back(id);
        }
    }

    /// There is something to write to it, or it can be written to again.
    pub fn mark_dirty(&mut self, id: ConnId) {
        if !std::mem::replace(&mut self[id].writing.dirty, true) {
            self.due.dirty.push(id);
        }
    }

    /// Something is over that its end may have waited for.
    pub fn mark_ending(&mut self, id: ConnId) {
        let conn = &mut self[id];
        if !matches!(conn.state, State::Open) && !conn.is_marked {
            conn.is_marked = true;
            self.due.ending.push(id);
        }
    }

    /// It is to end, with a last reply where the reason has a status, about the frame that it numbered `frame_id`.
    /// An end that a frame of its own brought has its place behind the replies which it still waits for.
    pub fn close(&mut self, id: ConnId, reason: CloseReason, frame_id: u64) {
        if self[id].is_shaking() {
            // Nobody can be told anything yet.
            return self.lose(id, reason);
        }
        let conn = &mut self[id];
        if !conn.is_written() {
            return;
        }
        let in_turn = matches!(
            reason,
            CloseReason::Fault(_)
                | CloseReason::Unauthorized
                | CloseReason::Refused(_)
                | CloseReason::BadDigest
        );
        let waits = in_turn && conn.order.has_pending_replies() || conn.is_delayed();
        conn.state = if waits { State::Draining } else { State::Ending };
        conn.end = Some(Box::new(End { reason, frame_id }));
        self.mark_ending(id);
    }

    /// Its socket is dead, or its peer is not worth a word. Where it was to end anyway, that is why it ends.
    pub fn lose(&mut self, id: ConnId, reason: CloseReason) {
        let conn = &mut self[id];
        match conn.state {
            State::Open | State::Draining => conn.end = Some(Box::new(End { reason, frame_id: 0 })),
            State::Ending | State::Closing | State::Lingering => {}
            State::Lost | State::Gone => return,
        }
        conn.state = State::Lost;
        conn.reading.readable = false;
        self.mark_ending(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn opened() -> (Conns<()>, ConnId) {
        let mut conns = Conns::new();
        let peer = ([127, 0, 0, 1], 1).into();
        let id = conns.insert(peer, true, Instant::now(), |_| Ok::<_, ()>(())).unwrap();
        (conns, id)
    }

    #[test]
    fn what_is_to_end_is_there_until_the_turn_ends_it_and_for_its_first_reason() {
        let (mut conns, id) = opened();
        conns.mark_ending(id);
        assert!(conns.due.ending.is_empty(), "what is open does not end");
        conns.close(id, CloseReason::Slow, 7);
        conns.close(id, CloseReason::BadDigest, 8);
        conns.lose(id, CloseReason::Idle);
        let end = conns[id].end.as_ref().map(|end| (end.reason.clone(), end.frame_id));
        assert_eq!((conns[id].state, end), (State::Lost, Some((CloseReason::Slow, 7))));
        assert_eq!((&conns.due.ending[..], conns.len()), (&[id][..], 1));
    }

    #[test]
    fn an_end_that_a_frame_brought_waits_behind_pending_replies() {
        for (reason, expected) in
            [(CloseReason::BadDigest, State::Draining), (CloseReason::Slow, State::Ending)]
        {
            let (mut conns, id) = opened();
            conns[id].order.stage.get_or_insert_default().pending_replies = 1;
            conns.close(id, reason, 1);
            assert_eq!(conns[id].state, expected);
        }
    }
}
