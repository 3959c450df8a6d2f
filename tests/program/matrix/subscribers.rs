//! Subscribers that are there from the beginning and take everything at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::Scope;
use std::thread::ScopedJoinHandle;

use super::publishers::{connect, read_all};
use super::story::Watcher;
use super::wire::{self, Cutter, Head, encode};

/// Subscribes, waits until that has taken effect, and reads on a thread of its own.
pub fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    address: SocketAddr,
    patterns: &'scope [String],
    secret: Option<&'scope [u8]>,
) -> ScopedJoinHandle<'scope, Watcher> {
    let mut socket = subscribed(address, patterns, secret);
    scope.spawn(move || {
        let mut watcher = Watcher { patterns: patterns.to_vec(), ..Watcher::default() };
        watcher.end = read_all(&mut socket, secret, |frame| match (frame.kind, frame.status) {
            (wire::DATA, _) => watcher.got.push(frame),
            (wire::REPLY, wire::GAP) => watcher.gaps += frame.key,
            (wire::REPLY, wire::SLOW) => watcher.was_cut = true,
            _ => {}
        });
        watcher
    })
}

/// Subscribes, and waits until that has taken effect.
pub fn subscribed(address: SocketAddr, patterns: &[String], secret: Option<&[u8]>) -> TcpStream {
    let mut socket = connect(address).expect("the gateway listens");
    for (id, pattern) in (1..).zip(patterns) {
        let head = Head { kind: wire::SUBSCRIBE, want: true, id, ..Head::default() };
        socket.write_all(&encode(head, pattern.as_bytes(), b"", secret)).expect("the gateway reads");
    }
    // Nobody publishes yet, so these are all that comes.
    let mut cutter = Cutter::default();
    for _ in patterns {
        confirmed(&mut socket, &mut cutter, secret);
    }
    socket
}

fn confirmed(socket: &mut TcpStream, cutter: &mut Cutter, secret: Option<&[u8]>) {
    let mut bytes = [0; 4096];
    loop {
        if let Some(reply) = cutter.next(secret).expect("a reply") {
            assert_eq!((reply.kind, reply.status), (wire::REPLY, wire::OK), "{}", reply.text);
            return;
        }
        let n = socket.read(&mut bytes).expect("the gateway answers");
        assert!(n > 0, "the gateway stays");
        cutter.push(&bytes[..n]);
    }
}
