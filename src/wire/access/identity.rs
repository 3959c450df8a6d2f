//! An identity: by what it is known, until when, and why it may be refused.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(feature = "access")]
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{CertName, Rights};
use crate::core::limits::ACCESS_TOKEN;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest(pub(super) [u8; 32]);

impl TokenDigest {
    /// That of a token; none of what is too long to be one.
    pub fn of(token: &[u8]) -> Option<TokenDigest> {
        (token.len() <= ACCESS_TOKEN).then(|| TokenDigest(Sha256::digest(token).into()))
    }

    /// As the access file has it.
    pub fn hex(&self) -> String {
        crate::core::units::hex(&self.0)
    }

    /// Whether it is among `others`. How far it agrees, and with which, takes no time that could be measured.
    pub(super) fn is_one_of(&self, others: &[TokenDigest]) -> bool {
        others.iter().fold(Choice::from(0), |found, other| found | self.0.ct_eq(&other.0)).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest")
    }
}

/// Someone who may connect.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) name: String,
    pub(super) tokens: Vec<TokenDigest>,
    pub(super) certs: Vec<CertName>,
    #[cfg(feature = "access")]
    pub(super) networks: Vec<IpNet>,
    pub(super) field: Option<(String, String)>,
    pub(super) rights: Arc<Rights>,
    pub(super) until: Option<SystemTime>,
    pub(super) is_revoked: bool,
}

impl Identity {
    /// Its name: one token of a topic, without wildcards.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digests of its tokens.
    pub fn tokens(&self) -> &[TokenDigest] {
        &self.tokens
    }

    /// The names in certificates that are its.
    pub fn certs(&self) -> &[CertName] {
        &self.certs
    }

    /// The networks that it connects from.
    #[cfg(feature = "access")]
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// The name and value of a kept field.
    pub fn field(&self) -> Option<(&str, &str)> {
        self.field.as_ref().map(|(name, value)| (&**name, &**value))
    }

    /// What it may do.
    pub fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    /// When its access ends.
    pub fn until(&self) -> Option<SystemTime> {
        self.until
    }

    /// Whether it is among the revoked.
    pub fn is_revoked(&self) -> bool {
        self.is_revoked
    }

    /// Whether it may be connected at this moment.
    pub fn check(&self, now: SystemTime) -> Result<(), Refusal> {
        if self.is_revoked {
            return Err(Refusal::Revoked(self.name.clone()));
        }
        match self.until {
            Some(until) if until <= now => Err(Refusal::Ended { name: self.name.clone(), until }),
            _ => Ok(()),
        }
    }
}

/// Whose connection it is.
#[derive(Clone, Debug)]
pub enum Who {
    /// An identity's.
    Named(Arc<Identity>),
    /// Of one that has none.
    Default(Arc<Rights>),
}

impl Who {
    /// The identity's name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Who::Named(identity) => Some(identity.name()),
            Who::Default(_) => None,
        }
    }

    /// What it may do.
    pub fn rights(&self) -> &Arc<Rights> {
        match self {
            Who::Named(identity) => identity.rights(),
            Who::Default(rights) => rights,
        }
    }
}

/// The kinds of [`Refusal`], for metrics, in their order.
pub const REFUSALS: [&str; 6] = ["unknown", "wrong_token", "in_the_clear", "ambiguous", "revoked", "ended"];

/// Why a connection is refused. In words it is a reason for the peer, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing of it is in the access file.
    Unknown,
    /// No identity of this name has this token.
    WrongToken,
    /// It brought a token on a connection that others can read.
    InTheClear,
    /// It is known as two.
    Ambiguous {
        /// By what.
        of: &'static str,
        /// An identity.
        first: String,
        /// Another one.
        second: String,
    },
    /// The identity is revoked.
    Revoked(String),
    /// The identity's `until` has passed.
    Ended {
        /// Its name.
        name: String,
        /// The instant.
        until: SystemTime,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown => f.write_str("the access file knows no such identity, and has no [default]"),
            Refusal::WrongToken => f.write_str("wrong name or token"),
            Refusal::InTheClear => f.write_str(
                "a token is taken in the clear from the gateway's own machine alone: others could read it on its way, and \
                 --insecure-tokens lets them",
            ),
            Refusal::Ambiguous { of, first, second } => {
                write!(f, "it is two identities by its {of}: {first} and {second}")
            }
            Refusal::Revoked(name) => write!(f, "{name} is revoked"),
            Refusal::Ended { name, until } => {
                write!(f, "{name} ended at {}", humantime::format_rfc3339_seconds(*until))
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// Its kind, one of [`REFUSALS`].
    pub fn kind(&self) -> &'static str {
        REFUSALS[self.index()]
    }

    /// The place of its kind among [`REFUSALS`].
    pub fn index(&self) -> usize {
        match self {
            Refusal::Unknown => 0,
            Refusal::WrongToken => 1,
            Refusal::InTheClear => 2,
            Refusal::Ambiguous { .. } => 3,
            Refusal::Revoked(_) => 4,
            Refusal::Ended { .. } => 5,
        }
    }
}
