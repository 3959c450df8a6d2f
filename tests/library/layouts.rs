//! Listeners with layouts, over real sockets: what devices send appears as topics, and they are answered as they expect.

use crate::support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use framegate::gateway::snapshot::PauseCause;
use framegate::gateway::{Config, Gateway};
use framegate::runtime::handler::{Answer, Call};
use framegate::wire::layout::{Layout, Layouts, builtin};
use framegate::wire::{Scheme, Status};
use sha2::Digest as _;
use support::{Client, PATIENCE, Running, payload, start_with};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A gateway with a listener for each of these layouts.
struct Fleet {
    gateway: Running,
    addresses: Vec<(String, SocketAddr)>,
}

impl Fleet {
    fn new(config: Config, layouts: &[Arc<Layout>], add: impl FnOnce(Gateway) -> Gateway) -> Fleet {
        let addresses = Mutex::new(Vec::new());
        let gateway = start_with(config, |gateway| {
            let mut gateway = add(gateway);
            for layout in layouts {
                let bound = gateway.listen_also(([127, 0, 0, 1], 0).into(), Some(layout.clone()));
                addresses.lock().unwrap().push((layout.name().to_string(), bound.expect("a free port")));
            }
            gateway
        });
        Fleet { gateway, addresses: addresses.into_inner().unwrap() }
    }

    fn built_in(config: Config) -> Fleet {
        let (more, _) = Layouts::parse(ESCAPED, "more").unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let layouts: Vec<_> = builtin().iter().chain(more.iter()).cloned().collect();
        Fleet::new(config, &layouts, |gateway| gateway)
    }

    /// A device that speaks a layout.
    fn device(&self, layout: &str) -> TcpStream {
        let (_, address) = self.addresses.iter().find(|(name, _)| name == layout).expect("it listens");
        // Once the first listener is there, all are.
        drop(self.gateway.subscriber("nothing"));
        let device = TcpStream::connect(address).expect("the gateway listens");
        device.set_read_timeout(Some(PATIENCE)).unwrap();
        device.set_nodelay(true).unwrap();
        device
    }
}

/// Reads exactly as many bytes as are expected.
fn answer(device: &mut TcpStream, expected: &str) {
    let mut got = vec![0; unhex(expected).len()];
    device.read_exact(&mut got).expect("it is answered");
    assert_eq!(hex(&got), hex(&unhex(expected)));
}

/// Ends its sending side; everything that the gateway writes until it ends its own.
fn rest(device: &mut TcpStream) -> String {
    device.shutdown(Shutdown::Write).expect("it is open");
    let mut rest = Vec::new();
    device.read_to_end(&mut rest).expect("an orderly end");
    hex(&rest)
}

/// Escapes of frames that end with certain bytes, and of those that have a length of what is unescaped, or a size.
const ESCAPED: &str = r#"
[layout.escaped]
topic = "escaped.{all:hex}"
start = "7E"
until = "7E"
unescape = { "7D 01" = "7D", "7D 02" = "7E" }
check = "none"
all = "bytes 0.."
[layout.counted]
topic = "counted.{all:hex}"
start = "7E"
length = "u8 @ 1"
counts = "2..-2"
end = "7E"
unescape = { "7D 01" = "7D", "7D 02" = "7E" }
check = { is = "xor-8", over = "1..-2", at = "u8 @ -2" }
reply = "7E 01 {first} {seal} 7E"
first = "u8 @ 2"
all = "bytes 0.."
on-malformed = "scan"
[layout.sized]
topic = "sized.{all:hex}"
size = 3
unescape = { "DB DC" = "C0", "DB DD" = "DB" }
check = "none"
all = "bytes 0.."
"#;

const TELTONIKA_LOGIN: &str = "000F333536333037303432343431303133";
const CODEC_8: &str = "000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E0000000000000000010000C7CF";
const CODEC_8E: &str = "000000000000004A8E010000016B412CEE000100000000000000000000000000000000010005000100010100010011001D00010010015E2C880002000B000000003544C87A000E000000001DD7E06A00000100002994";
const WILD: &str = "000000000000001C0D01050000001056E924222347455420444154414F524445520D0A0100004990";
const GT06_LOGIN: &str = "78780D01086471700328358100093F040D0A";
const GT06_POSITION: &str = "787822220F0C1D023305C9027AC8180C46586000140001CC00287D001F71000001000820860D0A";
const GT06_LONG: &str = "7979000E9B0332382E33A1E60D0A0289BE490D0A";
const GT06_NO_LENGTH: &str =
    "787800691709261259400700CC0400D376714600D37A3D5000D37A3C5000D393505A00D3765D5A00D376735A00D32E6B640D0A";
