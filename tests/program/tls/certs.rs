//! Authorities and what they issue, for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};

pub const DAY: Duration = Duration::from_secs(86_400);

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// What a certificate is for, and when.
#[derive(Clone)]
pub struct Wanted {
    pub names: Vec<String>,
    pub serial: u64,
    pub usage: ExtendedKeyUsagePurpose,
    pub from: SystemTime,
    pub until: SystemTime,
}

impl Wanted {
    pub fn client(name: &str) -> Wanted {
        let now = SystemTime::now();
        Wanted {
            names: vec![name.into()],
            serial: 7,
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            from: now - DAY,
            until: now + 90 * DAY,
        }
    }

    pub fn server() -> Wanted {
        let names = ["localhost", "127.0.0.1"].map(String::from).into();
        Wanted { names, usage: ExtendedKeyUsagePurpose::ServerAuth, ..Wanted::client("") }
    }
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate and its key.
    pub fn issue(&self, wanted: &Wanted) -> (String, String) {
        let mut params = CertificateParams::new(wanted.names.clone()).unwrap();
        params.serial_number = Some(SerialNumber::from(wanted.serial));
        params.extended_key_usages = vec![wanted.usage.clone()];
        (params.not_before, params.not_after) = (wanted.from.into(), wanted.until.into());
        params.distinguished_name.push(DnType::CommonName, wanted.names.first().map_or("", String::as_str));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The list of these revoked serial numbers.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let now = SystemTime::now();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: (now - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: (now - DAY).into(),
            next_update: (now + DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Puts a file in the place of another, as a whole.
pub fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (next, path) = (folder.join("next"), folder.join(name));
    fs::write(&next, text).unwrap();
    restrict(&next);
    fs::rename(next, &path).unwrap();
    path
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
