//! Options that do nothing without another one, and are refused without it.

use super::Failure;
use super::settings::Settings;

/// Whether each option is given beside the one that it is for.
pub fn check(settings: &Settings) -> Result<(), Failure> {
    for given in settings.given() {
        let (main, is_there) = match given.as_str() {
            "handlers" | "handler-timeout" | "handler-identity" | "max-in-flight" | "max-queued"
            | "overflow" => ("handler", settings.handler.is_some()),
            "insecure-tokens" => ("access", settings.access.is_some()),
            of_store if of_store.starts_with("store-") => ("store", settings.store.is_some()),
            of_sink if of_sink.starts_with("http-") => ("http-sink", settings.http_sink.is_some()),
            _ => continue,
        };
        if !is_there {
            return Err(Failure::usage(format!("--{given} is for --{main} alone: give that too")));
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
