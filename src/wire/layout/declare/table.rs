//! The keys of a shape, with those of its layout as defaults.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::wire::toml_file::Where;
pub(super) use crate::wire::toml_file::{called, string, unquoted};

/// Keys that mean something; every other one is a field.
pub(super) const KEYS: [&str; 13] = [
    "topic", "key", "start", "length", "counts", "size", "until", "end", "unescape", "check", "reply",
    "refuse", "keep",
];
/// And these, which take no text.
pub(super) const OTHERS: [&str; 3] = ["publish", "shape", "on-malformed"];

/// A value, and where its key stands.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub at: usize,
    pub value: &'a DeValue<'a>,
}

/// A shape as it is declared.
pub(super) struct Source<'a> {
    pub layout: &'a str,
    pub at: usize,
    /// In a layout of several.
    pub index: Option<usize>,
    pub entries: BTreeMap<&'a str, Entry<'a>>,
}

impl<'a> Source<'a> {
    /// A shape of its own keys and the layout's.
    pub fn new(
        layout: &'a str,
        at: usize,
        index: Option<usize>,
        defaults: &'a DeTable<'a>,
        own: Option<&'a DeTable<'a>>,
    ) -> Source<'a> {
        let entry =
            |(key, value): (&'a toml::Spanned<std::borrow::Cow<'a, str>>, &'a toml::Spanned<DeValue<'a>>)| {
                (&**key.get_ref(), Entry { at: key.span().start, value: value.get_ref() })
            };
        let mut entries: BTreeMap<_, _> = defaults.iter().map(entry).collect();
        if let Some(own) = own {
            // How a frame ends is said in one way: a shape's own takes the place of the layout's.
            let bounds = ["length", "size", "until"];
            if bounds.iter().any(|bound| own.contains_key(*bound)) {
                entries.retain(|key, _| !bounds.contains(key) && *key != "counts");
            }
            entries.remove("shape");
            entries.remove("on-malformed");
            entries.extend(own.iter().map(entry));
        } else {
            entries.remove("on-malformed");
        }
        Source { layout, at, index, entries }
    }

    pub fn get(&self, key: &str) -> Option<Entry<'a>> {
        self.entries.get(key).copied()
    }

    /// Where something is said about a key; about the shape where it has none of that name.
    pub fn place<'b>(&'b self, key: &'b str) -> Where<'b> {
        let at = self.get(key).map_or(self.at, |entry| entry.at);
        Where { at, layout: Some(self.layout), shape: self.index, key: Some(key), ..Where::default() }
    }

    pub fn whole(&self) -> Where<'_> {
        Where { at: self.at, layout: Some(self.layout), shape: self.index, ..Where::default() }
    }
}
