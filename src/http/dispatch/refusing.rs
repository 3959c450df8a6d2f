//! A server that is unreachable for longer than it is waited for: what cannot be sent is refused at once.
//!
//! Whether it is back is found out beside that. Where no connection could be made, one is tried now and then; where the
//! server takes connections and answers nothing, only an answer is proof, and now and then one request is sent for it.

use std::mem;
use std::time::Instant;

use super::judge::Reason;
use super::retry::pause;
use super::{Dispatcher, Request, Unreachable};
use crate::core::limits::DISPATCH_UNREACHABLE_MAX;
use crate::core::units::about;
use crate::http::connect::Failure;

/// Requests are refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What each of them is told.
    reason: Reason,
    /// Where a connection is no proof that the server is back: when the next request is tried, and how many were.
    next_try: Option<(Instant, u32)>,
}

impl Refusal {
    /// Whether the server is back once a connection stands.
    pub fn looks(&self) -> bool {
        self.next_try.is_none()
    }
}

impl<L: Request> Dispatcher<L> {
    /// When a server that cannot be reached is waited for no longer.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let is_waited_for = self.options.when_unreachable == Unreachable::Fails
            && self.refusal.is_none()
            && self.trouble.is_some();
        let (_, since) = self.connection_limit.tried().filter(|_| is_waited_for)?;
        since.checked_add(self.options.patience)
    }

    /// Refuses requests from the moment on at which the patience is over, not from the next try on.
    pub(super) fn look_at_patience(&mut self) {
        if self.patience_ends().is_some_and(|end| end <= self.now)
            && let Some((tried, since)) = self.connection_limit.tried()
            && let Some(trouble) = self.trouble.clone()
        {
            self.refuse(trouble, tried, since, None);
        }
    }

    /// Refuses what waits and what comes, for a reason that says how often the server was tried. `next_try` says when
    /// the next request is tried, where only an answer is proof that it is back.
    pub(super) fn refuse(
        &mut self,
        trouble: Reason,
        tries: u32,
        since: Instant,
        next_try: Option<(Instant, u32)>,
    ) {
        let tried = match tries {
            0 | 1 => "1 try".to_owned(),
            tries => format!("{tries} tries in {}", about(self.now.saturating_duration_since(since))),
        };
        let reason = Reason { text: format!("{trouble} ({tried})"), ..trouble };
        for waiting in mem::take(&mut self.waiting) {
            self.end_unreachable(waiting.0.1, reason.clone());
        }
        self.refusal = Some(Refusal { reason, next_try });
    }

    /// Refuses what is ready, and looks whether the server is back, if it is time for that.
    pub(super) fn begin_refusing(&mut self) {
        let Some(Refusal { reason, next_try }) = &self.refusal else { return };
        let (reason, next_try) = (reason.clone(), *next_try);
        let tries_one = next_try.is_some_and(|(at, _)| at <= self.now) && self.busy == 0;
        let kept = self.ready.len().min(usize::from(tries_one));
        for flight in self.ready.split_off(kept) {
            self.end_unreachable(flight, reason.clone());
        }
        let is_wanted = next_try.is_none() || kept > 0;
        match self.idle.pop() {
            Some(index) if kept > 0 => {
                let flight = self.ready.pop_front().expect("it was kept");
                self.begin_on(index, flight);
            }
            idle => {
                self.idle.extend(idle);
                let is_free = is_wanted && self.opening == 0 && self.conns.len() == self.idle.len();
                if is_free && self.connection_limit.room(self.now, self.conns.len()) > 0 {
                    self.open();
                }
            }
        }
    }

    /// A connection stands.
    pub(super) fn reached(&mut self) {
        if self.refusal.as_ref().is_none_or(Refusal::looks) {
            (self.trouble, self.refusal) = (None, None);
        }
    }

    /// An answer came, whatever it says.
    pub(super) fn answered(&mut self) {
        if self.refusal.take().is_some() {
            self.trouble = None;
        }
    }

    /// A request that was begun then was not answered in time. A server that takes connections and answers none of what
    /// it is sent is unreachable as well.
    pub(super) fn not_answered(&mut self, began: Instant, failure: &Failure) {
        let (since, tries) = self.silence.get_or_insert((began, 0));
        *tries += 1;
        let (since, tries) = (*since, *tries);
        let is_long = self.now.saturating_duration_since(since) >= self.options.patience;
        if self.options.when_unreachable == Unreachable::Fails && is_long {
            let text = format!("{} does not answer: {failure}", self.options.target);
            let trouble = Reason::of(failure.kind(), text);
            // Those that were under way when it began are none of them.
            let next = match self.refusal.as_ref().and_then(|refusal| refusal.next_try) {
                Some(next) if self.now < next.0 => next,
                known => {
                    let tried = known.map_or(1, |(_, tried)| tried + 1);
                    (self.now + pause(tried, None, &mut self.rng).min(DISPATCH_UNREACHABLE_MAX), tried)
                }
            };
            self.refuse(trouble.clone(), tries, since, Some(next));
            self.trouble = Some(trouble);
        }
    }
}
