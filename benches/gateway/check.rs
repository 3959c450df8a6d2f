//! Whether a gateway does its job: complete, in order, only what is right.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use framegate::wire::{Decoder, Header, Kind, Scheme, Status};

use crate::wire::{CLIENT_RULES, frame};

const PUBLISHERS: u64 = 4;
const FRAMES: u64 = 300;

/// A frame in seven has a wrong digest, where the gateway verifies.
const WRONG: u64 = 7;

/// Nothing takes so long; a gateway that does has lost a frame.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs several publishers of mixed sizes against a subscriber to everything and one to a single
/// topic. Says how many frames were delivered.
///
/// # Panics
/// Where a frame is missing, out of order, changed, or should not have been delivered.
pub fn check(gateway: SocketAddr, verifies: bool) -> usize {
    let mut all = Subscriber::connect(gateway, ">");
    let mut one = Subscriber::connect(gateway, &topic(1));
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || publish(gateway, publisher, verifies));
        }
        let expected: Vec<u64> = (0..FRAMES).filter(|id| !verifies || id % WRONG != 3).collect();
        let one = scope.spawn(move || one.take(&[1], &expected));
        let expected: Vec<u64> = (0..FRAMES).filter(|id| !verifies || id % WRONG != 3).collect();
        let publishers: Vec<u64> = (0..PUBLISHERS).collect();
        all.take(&publishers, &expected) + one.join().expect("the one topic is right too")
    })
}

fn topic(publisher: u64) -> String {
    format!("check.{publisher}")
}

fn payload(publisher: u64, id: u64) -> Vec<u8> {
    // Small ones mostly, and what is larger than a read, and than an inline batch.
    let len = match id % 50 {
        7 => 1 << 20,
        18 | 31 => 64 << 10,
        n if n % 9 == 4 => 4096 + n * 100,
        n => n * 11,
    };
    (0..len).map(|at| (at * 7 + id * 13 + publisher) as u8).collect()
}

fn publish(gateway: SocketAddr, publisher: u64, verifies: bool) {
    let mut stream = TcpStream::connect(gateway).expect("the gateway listens");
    stream.set_nodelay(true).expect("it is open");
    let mut bytes = Vec::new();
    for id in 0..FRAMES {
        let header = Header { id, key: publisher, ..Header::new(Kind::Data) };
        let mut frame = frame(header, topic(publisher).as_bytes(), &payload(publisher, id));
        if verifies && id % WRONG == 3 {
            let at = frame.len() - 1;
            frame[at] ^= 1;
        }
        bytes.extend_from_slice(&frame);
    }
    // Pieces that have nothing to do with the frames, the first of them tiny.
    let (tiny, rest) = bytes.split_at(50);
    tiny.chunks(7).chain(rest.chunks(61_001)).for_each(|piece| stream.write_all(piece).expect("it reads"));
    // It stays open until the gateway has taken everything.
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.read(&mut [0]);
}

/// A connection that gets what matches a pattern.
struct Subscriber {
    stream: TcpStream,
    decoder: Decoder,
}

impl Subscriber {
    fn connect(gateway: SocketAddr, pattern: &str) -> Subscriber {
        let stream = TcpStream::connect(gateway).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is open");
        let mut subscriber = Subscriber { stream, decoder: Decoder::new(CLIENT_RULES) };
        let header = Header { want_reply: true, id: 77, ..Header::new(Kind::Subscribe) };
        subscriber.stream.write_all(&frame(header, pattern.as_bytes(), b"")).expect("it reads");
        subscriber.next(|header, _| {
            assert_eq!((header.kind, header.id), (Kind::Reply, 77));
            assert_eq!(header.status, Status::Ok as u16);
        });
        subscriber
    }

    /// Takes `expected` of each of `publishers`, and nothing else.
    fn take(&mut self, publishers: &[u64], expected: &[u64]) -> usize {
        let mut taken: HashMap<u64, usize> = HashMap::new();
        let total = publishers.len() * expected.len();
        for _ in 0..total {
            self.next(|header, found| {
                assert!(publishers.contains(&header.key), "publisher {} was not asked for", header.key);
                let at = taken.entry(header.key).or_default();
                assert_eq!(Some(&header.id), expected.get(*at), "publisher {} in order", header.key);
                assert!(found == payload(header.key, header.id), "the payload is unchanged");
                *at += 1;
            });
        }
        total
    }

    fn next(&mut self, look: impl FnOnce(Header, &[u8])) {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("the gateway sends frames") {
                assert!(frame.is_intact(&Scheme::Sha256), "only right digests are distributed");
                return look(frame.header, frame.payload());
            }
            let n = self.stream.read(self.decoder.spare()).expect("nothing is missing");
            assert!(n > 0, "the gateway stays");
            self.decoder.advance(n);
        }
    }
}
