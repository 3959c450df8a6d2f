//! Who may connect, and what each may do: the rules of an access file.
//!
//! ```text
//! bytes ─ Access::parse ─ Access ─ identify(Evidence, now) ─ Who ─ rights() ─ may_publish, may_subscribe, may_be_durable
//! ```
//!
//! Pure: whoever reads the file and knows the time brings both. Files are read with the feature `access`; what they mean is
//! always here.

mod cert_name;
#[cfg(feature = "access")]
mod file;
mod identity;
mod rights;
#[cfg(all(test, feature = "access"))]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(feature = "access")]
use ipnet::IpNet;

#[cfg(feature = "access")]
pub use super::toml_file::{Problem, Warning};
pub use cert_name::CertName;
#[cfg(feature = "access")]
pub use file::{TOKEN_PREFIX, check_name};
pub use identity::{Identity, REFUSALS, Refusal, TokenDigest, Who};
pub use rights::Rights;

/// Everything that a connection is known by, as far as it has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// The names in a client certificate that was verified.
    pub certificate: &'a [CertName],
    /// What AUTH said.
    pub token: Option<Presented<'a>>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The names and values of fields that a layout has kept.
    pub fields: &'a [(&'a str, &'a str)],
}

/// A name and the digest of its token, as a connection brings them: the token itself is nowhere kept.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The identity's.
    pub name: &'a str,
    /// Nothing where it is too long to be one.
    pub token: Option<TokenDigest>,
}

/// Something that exactly one identity has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Mark {
    /// Only where files are read: a token is found by its name.
    #[cfg(feature = "access")]
    Token([u8; 32]),
    Cert(CertName),
    #[cfg(feature = "access")]
    Network(IpNet),
    Field(String, String),
}

/// Identities and what each may do.
///
/// Invariant: `by_mark` has the marks of all identities except tokens, each once, and `prefixes` the lengths of all
/// networks in it, and `field_names` the names of all fields.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// In the order of their names.
    identities: Vec<Arc<Identity>>,
    by_mark: HashMap<Mark, usize>,
    #[cfg(feature = "access")]
    prefixes: BTreeSet<u8>,
    field_names: BTreeSet<String>,
    default: Option<Arc<Rights>>,
}

impl Access {
    /// All identities, in the order of their names.
    pub fn identities(&self) -> &[Arc<Identity>] {
        &self.identities
    }

    /// What a connection without an identity may do; none is taken where this is nothing.
    pub fn default_rights(&self) -> Option<&Arc<Rights>> {
        self.default.as_ref()
    }

    /// The identity with a name.
    pub fn named(&self, name: &str) -> Option<&Arc<Identity>> {
        let at = self.identities.binary_search_by(|identity| identity.name().cmp(name)).ok()?;
        Some(&self.identities[at])
    }

    /// The names of kept fields by which identities are known, each once.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.field_names.iter().map(|name| &**name)
    }

    /// Whose connection this is, by the first of: the names of its certificate, its token, its address, a kept field.
    ///
    /// What is found first decides: an identity that is revoked, or has ended, is refused, whatever else the connection
    /// has. So is a token that is wrong. A connection of which nothing is known has the default, where there is one.
    pub fn identify(&self, evidence: &Evidence<'_>, now: SystemTime) -> Result<Who, Refusal> {
        let found = match self.only("certificate", evidence.certificate.iter().cloned().map(Mark::Cert))? {
            Some(found) => Some(found),
            None => match evidence.token {
                Some(presented) => Some(self.by_token(presented)?),
                None => match evidence.address.and_then(|address| self.by_address(address)) {
                    Some(found) => Some(found),
                    None => {
                        let fields = evidence.fields.iter();
                        self.only(
                            "kept fields",
                            fields.map(|&(name, value)| Mark::Field(name.into(), value.into())),
                        )?
                    }
                },
            },
        };
        match (found, &self.default) {
            (Some(found), _) => found.check(now).map(|()| Who::Named(found.clone())),
            (None, Some(rights)) => Ok(Who::Default(rights.clone())),
            (None, None) => Err(Refusal::Unknown),
        }
    }

    /// The identity of these marks. If they are of two, nobody knows which is meant.
    fn only(
        &self,
        of: &'static str,
        marks: impl Iterator<Item = Mark>,
    ) -> Result<Option<&Arc<Identity>>, Refusal> {
        let mut found: Option<&Arc<Identity>> = None;
        for at in marks.filter_map(|mark| self.by_mark.get(&mark)) {
            let next = &self.identities[*at];
            match found {
                Some(first) if first.name() != next.name() => {
                    let (first, second) = (first.name().into(), next.name().into());
                    return Err(Refusal::Ambiguous { of, first, second });
                }
                _ => found = Some(next),
            }
        }
        Ok(found)
    }

    /// A name that nobody has takes as long as one with a wrong token, and is told the same.
    fn by_token(&self, presented: Presented<'_>) -> Result<&Arc<Identity>, Refusal> {
        let named = self.named(presented.name);
        let is_right =
            presented.token.is_some_and(|digest| digest.is_one_of(named.map_or(&[], |of| of.tokens())));
        named.filter(|_| is_right).ok_or(Refusal::WrongToken)
    }

    /// Without files nobody has a network.
    #[cfg(not(feature = "access"))]
    fn by_address(&self, _: IpAddr) -> Option<&Arc<Identity>> {
        None
    }

    /// The identity with the narrowest network that an address is in.
    #[cfg(feature = "access")]
    fn by_address(&self, address: IpAddr) -> Option<&Arc<Identity>> {
        // ::ffff:10.1.2.3 is 10.1.2.3, by way of a socket for both.
        let address = address.to_canonical();
        self.prefixes.iter().rev().find_map(|&prefix| {
            let network = IpNet::new(address, prefix).ok()?.trunc();
            self.by_mark.get(&Mark::Network(network)).map(|at| &self.identities[*at])
        })
    }
}
