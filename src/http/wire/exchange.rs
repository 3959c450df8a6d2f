//! One response, as its bytes arrive.

use super::chunked::Chunked;
use super::fault::{Fault, Missing};
use super::head::{self, Framing, Head, Next};
use crate::core::limits::{HTTP_HEAD_MAX, HTTP_INTERIM_MAX};

/// Who gets what a response holds. Both methods do nothing unless they are written.
pub trait Receive {
    /// The head of the final response, once.
    fn head(&mut self, head: &Head<'_>) {
        let _ = head;
    }

    /// The next bytes of the body, at least one, without what marks chunks.
    fn body(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
}

/// What became of bytes that an exchange was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// All were taken; the response goes on.
    More,
    /// The response ended behind the first `taken` of them.
    Done {
        /// Fewer than were fed if something follows, which is a [`Fault::surplus`] unless more was asked.
        taken: usize,
    },
}

/// Line breaks before a response that are taken for the rest of what the server sent before.
const STRAY_MAX: u8 = 4;

/// The response to one request.
///
/// ```text
/// Head ─┬─ Exact ──────┬─ Done
///  └1xx─┤─ Chunked ────┤
///       └─ UntilClose ─┘ (by `end`)
/// ```
///
/// It owns no memory unless the head comes in pieces, and then no longer than until it is whole.
#[derive(Debug)]
pub struct Exchange {
    state: State,
    head_only: bool,
    keep_alive: bool,
    interims: u8,
    /// Bytes of line breaks that came before a head.
    stray: u8,
    /// Bytes of `partial` that were looked at.
    parsed: u32,
    /// The head so far, if it came in pieces; at most [`HTTP_HEAD_MAX`].
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Exact(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

impl Exchange {
    /// Nothing has come yet. With `head_only`, as after HEAD, no body will.
    pub fn new(head_only: bool) -> Exchange {
        Exchange {
            state: State::Head,
            head_only,
            keep_alive: false,
            interims: 0,
            stray: 0,
            parsed: 0,
            partial: Vec::new(),
        }
    }

    /// The next bytes of the connection. After a fault or the end nothing may be fed any more.
    pub fn feed(&mut self, bytes: &[u8], receive: &mut impl Receive) -> Result<Fed, Fault> {
        let mut rest = bytes;
        loop {
            let stray = rest.first().is_some_and(|&byte| self.is_stray(byte));
            match &mut self.state {
                State::Head if rest.is_empty() => return Ok(Fed::More),
                State::Head if stray => {
                    self.stray += 1;
                    rest = &rest[1..];
                }
                State::Head => self.take_head(&mut rest, receive)?,
                State::Exact(left) => {
                    let n = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    let (taken, behind) = rest.split_at(n);
                    if n > 0 {
                        receive.body(taken);
                    }
                    rest = behind;
                    *left -= n as u64;
                    if *left > 0 {
                        return Ok(Fed::More);
                    }
                    self.state = State::Done;
                }
                State::Chunked(chunked) => {
                    let Some(n) = chunked.take(rest, |part| receive.body(part))? else {
                        return Ok(Fed::More);
                    };
                    rest = &rest[n..];
                    self.state = State::Done;
                }
                State::UntilClose => {
                    if !rest.is_empty() {
                        receive.body(rest);
                    }
                    return Ok(Fed::More);
                }
                State::Done => return Ok(Fed::Done { taken: bytes.len() - rest.len() }),
            }
        }
    }

    /// Feeds bytes where nothing was asked for behind this exchange: what follows the response is a fault.
    /// Whether the response is whole.
    ///
    /// # Errors
    /// Those of [`feed`](Self::feed), and a [`Fault::surplus`] behind a response that [is whole](Self::is_done)
    /// all the same.
    pub fn feed_all(&mut self, bytes: &[u8], receive: &mut impl Receive) -> Result<bool, Fault> {
        match self.feed(bytes, receive)? {
            Fed::More => Ok(false),
            Fed::Done { taken } if taken < bytes.len() => Err(Fault::surplus(&bytes[taken..])),
            Fed::Done { .. } => Ok(true),
        }
    }

    /// The server ended the connection: the end of a body without another, else a fault.
    pub fn end(&self) -> Result<(), Fault> {
        match self.state {
            State::UntilClose | State::Done => Ok(()),
            State::Head if self.partial.is_empty() => Err(Fault::Closed(Missing::Everything)),
            State::Head => {
                head::read(&self.partial, self.head_only, |_| ())?;
                Err(Fault::Closed(Missing::Head))
            }
            State::Exact(left) => Err(Fault::Closed(Missing::Body(left))),
            State::Chunked(_) => Err(Fault::Closed(Missing::Chunks)),
        }
    }

    /// Whether anything of the response has come.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head) || !self.partial.is_empty() || self.interims > 0 || self.stray > 0
    }

    /// Whether the response is whole.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether the connection may carry another exchange when this one is done.
    pub fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether a byte before a head is a line break that some servers send behind a response, as clients once did
    /// behind a request: RFC 9112, section 2.2.
    fn is_stray(&self, byte: u8) -> bool {
        self.partial.is_empty() && self.stray < STRAY_MAX && matches!(byte, b'\r' | b'\n')
    }

    /// Takes bytes of the head from the beginning of `rest`, which is not empty.
    fn take_head(&mut self, rest: &mut &[u8], receive: &mut impl Receive) -> Result<(), Fault> {
        if self.partial.is_empty() {
            // The usual case: all of the head is here, and is read where it is.
            let window = &rest[..rest.len().min(HTTP_HEAD_MAX)];
            match head::read(window, self.head_only, |head| receive.head(head))? {
                Some((len, next)) => {
                    *rest = &rest[len..];
                    return self.enter(next);
                }
                None if window.len() == HTTP_HEAD_MAX => return Err(Fault::HeadTooLong),
                None => {
                    self.partial.extend_from_slice(rest);
                    self.parsed = rest.len() as u32;
                    *rest = &[];
                    return Ok(());
                }
            }
        }
        let end = head_end(&self.partial, rest);
        let n = end.unwrap_or(rest.len()).min(HTTP_HEAD_MAX - self.partial.len());
        self.partial.extend_from_slice(&rest[..n]);
        *rest = &rest[n..];
        let full = self.partial.len() == HTTP_HEAD_MAX;
        // Reading all of it again at each byte would cost the square; but what is wrong early should
        // not wait for an end that may never come.
        if end.is_none() && !full && self.partial.len() < 2 * self.parsed as usize {
            return Ok(());
        }
        self.parsed = self.partial.len() as u32;
        match head::read(&self.partial, self.head_only, |head| receive.head(head))? {
            Some((len, next)) if len == self.partial.len() => {
                self.partial = Vec::new();
                self.enter(next)
            }
            // Not even an empty line can end it before the parser says so.
            Some(_) => Err(Fault::LineEnd),
            None if full => Err(Fault::HeadTooLong),
            None => Ok(()),
        }
    }

    /// Goes on to what follows a head.
    fn enter(&mut self, next: Next) -> Result<(), Fault> {
        match next {
            Next::Head => {
                self.interims += 1;
                if usize::from(self.interims) > HTTP_INTERIM_MAX {
                    return Err(Fault::TooManyInterims);
                }
            }
            Next::Body { framing, keep_alive } => {
                self.keep_alive = keep_alive && self.stray == 0;
                self.state = match framing {
                    Framing::Exact(0) => State::Done,
                    Framing::Exact(bytes) => State::Exact(bytes),
                    Framing::Chunked => State::Chunked(Chunked::default()),
                    Framing::UntilClose => State::UntilClose,
                };
            }
        }
        Ok(())
    }
}

/// Behind how many bytes of `next` the head that began with `before` ends: at the first empty line.
fn head_end(before: &[u8], next: &[u8]) -> Option<usize> {
    let back = |at: usize, by: usize| match at.checked_sub(by) {
        Some(at) => next.get(at).copied(),
        None => before.len().checked_sub(by - at).map(|at| before[at]),
    };
    (0..next.len())
        .filter(|&at| next[at] == b'\n')
        .find(|&at| match back(at, 1) {
            Some(b'\r') => back(at, 2) == Some(b'\n'),
            other => other == Some(b'\n'),
        })
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        status: u16,
        body: Vec<u8>,
    }

