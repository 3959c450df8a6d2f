//! Who a client says it is.

use std::fmt;

use super::Error;
use crate::core::limits::{ACCESS_NAME, ACCESS_TOKEN};
use crate::wire::{Header, Kind, Scheme, encode};

/// Bytes that are wiped from memory when they are let go of.
#[cfg(feature = "access")]
type Wiped = zeroize::Zeroizing<Vec<u8>>;
/// Without the feature there is nothing to wipe them with.
#[cfg(not(feature = "access"))]
type Wiped = Vec<u8>;

fn wiped<T: From<Vec<u8>>>(bytes: Vec<u8>) -> T {
    T::from(bytes)
}

/// A name and its token, with which a connection says whose it is. The token is never shown, and with the feature `access`
/// wiped from memory with the last copy.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    token: Wiped,
}

impl Identity {
    /// The identity of this name in the gateway's access file, and one of its tokens.
    ///
    /// # Errors
    /// Where they are longer than any may be.
    pub fn new(name: impl Into<String>, token: impl Into<Vec<u8>>) -> Result<Identity, Error> {
        let (name, token): (String, Wiped) = (name.into(), wiped(token.into()));
        if name.is_empty() || name.len() > ACCESS_NAME {
            return Err(Error::Identity(format!("the name of an identity has 1 to {ACCESS_NAME} bytes")));
        }
        if token.is_empty() || token.len() > ACCESS_TOKEN {
            return Err(Error::Identity(format!("a token has 1 to {ACCESS_TOKEN} bytes")));
        }
        Ok(Identity { name, token })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first frame of a connection.
    pub(crate) fn frame(&self, id: u64, scheme: &Scheme) -> Wiped {
        // So much that it never moves, and leaves a copy behind.
        let mut frame: Wiped = wiped(Vec::with_capacity(64 + self.name.len() + self.token.len()));
        let header = Header { want_reply: true, id, ..Header::new(Kind::Auth) };
        encode(header, self.name.as_bytes(), &self.token, scheme, &mut frame);
        frame
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_identity_is_refused_and_a_token_is_not_shown() {
        for (name, token, is_right) in [("a", "t", true), ("", "t", false), ("a", "", false)] {
            assert_eq!(Identity::new(name, token).is_ok(), is_right, "{name:?} {token:?}");
        }
        assert!(Identity::new("n".repeat(ACCESS_NAME), "t").is_ok());
        assert!(Identity::new("n".repeat(ACCESS_NAME + 1), "t").is_err());
        assert!(Identity::new("a", vec![7; ACCESS_TOKEN]).is_ok());
        assert!(Identity::new("a", vec![7; ACCESS_TOKEN + 1]).is_err());
        let shown = format!("{:?}", Identity::new("pump", "hush").unwrap());
        assert!(shown.contains("pump") && !shown.contains("hush"), "{shown}");
    }
}
