//! What a source holds beside records.

use std::fmt;

use crate::core::units::one_line;

/// What is no record, and so is not posted: it is counted, and named where it has a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// A folder.
    Folder,
    /// A symbolic link, and where it leads, where that is told.
    Link(String),
    /// Another name of a file of the same archive.
    HardLink(String),
    /// A device.
    Device,
    /// A named pipe or a socket.
    Pipe,
    /// The label of a volume.
    Label,
    /// What macOS keeps beside a file.
    MacMetadata,
    /// A hidden file or folder of a folder.
    Hidden,
    /// A blank line.
    Blank,
}

impl LeftOut {
    /// What one is called.
    pub fn kind(&self) -> &'static str {
        match self {
            LeftOut::Folder => "folder",
            LeftOut::Link(_) => "link",
            LeftOut::HardLink(_) => "hard link",
            LeftOut::Device => "device",
            LeftOut::Pipe => "pipe",
            LeftOut::Label => "volume label",
            LeftOut::MacMetadata => "macOS metadata file",
            LeftOut::Hidden => "hidden file",
            LeftOut::Blank => "blank line",
        }
    }

    /// Whether reports name each: of a folder its files are, and a blank line has nothing to miss.
    pub fn is_named(&self) -> bool {
        !matches!(self, LeftOut::Folder | LeftOut::Blank)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            LeftOut::Link(to) | LeftOut::HardLink(to) if !to.is_empty() => write!(f, " to {}", one_line(to)),
            _ => Ok(()),
        }
    }
}
