//! A session of rustls, on the side that was connected to.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::{
    AlertDescription, CertificateError, Error, HandshakeKind, PeerIncompatible, ProtocolVersion,
    ServerConnection,
};

use super::{CertFault, Engine, Peer, Setup, TlsFault, names};
use crate::core::limits::TLS_SEALED;

/// A session.
pub struct RustlsEngine {
    session: ServerConnection,
    /// Bytes that were opened and not read.
    plain: usize,
    is_ended: bool,
}

impl RustlsEngine {
    /// One that has not begun.
    pub fn new(mut session: ServerConnection) -> RustlsEngine {
        session.set_buffer_limit(Some(TLS_SEALED));
        RustlsEngine { session, plain: 0, is_ended: false }
    }
}

impl Engine for RustlsEngine {
    fn take(&mut self, records: &mut &[u8]) -> Result<(), TlsFault> {
        let before = records.len();
        self.session.read_tls(records).map_err(|why| TlsFault::Protocol(why.to_string()))?;
        let state = self.session.process_new_packets().map_err(|why| fault_of(&why))?;
        (self.plain, self.is_ended) = (state.plaintext_bytes_to_read(), state.peer_has_closed());
        if records.len() == before {
            // Behind the word that nothing more comes, nothing counts.
            *records = &[];
        }
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        if self.plain == 0 || into.is_empty() {
            return 0;
        }
        let n = self.session.reader().read(into).unwrap_or(0);
        self.plain -= n;
        n
    }

    fn holds_plain(&self) -> bool {
        self.plain > 0
    }

    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.session.writer().write_vectored(slices)
    }

    fn write_to(&mut self, to: &mut dyn io::Write) -> io::Result<usize> {
        self.session.write_tls(to)
    }

    fn holds_back(&self) -> bool {
        self.session.wants_write()
    }

    fn close(&mut self) {
        self.session.send_close_notify();
    }

    fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    fn shrink(&mut self) {
        struct Nothing;
        impl io::Read for Nothing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::WouldBlock.into())
            }
        }
        // Before it reads, it gives back the room that a large record took.
        let _ = self.session.read_tls(&mut Nothing);
    }

    fn peer(&self) -> Peer {
        let chain = self.session.peer_certificates().unwrap_or_default();
        Peer {
            names: chain.first().map_or(Box::default(), |own| names::of(own)),
            has_certificate: !chain.is_empty(),
            is_resumed: self.session.handshake_kind() == Some(HandshakeKind::Resumed),
            version: match self.session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                _ => "TLS",
            },
        }
    }

    fn check(&self, setup: &dyn Setup) -> Result<(), CertFault> {
        let chain: Vec<&[u8]> = self
            .session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.as_ref())
            .collect();
        setup.verify(&chain)
    }
}

/// What is wrong, of what rustls says of a client.
pub fn fault_of(why: &Error) -> TlsFault {
    match why {
        Error::InvalidCertificate(wrong) => TlsFault::Certificate(cert_fault_of(wrong)),
        Error::NoCertificatesPresented => TlsFault::Certificate(CertFault::Missing),
        Error::AlertReceived(alert) => TlsFault::Refused(said_by(*alert)),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => TlsFault::Protocol("it offers neither TLS 1.2 nor TLS 1.3".into()),
        why => TlsFault::Protocol(why.to_string()),
    }
}

/// What is wrong with a certificate.
pub fn cert_fault_of(wrong: &CertificateError) -> CertFault {
    use CertificateError::*;
    match wrong {
        Expired | ExpiredContext { .. } => CertFault::Expired,
        NotValidYet | NotValidYetContext { .. } => CertFault::NotYetValid,
        Revoked => CertFault::Revoked,
        // A signature that does not fit is of another authority with the same name.
        UnknownIssuer | BadSignature => CertFault::UnknownCa,
        InvalidPurpose | InvalidPurposeContext { .. } => CertFault::Usage,
        wrong => CertFault::Other(wrong.to_string()),
    }
}

fn said_by(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => {
            "it does not trust who issued this gateway's certificate: give it the CA's file".into()
        }
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not take this gateway's certificate: is the name that it connects to in it?".into()
        }
        AlertDescription::CertificateExpired => "this gateway's certificate has expired, by its clock".into(),
        alert => format!("{alert:?}"),
    }
}
