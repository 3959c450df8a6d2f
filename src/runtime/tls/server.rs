//! How sessions of a listener are made: its certificate and key, and whose certificates it takes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, Error, InconsistentKeys, RootCertStore, ServerConfig, ServerConnection,
};
use x509_parser::{parse_x509_certificate, revocation_list::CertificateRevocationList};

use super::client::Anyone;
use super::rustls_engine::{RustlsEngine, fault_of};
use super::{CertFault, Engine, Setup, TlsFault, pem};
use crate::core::units::many;

/// Whether clients bring certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// One that brings none is taken; one that brings a wrong one is not.
    Want,
    /// One that brings none is not taken.
    #[default]
    Require,
}

/// What is read of files, each PEM.
#[derive(Clone, Copy, Default)]
pub struct ServerFiles<'a> {
    /// The certificate, and behind it those between it and its authority.
    pub cert: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// Authorities whose certificates are taken of clients, if any are.
    pub client_ca: Option<&'a [u8]>,
    /// What these have revoked.
    pub client_crl: Option<&'a [u8]>,
    /// Whether clients must bring one.
    pub client: ClientAuth,
}

/// Which of the files is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The certificate.
    Cert,
    /// The key.
    Key,
    /// The clients' authorities.
    ClientCa,
    /// Their revocation lists.
    ClientCrl,
}

impl Wrong {
    /// The option that names it, without its dashes.
    pub fn option(self) -> &'static str {
        match self {
            Wrong::Cert => "tls-cert",
            Wrong::Key => "tls-key",
            Wrong::ClientCa => "tls-client-ca",
            Wrong::ClientCrl => "tls-client-crl",
        }
    }
}

/// A listener's TLS, checked.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    verifier: Option<Verifier>,
    is_required: bool,
    validity: (SystemTime, SystemTime),
}

impl ServerTls {
    /// Reads the files, and checks that they work together at this time: the key is that of the certificate, whose time it
    /// is, and a handshake succeeds. With it comes what is right and yet worth a warning.
    ///
    /// # Errors
    /// Which of them is wrong, and what is to be done, in one line.
    pub fn new(files: ServerFiles<'_>, now: SystemTime) -> Result<(ServerTls, Vec<String>), (Wrong, String)> {
        let chain = pem::certificates(files.cert).map_err(|why| (Wrong::Cert, why))?;
        let validity = validity_of(&chain[0]).map_err(|why| (Wrong::Cert, why))?;
        check_time(validity, now).map_err(|why| (Wrong::Cert, why))?;
        let key = pem::key(files.key).map_err(|why| (Wrong::Key, why))?;
        let provider = Arc::new(ring::default_provider());
        let own = own_key(chain, key, &provider)?;
        let (verifier, warnings) = match files.client_ca {
            None => (None, Vec::new()),
            Some(ca) => {
                let (verifier, warnings) = verifier(ca, files.client_crl, files.client, &provider, now)?;
                (Some(verifier), warnings)
            }
        };
        let build = |verifier: Option<Verifier>| -> Result<ServerConfig, Error> {
            let builder = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?;
            let builder = match verifier {
                None => builder.with_no_client_auth(),
                Some(verifier) => builder.with_client_cert_verifier(verifier),
            };
            let own = SingleCertAndKey::from(own.clone());
            let mut config = builder.with_cert_resolver(Arc::new(own));
            // Sessions are resumed by tickets, of which nothing is kept here. Those of another setup are not known.
            config.ticketer = ring::Ticketer::new()?;
            Ok(config)
        };
        let failed = |why: Error| (Wrong::Cert, format!("no TLS can be made of it: {why}"));
        rehearse(Arc::new(build(None).map_err(failed)?), &provider).map_err(|why| (Wrong::Cert, why))?;
        let config = Arc::new(build(verifier.clone()).map_err(failed)?);
        let is_required = files.client == ClientAuth::Require;
        Ok((ServerTls { config, verifier, is_required, validity }, warnings))
    }

    /// When the first certificate of a PEM file ends, if one can be read.
    pub fn ends(cert: &[u8]) -> Option<SystemTime> {
        let chain = pem::certificates(cert).ok()?;
        validity_of(&chain[0]).ok().map(|(_, until)| until)
    }

    /// A session as rustls has it, for a socket that blocks.
    ///
    /// # Errors
    /// What rustls says.
    pub fn connection(&self, protocols: &[&[u8]]) -> Result<ServerConnection, Error> {
        if protocols.is_empty() {
            return ServerConnection::new(self.config.clone());
        }
        let mut config = (*self.config).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        ServerConnection::new(Arc::new(config))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("is_required", &self.is_required).finish_non_exhaustive()
    }
}

impl Setup for ServerTls {
    fn session(&self) -> Result<Box<dyn Engine>, TlsFault> {
        let session = ServerConnection::new(self.config.clone()).map_err(|why| fault_of(&why))?;
        Ok(Box::new(RustlsEngine::new(session)))
    }

    fn verify(&self, chain: &[&[u8]]) -> Result<(), CertFault> {
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(*der)).collect();
        match chain.split_first() {
            None if self.is_required => Err(CertFault::Missing),
            None => Ok(()),
            Some((own, others)) => match verifier.verify_client_cert(own, others, UnixTime::now()) {
                Ok(_) => Ok(()),
                Err(why) => match fault_of(&why) {
                    TlsFault::Certificate(fault) => Err(fault),
                    fault => Err(CertFault::Other(fault.to_string())),
                },
            },
        }
    }

    fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        Some(self.validity)
    }
}

