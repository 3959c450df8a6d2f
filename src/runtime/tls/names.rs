//! The names in a certificate.

use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::core::limits::CERT_NAMES;
use crate::wire::access::CertName;

/// The names of a certificate in DER, and its key; none where it cannot be read.
pub fn of(der: &[u8]) -> Box<[CertName]> {
    let Ok((_, certificate)) = parse_x509_certificate(der) else { return Box::default() };
    let key = CertName::Spki(Sha256::digest(certificate.public_key().raw).into());
    let mut names = vec![key];
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(host) => Some(CertName::dns(host)),
            GeneralName::URI(uri) => Some(CertName::Uri((*uri).into())),
            GeneralName::RFC822Name(address) => Some(CertName::email(address)),
            _ => None,
        }));
    }
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.extend(common.map(|name| CertName::Cn(name.into())));
    names.truncate(CERT_NAMES);
    names.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn every_kind_of_name_is_found() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["Pump-17.Plant".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "pump 17");
        params.subject_alt_names.extend([
            SanType::URI("spiffe://plant/pump-17".try_into().unwrap()),
            SanType::Rfc822Name("pump@Plant.example".try_into().unwrap()),
        ]);
        let certificate = params.self_signed(&key).unwrap();
        let names = of(certificate.der());
        let spki = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key));
        let shown: Vec<String> = names.iter().map(CertName::to_string).collect();
        assert_eq!(
            shown,
            [
                format!("spki:{}", crate::core::units::hex(&spki)),
                "dns:pump-17.plant".into(),
                "uri:spiffe://plant/pump-17".into(),
                "email:pump@plant.example".into(),
                "cn:pump 17".into(),
            ]
        );
        assert!(of(b"no certificate").is_empty());
    }
}
