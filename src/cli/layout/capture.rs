//! A capture: the bytes of one connection as they came, or as hexadecimal digits.

use std::io::{ErrorKind, Read};

use crate::cli::{Exit, Failure};

/// How the bytes are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As hexadecimal digits, with spaces and lines as one likes.
    Hex,
    /// As they came.
    Binary,
}

impl Form {
    /// As the options `--hex` and `--binary` say it; none where it is to be recognised.
    pub fn given(hex: bool, binary: bool) -> Option<Form> {
        match (hex, binary) {
            (true, _) => Some(Form::Hex),
            (_, true) => Some(Form::Binary),
            _ => None,
        }
    }
}

/// 64 KiB a read.
const BLOCK: usize = 64 << 10;
/// So many bytes that are all hexadecimal digits and white space are taken for hex: a binary capture does not begin so.
const TOLD: usize = 16;

/// Reads a capture in pieces.
pub struct Capture<R> {
    input: R,
    form: Option<Form>,
    /// How loudly it is said what is recognised.
    level: log::Level,
    /// What was read, until it is known what it is.
    held: Vec<u8>,
    block: Box<[u8]>,
    hex: Hex,
}

/// Digits so far.
#[derive(Debug)]
struct Hex {
    line: u64,
    /// The first digit of a byte.
    high: Option<u8>,
    /// The first line since then that ended within a byte.
    odd: Option<u64>,
    is_comment: bool,
}

impl<R: Read> Capture<R> {
    /// `form` is none where it is to be recognised.
    pub fn new(input: R, form: Option<Form>) -> Capture<R> {
        let hex = Hex { line: 1, high: None, odd: None, is_comment: false };
        let level = log::Level::Debug;
        Capture { input, form, level, held: Vec::new(), block: vec![0; BLOCK].into(), hex }
    }

    /// The same, which warns of what it takes the capture for, where that was not said.
    pub fn warning(self) -> Capture<R> {
        Capture { level: log::Level::Warn, ..self }
    }

