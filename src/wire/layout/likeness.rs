//! What bytes look like that cannot be cut, for logs.

use super::cut::{Cut, Cutter};
use super::form::{Declared, Layout};
use super::{Layouts, spaced_hex};
use crate::wire::fault::Fault;
use crate::wire::header::{MAGIC, VERSION};

/// As many bytes are shown in a line of the log.
const SHOWN: usize = 16;

/// The first bytes as hex and text: `47 45 54 20 "GET "`.
pub fn shown(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { " …" } else { "" };
    format!("{}{more} \"{}{more}\"", spaced_hex(first), first.escape_ascii())
}

impl Layouts {
    /// What a stream that `expected` cannot cut begins like: another layout, native frames, or a protocol that is often
    /// sent to the wrong port.
    pub fn likeness(&self, expected: &Layout, bytes: &[u8]) -> Option<String> {
        if bytes.starts_with(&MAGIC) && bytes.get(2).is_none_or(|version| *version == VERSION) {
            return Some("native frames".into());
        }
        if let Some(protocol) = Fault::magic(bytes).looks_like() {
            return Some(protocol.into());
        }
        // A format in code is not asked about the streams of others.
        let others = self.iter().filter(|layout| layout.name() != expected.name());
        let agreements =
            others.filter_map(|layout| Some((agreement(layout, layout.declared()?, bytes), layout)));
        let (agrees, layout) = agreements.max_by_key(|(agrees, _)| *agrees)?;
        (agrees >= CONVINCING).then(|| format!("layout {}", layout.name()))
    }
}

/// Two bytes that agree are no accident.
const CONVINCING: usize = 2;

/// How many bytes of a first frame only a frame of the layout would have: its start, and its end or a whole length.
fn agreement(layout: &Layout, declared: &Declared, bytes: &[u8]) -> usize {
    let Cut::Frame { shape, .. } = Cutter::default().next(layout, bytes, bytes.len()) else {
        // The frame may only have begun.
        let begun = declared.shapes.iter().filter(|shape| bytes.starts_with(&shape.start));
        let zero = |start: &[u8]| start.iter().all(|byte| *byte == 0);
        return begun.map(|shape| shape.start.len()).filter(|len| !zero(&bytes[..*len])).max().unwrap_or(0);
    };
    let of = &declared.shapes[shape];
    if of.start.is_empty() { of.end.len() } else { of.start.len() + of.tail(declared) }
}
