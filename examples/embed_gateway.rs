//! A gateway in a program of one's own: `cargo run --example embed_gateway`.
//!
//! It starts a gateway with a store, publishes a few frames to it, and drains it: the ledger says what became of each.

use std::error::Error;
use std::thread;

use framegate::client::{Publisher, PublisherOptions};
use framegate::{Config, Gateway};

/// Runs, and ends by itself.
pub fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("framegate-example-{}", std::process::id()));
    // What is not set is as `framegate serve` has it; sizes are in bytes.
    let config = Config { memory: 64 << 20, store: Some(folder.clone()), ..Config::default() };
    // Port 0 takes a free one; two workers verify.
    let gateway = Gateway::bind("127.0.0.1:0".parse()?, 2, config)?;
    let address = gateway.local_addr().to_string();
    let control = gateway.control();
    let running = thread::spawn(move || gateway.run());
    println!("listening on {address}");

    let mut publisher = Publisher::connect(&address, PublisherOptions::default())?;
    for reading in ["21.5", "21.6", "21.4"] {
        publisher.send("sensors.hall", 7, reading.as_bytes())?;
    }
    // OK means that a frame is on the disk.
    let report = publisher.finish();
    assert!(report.is_complete(), "{report:?}");

    // Nothing more is taken in, and what was accepted is finished.
    control.drain();
    let ledger = running.join().expect("the gateway does not panic")?;
    assert!(ledger.is_balanced());
    println!("{ledger}");
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
