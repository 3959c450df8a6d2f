//! A gateway on a port of its own, and plain sockets to talk to it.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod desk;
pub mod nginx;
pub mod process;
pub mod skipped;
pub mod socket;
pub mod store;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framegate::gateway::Config;
use framegate::gateway::ledger::Ledger;
use framegate::gateway::snapshot::Snapshot;
use framegate::gateway::{Control, Gateway};
use framegate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, encode};
use socket::{Peers, Socket};

/// Longer than anything takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Running {
    pub address: SocketAddr,
    pub scheme: Scheme,
    control: Control,
    peers: Mutex<Peers>,
    thread: Option<JoinHandle<io::Result<Ledger>>>,
}

/// Starts a gateway with two workers.
pub fn start(config: Config) -> Running {
    start_with(config, |gateway| gateway)
}

/// The same, with what `add` adds to it.
pub fn start_with(config: Config, add: impl FnOnce(Gateway) -> Gateway) -> Running {
    let scheme = config.scheme.clone();
    let gateway = add(Gateway::bind(([127, 0, 0, 1], 0).into(), 2, config).expect("a free port"));
    let (address, control) = (gateway.local_addr(), gateway.control());
    let thread = std::thread::spawn(move || gateway.run());
    Running { address, scheme, control, peers: Mutex::default(), thread: Some(thread) }
}

impl Running {
    pub fn connect(&self) -> Client {
        let client = Client::connect(self.address, self.scheme.clone());
        self.peers.lock().unwrap().add(&client.socket);
        client
    }

    /// A client that gets what matches `pattern` from now on.
    pub fn subscriber(&self, pattern: &str) -> Client {
        let mut client = self.connect();
        client.send(Header { want_reply: true, ..Header::new(Kind::Subscribe) }, pattern.as_bytes(), b"");
        assert_eq!(client.next().status(), Some(Status::Ok));
        client
    }

    /// A handle to steer it by.
    pub fn control(&self) -> &Control {
        &self.control
    }

    pub fn begin_drain(&self) {
        self.control.drain();
    }

    /// Drains, and checks that every frame has its fate. Its clients close once they are told that it ends, as programs
    /// do; [`Running::leave`] is for those that do not.
    pub fn stop(self) -> Ledger {
        self.control.drain();
        let thread = self.thread.as_ref().expect("it runs");
        self.peers.lock().unwrap().close_when_told(|| thread.is_finished());
        self.leave()
    }

    /// The same with clients that never close.
    pub fn leave(mut self) -> Ledger {
        self.control.drain();
        let ledger = self.thread.take().expect("it runs").join().expect("no panic").expect("no error");
        assert!(ledger.is_balanced(), "{ledger}");
        ledger
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.drain();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the gateway panicked");
        }
    }
}

/// A frame that a client got.
#[derive(Clone, Debug, PartialEq)]
pub struct Got {
    pub header: Header,
    pub topic: String,
    pub payload: Vec<u8>,
    pub bytes: Vec<u8>,
}

impl Got {
    /// The status, if it is a reply.
    pub fn status(&self) -> Option<Status> {
        (self.header.kind == Kind::Reply).then(|| Status::from_u16(self.header.status).expect("a known one"))
    }
}

pub struct Client {
    pub socket: Socket,
    pub scheme: Scheme,
    decoder: Decoder,
}

impl Client {
    pub fn connect(address: SocketAddr, scheme: Scheme) -> Client {
        let socket = TcpStream::connect(address).expect("the gateway listens");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let socket = Socket::from(socket);
        Client { socket, scheme, decoder: Decoder::new(Rules { payload_max: u32::MAX, replies: true }) }
    }

    pub fn frame(&self, header: Header, topic: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(header, topic, payload, &self.scheme, &mut bytes);
        bytes
    }

    pub fn send(&mut self, header: Header, topic: &[u8], payload: &[u8]) {
        let bytes = self.frame(header, topic, payload);
        self.write(&bytes);
    }

    /// Sends DATA that asks for a reply, and returns the reply's status and reason.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> (Status, String) {
        self.send(data(1), topic.as_bytes(), payload);
        let reply = self.next();
        (reply.status().expect("a reply"), String::from_utf8(reply.payload).unwrap())
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the gateway reads");
    }

    /// The next frame, its digest checked.
    pub fn next(&mut self) -> Got {
        self.try_next().expect("the connection stays").expect("the connection goes on")
    }

    /// The next frame; none at the end; an error where the connection broke or nothing came.
    pub fn try_next(&mut self) -> io::Result<Option<Got>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("the gateway sends frames") {
                assert!(frame.is_intact(&self.scheme), "the gateway sends right digests");
                return Ok(Some(Got {
                    header: frame.header,
                    topic: String::from_utf8(frame.topic().to_vec()).unwrap(),
                    payload: frame.payload().to_vec(),
                    bytes: frame.bytes.to_vec(),
                }));
            }
            let n = self.socket.read(self.decoder.spare())?;
            if n == 0 {
                assert_eq!(self.decoder.pending(), 0, "the gateway ends between frames");
                return Ok(None);
            }
            self.decoder.advance(n);
        }
    }

    /// Everything until the gateway ends the connection.
    pub fn rest(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        while let Some(got) = self.try_next().expect("an orderly end") {
            all.push(got);
        }
        all
    }

    /// Sends nothing more.
    pub fn end(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("it is open");
    }
}

/// Looks at the gateway until it is as wanted.
pub fn look_until(gateway: &Running, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let began = Instant::now();
    loop {
        let snapshot = gateway.control().describe(false).expect("it runs");
        if is_so(&snapshot) {
            return snapshot;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        std::thread::yield_now();
    }
}

/// Breaks the connection off, as the system does for a killed process that had not read everything.
pub fn reset(socket: impl AsFd) {
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("it is open");
}

/// A DATA header that asks for a reply.
pub fn data(id: u64) -> Header {
    Header { want_reply: true, id, ..Header::new(Kind::Data) }
}

/// A DATA header that does not.
pub fn silent(id: u64) -> Header {
    Header { id, ..Header::new(Kind::Data) }
}

/// Bytes that differ from place to place.
pub fn payload(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251 + salt * 7) as u8).collect()
}
