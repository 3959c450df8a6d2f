//! TLS on connections that this side begins: rustls, which is a state machine without sockets.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    InvalidMessage, RootCertStore, SignatureScheme,
};

use super::pem;

/// Whose certificates are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system trusts.
    System,
    /// Anybody's.
    Anyone,
}

/// What all TLS connections to one host share.
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// What is read of a client's files, each PEM.
#[derive(Clone, Copy, Default)]
pub struct ClientFiles<'a> {
    /// Authorities whose certificates are taken; those that the system trusts if none.
    pub ca: Option<&'a [u8]>,
    /// Its certificate, with those between it and its authority, and its key.
    pub own: Option<(&'a [u8], &'a [u8])>,
}

/// How a client speaks TLS with any gateway.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl ClientTls {
    /// Of these files, to gateways by this name, or if none by that under which they are connected to. With `resumes`, a
    /// connection resumes the session of an earlier one.
    ///
    /// # Errors
    /// The option of the file that is wrong, without its dashes, and what is to be done.
    pub fn new(
        files: ClientFiles<'_>,
        server_name: Option<&str>,
        resumes: bool,
    ) -> Result<ClientTls, (&'static str, String)> {
        let own = match files.own {
            None => None,
            Some((cert, key)) => Some((
                pem::certificates(cert).map_err(|why| ("cert", why))?,
                pem::key(key).map_err(|why| ("key", why))?,
            )),
        };
        let roots = match files.ca {
            None => {
                roots("give the file of the gateway's authority with --ca").map_err(|why| ("tls", why))?
            }
            Some(text) => {
                let mut roots = RootCertStore::empty();
                for authority in pem::certificates(text).map_err(|why| ("ca", why))? {
                    roots.add(authority).map_err(|why| {
                        ("ca", format!("a certificate in it cannot be that of an authority: {why}"))
                    })?;
                }
                roots
            }
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| ("tls", why.to_string()))?
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|why| match why {
                Error::InconsistentKeys(_) => (
                    "key",
                    "it is not the key of the certificate: give the two that were made together".into(),
                ),
                why => ("cert", format!("it cannot be used with its key: {why}")),
            })?,
        };
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        if let Some(name) = server_name {
            server_name_of(name).map_err(|why| ("server-name", why))?;
        }
        Ok(ClientTls { config: Arc::new(config), server_name: server_name.map(Into::into) })
    }

    /// For connections to an address, `HOST:PORT`.
    ///
    /// # Errors
    /// Where the host is no name that a certificate can hold.
    pub fn to(&self, address: &str) -> Result<Tls, String> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = server_name_of(self.server_name.as_deref().unwrap_or(host))?;
        Ok(Tls { config: self.config.clone(), name })
    }

    /// The same for requests of HTTP.
    ///
    /// # Errors
    /// As for [`to`](Self::to).
    pub fn for_http(&self, host: &str) -> Result<Tls, String> {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = server_name_of(self.server_name.as_deref().unwrap_or(host))?;
        Ok(Tls { config: Arc::new(config), name })
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn server_name_of(host: &str) -> Result<ServerName<'static>, String> {
    // The zone of an address means something on this machine alone.
    let name = host.split('%').next().unwrap_or(host).to_owned();
    ServerName::try_from(name).map_err(|_| {
        format!("'{host}' is no name that a certificate can be for: give one with --server-name")
    })
}

/// What went wrong with a gateway, and the mend.
pub fn said_of(why: &Error) -> String {
    use AlertDescription as Alert;
    match why {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "who issued the gateway's certificate is not trusted here: give the file of its authority with --ca".into()
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let names = presented.join(", ");
            format!(
                "the gateway's certificate is not for {}: it is for {names}; give one of its names with --server-name",
                expected.to_str()
            )
        }
        Error::InvalidCertificate(CertificateError::NotValidForName) => {
            "the gateway's certificate is for another name: give its own with --server-name".into()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the gateway's certificate has expired".into()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS at this port: leave --tls out, or give the port of its --listen-tls".into()
        }
        Error::AlertReceived(Alert::CertificateRequired) => {
            "the gateway requires a client certificate: give --cert and --key".into()
        }
        Error::AlertReceived(Alert::UnknownCA) => {
            "the gateway does not take this client's certificate: its --tls-client-ca has not issued it".into()
        }
        Error::AlertReceived(Alert::CertificateExpired) => {
            "the gateway does not take this client's certificate: it has expired, or is not valid yet".into()
        }
        Error::AlertReceived(Alert::CertificateRevoked) => {
            "the gateway does not take this client's certificate: it is revoked".into()
        }
        Error::AlertReceived(
            Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown | Alert::AccessDenied,
        ) => "the gateway does not take this client's certificate: its log says why".into(),
        Error::AlertReceived(alert) => format!("the gateway ended TLS: {alert:?}; its log says why"),
        why => why.to_string(),
    }
}

impl Tls {
    /// For connections to `host`.
    ///
    /// # Errors
    /// In one line with the mend: no name that a certificate can hold, no roots on this system.
    pub fn new(host: &str, trust: Trust) -> Result<Tls, String> {
        // The zone of an address means something on this machine alone.
        let name = host.split('%').next().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|_| {
            format!("'{host}' is no name that a certificate can be for: check the host of the URL")
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?;
        let mut config = match trust {
            Trust::System => {
                let roots =
                    roots("install ca-certificates, name a file in SSL_CERT_FILE, or give --insecure")?;
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            Trust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Each connection stands for a client of its own, that was never here before.
        config.resumption = Resumption::disabled();
        Ok(Tls { config: Arc::new(config), name })
    }

    /// TLS on one connection, whose handshake has not begun.
    ///
    /// # Errors
    /// What rustls says.
    pub fn session(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(self.config.clone(), self.name.clone())
    }
}

fn roots(mend: &str) -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    for why in &found.errors {
        log::debug!("roots: {why}");
    }
    let mut roots = RootCertStore::empty();
    // Some systems hold certificates that no longer pass for one; the others do.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(format!("this system has no root certificates: {mend}"));
    }
    Ok(roots)
}

/// Takes any certificate, but still wants the server to hold its key.
#[derive(Debug)]
pub(super) struct Anyone(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_a_certificate_can_be_for() {
        for host in ["localhost", "example.com", "127.0.0.1", "::1", "fe80::1%eth0"] {
            let tls = Tls::new(host, Trust::Anyone).unwrap_or_else(|why| panic!("{host}: {why}"));
            assert!(tls.session().unwrap().is_handshaking());
        }
        let why = Tls::new("-", Trust::Anyone).err().unwrap();
        assert!(why.contains("check the host of the URL"), "{why}");
    }
}
