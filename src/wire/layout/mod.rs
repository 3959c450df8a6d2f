//! Layouts: frames that other people's devices already speak.
//!
//! A layout is declared in TOML (`Layouts::parse`) and compiled: where a frame ends, what is checked, what it is called
//! and what is written back. The path then interprets no text:
//!
//! ```text
//! bytes ─ Cutter::next ─ Spots ─ Run::convert (a worker) ─┬─ native frames, as one batch
//!                                                          ├─ a Fate for each frame: outcome, reply, refusal
//!                                                          └─ Kept: what later frames of the connection may use
//! ```
//!
//! The declarations in `builtin/` show most of the language; `tests/language.rs` has a frame for every part of it.

#![cfg_attr(not(feature = "layouts"), allow(dead_code, reason = "without it no declaration is read"))]

#[cfg(feature = "layouts")]
mod alike;
#[cfg(feature = "layouts")]
mod builtin;
#[cfg(feature = "layouts")]
mod catalog;
mod check;
mod crc;
mod cut;
#[cfg(feature = "layouts")]
mod declare;
mod escape;
mod explain;
mod form;
mod format;
mod kept;
mod large;
#[cfg(feature = "layouts")]
mod lengths;
mod likeness;
mod place;
mod run;
#[cfg(feature = "layouts")]
mod said;
#[cfg(feature = "layouts")]
mod sample;
mod sum;
mod template;
#[cfg(all(test, feature = "layouts"))]
mod tests;
mod unescape;

use std::sync::Arc;

#[cfg(feature = "layouts")]
pub use alike::{Alikes, Hint};
#[cfg(feature = "layouts")]
pub use builtin::{BUILTIN, builtin};
pub use cut::{Cut, Cutter, Malformed};
#[cfg(feature = "layouts")]
pub use declare::{Problem, Warning};
pub use explain::{Explained, ExplainedCheck, ExplainedField, explain};
pub use form::Layout;
pub use format::{Boundary, Format, Parsed, Progress, Verdict};
pub use kept::Kept;
pub use large::{LargeRun, LargeStep};
#[cfg(feature = "layouts")]
pub use lengths::BYTES_MAX as LENGTH_BYTES_MAX;
pub use likeness::shown;
pub use run::{Converted, Fate, Outcome, Run, Said, Spot};
#[cfg(feature = "layouts")]
pub use sample::Device;
pub use template::{Named, Refusal};

/// Layouts by their names.
#[derive(Clone, Debug, Default)]
pub struct Layouts(Vec<Arc<Layout>>);

impl FromIterator<Arc<Layout>> for Layouts {
    fn from_iter<I: IntoIterator<Item = Arc<Layout>>>(layouts: I) -> Layouts {
        Layouts(layouts.into_iter().collect())
    }
}

impl Layouts {
    /// The layout with a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Layout>> {
        self.0.iter().find(|layout| layout.name() == name)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Layout>> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and those of `others` whose names are not taken.
    pub fn or(mut self, others: &Layouts) -> Layouts {
        for layout in others.iter() {
            if self.get(layout.name()).is_none() {
                self.0.push(layout.clone());
            }
        }
        self.0.sort_by(|a, b| a.name().cmp(b.name()));
        self
    }
}

/// Bytes as a declaration writes them: `7E 80`.
pub(super) fn spaced_hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        let space = if out.is_empty() { "" } else { " " };
        out.push_str(&format!("{space}{byte:02X}"));
    }
    out
}
