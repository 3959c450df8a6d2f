//! A publisher that waits for the reply to each frame: `cargo run --example publisher_replies`.

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use framegate::Status;
use framegate::client::{Publisher, PublisherOptions};
use framegate::{Config, Gateway};

/// Runs, and ends by itself.
pub fn main() -> Result<(), Box<dyn Error>> {
    // A gateway of its own, so that this runs anywhere; a publisher usually has the address of one.
    let gateway = Gateway::bind("127.0.0.1:0".parse()?, 1, Config::default())?;
    let (address, control) = (gateway.local_addr().to_string(), gateway.control());
    let running = thread::spawn(move || gateway.run());
    let published = publish(&address);
    control.drain();
    running.join().expect("the gateway does not panic")?;
    published
}

fn publish(address: &str) -> Result<(), Box<dyn Error>> {
    let (tell, replies) = mpsc::channel();
    let mut publisher = Publisher::connect_and_take(address, PublisherOptions::default(), move |reply| {
        // It fails only where `replies` is gone.
        let _ = tell.send((reply.id, reply.status, String::from_utf8_lossy(reply.payload).into_owned()));
    })?;
    for order in ["two apples", "three pears"] {
        let id = publisher.send("orders.eu", 0, order.as_bytes())?;
        // Frames are gathered: this one goes now.
        publisher.flush()?;
        // Waiting for each pays a round trip a frame. To have many under way, send them all and match the ids.
        let (replied, status, text) = replies.recv_timeout(Duration::from_secs(30))?;
        assert_eq!(replied, id);
        match status {
            Status::Ok | Status::Duplicate => println!("{order}: done ({status} {text})"),
            other => println!("{order}: refused ({other} {text})"),
        }
    }
    let report = publisher.finish();
    assert!(report.is_complete(), "{report:?}");
    Ok(())
}
