//! How many patterns may be held, and what is said beyond that.

use std::fmt;

use crate::core::limits::{CONN_PATTERNS, CONN_SHAPES, PATTERNS, SHAPES};

/// How many patterns may be held.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// (Pattern, holder) pairs.
    pub pairs: usize,
    /// Of one holder.
    pub pairs_each: usize,
    /// Shapes of patterns.
    pub shapes: usize,
    /// Of the patterns of one holder.
    pub shapes_each: usize,
    /// What all of it may take, in bytes.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pairs: PATTERNS,
            pairs_each: CONN_PATTERNS,
            shapes: SHAPES,
            shapes_each: CONN_SHAPES,
            bytes: usize::MAX,
        }
    }
}

/// Why a pattern was not added: the limit that it would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// [`Limits::pairs`].
    Pairs(usize),
    /// [`Limits::pairs_each`].
    PairsEach(usize),
    /// [`Limits::shapes`].
    Shapes(usize),
    /// [`Limits::shapes_each`].
    ShapesEach(usize),
    /// [`Limits::bytes`].
    Bytes(usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Pairs(max) => write!(f, "the gateway holds {max} patterns already"),
            Full::PairsEach(max) => write!(f, "a connection holds at most {max} patterns"),
            Full::Shapes(max) => {
                write!(f, "the gateway's patterns have {max} shapes (tokens, places of '*', '>') already")
            }
            Full::ShapesEach(max) => {
                write!(f, "a connection's patterns have at most {max} shapes (tokens, places of '*', '>')")
            }
            Full::Bytes(max) => {
                write!(
                    f,
                    "patterns take the {} KiB that they may: unsubscribe, or give more --memory",
                    max / 1024
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::limits::REASON_MAX;

    #[test]
    fn no_reason_is_cut_off() {
        for full in [
            Full::Pairs(PATTERNS),
            Full::PairsEach(4096),
            Full::Shapes(SHAPES),
            Full::ShapesEach(CONN_SHAPES),
            Full::Bytes(usize::MAX >> 10),
        ] {
            assert!(full.to_string().len() <= REASON_MAX, "{full}");
        }
    }
}
