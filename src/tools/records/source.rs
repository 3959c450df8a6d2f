//! The side that reads.

use std::io::{BufRead, ErrorKind, Read};
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender};

use super::{Input, RecordError, Shape};

/// 256 KiB: what is asked for in one read.
const BLOCK: usize = 256 * 1024;

/// What the reader hands over.
#[derive(Debug)]
pub enum Piece {
    /// An input with this name begins.
    Begin(Arc<str>),
    /// Whole lines in the first `len` bytes; only the last of an input may lack its `\n`.
    Lines {
        /// Their bytes, and any others after them.
        bytes: Vec<u8>,
        /// How many are theirs.
        len: usize,
    },
    /// All of an input.
    Whole(Vec<u8>),
}

impl Default for Piece {
    fn default() -> Self {
        Piece::Lines { bytes: Vec::new(), len: 0 }
    }
}

/// Nobody takes the records any more.
struct Unwanted;

/// Reads the inputs of a [`Records`](super::Records).
pub struct Reader {
    pub(super) inputs: Vec<Input>,
    pub(super) shape: Shape,
    pub(super) max: usize,
    pub(super) to: Sender<Result<Piece, RecordError>>,
    /// Blocks that come back for reuse.
    pub(super) spent: Receiver<Vec<u8>>,
}

impl Reader {
    /// Reads every input to its end, or until nobody wants more; waits while enough is at hand.
    pub fn run(self) {
        for input in &self.inputs {
            if let Err(error) = self.read(input) {
                // Whether anybody is left to be told or not, this is the end.
                let _ = error.map(|error| self.to.send(Err(error)));
                return;
            }
        }
    }

    /// Reads one input; an error without a reason is that nobody wants more.
    fn read(&self, input: &Input) -> Result<(), Option<RecordError>> {
        let give = |piece| self.to.send(Ok(piece)).map_err(|_| Unwanted);
        give(Piece::Begin(input.name().into())).map_err(|Unwanted| None)?;
        let reader = input.open().map_err(Some)?;
        let read = match self.shape {
            Shape::Lines => lines(reader, self.max, || self.spent.try_recv().unwrap_or_default(), give),
            Shape::Whole => whole(reader, self.max, give),
        };
        match read {
            Ok(given) => given.map_err(|Unwanted| None),
            Err(why) => Err(Some(RecordError::Read { name: input.name(), why })),
        }
    }
}

/// Hands lines over as soon as they are read, many at a time where many come.
fn lines(
    mut reader: impl Read,
    max: usize,
    mut spare: impl FnMut() -> Vec<u8>,
    mut give: impl FnMut(Piece) -> Result<(), Unwanted>,
) -> std::io::Result<Result<(), Unwanted>> {
    let mut bytes = spare();
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            bytes.resize((2 * filled).max(BLOCK), 0);
        }
        let n = match reader.read(&mut bytes[filled..]) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let fresh = filled..filled + n;
        filled += n;
        let newline = bytes[fresh.clone()].iter().rposition(|&byte| byte == b'\n');
        let len = match newline {
            Some(at) => fresh.start + at + 1,
            // The end, or a line that is too long whatever comes: its reader says where that is.
            None if n == 0 || filled > max => filled,
            None => continue,
        };
        let mut rest = spare();
        if rest.len() < filled - len {
            rest.resize((filled - len).max(BLOCK), 0);
        }
        rest[..filled - len].copy_from_slice(&bytes[len..filled]);
        filled -= len;
        if len > 0 && give(Piece::Lines { bytes: std::mem::replace(&mut bytes, rest), len }).is_err() {
            return Ok(Err(Unwanted));
        }
        if n == 0 {
            return Ok(Ok(()));
        }
    }
}

/// One byte more than allowed is enough to see that there are too many.
fn whole(
    reader: impl Read,
    max: usize,
    mut give: impl FnMut(Piece) -> Result<(), Unwanted>,
) -> std::io::Result<Result<(), Unwanted>> {
    let mut bytes = Vec::new();
    reader.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(give(Piece::Whole(bytes)))
}

