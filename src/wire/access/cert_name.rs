//! Names of certificates, in the form in which two of one meaning are equal.

use std::fmt;

use crate::core::units::hex;
#[cfg(feature = "access")]
use crate::{
    core::limits::ACCESS_VALUE,
    core::units::{is_obeyed, nearest},
    wire::toml_file::cut,
};

/// A name in a client certificate, or its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertName {
    /// A host in the SAN, in lower case.
    Dns(String),
    /// A URI in the SAN, as it is written there.
    Uri(String),
    /// An address in the SAN, its domain in lower case.
    Email(String),
    /// The common name of the subject.
    Cn(String),
    /// The SHA-256 of the SubjectPublicKeyInfo.
    Spki([u8; 32]),
}

#[cfg(feature = "access")]
const KINDS: [&str; 5] = ["dns", "uri", "email", "cn", "spki"];

impl CertName {
    /// A host. Their names have no case.
    pub fn dns(host: &str) -> CertName {
        CertName::Dns(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
    }

    /// An address of electronic mail. Its host has no case.
    pub fn email(address: &str) -> CertName {
        CertName::Email(match address.rsplit_once('@') {
            Some((local, host)) => format!("{local}@{}", host.to_ascii_lowercase()),
            None => address.into(),
        })
    }

    /// What stands in an access file: `dns:pump-17.plant`.
    #[cfg(feature = "access")]
    pub(super) fn parse(text: &str) -> Result<CertName, String> {
        let shown = cut(text);
        let Some((kind, value)) = text.split_once(':').filter(|(kind, _)| is_word(kind)) else {
            let likely = match text {
                text if text.contains('@') => "email",
                text if text.contains('.') => "dns",
                _ => "cn",
            };
            return Err(format!(
                "{shown:?} does not say which name of a certificate: write \"{likely}:{shown}\""
            ));
        };
        if !KINDS.contains(&kind) {
            let mend = match (nearest(kind, KINDS), kind) {
                (_, "spiffe" | "https" | "http" | "urn") => format!("a URI is written \"uri:{shown}\""),
                (Some(meant), _) => format!("did you mean {meant}:?"),
                _ => "it is dns:, uri:, email:, cn: or spki:".into(),
            };
            return Err(format!("unknown kind of name {kind}: in {shown:?}: {mend}"));
        }
        if value.trim().is_empty() || value.trim() != value || value.chars().any(is_obeyed) {
            return Err(format!(
                "{shown:?} has no name behind {kind}:, or spaces around it: write it as the certificate has it"
            ));
        }
        if value.len() > ACCESS_VALUE {
            return Err(format!("the name has {} bytes: at most {ACCESS_VALUE}", value.len()));
        }
        Ok(match kind {
            "dns" if value.contains('*') => {
                return Err(format!("{shown:?}: a wildcard names nobody: write one host's whole name"));
            }
            "dns" if !value.is_ascii() || value.contains([':', '/', ' ']) => {
                return Err(format!("{shown:?} is not a host's name: write it as the certificate has it, such as \"dns:pump-17.plant\""));
            }
            "dns" => CertName::dns(value),
            "uri" if !value.contains(':') => {
                return Err(format!("{shown:?} is not a URI: write all of it, such as \"uri:spiffe://plant/pump-17\""));
            }
            "uri" => CertName::Uri(value.into()),
            "email" if !value.contains('@') => {
                return Err(format!("{shown:?} is not an e-mail address: write \"email:NAME@HOST\""));
            }
            "email" => CertName::email(value),
            "cn" => CertName::Cn(value.into()),
            _ => CertName::Spki(super::file::digest(value).ok_or_else(|| {
                format!(
                    "{shown:?} is not a SHA-256: write 64 hexadecimal digits, those of the certificate's public key \
                     in DER, without colons"
                )
            })?),
        })
    }
}

#[cfg(feature = "access")]
fn is_word(kind: &str) -> bool {
    !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphabetic())
}

impl fmt::Display for CertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertName::Dns(host) => write!(f, "dns:{host}"),
            CertName::Uri(uri) => write!(f, "uri:{uri}"),
            CertName::Email(address) => write!(f, "email:{address}"),
            CertName::Cn(name) => write!(f, "cn:{name}"),
            CertName::Spki(digest) => write!(f, "spki:{}", hex(digest)),
        }
    }
}
