//! Why a response cannot be read.

use std::fmt;

use crate::core::limits::{HTTP_CHUNK_LINE_MAX, HTTP_FIELDS_MAX, HTTP_HEAD_MAX, HTTP_INTERIM_MAX};

/// What is wrong with what a server sent. The connection ends with it: where the next response would
/// begin is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first bytes are not those of a response.
    NotHttp(Seen),
    /// A version of HTTP that cannot come here.
    Version(Seen),
    /// No three digits, or a reason with control characters.
    StatusLine(Seen),
    /// A name of a header field, or the white space around it.
    FieldName,
    /// A value of a header field.
    FieldValue,
    /// An end of a line.
    LineEnd,
    /// More header fields than [`HTTP_FIELDS_MAX`].
    TooManyFields,
    /// A head of more than [`HTTP_HEAD_MAX`] bytes.
    HeadTooLong,
    /// More than [`HTTP_INTERIM_MAX`] responses that announce another.
    TooManyInterims,
    /// 101: the server speaks another protocol from here on, unasked.
    Upgrade,
    /// A Content-Length that is no number.
    Length,
    /// Content-Length more than once, and not always the same.
    LengthsDiffer,
    /// Transfer-Encoding of chunked twice, or in HTTP/1.0.
    Coding,
    /// The size of a chunk, or what follows it.
    ChunkSize,
    /// The line of a chunk's size longer than [`HTTP_CHUNK_LINE_MAX`].
    ChunkLineTooLong,
    /// No line break behind a chunk.
    ChunkEnd,
    /// What follows the last chunk.
    Trailer,
    /// Trailers of more than [`HTTP_HEAD_MAX`] bytes.
    TrailersTooLong,
    /// Bytes behind the end of the response, or without a request.
    Surplus(Seen),
    /// The server closed the connection before the response was whole.
    Closed(Missing),
}

/// What was missing when the server closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// All of the response.
    Everything,
    /// The end of the head.
    Head,
    /// So many bytes of the body.
    Body(u64),
    /// The end of a body in chunks.
    Chunks,
}

/// The first of the bytes in question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    bytes: [u8; Seen::MAX],
    len: u8,
}

impl Seen {
    const MAX: usize = 24;

    pub(super) fn new(all: &[u8]) -> Seen {
        let mut bytes = [0; Seen::MAX];
        let len = all.len().min(Seen::MAX);
        bytes[..len].copy_from_slice(&all[..len]);
        Seen { bytes, len: len as u8 }
    }

