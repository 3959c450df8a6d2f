//! What `serve` says first: where it listens, and what it does with frames.

use std::net::SocketAddr;

use super::Size;
use super::policies::shown;
use super::settings::Settings;
use crate::core::units::{many, plain};
use crate::gateway::Config;
use crate::http::wire::Target;
use crate::wire;

/// Scripts that let the system choose the port find it after "listening on".
pub fn start_line(
    address: SocketAddr,
    settings: &Settings,
    config: &Config,
    http_sink: Option<&Target>,
) -> String {
    let store = settings.store.as_ref().map_or("no store".into(), |dir| format!("store {}", dir.display()));
    let handler = match &settings.handler {
        Some(command) => format!("{} '{command}'", many(config.handlers as u64, "handler")),
        None => "no handler".into(),
    };
    let http_sink = http_sink.map_or("no HTTP sink".into(), |target| format!("HTTP sink {target}"));
    let secret = settings.secret_file.as_ref();
    let secret = secret.map_or("no secret".into(), |file| format!("secret {}", file.display()));
    let version = env!("CARGO_PKG_VERSION");
    // A path may hold anything.
    plain(&format!("framegate {version} listening on {address}, {store}, {handler}, {http_sink}, {secret}"))
}

/// The limits that matter most; `ctl status` shows all settings.
pub fn limits_line(workers: usize, config: &Config) -> String {
    format!(
        "{}, memory {}, max-payload {}, max-connections {}, outbox {}, slow {}; {:?} by {}",
        many(workers as u64, "worker"),
        Size(config.memory),
        Size(config.payload_max),
        config.connections_max,
        Size(config.outbox_max()),
        shown(&config.slow),
        config.scheme,
        wire::implementation(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_where_and_what() {
        let (address, mut config) = ("127.0.0.1:7".parse().unwrap(), Config::default());
        let line = start_line(address, &Settings::default(), &config, None);
        let rest = " listening on 127.0.0.1:7, no store, no handler, no HTTP sink, no secret";
        assert!(line.ends_with(rest), "{line}");
        config.handlers = 2;
        let settings = Settings {
            store: Some("/var/lib/a".into()),
            handler: Some("cat -".into()),
            secret_file: Some("/etc/b\n".into()),
            ..Settings::default()
        };
        let target = "http://user:word@h/x".parse().unwrap();
        let line = start_line(address, &settings, &config, Some(&target));
        let rest = ", store /var/lib/a, 2 handlers 'cat -', HTTP sink http://h/x, secret /etc/b\\n";
        assert!(line.ends_with(rest), "{line}");
        let line = limits_line(1, &Config::default());
        assert!(
            line.starts_with("1 worker, memory 256MiB, ") && line.contains("slow disconnect; SHA-256 by"),
            "{line}"
        );
    }
}
