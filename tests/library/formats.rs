//! Formats in code, over real sockets: what they say is done, and what is wrong with them harms nobody else.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use framegate::gateway::{Config, Gateway};
use framegate::layouts::{Boundary, Format, Layout, Parsed, Progress, Verdict};
use framegate::wire::Status;

use crate::support::{PATIENCE, Running, payload, start_with};

/// A format for every case: its first byte says what is done.
///
/// `D` and a length of 4 bytes, a number of 4 bytes, a payload, and a sum that is right: a frame that is published.
/// `L` the same: a login. `;` ends a frame that begins with `(`, as deep as those go. Lower-case letters are dirt.
#[derive(Clone, Copy)]
struct Odd {
    keeps: bool,
    answers_max: usize,
}

const ODD: Odd = Odd { keeps: true, answers_max: 64 };

/// What is between the header and the sum.
const HEAD: usize = 9;

impl Format for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn cut(&self, bytes: &[u8], progress: &mut Progress) -> Boundary {
        match bytes[0] {
            b'a'..=b'z' => Boundary::Skip(
                bytes.iter().position(|byte| !byte.is_ascii_lowercase()).unwrap_or(bytes.len()),
            ),
            b'(' => {
                for (at, byte) in bytes.iter().enumerate().skip(progress.seen()) {
                    match byte {
                        b'(' => progress.note += 1,
                        b')' => progress.note -= 1,
                        _ => {}
                    }
                    if progress.note == 0 {
                        return Boundary::Frame(at + 1);
                    }
                }
                Boundary::More
            }
            b'!' => panic!("cut panics, as it should here"),
            b'0' => Boundary::Frame(0),
            b'1' => Boundary::Skip(0),
            b'2' => Boundary::Skip(bytes.len() + 1),
            b'3' => Boundary::Frame(usize::MAX),
            b'4' => Boundary::More,
            b'5' => Boundary::Malformed("five is right out"),
            _ => match bytes.get(1..5) {
                None => Boundary::More,
                Some(len) => Boundary::Frame(5 + u32::from_be_bytes(len.try_into().unwrap()) as usize),
            },
        }
    }

    fn keeps(&self, frame: &[u8]) -> bool {
        assert!(frame[0] != b'?', "keeps panics, as it should here");
        self.keeps && frame[0] == b'L'
    }

    fn answers_max(&self) -> usize {
        self.answers_max
    }

    fn parse(&self, frame: &[u8], parsed: &mut Parsed) -> Verdict {
        if frame[0] == b'(' {
            parsed.topic.push_str("nested");
            return Verdict::Publish;
        }
        let number = &frame[5..HEAD];
        parsed.refusal.extend([0x15, number[2], number[3]]);
        if frame.iter().fold(0u8, |sum, byte| sum ^ byte) != 0 {
            return Verdict::BadCheck;
        }
        parsed.key = u32::from_be_bytes(number.try_into().unwrap()).into();
        parsed.reply.extend([0x06, number[2], number[3]]);
        let body = HEAD..frame.len() - 1;
        match frame[0] {
            b'L' => {
                parsed.kept = frame[body].to_vec();
                return Verdict::Accept;
            }
            b'P' => panic!("parse panics, as it should here"),
            b'R' => parsed.reply = vec![7; 100],
            b'Y' => parsed.payload = 2..frame.len() + 1,
            b'V' => parsed.refusal = vec![7; 100],
            b'N' => return Verdict::Refuse("it says no"),
            _ if parsed.kept.is_empty() => return Verdict::Refuse("nobody knows it"),
            _ => {}
        }
        parsed.topic.push_str("odd.");
        let kept = std::mem::take(&mut parsed.kept);
        parsed.token(&kept);
        parsed.kept = kept;
        match frame[0] {
            b'T' => parsed.topic.push_str("..no topic"),
            b'E' => parsed.topic.clear(),
            b'G' => parsed.topic = "t".repeat(256),
            b'K' => parsed.kept.push(b'k'),
            b'D' => parsed.payload = body,
            _ => {}
        }
        Verdict::Publish
    }
}

