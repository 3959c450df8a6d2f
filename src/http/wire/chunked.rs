//! A body in chunks: RFC 9112, section 7.1.
//!
//! Line breaks are taken strictly, as CR LF: here a lone LF is more often an attack or a fault than a habit.

use super::fault::Fault;
use crate::core::limits::{HTTP_CHUNK_LINE_MAX, HTTP_HEAD_MAX};

/// Where in a body in chunks the next byte stands.
#[derive(Clone, Copy, Debug)]
pub struct Chunked {
    at: At,
    /// Bytes of the line of a chunk's size, or of all trailers, so far.
    line: u32,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Before the first digit of a size.
    SizeBegin,
    /// Behind a digit; the size so far.
    Size(u64),
    /// In white space behind a size.
    Space(u64),
    /// In what may follow a size behind a semicolon, which nobody uses.
    Extension(u64),
    /// Before the LF of a size.
    SizeEnd(u64),
    /// Before so many bytes of a chunk.
    Data(u64),
    /// Before the CR behind a chunk.
    DataCr,
    /// Before the LF behind a chunk.
    DataLf,
    /// At the beginning of a line behind the last chunk.
    Trailer,
    /// In the name of a trailer.
    TrailerName,
    /// In the value of a trailer.
    TrailerValue,
    /// Before the LF of a trailer.
    TrailerLf,
    /// Before the last LF.
    EndLf,
}

impl Chunked {
    /// At the beginning of the body.
    pub fn new() -> Chunked {
        Chunked { at: At::SizeBegin, line: 0 }
    }

