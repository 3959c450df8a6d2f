//! The gateways that are compared. Each file's first line names the one decision in which it differs.

mod blocking;
mod blocking_large;
mod codec;
mod current_thread;
mod framegate;
mod no_hash;
mod ordered;
mod our_hash;
mod pool;
mod streamed;
mod task;
mod threads;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ::framegate::core::limits::BACKLOG;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::hub::Hub;

/// A gateway that can be measured.
pub struct Variant {
    pub name: &'static str,
    /// Whether it drops what is not verified; only the ceiling does not.
    pub verifies: bool,
    /// Serves for ever; says first where. Told what to do about slow subscribers, where there is a choice.
    serve: fn(Option<&str>),
}

/// All of them, in the order of the table.
pub const VARIANTS: [Variant; 11] = [
    Variant { name: "framegate", verifies: true, serve: framegate::serve },
    Variant { name: "tokio-task", verifies: true, serve: |_| task::serve() },
    Variant { name: "tokio-streamed", verifies: true, serve: |_| streamed::serve() },
    Variant { name: "tokio-current-thread", verifies: true, serve: |_| current_thread::serve() },
    Variant { name: "tokio-blocking", verifies: true, serve: |_| blocking::serve() },
    Variant { name: "tokio-blocking-large", verifies: true, serve: |_| blocking_large::serve() },
    Variant { name: "tokio-pool", verifies: true, serve: |_| pool::serve() },
    Variant { name: "tokio-codec", verifies: true, serve: |_| codec::serve() },
    Variant { name: "our-hash", verifies: true, serve: |_| our_hash::serve() },
    Variant { name: "threads", verifies: true, serve: |_| threads::serve() },
    Variant { name: "no-hash", verifies: false, serve: |_| no_hash::serve() },
];

impl Variant {
    pub fn find(name: &str) -> Option<&'static Variant> {
        VARIANTS.iter().find(|variant| variant.name == name)
    }

    /// Whether ratios are taken to it.
    pub fn is_rival(&self) -> bool {
        self.name.starts_with("tokio-")
    }

    /// Whether nothing of Framegate's makes it fast.
    pub fn is_independent(&self) -> bool {
        !["framegate", "our-hash"].contains(&self.name)
    }

    /// Runs this process as the gateway, until its standard input ends.
    pub fn run(&self, slow: Option<&str>) {
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(0);
        });
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        (self.serve)(slow);
    }
}

/// Any free port.
fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Tells the process that started this one where to connect.
fn say(address: SocketAddr) {
    println!("{address}");
    std::io::stdout().flush().expect("who started this listens");
}

/// A listener as Framegate's: a queue of 4,096.
fn listen() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&anywhere().into()).expect("a free port");
    socket.listen(BACKLOG).expect("it is bound");
    let listener = TcpListener::from(socket);
    say(listener.local_addr().expect("it is bound"));
    listener
}

/// A runtime with as many threads as there are cores, and one less for what blocks: of the 512 that are
/// usual, each hash would wake another.
fn multi_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads((cores() - 1).max(1)).build().expect("threads")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Accepts on `runtime` for ever; each connection is a task that `serve` makes.
fn accept<F>(runtime: &Runtime, serve: impl Fn(TcpStream, Arc<Hub>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    runtime.block_on(async {
        let listener = listen();
        listener.set_nonblocking(true).expect("it is open");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a reactor");
        let hub = Arc::new(Hub::default());
        loop {
            if let Ok((stream, _)) = listener.accept().await
                && stream.set_nodelay(true).is_ok()
            {
                tokio::spawn(serve(stream, Arc::clone(&hub)));
            }
        }
    });
}
