//! What became of every frame.
//!
//! Every frame that was read has exactly one fate, and at any moment
//! `read + reassembled = in flight + delivered + control + rejected + fragments + dropped + undelivered`.

use std::fmt;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use crate::core::limits::NAMED_LOSERS;
use crate::core::units::many;
use crate::wire::Status;

/// The counts since the start. All are of frames, where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Cut from a stream, or found to be none (MALFORMED, TOO_LARGE).
    pub read: u64,
    /// Written to every matching subscriber.
    pub delivered: u64,
    /// Of those, the ones that no subscriber's pattern matched.
    pub unmatched: u64,
    /// SUBSCRIBE, UNSUBSCRIBE and PING, done.
    pub control: u64,
    /// Refused, by status.
    pub rejected: Rejected,
    /// Fragments of which messages were reassembled.
    #[serde(flatten, serialize_with = "with_former_name")]
    pub fragments: u64,
    /// Messages reassembled of them; each has a fate of its own.
    pub reassembled: u64,
    /// Dropped for a subscriber that was too slow (and written to others, where there were others).
    pub dropped: u64,
    /// Not written to a subscriber whose connection ended first, or not distributed since their own
    /// connection was closed.
    pub undelivered: u64,
    /// Of those, the ones that no handler had answered when the time to drain was over, and what came behind them.
    pub unanswered: u64,
    /// Bytes read from peers.
    pub bytes_read: u64,
    /// Bytes written to peers.
    pub bytes_written: u64,
    /// Bytes of frames that their connections did not finish.
    pub bytes_unfinished: u64,
    /// Bytes between frames that were skipped, where a layout scans.
    pub bytes_skipped: u64,
    /// The same by listener: the native one first, then the others as they were given.
    pub listeners: Vec<OfListener>,
    /// Copies of frames, one for each subscriber: written, dropped, and left when it went.
    pub copies: Copies,
    /// Connections accepted, and refused at the limit.
    pub connections: Connections,
    /// Who lost frames to the drop policy, the first hundred; the rest adds up to `copies.dropped`.
    pub losers: Vec<(SocketAddr, u64)>,
    /// Batches verified by the reactor, and by the workers; and pieces of large frames, likewise.
    pub verified: VerifiedBy,
    /// Frames that handlers had, by how they answered.
    pub calls: Calls,
    /// Frames that were put into the sinks, where there are some.
    pub to_sinks: ToSinks,
    /// How many sinks there are.
    pub sinks: u64,
}

/// Distributed frames by what the sinks said of them: what is put and neither is not confirmed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ToSinks {
    /// Put into every sink.
    pub put: u64,
    /// Confirmed by every sink.
    pub confirmed: u64,
    /// Refused by one.
    pub refused: u64,
}

impl ToSinks {
    /// Frames on which some sink has not answered.
    pub fn unconfirmed(&self) -> u64 {
        self.put - self.confirmed - self.refused
    }
}

/// Frames that handlers had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Answered by a handler, however.
    pub answered: u64,
    /// Of those, replaced by another frame.
    pub replaced: u64,
    /// Of those, refused.
    pub refused: u64,
    /// Given to a second handler since the first failed.
    pub tried_again: u64,
    /// Refused since the second failed too.
    pub failed: u64,
    /// Given to a handler once more, in their turn: they were answered before it, and the answer found no room to wait.
    pub repeated: u64,
}

/// Rejected frames by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected([u64; Status::ALL.len()]);

/// Copies of frames by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// To the subscriber's socket.
    pub written: u64,
    /// Under the drop policy.
    pub dropped: u64,
    /// When the subscriber's connection ended.
    pub undelivered: u64,
}

/// Connections by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Accepted.
    pub accepted: u64,
    /// Closed at accept, at the limit.
    pub refused: u64,
    /// Closed since.
    pub closed: u64,
}

