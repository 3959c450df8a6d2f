//! How the HTTP sink is set up.

use super::Failure;
use super::settings::Settings;
use crate::core::limits::DISPATCH_UNREACHABLE_PATIENCE;
use crate::gateway::Config;
use crate::http::dispatch::{self, Unreachable};
use crate::http::wire::{Field, Target};
use crate::sinks::http::Options;

/// What a request says of itself, by its own field.
const OWN: [(&str, &str); 5] = [
    ("Content-Type", "give it as --http-content-type"),
    ("Idempotency-Key", "leave it out"),
    ("Framegate-Topic", "leave it out"),
    ("Framegate-Key", "leave it out"),
    ("Framegate-Id", "leave it out"),
];

/// What the settings say of the HTTP sink, checked; none where there is none.
pub fn options(settings: &Settings, config: &Config) -> Result<Option<Options>, Failure> {
    let wrong = |option: &str, why: &dyn std::fmt::Display| Failure::usage(format!("{option}: {why}"));
    let Some(url) = &settings.http_sink else { return Ok(None) };
    let target: Target = url.parse().map_err(|why| wrong("--http-sink", &why))?;
    let timeout = settings.http_timeout.map_or(std::time::Duration::from_secs(30), |time| time.0);
    let insecure = settings.http_insecure.unwrap_or(false);
    if insecure && !target.is_secure() {
        return Err(Failure::usage("--http-insecure is for https:// alone: leave it out"));
    }
    let mut fields = Vec::new();
    for header in settings.http_header.iter().flatten() {
        let field: Field = header.parse().map_err(|why| wrong("--http-header", &why))?;
        if let Some((name, mend)) = OWN.iter().find(|(name, _)| field.is(name)) {
            return Err(Failure::usage(format!("--http-header {name}: every request has its own: {mend}")));
        }
        fields.push(field);
    }
    let content_type = settings.http_content_type.as_deref().unwrap_or("application/octet-stream");
    let content_type = Field::new("Content-Type", content_type.as_bytes())
        .map_err(|why| wrong("--http-content-type", &why))?;
    let ok_when = settings.http_ok_when.as_deref().map(str::parse).transpose();
    let ok_when = ok_when.map_err(|why: String| wrong("--http-ok-when", &why))?;
    Ok(Some(Options {
        carried: dispatch::Options {
            target,
            fields,
            max_in_flight: config.http_max_in_flight,
            max_connections: config.http_max_in_flight,
            adaptive: false,
            timeout,
            retries: settings.http_retries.unwrap_or(3),
            ok_when,
            insecure,
            when_unreachable: Unreachable::Fails,
            patience: settings.http_patience.map_or(DISPATCH_UNREACHABLE_PATIENCE, |time| time.0),
            seed: crate::runtime::chance(),
        },
        content_type,
        ordered: settings.http_ordered.unwrap_or(false),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_says_the_mend() {
        let url = |url: &str| Settings { http_sink: Some(url.into()), ..Settings::default() };
        let http = || url("http://h/");
        for (settings, part) in [
            (url("h:80"), "--http-sink: "),
            (Settings { http_insecure: Some(true), ..http() }, "https:// alone"),
            (Settings { http_header: Some(vec!["x".into()]), ..http() }, "--http-header: "),
            (
                Settings { http_header: Some(vec!["content-type: x".into()]), ..http() },
                "give it as --http-content-type",
            ),
            (Settings { http_content_type: Some("a\nb".into()), ..http() }, "--http-content-type: "),
            (Settings { http_ok_when: Some("code".into()), ..http() }, "FIELD=VALUE"),
        ] {
            let said = options(&settings, &Config::default()).unwrap_err().to_string();
            assert!(said.contains(part) && said.lines().count() == 1, "{said}");
        }
        assert!(options(&Settings::default(), &Config::default()).unwrap().is_none());
        let made = options(&http(), &Config::default()).unwrap().unwrap();
        assert_eq!((made.carried.max_in_flight, made.carried.retries, made.ordered), (100, 3, false));
    }
}
