//! A store that is away for longer than it is waited for: what cannot be carried is refused at once.
//!
//! Whether it is back is found out beside that. Where no connection could be made, one is tried now and then; where the
//! store takes connections and answers nothing, only an answer is proof, and now and then one letter is sent for it.

use std::mem;
use std::time::Instant;

use super::judge::Reason;
use super::retry::pause;
use super::{Away, Courier, Letter};
use crate::core::limits::COURIER_AWAY_MAX;
use crate::core::units::about;
use crate::http::connect::Failure;

/// Letters are refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What each of them is told.
    reason: Reason,
    /// Where a connection is no proof that the store is back: when the next letter is tried, and how many were.
    next_letter: Option<(Instant, u32)>,
}

impl Refusal {
    /// Whether the store is back once a connection stands.
    pub fn looks(&self) -> bool {
        self.next_letter.is_none()
    }
}

impl<L: Letter> Courier<L> {
    /// When a store that cannot be reached is waited for no longer.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let is_waited_for =
            self.options.away == Away::Fails && self.refusal.is_none() && self.trouble.is_some();
        let (_, since) = self.doors.tried().filter(|_| is_waited_for)?;
        since.checked_add(self.options.patience)
    }

    /// Refuses letters from the moment on at which the patience is over, not from the next try on.
    pub(super) fn look_at_patience(&mut self) {
        if self.patience_ends().is_some_and(|end| end <= self.now)
            && let Some((tried, since)) = self.doors.tried()
            && let Some(trouble) = self.trouble.clone()
        {
            self.refuse(trouble, tried, since, None);
        }
    }

    /// Refuses what waits and what comes, for a reason that says how often the store was tried. `next_letter` says when
    /// the next letter is tried, where only an answer is proof that it is back.
    pub(super) fn refuse(
        &mut self,
        trouble: Reason,
        tries: u32,
        since: Instant,
        next_letter: Option<(Instant, u32)>,
    ) {
        let tried = match tries {
            0 | 1 => "1 try".to_owned(),
            tries => format!("{tries} tries in {}", about(self.now.saturating_duration_since(since))),
        };
        let reason = Reason { text: format!("{trouble} ({tried})"), ..trouble };
        for waiting in mem::take(&mut self.waiting) {
            self.end_away(waiting.0.1, reason.clone());
        }
        self.refusal = Some(Refusal { reason, next_letter });
    }

    /// Refuses what is ready, and looks whether the store is back, if it is time for that.
    pub(super) fn begin_refusing(&mut self) {
        let Some(Refusal { reason, next_letter }) = &self.refusal else { return };
        let (reason, next_letter) = (reason.clone(), *next_letter);
        let tries_letter = next_letter.is_some_and(|(at, _)| at <= self.now) && self.busy == 0;
        let kept = self.ready.len().min(usize::from(tries_letter));
        for flight in self.ready.split_off(kept) {
            self.end_away(flight, reason.clone());
        }
        let is_wanted = next_letter.is_none() || kept > 0;
        match self.idle.pop() {
            Some(index) if kept > 0 => {
                let flight = self.ready.pop_front().expect("it was kept");
                self.begin_on(index, flight);
            }
            idle => {
                self.idle.extend(idle);
                let is_free = is_wanted && self.opening == 0 && self.conns.len() == self.idle.len();
                if is_free && self.doors.room(self.now, self.conns.len()) > 0 {
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

    /// A request that was begun then was not answered in time. A store that takes connections and answers none of what
    /// it is sent is away as well.
    pub(super) fn not_answered(&mut self, began: Instant, failure: &Failure) {
        let (since, tries) = self.silence.get_or_insert((began, 0));
        *tries += 1;
        let (since, tries) = (*since, *tries);
        let is_long = self.now.saturating_duration_since(since) >= self.options.patience;
        if self.options.away == Away::Fails && is_long {
            let text = format!("{} does not answer: {failure}", self.options.target);
            let trouble = Reason::of(failure.kind(), text);
            // Those that were under way when it began are none of them.
            let next = match self.refusal.as_ref().and_then(|refusal| refusal.next_letter) {
                Some(next) if self.now < next.0 => next,
                known => {
                    let tried = known.map_or(1, |(_, tried)| tried + 1);
                    (self.now + pause(tried, None, &mut self.dice).min(COURIER_AWAY_MAX), tried)
                }
            };
            self.refuse(trouble.clone(), tries, since, Some(next));
            self.trouble = Some(trouble);
        }
    }
}
