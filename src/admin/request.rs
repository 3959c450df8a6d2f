//! One request and its response, apart from any connection.

use std::time::SystemTime;

use serde::Serialize;

use super::events::Events;
use crate::http::wire::status_text;

/// What of a request counts here.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// In capitals.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Whom it asks for.
    pub host: Option<String>,
    /// The site of the page that asks, where a browser says it.
    pub origin: Option<String>,
    /// How that site and this one are related, where a browser says it.
    pub fetch_site: Option<String>,
    /// Whether a browser goes there, or a page asks.
    pub fetch_mode: Option<String>,
    /// What the body is.
    pub content_type: Option<String>,
    /// What it proves itself with.
    pub authorization: Option<String>,
}

/// What is answered.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// Beside those that every response has.
    pub headers: Vec<(&'static str, String)>,
    /// The content.
    pub body: Content,
}

/// The content of a response.
#[derive(Debug)]
pub enum Content {
    /// All there is.
    Text(String),
    /// What comes, as long as the connection lives.
    Stream(Events),
}

impl Response {
    /// A response with a body.
    pub fn new(status: u16, content_type: &'static str, body: Content) -> Response {
        Response { status, content_type, headers: Vec::new(), body }
    }

    /// Lines for people.
    pub fn text(status: u16, text: impl Into<String>) -> Response {
        Response::new(status, "text/plain; charset=utf-8", Content::Text(text.into()))
    }

    /// A value as JSON.
    pub fn json(status: u16, value: &impl Serialize) -> Response {
        let text = serde_json::to_string(value).expect("plain data, whose keys are names");
        Response::new(status, "application/json", Content::Text(text))
    }

    /// What is wrong and how to mend it, as JSON.
    pub fn error(status: u16, wrong: impl Into<String>) -> Response {
        #[derive(Serialize)]
        struct Wrong {
            error: String,
        }
        Response::json(status, &Wrong { error: wrong.into() })
    }

    /// With another header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a response is sent on.
#[derive(Clone, Copy, Debug)]
pub struct On {
    /// Whether it is HTTP/1.0: a stream ends with the connection, not with a chunk.
    pub is_http_1_0: bool,
    /// Whether the connection ends behind it, and the client is told.
    pub close: bool,
}

/// The head of a response.
pub fn head(response: &Response, on: On, now: SystemTime) -> String {
    let length = match &response.body {
        Content::Text(text) => Some(text.len().to_string()),
        Content::Stream(_) => None,
    };
    let mut fields = vec![
        ("Cache-Control", "no-store"),
        ("Content-Type", response.content_type),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
    ];
    fields.extend(response.headers.iter().map(|(name, value)| (*name, value.as_str())));
    match &length {
        Some(length) => fields.push(("Content-Length", length)),
        None if on.is_http_1_0 => {}
        None => fields.push(("Transfer-Encoding", "chunked")),
    }
    if on.close {
        fields.push(("Connection", "close"));
    }
    fields.sort_unstable();
    lines(response.status, on.is_http_1_0, now, &fields)
}

/// A response without a word, behind which the connection ends.
pub fn refusal(status: u16, now: SystemTime) -> String {
    lines(status, false, now, &[("Connection", "close"), ("Content-Length", "0")])
}

fn lines(status: u16, is_http_1_0: bool, now: SystemTime, fields: &[(&str, &str)]) -> String {
    let version = if is_http_1_0 { "1.0" } else { "1.1" };
    let mut head =
        format!("HTTP/{version} {}\r\nDate: {}\r\n", status_text(status), httpdate::fmt_http_date(now));
    for (name, value) in fields {
        debug_assert!(!name.contains(['\r', '\n']) && !value.contains(['\r', '\n']), "{name}: {value}");
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_looks_so() {
        let response = Response::error(405, "send a GET").with("Allow", "GET, HEAD");
        let on = On { is_http_1_0: false, close: true };
        let expected = "HTTP/1.1 405 Method Not Allowed\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
            Allow: GET, HEAD\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: 22\r\n\
            Content-Type: application/json\r\nCross-Origin-Resource-Policy: same-origin\r\n\
            Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\r\n";
        assert_eq!(head(&response, on, SystemTime::UNIX_EPOCH), expected);
        let expected = "HTTP/1.1 431 Request Header Fields Too Large\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
            Connection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(refusal(431, SystemTime::UNIX_EPOCH), expected);
    }
}
