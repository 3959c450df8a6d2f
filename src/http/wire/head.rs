//! The head of a response, and what it says about the body: RFC 9112, section 6.

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Response, Status};

use super::fault::{Fault, Seen};
use crate::core::limits::HTTP_FIELDS_MAX;

/// The head of a response, borrowed from the bytes it came in.
#[derive(Debug)]
pub struct Head<'a> {
    /// Three digits, from 200 on.
    pub status: u16,
    /// Whether it is HTTP/1.1 and not 1.0.
    pub is_http_1_1: bool,
    fields: &'a [httparse::Header<'a>],
}

impl Head<'_> {
    /// The value of the first field of this name, in whatever letters.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Names and values in the order in which they came. A value that goes on over several lines, as was
    /// once allowed, holds their line breaks.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (field.name, field.value))
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Exact(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What follows a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Another head: this one was interim.
    Head,
    /// A body.
    Body {
        /// Where it ends.
        framing: Framing,
        /// Whether the connection may live on behind it.
        keep_alive: bool,
    },
}

const BEGIN: &[u8] = b"HTTP/";

/// Reads the head at the beginning of `bytes`, which are at least one: its length and what follows; none if
/// it does not end in them. A final head is shown to `show`. With `head_only`, no body follows whatever it says.
pub(super) fn read(
    bytes: &[u8],
    head_only: bool,
    show: impl FnOnce(&Head<'_>),
) -> Result<Option<(usize, Next)>, Fault> {
    let compared = bytes.len().min(BEGIN.len());
    if bytes[..compared] != BEGIN[..compared] {
        return Err(Fault::NotHttp(Seen::new(bytes)));
    }
    let mut fields = [const { MaybeUninit::uninit() }; HTTP_FIELDS_MAX];
    let mut response = Response::new(&mut []);
    let mut config = ParserConfig::default();
    // A client takes a line that goes on in the next one; only proxies must mend it (section 5.2).
    config.allow_obsolete_multiline_headers_in_responses(true);
    let len = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(fault(error, bytes)),
    };
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(Fault::StatusLine(Seen::new(bytes)));
    };
    match status {
        ..=99 => return Err(Fault::StatusLine(Seen::new(bytes))),
        101 => return Err(Fault::Upgrade),
        100..=199 => return Ok(Some((len, Next::Head))),
        200.. => {}
    }
    let said = Said::of(response.headers);
    let is_http_1_1 = version == 1;
    let framing = if head_only || status == 204 || status == 304 {
        Framing::Exact(0)
    } else {
        said.framing(is_http_1_1)?
    };
    let keep_alive = framing != Framing::UntilClose
        && !said.close
        && !said.is_doubtful(status)
        && (is_http_1_1 || said.keep_alive);
    show(&Head { status, is_http_1_1, fields: response.headers });
    Ok(Some((len, Next::Body { framing, keep_alive })))
}

fn fault(error: httparse::Error, bytes: &[u8]) -> Fault {
    use httparse::Error;
    match error {
        Error::Version => Fault::Version(Seen::new(bytes)),
        Error::Status | Error::Token => Fault::StatusLine(Seen::new(bytes)),
        Error::HeaderName => Fault::FieldName,
        Error::HeaderValue => Fault::FieldValue,
        Error::NewLine => Fault::LineEnd,
        Error::TooManyHeaders => Fault::TooManyFields,
    }
}

/// What the fields say about the body and the connection.
#[derive(Clone, Copy, Debug, Default)]
struct Said<'a> {
    length: Option<&'a [u8]>,
    /// Whether the length was said more than once, always the same.
    length_again: bool,
    lengths_differ: bool,
    coded: bool,
    chunked: bool,
    /// Whether chunked is the last coding.
    chunked_last: bool,
    chunked_twice: bool,
    close: bool,
    keep_alive: bool,
}

