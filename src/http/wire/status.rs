//! A status in words.

use ::http::StatusCode;

/// A status with the reason that the standard gives it, such as `503 Service Unavailable`.
pub fn status_text(status: u16) -> String {
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    known.map_or_else(|| format!("status {status}"), |reason| format!("{status} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown() {
        assert_eq!(status_text(503), "503 Service Unavailable");
        assert_eq!(
            (status_text(299), status_text(1234)),
            ("status 299".to_owned(), "status 1234".to_owned())
        );
    }
}
