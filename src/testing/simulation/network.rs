//! A tiny network: sockets that take and give as few bytes at a time as chance has it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::handlers::{Program, SimProcess};
use crate::runtime::net::{Event, Net};
use crate::testing::heap;

/// Both ends of every connection.
pub struct World {
    /// Not after the time that it is.
    pub now: Instant,
    pub wires: Vec<Wire>,
    pub programs: Vec<Program>,
    /// The next program cannot be started.
    pub start_fails: bool,
    pub backlog: VecDeque<usize>,
    pub listening: bool,
    /// The next accept fails, as without file descriptors.
    pub accept_fails: bool,
    accept_event: bool,
    /// Nobody is told of resets.
    pub deaf: bool,
}

/// One connection, as the kernel sees it.
#[derive(Default)]
pub struct Wire {
    key: Option<u64>,
    /// At which listener of the gateway it came.
    pub listener: usize,
    /// How many bytes had come each way when.
    pub arrivals: Vec<(usize, Instant)>,
    pub answers: Vec<(usize, Instant)>,
    /// From the peer, not read by the gateway yet.
    pub arrived: VecDeque<u8>,
    pub peer_ended: bool,
    pub reset: bool,
    /// What had arrived before a reset can still be read.
    keeps_unread: bool,
    /// From the gateway, not read by the peer yet, and how much of that fits.
    pub to_peer: VecDeque<u8>,
    pub room: usize,
    pub gate_ended: bool,
    pub gate_closed: bool,
    /// Edges that the gateway was not told of yet.
    readable_edge: bool,
    writable_edge: bool,
}

impl World {
    /// A world in which the gateway listens.
    pub fn listening(now: Instant) -> World {
        World {
            now,
            wires: Vec::new(),
            programs: Vec::new(),
            start_fails: false,
            backlog: VecDeque::new(),
            listening: true,
            accept_fails: false,
            accept_event: false,
            deaf: false,
        }
    }

    /// A peer connects.
    pub fn connect(&mut self, room: usize) -> usize {
        self.wires.push(Wire { room, ..Wire::default() });
        let wire = self.wires.len() - 1;
        if self.listening {
            self.backlog.push_back(wire);
            self.accept_event = true;
        } else {
            self.wires[wire].reset = true;
            self.wires[wire].gate_closed = true;
        }
        wire
    }

    /// What the gateway is told of what happened since the last time.
    pub fn take_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.accept_event) && self.listening {
            events.push(Event::Accept);
        }
        for wire in &mut self.wires {
            let Some(key) = wire.key else { continue };
            let readable = std::mem::take(&mut wire.readable_edge);
            let writable = std::mem::take(&mut wire.writable_edge);
            if (readable || writable) && !(wire.reset && self.deaf) {
                let read_closed = wire.peer_ended || wire.reset;
                let reset = wire.reset;
                events.push(Event::Socket { key, readable, writable, read_closed, reset });
            }
        }
        self.programs.iter_mut().for_each(|program| program.take_events(&mut events));
        events
    }
}

impl Wire {
    /// Bytes from the peer arrive.
    pub fn arrive(&mut self, bytes: &[u8], now: Instant) {
        note(&mut self.arrivals, bytes.len(), now);
        self.arrived.extend(bytes);
        self.readable_edge = true;
    }

    /// The peer ends its sending side.
    pub fn end(&mut self) {
        self.peer_ended = true;
        self.readable_edge = true;
    }

    /// The connection breaks. Systems differ in whether what had arrived can still be read.
    pub fn break_off(&mut self, keeps_unread: bool) {
        self.reset = true;
        self.keeps_unread = keeps_unread;
        self.readable_edge = true;
        self.writable_edge = true;
    }

    /// The peer takes at most `max` bytes.
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let n = max.min(self.to_peer.len());
        let was_full = self.to_peer.len() >= self.room;
        self.writable_edge |= was_full && n > 0;
        take(&mut self.to_peer, n)
    }

    /// Whether the gateway has been told that the connection broke, and still has its socket.
    pub fn is_held_broken(&self) -> bool {
        self.reset && self.key.is_some() && !self.readable_edge && !self.writable_edge
    }

    /// Whether the gateway has it.
    pub fn is_accepted(&self) -> bool {
        self.key.is_some()
    }

    /// An event without a reason, which a system may give at any time.
    pub fn nudge(&mut self) {
        self.readable_edge = true;
        self.writable_edge = self.to_peer.len() < self.room;
    }
}

/// The gateway's side of the world.
pub struct SimNet(pub Rc<RefCell<World>>);

/// The gateway's side of a wire.
pub struct SimSocket {
    wire: usize,
    world: Rc<RefCell<World>>,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let wire = &mut self.world.borrow_mut().wires[self.wire];
        wire.gate_closed = true;
        wire.key = None;
    }
}