/// What came at one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OfListener {
    /// What is spoken there, and where, but for the first: `gt06=0.0.0.0:5023`.
    pub name: String,
    /// Connections accepted.
    pub accepted: u64,
    /// Of those, closed since.
    pub closed: u64,
    /// Frames read.
    pub read: u64,
    /// Frames rejected while their connections were there.
    pub rejected: u64,
    /// Bytes between frames that were skipped, where its layout scans.
    pub bytes_skipped: u64,
}

/// Where batches and pieces were verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifiedBy {
    /// Batches by the reactor itself.
    pub inline: u64,
    /// Batches by the workers.
    pub workers: u64,
    /// Pieces of large frames, by the workers.
    pub pieces: u64,
    /// Jobs of the workers that the reactor did while it would have waited for them.
    pub helped: u64,
    /// Jobs that were hashed beside another job.
    pub paired: u64,
    /// Batches that were distributed as one, without a look at each frame.
    pub plain: u64,
}

impl Rejected {
    /// Counts one.
    pub fn add(&mut self, status: Status) {
        self.0[status_index(status)] += 1;
    }

    /// Frames rejected with this status.
    pub fn of(&self, status: Status) -> u64 {
        self.0[status_index(status)]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Statuses that occurred, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Status, u64)> {
        Status::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

impl Serialize for Rejected {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(status, count)| (status.name(), count)))
    }
}

impl Ledger {
    /// Frames that have no fate yet: with a worker, waiting for their turn, or in an outbox.
    pub fn in_flight(&self) -> u64 {
        self.read + self.reassembled - self.fates()
    }

    /// Whether every frame read has its fate.
    pub fn is_balanced(&self) -> bool {
        self.read + self.reassembled == self.fates()
    }

    /// What was accepted and is not done, since the time to drain was over: frames that no handler has answered, and
    /// frames that a sink has not confirmed. None, if that is nothing.
    pub fn left_by_drain(&self) -> Option<String> {
        let left = [
            (self.unanswered, "not answered by a handler"),
            (self.to_sinks.unconfirmed(), "not confirmed by the sinks"),
        ];
        let said = left.iter().filter(|(count, _)| *count > 0);
        let said: Vec<String> =
            said.map(|(count, what)| format!("{} {what}", many(*count, "frame"))).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }

    fn fates(&self) -> u64 {
        self.delivered
            + self.control
            + self.rejected.total()
            + self.fragments
            + self.dropped
            + self.undelivered
    }

    /// Counts copies dropped for one subscriber.
    pub fn drop_for(&mut self, peer: SocketAddr, frames: u64) {
        self.copies.dropped += frames;
        if let Some((_, lost)) = self.losers.iter_mut().find(|(loser, _)| *loser == peer) {
            *lost += frames;
        } else if self.losers.len() < NAMED_LOSERS {
            self.losers.push((peer, frames));
        }
    }
}

