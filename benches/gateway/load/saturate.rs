//! Publishers that send as fast as the gateway lets them; what they send is encoded before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::{Events, Interest, Poll, Token};

use super::{Clock, Figures, Job, WARM_UP, connect, frames, subscribe};

/// 1 MiB: what one write offers and one read takes.
const CHUNK: usize = 1 << 20;

pub fn run(job: &Job, payload: usize, publishers: usize, subscribers: usize) -> Figures {
    let received = Arc::new(AtomicU64::new(0));
    let sockets: Vec<TcpStream> = (0..subscribers).map(|_| subscribe(job.gateway, ">")).collect();
    let mine = Arc::clone(&received);
    if let [_] = sockets[..] {
        std::thread::spawn(move || read_one(&sockets[0], &mine));
    } else {
        std::thread::spawn(move || read_many(sockets, &mine));
    }
    let topic = "bench";
    let frame_len = frames(topic, 0, payload, 1).len();
    for publisher in 0..publishers {
        let encoded = frames(topic, publisher as u64, payload, CHUNK.div_ceil(frame_len) as u64);
        publish(connect(job.gateway), encoded);
    }
    std::thread::sleep(WARM_UP);
    let before = received.load(Ordering::Relaxed);
    let clock = Clock::start(job.process);
    std::thread::sleep(job.window);
    let bytes = (received.load(Ordering::Relaxed) - before) as f64;
    clock.figures(bytes / frame_len as f64, bytes)
}

/// Sends the same bytes for ever.
pub fn publish(mut stream: TcpStream, encoded: Vec<u8>) {
    std::thread::spawn(move || while stream.write_all(&encoded).is_ok() {});
}

/// Counts what comes.
pub fn read_one(mut stream: &TcpStream, received: &AtomicU64) {
    let mut bytes = vec![0; CHUNK];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => lost(),
            Ok(n) => received.fetch_add(n as u64, Ordering::Relaxed),
        };
    }
}

/// Counts what comes on any of `streams`.
fn read_many(streams: Vec<TcpStream>, received: &AtomicU64) {
    let mut poll = Poll::new().expect("the system has one");
    let mut events = Events::with_capacity(streams.len());
    let mut bytes = vec![0; CHUNK];
    let mut streams: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            stream.set_nonblocking(true).expect("it is open");
            mio::net::TcpStream::from_std(stream)
        })
        .collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        poll.registry().register(stream, Token(at), Interest::READABLE).expect("it is open");
    }
    loop {
        poll.poll(&mut events, None).expect("polling goes on");
        for event in &events {
            let stream = &mut streams[event.token().0];
            // Until it would block, as an edge asks for.
            loop {
                match stream.read(&mut bytes) {
                    Ok(0) => lost(),
                    Ok(n) => received.fetch_add(n as u64, Ordering::Relaxed),
                    Err(_) => break,
                };
            }
        }
    }
}

/// A run without its subscriber has no figures.
fn lost() -> ! {
    eprintln!("the gateway closed a subscriber");
    std::process::exit(1);
}
