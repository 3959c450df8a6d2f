//! All clients of a kind: one thread of low priority, sockets that never block, a bounded rate.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framegate::wire::{Decoder, Rules};
use socket2::{Domain, Socket, Type};

use super::kinds::{Act, Kind, Place, Plan, Port, Reads};
use super::support;

/// Each client acts once in so long. Late ones do not make up for it.
const TICK: Duration = Duration::from_millis(5);

/// A client that trickles reads so many bytes in so many ticks: 10 KiB/s.
const TRICKLE: usize = 1024;
const TRICKLE_TICKS: usize = 20;

/// Whom they attack.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub native: SocketAddr,
    pub admin: SocketAddr,
    pub payload_max: usize,
    /// They send so many times slower than planned.
    pub slower: usize,
}

/// What they did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub bytes: u64,
    pub connections: u64,
    /// Connections that the gateway ended.
    pub ended: u64,
    /// The part of a core that they took.
    pub cores: f64,
}

/// They act until they are stopped.
pub struct Clients {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sent>>,
}

impl Clients {
    pub fn start(kind: Kind, count: usize, target: Target) -> Clients {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = std::thread::spawn(move || {
            // On Linux it is the thread's own; without it they are only less fair.
            let _ = rustix::process::nice(10);
            let mut clients: Vec<Client> =
                (0..count).map(|index| Client::new(kind.plan(), index, target)).collect();
            let (began, mut sent, mut scratch) = (Instant::now(), Sent::default(), vec![0; 64 * 1024]);
            let mut due = began;
            while !over.load(Ordering::Acquire) {
                for client in &mut clients {
                    client.tick(kind, target, &mut sent, &mut scratch);
                }
                due = (due + TICK).max(Instant::now() - TICK);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            sent.cores = thread_time() / began.elapsed().as_secs_f64();
            sent
        });
        Clients { is_over, thread: Some(thread) }
    }

    /// Their connections end with them.
    pub fn stop(mut self) -> Sent {
        self.is_over.store(true, Ordering::Release);
        self.thread.take().expect("they are stopped once").join().expect("clients do not panic")
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// Seconds of a processor that this thread has had.
fn thread_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

struct Client {
    plan: Plan,
    index: usize,
    socket: Option<TcpStream>,
    /// What it sends, and how much of that is sent.
    out: Vec<u8>,
    at: usize,
    /// What it may send and connect, in bytes and connections.
    bytes: f64,
    connects: f64,
    bytes_a_tick: f64,
    ticks: usize,
    step: usize,
    count: usize,
    decoder: Decoder,
    read: usize,
}

impl Client {
    fn new(plan: Plan, index: usize, target: Target) -> Client {
        let bytes_a_tick = plan.bytes as f64 * TICK.as_secs_f64() / target.slower as f64;
        let (socket, out) = (None, Vec::new());
        // All of them connect at once, and then at their rate.
        Client {
            plan,
            index,
            socket,
            out,
            at: 0,
            bytes: 0.0,
            connects: 1.0,
            bytes_a_tick,
            ticks: index,
            step: 0,
            count: 0,
            decoder: decoder(),
            read: 0,
        }
    }

    fn tick(&mut self, kind: Kind, target: Target, sent: &mut Sent, scratch: &mut [u8]) {
        self.ticks += 1;
        // What is not used does not add up.
        self.bytes = (self.bytes + self.bytes_a_tick).min(self.bytes_a_tick.max(1.0) * 2.0);
        self.connects = (self.connects + self.plan.connects * TICK.as_secs_f64()).min(1.0);
        if self.socket.is_none() && self.connects >= 1.0 {
            self.connects -= 1.0;
            self.connect(target, sent);
        }
        if self.socket.is_some() && !(self.read_some(scratch) && self.write_some(kind, target, sent)) {
            sent.ended += 1;
            self.socket = None;
        }
    }

    fn connect(&mut self, target: Target, sent: &mut Sent) {
        let to = if self.plan.port == Port::Native { target.native } else { target.admin };
        // One address each: what was closed keeps its port for a minute.
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 1, 1 + (self.index % 250) as u8), 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("files are left");
        if self.plan.reads != Reads::Everything {
            // What is not read is to be the gateway's to hold, not the system's.
            socket.set_recv_buffer_size(4096).expect("a size");
        }
        let connected = socket
            .bind(&from.into())
            .and_then(|()| socket.connect_timeout(&to.into(), Duration::from_secs(1)))
            .and_then(|()| socket.set_nonblocking(true));
        // One that is not let in tries again.
        if connected.is_ok() {
            sent.connections += 1;
            self.socket = Some(socket.into());
            (self.at, self.step, self.read) = (0, 0, 0);
            self.out.clear();
            self.decoder = decoder();
        }
    }

    /// Whether the connection goes on.
    fn read_some(&mut self, scratch: &mut [u8]) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let (most, times) = match self.plan.reads {
            Reads::Nothing => return true,
            Reads::Trickle if !self.ticks.is_multiple_of(TRICKLE_TICKS) => return true,
            Reads::Trickle => (TRICKLE, 1),
            Reads::Everything => (scratch.len(), 4),
        };
        for _ in 0..times {
            match socket.read(&mut scratch[..most]) {
                Ok(0) => return false,
                Ok(n) if self.plan.port == Port::Native => {
                    self.read += count_frames(&mut self.decoder, &scratch[..n]);
                }
                Ok(_) => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Whether the connection goes on.
    fn write_some(&mut self, kind: Kind, target: Target, sent: &mut Sent) -> bool {
        while self.bytes >= 1.0 {
            if self.at == self.out.len() {
                let Client { index, step, count, read, .. } = *self;
                let place = Place { index, step, count, read, payload_max: target.payload_max };
                self.out.clear();
                self.at = 0;
                let act = kind.next(place, &mut self.out);
                if act == Act::Wait {
                    return true;
                }
                self.step += 1;
                self.count += 1;
                let socket = self.socket.take().expect("it is open");
                match act {
                    Act::Reset => support::reset(socket),
                    Act::Close => drop(socket),
                    Act::HalfClose => {
                        // It may be gone.
                        let _ = socket.shutdown(Shutdown::Write);
                        self.socket = Some(socket);
                    }
                    Act::Send | Act::Wait => self.socket = Some(socket),
                }
                if self.socket.is_none() {
                    return true;
                }
            }
            let Some(socket) = &mut self.socket else { return true };
            let rest = &self.out[self.at..];
            let most = rest.len().min(self.plan.write).min(self.bytes as usize);
            if most == 0 {
                continue;
            }
            match socket.write(&rest[..most]) {
                Ok(n) => {
                    self.at += n;
                    self.bytes -= n as f64;
                    sent.bytes += n as u64;
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

/// How many frames these bytes are the last of.
fn count_frames(decoder: &mut Decoder, mut bytes: &[u8]) -> usize {
    let mut frames = 0;
    while !bytes.is_empty() {
        let spare = decoder.spare();
        let n = bytes.len().min(spare.len());
        spare[..n].copy_from_slice(&bytes[..n]);
        decoder.advance(n);
        bytes = &bytes[n..];
        while decoder.next_frame().expect("the gateway sends frames").is_some() {
            frames += 1;
        }
    }
    frames
}

fn decoder() -> Decoder {
    Decoder::new(Rules { payload_max: u32::MAX, replies: true })
}