    /// Takes bytes, gives those of the body to `body`, and says behind how many the whole ends; none
    /// if it does not end in them.
    ///
    /// # Errors
    /// Where they are no chunks.
    pub fn take(&mut self, bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<Option<usize>, Fault> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if let At::Data(left) = self.at {
                let rest = &bytes[taken..];
                let n = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                body(&rest[..n]);
                taken += n;
                self.at = if n as u64 == left { At::DataCr } else { At::Data(left - n as u64) };
                continue;
            }
            taken += 1;
            if matches!((self.at, byte), (At::EndLf, b'\n')) {
                return Ok(Some(taken));
            }
            self.step(byte)?;
        }
        Ok(None)
    }

    /// One byte outside of the chunks themselves.
    fn step(&mut self, byte: u8) -> Result<(), Fault> {
        self.line += 1;
        self.at = match (self.at, byte) {
            (At::SizeBegin, _) => {
                self.line = 1;
                At::Size(digit(byte).ok_or(Fault::ChunkSize)?)
            }
            (At::Size(size) | At::Space(size) | At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Size(size) | At::Space(size), b';') => At::Extension(size),
            (At::Size(size) | At::Space(size), b' ' | b'\t') => At::Space(size),
            (At::Size(size), _) => {
                let digit = digit(byte).ok_or(Fault::ChunkSize)?;
                At::Size(size.checked_mul(16).ok_or(Fault::ChunkSize)? | digit)
            }
            (At::Extension(size), byte) if byte != b'\n' => At::Extension(size),
            (At::SizeEnd(0), b'\n') => {
                self.line = 0;
                At::Trailer
            }
            (At::SizeEnd(size), b'\n') => At::Data(size),
            (At::Space(_) | At::Extension(_) | At::SizeEnd(_), _) => return Err(Fault::ChunkSize),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::SizeBegin,
            (At::DataCr | At::DataLf | At::Data(_), _) => return Err(Fault::ChunkEnd),
            (At::Trailer, b'\r') => At::EndLf,
            (At::Trailer | At::TrailerName, byte) if is_name(byte) => At::TrailerName,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, byte) if byte != b'\n' => At::TrailerValue,
            (At::TrailerLf, b'\n') => At::Trailer,
            (At::Trailer | At::TrailerName | At::TrailerValue | At::TrailerLf | At::EndLf, _) => {
                return Err(Fault::Trailer);
            }
        };
        match self.at {
            At::Size(_) | At::Space(_) | At::Extension(_) if self.line as usize > HTTP_CHUNK_LINE_MAX => {
                Err(Fault::ChunkLineTooLong)
            }
            At::TrailerName | At::TrailerValue if self.line as usize > HTTP_HEAD_MAX => {
                Err(Fault::TrailersTooLong)
            }
            _ => Ok(()),
        }
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// A character of a token: RFC 9110, section 5.6.2.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> Result<(Option<usize>, Vec<u8>), Fault> {
        let mut body = Vec::new();
        let end = Chunked::new().take(bytes, |part| body.extend_from_slice(part))?;
        Ok((end, body))
    }

    #[test]
    fn chunks_and_what_may_stand_between_them() {
        for (bytes, body, rest) in [
            ("0\r\n\r\n", "", 0),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", 0),
            ("1\r\na\r\n00002\r\nbc\r\n000\r\n\r\nHTTP", "abc", 4),
            ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0),
            ("a ;x=\"y z\";w\r\n0123456789\r\n0 \t\r\n\r\n", "0123456789", 0),
            ("2\r\n\r\n\r\n0\r\nX-A: b\r\nc:\r\n\r\n", "\r\n", 0),
        ] {
            let expected = Ok((Some(bytes.len() - rest), body.as_bytes().to_vec()));
            assert_eq!(taken(bytes.as_bytes()), expected, "{bytes:?}");
            for cut in 0..bytes.len() - rest {
                assert_eq!(
                    taken(&bytes.as_bytes()[..cut]).map(|(end, _)| end),
                    Ok(None),
                    "{bytes:?} to {cut}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be() {
        for (bytes, fault) in [
            ("\r\n", Fault::ChunkSize),
            ("x\r\n", Fault::ChunkSize),
            ("-1\r\n", Fault::ChunkSize),
            ("0x1\r\na\r\n", Fault::ChunkSize),
            ("1\na\r\n", Fault::ChunkSize),
            ("1 1\r\n", Fault::ChunkSize),
            ("1\r\r", Fault::ChunkSize),
            ("1;a\nb\r\n", Fault::ChunkSize),
            ("10000000000000000\r\n", Fault::ChunkSize),
            ("1\r\nab", Fault::ChunkEnd),
            ("1\r\na\n", Fault::ChunkEnd),
            ("1\r\na\r0", Fault::ChunkEnd),
            ("0\r\n\n", Fault::Trailer),
            ("0\r\n\r\r", Fault::Trailer),
            ("0\r\nHTTP/1.1 200 OK\r\n", Fault::Trailer),
            ("0\r\n: x\r\n", Fault::Trailer),
            ("0\r\na: x\nb", Fault::Trailer),
            ("0\r\na: x\r\r", Fault::Trailer),
        ] {
            assert_eq!(taken(bytes.as_bytes()).map(|_| ()), Err(fault), "{bytes:?}");
        }
        assert_eq!(taken(b"FFFFFFFFFFFFFFFF\r\na"), Ok((None, b"a".to_vec())));
    }

    #[test]
    fn lines_at_their_limits_and_one_more() {
        let size = |digits| format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(digits));
        assert!(taken(size(HTTP_CHUNK_LINE_MAX - 1).as_bytes()).is_ok());
        assert_eq!(taken(size(HTTP_CHUNK_LINE_MAX).as_bytes()), Err(Fault::ChunkLineTooLong));
        let trailers = |bytes: usize| format!("0\r\na:{}\r\nb:\r\n\r\n", "x".repeat(bytes - 6));
        assert!(taken(trailers(HTTP_HEAD_MAX).as_bytes()).is_ok());
        assert_eq!(taken(trailers(HTTP_HEAD_MAX + 1).as_bytes()), Err(Fault::TrailersTooLong));
    }
}
