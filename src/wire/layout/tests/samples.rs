//! Frames of real devices, with the topic, key and reply of each.

use super::*;

fn built_in(name: &str) -> Arc<Layout> {
    builtin().get(name).unwrap_or_else(|| panic!("{name} does not come with the program")).clone()
}

#[test]
fn every_layout_that_comes_with_the_program_is_right() {
    for (name, text) in BUILTIN {
        let (layouts, _) = Layouts::parse(text, name).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
        assert_eq!(layouts.iter().map(|layout| layout.name()).collect::<Vec<_>>(), [*name]);
    }
    assert_eq!(builtin().len(), BUILTIN.len());
    assert!(BUILTIN.is_sorted());
}

const LOGIN: &str = "000F333536333037303432343431303133";
const CODEC_8: &str = "000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E0000000000000000010000C7CF";
const CODEC_8E: &str = "000000000000004A8E010000016B412CEE000100000000000000000000000000000000010005000100010100010011001D00010010015E2C880002000B000000003544C87A000E000000001DD7E06A00000100002994";

#[test]
fn teltonika() {
    let layout = built_in("teltonika");
    let topic = "teltonika.356307042441013";
    let key = 356307042441013;
    let wrong = CODEC_8.replace("C7CF", "C7CE");
    let dirty = "000000000000001C0D01050000001056E924222347455420444154414F524445520D0A0100004990";
    let stream = [LOGIN, CODEC_8, &wrong, CODEC_8E, dirty].concat();
    assert_eq!(
        events(&layout, &unhex(&stream)),
        [
            Event::Taken("01".into()),
            published(topic, key, CODEC_8, "00000001"),
            Event::Bad("00000000".into()),
            published(topic, key, CODEC_8E, "00000001"),
            Event::Bad("00000000".into()),
        ]
    );
    // Nobody knows yet whose it is.
    assert_eq!(events(&layout, &unhex(CODEC_8)), [Event::Refused("00000000".into())]);
    // A ping and a login in one read.
    let silent = Event::Taken(String::new());
    let stream = unhex("FF000F313233343536373839303132333435");
    assert_eq!(events(&layout, &stream), [silent, Event::Taken("01".into())]);
}

const GT06_LOGIN: &str = "78780D01086471700328358100093F040D0A";
const GT06_POSITION: &str = "787822220F0C1D023305C9027AC8180C46586000140001CC00287D001F71000001000820860D0A";
const GT06_LONG: &str = "7979000E9B0332382E33A1E60D0A0289BE490D0A";

#[test]
fn gt06() {
    let layout = built_in("gt06");
    let (topic, key) = ("gt06.864717003283581", 864717003283581);
    let no_length = "787800691709261259400700CC0400D376714600D37A3D5000D37A3C5000D393505A00D3765D5A00D376735A00D32E6B640D0A";
    let off_by_one = "7878121011091C0B1E2E98058507F80097A6AC03344A0D0A";
    let wrong = "78780C95130A0209321C91000112800D0A";
    let mended = "78780C95130A0209321C910001485C0D0A";
    let stream = [GT06_LOGIN, GT06_POSITION, GT06_LONG, no_length, off_by_one, wrong, mended].concat();
    let replies = ["787805010009 5594 0D0A", "787805220008 68DB 0D0A", "7979 0005 9B02 892B860D0A"];
    let seen = events(&layout, &unhex(&stream));
    let [login, position, long, rest @ ..] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*login, published(&format!("{topic}.1"), key, GT06_LOGIN, replies[0]));
    let Event::Published(of, _, payload, reply) = position else { panic!("{position:?}") };
    assert_eq!((of, payload), (&format!("{topic}.34"), &GT06_POSITION.to_string()));
    assert!(
        reply.starts_with("7878052200 08".replace(' ', "").as_str()) && reply.ends_with("0D0A"),
        "{reply}"
    );
    assert_eq!(*long, published(&format!("{topic}.155"), key, GT06_LONG, "797900059B02892B860D0A"));
    let skipped = |hex: &str| Event::Skipped(hex.len() / 2);
    assert_eq!(
        rest[..5],
        [
            Event::Malformed,
            skipped(no_length),
            Event::Malformed,
            skipped(off_by_one),
            Event::Bad(String::new())
        ]
    );
    let Event::Published(of, ..) = &rest[5] else { panic!("{rest:?}") };
    assert_eq!((of, rest.len()), (&format!("{topic}.149"), 6));
}

#[test]
fn jt808() {
    let layout = built_in("jt808");
    let heartbeat = "7E0002000004304832546500B7CA7E";
    assert_eq!(
        events(&layout, &unhex(heartbeat)),
        [published(
            "jt808.043048325465.2",
            43048325465,
            heartbeat,
            "7E80010005043048325465000000B70002004E7E"
        )]
    );
    // The reply is escaped as frames are: a serial number of 7E.
    let escaped = "7E00020000043048325465007D02037E";
    let [Event::Published(.., reply)] = &events(&layout, &unhex(escaped))[..] else { panic!() };
    assert_eq!(reply, "7E800100050430483254650000007D02000200877E");
}

#[test]
fn escapes_are_undone() {
    let layout = layout(
        r#"[layout.a]
        topic = "a.{all}"
        start = "7E"
        until = "7E"
        unescape = { "7D 01" = "7D", "7D 02" = "7E" }
        check = "none"
        all = "bytes 0..""#,
    );
    let raw = unhex("7E307D02087D01557E");
    let mut lent = Vec::new();
    assert_eq!(
        hex(layout.all_shapes()[0].view(layout.declared().unwrap(), &raw, &mut lent).bytes),
        "7E307E087D557E"
    );
}

