//! Who may ask for what.
//!
//! A browser lets any page send requests to any address, so a page from anywhere could reach a
//! gateway on the loopback address of whoever reads it. Against that: a name that is not the gateway's
//! is refused (so that a foreign name that is made to point here does not help), and so is what a
//! browser says to come from another site. What changes something must be JSON besides, which a browser
//! does not send across sites without asking first, and carry the token.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use subtle::ConstantTimeEq;

use super::request::{Request, Response};

/// What a request that changes something must carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

impl Token {
    /// A token of at least [`Token::LEAST`] bytes, all of which can stand in a header.
    ///
    /// # Errors
    /// In one line, what is wrong.
    pub fn new(token: &[u8]) -> Result<Token, String> {
        if token.len() < Token::LEAST {
            return Err(format!(
                "a token of {} bytes is too short, {} are needed",
                token.len(),
                Token::LEAST
            ));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err("a token is letters, digits and signs, without spaces".into());
        }
        Ok(Token(token.to_vec()))
    }

    /// 16 bytes, so that it cannot be found by trying.
    pub const LEAST: usize = 16;

    /// The header that carries it.
    pub fn header(&self) -> String {
        format!("Bearer {}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The rules of one listener.
#[derive(Clone, Debug)]
pub struct Guard {
    token: Option<Token>,
    /// In small letters.
    hosts: Vec<String>,
    is_loopback: bool,
}

impl Guard {
    /// The rules of a listener on `address`.
    pub fn new(address: SocketAddr, token: Option<Token>, hosts: &[String]) -> Guard {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Guard { token, hosts, is_loopback: address.ip().is_loopback() }
    }

    /// Whether something can be changed here at all, and whether that takes the token.
    pub fn access(&self) -> &'static str {
        match (&self.token, self.is_loopback) {
            (Some(_), _) => "token",
            (None, true) => "open",
            (None, false) => "closed",
        }
    }

    /// What a request that looks at peers or changes something is refused with, if it is.
    pub fn check(&self, request: &Request) -> Result<(), Response> {
        let Some(host) = &request.host else {
            return Err(Response::error(400, "the request has no Host header"));
        };
        if !self.is_ours(host) {
            let name = host_name(host);
            let wrong = format!(
                "{name} is no name of this gateway: ask for its address, or start it with --admin-host {name}"
            );
            return Err(Response::error(421, wrong));
        }
        let is_navigation = request.method == "GET" && request.fetch_mode.as_deref() == Some("navigate");
        let is_foreign = match request.fetch_site.as_deref() {
            None | Some("same-origin" | "none") => false,
            Some(_) => !is_navigation,
        };
        let is_foreign_origin = request.origin.as_ref().is_some_and(|origin| {
            !["http", "https"].iter().any(|scheme| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")))
        });
        if is_foreign || is_foreign_origin {
            return Err(Response::error(403, "requests from pages of other sites are refused"));
        }
        Ok(())
    }

    /// What a request that changes something is refused with beside that, if it is.
    pub fn check_change(&self, request: &Request) -> Result<(), Response> {
        let content_type = request.content_type.as_deref().unwrap_or_default();
        let mime = content_type.split(';').next().unwrap_or_default().trim();
        if !mime.eq_ignore_ascii_case("application/json") {
            return Err(Response::error(415, "send JSON, with the header Content-Type: application/json"));
        }
        match &self.token {
            None if self.is_loopback => Ok(()),
            None => Err(Response::error(
                403,
                "nothing can be changed here without a token, since it is reached from other machines: \
                 start the gateway with --admin-token-file",
            )),
            Some(token) => match &request.authorization {
                Some(given) if bool::from(given.as_bytes().ct_eq(token.header().as_bytes())) => Ok(()),
                Some(_) => {
                    Err(refused("the token is wrong: give the one in the gateway's --admin-token-file"))
                }
                None => Err(refused("a token is needed: the one in the gateway's --admin-token-file")),
            },
        }
    }

    /// Whether a Host header names this gateway: by an address, as the local machine, or by a name that
    /// it was given.
    fn is_ours(&self, host: &str) -> bool {
        let name = host_name(host);
        let is_address = name.parse::<IpAddr>().is_ok()
            || name
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'))
                .is_some_and(|name| name.parse::<IpAddr>().is_ok());
        let name = name.to_ascii_lowercase();
        is_address || name == "localhost" || self.hosts.contains(&name)
    }
}

fn refused(wrong: &str) -> Response {
    Response::error(401, wrong).with("WWW-Authenticate", "Bearer")
}

/// Without the port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"0123456789abcdef";

    fn guard(address: &str, token: Option<&[u8]>) -> Guard {
        let token = token.map(|token| Token::new(token).unwrap());
        Guard::new(address.parse().unwrap(), token, &["Gateway.internal".to_string()])
    }

    fn request(host: &str) -> Request {
        let content_type = Some("application/json; charset=utf-8".to_string());
        Request { method: "POST".into(), host: Some(host.into()), content_type, ..Request::default() }
    }

    fn status(result: Result<(), Response>) -> u16 {
        result.err().map_or(200, |response| response.status)
    }

    #[test]
    fn only_its_own_names_are_answered() {
        let guard = guard("127.0.0.1:7451", None);
        for (host, expected) in [
            ("127.0.0.1:7451", 200),
            ("[::1]:7451", 200),
            ("10.1.2.3", 200),
            ("localhost:7451", 200),
            ("LOCALHOST", 200),
            ("gateway.INTERNAL:80", 200),
            ("evil.example", 421),
            ("evil.example:7451", 421),
            ("127.0.0.1.evil.example:7451", 421),
            ("localhost.evil.example", 421),
            ("", 421),
            (":7451", 421),
        ] {
            assert_eq!(status(guard.check(&request(host))), expected, "{host}");
        }
        assert_eq!(status(guard.check(&Request::default())), 400);
    }

    #[test]
    fn other_sites_are_refused() {
        let guard = guard("127.0.0.1:7451", None);
        let ours = request("127.0.0.1:7451");
        let some = |text: &str| Some(text.to_string());
        for (origin, site, mode, method, expected) in [
            (None, None, None, "POST", 200),
            (some("http://127.0.0.1:7451"), some("same-origin"), some("cors"), "POST", 200),
            (some("http://evil.example"), None, None, "POST", 403),
            (some("http://127.0.0.1:9999"), some("same-site"), some("cors"), "POST", 403),
            (some("null"), None, None, "POST", 403),
            (None, some("cross-site"), some("no-cors"), "GET", 403),
            (None, some("cross-site"), some("navigate"), "POST", 403),
            // A link on another page may lead here.
            (None, some("cross-site"), some("navigate"), "GET", 200),
            (None, some("none"), some("navigate"), "GET", 200),
        ] {
            let request = Request {
                origin: origin.clone(),
                fetch_site: site.clone(),
                fetch_mode: mode,
                method: method.into(),
                ..ours.clone()
            };
            assert_eq!(status(guard.check(&request)), expected, "{origin:?} {site:?}");
        }
    }

    #[test]
    fn changes_are_json_and_carry_the_token() {
        let with = |authorization: &str| Request {
            authorization: Some(authorization.into()),
            ..request("127.0.0.1:7451")
        };
        let closed = guard("127.0.0.1:7451", Some(TOKEN));
        assert_eq!(status(closed.check_change(&request("127.0.0.1"))), 401);
        assert_eq!(status(closed.check_change(&with("Bearer 0123456789abcdeg"))), 401);
        assert_eq!(status(closed.check_change(&with("Bearer 0123456789abcde"))), 401);
        assert_eq!(status(closed.check_change(&with("Bearer 0123456789abcdef"))), 200);
        let form = Request { content_type: Some("text/plain".into()), ..with("Bearer 0123456789abcdef") };
        assert_eq!(status(closed.check_change(&form)), 415);
        assert_eq!(status(guard("127.0.0.1:7451", None).check_change(&request("127.0.0.1"))), 200);
        assert_eq!(status(guard("0.0.0.0:7451", None).check_change(&request("127.0.0.1"))), 403);
        assert_eq!(guard("0.0.0.0:7451", None).access(), "closed");
    }

    #[test]
    fn a_token_is_long_and_plain() {
        assert!(Token::new(b"short").is_err() && Token::new(b"0123456789 abcdef").is_err());
        assert_eq!(format!("{:?}", Token::new(TOKEN).unwrap()), "Token", "it is not shown");
    }
}
