//! What a gateway and its clients share and nobody else knows: a secret, a token.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::Failure;
use crate::admin::Token;
use crate::client::Identity;
use crate::core::units::many;
use crate::sinks::store::Keys;
use crate::wire::Scheme;

/// The scheme of a secret file, or plain SHA-256 where there is none.
pub fn scheme(file: Option<&Path>) -> Result<Scheme, Failure> {
    let Some(file) = file else { return Ok(Scheme::Sha256) };
    read("--secret-file", "secret", file).map(|secret| Scheme::keyed(&secret))
}

/// The scheme of a gateway. A secret that can be found by trying protects nothing, so it is refused here, by the rule
/// of tokens; clients take what their gateway has.
pub fn scheme_to_serve(file: Option<&Path>) -> Result<Scheme, Failure> {
    let Some(file) = file else { return Ok(Scheme::Sha256) };
    let secret = read("--secret-file", "secret", file)?;
    if secret.len() < Token::LEAST {
        let bytes = many(secret.len() as u64, "byte");
        let wrong = format!("a secret of {bytes} is too short, {} are needed", Token::LEAST);
        return Err(too_weak("--secret-file", file, &wrong));
    }
    Ok(Scheme::keyed(&secret))
}

fn too_weak(option: &str, file: &Path, wrong: &str) -> Failure {
    let shown = file.display();
    Failure::usage(format!("{option} {shown}: {wrong}: make one with: openssl rand -hex 16 > {shown}"))
}

/// The schemes of several secret files, which `option` names.
pub fn schemes(option: &str, files: &[PathBuf]) -> Result<Vec<Scheme>, Failure> {
    files.iter().map(|file| read(option, "secret", file).map(|secret| Scheme::keyed(&secret))).collect()
}

/// The schemes for what is stored: of the secret files, the one in force first, or plain SHA-256 where there are none.
pub fn keys(files: &[PathBuf]) -> Result<Keys, Failure> {
    schemes("--secret-file", files).map(Keys::new)
}

/// The scheme of at most one secret file, where `with` is what takes several.
pub fn one(files: &[PathBuf], with: &str) -> Result<Scheme, Failure> {
    match files {
        [] => scheme(None),
        [file] => scheme(Some(file)),
        _ => Err(Failure::usage(format!("--secret-file is given more than once: that is for {with} alone"))),
    }
}

/// The token in a file, which `option` names.
pub fn token(option: &str, file: Option<&Path>) -> Result<Option<Token>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let token = read(option, "token", file)?;
    Token::new(&token).map(Some).map_err(|wrong| too_weak(option, file, &wrong))
}

/// Who a client is, by its --name and --token-file: both or neither. The token is never shown.
#[derive(Args, Clone, Debug, Default)]
pub struct Who {
    /// The name of this client's identity in the gateway's access file [default: none]
    #[arg(long, value_name = "N", requires = "token_file")]
    name: Option<String>,
    /// Its token is in this file [default: none]
    #[arg(long, value_name = "FILE", requires = "name")]
    token_file: Option<PathBuf>,
}

impl Who {
    /// What is said first on each connection, if something is.
    pub fn identity(&self) -> Result<Option<Identity>, Failure> {
        let (Some(name), Some(file)) = (&self.name, &self.token_file) else { return Ok(None) };
        let token = Zeroizing::new(read("--token-file", "token", file)?);
        let identity = Identity::new(&**name, &token[..]);
        identity.map(Some).map_err(|wrong| Failure::usage(format!("--name, --token-file: {wrong}")))
    }
}

fn read(option: &str, what: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("{option} {shown}: {why}: give a file that holds the {what}"))
    };
    let mut secret = Vec::new();
    let mut file = File::open(path).map_err(|why| wrong(&why))?;
    file.read_to_end(&mut secret).map_err(|why| wrong(&why))?;
    let trimmed = without_newline(&secret);
    if trimmed.is_empty() {
        return Err(wrong(&"the file is empty"));
    }
    secret.truncate(trimmed.len());
    if let Ok(metadata) = file.metadata() {
        warn_if_others_read(path, &metadata);
    }
    Ok(secret)
}

/// Editors end a file with a newline that nobody means to be part of the secret.
fn without_newline(secret: &[u8]) -> &[u8] {
    match secret {
        [secret @ .., b'\r', b'\n'] | [secret @ .., b'\n'] => secret,
        secret => secret,
    }
}

/// A private key that others can read is nobody's.
pub fn warn_if_others_read_key(path: &Path) {
    if let Ok(metadata) = fs::metadata(path) {
        warn_if_others_read(path, &metadata);
    }
}

#[cfg(unix)]
fn warn_if_others_read(path: &Path, metadata: &fs::Metadata) {
    use std::os::unix::fs::PermissionsExt;
    // A pipe (`<(pass show gateway)`) has modes that mean nothing.
    if metadata.is_file() && metadata.permissions().mode() & 0o044 != 0 {
        log::warn!("others can read the secret in {}: chmod 600 it", path.display());
    }
}

#[cfg(not(unix))]
fn warn_if_others_read(_: &Path, _: &fs::Metadata) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_is_not_the_secret() {
        for (file, secret) in
            [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), ("s\r", "s\r"), ("\n", ""), ("", "")]
        {
            assert_eq!(without_newline(file.as_bytes()), secret.as_bytes(), "{file:?}");
        }
    }

    #[test]
    fn a_missing_or_empty_file_says_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for content in [None, Some(""), Some("\n")] {
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let failure = scheme(Some(&path)).unwrap_err();
            assert_eq!(failure.exit, super::super::Exit::Usage);
            assert!(failure.message.contains("give a file that holds the secret"), "{failure}");
        }
        fs::write(&path, "hush\n").unwrap();
        assert_eq!(scheme(Some(&path)).unwrap().digest(b"x"), Scheme::keyed(b"hush").digest(b"x"));
        assert!(!scheme(None).unwrap().is_keyed());
    }

    #[test]
    fn a_gateway_takes_no_secret_that_can_be_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (secret, taken) in [("x", false), ("fifteen bytes..", false), ("sixteen bytes...\n", true)] {
            fs::write(&path, secret).unwrap();
            let served = scheme_to_serve(Some(&path));
            assert_eq!(served.is_ok(), taken, "{secret:?}");
            if let Err(failure) = served {
                assert!(
                    failure.message.contains("is too short, 16 are needed: make one with: openssl"),
                    "{failure}"
                );
            }
            assert!(scheme(Some(&path)).is_ok(), "a client takes what its gateway has");
        }
        assert!(!scheme_to_serve(None).unwrap().is_keyed());
    }
}
