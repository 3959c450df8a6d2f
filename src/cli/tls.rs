//! The files of TLS: those of a gateway's listeners, and those of a client.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use super::settings::Settings;
use super::{Failure, secret};
use crate::client::{Tls, TlsOptions};
use crate::core::limits::{CERT_FILE, CRL_FILE};
use crate::core::units::{many, plain};
use crate::runtime::tls::{ClientAuth, ServerFiles, ServerTls, Wrong};

/// The files of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPaths {
    /// The certificate, and behind it those between it and its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// What these have revoked.
    pub client_crl: Option<PathBuf>,
    /// Whether clients must bring one.
    pub client: ClientAuth,
    /// Where they are named, for messages: `--`, or a file and its line.
    pub place: String,
}

impl TlsPaths {
    /// Those of the options, where they are given; they are for --listen-tls and --admin-tls.
    pub fn of(settings: &Settings) -> Result<Option<TlsPaths>, Failure> {
        let (cert, key) = match (&settings.tls_cert, &settings.tls_key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (Some(_), None) => return Err(lacks("--tls-cert", "--tls-key")),
            (None, Some(_)) => return Err(lacks("--tls-key", "--tls-cert")),
            (None, None) if settings.listen_tls.is_some() => return Err(lacks("--listen-tls", "--tls-cert")),
            (None, None) if settings.admin_tls == Some(true) => {
                return Err(lacks("--admin-tls", "--tls-cert"));
            }
            (None, None) if settings.tls_client_ca.is_some() => {
                return Err(lacks("--tls-client-ca", "--tls-cert"));
            }
            (None, None) => return Ok(None),
        };
        let is_used = settings.listen_tls.is_some() || settings.admin_tls == Some(true);
        if !is_used {
            return Err(Failure::usage(
                "--tls-cert is for --listen-tls and --admin-tls: give one of them, or tls-cert in a [[listener]] of --config",
            ));
        }
        if settings.tls_client_ca.is_none() {
            if settings.tls_client_crl.is_some() {
                return Err(lacks("--tls-client-crl", "--tls-client-ca"));
            }
            if settings.tls_client.is_some() {
                return Err(lacks("--tls-client", "--tls-client-ca"));
            }
        }
        Ok(Some(TlsPaths {
            cert,
            key,
            client_ca: settings.tls_client_ca.clone(),
            client_crl: settings.tls_client_crl.clone(),
            client: settings.tls_client.unwrap_or_default(),
            place: "--".into(),
        }))
    }

    /// Every file.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref(), self.client_crl.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    /// Reads and checks them.
    pub fn load(&self) -> Result<Arc<ServerTls>, Failure> {
        let read = |which: Wrong, path: &Path| {
            let most = if which == Wrong::ClientCrl { CRL_FILE } else { CERT_FILE };
            read(path, most).map_err(|why| self.wrong(which, &why))
        };
        let cert = read(Wrong::Cert, &self.cert)?;
        let key = zeroize::Zeroizing::new(read(Wrong::Key, &self.key)?);
        secret::warn_if_others_read_key(&self.key);
        let client_ca = self.client_ca.as_deref().map(|path| read(Wrong::ClientCa, path)).transpose()?;
        let client_crl = self.client_crl.as_deref().map(|path| read(Wrong::ClientCrl, path)).transpose()?;
        let files = ServerFiles {
            cert: &cert,
            key: &key,
            client_ca: client_ca.as_deref(),
            client_crl: client_crl.as_deref(),
            client: self.client,
        };
        let (tls, warnings) =
            ServerTls::new(files, SystemTime::now()).map_err(|(which, why)| self.wrong(which, &why))?;
        let crl = self.client_crl.as_deref().unwrap_or(Path::new("")).display().to_string();
        for warning in warnings {
            log::warn!("{}tls-client-crl {}: {}", self.place, plain(&crl), plain(&warning));
        }
        Ok(Arc::new(tls))
    }

    fn wrong(&self, which: Wrong, why: &str) -> Failure {
        let path = match which {
            Wrong::Cert => Some(&self.cert),
            Wrong::Key => Some(&self.key),
            Wrong::ClientCa => self.client_ca.as_ref(),
            Wrong::ClientCrl => self.client_crl.as_ref(),
        };
        let shown = path.map_or(String::new(), |path| plain(&path.display().to_string()));
        Failure::usage(format!("{}{} {shown}: {}", self.place, which.option(), plain(why)))
    }
}

fn lacks(given: &str, other: &str) -> Failure {
    Failure::usage(format!("{given} is given without {other}: give that too"))
}

/// A file of at most so many bytes.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|why| format!("{why}: give a PEM file"))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|why| format!("{why}: give a PEM file"))?;
    if bytes.len() as u64 > most {
        return Err(format!("it has more than {}: give a PEM file", many(most, "byte")));
    }
    Ok(bytes)
}

/// How a client speaks TLS, if it does.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientTls {
    /// Speaks TLS with the gateway, at the port of its --listen-tls [default: in the clear]
    #[arg(long, global = true, help_heading = "TLS")]
    pub tls: bool,
    /// The authority that has issued the gateway's certificate, PEM [default: those that the system trusts]
    #[arg(long, value_name = "FILE", requires = "tls", global = true, help_heading = "TLS")]
    pub ca: Option<PathBuf>,
    /// This client's certificate, PEM; its key may stand in the same file [default: none]
    #[arg(long, value_name = "FILE", requires = "tls", global = true, help_heading = "TLS")]
    pub cert: Option<PathBuf>,
    /// The key of --cert, PEM [default: in the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert", global = true, help_heading = "TLS")]
    pub cert_key: Option<PathBuf>,
    /// The name that the gateway's certificate is for [default: the host that is connected to]
    #[arg(long, value_name = "N", requires = "tls", global = true, help_heading = "TLS")]
    pub server_name: Option<String>,
}

impl ClientTls {
    /// Reads and checks the files.
    pub fn load(&self) -> Result<Option<Tls>, Failure> {
        self.options().map(|options| Tls::new(&options)).transpose().map_err(wrong)
    }

    /// The same, for connections that do not resume each other's sessions.
    pub fn load_for_many(&self) -> Result<Option<Tls>, Failure> {
        self.options().map(|options| Tls::with(&options, false)).transpose().map_err(wrong)
    }

    fn options(&self) -> Option<TlsOptions> {
        let key = self.cert_key.as_ref().or(self.cert.as_ref());
        self.tls.then(|| TlsOptions {
            ca: self.ca.clone(),
            cert: self.cert.clone().zip(key.cloned()),
            server_name: self.server_name.clone(),
        })
    }
}

fn wrong(why: crate::client::Error) -> Failure {
    let line = why.to_string();
    // What the library calls the key, the command line calls the certificate's.
    Failure::usage(match line.strip_prefix("--key") {
        Some(rest) => format!("--cert-key{rest}"),
        None => line,
    })
}
