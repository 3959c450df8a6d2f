//! One request and its response, apart from any connection.

use std::sync::Arc;

use async_channel::Receiver;
use serde::Serialize;

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
    Stream(Receiver<Arc<str>>),
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
