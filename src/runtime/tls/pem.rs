//! Certificates, keys and revocation lists as files hold them.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// What is looked for, and what people often give in its place.
fn nothing(what: &str, text: &[u8]) -> String {
    let has = |mark: &str| text.windows(mark.len()).any(|part| part == mark.as_bytes());
    let found = if has("-----BEGIN ENCRYPTED PRIVATE KEY") || has("ENCRYPTED\n") {
        "it holds a key under a password: take that off with openssl pkey -in FILE -out NEW"
    } else if has("-----BEGIN CERTIFICATE REQUEST") {
        "it holds a request for a certificate: give what the authority made of it"
    } else if has("PRIVATE KEY-----") {
        "it holds a private key"
    } else if has("-----BEGIN CERTIFICATE-----") {
        "it holds a certificate"
    } else if has("-----BEGIN X509 CRL") {
        "it holds a revocation list"
    } else if has("-----BEGIN") {
        "it holds something else"
    } else {
        "it is not PEM, the text that begins with -----BEGIN: make some with openssl x509 -inform der -in FILE"
    };
    format!("there is no {what} in it: {found}")
}

/// All certificates, of which there is at least one.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(nothing("certificate", text)),
        Err(why) => Err(format!("a certificate in it is damaged: {why}")),
    }
}

/// The first private key.
pub fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|_| nothing("private key", text))
}

/// All revocation lists, of which there is at least one.
pub fn revocation_lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(nothing("revocation list", text)),
        Err(why) => Err(format!("a revocation list in it is damaged: {why}")),
    }
}
