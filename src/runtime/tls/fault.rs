//! Why a session ended, or never was one, in one line.

use std::fmt;

use crate::wire::Fault;

/// Why a client certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertFault {
    /// There is none, and one is required.
    Missing,
    /// No authority of the listener's has issued it.
    UnknownCa,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is in the revocation list.
    Revoked,
    /// It is not for clients.
    Usage,
    /// What else is wrong with it.
    Other(String),
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// What came is not TLS.
    NotTls(Fault),
    /// The handshake was not over in time.
    Late,
    /// The connection ended in the middle of the handshake.
    Cut,
    /// More handshakes were under way than may be, and this one had waited longest.
    Dropped,
    /// The handshake came in too many pieces.
    Pieces,
    /// The client's certificate is not taken.
    Certificate(CertFault),
    /// The peer ended it, and said why.
    Refused(String),
    /// What came is not what the protocol allows, or nothing that both sides know.
    Protocol(String),
}

/// The kinds of [`TlsFault`], for metrics, in their order.
pub const TLS_FAULTS: [&str; 14] = [
    "not_tls",
    "timed_out",
    "cut",
    "dropped",
    "pieces",
    "no_certificate",
    "unknown_ca",
    "expired",
    "not_yet_valid",
    "revoked",
    "wrong_usage",
    "bad_certificate",
    "refused_by_peer",
    "protocol",
];

impl TlsFault {
    /// The place of its kind among [`TLS_FAULTS`].
    pub fn index(&self) -> usize {
        match self {
            TlsFault::NotTls(_) => 0,
            TlsFault::Late => 1,
            TlsFault::Cut => 2,
            TlsFault::Dropped => 3,
            TlsFault::Pieces => 4,
            TlsFault::Certificate(CertFault::Missing) => 5,
            TlsFault::Certificate(CertFault::UnknownCa) => 6,
            TlsFault::Certificate(CertFault::Expired) => 7,
            TlsFault::Certificate(CertFault::NotYetValid) => 8,
            TlsFault::Certificate(CertFault::Revoked) => 9,
            TlsFault::Certificate(CertFault::Usage) => 10,
            TlsFault::Certificate(CertFault::Other(_)) => 11,
            TlsFault::Refused(_) => 12,
            TlsFault::Protocol(_) => 13,
        }
    }

    /// Its kind, one of [`TLS_FAULTS`].
    pub fn kind(&self) -> &'static str {
        TLS_FAULTS[self.index()]
    }
}

impl fmt::Display for CertFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertFault::Missing => "no client certificate, and this listener requires one",
            CertFault::UnknownCa => "no authority of --tls-client-ca has issued the client certificate",
            CertFault::Expired => "the client certificate has expired",
            CertFault::NotYetValid => "the client certificate is not valid yet: is a clock wrong?",
            CertFault::Revoked => "the client certificate is revoked",
            CertFault::Usage => {
                "the certificate is not for clients: its extended key usage has no clientAuth"
            }
            CertFault::Other(what) => return write!(f, "the client certificate is not taken: {what}"),
        })
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFault::NotTls(fault) => {
                f.write_str("this port speaks TLS, and what came ")?;
                match fault {
                    Fault::Magic { seen, len } if *len >= 2 && !seen.starts_with(b"FG") => {
                        match fault.looks_like() {
                            Some(protocol) => write!(f, "looks like {protocol} in the clear")?,
                            None if seen[..usize::from(*len)].is_ascii() => {
                                f.write_str("looks like plain text")?
                            }
                            None => f.write_str("is something else")?,
                        }
                        let seen = &seen[..usize::from(*len)];
                        write!(f, ": it begins with \"{}\"", seen.escape_ascii())
                    }
                    Fault::Magic { seen, .. } if seen.starts_with(b"FG") => f.write_str(
                        "looks like frames in the clear: connect with --tls, or to a port without TLS",
                    ),
                    _ => f.write_str("is something else"),
                }
            }
            TlsFault::Late => f.write_str("its TLS handshake was not over in time"),
            TlsFault::Cut => f.write_str("it ended in the middle of its TLS handshake"),
            TlsFault::Dropped => {
                f.write_str("too many TLS handshakes were under way, and its own had waited longest")
            }
            TlsFault::Pieces => f.write_str("its TLS handshake came in too many pieces"),
            TlsFault::Certificate(fault) => fault.fmt(f),
            TlsFault::Refused(said) => write!(f, "the peer ended TLS and said: {said}"),
            TlsFault::Protocol(what) => write!(f, "TLS failed: {what}"),
        }
    }
}

impl std::error::Error for CertFault {}

impl std::error::Error for TlsFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_tls_says_what_it_looks_like() {
        for (bytes, part) in [
            (&b"FG\x01\0\0\0\0\0"[..], "frames in the clear: connect with --tls"),
            (b"FG", "frames in the clear"),
            (b"GET / HT", "looks like HTTP in the clear"),
            (b"hello wo", "looks like plain text: it begins with \"hello wo\""),
            (b"\xff\xfe", "is something else"),
            (b"x", "is something else"),
        ] {
            let mut seen = [0; 8];
            seen[..bytes.len()].copy_from_slice(bytes);
            let fault = TlsFault::NotTls(Fault::Magic { seen, len: bytes.len() as u8 });
            let said = fault.to_string();
            assert!(said.contains(part) && said.starts_with("this port speaks TLS"), "{said}");
            assert_eq!(fault.kind(), "not_tls");
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let certificate = [
            CertFault::Missing,
            CertFault::UnknownCa,
            CertFault::Expired,
            CertFault::NotYetValid,
            CertFault::Revoked,
            CertFault::Usage,
            CertFault::Other("x".into()),
        ];
        let all: Vec<TlsFault> = [TlsFault::Late, TlsFault::Cut, TlsFault::Dropped, TlsFault::Pieces]
            .into_iter()
            .chain(certificate.into_iter().map(TlsFault::Certificate))
            .chain([TlsFault::Refused("x".into()), TlsFault::Protocol("x".into())])
            .collect();
        let kinds: Vec<usize> = all.iter().map(TlsFault::index).collect();
        assert_eq!(kinds, (1..TLS_FAULTS.len()).collect::<Vec<_>>());
        assert!(all.iter().all(|fault| !fault.to_string().contains('\n')));
    }
}
