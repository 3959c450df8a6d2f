//! Frames that no declaration covers, taken in by a format in Rust: `cargo run --example format`.
//!
//! MAVLink, which drones speak, adds a byte to what its CRC covers that is in no frame: it depends on the kind of
//! message. And what a frame is about, a quadrotor or a boat, only heartbeats tell.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;
use std::thread;

use framegate::client::{Event, Subscriber};
use framegate::layouts::{Boundary, Format, Layout, Parsed, Progress, Verdict};
use framegate::{Config, Gateway, Scheme};

/// MAVLink 1 and 2, as far as this table goes: messages by their numbers, with the byte that their CRC adds.
struct Mavlink;

const MESSAGES: [(u32, u8, &str); 4] =
    [(0, 50, "heartbeat"), (1, 124, "sys-status"), (30, 39, "attitude"), (33, 104, "position")];
const HEARTBEAT: u32 = 0;

/// The parts of a frame, which all of the functions below need.
struct Parts<'a> {
    system: u8,
    message: u32,
    payload: &'a [u8],
    covered: &'a [u8],
    crc: u16,
}

/// How many bytes a header of either version has.
fn header(bytes: &[u8]) -> Option<usize> {
    match bytes.first() {
        Some(0xFE) => Some(6),
        Some(0xFD) => Some(10),
        _ => None,
    }
}

fn parts(frame: &[u8]) -> Parts<'_> {
    let (is_first, at) = (frame[0] == 0xFE, if frame[0] == 0xFE { 6 } else { 10 });
    let end = at + usize::from(frame[1]);
    Parts {
        system: if is_first { frame[3] } else { frame[5] },
        message: match is_first {
            true => frame[5].into(),
            false => u32::from_le_bytes([frame[7], frame[8], frame[9], 0]),
        },
        payload: &frame[at..end],
        covered: &frame[1..end],
        crc: u16::from_le_bytes([frame[end], frame[end + 1]]),
    }
}

/// CRC-16/MCRF4XX.
fn crc(bytes: impl IntoIterator<Item = u8>) -> u16 {
    bytes.into_iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x8408 } else { crc >> 1 })
    })
}

impl Format for Mavlink {
    fn name(&self) -> &str {
        "mavlink"
    }

    fn cut(&self, bytes: &[u8], _: &mut Progress) -> Boundary {
        let Some(header) = header(bytes) else {
            // Radios lose bytes: on to what may begin a frame, or to the end.
            let next = bytes.iter().position(|byte| matches!(byte, 0xFE | 0xFD));
            return Boundary::Skip(next.unwrap_or(bytes.len()));
        };
        if bytes.len() < header {
            return Boundary::More;
        }
        let signature = if header == 10 && bytes[2] & 1 == 1 { 13 } else { 0 };
        Boundary::Frame(header + usize::from(bytes[1]) + 2 + signature)
    }

    fn keeps(&self, frame: &[u8]) -> bool {
        parts(frame).message == HEARTBEAT
    }

    fn parse(&self, frame: &[u8], parsed: &mut Parsed) -> Verdict {
        let parts = parts(frame);
        let Some((_, extra, name)) = MESSAGES.iter().find(|(message, ..)| *message == parts.message) else {
            return Verdict::Refuse("a message that is not in the table");
        };
        if crc(parts.covered.iter().copied().chain([*extra])) != parts.crc {
            return Verdict::BadCheck;
        }
        if parts.message == HEARTBEAT {
            parsed.kept = match parts.payload.get(4) {
                Some(2) => b"quadrotor".to_vec(),
                Some(11) => b"boat".to_vec(),
                _ => b"other".to_vec(),
            };
        }
        if parsed.kept.is_empty() {
            return Verdict::Refuse("no heartbeat has said yet what it is of");
        }
        let kind = String::from_utf8_lossy(&parsed.kept);
        parsed.topic.push_str(&format!("mavlink.{kind}.{}.{name}", parts.system));
        parsed.key = parts.system.into();
        Verdict::Publish
    }

    fn answers_max(&self) -> usize {
        0
    }
}

/// What a drone sends: a heartbeat as one was recorded, some noise, and an attitude in a frame of version 2.
fn stream() -> Vec<u8> {
    let mut bytes =
        vec![0xFE, 0x09, 0x4E, 0x01, 0x01, 0x00, 0, 0, 0, 0, 0x02, 0x03, 0x51, 0x04, 0x03, 0x1C, 0x7F];
    bytes.extend_from_slice(b"\x00noise");
    let mut attitude = vec![0xFD, 28, 0, 0, 0x4F, 1, 1, 30, 0, 0];
    attitude.extend_from_slice(&[0x3C; 28]);
    let sum = crc(attitude[1..].iter().copied().chain([39]));
    bytes.extend(attitude);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// Runs, and ends by itself.
pub fn main() -> Result<(), Box<dyn Error>> {
    let mut gateway = Gateway::bind("127.0.0.1:0".parse()?, 1, Config::default())?;
    let drones = gateway.listen_also("127.0.0.1:0".parse()?, Some(Layout::of(Mavlink)))?;
    let (address, control) = (gateway.local_addr().to_string(), gateway.control());
    let running = thread::spawn(move || gateway.run());
    let mut subscriber = Subscriber::connect(&address, &["mavlink.>"], Scheme::Sha256)?;

    TcpStream::connect(drones)?.write_all(&stream())?;
    for expected in ["mavlink.quadrotor.1.heartbeat", "mavlink.quadrotor.1.attitude"] {
        let Event::Frame(frame) = subscriber.next_event()? else {
            return Err("the gateway has ended".into());
        };
        println!("{}: {} bytes", frame.topic().escape_ascii(), frame.payload().len());
        assert_eq!(frame.topic(), expected.as_bytes());
    }

    control.drain();
    let ledger = running.join().expect("the gateway does not panic")?;
    assert_eq!(ledger.bytes_skipped, 6);
    println!("{ledger}");
    Ok(())
}