    impl Receive for Seen {
        fn head(&mut self, head: &Head<'_>) {
            assert_eq!(self.status, 0, "a response has one head");
            self.status = head.status;
        }
        fn body(&mut self, bytes: &[u8]) {
            assert!(!bytes.is_empty());
            self.body.extend_from_slice(bytes);
        }
    }

    /// Status, body, bytes behind the end, and whether the connection lives on, when fed in pieces and then
    /// ended.
    fn fed(stream: &[u8], head_only: bool, piece: usize) -> Result<(u16, Vec<u8>, usize, bool), Fault> {
        let mut exchange = Exchange::new(head_only);
        let mut seen = Seen::default();
        let mut at = 0;
        for bytes in stream.chunks(piece) {
            if let Fed::Done { taken } = exchange.feed(bytes, &mut seen)? {
                let surplus = stream.len() - at - taken;
                return Ok((seen.status, seen.body, surplus, exchange.keeps_alive()));
            }
            at += bytes.len();
        }
        exchange.end()?;
        Ok((seen.status, seen.body, 0, exchange.keeps_alive()))
    }

    #[test]
    fn whole_responses_in_any_pieces() {
        for (stream, head_only, status, body, surplus, keep_alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, 200, "abc", 0, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcde", false, 200, "abc", 2, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, 200, "", 0, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, "", 0, true),
            ("HTTP/1.1 404 No\nContent-Length: 3\n\nabc", false, 404, "abc", 0, true),
            ("HTTP/1.1 204\r\n\r\n", false, 204, "", 0, true),
            ("\r\n\nHTTP/1.1 204\r\n\r\n\r\n", false, 204, "", 2, false),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", false, 200, "to the end", 0, false),
            ("HTTP/1.0 200 OK\r\n\r\n", false, 200, "", 0, false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nT: u\r\n\r\n!",
                false,
                200,
                "abc",
                1,
                true,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
                false,
                200,
                "a",
                0,
                true,
            ),
        ] {
            for piece in (1..=stream.len()).rev() {
                let expected = Ok((status, body.as_bytes().to_vec(), surplus, keep_alive));
                assert_eq!(fed(stream.as_bytes(), head_only, piece), expected, "{stream:?} by {piece}");
            }
        }
    }

