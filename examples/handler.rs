//! A handler in Rust, which answers each frame before it is distributed: `cargo run --example handler`.

use std::error::Error;
use std::sync::mpsc;
use std::thread;

use framegate::client::{Publisher, PublisherOptions};
use framegate::handler::{Answer, Call, Handler};
use framegate::{Config, Gateway};

/// Takes temperatures in Fahrenheit, and distributes them in Celsius.
struct Celsius;

impl Handler for Celsius {
    // Several workers call it at once.
    fn handle(&self, call: &Call<'_>) -> Answer {
        let Ok(fahrenheit) = String::from_utf8_lossy(call.payload).trim().parse::<f64>() else {
            // The publisher is told REJECTED with this reason, and nobody gets the frame.
            return Answer::Reject("expected a number, such as 70.7".into());
        };
        let celsius = (fahrenheit - 32.0) / 1.8;
        if celsius > 100.0 {
            // As it was, and the publisher gets these bytes with its OK.
            return Answer::Pass(b"that is hot".to_vec());
        }
        let payload = format!("{celsius:.1}").into_bytes();
        Answer::Replace { topic: format!("celsius.{}", call.topic), key: call.key, payload }
    }
}

/// Runs, and ends by itself.
pub fn main() -> Result<(), Box<dyn Error>> {
    let gateway = Gateway::bind("127.0.0.1:0".parse()?, 2, Config::default())?.with_handler(Celsius)?;
    let (address, control) = (gateway.local_addr().to_string(), gateway.control());
    let running = thread::spawn(move || gateway.run());

    let (tell, told) = mpsc::channel();
    let mut publisher = Publisher::connect_and_take(&address, PublisherOptions::default(), move |reply| {
        // It fails only where `told` is gone.
        let _ = tell.send((reply.id, reply.status, String::from_utf8_lossy(reply.payload).into_owned()));
    })?;
    for reading in ["70.7", "mild", "451"] {
        publisher.send("hall", 7, reading.as_bytes())?;
    }
    publisher.finish();
    // Replies may come in any order.
    let mut replies: Vec<_> = told.iter().collect();
    replies.sort_by_key(|&(id, ..)| id);
    for (id, status, text) in &replies {
        println!("frame {id}: {status} {text}");
    }

    control.drain();
    println!("{}", running.join().expect("the gateway does not panic")?);
    Ok(())
}
