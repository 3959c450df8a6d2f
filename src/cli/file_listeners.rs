//! The listeners of a configuration file: its `[[listener]]` tables, and those of `listen-layout`.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tls::TlsPaths;
use super::{Failure, layouts};
use crate::core::units::{nearest, plain};
use crate::runtime::tls::ClientAuth;
use crate::wire::layout::{Layout, Layouts};

/// A listener, and where it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileListener {
    /// Where its layout is said, or where that would be: a line of the file, from 1.
    pub line: usize,
    /// Where its address is.
    pub address_line: usize,
    /// `listener` or `listen-layout`.
    pub key: &'static str,
    /// The name of a layout, or `native`.
    pub layout: String,
    /// Where it listens.
    pub address: String,
    /// Its files of TLS, where it speaks TLS.
    pub tls: Option<TlsPaths>,
}

/// The keys of a `[[listener]]`.
const KEYS: [&str; 7] =
    ["address", "layout", "tls-cert", "tls-key", "tls-client-ca", "tls-client-crl", "tls-client"];

/// What is wrong in a file, and at which of its bytes.
type Wrong = (usize, String);

/// All listeners of a file, in the order of its lines.
pub fn read(text: &str) -> Result<Vec<FileListener>, Wrong> {
    let Ok(table) = DeTable::parse(text) else { return Ok(Vec::new()) };
    let list = |name: &str| match table.get_ref().get(name).map(Spanned::get_ref) {
        Some(DeValue::Array(all)) => all.iter().collect(),
        _ => Vec::new(),
    };
    let line = |at: usize| 1 + text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
    let mut listeners = Vec::new();
    for each in list("listen-layout") {
        let (at, DeValue::String(given)) = (each.span().start, each.get_ref()) else { continue };
        let Some((layout, address)) = given.split_once('=') else {
            let what = format!("listen-layout {}: write it as gt06=0.0.0.0:5023", plain(given));
            return Err((at, what));
        };
        let (layout, address) = (layout.into(), address.into());
        let line = line(at);
        listeners.push(FileListener {
            line,
            address_line: line,
            key: "listen-layout",
            layout,
            address,
            tls: None,
        });
    }
    for each in list("listener") {
        if let DeValue::Table(table) = each.get_ref() {
            listeners.push(listener(table, each.span().start, line)?);
        }
    }
    listeners.sort_by_key(|listener| listener.line);
    Ok(listeners)
}

/// One `[[listener]]`.
fn listener(table: &DeTable<'_>, at: usize, line: impl Fn(usize) -> usize) -> Result<FileListener, Wrong> {
    let (mut address, mut layout, mut layout_at, mut address_at) = (None, None, at, at);
    let (mut tls, mut tls_at): ([Option<String>; 5], usize) = (Default::default(), at);
    for (name, value) in table {
        let (at, key) = (name.span().start, &**name.get_ref());
        let slot = match key {
            "address" => {
                address_at = at;
                &mut address
            }
            "layout" => {
                layout_at = at;
                &mut layout
            }
            name if let Some(place) = KEYS[2..].iter().position(|key| *key == name) => {
                tls_at = at;
                &mut tls[place]
            }
            other => {
                let shown = plain(other);
                let mend = match nearest(other, KEYS) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => format!("a listener has {}", KEYS.join(", ")),
                };
                return Err((at, format!("listener: unknown key {shown}: {mend}")));
            }
        };
        let DeValue::String(text) = value.get_ref() else {
            return Err((at, format!("listener: {key} is no text in quotes")));
        };
        *slot = Some(text.to_string());
    }
    let Some(address) = address else {
        return Err((at, "listener: it has no address: write address = \"0.0.0.0:5027\"".into()));
    };
    let layout = layout.unwrap_or_else(|| "native".into());
    let tls = tls_of(tls, line(tls_at)).map_err(|wrong| (tls_at, format!("listener: {wrong}")))?;
    let (line, address_line) = (line(layout_at), line(address_at));
    Ok(FileListener { line, address_line, key: "listener", layout, address, tls })
}

/// The files of TLS of a listener, where it has some.
fn tls_of(
    [cert, key, ca, crl, client]: [Option<String>; 5],
    line: usize,
) -> Result<Option<TlsPaths>, String> {
    let lacks = |given: &str, other: &str| Err(format!("{given} is given without {other}: write that, too"));
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => return lacks("tls-cert", "tls-key"),
        (None, Some(_)) => return lacks("tls-key", "tls-cert"),
        (None, None) => {
            let alone = [(ca, "tls-client-ca"), (crl, "tls-client-crl"), (client, "tls-client")];
            return match alone.into_iter().find(|(given, _)| given.is_some()) {
                Some((_, name)) => lacks(name, "tls-cert"),
                None => Ok(None),
            };
        }
    };
    if ca.is_none() && crl.is_some() {
        return lacks("tls-client-crl", "tls-client-ca");
    }
    let client = match client.as_deref() {
        Some(_) if ca.is_none() => return lacks("tls-client", "tls-client-ca"),
        None | Some("require") => ClientAuth::Require,
        Some("want") => ClientAuth::Want,
        Some(other) => {
            return Err(format!("tls-client: invalid policy '{}': choose require or want", plain(other)));
        }
    };
    let (client_ca, client_crl) = (ca.map(Into::into), crl.map(Into::into));
    let place = format!("line {line}: listener: ");
    Ok(Some(TlsPaths { cert: cert.into(), key: key.into(), client_ca, client_crl, client, place }))
}

impl FileListener {
    /// The layout that it has in `file`; none for native frames.
    pub fn layout(&self, file: &Path, layouts: &Layouts) -> Result<Option<Arc<Layout>>, Failure> {
        match &*self.layout {
            "native" => Ok(None),
            name => {
                layouts::find(layouts, name).map(Some).map_err(|wrong| self.wrong(file, self.line, wrong))
            }
        }
    }

    /// Its files of TLS, which are looked for beside `file`.
    pub fn tls(&self, file: &Path) -> Option<TlsPaths> {
        let tls = self.tls.as_ref()?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let place = |path: &std::path::PathBuf| folder.join(path);
        Some(TlsPaths {
            cert: place(&tls.cert),
            key: place(&tls.key),
            client_ca: tls.client_ca.as_ref().map(place),
            client_crl: tls.client_crl.as_ref().map(place),
            client: tls.client,
            place: format!("{} {}", plain(&file.display().to_string()), tls.place),
        })
    }

    /// What is wrong with its address.
    pub fn wrong_address(&self, file: &Path, wrong: Failure) -> Failure {
        self.wrong(file, self.address_line, wrong)
    }

    fn wrong(&self, file: &Path, line: usize, wrong: Failure) -> Failure {
        let file = plain(&file.display().to_string());
        Failure { message: format!("{file} line {line}: {}: {}", self.key, wrong.message), ..wrong }
    }
}
