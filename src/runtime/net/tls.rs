//! TLS on connections that this side begins: rustls, which is a state machine without sockets.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

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
            Trust::System => builder.with_root_certificates(roots()?).with_no_client_auth(),
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
    pub(super) fn session(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(self.config.clone(), self.name.clone())
    }
}

fn roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    for why in &found.errors {
        log::debug!("roots: {why}");
    }
    let mut roots = RootCertStore::empty();
    // Some systems hold certificates that no longer pass for one; the others do.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("this system has no root certificates: install ca-certificates, name a file in SSL_CERT_FILE, or give --insecure".into());
    }
    Ok(roots)
}

/// Takes any certificate, but still wants the server to hold its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

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
