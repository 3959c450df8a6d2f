//! A header field that a request carries.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ::http::{HeaderName, HeaderValue};

/// A name and a value that cannot break a request. The name is sent in the letters it was given in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: Cow<'static, str>,
    value: HeaderValue,
}

impl Field {
    /// A field of a name and a value.
    pub fn new(name: impl Into<Cow<'static, str>>, value: &[u8]) -> Result<Field, FieldError> {
        let name = name.into();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(FieldError::Name(shown(name.as_bytes())));
        }
        if ["content-length", "transfer-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(FieldError::Framing(name.into_owned()));
        }
        match HeaderValue::from_bytes(value) {
            Ok(value) => Ok(Field { name, value }),
            Err(_) => Err(FieldError::Value { name: name.into_owned(), value: shown(value) }),
        }
    }

    /// The name, in the letters it was given in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        self.value.as_bytes()
    }

    /// Whether it has this name, in whatever letters.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// `Name: value`, as on a command line.
impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Field, FieldError> {
        let (name, value) =
            text.split_once(':').ok_or_else(|| FieldError::NoColon(shown(text.as_bytes())))?;
        Field::new(name.trim().to_owned(), value.trim().as_bytes())
    }
}

fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 60;
    bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii().to_string()
}

/// Why a text is no header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// There is no colon in it.
    NoColon(String),
    /// The name is empty or holds what a name must not.
    Name(String),
    /// The value holds a line break or another control character.
    Value {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// The field says where a body ends, which is not the user's to say.
    Framing(String),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldError::NoColon(text) => write!(f, "'{text}' is no header: write it as 'Name: value'"),
            FieldError::Name(name) => {
                write!(f, "'{name}' is no header's name: letters, digits and hyphens make one")
            }
            FieldError::Value { name, value } => {
                write!(f, "the value '{value}' of the header {name} holds a control character: leave it out")
            }
            FieldError::Framing(name) => {
                write!(f, "the header {name} follows from the body and cannot be set: leave it out")
            }
        }
    }
}

impl std::error::Error for FieldError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_from_text() {
        for (text, name, value) in [
            ("Accept: */*", "Accept", "*/*"),
            ("x-Empty:", "x-Empty", ""),
            ("X-Time:12:30", "X-Time", "12:30"),
            (" X-Tab :\ta\tb ", "X-Tab", "a\tb"),
            ("X-Name: grün", "X-Name", "grün"),
        ] {
            let field: Field = text.parse().unwrap();
            assert_eq!((field.name(), field.value()), (name, value.as_bytes()), "{text}");
            assert!(field.is(&name.to_uppercase()) && !field.is("y"));
        }
    }

    #[test]
    fn what_would_break_a_request_is_refused() {
        for (text, part) in [
            ("Accept", "write it as 'Name: value'"),
            (": value", "is no header's name"),
            ("A B: value", "is no header's name"),
            ("A\r\nB: value", "is no header's name"),
            ("A: b\r\nC: d", "control character"),
            ("A: b\0", "control character"),
            ("Content-Length: 5", "cannot be set"),
            ("transfer-encoding: chunked", "cannot be set"),
        ] {
            let error = text.parse::<Field>().expect_err(text).to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}