    /// At most the first 24 of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// What servers that are reached by mistake begin with, and what to do about it.
    fn looks_like(&self) -> Option<&'static str> {
        let seen = self.bytes();
        let begins = |with: &[&[u8]]| with.iter().any(|with| seen.starts_with(with));
        // A record's type and version; a server that is spoken to in plain text answers with an alert.
        if begins(&[b"\x15\x03", b"\x16\x03"]) {
            Some("TLS: use https://")
        // A SETTINGS frame on stream 0 with any number of settings.
        } else if begins(&[b"PRI * HTTP/2"]) || matches!(seen, [0, _, _, 4, 0, 0, 0, 0, 0, ..]) {
            Some("HTTP/2 without TLS, which is not spoken here")
        } else if begins(&[b"FG\x01"]) {
            Some("a gateway of frames: use framegate bench frames")
        } else if begins(&[b"SSH-"]) {
            Some("SSH")
        } else if begins(&[b"+OK", b"-ERR", b"+PONG"]) {
            Some("Redis or POP3")
        } else if begins(&[b"INFO {"]) {
            Some("NATS")
        } else if begins(&[b"220 ", b"220-"]) {
            Some("SMTP or FTP")
        } else if begins(&[b"GET ", b"HEAD ", b"POST ", b"PUT "]) {
            Some("an HTTP request: does the server send back what it gets?")
        } else if begins(&[b"<"]) {
            Some("HTML or XML without a head, as HTTP/0.9 was")
        } else {
            None
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}

impl Fault {
    /// Bytes that came behind the end of a response, or without a request.
    pub fn surplus(bytes: &[u8]) -> Fault {
        Fault::Surplus(Seen::new(bytes))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotHttp(seen) => match seen.looks_like() {
                Some(protocol) => write!(f, "this looks like {protocol} (it begins with {seen:?})"),
                None => write!(f, "this is no HTTP: it begins with {seen:?}"),
            },
            Fault::Version(seen) => {
                write!(f, "a version of HTTP other than 1.0 and 1.1: the response begins with {seen:?}")
            }
            Fault::StatusLine(seen) => write!(f, "no status line: the response begins with {seen:?}"),
            Fault::FieldName => f.write_str("a header's name is empty or holds what it must not"),
            Fault::FieldValue => f.write_str("a header's value holds a control character"),
            Fault::LineEnd => f.write_str("a carriage return without a line feed in the head"),
            Fault::TooManyFields => write!(f, "more than {HTTP_FIELDS_MAX} header fields"),
            Fault::HeadTooLong => write!(f, "a head of more than {HTTP_HEAD_MAX} bytes"),
            Fault::TooManyInterims => write!(f, "more than {HTTP_INTERIM_MAX} interim responses (1xx)"),
            Fault::Upgrade => f.write_str("101, the switch to another protocol, which was not asked for"),
            Fault::Length => f.write_str("a Content-Length that is no number"),
            Fault::LengthsDiffer => f.write_str("more than one Content-Length, and they differ"),
            Fault::Coding => f.write_str("a Transfer-Encoding that cannot be: chunked twice, or in HTTP/1.0"),
            Fault::ChunkSize => f.write_str("a chunk's size is no hexadecimal number on a line of its own"),
            Fault::ChunkLineTooLong => {
                write!(f, "the line of a chunk's size has more than {HTTP_CHUNK_LINE_MAX} bytes")
            }
            Fault::ChunkEnd => f.write_str("a chunk is longer than its size says"),
            Fault::Trailer => {
                f.write_str("what follows the last chunk is neither a trailer nor an empty line")
            }
            Fault::TrailersTooLong => write!(f, "trailers of more than {HTTP_HEAD_MAX} bytes"),
            Fault::Surplus(seen) => {
                write!(f, "bytes that no request asked for, beginning with {seen:?}")
            }
            Fault::Closed(missing) => {
                f.write_str("closed by the server ")?;
                match missing {
                    Missing::Everything => f.write_str("before it answered"),
                    Missing::Head => f.write_str("in the head of a response"),
                    Missing::Body(1) => f.write_str("1 byte before the end of a body"),
                    Missing::Body(bytes) => write!(f, "{bytes} bytes before the end of a body"),
                    Missing::Chunks => f.write_str("before the last chunk of a body"),
                }
            }
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_recognised() {
        for (bytes, part) in [
            (&b"\x15\x03\x01\x00\x02\x02\x46"[..], "use https://"),
            (b"\x16\x03\x03", "use https://"),
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03", "HTTP/2"),
            (b"PRI * HTTP/2.0\r\n", "HTTP/2"),
            (b"FG\x01\x01", "bench frames"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
            (b"-ERR unknown command", "Redis"),
            (b"220 mail ESMTP", "SMTP"),
            (b"HEAD / HTTP/1.1", "an HTTP request"),
            (b"<html>", "HTML"),
            (b"\0\xff", "no HTTP: it begins with \"\\x00\\xff\""),
            (b"F", "no HTTP"),
        ] {
            let text = Fault::NotHttp(Seen::new(bytes)).to_string();
            assert!(text.contains(part) && text.len() < 130, "{bytes:?}: {text}");
        }
    }

    #[test]
    fn what_was_missing() {
        for (missing, text) in [
            (Missing::Everything, "closed by the server before it answered"),
            (Missing::Body(1), "closed by the server 1 byte before the end of a body"),
            (Missing::Body(70), "closed by the server 70 bytes before the end of a body"),
        ] {
            assert_eq!(Fault::Closed(missing).to_string(), text);
        }
    }
}
