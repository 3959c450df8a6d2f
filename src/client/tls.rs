//! A client's TLS: whom it trusts, and who it is.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ClientConnection;

use super::Error;
use super::stream::Stream;
use crate::core::limits::TLS_SEALED;
use crate::runtime::tls::{ClientFiles, ClientTls, said_of};

/// 10 s for the handshake: as long as a gateway waits for it.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// 64 KiB of records read at once.
const READ: usize = 64 * 1024;

/// What a client's TLS is made of. Files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The authority that has issued the gateway's certificate; those that the system trusts if none.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, and its key, where the gateway asks for one.
    pub cert: Option<(PathBuf, PathBuf)>,
    /// The name that the gateway's certificate is for, where it is not the host that is connected to.
    pub server_name: Option<String>,
}

/// How a client speaks TLS: for [`PublisherOptions::tls`](super::PublisherOptions::tls) and
/// [`Subscriber::open_tls`](super::Subscriber::open_tls).
#[derive(Clone, Debug)]
pub struct Tls(pub(crate) ClientTls);

impl Tls {
    /// As the options say. Files are read now.
    ///
    /// # Errors
    /// [`Error::Options`], in one line with the mend.
    pub fn new(options: &TlsOptions) -> Result<Tls, Error> {
        Tls::with(options, true)
    }

    /// The same, for connections of which each stands for a client of its own where `resumes` is false.
    pub(crate) fn with(options: &TlsOptions, resumes: bool) -> Result<Tls, Error> {
        let read = |option: &str, path: &PathBuf| {
            fs::read(path).map_err(|why| {
                Error::Options(format!("--{option} {}: {why}: give a PEM file", path.display()))
            })
        };
        let ca = options.ca.as_ref().map(|path| read("ca", path)).transpose()?;
        let own = match &options.cert {
            None => None,
            Some((cert, key)) => Some((read("cert", cert)?, read("key", key)?)),
        };
        let files =
            ClientFiles { ca: ca.as_deref(), own: own.as_ref().map(|(cert, key)| (&cert[..], &key[..])) };
        ClientTls::new(files, options.server_name.as_deref(), resumes).map(Tls).map_err(|(option, wrong)| {
            let path = match (option, &options.ca, &options.cert) {
                ("ca", Some(path), _) | ("cert", _, Some((path, _))) | ("key", _, Some((_, path))) => {
                    format!(" {}", path.display())
                }
                _ => String::new(),
            };
            Error::Options(format!("--{option}{path}: {wrong}"))
        })
    }

    /// Agrees on TLS over a connection to `to`.
    pub(super) fn agree(&self, socket: TcpStream, to: &str) -> io::Result<Stream> {
        let tls = self.0.to(to).map_err(|why| failed(&why))?;
        let mut session = tls.session().map_err(|why| failed(&said_of(&why)))?;
        let until = Instant::now() + HANDSHAKE;
        let mut buffer = vec![0; READ];
        let (mut at, mut end) = (0, 0);
        while session.is_handshaking() || session.wants_write() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(failed("it did not answer the TLS handshake in time: is that its port for TLS?"));
            }
            socket.set_read_timeout(Some(left))?;
            socket.set_write_timeout(Some(left))?;
            if session.wants_write() {
                session.write_tls(&mut &socket)?;
                continue;
            }
            if at == end {
                (at, end) = match (&socket).read(&mut buffer) {
                    Ok(0) => {
                        return Err(failed("it closed the connection in the middle of the TLS handshake"));
                    }
                    Ok(n) => (0, n),
                    Err(why) if is_only_late(&why) => continue,
                    Err(why) => return Err(why),
                };
            }
            at += session.read_tls(&mut &buffer[at..end])?;
            if let Err(why) = session.process_new_packets() {
                // The gateway is told, if it still listens.
                let _ = session.write_tls(&mut &socket);
                return Err(failed(&said_of(&why)));
            }
        }
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        session.set_buffer_limit(Some(TLS_SEALED));
        let came = Came { bytes: buffer, at, end };
        let channel = Channel {
            session: Mutex::new(session),
            came: Mutex::new(came),
            unsent: Mutex::new(Unsent::default()),
        };
        Ok(Stream::sealed(socket, channel))
    }
}

/// TLS on one connection, which one thread reads and another writes.
pub struct Channel {
    session: Mutex<ClientConnection>,
    came: Mutex<Came>,
    unsent: Mutex<Unsent>,
}

/// Records that came and were not taken.
struct Came {
    bytes: Vec<u8>,
    at: usize,
    end: usize,
}

/// Records that were sealed and not sent, and how many bytes they hold of which nobody was told yet.
#[derive(Default)]
struct Unsent {
    records: Vec<u8>,
    at: usize,
    holds: usize,
}

impl Channel {
    /// Reads what the gateway said; 0 at the end, whether or not it announced that: a frame that is cut is none.
    pub fn read(&self, mut socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        let came = &mut *self.came.lock();
        let mut filled = 0;
        loop {
            {
                let mut session = self.session.lock();
                while filled < into.len() {
                    match session.reader().read(&mut into[filled..]) {
                        Ok(0) => return Ok(filled),
                        Ok(n) => filled += n,
                        Err(why) if why.kind() == ErrorKind::WouldBlock => {
                            if came.at == came.end {
                                break;
                            }
                            came.at += session.read_tls(&mut &came.bytes[came.at..came.end])?;
                            session.process_new_packets().map_err(|why| failed(&said_of(&why)))?;
                        }
                        Err(_) => return Ok(filled),
                    }
                }
            }
            if filled > 0 {
                return Ok(filled);
            }
            // Not under the lock: others write meanwhile.
            (came.at, came.end) = (0, 0);
            came.end = socket.read(&mut came.bytes)?;
            if came.end == 0 {
                return Ok(0);
            }
        }
    }

    /// Writes some of the bytes. After an error that is only about time, the same ones are to be written again.
    pub fn write(&self, mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let unsent = &mut *self.unsent.lock();
        if unsent.holds == 0 {
            self.seal(unsent, bytes)?;
        }
        while unsent.at < unsent.records.len() {
            match socket.write(&unsent.records[unsent.at..])? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => unsent.at += n,
            }
        }
        unsent.records.clear();
        unsent.at = 0;
        Ok(std::mem::take(&mut unsent.holds))
    }

    fn seal(&self, unsent: &mut Unsent, bytes: &[u8]) -> io::Result<()> {
        let mut session = self.session.lock();
        unsent.holds = session.writer().write(bytes)?;
        while session.wants_write() {
            session.write_tls(&mut unsent.records)?;
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub fn close(&self, socket: &TcpStream) -> io::Result<()> {
        self.session.lock().send_close_notify();
        self.write(socket, b"").map(|_| ())
    }
}

/// What TLS says, among the system's errors.
#[derive(Debug)]
struct Said(String);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

fn failed(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, Said(why.into()))
}

/// What TLS said, where an error is of its own.
pub(super) fn said(why: &io::Error) -> Option<String> {
    why.get_ref()?.downcast_ref::<Said>().map(|said| said.0.clone())
}

fn is_only_late(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
