//! Where a URL points.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ::http::Uri;
use ::http::uri::Authority;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

/// Only what lies beyond ASCII: the rest of a path is sent as it was given.
const BEYOND_ASCII: AsciiSet = AsciiSet::EMPTY;

/// An absolute `http` or `https` URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
    authorization: Option<String>,
}

impl Target {
    /// Whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The name or address to connect to, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the Host field says: the host, and the port where it is not the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query, as a request line holds them.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the Authorization field says, where the URL holds a user.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// The URL without its user, for logs and reports.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Target, TargetError> {
        let wrong = |what| TargetError { url: shown(url), what };
        let Some((scheme, rest)) = url.split_once("://") else { return Err(wrong(What::NoScheme)) };
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong(What::Scheme)),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if !rest[..end].is_ascii() {
            return Err(wrong(What::HostBeyondAscii));
        }
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong(What::Space));
        }
        let uri: Uri =
            url.parse().map_err(|error: ::http::uri::InvalidUri| wrong(What::Other(error.to_string())))?;
        let authority = uri.authority().ok_or_else(|| wrong(What::Host))?;
        let (host, port) = host_and_port(authority).ok_or_else(|| wrong(What::Host))?;
        let own_port = if secure { 443 } else { 80 };
        let port = match port {
            "" => own_port,
            digits => match digits.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(wrong(What::Port)),
            },
        };
        let (connect_to, literal) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => {
                // The zone means something here alone: the peer is not told.
                let (address, zone) = inner.split_once("%25").unwrap_or((inner, ""));
                if address.parse::<Ipv6Addr>().is_err() {
                    return Err(wrong(What::Host));
                }
                let zone = if zone.is_empty() { String::new() } else { format!("%{zone}") };
                (format!("{address}{zone}"), format!("[{address}]"))
            }
            None if host.is_empty() || host.contains(['[', ']', '%']) => return Err(wrong(What::Host)),
            None => (host.to_owned(), host.to_owned()),
        };
        let authorization = authority.as_str().rsplit_once('@').map(|(user, _)| basic(user));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Target {
            secure,
            host: connect_to,
            port,
            authority: if port == own_port { literal } else { format!("{literal}:{port}") },
            path: format!("{slash}{}", utf8_percent_encode(path, &BEYOND_ASCII)),
            authorization,
        })
    }
}

/// The host, an IPv6 address in brackets, and the digits of the port, where there are any.
fn host_and_port(authority: &Authority) -> Option<(&str, &str)> {
    let text = authority.as_str();
    let behind_user = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let host = authority.host();
    match behind_user.strip_prefix(host)? {
        "" => Some((host, "")),
        port => port.strip_prefix(':').map(|digits| (host, digits)),
    }
}

/// The Authorization of RFC 7617 for `user` or `user:password`, percent-encoded as in a URL.
fn basic(user: &str) -> String {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain: Vec<u8> = percent_decode_str(name).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    format!("Basic {}", STANDARD.encode(plain))
}

/// What can be shown of a URL: on one line, not all of a long one, and nobody's password.
fn shown(url: &str) -> String {
    const SHOWN_MAX: usize = 100;
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let url = match url[start..end].rfind('@') {
        Some(at) => format!("{}{}", &url[..start], &url[start + at + 1..]),
        None => url.to_owned(),
    };
    let mut text: String = url.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if url.chars().nth(SHOWN_MAX).is_some() {
        text.push('…');
    }
    text
}

