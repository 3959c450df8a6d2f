//! The body of a request: a setting at most.

use std::io;

use super::head::Framing;
use crate::core::limits::ADMIN_BODY;
use crate::http::wire::Chunked;
use crate::runtime::net::Timed;

/// Why there is no body.
#[derive(Debug)]
pub enum BadBody {
    /// The connection broke or its time is over: there is nobody to tell.
    Broken(io::Error),
    /// It is longer than [`ADMIN_BODY`].
    TooLong,
    /// It is not what its head says; why, in one line.
    Wrong(String),
}

impl From<io::Error> for BadBody {
    fn from(why: io::Error) -> BadBody {
        BadBody::Broken(why)
    }
}

/// Reads a body of which `begun` has come with the head.
pub fn read(framing: Framing, begun: &[u8], from: &mut Timed<'_>) -> Result<Vec<u8>, BadBody> {
    let mut body = Body { framing, left: 0, chunks: Chunked::new(), bytes: Vec::new() };
    match framing {
        Framing::Length(length) if length > ADMIN_BODY => return Err(BadBody::TooLong),
        Framing::Length(length) => body.left = length as usize,
        Framing::None | Framing::Chunked => {}
    }
    let mut buffer = [0; 1024];
    let mut is_whole = body.take(begun)?;
    while !is_whole {
        is_whole = match from.read(&mut buffer)? {
            0 => return Err(BadBody::Wrong("it ended before its last byte".into())),
            n => body.take(&buffer[..n])?,
        };
    }
    Ok(body.bytes)
}

struct Body {
    framing: Framing,
    /// Of one whose length was said.
    left: usize,
    chunks: Chunked,
    bytes: Vec<u8>,
}

impl Body {
    /// Takes what was read. Whether that is all.
    fn take(&mut self, read: &[u8]) -> Result<bool, BadBody> {
        match self.framing {
            Framing::None => Ok(true),
            Framing::Length(_) => {
                let n = read.len().min(self.left);
                self.bytes.extend_from_slice(&read[..n]);
                self.left -= n;
                Ok(self.left == 0)
            }
            Framing::Chunked => {
                let bytes = &mut self.bytes;
                let end = self.chunks.take(read, |part| bytes.extend_from_slice(part));
                let end = end.map_err(|wrong| BadBody::Wrong(wrong.to_string()))?;
                if self.bytes.len() as u64 > ADMIN_BODY { Err(BadBody::TooLong) } else { Ok(end.is_some()) }
            }
        }
    }
}
