//! Copies under `--dedup`, sinks that refuse or are slow, and parts that are held: over real sockets.

mod fragments;
mod leases;
mod refused;

use crate::support;
use crate::support::desk;

use std::time::Duration;

use desk::Desk;
use framegate::gateway::snapshot::Snapshot;
use framegate::gateway::{BadDigestPolicy, Config, Pressure};
use framegate::runtime::handler::{Answer, Call};
use framegate::wire::{Header, Kind, Status};
use support::{Client, PATIENCE, Running, data, look_until, payload, reset, silent, start, start_with};

/// A lease, or a window, that does not end in a test.
const LONG: Duration = Duration::from_secs(3600);

fn config() -> Config {
    Config { lease: LONG, dedup: Some(LONG), ..Config::default() }
}

fn part(key: u64, index: u16, count: u16) -> Header {
    Header { key, part_index: index, part_count: count, ..data(u64::from(index)) }
}

fn told(client: &mut Client) -> (u64, Status, String) {
    let got = client.next();
    (got.header.id, got.status().expect("a reply"), String::from_utf8(got.payload).unwrap())
}

/// Sends bytes on a connection of their own and returns the next status that it is told.
fn sent_again(gateway: &Running, bytes: &[u8]) -> Client {
    let mut client = gateway.connect();
    client.write(bytes);
    client
}

/// Nothing but this PING is answered: what was sent before is waited for.
fn says_nothing_yet(client: &mut Client) {
    client.send(Header { id: 7_777, ..Header::new(Kind::Ping) }, b"", b"");
    assert_eq!(told(client).0, 7_777, "it was answered too early");
}
