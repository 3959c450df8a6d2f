//! Why one record among others cannot be read.

use std::fmt;

use crate::core::units::one_line;

/// Why one record cannot be read, where those around it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is, or unpacks to, more than so many bytes.
    TooLarge(usize),
    /// It is encrypted.
    Encrypted,
    /// It is packed in a way that is not read here.
    Method(String),
    /// Its bytes are not what the archive says of them, and why.
    Damaged(String),
    /// Its source ends, or cannot be read on, within it, and why.
    Incomplete(String),
    /// It is a member of an archive of a type that is not known.
    UnknownType(String),
    /// A row has another number of fields than the header.
    Fields {
        /// In the header.
        expected: usize,
        /// In the row.
        got: usize,
    },
    /// A row begins a quote that never ends.
    OpenQuote,
    /// A line or a row is no UTF-8, or holds a NUL.
    NotText,
    /// A file cannot be opened or read, and why.
    Unreadable(String),
    /// All of a file is neither text nor an archive that is read here, or not what its name says, and why.
    Refused(String),
}

impl Flaw {
    /// What it is counted under, in a few words.
    pub fn kind(&self) -> &'static str {
        match self {
            Flaw::TooLarge(_) => "too large",
            Flaw::Encrypted => "encrypted",
            Flaw::Method(_) => "unknown compression",
            Flaw::Damaged(_) => "damaged",
            Flaw::Incomplete(_) => "incomplete",
            Flaw::UnknownType(_) => "unknown type",
            Flaw::Fields { .. } => "wrong number of fields",
            Flaw::OpenQuote => "open quote",
            Flaw::NotText => "not text",
            Flaw::Unreadable(_) => "unreadable",
            Flaw::Refused(_) => "not understood",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::TooLarge(max) => write!(f, "larger than {max} bytes: raise --max-record"),
            Flaw::Encrypted => f.write_str("encrypted: decrypt the archive first"),
            Flaw::Method(method) => {
                write!(f, "packed with {method}, which is not read here: pack it again with deflate or zstd")
            }
            Flaw::Damaged(why) => write!(f, "damaged: {}", one_line(why)),
            Flaw::Incomplete(why) => write!(f, "incomplete: {}", one_line(why)),
            Flaw::UnknownType(kind) => {
                write!(f, "a member of type {kind}, which is not read here: pack the archive again")
            }
            Flaw::Fields { expected, got } => write!(f, "{got} fields where the header has {expected}"),
            Flaw::OpenQuote => {
                f.write_str("a quote is left open, so the rest of the table is in this row: close it")
            }
            Flaw::NotText => f.write_str("not UTF-8, or it holds a NUL: convert the file, with iconv"),
            Flaw::Unreadable(why) => write!(f, "cannot be read: {}", one_line(why)),
            Flaw::Refused(why) => f.write_str(&one_line(why)),
        }
    }
}