const GT06_OFF_BY_ONE: &str = "7878121011091C0B1E2E98058507F80097A6AC03344A0D0A";
const GT06_WRONG: &str = "78780C95130A0209321C91000112800D0A";
const GT06_MENDED: &str = "78780C95130A0209321C910001485C0D0A";
const JT808_ESCAPED: &str = "7E00020000043048325465007D02037E";
const VERACK: &str = "F9BEB4D976657261636B000000000000000000005DF6E0E2";
const VERSION: &str = "F9BEB4D976657273696F6E000000000064000000358D493262EA0000010000000000000011B2D05000000000010000000000000000000000000000000000FFFF000000000000000000000000000000000000000000000000FFFF0000000000003B2EB35D8CE617650F2F5361746F7368693A302E372E322FC03E0300";

/// A frame that comes of a sample: topic, key and payload.
type Published = (&'static str, u64, String);

/// Every sample of the contract: a layout, what a device sends, the frames that come of it, and what it is answered.
fn samples() -> Vec<(&'static str, String, Vec<Published>, String)> {
    let tracker = ("teltonika.356307042441013", 356307042441013);
    let of = |topic, frame: &str| (topic, 864717003283581, frame.to_string());
    let body = [&5u32.to_be_bytes()[..], b"hello"].concat();
    let sha = hex(&[&body[..], &sha2::Sha256::digest(&body)].concat());
    let crc = hex(&[&body[..], &0x46f6_d486u32.to_be_bytes()].concat());
    let syslog = hex(b"43 <6>Sep 10 00:00:00 localhost logger: hello!");
    let heartbeat = "7E0002000004304832546500B7CA7E";
    let nmea = hex(b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n");
    let one = |topic, frame: &str| vec![(topic, 0, frame.to_string())];
    vec![
        (
            "teltonika",
            [TELTONIKA_LOGIN, CODEC_8, &CODEC_8.replace("C7CF", "C7CE"), CODEC_8E, WILD].concat(),
            vec![(tracker.0, tracker.1, CODEC_8.into()), (tracker.0, tracker.1, CODEC_8E.into())],
            "01 00000001 00000000 00000001 00000000".into(),
        ),
        // Nobody knows yet whose it is.
        ("teltonika", CODEC_8.into(), vec![], "00000000".into()),
        ("teltonika", "FF000F313233343536373839303132333435".into(), vec![], "01".into()),
        (
            "gt06",
            [GT06_LOGIN, GT06_POSITION, GT06_LONG, GT06_NO_LENGTH, GT06_OFF_BY_ONE, GT06_WRONG, GT06_MENDED]
                .concat(),
            vec![
                of("gt06.864717003283581.1", GT06_LOGIN),
                of("gt06.864717003283581.34", GT06_POSITION),
                of("gt06.864717003283581.155", GT06_LONG),
                of("gt06.864717003283581.149", GT06_MENDED),
            ],
            "78780501000955940D0A 787805220008A8420D0A 797900059B02892B860D0A 78780595000133C40D0A".into(),
        ),
        (
            "jt808",
            heartbeat.into(),
            vec![("jt808.043048325465.2", 43048325465, heartbeat.into())],
            "7E80010005043048325465000000B70002004E7E".into(),
        ),
        (
            "jt808",
            [JT808_ESCAPED, heartbeat].concat(),
            vec![
                ("jt808.043048325465.2", 43048325465, JT808_ESCAPED.into()),
                ("jt808.043048325465.2", 43048325465, heartbeat.into()),
            ],
            "7E800100050430483254650000007D02000200877E 7E80010005043048325465000000B70002004E7E".into(),
        ),
        (
            "escaped",
            "7E307D02087D01557E".into(),
            one("escaped.7e307e087d557e", "7E307D02087D01557E"),
            String::new(),
        ),
        // Dirt, a frame whose payload is escaped, one cut short, one whose check is.
        (
            "counted",
            "0102 7E037D027D0131317E 7E0301 7E017C7D017E".replace(' ', ""),
            vec![
                ("counted.7e037e7d31317e", 0, "7E037D027D0131317E".into()),
                ("counted.7e017c7d7e", 0, "7E017C7D017E".into()),
            ],
            "7E017D027F7E 7E017C7D017E".into(),
        ),
        (
            "sized",
            "DBDC01DBDD DBDDDBDDDBDD 010203".replace(' ', ""),
            vec![
                ("sized.c001db", 0, "DBDC01DBDD".into()),
                ("sized.dbdbdb", 0, "DBDDDBDDDBDD".into()),
                ("sized.010203", 0, "010203".into()),
            ],
            String::new(),
        ),
        (
            "bitcoin",
            [VERSION, VERACK].concat(),
            vec![("bitcoin.version", 0, VERSION.into()), ("bitcoin.verack", 0, VERACK.into())],
            String::new(),
        ),
        ("syslog", syslog.clone(), one("syslog", &syslog), String::new()),
        ("protobuf", "03089601".into(), one("events", "03089601"), String::new()),
        ("amqp", "414D51500000090108000000000000CE".into(), one("amqp.0", "08000000000000CE"), String::new()),
        ("lines-nmea", nmea.clone(), one("nmea.GPGGA", &nmea), String::new()),
        ("generic-sha256", sha.clone(), one("frames", &sha), String::new()),
        ("generic-crc32", crc.clone(), one("frames", &crc), String::new()),
    ]
}

#[test]
fn every_sample_gives_its_topics_keys_and_replies_however_it_comes() {
    let fleet = Fleet::built_in(Config::default());
    let mut subscriber = fleet.gateway.subscriber(">");
    for byte_by_byte in [false, true] {
        for (layout, sent, frames, replies) in samples() {
            let mut device = fleet.device(layout);
            let bytes = unhex(&sent);
            for part in bytes.chunks(if byte_by_byte { 1 } else { bytes.len() }) {
                device.write_all(part).expect("it is read");
            }
            let replies: String = replies.chars().filter(|c| *c != ' ').collect();
            assert_eq!(rest(&mut device), replies, "{layout}");
            for (topic, key, frame) in frames {
                let got = subscriber.next();
                assert_eq!(
                    (&got.topic[..], got.header.key, hex(&got.payload)),
                    (topic, key, frame),
                    "{layout}"
                );
                assert_eq!((got.header.id, got.header.want_reply), (0, false));
            }
        }
    }
    let ledger = fleet.gateway.stop();
    let dirt = (GT06_NO_LENGTH.len() + GT06_OFF_BY_ONE.len()) as u64;
    // Each comes twice; so do the 5 bytes of dirt of the counted ones.
    assert_eq!(ledger.bytes_skipped, dirt + 2 * 5, "{ledger}");
    let of_gt06 = ledger.listeners.iter().find(|listener| listener.name.starts_with("gt06="));
    assert_eq!(of_gt06.map(|listener| listener.bytes_skipped), Some(dirt), "{ledger:?}");
    let rejected: u64 = ledger.listeners.iter().map(|listener| listener.rejected).sum();
    assert_eq!(rejected, ledger.rejected.total(), "{ledger:?}");
    assert_eq!(ledger.rejected.of(Status::BadDigest), 2 * 3, "{ledger}");
    let read: u64 = ledger.listeners.iter().map(|listener| listener.read).sum();
    assert_eq!(read, ledger.read);
    assert!(ledger.listeners.iter().all(|listener| listener.accepted == listener.closed), "{ledger:?}");
}

#[test]
fn what_cannot_be_cut_ends_its_connection_and_nothing_native_is_written() {
    let fleet = Fleet::built_in(Config::default());
    let mut device = fleet.device("bitcoin");
    device.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut rest = Vec::new();
    device.read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(hex(&rest), "");
    // A native client at the wrong port.
    let mut client = Client::connect(device.peer_addr().unwrap(), Scheme::Sha256);
    client.send(support::data(1), b"a", b"b");
    assert!(client.rest().is_empty());
    let ledger = fleet.gateway.stop();
    assert_eq!(ledger.rejected.of(Status::Malformed), 2, "{ledger}");
}

/// Good frames and the dirt of real fleets, by a recipe.
fn dirty(frames: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let good = [GT06_LOGIN, GT06_POSITION, GT06_LONG, GT06_MENDED].map(unhex);
    let bad = [GT06_NO_LENGTH, GT06_OFF_BY_ONE, GT06_WRONG].map(unhex);
    let mut stream = good[0].clone();
    let mut expected = vec![good[0].clone()];
    for index in 0..frames {
        match index % 13 {
            3 => stream.extend(&bad[0]),
            5 => stream.extend(&bad[1]),
            7 => stream.extend(&bad[2]),
            9 => stream.extend(&payload(index % 97, index)),
            // Cut short: the next frame begins within what it should have.
            11 => stream.extend(&good[1][..9]),
            _ => {
                let frame = &good[index % good.len()];
                stream.extend(frame);
                expected.push(frame.clone());
            }
        }
    }
    (stream, expected)
}

#[test]
fn dirty_traffic_is_scanned_through_with_every_good_frame() {
    let fleet = Fleet::built_in(Config::default());
    let mut subscriber = fleet.gateway.subscriber("gt06.>");
    let (stream, expected) = dirty(5_000);
    let mut device = fleet.device("gt06");
    let mut reader = device.try_clone().unwrap();
    let replies = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("an orderly end");
        all
    });
    for part in stream.chunks(777) {
        device.write_all(part).expect("it is read");
    }
    device.shutdown(Shutdown::Write).unwrap();
    for (index, frame) in expected.iter().enumerate() {
        let got = subscriber.next();
        assert_eq!(hex(&got.payload), hex(frame), "frame {index}");
    }
    let replies = replies.join().unwrap();
    let lengths: usize = expected.iter().map(|frame| if frame.starts_with(b"yy") { 11 } else { 10 }).sum();
    assert_eq!(replies.len(), lengths);
    let ledger = fleet.gateway.stop();
    assert_eq!(ledger.delivered, expected.len() as u64, "{ledger}");
    assert!(ledger.bytes_skipped > 10_000 && ledger.rejected.of(Status::Malformed) > 500, "{ledger}");
}