fn frame(kind: u8, number: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((4 + body.len() as u32 + 1).to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend(body);
    bytes.push(bytes.iter().fold(0, |sum, byte| sum ^ byte));
    bytes
}

fn reply(tag: u8, number: u32) -> Vec<u8> {
    let [.., high, low] = number.to_be_bytes();
    vec![tag, high, low]
}

fn gateway(config: Config, format: impl Format + Clone) -> (Running, SocketAddr) {
    let address = Mutex::new(None);
    let gateway = start_with(config, |mut gateway| {
        let bound = gateway.listen_also(([127, 0, 0, 1], 0).into(), Some(Layout::of(format.clone())));
        *address.lock().unwrap() = Some(bound.expect("a free port"));
        gateway
    });
    // Once the first listener is there, all are.
    drop(gateway.subscriber("nothing"));
    let address = address.into_inner().unwrap().expect("it was bound");
    (gateway, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let device = TcpStream::connect(address).expect("the gateway listens");
    device.set_read_timeout(Some(PATIENCE)).unwrap();
    device.set_nodelay(true).unwrap();
    device
}

/// Everything that the gateway writes until it ends its side.
fn rest(device: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    device.read_to_end(&mut rest).expect("an orderly end");
    rest
}

fn answered(device: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    device.read_exact(&mut got).expect("it is answered");
    assert_eq!(got, expected);
}

#[test]
fn frames_are_cut_checked_named_kept_and_answered_however_they_come() {
    let (gateway, address) = gateway(Config::default(), ODD);
    let mut subscriber = gateway.subscriber(">");
    let mut wrong = frame(b'D', 4, b"wrong");
    wrong[HEAD] ^= 1;
    let stream = [
        frame(b'D', 1, b"before its login"),
        frame(b'L', 2, b"me. "),
        b"dirt".to_vec(),
        frame(b'D', 3, b"first"),
        wrong,
        frame(b'N', 5, b""),
        b"(a (nested (one)) (b))".to_vec(),
        b"more dirt".to_vec().into_iter().filter(u8::is_ascii_lowercase).collect(),
        frame(b'L', 6, b"you"),
        frame(b'D', 7, b""),
    ]
    .concat();
    let replies = [(0x15, 1), (6, 2), (6, 3), (0x15, 4), (0x15, 5), (6, 6), (6, 7)]
        .map(|(tag, n)| reply(tag, n))
        .concat();
    for piece in [1, 3, stream.len()] {
        let mut device = connect(address);
        for part in stream.chunks(piece) {
            device.write_all(part).expect("it is read");
        }
        device.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut device), replies, "in pieces of {piece}");
        for (topic, key, payload) in [
            ("odd.me%2E%20", 3, &b"first"[..]),
            ("nested", 0, b"(a (nested (one)) (b))"),
            ("odd.you", 7, b""),
        ] {
            let got = subscriber.next();
            assert_eq!((&got.topic[..], got.header.key, &got.payload[..]), (topic, key, payload));
        }
    }
    let ledger = gateway.stop();
    assert_eq!(ledger.bytes_skipped, 3 * 12, "{ledger}");
    let rejected =
        [Status::Malformed, Status::BadDigest, Status::Rejected].map(|status| ledger.rejected.of(status));
    assert_eq!(rejected, [3 * 2, 3, 3 * 2], "{ledger}");
}

#[test]
fn a_wrong_cut_ends_its_connection_and_nobody_elses() {
    let (gateway, address) = gateway(Config::default(), ODD);
    let mut other = connect(address);
    other.write_all(&frame(b'L', 1, b"other")).unwrap();
    answered(&mut other, &reply(6, 1));
    let mut subscriber = gateway.subscriber("odd.>");
    for (round, kind) in (2..).zip(*b"!01235?") {
        let mut device = connect(address);
        // What came before is done, and what comes behind has no effect.
        let wrong = if kind == b'?' { frame(kind, 0, b"") } else { vec![kind, 9, 9] };
        let bytes = [frame(b'L', 1, b"it"), wrong, frame(b'D', 2, b"behind")].concat();
        device.write_all(&bytes).unwrap();
        assert_eq!(rest(&mut device), reply(6, 1), "{:?}", char::from(kind));
        other.write_all(&frame(b'D', round, b"goes on")).unwrap();
        answered(&mut other, &reply(6, round));
        assert_eq!(subscriber.next().topic, "odd.other");
    }
    // A frame without an end has one at 256 KiB.
    let mut device = connect(address);
    let mut writer = device.try_clone().unwrap();
    let writing = std::thread::spawn(move || while writer.write_all(&[b'4'; 4096]).is_ok() {});
    // It may be a reset: not all that was sent is read.
    let _ = device.read_to_end(&mut Vec::new());
    drop(device);
    writing.join().unwrap();
    let ledger = gateway.stop();
    assert_eq!(ledger.rejected.of(Status::Malformed), 6, "{ledger}");
    assert_eq!(ledger.rejected.of(Status::TooLarge), 2, "{ledger}");
    let closed = &ledger.listeners[1];
    assert_eq!((closed.accepted, closed.closed), (9, 9));
}

#[test]
fn a_frame_over_which_parse_fails_is_refused_and_the_next_is_not() {
    for odd in [ODD, Odd { keeps: false, answers_max: 6 }] {
        let (gateway, address) = gateway(Config::default(), odd);
        let mut subscriber = gateway.subscriber(">");
        let mut device = connect(address);
        device.write_all(&frame(b'L', 1, b"me")).unwrap();
        // What it keeps, though it says that it does not, does not count.
        answered(&mut device, &reply(if odd.keeps { 6 } else { 0x15 }, 1));
        let kinds = *b"PRYVTEGK";
        let stream: Vec<u8> = (2..).zip(kinds).flat_map(|(number, kind)| frame(kind, number, b"x")).collect();
        device.write_all(&[stream, frame(b'D', 20, b"after")].concat()).unwrap();
        device.shutdown(Shutdown::Write).unwrap();
        // What panicked, and whose refusal is too long, is answered with silence.
        let refused = (2..).zip(kinds).filter(|(_, kind)| !b"PV".contains(kind));
        let mut replies: Vec<u8> = refused.flat_map(|(number, _)| reply(0x15, number)).collect();
        replies.extend(reply(if odd.keeps { 6 } else { 0x15 }, 20));
        assert_eq!(rest(&mut device), replies);
        if odd.keeps {
            assert_eq!(subscriber.next().topic, "odd.me");
        }
        let ledger = gateway.stop();
        let expected = if odd.keeps { (8, 1) } else { (10, 0) };
        assert_eq!((ledger.rejected.of(Status::Rejected), ledger.delivered), expected, "{ledger}");
    }
}

