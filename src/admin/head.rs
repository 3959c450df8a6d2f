//! The head of a request: RFC 9112, taken strictly. Between a browser, a proxy and this server, two must never read the
//! same bytes as different requests; so whatever is doubtful is refused, and its connection closed.

use std::mem::MaybeUninit;

use httparse::{Error, ParserConfig, Status};

use super::request::Request;
use crate::core::limits::ADMIN_FIELDS;

/// A head, and what follows it.
#[derive(Debug)]
pub struct Head {
    /// What of it counts for the answer.
    pub request: Request,
    /// Whether it is HTTP/1.0: without chunks, and each connection for one request.
    pub is_http_1_0: bool,
    /// The client sends nothing more on this connection.
    pub close: bool,
    /// It waits for a word before it sends the body.
    pub expects_continue: bool,
    /// What follows it.
    pub body: Framing,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, and nobody said that there were.
    None,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// The status that refuses what is no request, or none that can be answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u16);

const BAD: Refused = Refused(400);

/// The methods that there are; a path says which of them it takes.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Reads a whole head.
pub fn parse(bytes: &[u8]) -> Result<Head, Refused> {
    // A line ends in CR LF: where a lone LF does for some, they see other lines.
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r')) {
        return Err(BAD);
    }
    let mut fields = [const { MaybeUninit::uninit() }; ADMIN_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let config = ParserConfig::default();
    match config.parse_request_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(Status::Complete(len)) if len == bytes.len() => {}
        Err(Error::TooManyHeaders) => return Err(Refused(431)),
        Ok(_) | Err(_) => return Err(BAD),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(BAD);
    };
    if !METHODS.contains(&method) {
        return Err(Refused(501));
    }
    let fields = Fields(parsed.headers);
    let is_http_1_0 = version == 0;
    let body = fields.framing()?;
    let expects = fields.listed("expect");
    if expects.iter().any(|what| !what.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refused(417));
    }
    let host = fields.text("host")?;
    if host.is_none() && !is_http_1_0 || host.as_deref().is_some_and(|host| !is_host(host)) {
        return Err(BAD);
    }
    let (path, host) = way(method, target, host)?;
    let close =
        is_http_1_0 || fields.listed("connection").iter().any(|one| one.eq_ignore_ascii_case(b"close"));
    let request = Request {
        method: method.to_string(),
        path,
        host,
        origin: fields.text("origin")?,
        fetch_site: fields.text("sec-fetch-site")?,
        fetch_mode: fields.text("sec-fetch-mode")?,
        content_type: fields.text("content-type")?,
        authorization: fields.text("authorization")?,
    };
    Ok(Head { request, is_http_1_0, close, expects_continue: !expects.is_empty() && !is_http_1_0, body })
}

/// The path that is asked for, without the query, and by which name.
fn way(method: &str, target: &str, host: Option<String>) -> Result<(String, Option<String>), Refused> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BAD);
    }
    let (path, host) = match target.split_once("://") {
        _ if method == "CONNECT" => ("/", host),
        _ if target == "*" && method == "OPTIONS" => ("*", host),
        _ if target.starts_with('/') => (target, host),
        // As a proxy asks: the name must be the one in the Host field.
        Some((_, rest)) => {
            let (name, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            if !is_host(name) || host.as_deref().is_some_and(|host| !host.eq_ignore_ascii_case(name)) {
                return Err(BAD);
            }
            (if path.starts_with('/') { path } else { "/" }, host.or_else(|| Some(name.to_owned())))
        }
        None => return Err(BAD),
    };
    if path.contains(['#', '\\']) {
        return Err(BAD);
    }
    Ok((path.split('?').next().unwrap_or_default().to_owned(), host))
}

/// Whether this can be a name and a port at all.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte))
}

struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The value of a field that may be there once: of two, others may see the other one.
    fn text(&self, name: &str) -> Result<Option<String>, Refused> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => String::from_utf8(value.to_vec()).map(Some).map_err(|_| BAD),
            (Some(_), Some(_)) => Err(BAD),
        }
    }

    /// The elements of a field that is a list.
    fn listed(&self, name: &str) -> Vec<&'a [u8]> {
        let elements =
            self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        elements.filter(|element| !element.is_empty()).collect()
    }

    fn framing(&self) -> Result<Framing, Refused> {
        let mut codings = self.all("transfer-encoding");
        let length = self.text("content-length")?;
        match (codings.next(), codings.next(), length) {
            (None, _, None) => Ok(Framing::None),
            (None, _, Some(digits)) => {
                let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                digits.parse().ok().filter(|_| is_number).map(Framing::Length).ok_or(BAD)
            }
            (Some(coding), None, None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            // Both, or a coding that nobody asked for.
            _ => Err(BAD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Head, u16> {
        parse(head.replace('\n', "\r\n").as_bytes()).map_err(|Refused(status)| status)
    }

    #[test]
    fn what_counts_is_found() {
        let head = read(
            "POST /ctl/pause?x=1 HTTP/1.1\nHOST: a:1\nOrigin: http://a:1\nsec-fetch-Site: same-origin\n\
             Sec-Fetch-Mode: cors\nContent-Type: application/json\nauthorization: Bearer x\nContent-Length: 2\n\n",
        )
        .unwrap();
        assert_eq!((head.close, head.is_http_1_0, head.body), (false, false, Framing::Length(2)));
        let Request { method, path, host, origin, fetch_site, fetch_mode, content_type, authorization } =
            head.request;
        assert_eq!((method.as_str(), path.as_str(), host.as_deref()), ("POST", "/ctl/pause", Some("a:1")));
        assert_eq!((origin.as_deref(), fetch_site.as_deref()), (Some("http://a:1"), Some("same-origin")));
        assert_eq!(
            (fetch_mode.as_deref(), content_type.as_deref()),
            (Some("cors"), Some("application/json"))
        );
        assert_eq!(authorization.as_deref(), Some("Bearer x"));
    }

    #[test]
    fn which_path_is_asked_for_and_by_which_name() {
        for (line, path, host) in [
            ("GET / HTTP/1.1\nHost: a", "/", Some("a")),
            ("GET /a/../b?c#d HTTP/1.1\nHost: a", "", None),
            ("GET /a?b?c HTTP/1.1\nHost: a", "/a", Some("a")),
            ("GET http://A:1/b?c HTTP/1.1\nHost: a:1", "/b", Some("a:1")),
            ("GET http://a HTTP/1.1\nHost: a", "/", Some("a")),
            ("GET http://a?b HTTP/1.0", "/", Some("a")),
            ("GET / HTTP/1.0", "/", None),
            ("OPTIONS * HTTP/1.1\nHost: a", "*", Some("a")),
            ("CONNECT b:1 HTTP/1.1\nHost: a", "/", Some("a")),
        ] {
            match read(&format!("{line}\n\n")) {
                Ok(head) => assert_eq!(
                    (head.request.path.as_str(), head.request.host.as_deref()),
                    (path, host),
                    "{line}"
                ),
                Err(status) => assert_eq!((status, path), (400, ""), "{line}"),
            }
        }
    }

    #[test]
    fn when_a_connection_ends() {
        for (line, close) in [
            ("GET / HTTP/1.1\nHost: a", false),
            ("GET / HTTP/1.1\nHost: a\nConnection: upgrade", false),
            ("GET / HTTP/1.1\nHost: a\nConnection: x, CLOSE", true),
            ("GET / HTTP/1.0\nHost: a\nConnection: keep-alive", true),
        ] {
            assert_eq!(read(&format!("{line}\n\n")).unwrap().close, close, "{line}");
        }
    }

    #[test]
    fn what_follows() {
        for (fields, body) in [
            ("X: y", Framing::None),
            ("Content-Length: 0", Framing::Length(0)),
            ("Content-Length:  18446744073709551615 ", Framing::Length(u64::MAX)),
            ("Transfer-Encoding: Chunked", Framing::Chunked),
        ] {
            assert_eq!(
                read(&format!("POST / HTTP/1.1\nHost: a\n{fields}\n\n")).unwrap().body,
                body,
                "{fields}"
            );
        }
        let expects =
            |fields: &str| read(&format!("POST / HTTP/1.1\nHost: a\n{fields}\n\n")).unwrap().expects_continue;
        assert!(expects("Expect: 100-Continue") && !expects("Expect:") && !expects("X: y"));
    }

    #[test]
    fn what_is_refused() {
        let many = (0..=ADMIN_FIELDS).map(|i| format!("x{i}: y\n")).collect::<String>();
        for (line, status) in [
            ("GET / HTTP/1.1", 400),
            ("GET / HTTP/1.1\nHost:", 400),
            ("GET / HTTP/1.1\nHost: a b", 400),
            ("GET / HTTP/1.1\nHost: a\nHost: a", 400),
            ("GET / HTTP/1.1\nHost: a/b", 400),
            ("GET  / HTTP/1.1\nHost: a", 400),
            ("GET / HTTP/2.0\nHost: a", 400),
            ("GET / HTTP/1.1 x\nHost: a", 400),
            ("GET x HTTP/1.1\nHost: a", 400),
            ("GET * HTTP/1.1\nHost: a", 400),
            ("GET /\\ HTTP/1.1\nHost: a", 400),
            ("GET /\u{e9} HTTP/1.1\nHost: a", 400),
            ("GET http://b/ HTTP/1.1\nHost: a", 400),
            ("GET http:///x HTTP/1.1\nHost: a", 400),
            ("GET / HTTP/1.1\nHost: a\nA B: c", 400),
            ("GET / HTTP/1.1\nHost: a\nA : c", 400),
            ("GET / HTTP/1.1\nHost: a\nA: b\n c", 400),
            ("GET / HTTP/1.1\nHost: a\nA: \0", 400),
            ("GET / HTTP/1.1\nHost: a\nOrigin: http://a\nOrigin: http://b", 400),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: -1", 400),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: +1", 400),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 99999999999999999999", 400),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 1, 1", 400),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 1", 400),
            ("GET / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked", 400),
            ("GET / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip", 400),
            ("GET / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked", 400),
            ("GET / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked", 400),
            ("GET / HTTP/1.1\nHost: a\nExpect: a miracle", 417),
            (&*format!("GET / HTTP/1.1\nHost: a\n{many}X: y"), 431),
            ("get / HTTP/1.1\nHost: a", 501),
            ("BREW / HTTP/1.1\nHost: a", 501),
        ] {
            assert_eq!(read(&format!("{line}\n\n")).map(|_| ()), Err(status), "{line}");
        }
        assert_eq!(parse(b"GET / HTTP/1.1\nHost: a\n\nHost: b\r\n\r\n").map(|_| ()), Err(BAD), "a lone LF");
    }
}