#[test]
fn bitcoin() {
    let layout = built_in("bitcoin");
    let verack = "F9BEB4D976657261636B000000000000000000005DF6E0E2";
    let version = "F9BEB4D976657273696F6E000000000064000000358D493262EA0000010000000000000011B2D05000000000010000000000000000000000000000000000FFFF000000000000000000000000000000000000000000000000FFFF0000000000003B2EB35D8CE617650F2F5361746F7368693A302E372E322FC03E0300";
    assert_eq!(
        events(&layout, &unhex(&[version, verack].concat())),
        [published("bitcoin.version", 0, version, ""), published("bitcoin.verack", 0, verack, "")]
    );
    // Its check covers neither the magic, which must be there, nor the command.
    let frame = unhex(verack);
    let passes = (0..8 * frame.len()).filter(|bit| {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut connection = Connection::new(&layout);
        connection.receive(&flipped);
        // The highest bit of the command's bytes makes it no UTF-8.
        matches!(connection.events[..], [Event::Published(..)])
    });
    assert_eq!(passes.count(), 84);
}

#[test]
fn lengths_without_checks() {
    let syslog = b"43 <6>Sep 10 00:00:00 localhost logger: hello!";
    assert_eq!(events(&built_in("syslog"), syslog), [published("syslog", 0, &hex(syslog), "")]);
    assert_eq!(events(&built_in("protobuf"), &unhex("03089601")), [published("events", 0, "03089601", "")]);
    let amqp = unhex("414D51500000090108000000000000CE");
    assert_eq!(
        events(&built_in("amqp"), &amqp),
        [Event::Taken(String::new()), published("amqp.0", 0, "08000000000000CE", "")]
    );
    let netstrings = b"5:hello,0:,";
    assert_eq!(
        events(&built_in("netstring"), netstrings),
        [published("netstrings", 0, &hex(b"5:hello,"), ""), published("netstrings", 0, &hex(b"0:,"), "")]
    );
    assert_eq!(events(&built_in("netstring"), b"5:hello;"), [Event::Malformed]);
    let modbus = "000100000006010300000001";
    assert_eq!(events(&built_in("modbus-tcp"), &unhex(modbus)), [published("modbus.1.3", 0, modbus, "")]);
}

#[test]
fn lines_and_receivers() {
    let nmea = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n";
    let ais = b"!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C\r\n";
    let bad = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*48\r\n";
    let stream = [&nmea[..], b"noise", ais, bad].concat();
    assert_eq!(
        events(&built_in("lines-nmea"), &stream),
        [
            published("nmea.GPGGA", 0, &hex(nmea), ""),
            Event::Malformed,
            Event::Skipped(5),
            published("nmea.AIVDM", 0, &hex(ais), ""),
            Event::Bad(String::new()),
        ]
    );
    // u-blox, CFG-MSG; RTCM 10403, the example of message 1005.
    let ubx = "B562060108 00F005000000000001 0547".replace(' ', "");
    assert_eq!(events(&built_in("ubx"), &unhex(&ubx)), [published("ubx.6.1", 0, &ubx, "")]);
    let rtcm = "D300133ED7D30202980EDEEF34B4BD62AC0941986F33360B98";
    assert_eq!(events(&built_in("rtcm3"), &unhex(rtcm)), [published("rtcm3", 0, rtcm, "")]);
    let fix = "8=FIX.4.2|9=65|35=A|49=SERVER|56=CLIENT|34=177|52=20090107-18:15:16|98=0|108=30|10=062|";
    let fix = fix.replace('|', "\x01");
    assert_eq!(events(&built_in("fix"), fix.as_bytes()), [published("fix", 0, &hex(fix.as_bytes()), "")]);
}

#[test]
fn generic_layouts() {
    use sha2::Digest as _;
    let body = [&5u32.to_be_bytes()[..], b"hello"].concat();
    let frame = [&body[..], &sha2::Sha256::digest(&body)].concat();
    assert_eq!(events(&built_in("generic-sha256"), &frame), [published("frames", 0, &hex(&frame), "")]);
    // Python's zlib.crc32 of the body.
    let frame = [&body[..], &0x46f6_d486u32.to_be_bytes()].concat();
    assert_eq!(events(&built_in("generic-crc32"), &frame), [published("frames", 0, &hex(&frame), "")]);
}

#[test]
fn every_flipped_bit_of_what_a_check_covers_is_seen() {
    use sha2::Digest as _;
    let body = [&5u32.to_be_bytes()[..], b"hello"].concat();
    let generic = [&body[..], &sha2::Sha256::digest(&body)].concat();
    for (name, frame, first) in [
        ("generic-sha256", generic, 0),
        ("gt06", unhex(GT06_LOGIN), 0),
        ("jt808", unhex("7E0002000004304832546500B7CA7E"), 0),
        ("rtcm3", unhex("D300133ED7D30202980EDEEF34B4BD62AC0941986F33360B98"), 0),
        ("ubx", unhex("B56206010800F0050000000000010547"), 0),
        // Not its zeros and its length, of which any other may be right too.
        ("teltonika", unhex(CODEC_8), 8),
    ] {
        let layout = built_in(name);
        for bit in 8 * first..8 * frame.len() {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut connection = Connection::new(&layout);
            if name == "teltonika" {
                connection.receive(&unhex(LOGIN));
            }
            connection.receive(&flipped);
            let published = connection.events.iter().any(|event| matches!(event, Event::Published(..)));
            assert!(!published, "{name}, bit {bit}: {:?}", connection.events);
        }
    }
}
