//! One connection's TLS: records on one side of it, bytes on the other.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use crate::core::limits::{
    HANDSHAKE_COST, HANDSHAKE_READ, HANDSHAKE_STEPS, HANDSHAKE_TIME, TLS_RECORD, TLS_SEALED_COST,
};
use crate::core::memory::{Charge, Memory, Share};
use crate::runtime::net::{Moment, Net, SocketWriter};
use crate::runtime::tls::{
    CertFault, Engine, Handshake, Peer, Records, Setup, SharedSetup, TlsFault, whole_records,
};
use crate::wire::Fault;
use crate::wire::access::CertName;

/// What every record of a handshake that begins begins with: its kind, and the first byte of every version.
const BEGINS: [u8; 2] = [22, 3];

/// A connection's TLS.
pub struct Secure {
    /// None while a worker has it.
    session: Option<Box<dyn Engine>>,
    /// None once it is open.
    setup: Option<SharedSetup>,
    /// With which change of the setups it came.
    generation: u32,
    /// Records that came and were not taken: of the handshake, or of what came right behind it.
    input: Vec<u8>,
    records: Records,
    steps: u8,
    /// Whether anything came.
    has_begun: bool,
    /// It waits for a worker.
    is_queued: bool,
    /// The last read ended before the socket did.
    has_more: bool,
    is_closed: bool,
    /// What came behind what was read: it is told by the next read.
    broken: Option<ErrorKind>,
    fault: Option<TlsFault>,
    until: Moment,
    peer: Peer,
    charge: Charge,
}

/// Reads from a socket, through TLS where there is some. It fills `into` as far as the socket has anything; less is all
/// that was there, but where [`has_more`](Secure::has_more) says otherwise.
pub fn read<N: Net>(
    net: &mut N,
    scratch: &mut [u8],
    socket: &mut N::Socket,
    secure: Option<&mut Secure>,
    into: &mut [u8],
) -> io::Result<usize> {
    match secure {
        None => net.read(socket, into),
        Some(secure) => secure.read(net, scratch, socket, into),
    }
}

