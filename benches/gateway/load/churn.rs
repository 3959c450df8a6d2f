//! Connections that come, send one frame, and go.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::{Domain, Socket, Type};

use super::saturate::read_one;
use super::{Clock, Figures, Job, WARM_UP, frames, subscribe};

pub fn run(job: &Job, threads: usize) -> Figures {
    let received = Arc::new(AtomicU64::new(0));
    let (subscriber, mine) = (subscribe(job.gateway, ">"), Arc::clone(&received));
    std::thread::spawn(move || read_one(&subscriber, &mine));
    let one = frames("bench", 0, 256, 1);
    for thread in 0..threads {
        let (gateway, one) = (job.gateway, one.clone());
        std::thread::spawn(move || {
            loop {
                visit(gateway, thread, &one).expect("the gateway takes connections");
            }
        });
    }
    std::thread::sleep(WARM_UP);
    let before = received.load(Ordering::Relaxed);
    let clock = Clock::start(job.process);
    std::thread::sleep(job.window);
    let bytes = (received.load(Ordering::Relaxed) - before) as f64;
    clock.figures(bytes / one.len() as f64, bytes)
}

/// One connection, until the gateway has closed it too.
fn visit(gateway: SocketAddr, thread: usize, one: &[u8]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Ports that were just closed cannot be used again for a minute: each thread of each run has an
    // address of its own.
    let [high, low] = gateway.port().to_be_bytes();
    let from = SocketAddr::from(([127, high, low, thread as u8 + 1], 0));
    socket.bind(&from.into())?;
    socket.connect(&gateway.into())?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(one)?;
    stream.shutdown(Shutdown::Write)?;
    let n = stream.read(&mut [0])?;
    assert_eq!(n, 0, "the gateway has nothing to say");
    Ok(())
}