/// Notes that so many bytes more came.
fn note(times: &mut Vec<(usize, Instant)>, bytes: usize, now: Instant) {
    times.push((times.last().map_or(0, |(before, _)| *before) + bytes, now));
}

/// When so many bytes had come.
pub fn when(times: &[(usize, Instant)], bytes: usize) -> Instant {
    times[times.partition_point(|(came, _)| *came < bytes)].1
}

/// Takes the first bytes, of which there are enough.
pub fn take(from: &mut VecDeque<u8>, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    take_into(from, &mut bytes);
    bytes
}

/// Takes the first bytes, of which there are enough: by slices, since a fuzzer watches every step of a loop.
pub fn take_into(from: &mut VecDeque<u8>, to: &mut [u8]) {
    let (first, second) = from.as_slices();
    let (a, b) = to.split_at_mut(first.len().min(to.len()));
    a.copy_from_slice(&first[..a.len()]);
    b.copy_from_slice(&second[..b.len()]);
    from.drain(..to.len());
}

/// Writes as much as finds room in a buffer of so many bytes.
pub fn write(slices: &[io::IoSlice<'_>], buffer: &mut VecDeque<u8>, room: usize) -> io::Result<usize> {
    let mut left = room.saturating_sub(buffer.len());
    if left == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let mut n = 0;
    for slice in slices {
        let part = &slice[..slice.len().min(left)];
        buffer.extend(part);
        n += part.len();
        left -= part.len();
    }
    Ok(n)
}

impl Net for SimNet {
    type Socket = SimSocket;
    type Process = SimProcess;

    fn poll(&mut self, _: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        events.extend(self.0.borrow_mut().take_events());
        Ok(())
    }

    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn accept(&mut self) -> io::Result<(SimSocket, SocketAddr, usize)> {
        let _scope = heap::world();
        let mut world = self.0.borrow_mut();
        if !world.listening {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if std::mem::take(&mut world.accept_fails) {
            return Err(io::Error::other("too many open files"));
        }
        let wire = world.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let peer = SocketAddr::from(([10, 0, 0, 1], wire as u16));
        let listener = world.wires[wire].listener;
        Ok((SimSocket { wire, world: self.0.clone() }, peer, listener))
    }

    fn register(&mut self, socket: &mut SimSocket, key: u64) -> io::Result<()> {
        let _scope = heap::world();
        let wire = &mut self.0.borrow_mut().wires[socket.wire];
        wire.key = Some(key);
        wire.writable_edge = true;
        wire.readable_edge = !wire.arrived.is_empty() || wire.peer_ended || wire.reset;
        Ok(())
    }

    fn read(&mut self, socket: &mut SimSocket, bytes: &mut [u8]) -> io::Result<usize> {
        let _scope = heap::world();
        assert!(!bytes.is_empty(), "a read for nothing could not be told from the end");
        let wire = &mut self.0.borrow_mut().wires[socket.wire];
        if wire.reset && (!wire.keeps_unread || wire.arrived.is_empty()) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if wire.arrived.is_empty() {
            return if wire.peer_ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let n = bytes.len().min(wire.arrived.len());
        take_into(&mut wire.arrived, &mut bytes[..n]);
        Ok(n)
    }

    fn write(&mut self, socket: &mut SimSocket, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let _scope = heap::world();
        let world = &mut *self.0.borrow_mut();
        let wire = &mut world.wires[socket.wire];
        assert!(!wire.gate_ended, "nothing is written after the end");
        if wire.reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // A short write has found the buffer full: the peer's next read is an edge.
        let written = write(slices, &mut wire.to_peer, wire.room)?;
        note(&mut wire.answers, written, world.now);
        Ok(written)
    }

    fn is_at_end(&mut self, socket: &mut SimSocket) -> bool {
        let wire = &self.0.borrow().wires[socket.wire];
        wire.arrived.is_empty() && wire.peer_ended && !wire.reset
    }

    fn failure(&mut self, socket: &mut SimSocket) -> Option<io::ErrorKind> {
        self.0.borrow().wires[socket.wire].reset.then_some(io::ErrorKind::ConnectionReset)
    }

    fn shutdown_write(&mut self, socket: &mut SimSocket) {
        self.0.borrow_mut().wires[socket.wire].gate_ended = true;
    }

    fn listen(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn stop_listening(&mut self) {
        let _scope = heap::world();
        let mut world = self.0.borrow_mut();
        world.listening = false;
        for wire in std::mem::take(&mut world.backlog) {
            world.wires[wire].reset = true;
            world.wires[wire].gate_closed = true;
        }
    }

    fn start(&mut self, _: &[String], key: u64) -> io::Result<SimProcess> {
        let _scope = heap::world();
        let mut world = self.0.borrow_mut();
        if std::mem::take(&mut world.start_fails) {
            return Err(io::Error::other("too many processes"));
        }
        world.programs.push(Program::new(key));
        Ok(SimProcess { at: world.programs.len() - 1, world: self.0.clone() })
    }
}