/// Writes to a socket, through TLS where there is some. What TLS has taken counts as written.
pub fn write<N: Net>(
    net: &mut N,
    socket: &mut N::Socket,
    secure: Option<&mut Secure>,
    slices: &mut [IoSlice<'_>],
) -> io::Result<usize> {
    match secure {
        None => net.write(socket, slices),
        Some(secure) => secure.write(net, socket, slices),
    }
}

impl Secure {
    /// A session that has not begun.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub fn new(
        (setup, generation): (SharedSetup, u32),
        memory: &Arc<Memory>,
        now: Instant,
    ) -> Result<Secure, TlsFault> {
        Ok(Secure {
            session: Some(setup.session()?),
            setup: Some(setup),
            generation,
            input: Vec::new(),
            records: Records::default(),
            steps: 0,
            has_begun: false,
            is_queued: false,
            has_more: false,
            is_closed: false,
            broken: None,
            fault: None,
            until: (now + HANDSHAKE_TIME).into(),
            peer: Peer::default(),
            charge: memory.charge(Share::Small, HANDSHAKE_COST),
        })
    }

    /// Whether it is not agreed on yet.
    pub fn is_shaking(&self) -> bool {
        self.setup.is_some()
    }

    /// When it must be.
    pub fn deadline(&self) -> Instant {
        self.until.get()
    }

    /// The names in the client's certificate.
    pub fn names(&self) -> &[CertName] {
        &self.peer.names
    }

    /// The version of the protocol, for people; nothing before it is agreed on.
    pub fn version(&self) -> &'static str {
        self.peer.version
    }

    /// Who the client is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether a worker has it, or is to get it: then nothing is read of it.
    pub fn waits(&self) -> bool {
        self.session.is_none() || self.is_queued
    }

    /// Whether the last read ended before the socket did.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether nothing that came is left in it.
    pub fn is_drained(&self) -> bool {
        self.input.is_empty() && !self.session.as_ref().is_some_and(|session| session.holds_plain())
    }

    /// Whether a record has begun and is not whole.
    pub fn is_amid(&self) -> bool {
        !self.records.is_between()
    }

    /// Why it failed, if it did: once.
    pub fn take_fault(&mut self) -> Option<TlsFault> {
        self.fault.take()
    }

    /// Whether something was sealed and not written.
    pub fn holds_back(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.holds_back())
    }

    /// Reads what came of a handshake, unless a worker is at it. Whether a step of it can be done now that could not be
    /// before; an error is [`ErrorKind::UnexpectedEof`] at the end.
    pub fn read_handshake<N: Net>(
        &mut self,
        net: &mut N,
        scratch: &mut [u8],
        socket: &mut N::Socket,
    ) -> Result<ReadHandshake, TlsFault> {
        if self.session.is_none() || self.is_queued || self.input.len() >= TLS_RECORD {
            return Ok(ReadHandshake { readable: true, is_ready: false });
        }
        let room = scratch.len().min(HANDSHAKE_READ);
        let n = match net.read(socket, &mut scratch[..room]) {
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                return Ok(ReadHandshake { readable: false, is_ready: false });
            }
            Ok(0) | Err(_) => return Err(TlsFault::Cut),
            Ok(n) => n,
        };
        self.records.advance(&scratch[..n]);
        self.input.extend_from_slice(&scratch[..n]);
        self.recharge();
        if !self.has_begun {
            let first = &self.input[..self.input.len().min(BEGINS.len())];
            if !BEGINS.starts_with(first) {
                return Err(TlsFault::NotTls(fault_of(&self.input)));
            }
            self.has_begun = first.len() == BEGINS.len();
        }
        // Where a header lies about its length, it is for the session to say so.
        let is_ready = whole_records(&self.input) > 0;
        if !is_ready && self.input.len() > TLS_RECORD {
            return Err(TlsFault::Protocol("a record that is longer than any may be".into()));
        }
        self.is_queued = is_ready;
        Ok(ReadHandshake { readable: n == room, is_ready })
    }

    /// A step of the handshake, for a worker; none where there is nothing to be done, or it came too late.
    pub fn begin_step(&mut self, now: Instant) -> Option<Box<Handshake>> {
        self.is_queued = false;
        if now >= self.deadline() || whole_records(&self.input) == 0 {
            return None;
        }
        let (session, setup) = (self.session.take()?, self.setup.clone()?);
        Some(Box::new(Handshake { session, setup, input: std::mem::take(&mut self.input), found: Ok(None) }))
    }

    /// A step came back: whether the next can be done at once; none where it is open now.
    ///
    /// # Errors
    /// Why there is no session. What the peer is told of it can still be [flushed](Self::flush).
    pub fn end_step(&mut self, step: Handshake) -> Result<Option<bool>, TlsFault> {
        let Handshake { session, input, found, .. } = step;
        (self.session, self.input) = (Some(session), input);
        self.steps += 1;
        match found? {
            None if self.steps >= HANDSHAKE_STEPS => Err(TlsFault::Pieces),
            None => {
                self.recharge();
                self.is_queued = whole_records(&self.input) > 0;
                Ok(Some(self.is_queued))
            }
            Some(peer) => {
                (self.peer, self.setup) = (peer, None);
                self.recharge();
                Ok(None)
            }
        }
    }

    /// Whether a setup takes the client, if it was not judged by it.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&mut self, setup: &dyn Setup, generation: u32) -> Result<(), CertFault> {
        self.generation = generation;
        self.session.as_ref().map_or(Ok(()), |session| session.check(setup))
    }

    /// With which change of the setups it was judged.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    fn read<N: Net>(
        &mut self,
        net: &mut N,
        scratch: &mut [u8],
        socket: &mut N::Socket,
        into: &mut [u8],
    ) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return Err(ErrorKind::WouldBlock.into()) };
        // Records without anything in them are read, too; others are to get their turn.
        let (mut filled, mut left) = (0, 2 * into.len() + TLS_RECORD);
        self.has_more = false;
        let ended = loop {
            filled += session.read(&mut into[filled..]);
            let room = (into.len() - filled).min(scratch.len());
            if room == 0 {
                break Ended::Full;
            }
            // What it gives when it is opened is no more than there is room for, beside one record that came before.
            let (records, is_short) = if !self.input.is_empty() {
                let n = self.input.len().min(room);
                scratch[..n].copy_from_slice(&self.input[..n]);
                self.input.drain(..n);
                if self.input.is_empty() {
                    self.input = Vec::new();
                }
                (n, false)
            } else if session.is_ended() {
                break Ended::End;
            } else if left == 0 {
                break Ended::Full;
            } else if let Some(kind) = self.broken.take() {
                break Ended::Broken(kind);
            } else {
                match net.read(socket, &mut scratch[..room]) {
                    Ok(0) => break Ended::End,
                    Ok(n) => {
                        left = left.saturating_sub(n);
                        self.records.advance(&scratch[..n]);
                        (n, n < room)
                    }
                    Err(why) if why.kind() == ErrorKind::WouldBlock => break Ended::Drained,
                    Err(why) => break Ended::Broken(why.kind()),
                }
            };
            let mut came = &scratch[..records];
            while !came.is_empty() {
                if let Err(fault) = session.take(&mut came) {
                    self.fault = Some(fault);
                    break;
                }
                // It takes no more than about a record before what that held is read.
                filled += session.read(&mut into[filled..]);
            }
            if self.fault.is_some() {
                filled += session.read(&mut into[filled..]);
                // The peer is told, if it still listens.
                let _ = flush(&mut **session, net, socket);
                break Ended::Broken(ErrorKind::InvalidData);
            }
            if is_short && !session.is_ended() {
                filled += session.read(&mut into[filled..]);
                if filled < into.len() {
                    break Ended::Drained;
                }
            }
        };
        if !session.holds_plain() && self.records.is_between() {
            session.shrink();
        }
        self.recharge();
        match ended {
            Ended::Full => {
                self.has_more = true;
                if filled == 0 { Err(ErrorKind::Interrupted.into()) } else { Ok(filled) }
            }
            Ended::Drained if filled == 0 => Err(ErrorKind::WouldBlock.into()),
            Ended::Drained => Ok(filled),
            Ended::End => {
                self.has_more = filled > 0;
                Ok(filled)
            }
            Ended::Broken(kind) if filled == 0 => Err(kind.into()),
            Ended::Broken(kind) => {
                (self.broken, self.has_more) = (Some(kind), true);
                Ok(filled)
            }
        }
    }

    fn write<N: Net>(
        &mut self,
        net: &mut N,
        socket: &mut N::Socket,
        mut slices: &mut [IoSlice<'_>],
    ) -> io::Result<usize> {
        let mut written = 0;
        if let Some(session) = self.session.as_mut().filter(|_| self.setup.is_none() && !self.is_closed) {
            while flush(&mut **session, net, socket)? {
                let n = session.seal(slices)?;
                written += n;
                IoSlice::advance_slices(&mut slices, n);
                if n == 0 {
                    break;
                }
            }
        }
        self.recharge();
        Ok(written)
    }

    /// Writes what was sealed before. Whether the system took all of it.
    pub fn flush<N: Net>(&mut self, net: &mut N, socket: &mut N::Socket) -> io::Result<bool> {
        let Some(session) = &mut self.session else { return Ok(true) };
        let flushed = flush(&mut **session, net, socket);
        self.recharge();
        flushed
    }

    /// Says that nothing more comes, once.
    pub fn close(&mut self) {
        if let Some(session) = self.session.as_mut().filter(|_| self.setup.is_none() && !self.is_closed) {
            session.close();
            self.is_closed = true;
        }
    }

    /// Charges what it holds beside what every connection costs.
    fn recharge(&mut self) {
        let session = self.session.as_ref();
        let part = |is_held: bool, bytes| if is_held { bytes } else { 0 };
        let bytes = self.input.capacity()
            + part(self.setup.is_some(), HANDSHAKE_COST)
            + part(self.setup.is_none() && self.holds_back(), TLS_SEALED_COST)
            + part(session.is_some_and(|session| session.holds_plain()), TLS_RECORD);
        if bytes != self.charge.bytes() {
            self.charge.resize(bytes);
        }
    }
}

/// What came of reading a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadHandshake {
    /// There may be more.
    pub readable: bool,
    /// A step can be done.
    pub is_ready: bool,
}

/// Why a read ended.
enum Ended {
    /// There is no room for more, or others are to get their turn.
    Full,
    /// The socket has nothing more.
    Drained,
    /// The stream is at its end.
    End,
    Broken(ErrorKind),
}

/// Writes what a session has sealed. Whether the system took all of it.
fn flush<N: Net>(session: &mut dyn Engine, net: &mut N, socket: &mut N::Socket) -> io::Result<bool> {
    while session.holds_back() {
        match session.write_to(&mut SocketWriter(net, socket)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(why) => return Err(why),
        }
    }
    Ok(true)
}

/// What bytes are that are not TLS.
fn fault_of(bytes: &[u8]) -> Fault {
    let mut seen = [0; 8];
    let len = bytes.len().min(seen.len());
    seen[..len].copy_from_slice(&bytes[..len]);
    Fault::Magic { seen, len: len as u8 }
}
