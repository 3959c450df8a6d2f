//! Framegate: one reactor, digests in pairs, here or on workers.

use framegate::gate::{Config, SlowPolicy};
use framegate::gateway::Gateway;

use super::{anywhere, cores, say};

pub fn serve() {
    // The rivals push back on publishers too, and know no bound on connections.
    let config = Config { slow: SlowPolicy::Pause, connections_max: 100_000, ..Config::default() };
    let gateway = Gateway::bind(anywhere(), (cores() - 1).max(1), config).expect("a free port");
    say(gateway.local_addr());
    gateway.run().expect("it runs until it is ended");
}