    #[test]
    fn the_server_closes_too_early() {
        for (stream, missing) in [
            ("", Missing::Everything),
            ("HTTP/1.1 200 OK\r\nContent-Le", Missing::Head),
            ("H", Missing::Head),
            ("HTTP/1.1 100 Continue\r\n\r\n", Missing::Everything),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", Missing::Body(2)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Missing::Chunks),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", Missing::Chunks),
        ] {
            for piece in [1, 2, 1000] {
                assert_eq!(fed(stream.as_bytes(), false, piece), Err(Fault::Closed(missing)), "{stream:?}");
            }
        }
    }

    #[test]
    fn heads_at_their_limit_and_one_more() {
        let head = |len: usize| format!("HTTP/1.1 204 {}\r\n\r\n", "x".repeat(len - 17));
        for piece in [1, 7, HTTP_HEAD_MAX, 2 * HTTP_HEAD_MAX] {
            assert!(fed(head(HTTP_HEAD_MAX).as_bytes(), false, piece).is_ok());
            for more in [1, 2, 100] {
                let long = head(HTTP_HEAD_MAX + more);
                assert_eq!(fed(long.as_bytes(), false, piece), Err(Fault::HeadTooLong), "{more} by {piece}");
            }
        }
    }

    #[test]
    fn interims_at_their_limit_and_one_more() {
        let stream = |n| format!("{}HTTP/1.1 204\r\n\r\n", "HTTP/1.1 102\r\n\r\n".repeat(n));
        assert!(fed(stream(HTTP_INTERIM_MAX).as_bytes(), false, 5).is_ok());
        assert_eq!(fed(stream(HTTP_INTERIM_MAX + 1).as_bytes(), false, 5), Err(Fault::TooManyInterims));
    }

    #[test]
    fn what_is_wrong_early_is_said_early() {
        let mut exchange = Exchange::new(false);
        assert_eq!(exchange.feed(b"HTTP/1.1 ", &mut Seen::default()), Ok(Fed::More));
        assert!(matches!(exchange.feed(b"so-so OK\r\n", &mut Seen::default()), Err(Fault::StatusLine(_))));
        assert!(matches!(Exchange::new(false).feed(b"S", &mut Seen::default()), Err(Fault::NotHttp(_))));
    }

    #[test]
    fn stray_line_breaks_at_their_limit_and_one_more() {
        let stream = |n| format!("{}HTTP/1.1 204\r\n\r\n", "\n".repeat(n));
        assert!(fed(stream(STRAY_MAX.into()).as_bytes(), false, 3).is_ok());
        assert!(matches!(
            fed(stream(usize::from(STRAY_MAX) + 1).as_bytes(), false, 3),
            Err(Fault::NotHttp(_))
        ));
    }

    #[test]
    fn nothing_is_owned_between_the_pieces_of_a_body() {
        let mut exchange = Exchange::new(false);
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na" {
            assert!(exchange.feed(&[*byte], &mut Seen::default()) == Ok(Fed::More));
            assert!(exchange.has_begun());
        }
        assert_eq!(exchange.partial.capacity(), 0);
        assert!(size_of::<Exchange>() <= 72, "one for each connection of ten thousand");
    }
}
