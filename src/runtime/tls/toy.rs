//! A toy in the place of TLS, for the simulation: records with the same headers, a handshake of two flights each way, and
//! bytes that are changed on their way, so that what was not opened is no frame.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::SystemTime;

use super::{CertFault, Engine, Peer, Setup, TlsFault, dns_names};
use crate::core::limits::TOY_RECORD;

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const ALERT: u8 = 21;
const HEADER: usize = 5;
/// What bytes are changed with.
const PAD: u8 = 0xa5;

/// The first flight of a client, and the second.
pub const HELLO: &[u8] = b"hello";
/// See [`HELLO`].
pub const FINISHED: &[u8] = b"finished";
/// What the toy answers to the first.
pub const SERVER_HELLO: &[u8] = b"server hello";

/// A setup of toys, each of which takes clients by these names.
#[derive(Debug)]
pub struct ToySetup {
    /// Names of clients that it does not take.
    pub revoked: Vec<String>,
}

impl Setup for ToySetup {
    fn session(&self) -> Result<Box<dyn Engine>, TlsFault> {
        Ok(Box::new(Toy::default()))
    }

    fn verify(&self, chain: &[&[u8]]) -> Result<(), CertFault> {
        let is_revoked =
            chain.iter().any(|name| self.revoked.iter().any(|revoked| revoked.as_bytes() == *name));
        if is_revoked { Err(CertFault::Revoked) } else { Ok(()) }
    }

    fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        None
    }
}

impl ToySetup {
    /// One that takes everybody.
    pub fn shared() -> Arc<ToySetup> {
        Arc::new(ToySetup { revoked: Vec::new() })
    }
}

/// The gateway's side of a toy session.
#[derive(Debug, Default)]
pub struct Toy {
    came: Vec<u8>,
    plain: VecDeque<u8>,
    sealed: VecDeque<u8>,
    /// Flights that came.
    flights: u8,
    name: Option<String>,
    is_ended: bool,
}

/// A record of the toy's.
pub fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3];
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend(body.iter().map(|byte| byte ^ PAD));
    bytes
}

/// A client's first flight: it may say who it is.
pub fn hello(name: &str) -> Vec<u8> {
    record(HANDSHAKE, &[HELLO, name.as_bytes()].concat())
}

/// A client's second flight.
pub fn finished() -> Vec<u8> {
    record(HANDSHAKE, FINISHED)
}

/// What a client sends, in records.
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(TOY_RECORD).flat_map(|part| record(DATA, part)).collect()
}

/// A client's word that nothing more comes.
pub fn close_notify() -> Vec<u8> {
    record(ALERT, b"")
}

/// The records at the beginning of a stream: their kinds and bodies, and how many bytes they are.
pub fn open(bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
    let (mut at, mut all) = (0, Vec::new());
    while let Some(header) = bytes.get(at..at + HEADER) {
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let Some(body) = bytes.get(at + HEADER..at + HEADER + len) else { break };
        all.push((header[0], body.iter().map(|byte| byte ^ PAD).collect()));
        at += HEADER + len;
    }
    (all, at)
}

/// What a stream of records held beside the handshake, and whether its end was said.
pub fn opened(bytes: &[u8]) -> (Vec<u8>, bool) {
    let (records, _) = open(bytes);
    let is_ended = records.iter().any(|(kind, _)| *kind == ALERT);
    let data = records.into_iter().filter(|(kind, _)| *kind == DATA).flat_map(|(_, body)| body).collect();
    (data, is_ended)
}

impl Engine for Toy {
    fn take(&mut self, records: &mut &[u8]) -> Result<(), TlsFault> {
        // A few bytes at a time, as the real one does.
        let (now, later) = records.split_at(records.len().min(TOY_RECORD));
        *records = later;
        self.came.extend_from_slice(now);
        let (all, whole) = open(&self.came);
        self.came.drain(..whole);
        for (kind, body) in all {
            match kind {
                _ if self.is_ended => {}
                HANDSHAKE if self.flights == 0 && body.starts_with(HELLO) => {
                    let name = String::from_utf8_lossy(&body[HELLO.len()..]).into_owned();
                    self.name = Some(name).filter(|name| !name.is_empty());
                    self.flights = 1;
                    self.sealed.extend(record(HANDSHAKE, SERVER_HELLO));
                }
                HANDSHAKE if self.flights == 1 && body == FINISHED => self.flights = 2,
                DATA if self.flights == 2 => self.plain.extend(body),
                ALERT => self.is_ended = true,
                kind => return Err(TlsFault::Protocol(format!("a record of kind {kind}"))),
            }
        }
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let n = into.len().min(self.plain.len());
        into.iter_mut().zip(self.plain.drain(..n)).for_each(|(to, byte)| *to = byte);
        n
    }

    fn holds_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for slice in slices {
            for part in slice.chunks(TOY_RECORD) {
                if self.sealed.len() >= 2 * TOY_RECORD {
                    return Ok(taken);
                }
                self.sealed.extend(record(DATA, part));
                taken += part.len();
            }
        }
        Ok(taken)
    }

    fn write_to(&mut self, to: &mut dyn io::Write) -> io::Result<usize> {
        let (first, second) = self.sealed.as_slices();
        let n = to.write_vectored(&[IoSlice::new(first), IoSlice::new(second)])?;
        self.sealed.drain(..n);
        Ok(n)
    }

    fn holds_back(&self) -> bool {
        !self.sealed.is_empty()
    }

    fn close(&mut self) {
        self.sealed.extend(record(ALERT, b""));
    }

    fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn is_handshaking(&self) -> bool {
        self.flights < 2
    }

    fn peer(&self) -> Peer {
        let names = self.name.as_deref().map_or(Box::default(), |name| dns_names(&[name]));
        Peer { has_certificate: self.name.is_some(), names, is_resumed: false, version: "toy" }
    }

    fn check(&self, setup: &dyn Setup) -> Result<(), CertFault> {
        setup.verify(self.name.as_deref().map(str::as_bytes).as_slice())
    }
}
