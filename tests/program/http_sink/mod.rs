//! The HTTP sink against stores that take, refuse, stall, break off and are away.

mod gateway;
use crate::support::nginx;
mod sink;
use crate::support;
use crate::support::store;

use std::time::Duration;

use framegate::http::dispatch::{self, Unreachable};
use framegate::http::wire::Field;
use framegate::sinks::http::Options;

fn options(url: &str) -> Options {
    Options {
        carried: dispatch::Options {
            target: url.parse().unwrap(),
            fields: Vec::new(),
            max_in_flight: 100,
            max_connections: 100,
            adaptive: false,
            timeout: Duration::from_secs(30),
            retries: 1,
            ok_when: None,
            insecure: false,
            when_unreachable: Unreachable::Fails,
            patience: Duration::from_secs(60),
            seed: 1,
        },
        content_type: Field::new("Content-Type", b"text/plain").unwrap(),
        ordered: false,
    }
}