#[test]
fn what_a_stream_ends_within_is_looked_through_and_counted() {
    let fleet = Fleet::built_in(Config::default());
    let mut subscriber = fleet.gateway.subscriber("gt06.>");
    let mut device = fleet.device("gt06");
    // A start whose length is more than comes, and a frame behind it.
    device.write_all(&unhex(&[GT06_LOGIN, "787840", GT06_POSITION].concat())).unwrap();
    device.shutdown(Shutdown::Write).unwrap();
    for frame in [GT06_LOGIN, GT06_POSITION] {
        assert_eq!(hex(&subscriber.next().payload), hex(&unhex(frame)));
    }
    let mut replies = Vec::new();
    device.read_to_end(&mut replies).expect("an orderly end");
    let ledger = fleet.gateway.stop();
    let counted = (ledger.delivered, ledger.rejected.of(Status::Malformed), ledger.bytes_skipped);
    assert_eq!((counted, ledger.bytes_unfinished), ((2, 1, 3), 0), "{ledger}");
}

#[test]
fn a_handler_writes_the_reply_or_leaves_it_to_the_layout() {
    let handler = |call: &Call<'_>| match call.payload.get(3) {
        Some(0x01) => Answer::Pass(b"written".to_vec()),
        Some(0x22) => Answer::Pass(Vec::new()),
        _ => Answer::Replace { topic: "other".into(), key: 7, payload: b"instead".to_vec() },
    };
    let gt06 = builtin().get("gt06").unwrap().clone();
    let fleet = Fleet::new(Config::default(), &[gt06], |gateway| gateway.with_handler(handler).unwrap());
    let mut subscriber = fleet.gateway.subscriber(">");
    let mut device = fleet.device("gt06");
    device.write_all(&unhex(&[GT06_LOGIN, GT06_POSITION, GT06_LONG, GT06_LOGIN].concat())).unwrap();
    let written = hex(b"written");
    answer(&mut device, &[&written, "787805220008A8420D0A", "797900059B02892B860D0A", &written].concat());
    let topics: Vec<_> = (0..4)
        .map(|_| subscriber.next())
        .map(|got| (got.topic, got.header.id, got.header.want_reply))
        .collect();
    let expected = ["gt06.864717003283581.1", "gt06.864717003283581.34", "other", "gt06.864717003283581.1"];
    assert_eq!(topics, expected.map(|topic| (topic.to_string(), 0, false)));
    assert_eq!(rest(&mut device), "");
}

