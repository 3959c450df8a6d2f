//! Why records cannot be read.

use std::fmt;
use std::io;

use crate::core::units::one_line;

/// Why records cannot be read, in one line with the mend.
#[derive(Debug)]
pub enum RecordError {
    /// An input cannot be opened.
    Open {
        /// Its name.
        name: String,
        /// The system's reason.
        why: io::Error,
    },
    /// An input is a folder.
    Folder {
        /// Its name.
        name: String,
    },
    /// An input is not what it should be, and nothing of it is taken.
    Refused {
        /// The input's name.
        name: String,
        /// Why, and the mend.
        why: String,
    },
    /// Reading failed on the way.
    Read {
        /// The input's name.
        name: String,
        /// The system's reason.
        why: io::Error,
    },
    /// A record is too long.
    TooLong {
        /// The input's name.
        name: String,
        /// Which line it is, from 1; none if it is all of the input.
        line: Option<u64>,
        /// How long it may be, in bytes.
        max: usize,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Open { name, why } => {
                write!(f, "cannot open {name}: {why}: check its name and mode")
            }
            RecordError::Folder { name } => write!(f, "{name} is a folder: name the files in it"),
            RecordError::Refused { name, why } => write!(f, "{name} is not posted: {}", one_line(why)),
            RecordError::Read { name, why } => {
                // Of a damaged archive it may quote anything.
                write!(f, "cannot read {name} to its end: {}", one_line(&why.to_string()))
            }
            RecordError::TooLong { name, line, max } => {
                f.write_str(name)?;
                if let Some(line) = line {
                    write!(f, " line {line}")?;
                }
                write!(f, ": longer than the {max} bytes that a frame may carry: cut it into smaller records")
            }
        }
    }
}

impl std::error::Error for RecordError {}
