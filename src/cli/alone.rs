//! Options that do nothing without another one: whoever gives them alone has forgotten that.

use super::Failure;
use super::settings::Settings;

/// Whether each option is given beside the one that it is for.
pub fn check(settings: &Settings) -> Result<(), Failure> {
    let handler = [
        ("--handlers", settings.handlers.is_some()),
        ("--handler-timeout", settings.handler_timeout.is_some()),
        ("--max-in-flight", settings.max_in_flight.is_some()),
        ("--max-queued", settings.max_queued.is_some()),
        ("--overflow", settings.overflow.is_some()),
    ];
    let store = [
        ("--store-rotate", settings.store_rotate.is_some()),
        ("--store-sync", settings.store_sync.is_some()),
        ("--store-keep", settings.store_keep.is_some()),
        ("--store-topics", settings.store_topics.is_some()),
        ("--store-secret-file", settings.store_secret_file.is_some()),
    ];
    let http_sink = [
        ("--http-max-in-flight", settings.http_max_in_flight.is_some()),
        ("--http-ordered", settings.http_ordered.is_some()),
        ("--http-timeout", settings.http_timeout.is_some()),
        ("--http-retries", settings.http_retries.is_some()),
        ("--http-patience", settings.http_patience.is_some()),
        ("--http-header", settings.http_header.is_some()),
        ("--http-content-type", settings.http_content_type.is_some()),
        ("--http-ok-when", settings.http_ok_when.is_some()),
        ("--http-insecure", settings.http_insecure.is_some()),
    ];
    for (main, is_there, others) in [
        ("--handler", settings.handler.is_some(), &handler[..]),
        ("--store", settings.store.is_some(), &store),
        ("--http-sink", settings.http_sink.is_some(), &http_sink),
    ] {
        if let Some((option, _)) = others.iter().find(|(_, is_given)| *is_given && !is_there) {
            return Err(Failure::usage(format!("{option} is for {main} alone: give that too")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Time;
    use std::time::Duration;

    #[test]
    fn an_option_of_another_is_not_given_alone() {
        let (handlers, http_retries) = (Some(2), Some(1));
        let store_rotate = Some(Time(Duration::from_secs(1)));
        for (alone, part) in [
            (
                Settings { handlers, ..Settings::default() },
                "--handlers is for --handler alone: give that too",
            ),
            (Settings { store_rotate, ..Settings::default() }, "--store-rotate is for --store alone"),
            (Settings { http_retries, ..Settings::default() }, "--http-retries is for --http-sink alone"),
        ] {
            assert!(check(&alone).unwrap_err().message.starts_with(part));
        }
        let (handler, store) = (Some("cat".into()), Some("s".into()));
        let all = Settings { handler, handlers, store, store_rotate, ..Settings::default() };
        assert_eq!(check(&all), Ok(()));
        assert_eq!(check(&Settings::default()), Ok(()));
    }
}