impl<'a> Said<'a> {
    fn of(fields: &[httparse::Header<'a>]) -> Said<'a> {
        let mut said = Said::default();
        for field in fields {
            // Most fields are none of these: their lengths alone say so.
            match field.name.len() {
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    for option in elements(field.value) {
                        said.close |= option.eq_ignore_ascii_case(b"close");
                        said.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    // One field with a list is several fields: section 6.3, rule 5.
                    for length in field.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                        match said.length.replace(length) {
                            Some(before) if decimal(before) != decimal(length) => said.lengths_differ = true,
                            Some(_) => said.length_again = true,
                            None => {}
                        }
                    }
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    said.coded = true;
                    for coding in elements(field.value) {
                        let chunked = coding.eq_ignore_ascii_case(b"chunked");
                        said.chunked_twice |= said.chunked && chunked;
                        said.chunked |= chunked;
                        said.chunked_last = chunked;
                    }
                }
                _ => {}
            }
        }
        said
    }

    /// Whether a response of this status may be followed by bytes of which nobody knows whose they are: someone may
    /// have tried to hide a response in another, or the server announces a body where none may be.
    fn is_doubtful(&self, status: u16) -> bool {
        let has_body = self.coded || self.length.is_some_and(|length| decimal(length) != Some(0));
        self.length_again
            || self.lengths_differ
            || (self.coded && self.length.is_some())
            || (status == 204 && has_body)
    }

    fn framing(&self, is_http_1_1: bool) -> Result<Framing, Fault> {
        match (self.coded, self.length) {
            // The coding is what counts, where a length is said too: section 6.3, rule 3.
            (true, _) if self.chunked_twice || !is_http_1_1 => Err(Fault::Coding),
            (true, _) if self.chunked_last => Ok(Framing::Chunked),
            (true, _) | (false, None) => Ok(Framing::UntilClose),
            (false, Some(_)) if self.lengths_differ => Err(Fault::LengthsDiffer),
            (false, Some(digits)) => decimal(digits).map(Framing::Exact).ok_or(Fault::Length),
        }
    }
}

/// The elements of a list that are not empty, without the white space around them.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// A number of nothing but digits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(head: &str, head_only: bool) -> Result<(Framing, bool), Fault> {
        let bytes = head.replace('\n', "\r\n");
        let mut shown = 0;
        match read(bytes.as_bytes(), head_only, |_| shown += 1)? {
            Some((len, Next::Body { framing, keep_alive })) => {
                assert_eq!((len, shown), (bytes.len(), 1));
                Ok((framing, keep_alive))
            }
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn where_a_body_ends() {
        use Framing::{Chunked, Exact, UntilClose};
        for (head, framing, keep_alive) in [
            ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", Exact(5), true),
            ("HTTP/1.1 200\ncontent-length:   0005  \n\n", Exact(5), true),
            ("HTTP/1.1 200 OK\nContent-Length: 18446744073709551615\n\n", Exact(u64::MAX), true),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", Chunked, true),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: gzip ,\t CHUNKED\n\n", Chunked, true),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: gzip\nTransfer-Encoding: chunked\n\n", Chunked, true),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: ,chunked,,\n\n", Chunked, true),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked, gzip\n\n", UntilClose, false),
            ("HTTP/1.1 200 OK\n\n", UntilClose, false),
            ("HTTP/1.0 200 OK\nConnection: keep-alive\n\n", UntilClose, false),
            ("HTTP/1.1 204 No Content\nContent-Length: 0\n\n", Exact(0), true),
            ("HTTP/1.1 204 No Content\nContent-Length: 5\n\n", Exact(0), false),
            ("HTTP/1.1 204 No Content\nTransfer-Encoding: chunked\n\n", Exact(0), false),
            ("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\n", Exact(5), false),
            ("HTTP/1.1 200 OK\nContent-Length: 5, 05\n\n", Exact(5), false),
            ("HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", Chunked, false),
            ("HTTP/1.1 304 Not Modified\nTransfer-Encoding: chunked\n\n", Exact(0), true),
            ("HTTP/1.1 205 Reset Content\nContent-Length: 0\n\n", Exact(0), true),
            ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\n\n", Exact(5), false),
            ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: x, Close ,y\n\n", Exact(5), false),
            ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: closed\n\n", Exact(5), true),
            ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: keep-alive, close\n\n", Exact(5), false),
            ("HTTP/1.0 200 OK\nContent-Length: 5\n\n", Exact(5), false),
            ("HTTP/1.0 200 OK\nContent-Length: 5\nConnection: Keep-Alive\n\n", Exact(5), true),
            ("HTTP/1.1 200 OK\nContent-Length:\n 5\n\n", Exact(5), true),
            ("HTTP/1.1 999 So be it\nContent-Length: 1\n\n", Exact(1), true),
        ] {
            assert_eq!(framed(head, false), Ok((framing, keep_alive)), "{head:?}");
        }
        for head in ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: x", "X: y"] {
            let head = format!("HTTP/1.1 200 OK\n{head}\n\n");
            assert_eq!(framed(&head, true), Ok((Exact(0), true)), "{head:?}");
        }
    }

    #[test]
    fn what_cannot_be() {
        for (head, fault) in [
            ("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6\n\n", Fault::LengthsDiffer),
            ("HTTP/1.1 200 OK\nContent-Length: 5, 6, 5\n\n", Fault::LengthsDiffer),
            ("HTTP/1.1 200 OK\nContent-Length: 5,\n\n", Fault::LengthsDiffer),
            ("HTTP/1.1 200 OK\nContent-Length: x, x\n\n", Fault::Length),
            ("HTTP/1.1 200 OK\nContent-Length:\n\n", Fault::Length),
            ("HTTP/1.1 200 OK\nContent-Length: +5\n\n", Fault::Length),
            ("HTTP/1.1 200 OK\nContent-Length: -1\n\n", Fault::Length),
            ("HTTP/1.1 200 OK\nContent-Length: 0x5\n\n", Fault::Length),
            ("HTTP/1.1 200 OK\nContent-Length: 18446744073709551616\n\n", Fault::Length),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked, gzip, chunked\n\n", Fault::Coding),
            ("HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n", Fault::Coding),
            ("HTTP/1.1 101 Switching Protocols\nUpgrade: h2c\n\n", Fault::Upgrade),
            ("HTTP/1.1 200 OK\nA B: c\n\n", Fault::FieldName),
            ("HTTP/1.1 200 OK\nA : c\n\n", Fault::FieldName),
            ("HTTP/1.1 200 OK\n: c\n\n", Fault::FieldName),
            ("HTTP/1.1 200 OK\nA: \0\n\n", Fault::FieldValue),
        ] {
            assert_eq!(framed(head, false), Err(fault), "{head:?}");
        }
        for (head, part) in [
            ("HTTP/1.1 20 OK\n\n", "no status line"),
            ("HTTP/1.1 042 OK\n\n", "no status line"),
            ("HTTP/1.1 2000 OK\n\n", "no status line"),
            ("HTTP/1.1 200 \u{7}\n\n", "no status line"),
            ("HTTP/2.0 200 OK\n\n", "a version"),
            ("HTTP/1.1200 OK\n\n", "a version"),
            ("http/1.1 200 OK\n\n", "no HTTP"),
            ("\nHTTP/1.1 200 OK\n\n", "no HTTP"),
        ] {
            assert!(framed(head, false).unwrap_err().to_string().contains(part), "{head:?}");
        }
    }

    #[test]
    fn as_many_fields_as_allowed_and_one_more() {
        let head = |fields| format!("HTTP/1.1 204 x\n{}\n", "a: b\n".repeat(fields));
        assert!(framed(&head(HTTP_FIELDS_MAX), false).is_ok());
        assert_eq!(framed(&head(HTTP_FIELDS_MAX + 1), false), Err(Fault::TooManyFields));
    }

    #[test]
    fn the_fields_are_shown() {
        let bytes = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX:\r\nretry-after: 8\r\n\r\n";
        read(bytes, true, |head| {
            assert_eq!((head.status, head.is_http_1_1), (503, true));
            assert_eq!(head.field("RETRY-AFTER"), Some(&b"7"[..]));
            assert_eq!(head.field("retry"), None);
            assert_eq!(head.fields().nth(1), Some(("X", &b""[..])));
        })
        .unwrap();
    }
}
