//! Connections that sent one frame each and now are only there.

use std::io::Write;
use std::time::Duration;

use super::{Figures, Job, connect, frames};
use crate::process::memory;

/// 1 s: everything that was sent is long distributed, and buffers are given back.
const SETTLE: Duration = Duration::from_secs(1);

pub fn run(job: &Job, connections: usize) -> Figures {
    std::thread::sleep(Duration::from_millis(200));
    let (before, _) = memory(job.process);
    let one = frames("bench", 0, 256, 1);
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(job.gateway);
        stream.write_all(&one).expect("the gateway reads");
        held.push(stream);
    }
    std::thread::sleep(SETTLE);
    for stream in &held {
        stream.set_nonblocking(true).expect("it is open");
        let still = stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(still, "the gateway holds every connection");
    }
    let (after, _) = memory(job.process);
    let added = after - before;
    Figures::from([
        ("added_mib".to_owned(), added / f64::from(1 << 20)),
        ("connection_bytes".to_owned(), added / connections as f64),
    ])
}