/// Why a text is no URL that a request can go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    url: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    NoScheme,
    Scheme,
    Space,
    Host,
    HostBeyondAscii,
    Port,
    Other(String),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        match &self.what {
            What::NoScheme => {
                write!(f, "'{url}' is no URL: write it as http://{}", url.trim_start_matches('/'))
            }
            What::Scheme => write!(f, "'{url}' is neither http:// nor https://"),
            What::Space => {
                write!(f, "'{url}' holds a space or a control character: write it as %20 and the like")
            }
            What::Host => write!(
                f,
                "'{url}' names no host that can be reached: write it as http://host:port/path, an IPv6 address in brackets"
            ),
            What::HostBeyondAscii => {
                write!(f, "the host of '{url}' holds letters beyond ASCII: write it in its xn-- form")
            }
            What::Port => write!(f, "the port of '{url}' is not a number from 1 to 65535"),
            What::Other(why) => write!(f, "'{url}' is no URL: {why}"),
        }
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, secure, host, port, authority, path) in [
            ("http://localhost", false, "localhost", 80, "localhost", "/"),
            ("http://localhost/", false, "localhost", 80, "localhost", "/"),
            ("HTTP://LocalHost:8080/a/b?c=d&e", false, "LocalHost", 8080, "LocalHost:8080", "/a/b?c=d&e"),
            ("https://example.com", true, "example.com", 443, "example.com", "/"),
            ("https://example.com:443/x", true, "example.com", 443, "example.com", "/x"),
            ("https://example.com:80/x", true, "example.com", 80, "example.com:80", "/x"),
            ("http://example.com:443/", false, "example.com", 443, "example.com:443", "/"),
            ("http://example.com:/x", false, "example.com", 80, "example.com", "/x"),
            ("http://[::1]/", false, "::1", 80, "[::1]", "/"),
            ("http://[::1]:8080/", false, "::1", 8080, "[::1]:8080", "/"),
            ("http://127.0.0.1:1/#part", false, "127.0.0.1", 1, "127.0.0.1:1", "/"),
            ("http://h?q", false, "h", 80, "h", "/?q"),
            ("http://h/%41%20b", false, "h", 80, "h", "/%41%20b"),
            ("http://h/grün?ü=ö", false, "h", 80, "h", "/gr%C3%BCn?%C3%BC=%C3%B6"),
            ("http://a:b@h:81/", false, "h", 81, "h:81", "/"),
        ] {
            let target: Target = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(target.is_secure(), secure, "{url}");
            assert_eq!((target.host(), target.port()), (host, port), "{url}");
            assert_eq!((target.authority(), target.path()), (authority, path), "{url}");
        }
    }

    #[test]
    fn a_user_becomes_an_authorization() {
        for (url, plain) in [
            ("http://h/", None),
            ("http://user:pass@h/", Some("user:pass")),
            ("http://user@h/", Some("user:")),
            ("http://us%3Aer:p%40ss@h/", Some("us:er:p@ss")),
            ("http://user:@h/@", Some("user:")),
            ("http://h/user:pass@", None),
        ] {
            let target: Target = url.parse().unwrap();
            let expected = plain.map(|plain| format!("Basic {}", STANDARD.encode(plain)));
            assert_eq!(target.authorization(), expected.as_deref(), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, part) in [
            ("", "is no URL: write it as http://"),
            ("localhost:8080/x", "write it as http://localhost:8080/x"),
            ("/index.html", "write it as http://index.html"),
            ("ftp://h/", "neither http:// nor https://"),
            ("http://", "is no URL"),
            ("http:///path", "is no URL"),
            ("http://h/a b", "%20"),
            ("http://h/\r\nX: y", "%20"),
            ("http://münchen.de/", "xn--"),
            ("http://h:0/", "the port"),
            ("http://h:65536/", "the port"),
            ("http://h:http/", "the port"),
            ("http://[::1/", "is no URL"),
            ("http://[1.2.3.4]/", "in brackets"),
            ("http://::1/", "is no URL"),
            ("http://user@/", "is no URL"),
            ("http://h:1:2/", "is no URL"),
        ] {
            let error = url.parse::<Target>().expect_err(url).to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{url}: {error}");
        }
        let long = format!("gopher://h/{}", "x".repeat(10_000));
        assert!(long.parse::<Target>().unwrap_err().to_string().len() < 200);
        for url in ["gopher://me:secret@h/", "http://me:secret@h:0/a@b", "me:secret@h"] {
            assert!(!url.parse::<Target>().unwrap_err().to_string().contains("secret"), "{url}");
        }
    }

    #[test]
    fn it_is_shown_without_its_user() {
        for (url, shown) in
            [("http://me:secret@h:81/x?y", "http://h:81/x?y"), ("https://[::1]:443", "https://[::1]/")]
        {
            assert_eq!(url.parse::<Target>().unwrap().to_string(), shown);
        }
    }
}