    /// Appends what comes next; false at the end.
    pub fn read(&mut self, out: &mut Vec<u8>) -> Result<bool, Failure> {
        loop {
            let len = match self.input.read(&mut self.block) {
                Ok(len) => len,
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(why) => return Err(broken(format!("standard input cannot be read: {why}"))),
            };
            let before = out.len();
            match self.form {
                None => {
                    self.held.extend_from_slice(&self.block[..len]);
                    let Some(form) = recognised(&self.held, len == 0) else { continue };
                    match form {
                        Form::Hex => log::log!(
                            self.level,
                            "the capture is taken for hexadecimal digits: with --binary it is taken as it is"
                        ),
                        Form::Binary => log::log!(
                            self.level,
                            "the capture is taken for bytes as they are: with --hex it is read as hexadecimal digits"
                        ),
                    }
                    self.form = Some(form);
                    let held = std::mem::take(&mut self.held);
                    self.take(form, &held, out)?;
                }
                Some(form) => {
                    let block = std::mem::take(&mut self.block);
                    let taken = self.take(form, &block[..len], out);
                    self.block = block;
                    taken?;
                }
            }
            if len == 0 {
                self.hex.end()?;
                return Ok(out.len() > before);
            }
            if out.len() > before {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, form: Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        match form {
            Form::Binary => out.extend_from_slice(bytes),
            Form::Hex => self.hex.take(bytes, out)?,
        }
        Ok(())
    }
}

/// What a capture is that begins so; none while more bytes would tell.
fn recognised(bytes: &[u8], is_all: bool) -> Option<Form> {
    let bytes = &bytes[..bytes.len().min(TOLD)];
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit() || byte.is_ascii_whitespace();
    // A comment, or 0x before each byte. There are protocols that begin with # and a letter.
    let is_comment = bytes.first() == Some(&b'#') && bytes.get(1).is_none_or(|byte| *byte == b' ');
    let first = is_comment || bytes.starts_with(b"0x") && bytes.get(2).is_none_or(is_hex);
    if !first && !bytes.iter().all(is_hex) {
        return Some(Form::Binary);
    }
    (is_all || bytes.len() >= TOLD).then_some(Form::Hex)
}

impl Hex {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        for &byte in bytes {
            if byte == b'\n' {
                self.odd = self.high.and(self.odd.or(Some(self.line)));
                self.line += 1;
                self.is_comment = false;
            }
            if self.is_comment {
                continue;
            }
            match (char::from(byte).to_digit(16), self.high) {
                (Some(digit), None) => self.high = Some(digit as u8),
                (Some(digit), Some(high)) => {
                    out.push(high << 4 | digit as u8);
                    self.high = None;
                }
                (None, Some(0)) if byte == b'x' || byte == b'X' => self.high = None,
                (None, _) if byte == b'#' => self.is_comment = true,
                (None, _) if byte.is_ascii_whitespace() || matches!(byte, b':' | b',' | b'-') => {}
                (None, _) => {
                    let (line, shown) = (self.line, [byte]);
                    return Err(broken(format!(
                        "line {line} of the capture: \"{}\" is not a hexadecimal digit: --binary takes the bytes as they \
                         are; a dump with offsets becomes bytes with xxd -r",
                        shown.escape_ascii()
                    )));
                }
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        match self.high {
            None => Ok(()),
            Some(_) => Err(broken(format!(
                "line {} of the capture: an odd number of digits: write two hexadecimal digits a byte",
                self.odd.unwrap_or(self.line)
            ))),
        }
    }
}

/// What came before it is done.
fn broken(message: String) -> Failure {
    Failure { exit: Exit::Partly, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader of pieces of at most this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.1.min(self.0.len()).min(buffer.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    fn read(bytes: &[u8], form: Option<Form>) -> Result<Vec<u8>, String> {
        let mut results = [1, 3, usize::MAX].map(|size| {
            let (mut capture, mut out) = (Capture::new(Pieces(bytes, size), form), Vec::new());
            loop {
                match capture.read(&mut out) {
                    Ok(true) => {}
                    Ok(false) => return Ok(out),
                    Err(failure) => return Err(failure.message),
                }
            }
        });
        assert!(results.iter().all(|result| *result == results[0]), "{results:?} depend on the pieces");
        results[0].as_mut().map(std::mem::take).map_err(|wrong| wrong.clone())
    }

    #[test]
    fn hex_is_recognised_as_people_write_it() {
        for text in [
            "78780d010A",
            "78 78 0D 01 0A\n",
            "\n78 78\n0D01\n0A",
            "0x78 0x78 0x0d 0x01 0x0a",
            "# login\n78 78 0D # and a comment: zz\n01 0A",
        ] {
            assert_eq!(read(text.as_bytes(), None).unwrap(), [0x78, 0x78, 0x0d, 1, 0x0a], "{text:?}");
        }
        for text in ["78:78:0d:01:0a", "78-78-0d-01-0a", "78,78,0d,01,0a"] {
            assert_eq!(
                read(text.as_bytes(), Some(Form::Hex)).unwrap(),
                [0x78, 0x78, 0x0d, 1, 0x0a],
                "{text:?}"
            );
        }
    }

    #[test]
    fn other_bytes_are_taken_as_they_are() {
        for bytes in
            [&b"43 <6>Sep 10"[..], b"3:abc,", b"\x78\x78\x0d\x01", b"$GPGGA,", b"0xyz", b"#L#2.0;867;NA\r\n"]
        {
            assert_eq!(read(bytes, None).unwrap(), bytes);
        }
        assert_eq!(read(b"4142", Some(Form::Binary)).unwrap(), b"4142");
        assert_eq!(read(b"", None).unwrap(), b"");
        assert_eq!(read(b" \n", None).unwrap(), b"");
    }

    #[test]
    fn what_is_not_hex_is_said_with_its_line() {
        let wrong = read(b"78 78 78 78 78 78 78 78\n78 7g", None).unwrap_err();
        assert!(wrong.starts_with("line 2 of the capture: \"g\" is not a hexadecimal digit"), "{wrong}");
        for (text, line) in [
            ("78 78 7", 1),
            ("78 78 7\n", 1),
            ("78\n78 7\n78\n\n# and no more\n", 2),
            ("78\n78\n78\n7", 4),
            // A byte may go on in the next line.
            ("7\n8\n78\n787", 4),
        ] {
            let wrong = read(text.as_bytes(), Some(Form::Hex)).unwrap_err();
            assert!(
                wrong.starts_with(&format!("line {line} of the capture: an odd number of digits")),
                "{wrong}"
            );
        }
    }
}
