//! A server on a port of its own that does to each request whatever a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// What a connection does with the next request: `true` if it goes on with another.
pub type Answer = dyn Fn(&mut Asked) -> bool + Send + Sync;

/// A request, and the connection it came on.
pub struct Asked {
    pub socket: TcpStream,
    /// Which connection this is, from 0.
    pub connection: usize,
    /// Which request on it, from 0.
    pub request: usize,
    /// The request's head.
    pub head: String,
}

impl Asked {
    pub fn send(&mut self, bytes: &str) -> bool {
        self.socket.write_all(bytes.as_bytes()).is_ok()
    }

    /// Waits for more of the request, or for the client to close: nothing is ever answered.
    pub fn wait(&mut self) -> bool {
        while self.socket.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
        false
    }

    /// Breaks the connection off.
    pub fn reset(&mut self) -> bool {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
        false
    }
}

/// An answer as it should be.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The tests here count the process's sockets, so who opens some is alone.
static ALONE: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// When it is gone, the process has as many sockets as before it.
pub struct Server {
    pub address: SocketAddr,
    /// Where connections came from.
    pub peers: Arc<Mutex<Vec<SocketAddr>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    sockets: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    pub fn start(answer: impl Fn(&mut Asked) -> bool + Send + Sync + 'static) -> Server {
        Server::of(usize::MAX, answer)
    }

    /// A server that listens no more once it has accepted so many connections.
    pub fn of(most: usize, answer: impl Fn(&mut Asked) -> bool + Send + Sync + 'static) -> Server {
        let (alone, sockets) = (alone(), sockets());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (peers, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, ended, answer) = (peers.clone(), over.clone(), Arc::new(answer));
        let thread = thread::spawn(move || {
            let mut served = Vec::new();
            for connection in 0..most {
                let (socket, peer) = listener.accept().unwrap();
                if ended.load(Ordering::Acquire) {
                    break;
                }
                seen.lock().unwrap().push(peer);
                let answer = answer.clone();
                served.push(thread::spawn(move || serve(socket, connection, &*answer)));
            }
            drop(listener);
            served.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Server { address, peers, over, thread: Some(thread), sockets, _alone: alone }
    }

    pub fn url(&self) -> String {
        format!("http://{}/path", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Refused where it listens no more.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            if !thread::panicking() {
                assert!(joined.is_ok());
                assert_eq!(sockets(), self.sockets, "no socket is left");
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn sockets() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| entry.unwrap().path().read_link().ok());
    links.filter(|to| to.to_string_lossy().starts_with("socket:")).count()
}

#[cfg(not(target_os = "linux"))]
fn sockets() -> usize {
    0
}

fn serve(socket: TcpStream, connection: usize, answer: &Answer) {
    socket.set_nodelay(true).unwrap();
    let mut asked = Asked { socket, connection, request: 0, head: String::new() };
    while let Some(head) = read_head(&mut asked.socket) {
        asked.head = head;
        if !answer(&mut asked) {
            return;
        }
        asked.request += 1;
    }
}

/// A request's head; none at the end of the connection.
fn read_head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if socket.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
