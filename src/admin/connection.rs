//! One connection: request after request, on a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Instant, SystemTime};

use super::body::{self, BadBody};
use super::head::{self, Framing, Head, Refused};
use super::heads::{Heads, TooLong};
use super::request::{self, Content, On, Response};
use super::routes::{Site, Way};
use super::slots::Slot;
use super::steer;
use crate::core::limits::{
    ADMIN_BODY, ADMIN_LINGER, ADMIN_LINGER_BYTES, ADMIN_REQUEST, ADMIN_RESPONSE, ADMIN_STALL,
    ADMIN_WRONG_TOKEN,
};
use crate::runtime::net::Timed;

/// 1 KiB of a head read at once: what most have.
const READ: usize = 1024;

/// A connection that asks.
#[derive(Debug)]
pub struct Connection<'a> {
    peer: SocketAddr,
    timed: Timed<'a>,
    heads: Heads,
}

/// What comes after a response.
enum Next {
    /// Another request.
    Request,
    /// Nothing, and everything that was sent was read.
    End,
    /// Nothing, but something that nobody wants may be on its way.
    Linger,
}

impl<'a> Connection<'a> {
    /// A connection that was accepted.
    pub fn new(socket: &'a TcpStream, peer: SocketAddr) -> Connection<'a> {
        let timed = Timed::new(socket, ADMIN_REQUEST);
        Connection { peer, timed, heads: Heads::default() }
    }

    /// Answers its requests until it ends.
    ///
    /// # Errors
    /// What broke it, or that its time is over.
    pub fn serve(&mut self, site: &Site, slot: &Slot<'_>) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &site.tls {
            self.secure(tls)?;
        }
        loop {
            let next = match self.head()? {
                None => return Ok(()),
                // It had to go while its request came.
                Some(_) if !slot.begin() => return Ok(()),
                Some(Ok(head)) => {
                    self.timed.give(ADMIN_RESPONSE);
                    self.answer(&head, site)?
                }
                Some(Err(Refused(status))) => {
                    self.timed.give(ADMIN_RESPONSE);
                    self.timed.write_all(request::refusal(status, SystemTime::now()).as_bytes())?;
                    Next::Linger
                }
            };
            let goes_on = slot.end(Instant::now());
            match next {
                Next::Request if goes_on => self.timed.give(ADMIN_REQUEST),
                Next::Linger if goes_on => return self.linger(),
                Next::Request | Next::End | Next::Linger => return self.timed.end(),
            }
        }
    }

    /// Agrees on TLS. Who speaks HTTP without is told so.
    #[cfg(feature = "tls")]
    fn secure(&mut self, tls: &super::AdminTls) -> io::Result<()> {
        use crate::runtime::net::LinkError;
        use rustls::{Error, InvalidMessage};
        let session = tls.get().connection(&[b"http/1.1"]).map_err(io::Error::other)?;
        match self.timed.secure(session.into()) {
            Ok(()) => Ok(()),
            Err(LinkError::Tls(Error::InvalidMessage(InvalidMessage::InvalidContentType))) => {
                log::debug!("admin: {} does not speak TLS", self.peer);
                let said = "this port speaks TLS: use https://, or ctl --tls\n";
                let head = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain";
                let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{said}", said.len());
                self.timed.write_all(answer.as_bytes())?;
                self.linger()?;
                Err(io::ErrorKind::InvalidData.into())
            }
            Err(why) => {
                log::debug!("admin: {}: {why}", self.peer);
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        }
    }

    /// Reads the next head; none at the end.
    fn head(&mut self) -> io::Result<Option<Result<Head, Refused>>> {
        let mut buffer = [0; READ];
        loop {
            match self.heads.next() {
                Ok(Some(bytes)) => return Ok(Some(head::parse(&bytes))),
                Ok(None) => {}
                Err(why @ TooLong) => {
                    log::debug!("admin: {}: {why}", self.peer);
                    return Ok(Some(Err(Refused(431))));
                }
            }
            let room = self.heads.room().min(READ);
            match self.timed.read(&mut buffer[..room])? {
                0 => return Ok(None),
                n => self.heads.add(&buffer[..n]),
            }
        }
    }

    /// Answers one request.
    fn answer(&mut self, head: &Head, site: &Site) -> io::Result<Next> {
        let has_body = head.body != Framing::None;
        let mut is_read = !has_body;
        let response = match site.way(&head.request) {
            Way::Answer(response) => response,
            Way::Steer(verb) => match self.body(head) {
                Ok(body) => {
                    is_read = true;
                    log::debug!("admin: {} asks for {verb:?}", self.peer);
                    self.timed.give(ADMIN_RESPONSE.saturating_add(steer::time(&verb, &body)));
                    site.steer(&verb, &body)
                }
                Err(BadBody::Broken(why)) => return Err(why),
                Err(BadBody::TooLong) => Response::error(
                    413,
                    format!("the body cannot be read: it is longer than {ADMIN_BODY} bytes"),
                ),
                Err(BadBody::Wrong(why)) => Response::error(400, format!("the body cannot be read: {why}")),
            },
        };
        if response.status == 401 {
            site.watch.pause(ADMIN_WRONG_TOKEN);
        }
        // Requests with a body are rare, so a connection has one at most: what could be taken for the one or the other
        // never comes behind it.
        let on = On { is_http_1_0: head.is_http_1_0, close: has_body };
        let mut bytes = request::head(&response, on, SystemTime::now()).into_bytes();
        match response.body {
            Content::Text(text) => {
                if head.request.method != "HEAD" {
                    bytes.extend_from_slice(text.as_bytes());
                }
                self.timed.write_all(&bytes)?;
            }
            Content::Stream(events) => {
                self.timed.stream(ADMIN_STALL);
                self.timed.write_all(&bytes)?;
                while let Some(event) = events.next() {
                    self.timed.write_all(&chunk(&event, head.is_http_1_0))?;
                }
                self.timed.write_all(&chunk("", head.is_http_1_0))?;
                return Ok(Next::End);
            }
        }
        Ok(match (is_read, has_body || head.close) {
            (true, false) => Next::Request,
            (true, true) => Next::End,
            (false, _) => Next::Linger,
        })
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>, BadBody> {
        let begun = self.heads.rest();
        if head.expects_continue
            && begun.is_empty()
            && !matches!(head.body, Framing::Length(n) if n > ADMIN_BODY)
        {
            self.timed.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        body::read(head.body, &begun, &mut self.timed)
    }

    /// Reads on for a moment what nobody wants: a connection that is closed while something is unread is reset, and
    /// then the client may lose the answer.
    fn linger(&mut self) -> io::Result<()> {
        self.timed.end()?;
        self.timed.give(ADMIN_LINGER);
        let mut buffer = [0; READ];
        let mut left = ADMIN_LINGER_BYTES;
        while left > 0 {
            match self.timed.read(&mut buffer)? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        Ok(())
    }
}

/// A part of a stream as it goes over the wire; an empty one ends it.
fn chunk(part: &str, is_http_1_0: bool) -> Vec<u8> {
    if is_http_1_0 { part.into() } else { format!("{:x}\r\n{part}\r\n", part.len()).into() }
}
