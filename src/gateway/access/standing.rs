//! Whose connection it is, as far as that is known.

use std::sync::Arc;
use std::time::Instant;

use crate::runtime::net::Moment;
use crate::wire::access::{Refusal, Rights, TokenDigest, Who};

/// What a connection has at a gateway with an access file.
#[derive(Debug)]
pub struct Standing {
    pub(super) judged: Judged,
    /// What AUTH said, to be judged again when the file changes.
    pub(super) token: Option<Box<Token>>,
    /// The file that it was judged by.
    pub(super) generation: u32,
    /// Its AUTH has been judged, and is answered at its place.
    pub(super) authenticates: bool,
    /// Its end waits, so that guessing tokens takes time.
    pub(super) is_delayed: bool,
    /// When it is looked at again: whether its access has ended, or where nobody knows it, whether it has said who it is.
    pub(super) look_at: Option<Moment>,
}

/// A name and the digest of its token; none where it was too long to be one.
#[derive(Debug)]
pub struct Token {
    pub name: Box<str>,
    pub digest: Option<TokenDigest>,
}

#[derive(Debug)]
pub enum Judged {
    /// Nothing came of it. Without a word more it would be someone, or not.
    NotYet { is_known: bool },
    /// It may be here.
    Is(Who),
    /// It may not.
    Refused(Refusal),
}

impl Standing {
    /// What it may do; nothing as long as that is not known.
    pub fn rights(&self) -> Option<&Arc<Rights>> {
        match &self.judged {
            Judged::Is(who) => Some(who.rights()),
            Judged::NotYet { .. } | Judged::Refused(_) => None,
        }
    }

    /// The name of its identity.
    pub fn name(&self) -> Option<&str> {
        match &self.judged {
            Judged::Is(who) => who.name(),
            Judged::NotYet { .. } | Judged::Refused(_) => None,
        }
    }

    /// Whose it is.
    pub fn who(&self) -> Option<&Who> {
        match &self.judged {
            Judged::Is(who) => Some(who),
            Judged::NotYet { .. } | Judged::Refused(_) => None,
        }
    }

    /// Why it may not be here.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.judged {
            Judged::Refused(refusal) => Some(refusal),
            Judged::NotYet { .. } | Judged::Is(_) => None,
        }
    }

    /// Whether nobody knows it until it says who it is.
    pub fn is_stranger(&self) -> bool {
        matches!(self.judged, Judged::NotYet { is_known: false })
    }

    /// Whether its end waits.
    pub fn is_delayed(&self) -> bool {
        self.is_delayed
    }

    /// Its end has waited for long enough.
    pub fn end_delay(&mut self) {
        self.is_delayed = false;
    }

    /// When it must be looked at.
    pub fn deadline(&self) -> Option<Instant> {
        self.look_at.map(Moment::get)
    }

    /// An AUTH is at its place: whether it is the one that was judged.
    pub fn take_auth(&mut self) -> bool {
        std::mem::take(&mut self.authenticates)
    }
}
