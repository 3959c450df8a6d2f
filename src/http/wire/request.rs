//! What is sent.

use std::fmt;
use std::io::Write;

pub use ::http::Method;

use super::{Exchange, Field, Target};

/// The bytes that every request with one method to one target begins with, made once.
#[derive(Clone, Debug)]
pub struct Request {
    begin: Vec<u8>,
    head_only: bool,
    /// Whether a request without a body says so.
    says_empty: bool,
}

impl Request {
    /// Requests by `method` to `target`, with `fields` in every one. Host and User-Agent are among them
    /// anyway, Authorization where the target holds a user; a field of the same name takes its place.
    pub fn new(method: &Method, target: &Target, fields: &[Field]) -> Request {
        let mut begin = format!("{method} {} HTTP/1.1\r\n", target.path()).into_bytes();
        let own = [
            ("Host", Some(target.authority())),
            ("User-Agent", Some(concat!("framegate/", env!("CARGO_PKG_VERSION")))),
            ("Authorization", target.authorization()),
        ];
        for (name, value) in own {
            if let Some(value) = value
                && !fields.iter().any(|field| field.is(name))
            {
                line(name, value.as_bytes(), &mut begin);
            }
        }
        for field in fields {
            line(field.name(), field.value(), &mut begin);
        }
        Request {
            begin,
            head_only: *method == Method::HEAD,
            says_empty: [Method::POST, Method::PUT, Method::PATCH].contains(method),
        }
    }

    /// Appends one request: `fields` of its own, and `body`.
    pub fn encode(&self, fields: &[Field], body: &[u8], out: &mut Vec<u8>) {
        self.encode_head(fields, body.len() as u64, out);
        out.extend_from_slice(body);
    }

    /// Appends what stands before a body of `body_len` bytes.
    pub fn encode_head(&self, fields: &[Field], body_len: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.begin);
        for field in fields {
            line(field.name(), field.value(), out);
        }
        if body_len > 0 || self.says_empty {
            write!(out, "Content-Length: {body_len}\r\n").expect("a vector takes everything");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The response to one request, of which nothing has come yet.
    pub fn exchange(&self) -> Exchange {
        Exchange::new(self.head_only)
    }
}

fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// A method as people write it: `head` is HEAD.
pub fn parse_method(text: &str) -> Result<Method, MethodError> {
    match Method::from_bytes(text.to_ascii_uppercase().as_bytes()) {
        Ok(Method::CONNECT) => Err(MethodError::Connect),
        Ok(method) => Ok(method),
        Err(_) => Err(MethodError::Invalid(text.escape_debug().take(40).collect())),
    }
}

/// Why a text is no method that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodError {
    /// It makes a tunnel of the connection.
    Connect,
    /// It holds what a method must not.
    Invalid(String),
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MethodError::Connect => {
                f.write_str("CONNECT asks for a tunnel, not for a response: give GET or HEAD")
            }
            MethodError::Invalid(text) => {
                write!(f, "'{text}' is no method: give GET, HEAD, POST or the like")
            }
        }
    }
}

impl std::error::Error for MethodError {}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = concat!("User-Agent: framegate/", env!("CARGO_PKG_VERSION"), "\r\n");

    fn encoded(method: Method, url: &str, always: &[&str], once: &[&str], body: &str) -> String {
        let fields = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Field>>();
        let mut out = b"before|".to_vec();
        let request = Request::new(&method, &url.parse().unwrap(), &fields(always));
        request.encode(&fields(once), body.as_bytes(), &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before|").unwrap().to_owned()
    }

    #[test]
    fn the_bytes_of_a_request() {
        assert_eq!(
            encoded(Method::GET, "http://h:81/a?b", &[], &[], ""),
            format!("GET /a?b HTTP/1.1\r\nHost: h:81\r\n{AGENT}\r\n")
        );
        assert_eq!(
            encoded(Method::POST, "http://h/", &["Content-Type: text/csv"], &["Idempotency-Key: 1"], "a,b\n"),
            format!(
                "POST / HTTP/1.1\r\nHost: h\r\n{AGENT}Content-Type: text/csv\r\nIdempotency-Key: 1\r\n\
                 Content-Length: 4\r\n\r\na,b\n"
            )
        );
        assert_eq!(
            encoded(Method::PUT, "http://u:p@h/", &[], &[], ""),
            format!(
                "PUT / HTTP/1.1\r\nHost: h\r\n{AGENT}Authorization: Basic dTpw\r\nContent-Length: 0\r\n\r\n"
            )
        );
    }

    #[test]
    fn what_the_user_sets_takes_the_place_of_our_own() {
        let fields = ["hOST: other", "User-Agent: mine", "Authorization: Bearer x"];
        assert_eq!(
            encoded(Method::HEAD, "http://u:p@h/", &fields, &[], ""),
            "HEAD / HTTP/1.1\r\nhOST: other\r\nUser-Agent: mine\r\nAuthorization: Bearer x\r\n\r\n"
        );
    }

    #[test]
    fn methods_as_people_write_them() {
        assert_eq!(parse_method("head"), Ok(Method::HEAD));
        assert_eq!(parse_method("Purge").unwrap().as_str(), "PURGE");
        assert_eq!(parse_method("connect"), Err(MethodError::Connect));
        for text in ["", "GET /", "A\r\nB"] {
            let error = parse_method(text).unwrap_err().to_string();
            assert!(error.contains("is no method") && !error.contains('\n'), "{error}");
        }
    }
}