fn own_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, (Wrong, String)> {
    let key = provider.key_provider.load_private_key(key).map_err(|why| {
        (
            Wrong::Key,
            format!(
                "the key cannot be used: {why}: RSA with 2048 bits or more, P-256, P-384 and Ed25519 can"
            ),
        )
    })?;
    let own = CertifiedKey::new(chain, key);
    match own.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(own)),
        Err(Error::InconsistentKeys(_)) => Err((
            Wrong::Key,
            "it is not the key of the certificate: give the two that were made together".into(),
        )),
        Err(why) => Err((Wrong::Cert, format!("the certificate cannot be used: {why}"))),
    }
}

type Verifier = Arc<dyn ClientCertVerifier>;

/// Whose certificates are taken of clients.
fn verifier(
    ca: &[u8],
    crl: Option<&[u8]>,
    client: ClientAuth,
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Result<(Verifier, Vec<String>), (Wrong, String)> {
    let authorities = pem::certificates(ca).map_err(|why| (Wrong::ClientCa, why))?;
    let mut roots = RootCertStore::empty();
    for authority in &authorities {
        roots.add(authority.clone()).map_err(|why| {
            (Wrong::ClientCa, format!("a certificate in it cannot be that of an authority: {why}"))
        })?;
    }
    let lists = crl.map_or(Ok(Vec::new()), pem::revocation_lists).map_err(|why| (Wrong::ClientCrl, why))?;
    let warnings = if crl.is_some() { warnings(&authorities, &lists, now) } else { Vec::new() };
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .with_crls(lists)
        // An authority that has given no list has revoked nothing; that is warned of.
        .allow_unknown_revocation_status();
    if client == ClientAuth::Want {
        builder = builder.allow_unauthenticated();
    }
    let verifier = builder
        .build()
        .map_err(|why| (Wrong::ClientCrl, format!("a revocation list in it cannot be used: {why}")))?;
    Ok((verifier, warnings))
}

/// Authorities without a list, and lists that should have been renewed.
fn warnings(
    authorities: &[CertificateDer<'_>],
    lists: &[CertificateRevocationListDer<'_>],
    now: SystemTime,
) -> Vec<String> {
    use x509_parser::prelude::FromDer;
    let lists: Vec<CertificateRevocationList<'_>> = lists
        .iter()
        .filter_map(|list| CertificateRevocationList::from_der(list).ok())
        .map(|(_, list)| list)
        .collect();
    let mut said = Vec::new();
    for authority in authorities {
        let Ok((_, authority)) = parse_x509_certificate(authority) else { continue };
        let name = authority.subject();
        match lists.iter().find(|list| list.issuer().as_raw() == name.as_raw()) {
            None => said
                .push(format!("there is no revocation list of {name}: none of its certificates is refused")),
            Some(list) => {
                let due = list.next_update().map(|due| instant(due.timestamp()));
                if let Some(late) = due.and_then(|due| now.duration_since(due).ok()) {
                    let days = many(late.as_secs() / 86_400, "day");
                    said.push(format!(
                        "the revocation list of {name} should have been renewed {days} ago: it is used as it is"
                    ));
                }
            }
        }
    }
    said
}

/// Since when and until when a certificate is valid.
fn validity_of(der: &[u8]) -> Result<(SystemTime, SystemTime), String> {
    let (_, certificate) =
        parse_x509_certificate(der).map_err(|why| format!("the certificate in it cannot be read: {why}"))?;
    let validity = certificate.validity();
    Ok((instant(validity.not_before.timestamp()), instant(validity.not_after.timestamp())))
}

fn check_time((from, until): (SystemTime, SystemTime), now: SystemTime) -> Result<(), String> {
    let at = humantime::format_rfc3339_seconds;
    if until <= now {
        return Err(format!("the certificate has expired at {}: get a new one", at(until)));
    }
    if from > now {
        return Err(format!(
            "the certificate is valid from {} on: is the clock of this machine right?",
            at(from)
        ));
    }
    Ok(())
}

fn instant(seconds: i64) -> SystemTime {
    let time = Duration::from_secs(seconds.unsigned_abs());
    // What no calendar reaches is shown as the end of one.
    let most = Duration::from_secs(253_402_300_799);
    match seconds < 0 {
        true => SystemTime::UNIX_EPOCH,
        false => SystemTime::UNIX_EPOCH + time.min(most),
    }
}

/// A handshake in memory, with a client that takes any certificate.
fn rehearse(config: Arc<ServerConfig>, provider: &Arc<CryptoProvider>) -> Result<(), String> {
    let failed = |why: Error| format!("a handshake with it fails: {why}");
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let mut client = builder
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider.clone())))
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let name = ServerName::try_from("localhost").map_err(|why| why.to_string())?;
    let mut client = ClientConnection::new(Arc::new(client), name).map_err(failed)?;
    let mut server = ServerConnection::new(config).map_err(failed)?;
    // Two flights each, and one to spare.
    for _ in 0..5 {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).map_err(|why| why.to_string())?;
        feed(&flight, |from| server.read_tls(from))?;
        server.process_new_packets().map_err(failed)?;
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).map_err(|why| why.to_string())?;
        }
        let mut left = &flight[..];
        while !left.is_empty() {
            client.read_tls(&mut left).map_err(|why| why.to_string())?;
            client.process_new_packets().map_err(failed)?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    Err("a handshake with it does not come to an end".into())
}

fn feed(mut flight: &[u8], mut take: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) -> Result<(), String> {
    while !flight.is_empty() {
        take(&mut flight).map_err(|why| why.to_string())?;
    }
    Ok(())
}