/// Where the first line of `bytes` ends, its `\n` included; none if there is none.
pub fn line_end(bytes: &[u8]) -> Option<usize> {
    // What `skip_until` searches with is the fastest search that the standard library has.
    let end = (&mut &*bytes).skip_until(b'\n').expect("a slice is read without fail");
    (end > 0).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::records::Records;
    use proptest::prelude::*;
    use std::io::Write;

    /// Gives what it holds in reads of the given sizes, over and over.
    struct Pieces<'a>(&'a [u8], std::iter::Cycle<std::slice::Iter<'a, usize>>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = *self.1.next().unwrap();
            let n = n.min(buffer.len()).min(self.0.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn lines_of(bytes: &[u8], reads: &[usize]) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        let give = |piece: Piece| {
            let mut taken = 0;
            while let Some(record) = piece.next(&mut taken) {
                seen.push(piece.bytes(record).to_vec());
            }
            Ok(())
        };
        assert!(lines(Pieces(bytes, reads.iter().cycle()), 1 << 20, Vec::new, give).unwrap().is_ok());
        seen
    }

    #[test]
    fn lines_keep_their_bytes() {
        for (text, expected) in [
            (&b""[..], &[][..]),
            (b"\n", &[&b""[..]][..]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\r\nb", &[b"a\r", b"b"]),
            (b"\n\na\n\n", &[b"", b"", b"a", b""]),
            (b"\xff\0\n", &[b"\xff\0"]),
        ] {
            assert_eq!(lines_of(text, &[usize::MAX]), expected, "{text:?}");
            assert_eq!(lines_of(text, &[1]), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_may_be_longer_than_a_block() {
        let long = vec![b'x'; 3 * BLOCK + 7];
        let text = [b"a\n", &long[..], b"\nb"].concat();
        assert_eq!(lines_of(&text, &[BLOCK - 1, 1000]), [b"a".to_vec(), long, b"b".to_vec()]);
    }

    proptest! {
        /// However it is read, the lines are what `split` says.
        #[test]
        fn agrees_with_split(text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), reads in prop::collection::vec(1usize..50, 1..5)) {
            let mut expected: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
            if expected.last() == Some(&&b""[..]) {
                expected.pop();
            }
            prop_assert_eq!(lines_of(&text, &reads), expected);
        }
    }

    /// Everything that some files hold, and the error at the end.
    fn records(files: &[&[u8]], shape: Shape, max: usize) -> (Vec<Vec<u8>>, Option<String>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let inputs = files.iter().enumerate().map(|(index, bytes)| {
            let path = folder.path().join(format!("file-{index}"));
            std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
            Input::File(path)
        });
        let (mut records, reader, _stopper) = Records::open(inputs.collect(), shape, max).unwrap();
        assert_eq!(records.total(), Some(files.iter().map(|bytes| bytes.len() as u64).sum()));
        std::thread::spawn(|| reader.run());
        let mut seen = Vec::new();
        let error = loop {
            match records.at_hand() {
                Ok(Some(record)) => seen.push(record.to_vec()),
                Err(error) => break Some(error.to_string()),
                Ok(None) => {
                    if !records.wait() {
                        break None;
                    }
                }
            }
        };
        (seen, error, records.consumed())
    }

    #[test]
    fn files_follow_each_other_and_their_last_lines_do_not_run_together() {
        let (seen, error, consumed) = records(&[b"a\nb", b"", b"c\n"], Shape::Lines, 100);
        assert_eq!((seen.concat(), seen.len(), error), (b"abc".to_vec(), 3, None));
        assert!(consumed >= 6);
        let (seen, error, _) = records(&[b"a\nb", b"", b"c\n"], Shape::Whole, 100);
        assert_eq!((seen, error), (vec![b"a\nb".to_vec(), b"".to_vec(), b"c\n".to_vec()], None));
    }

    #[test]
    fn a_record_that_is_too_long_is_named() {
        let (seen, error, _) = records(&[b"0123456789\n", b"a\n0123456789\n"], Shape::Lines, 10);
        assert_eq!((seen.len(), error), (3, None));
        let (seen, error, _) = records(&[b"1\n", b"a\n0123456789\n"], Shape::Lines, 9);
        assert_eq!(seen, [b"1", b"a"]);
        assert!(
            error.as_ref().is_some_and(|said| said.contains("file-1 line 2: longer than the 9 bytes")),
            "{error:?}"
        );
        let (seen, error, _) = records(&[b"1", b"0123456789"], Shape::Whole, 9);
        assert_eq!(seen, [b"1"]);
        assert!(error.as_ref().is_some_and(|said| said.contains("file-1: longer")), "{error:?}");
    }

    #[test]
    fn what_cannot_be_opened_is_known_before_anything_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: std::path::PathBuf| {
            Records::open(vec![Input::File(path)], Shape::Lines, 10).err().unwrap()
        };
        assert!(open(folder.path().into()).to_string().contains("is a folder: name the files in it"));
        assert!(open(folder.path().join("none")).to_string().contains("cannot open"));
    }

    #[test]
    fn reading_can_be_stopped() {
        // Nobody ever writes to this pipe, so that waiting for it would not end.
        let (reader, _writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let inputs = vec![Input::File(path.into())];
        let (mut records, reader, stopper) = Records::open(inputs, Shape::Lines, 10).unwrap();
        std::thread::spawn(|| reader.run());
        assert!(records.total().is_none());
        drop(stopper);
        while records.at_hand().unwrap().is_some() {}
        assert!(!records.wait());
    }
}
