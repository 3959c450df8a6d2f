//! Framegate: one reactor, digests in pairs, here or on workers.

use clap::ValueEnum;
use framegate::gateway::Gateway;
use framegate::gateway::{Config, SlowPolicy};

use super::{anywhere, cores, say};

pub fn serve(slow: Option<&str>) {
    let slow = slow.unwrap_or("pause");
    let slow = SlowPolicy::from_str(slow, false).expect("the scenarios know the policies");
    // The rivals know no bound on connections.
    let config = Config { slow, connections_max: 100_000, ..Config::default() };
    let gateway = Gateway::bind(anywhere(), (cores() - 1).max(1), config).expect("a free port");
    say(gateway.local_addr());
    gateway.run().expect("it runs until it is ended");
}
