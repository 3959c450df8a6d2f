//! What became of what was sent.

use super::Error;
use crate::wire::{NO_SUBSCRIBER, Status};

/// 200 bytes of a reason are kept: a handler may give one of any length.
const REASON: usize = 200;

/// Final answers by status, and the first reason of each.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    counts: [u64; Status::ALL.len()],
    unmatched: u64,
    reasons: [Option<String>; Status::ALL.len()],
}

impl Answers {
    /// How many frames got this status.
    pub fn count(&self, status: Status) -> u64 {
        self.counts[index(status)]
    }

    /// Of the frames that are OK, those that matched no subscriber and that nothing else took.
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// The reason of the first of them, where it had one.
    pub fn reason(&self, status: Status) -> Option<&str> {
        self.reasons[index(status)].as_deref()
    }

    /// Every status that some frame got, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Status, u64, Option<&str>)> {
        Status::ALL
            .into_iter()
            .map(|status| (status, self.count(status), self.reason(status)))
            .filter(|&(_, count, _)| count > 0)
    }

    /// Frames that were answered.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn add(&mut self, status: Status, reason: &[u8]) {
        let index = index(status);
        self.counts[index] += 1;
        self.unmatched += u64::from(status == Status::Ok && reason == NO_SUBSCRIBER.as_bytes());
        // What comes with OK is a handler's answer and no reason.
        if status != Status::Ok && self.reasons[index].is_none() && !reason.is_empty() {
            let reason = &reason[..reason.len().min(REASON)];
            self.reasons[index] = Some(String::from_utf8_lossy(reason).into_owned());
        }
    }
}

fn index(status: Status) -> usize {
    Status::ALL.iter().position(|&known| known == status).expect("ALL holds every status")
}

/// What became of everything that a [`Publisher`](super::Publisher) was given.
///
/// With replies `frames = answers.total() + unanswered`; without, `frames = unsent + unconfirmed + unasked`, and what was
/// refused all the same.
#[derive(Clone, Debug)]
pub struct Report {
    /// Frames given to it.
    pub frames: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// The final answers.
    pub answers: Answers,
    /// Frames that wanted a reply and got none.
    pub unanswered: u64,
    /// Frames without replies that were never written.
    pub unsent: u64,
    /// Frames without replies that were written to a connection that was then lost: whether the gateway got them cannot be known.
    pub unconfirmed: u64,
    /// Frames that asked for no reply and that the gateway has read: what became of them is not told.
    pub unasked: u64,
    /// How many times a frame was sent again.
    pub resent: u64,
    /// Why it could not finish.
    pub error: Option<Error>,
}

impl Report {
    /// Whether every frame is done: OK, or accepted before (DUPLICATE), or read where no replies were wanted.
    pub fn is_complete(&self) -> bool {
        let done = self.answers.count(Status::Ok) + self.answers.count(Status::Duplicate);
        done == self.answers.total()
            && self.unanswered + self.unsent + self.unconfirmed == 0
            && self.error.is_none()
    }
}