/// `assembled` is what `fragments` was called; it goes with the next release.
fn with_former_name<S: Serializer>(fragments: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Names {
        fragments: u64,
        assembled: u64,
    }
    Names { fragments: *fragments, assembled: *fragments }.serialize(serializer)
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frames: read {}", self.read)?;
        if self.reassembled > 0 {
            write!(f, " + reassembled {}", self.reassembled)?;
        }
        write!(f, " = delivered {}", self.delivered)?;
        if self.unmatched > 0 {
            write!(f, " (matching no subscriber {})", self.unmatched)?;
        }
        write!(f, " + control {} + rejected {}", self.control, self.rejected.total())?;
        for (i, (status, count)) in self.rejected.iter().enumerate() {
            write!(f, "{}{status} {count}", if i == 0 { " (" } else { ", " })?;
        }
        if self.rejected.total() > 0 {
            f.write_str(")")?;
        }
        if self.fragments > 0 {
            write!(f, " + fragments {}", self.fragments)?;
        }
        write!(f, " + dropped {} + undelivered {}", self.dropped, self.undelivered)?;
        if self.unanswered > 0 {
            write!(f, " (waiting for a handler {})", self.unanswered)?;
        }
        if !self.is_balanced() {
            write!(f, " + in flight {}", self.in_flight())?;
        }
        if self.calls != Calls::default() {
            let Calls { answered, replaced, refused, tried_again, failed, repeated } = self.calls;
            write!(
                f,
                "\ncalls: answered {answered} (replaced {replaced}, refused {refused}), tried again {tried_again}, failed {failed}"
            )?;
            if repeated > 0 {
                write!(f, ", called twice for want of room {repeated}")?;
            }
        }
        if self.sinks > 0 {
            let ToSinks { put, confirmed, refused } = self.to_sinks;
            let open = self.to_sinks.unconfirmed();
            write!(
                f,
                "\nsinks: put {put} = confirmed {confirmed} + refused {refused} + not confirmed {open}"
            )?;
        }
        let Copies { written, dropped, undelivered } = self.copies;
        write!(
            f,
            "\ncopies to subscribers: written {written}, dropped {dropped}, undelivered {undelivered}"
        )?;
        for (peer, lost) in &self.losers {
            write!(f, "\n  dropped for {peer}: {lost}")?;
        }
        write!(
            f,
            "\nbytes: read {}, written {}, of unfinished frames {}",
            self.bytes_read, self.bytes_written, self.bytes_unfinished
        )?;
        if self.bytes_skipped > 0 {
            write!(f, ", skipped between frames {}", self.bytes_skipped)?;
        }
        let Connections { accepted, refused, .. } = self.connections;
        write!(f, "\nconnections: accepted {accepted}, refused {refused}")
    }
}

fn status_index(status: Status) -> usize {
    Status::ALL.iter().position(|&each| each == status).expect("every status is in ALL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_an_equation() {
        let mut ledger = Ledger { read: 10, delivered: 5, control: 1, undelivered: 1, ..Ledger::default() };
        ledger.rejected.add(Status::BadDigest);
        ledger.rejected.add(Status::BadDigest);
        assert_eq!(ledger.in_flight(), 1);
        let text = ledger.to_string();
        assert!(
            text.starts_with(
                "frames: read 10 = delivered 5 + control 1 + rejected 2 (BAD_DIGEST 2) + dropped 0 + undelivered 1 + in flight 1\n"
            ),
            "{text}"
        );
        assert_eq!(serde_json::to_value(&ledger).unwrap()["rejected"]["BAD_DIGEST"], 2);
    }

    #[test]
    fn fragments_have_their_former_name_too() {
        let json = serde_json::to_value(Ledger { fragments: 3, read: 7, ..Ledger::default() }).unwrap();
        assert_eq!(
            (&json["fragments"], &json["assembled"], &json["read"]),
            (&3.into(), &3.into(), &7.into())
        );
    }

    #[test]
    fn it_says_what_handlers_and_sinks_left() {
        let nothing = Ledger { sinks: 1, ..Ledger::default() };
        let line = "\nsinks: put 0 = confirmed 0 + refused 0 + not confirmed 0\n";
        assert!(nothing.to_string().contains(line), "{nothing}");
        assert!(!Ledger::default().to_string().contains("sinks"));
        assert_eq!(nothing.left_by_drain(), None);
        let to_sinks = ToSinks { put: 3, confirmed: 1, refused: 0 };
        let left = Ledger { read: 1, undelivered: 1, unanswered: 1, to_sinks, ..nothing };
        assert!(left.to_string().contains(" + undelivered 1 (waiting for a handler 1)\n"), "{left}");
        let said = "1 frame not answered by a handler, 2 frames not confirmed by the sinks";
        assert_eq!(left.left_by_drain().as_deref(), Some(said));
    }

    #[test]
    fn losers_are_named_up_to_a_bound() {
        let mut ledger = Ledger::default();
        for port in 0..200 {
            ledger.drop_for(([127, 0, 0, 1], port).into(), 2);
        }
        assert_eq!((ledger.losers.len(), ledger.copies.dropped), (NAMED_LOSERS, 400));
    }
}
