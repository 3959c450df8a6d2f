//! What `send` and `post` read.
//!
//! For `send`, [`Records`]: the lines of standard input or of files, or whole files. For `post`, a [`Walk`]:
//! archives, text and tables, where what is wrong with one record is a value and the rest goes on. Everything that is
//! in a source is a record, a [`Flaw`] or [`LeftOut`]: nothing is passed over in silence. Reading is for a thread of its own, so that whoever takes the records can do something else (send
//! what it has, see a signal) when none is at hand. The caller starts it: this room has no threads.

mod error;
mod flaw;
mod head;
mod judge;
mod kind;
mod left_out;
mod lines;
mod rows;
mod source;
mod sparse;
mod tar_reader;
mod unpack;
mod walk;
mod zip;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam::channel::{self, Receiver, Sender, TryRecvError};

pub use error::RecordError;
pub use flaw::Flaw;
pub use left_out::LeftOut;
use source::Piece;
pub use source::Reader;
pub use walk::{Cut, Extent, Found, Visit, Walk, shown};

/// 4 blocks read ahead: reading is rarely what everything waits for, and a block is a read.
const AHEAD: usize = 4;

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file, or anything that can be opened as one.
    File(PathBuf),
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A line without the `\n` at its end, its bytes otherwise unchanged. A last line needs none.
    Lines,
    /// All of an input.
    Whole,
}

/// The records of some inputs, one input after the other.
pub struct Records {
    pieces: Receiver<Result<Piece, RecordError>>,
    spent: Sender<Vec<u8>>,
    stop: Receiver<()>,
    /// The piece that records are taken from, up to `taken`.
    piece: Piece,
    taken: usize,
    name: Arc<str>,
    line: u64,
    /// The largest record.
    max: usize,
    total: Option<u64>,
    consumed: u64,
    /// A failure that is told after the records before it.
    failed: Option<RecordError>,
}

/// Ends the reading when it is dropped.
pub struct Stopper {
    _stop: Sender<()>,
}

impl Records {
    /// Checks that every input can be opened. A record of more than `max` bytes is an error. Nothing
    /// comes before the [`Reader`] runs.
    pub fn open(
        inputs: Vec<Input>,
        shape: Shape,
        max: usize,
    ) -> Result<(Records, Reader, Stopper), RecordError> {
        let mut total = Some(0);
        for input in &inputs {
            let len = input.check()?;
            total = total.zip(len).map(|(total, len)| total + len);
        }
        let (to, pieces) = channel::bounded(AHEAD);
        let (spent, blocks) = channel::bounded(AHEAD);
        let (stopper, stop) = channel::bounded(0);
        let reader = Reader { inputs, shape, max, to, spent: blocks };
        let (piece, name) = (Piece::default(), Arc::from(""));
        let (taken, line, consumed, failed) = (0, 0, 0, None);
        let records = Records { pieces, spent, stop, piece, taken, name, line, max, total, consumed, failed };
        Ok((records, reader, Stopper { _stop: stopper }))
    }

    /// The next record, if one is at hand. If none is, [`wait`](Self::wait) tells what to do.
    pub fn at_hand(&mut self) -> Result<Option<&[u8]>, RecordError> {
        loop {
            if let Some(record) = self.piece.next(&mut self.taken) {
                let len = record.len();
                self.line += 1;
                self.consumed += len as u64 + u64::from(matches!(self.piece, Piece::Lines { .. }));
                if len > self.max {
                    return Err(self.too_long());
                }
                return Ok(Some(self.piece.bytes(record)));
            }
            match self.pieces.try_recv() {
                Ok(piece) => self.begin(piece),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    return self.failed.take().map_or(Ok(None), Err);
                }
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
        }
    }

    /// Waits until something is at hand; false if nothing more will be, because the inputs are at their
    /// end or the reading was stopped.
    pub fn wait(&mut self) -> bool {
        // Stopped comes first: what is at hand then is not wanted any more.
        channel::select_biased! {
            recv(self.stop) -> _ => false,
            recv(self.pieces) -> piece => piece.map(|piece| self.begin(piece)).is_ok(),
        }
    }

    /// Bytes of all inputs, where they are regular files.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Bytes of the inputs that the records so far were made of.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    fn begin(&mut self, piece: Result<Piece, RecordError>) {
        let before = match piece {
            Ok(Piece::Begin(name)) => {
                self.name = name;
                self.line = 0;
                std::mem::take(&mut self.piece)
            }
            Ok(piece) => std::mem::replace(&mut self.piece, piece),
            Err(error) => {
                self.failed = Some(error);
                return;
            }
        };
        self.taken = 0;
        if let Piece::Lines { bytes, .. } = before {
            // Where enough are spare, one more is not needed.
            let _ = self.spent.try_send(bytes);
        }
    }

    fn too_long(&self) -> RecordError {
        let line = matches!(self.piece, Piece::Lines { .. }).then_some(self.line);
        RecordError::TooLong { name: self.name.to_string(), line, max: self.max }
    }
}

impl Input {
    /// Its name for people.
    pub fn name(&self) -> String {
        match self {
            Input::Stdin => "standard input".to_string(),
            Input::File(path) => path.display().to_string(),
        }
    }

    /// Checks that it can be opened. Its bytes, where it is a regular file.
    pub fn check(&self) -> Result<Option<u64>, RecordError> {
        let metadata = match self {
            Input::Stdin => return Ok(stdin_len()),
            Input::File(path) => fs::metadata(path),
        };
        let metadata = metadata.map_err(|why| RecordError::Open { name: self.name(), why })?;
        if metadata.is_dir() {
            return Err(RecordError::Folder { name: self.name() });
        }
        if !metadata.is_file() {
            // To open a pipe is to wait for its writer.
            return Ok(None);
        }
        self.open()?;
        Ok(Some(metadata.len()))
    }

    /// Opens it, to be read from the beginning.
    pub fn open(&self) -> Result<Box<dyn io::Read>, RecordError> {
        match self {
            Input::Stdin => Ok(Box::new(io::stdin().lock())),
            Input::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(why) => Err(RecordError::Open { name: self.name(), why }),
            },
        }
    }
}

#[cfg(unix)]
fn stdin_len() -> Option<u64> {
    use std::io::Seek;
    use std::os::fd::AsFd;
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
    Some(metadata.len().saturating_sub(file.stream_position().ok()?))
}

#[cfg(not(unix))]
fn stdin_len() -> Option<u64> {
    None
}

impl Piece {
    /// The place of the next record, if there is one after `taken`.
    fn next(&self, taken: &mut usize) -> Option<Range<usize>> {
        match self {
            Piece::Begin(_) => None,
            Piece::Whole(bytes) => {
                // Even of nothing: an empty file is a record.
                let first = *taken == 0;
                *taken = usize::MAX;
                first.then_some(0..bytes.len())
            }
            Piece::Lines { bytes, len } => {
                let rest = &bytes[*taken..*len];
                let end = source::line_end(rest)?;
                let start = *taken;
                *taken += end;
                let newline = usize::from(bytes[*taken - 1] == b'\n');
                Some(start..*taken - newline)
            }
        }
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self {
            Piece::Begin(_) => &[],
            Piece::Whole(bytes) | Piece::Lines { bytes, .. } => &bytes[range],
        }
    }
}