#[test]
fn a_frame_that_comes_again_is_answered_as_the_first_time() {
    let config = Config { dedup: Some(PATIENCE), ..Config::default() };
    let fleet = Fleet::built_in(config);
    let mut device = fleet.device("teltonika");
    device.write_all(&unhex(&[TELTONIKA_LOGIN, CODEC_8, CODEC_8].concat())).unwrap();
    // The refusal would have it sent for ever.
    assert_eq!(rest(&mut device), "010000000100000001");
    let ledger = fleet.gateway.stop();
    assert_eq!((ledger.delivered, ledger.rejected.of(Status::Duplicate)), (1, 1), "{ledger}");
}

fn crc_16_arc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

#[test]
fn many_frames_in_order_through_the_workers() {
    const FRAMES: usize = 20_000;
    let own = "[layout.own]\ntopic = 'own'\nlength = 'u16 @ 0'\ncheck = { is = 'crc-16/arc', over = '0..-2', at = 'u16 @ -2' }\n\
               number = 'u32 @ 2'\nreply = '{number}'\nrefuse = 'FF {number}'\n";
    let (layouts, _) = Layouts::parse(own, "own").unwrap();
    let fleet = Fleet::new(Config::default(), &[layouts.get("own").unwrap().clone()], |gateway| gateway);
    let mut subscriber = fleet.gateway.subscriber("own");
    let (mut stream, mut replies) = (Vec::new(), Vec::new());
    for number in 0..FRAMES as u32 {
        let body = payload(number as usize % 200, number as usize);
        let mut frame = ((4 + body.len() + 2) as u16).to_be_bytes().to_vec();
        frame.extend(number.to_be_bytes());
        frame.extend(body);
        let is_bad = number % 100 == 99;
        let sum = crc_16_arc(&frame) ^ u16::from(is_bad);
        frame.extend(sum.to_be_bytes());
        if is_bad {
            replies.push(0xFF);
        }
        replies.extend(number.to_be_bytes());
        stream.extend(frame);
    }
    let mut device = fleet.device("own");
    let mut reader = device.try_clone().unwrap();
    let answered = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("an orderly end");
        all
    });
    device.write_all(&stream).unwrap();
    device.shutdown(Shutdown::Write).unwrap();
    for number in (0..FRAMES as u32).filter(|number| number % 100 != 99) {
        assert_eq!(subscriber.next().payload[2..6], number.to_be_bytes());
    }
    assert!(answered.join().unwrap() == replies, "each is answered once, in order");
    let ledger = fleet.gateway.stop();
    assert!(ledger.verified.workers > 0, "{ledger:?}");
}

