//! A gateway of a few lines, with a script instead of rules.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use framegate::wire::{Decoder, Header, Kind, Rules, Scheme, Status, encode};

/// A gateway that is running its script.
pub struct Fake<T> {
    /// Where it listens.
    pub address: String,
    script: JoinHandle<T>,
}

/// One accepted connection.
pub struct Peer {
    pub stream: TcpStream,
    pub scheme: Scheme,
    decoder: Decoder,
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub header: Header,
    pub topic: String,
    pub payload: Vec<u8>,
    pub bytes: Vec<u8>,
}

/// Listens on a free port and runs `script` in a thread.
pub fn fake<T: Send + 'static>(script: impl FnOnce(&TcpListener) -> T + Send + 'static) -> Fake<T> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    Fake { address, script: thread::spawn(move || script(&listener)) }
}

impl<T> Fake<T> {
    /// What the script gives; panics where it did.
    pub fn end(self) -> T {
        self.script.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The next connection.
pub fn accept(listener: &TcpListener) -> Peer {
    let (stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let decoder = Decoder::new(Rules { payload_max: 1 << 30, replies: false });
    Peer { stream, scheme: Scheme::Sha256, decoder }
}

impl Peer {
    /// The next frame that is no PING, those are answered; none if the client is done.
    pub fn frame(&mut self) -> Option<Taken> {
        loop {
            match self.at_hand() {
                Some(ping) if ping.header.kind == Kind::Ping => {
                    self.reply(Status::Ok, ping.header.id, "");
                    continue;
                }
                Some(taken) => return Some(taken),
                None => {}
            }
            match self.stream.read(self.decoder.spare()) {
                Ok(0) => return None,
                Ok(n) => self.decoder.advance(n),
                Err(error) => panic!("the client's connection broke: {error}"),
            }
        }
    }

    /// Takes and answers so many PINGs, and nothing else comes.
    pub fn pings(&mut self, count: usize) {
        for _ in 0..count {
            let ping = loop {
                if let Some(taken) = self.at_hand() {
                    break taken;
                }
                let n = self.stream.read(self.decoder.spare()).expect("the connection stays");
                assert!(n > 0, "the client is still there");
                self.decoder.advance(n);
            };
            assert_eq!(ping.header.kind, Kind::Ping);
            self.reply(Status::Ok, ping.header.id, "");
        }
    }

    /// The next so many frames.
    pub fn frames(&mut self, count: usize) -> Vec<Taken> {
        (0..count).map(|_| self.frame().expect("another frame")).collect()
    }

    /// Whether the client has sent nothing more so far.
    pub fn is_dry(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let read = self.stream.read(self.decoder.spare());
        self.stream.set_nonblocking(false).unwrap();
        match read {
            Ok(n) => self.decoder.advance(n),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        self.decoder.pending() == 0
    }

    /// Answers a frame.
    pub fn reply(&mut self, status: Status, id: u64, reason: &str) {
        let header = Header { status: status as u16, id, ..Header::new(Kind::Reply) };
        self.send(header, "", reason.as_bytes());
    }

    /// Sends any frame.
    pub fn send(&mut self, header: Header, topic: &str, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode(header, topic.as_bytes(), payload, &self.scheme, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Answers OK to everything until the client is done. How many frames that were.
    pub fn answer_all(&mut self) -> usize {
        let mut count = 0;
        while let Some(frame) = self.frame() {
            if frame.header.want_reply {
                self.reply(Status::Ok, frame.header.id, "");
            }
            count += 1;
        }
        count
    }

    /// Sends nothing more, and takes what still comes, so that the last reply is not lost to a reset.
    pub fn close(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        let mut rest = [0; 4096];
        while matches!(self.stream.read(&mut rest), Ok(1..)) {}
    }

    fn at_hand(&mut self) -> Option<Taken> {
        let frame = self.decoder.next_frame().expect("the client sends frames")?;
        Some(Taken {
            header: frame.header,
            topic: String::from_utf8(frame.topic().to_vec()).unwrap(),
            payload: frame.payload().to_vec(),
            bytes: frame.bytes.to_vec(),
        })
    }
}

/// The ids of frames.
pub fn ids(frames: &[Taken]) -> Vec<u64> {
    frames.iter().map(|frame| frame.header.id).collect()
}
