//! One request and its answer on a connection of their own, for a program that asks once: it blocks.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Failure, resolve};
use crate::core::limits::{ASK_ANSWER_MAX, LOAD_READ};
use crate::http::wire::{Exchange, Field, Head, Method, Receive, Request, Target};
use crate::runtime::net::{LinkError, Timed, Tls};

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Three digits.
    pub status: u16,
    /// The body, of which no more than [`ASK_ANSWER_MAX`] is kept.
    pub body: Vec<u8>,
}

impl Receive for Answer {
    fn head(&mut self, head: &Head<'_>) {
        self.status = head.status;
    }

    fn body(&mut self, bytes: &[u8]) {
        let room = ASK_ANSWER_MAX - self.body.len();
        self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Sends one request to a target, through TLS where some is given, and waits until the answer is whole, at most so long. No redirect is followed,
/// and what the environment says of proxies is for the web.
///
/// # Errors
/// Where there is no connection, or no whole answer on it in time.
pub fn ask(
    method: &Method,
    target: &Target,
    tls: Option<&Tls>,
    fields: &[Field],
    body: &[u8],
    timeout: Duration,
) -> Result<Answer, Failure> {
    debug_assert_eq!(target.is_secure(), tls.is_some(), "https is HTTP through TLS");
    let until = Instant::now() + timeout;
    let addresses = resolve(target.host(), target.port()).map_err(Failure::Connect)?;
    let socket = connect(&addresses, until, timeout)?;
    let request = Request::new(method, target, fields);
    let mut bytes = Vec::new();
    request.encode(&[], body, &mut bytes);
    let mut timed = Timed::new(&socket, until.saturating_duration_since(Instant::now()));
    if let Some(tls) = tls {
        let session = tls.session().map_err(LinkError::Tls)?;
        timed.secure(session.into()).map_err(|failure| match failure {
            LinkError::Broken(why) if why.kind() == ErrorKind::TimedOut => Failure::ConnectTimeout(timeout),
            LinkError::Broken(why) if why.kind() == ErrorKind::UnexpectedEof => Failure::ClosedHandshake,
            failure => Failure::Link(failure),
        })?;
    }
    let sent = timed.write_all(&bytes);
    let answer = receive(request.exchange(), &mut timed).map_err(|failure| match failure {
        Failure::Link(LinkError::Broken(why)) if why.kind() == ErrorKind::TimedOut => {
            Failure::Timeout(timeout)
        }
        failure => failure,
    });
    // A server may have said why before it closed; else it is told what broke first.
    match (answer, sent) {
        (Err(Failure::Response(_)), Err(why)) if why.kind() != ErrorKind::TimedOut => Err(broken(why)),
        (answer, _) => answer,
    }
}

/// The first of the addresses that takes a connection.
fn connect(addresses: &[SocketAddr], until: Instant, timeout: Duration) -> Result<TcpStream, Failure> {
    let mut failure = Failure::ConnectTimeout(timeout);
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(socket) => return Ok(socket),
            Err(why) if why.kind() == ErrorKind::TimedOut => failure = Failure::ConnectTimeout(timeout),
            Err(why) => failure = Failure::Connect(why),
        }
    }
    Err(failure)
}

fn receive(mut exchange: Exchange, from: &mut Timed<'_>) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    let mut buffer = vec![0; LOAD_READ];
    loop {
        match from.read(&mut buffer).map_err(broken)? {
            0 => {
                exchange.end()?;
                return Ok(answer);
            }
            n => {
                exchange.feed(&buffer[..n], &mut answer)?;
                if exchange.is_done() {
                    return Ok(answer);
                }
            }
        }
    }
}

fn broken(why: io::Error) -> Failure {
    // What TLS says while something is read.
    if let Some(said) = why.get_ref().and_then(|said| said.downcast_ref::<rustls::Error>()) {
        return Failure::Link(LinkError::Tls(said.clone()));
    }
    Failure::Link(LinkError::Broken(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Asks a server that reads a request and says so.
    fn asked(says: &'static [u8]) -> (Result<Answer, Failure>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target: Target = format!("http://{}/a?b", listener.local_addr().unwrap()).parse().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                let mut byte = [0];
                peer.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            peer.write_all(says).unwrap();
            String::from_utf8(request).unwrap()
        });
        let fields = ["X-A: b".parse().unwrap()];
        let answer = ask(&Method::POST, &target, None, &fields, b"{}", Duration::from_secs(30));
        (answer, server.join().unwrap())
    }

    #[test]
    fn a_request_gets_its_answer() {
        for (says, status, body) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKsurplus"[..], 200, &b"OK"[..]),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 400, b"no"),
            (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, b"to the end"),
            (b"HTTP/1.1 204 None\r\n\r\n", 204, b""),
        ] {
            let (answer, request) = asked(says);
            assert_eq!(answer.unwrap(), Answer { status, body: body.to_vec() });
            assert!(request.starts_with("POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
            assert!(request.contains("\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{}"), "{request}");
        }
    }

    #[test]
    fn what_is_no_answer_says_why() {
        for (says, part) in [
            (&b""[..], "closed by the server before it answered"),
            (b"SSH-2.0-x\r\n", "looks like SSH"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "4 bytes before the end"),
        ] {
            let (answer, _) = asked(says);
            let failure = answer.unwrap_err();
            assert!(
                matches!(failure, Failure::Response(_)) && failure.to_string().contains(part),
                "{failure}"
            );
        }
    }

    #[test]
    fn a_server_that_is_silent_or_away_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target: Target = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let ask = || ask(&Method::GET, &target, None, &[], b"", Duration::from_millis(100));
        assert!(matches!(ask(), Err(Failure::Timeout(_))));
        drop(listener);
        assert!(matches!(ask(), Err(Failure::Connect(why)) if why.kind() == ErrorKind::ConnectionRefused));
    }
}
