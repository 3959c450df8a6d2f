//! The listeners of a configuration file: its `[[listener]]` tables, and those of `listen-layout`.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Failure, layouts};
use crate::core::units::{nearest, plain};
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
}

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
        listeners.push(FileListener { line, address_line: line, key: "listen-layout", layout, address });
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
            other => {
                let shown = plain(other);
                let mend = match nearest(other, ["address", "layout"]) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => "a listener has an address and a layout".into(),
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
    let (line, address_line) = (line(layout_at), line(address_at));
    Ok(FileListener { line, address_line, key: "listener", layout, address })
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

    /// What is wrong with its address.
    pub fn wrong_address(&self, file: &Path, wrong: Failure) -> Failure {
        self.wrong(file, self.address_line, wrong)
    }

    fn wrong(&self, file: &Path, line: usize, wrong: Failure) -> Failure {
        let file = plain(&file.display().to_string());
        Failure { message: format!("{file} line {line}: {}: {}", self.key, wrong.message), ..wrong }
    }
}