#[test]
fn many_frames_of_every_size_come_in_order_through_the_workers() {
    const FRAMES: u32 = 5_000;
    let (gateway, address) = gateway(Config { payload_max: 2 << 20, ..Config::default() }, ODD);
    let mut subscriber = gateway.subscriber("odd.>");
    let body = |number: u32| match number % 1_000 {
        // Beyond what is copied, beyond a read, up to the limit.
        10 => payload(70_000, number as usize),
        20 => payload(300_000, number as usize),
        30 => payload((2 << 20) - 10, number as usize),
        _ => payload(number as usize % 300, number as usize),
    };
    let mut device = connect(address);
    let mut reader = device.try_clone().unwrap();
    let replies = std::thread::spawn(move || rest(&mut reader));
    let writing = std::thread::spawn(move || {
        device.write_all(&frame(b'L', 0, b"me")).expect("it is read");
        for number in 1..FRAMES {
            device.write_all(&frame(b'D', number, &body(number))).expect("it is read");
            if number % 100 == 0 {
                // Who it is may change in the middle.
                device.write_all(&frame(b'L', 0, format!("me-{number}").as_bytes())).expect("it is read");
            }
        }
        device.shutdown(Shutdown::Write).unwrap();
    });
    let mut expected = vec![reply(6, 0)];
    for number in 1..FRAMES {
        let got = subscriber.next();
        let login = (number - 1) / 100 * 100;
        let topic = if login == 0 { "odd.me".into() } else { format!("odd.me-{login}") };
        assert_eq!((got.topic, got.header.key), (topic, u64::from(number)));
        assert!(got.payload == body(number), "frame {number}");
        expected.push(reply(6, number));
        if number % 100 == 0 {
            expected.push(reply(6, 0));
        }
    }
    writing.join().unwrap();
    assert!(replies.join().unwrap() == expected.concat(), "each is answered once, in order");
    let ledger = gateway.stop();
    assert!(ledger.verified.workers > 0, "{ledger:?}");
}

#[test]
fn a_name_that_no_line_of_a_log_takes_is_refused() {
    struct Named(&'static str);
    impl Format for Named {
        fn name(&self) -> &str {
            self.0
        }
        fn cut(&self, _: &[u8], _: &mut Progress) -> Boundary {
            Boundary::More
        }
        fn parse(&self, _: &[u8], _: &mut Parsed) -> Verdict {
            Verdict::Accept
        }
    }
    let address = ([127, 0, 0, 1], 0).into();
    let mut gateway = Gateway::bind(address, 1, Config::default()).unwrap();
    for name in ["", "a b", "a\nb", "\"", &*"x".repeat(65).leak()] {
        let why = gateway.listen_also(address, Some(Layout::of(Named(name)))).unwrap_err().to_string();
        assert!(why.contains("cannot be the name of a format"), "{why}");
    }
    gateway.listen_also(address, Some(Layout::of(Named("mav-link_2.0")))).unwrap();
}

/// Frames of one byte; who cuts and who parses is noted.
#[derive(Clone, Default)]
struct Noting {
    cutting: Arc<Mutex<HashSet<ThreadId>>>,
    parsing: Arc<Mutex<HashSet<ThreadId>>>,
}

impl Format for Noting {
    fn name(&self) -> &str {
        "noting"
    }

    fn cut(&self, _: &[u8], _: &mut Progress) -> Boundary {
        self.cutting.lock().unwrap().insert(thread::current().id());
        Boundary::Frame(1)
    }

    fn keeps(&self, _: &[u8]) -> bool {
        false
    }

    fn parse(&self, _: &[u8], parsed: &mut Parsed) -> Verdict {
        self.parsing.lock().unwrap().insert(thread::current().id());
        parsed.topic.push_str("noted");
        parsed.reply.push(0x06);
        Verdict::Publish
    }
}

#[test]
fn the_thread_of_the_sockets_parses_nothing() {
    let noting = Noting::default();
    let (gateway, address) = gateway(Config::default(), noting.clone());
    let mut device = connect(address);
    // One at a time: what is native would be verified right where it is read.
    for _ in 0..20 {
        device.write_all(b"x").unwrap();
        device.read_exact(&mut [0]).unwrap();
    }
    drop(device);
    assert_eq!(gateway.stop().delivered, 20);
    let (cutting, parsing) = (noting.cutting.lock().unwrap(), noting.parsing.lock().unwrap());
    assert!(cutting.len() == 1 && !parsing.is_empty() && cutting.is_disjoint(&parsing));
}
