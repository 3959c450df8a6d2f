//! Why one record among others cannot be read.

use std::fmt;

use crate::error::one_line;

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
    /// Its name leads out of the archive.
    Name,
    /// A row has another number of fields than the header.
    Fields {
        /// In the header.
        expected: usize,
        /// In the row.
        got: usize,
    },
    /// A row is no UTF-8, which JSON has to be.
    NotText,
}

impl Flaw {
    /// What it is counted under, in a few words.
    pub fn kind(&self) -> &'static str {
        match self {
            Flaw::TooLarge(_) => "too large",
            Flaw::Encrypted => "encrypted",
            Flaw::Method(_) => "unknown compression",
            Flaw::Damaged(_) => "damaged",
            Flaw::Name => "bad name",
            Flaw::Fields { .. } => "wrong number of fields",
            Flaw::NotText => "not UTF-8",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::TooLarge(max) => write!(f, "larger than {max} bytes: raise --max-record"),
            Flaw::Encrypted => f.write_str("encrypted: decrypt the archive first"),
            Flaw::Method(method) => {
                write!(f, "packed with {method}: only stored and deflate are read; pack it again")
            }
            Flaw::Damaged(why) => write!(f, "damaged: {}", one_line(why)),
            Flaw::Name => f.write_str("its name leads out of the archive: rename it"),
            Flaw::Fields { expected, got } => write!(f, "{got} fields where the header has {expected}"),
            Flaw::NotText => f.write_str("not UTF-8, which JSON has to be: convert the file"),
        }
    }
}