#[test]
fn frames_of_every_size_up_to_the_limit() {
    let fleet = Fleet::built_in(Config { payload_max: 3 << 20, ..Config::default() });
    let mut subscriber = fleet.gateway.subscriber("frames");
    let mut device = fleet.device("generic-sha256");
    let frame = |len: usize| {
        let body = payload(len, len);
        let bytes = [&(len as u32).to_be_bytes()[..], &body].concat();
        [&bytes[..], &sha2::Sha256::digest(&bytes)].concat()
    };
    let sizes = [0, 1, 1_000, 65_000, 66_000, 262_100, 262_108, 262_109, 300_000, 1 << 20, (3 << 20) - 36, 7];
    let sent: Vec<_> = sizes.iter().map(|len| frame(*len)).collect();
    std::thread::scope(|scope| {
        let mut writer = device.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || sent.iter().for_each(|frame| writer.write_all(frame).expect("it is read")));
        for frame in sent {
            assert!(subscriber.next().payload == *frame, "{} bytes", frame.len());
        }
    });
    // One byte more is too large, and that is known from its header.
    device.write_all(&frame((3 << 20) - 35)[..100]).unwrap();
    assert_eq!(device.read_to_end(&mut Vec::new()).expect("an orderly end"), 0);
    let ledger = fleet.gateway.stop();
    assert_eq!(ledger.rejected.of(Status::TooLarge), 1, "{ledger}");
}

#[test]
fn a_device_that_reads_no_replies_is_not_read_and_nobody_else_waits() {
    let own = format!(
        "[layout.own]\ntopic = 'own'\nsize = 4\ncheck = 'none'\nreply = '{}'\n",
        "AA ".repeat(100).trim()
    );
    let (layouts, _) = Layouts::parse(&own, "own").unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let fleet = Fleet::new(Config::default(), &[layouts.get("own").unwrap().clone()], |gateway| gateway);
    let mut deaf = fleet.device("own");
    let mut writer = deaf.try_clone().unwrap();
    // Until its socket is closed.
    let writing = std::thread::spawn(move || while writer.write_all(&[7; 4096]).is_ok() {});
    let began = std::time::Instant::now();
    loop {
        let snapshot = fleet.gateway.control().describe(false).expect("it answers");
        if snapshot.paused[PauseCause::Replies as usize].now == 1 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it is read on");
        std::thread::yield_now();
    }
    let mut other = fleet.device("own");
    other.write_all(&[1, 2, 3, 4]).unwrap();
    answer(&mut other, &"AA".repeat(100));
    deaf.shutdown(Shutdown::Both).unwrap();
    let _ = deaf.read(&mut [0]);
    writing.join().unwrap();
}
