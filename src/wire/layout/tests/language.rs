//! Every part of the language, with frames that it takes and frames that it does not.

use super::*;
use crate::core::limits::READ_MAX;

/// A layout `a` with these lines.
fn of(lines: &str) -> Arc<Layout> {
    layout(&format!("[layout.a]\n{lines}"))
}

/// What one frame becomes.
fn one(layout: &Arc<Layout>, frame: &[u8]) -> Event {
    let mut seen = events(layout, frame);
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

#[test]
fn every_type_of_place() {
    let bytes = [
        &[0x01, 0x82, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08][..],
        b"007 0Ff",
        &[0x01, 0x23],
        b"ab\0 ",
        &[0xac, 0x02],
    ];
    let frame = bytes.concat();
    for (place, shown) in [
        ("u8 @ 1", "130"),
        ("u16 @ 0", "386"),
        ("u16le @ 0", "33281"),
        ("u24 @ 0", "98819"),
        ("u24le @ 0", "229889"),
        ("u32 @ 0", "25297668"),
        ("u32le @ 0", "67338753"),
        ("u64 @ 0", "108652656809346824"),
        ("u64le @ 0", "578437695752339969"),
        ("u16 @ 0 & 0xFF", "130"),
        ("u16 @ 0 & 0b100000000", "256"),
        ("u8 @ -1", "2"),
        ("varint @ -2", "300"),
        ("varint @ 1", "386"),
        ("digits @ 8", "007"),
        ("digits 8..11", "007"),
        ("hex 12..15", "0Ff"),
        ("bcd 15..17", "0123"),
        ("text 17..21", "ab"),
        ("text 17..-2", "ab"),
        ("bytes 17..19", "ab"),
        ("bytes 17..-2", "ab%00%20"),
    ] {
        let layout =
            of(&format!("topic = \"t.{{f}}\"\nsize = {}\ncheck = \"none\"\nf = \"{place}\"", frame.len()));
        assert_eq!(one(&layout, &frame), published(&format!("t.{shown}"), 0, &hex(&frame), ""), "{place}");
    }
    // In decimal, in hexadecimal, and as a key.
    for (place, int, hex_of, key) in [
        ("digits @ 8", "7", "30303720", Some(7)),
        ("digits 8..11", "7", "303037", Some(7)),
        ("bcd 15..17", "123", "0123", Some(123)),
        ("hex 12..15", "255", "304666", Some(255)),
        ("u16 @ 15", "291", "0123", Some(291)),
        ("text 8..12", "7", "30303720", Some(7)),
        ("text 17..21", "", "61620020", None),
    ] {
        let size = frame.len();
        let lines = |rest: &str| format!("size = {size}\ncheck = \"none\"\nf = \"{place}\"\n{rest}");
        let layout = of(&lines("topic = \"t.{f:hex}\"\nkey = \"{f}\""));
        let expected = key.map_or(Event::Refused(String::new()), |key| {
            published(&format!("t.{hex_of}"), key, &hex(&frame), "")
        });
        assert_eq!(one(&layout, &frame), expected, "{place}");
        let layout = of(&lines("topic = \"t.{f:int}\""));
        let expected = published(&format!("t.{int}"), 0, &hex(&frame), "");
        let expected = if int.is_empty() { Event::Refused(String::new()) } else { expected };
        assert_eq!(one(&layout, &frame), expected, "{place}");
    }
}

#[test]
fn lengths_of_every_kind() {
    for (lines, frame, rest) in [
        ("length = \"u8 @ 1\"", &b"\x00\x03abc"[..], 0),
        ("length = \"u8 @ 1\"\ncounts = \"0..\"", b"\x00\x05abc", 0),
        ("length = \"u8 @ 1\"\ncounts = \"1..-1\"", b"\x00\x04abc!", 0),
        ("length = \"u16le @ 0 & 0x0FFF\"", b"\x03\xf0abc", 0),
        ("length = \"u24 @ 0\"", b"\x00\x00\x03abc", 0),
        ("length = \"u64 @ 0\"", b"\0\0\0\0\0\0\0\x03abc", 0),
        ("length = \"varint @ 0\"", b"\x83\x00abc", 0),
        ("length = \"varint @ 1\"\ncounts = \"length+1..\"", b"\x00\x03-abc", 0),
        ("length = \"digits @ 0\"", b"3 abc", 0),
        ("length = \"digits @ 0\"\ncounts = \"length..-1\"\nend = \"2C\"", b"3:abc,", 0),
        ("length = \"digits @ 0\"\ncounts = \"0..\"", b"05 ab", 0),
        ("length = \"digits 1..4\"", b"#003abc", 0),
        ("length = \"hex 1..3\"", b"#03abc", 0),
        ("length = \"bcd 0..2\"", b"\x00\x03abc", 0),
        ("size = 5", b"abcde", 0),
        ("until = \"0D 0A\"", b"ab\rc\r\n", 0),
        ("until = \"61 61 62\"", b"aaaab", 0),
        ("start = \"61\"\nuntil = \"61\"", b"aa", 0),
        ("start = \"61 62\"\nuntil = \"62\"", b"abab", 0),
    ] {
        let layout = of(&format!("topic = \"t\"\ncheck = \"none\"\n{lines}"));
        let twice = frame.repeat(2);
        let frame = published("t", 0, &hex(frame), "");
        assert_eq!(events(&layout, &twice[rest..]), [frame.clone(), frame], "{lines}");
    }
}

#[test]
fn what_is_malformed() {
    for (lines, bytes) in [
        // Lengths of all ones.
        ("length = \"u32 @ 0\"", &b"\xff\xff\xff\xff"[..]),
        ("length = \"u64 @ 0\"", b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("length = \"varint @ 0\"", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        // At the limit and one more: the limit is 1 MiB.
        ("length = \"u32 @ 0\"", b"\x00\x0f\xff\xfd"),
        // Endless digits and varints, and none.
        ("length = \"varint @ 0\"", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("length = \"varint @ 0\"", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
        ("length = \"digits @ 0\"", b"000000000000000000000"),
        ("length = \"digits @ 0\"", b"99999999999999999999 "),
        ("length = \"digits @ 0\"", b" 5"),
        ("length = \"digits 0..3\"", b"0a3"),
        ("length = \"hex 0..2\"", b"0g"),
        ("length = \"bcd 0..1\"", b"\x0a"),
        // Below the header, and shorter than its places.
        ("length = \"u8 @ 0\"\ncounts = \"0..\"", b"\x00"),
        ("length = \"u8 @ 4\"\ncounts = \"0..\"", b"\0\0\0\0\x04"),
        ("length = \"u8 @ 0\"\nf = \"u16 @ 3\"", b"\x03"),
        ("length = \"u8 @ 0\"\nf = \"u16 @ -2\"", b"\x01"),
        ("length = \"u8 @ 0\"\nf = \"text 2..-2\"", b"\x02"),
        // Another end.
        ("length = \"u8 @ 0\"\nend = \"0D\"", b"\x01\x0a"),
        ("size = 2\nend = \"0D\"", b"\x0d\x0a"),
        // No shape begins so; said before the whole start is there.
        ("start = \"01 02 03\"\nsize = 4", b"\x01\x03"),
        // Escapes that are not listed, or that the end cuts.
        ("start = \"7E\"\nuntil = \"7E\"\nunescape = { \"7D 01\" = \"7D\" }", b"\x7e\x7d\x03\x7e"),
        ("start = \"7E\"\nuntil = \"7E\"\nunescape = { \"7D 01\" = \"7D\" }", b"\x7e\x7d\x7e"),
        (
            "start = \"7E\"\nuntil = \"7E\"\nf = \"u8 @ 2\"\nunescape = { \"7D 01\" = \"7D\" }",
            b"\x7e\x7d\x01\x7e",
        ),
        // Escapes in frames whose length counts what they stand for: one that is not listed, also in the length; a start
        // within the frame; another end; too short, too large, and no number.
        (COUNTED, b"\x7e\x03\x7d\x03"),
        (COUNTED, b"\x7e\x7d\x7e"),
        (COUNTED, b"\x7e\x03\x01\x7e"),
        (&*format!("{COUNTED}\nend = \"0D\""), b"\x7e\x01\x7d\x02\x0a"),
        (&*format!("{COUNTED}\nf = \"u16 @ 2\""), b"\x7e\x01"),
        ("start = \"7E\"\nlength = \"u32 @ 1\"\nunescape = { \"7D 02\" = \"7E\" }", b"\x7e\x01\x00\x00\x00"),
        ("start = \"7E\"\nlength = \"bcd 1..2\"\nunescape = { \"7D 02\" = \"7E\" }", b"\x7e\x7d\x02"),
        ("size = 3\nunescape = { \"DB DC\" = \"C0\" }", b"\x01\xdb\xdd"),
        // Places that a field gives.
        ("length = \"u8 @ 0\"\nn = \"u8 @ 1\"\nf = \"text 2..n\"", b"\x01\x03"),
        ("length = \"u8 @ 0\"\nn = \"u8 @ 1\"\nf = \"text 2..n\"", b"\x01\x01"),
        ("length = \"u8 @ 0\"\nf = \"varint @ 1\"", b"\x01\xff"),
        ("length = \"u8 @ 0\"\nf = \"digits @ 1\"", b"\x0211"),
    ] {
        let layout = of(&format!("topic = \"t\"\ncheck = \"none\"\n{lines}"));
        let expected: &[Event] = &[Event::Malformed];
        assert_eq!(events(&layout, bytes), expected, "{lines}");
        for short in 0..bytes.len() {
            let seen = events(&layout, &bytes[..short]);
            assert!(seen.is_empty() || seen == expected, "{lines}: {seen:?}");
        }
    }
    // The largest frame is one, and what is needed of it is known from its header.
    let layout = of("topic = \"t\"\ncheck = \"none\"\nlength = \"u32 @ 0\"");
    assert_eq!(Cutter::default().next(&layout, b"\x00\x0f\xff\xfc", 1 << 20), Cut::More(1 << 20));
    let layout = of("topic = \"t\"\ncheck = \"none\"\nuntil = \"0A\"");
    let cut = |bytes: &[u8]| Cutter::default().next(&layout, bytes, 4);
    assert_eq!([cut(b"abc\n"), cut(b"abc")], [Cut::Frame { len: 4, shape: 0 }, Cut::More(4)]);
    assert!(matches!([cut(b"abcd"), cut(b"abcd\n")], [Cut::Malformed(a), Cut::Malformed(b)] if a == b));
}

/// A length behind the start, which counts what follows it.
const COUNTED: &str =
    "start = \"7E\"\nlength = \"u8 @ 1\"\nunescape = { \"7D 01\" = \"7D\", \"7D 02\" = \"7E\" }";

#[test]
fn a_length_counts_what_escapes_stand_for() {
    let head = "topic = \"t.{all:hex}\"\ncheck = \"none\"\nall = \"bytes 0..\"";
    let with = |from: &str, to: &str| COUNTED.replace(from, to);
    for (lines, raw, plain) in [
        (COUNTED.into(), "7E037D02017D01", "7E037E017D"),
        (COUNTED.into(), "7E00", "7E00"),
        // The length itself is escaped, in several bytes, within the start, in digits, as a varint.
        (COUNTED.into(), &*format!("7E7D01{}", "61".repeat(0x7d)), &*format!("7E7D{}", "61".repeat(0x7d))),
        (with("u8 @ 1", "u16le @ 2"), "7E557D02007D0200", ""),
        (with("\"7E\"\nlength", "\"7E 02\"\nlength"), "7E027D027D01", "7E027E7D"),
        (with("u8 @ 1", "digits @ 1"), "7E323A7D027D02", "7E323A7E7E"),
        (with("u8 @ 1", "varint @ 1"), "7E82007D017D02", "7E82007D7E"),
        // From the beginning on, with bytes behind it, with an end that is never escaped.
        (format!("{COUNTED}\ncounts = \"0..-2\"\nend = \"0D 7D\""), "7E037D020D7D", "7E037E0D7D"),
        ("size = 2\nunescape = { \"DB DC\" = \"C0\" }".into(), "DBDC01", "C001"),
    ] {
        let layout = of(&format!("{head}\n{lines}"));
        let topic = format!("t.{}", plain.to_lowercase());
        let expected = match (plain.len(), topic.len()) {
            // A length of 126, and not all that it counts.
            (0, _) => vec![],
            (_, ..=255) => vec![published(&topic, 0, raw, ""); 2],
            _ => vec![Event::Refused(String::new()); 2],
        };
        let times = if plain.is_empty() { 1 } else { 2 };
        assert_eq!(events(&layout, &unhex(&raw.repeat(times))), expected, "{lines}");
    }
    // What is larger than it may be is known from its header.
    let layout = of(&format!("topic = \"t\"\ncheck = \"none\"\n{}", COUNTED.replace("u8", "u16")));
    let cut = Cutter::default().next(&layout, b"\x7e\x01\x00", 258);
    assert!(matches!(cut, Cut::Malformed(Malformed::TooLarge { len: 259, .. })), "{cut:?}");
}

#[test]
fn what_is_escaped_and_counted_is_scanned_only_where_a_start_is_seen() {
    let scan = "topic = \"t\"\ncheck = \"none\"\non-malformed = \"scan\"";
    for (lines, why) in [
        (COUNTED.replace(", \"7D 02\" = \"7E\"", ""), "a pair stands for the 7E that start begins with"),
        (COUNTED.replace("7D 02", "7D 7E"), "a pair stands for the 7E that start begins with"),
        (
            "unescape = { \"7D 01\" = \"7D\", \"7D 02\" = \"7E\" }\n[[layout.a.shape]]\nstart = \"7E 01\"\nsize = 4\n\
                 [[layout.a.shape]]\nstart = \"7E\"\nuntil = \"7E\""
                .into(),
            "all shapes have until or none",
        ),
    ] {
        let wrong = Layouts::parse(&format!("[layout.a]\n{scan}\n{lines}"), "test.toml").unwrap_err();
        assert!(wrong[0].to_string().contains(why), "{wrong:?}");
        // Without looking for the next start it may be so.
        let scan = scan.replace("scan", "close");
        assert!(Layouts::parse(&format!("[layout.a]\n{scan}\n{lines}"), "test.toml").is_ok(), "{lines}");
    }
    // A frame that was cut short is skipped up to the next start.
    let layout = of(&format!("{scan}\n{COUNTED}"));
    assert_eq!(
        events(&layout, &unhex("7E0561 7E017D02 7D03 7E00")),
        [
            Event::Malformed,
            Event::Skipped(3),
            published("t", 0, "7E017D02", ""),
            Event::Malformed,
            Event::Skipped(2),
            published("t", 0, "7E00", "")
        ]
    );
}

#[test]
fn escapes_are_not_undone_twice_in_the_same_bytes() {
    // As many bytes as may be held, that come one at a time, and 1 MiB of starts that lead nowhere: minutes, if they were.
    let lines = COUNTED.replace("u8", "u32");
    let layout = of(&format!("topic = \"t\"\ncheck = \"none\"\non-malformed = \"scan\"\n{lines}"));
    let (mut stream, max) = (b"\x7e\x01\0\0\0".to_vec(), 1 << 25);
    stream.resize(READ_MAX, b'a');
    let mut cutter = Cutter::default();
    for len in 5..READ_MAX {
        assert_eq!(cutter.next(&layout, &stream[..len], max), Cut::More(len + 1));
    }
    let endless = Cut::Malformed(Malformed::Endless { shape: 0, max: READ_MAX });
    assert_eq!(cutter.next(&layout, &stream, max), endless);
    let stream = b"\x7e\x00\x1f\xff\xff".repeat(1 << 18);
    let mut connection = Connection::new(&layout);
    connection.max = 1 << 23;
    connection.receive(&stream);
    assert_eq!(connection.events.len(), 2 * (1 << 18) - 2);
}

#[test]
fn an_until_is_not_looked_for_twice_in_the_same_bytes() {
    // As many bytes as may be held, that come one at a time, and 1 MiB of starts that lead nowhere: seconds, if it were.
    let layout =
        of("topic = \"t\"\ncheck = \"none\"\nstart = \"24\"\nuntil = \"0D 0A\"\non-malformed = \"scan\"");
    let (stream, max) = (vec![b'$'; 1 << 22], 1 << 22);
    let mut cutter = Cutter::default();
    for len in (0..READ_MAX).skip(1) {
        assert_eq!(cutter.next(&layout, &stream[..len], max), Cut::More(len + 1));
    }
    // Nobody holds more without knowing where it ends.
    let endless = Cut::Malformed(Malformed::Endless { shape: 0, max: READ_MAX });
    assert_eq!(cutter.next(&layout, &stream[..READ_MAX], max), endless);
    let (mut cutter, mut at, max) = (Cutter::default(), 0, 1 << 19);
    let mut malformed = 0;
    while at < 1 << 20 {
        match cutter.next(&layout, &stream[at..1 << 21], max) {
            Cut::Malformed(_) => malformed += 1,
            Cut::Skip(bytes) => at += bytes,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(malformed, 1 << 20);
    // As many bytes as may be held end far away in an escape that is not listed.
    let layout = of(
        "topic = \"t\"\ncheck = \"none\"\nstart = \"24\"\nuntil = \"0D 0A\"\non-malformed = \"scan\"\nunescape = { \"7D 01\" = \"0D\" }",
    );
    let stream = [vec![b'$'; READ_MAX - 4], b"\x7d\x02\r\n".to_vec()].concat();
    let seen = {
        let mut connection = Connection::new(&layout);
        connection.max = 1 << 21;
        connection.receive(&stream);
        connection.events
    };
    assert_eq!(seen, [Event::Malformed, Event::Skipped(stream.len())]);
}

#[test]
fn checks_of_every_kind() {
    let body = b"123456789";
    for (name, at, value) in [
        ("crc-16/arc", "u16 @ -2", unhex("BB3D")),
        ("crc-16/modbus", "u16le @ -2", unhex("374B")),
        ("crc-16/modbus", "bytes -2..", unhex("4B37")),
        ("crc-16/arc", "u32 @ -4", unhex("0000BB3D")),
        ("crc-16/arc", "hex -4..", b"BB3D".to_vec()),
        ("crc-16/arc", "hex -4..", b"bb3d".to_vec()),
        ("crc-8/smbus", "u8 @ -1", unhex("F4")),
        ("crc-15/can", "u16 @ -2 & 0x7FFF", unhex("859E")),
        ("crc-32/iso-hdlc", "u32 @ -4", unhex("CBF43926")),
        ("crc-64/xz", "u64 @ -8", unhex("995DC9BBDF1939FA")),
        ("crc-82/darc", "bytes -11..", unhex("009EA83F625023801FD612")),
        ("crc-32c/masked", "u32le @ -4", 0xc78a_b0e5u32.to_le_bytes().to_vec()),
        ("xor-8", "u8 @ -1", unhex("31")),
        ("sum-8", "u8 @ -1", unhex("DD")),
        ("sum-8", "digits -3..", b"221".to_vec()),
        ("fletcher-8", "bytes -2..", unhex("DD15")),
        ("md5", "bytes -16..", unhex("25F9E794323B453885F5181F1B624D0B")),
        ("md5", "bytes -4..", unhex("25F9E794")),
        ("md5", "u32 @ -4", unhex("25F9E794")),
        ("md5", "hex -32..", b"25f9e794323b453885f5181f1b624d0b".to_vec()),
        ("sha-1", "bytes -20..", unhex("F7C3BC1D808E04732ADF679965CCC34CA7AE3441")),
        ("sha-256", "bytes -8..", unhex("15E2B0D3C33891EB")),
    ] {
        let frame = [&body[..], &value].concat();
        let lines = format!(
            "topic = \"t\"\nsize = {}\ncheck = {{ is = \"{name}\", over = \"0..9\", at = \"{at}\" }}",
            frame.len()
        );
        let layout = of(&lines);
        assert_eq!(one(&layout, &frame), published("t", 0, &hex(&frame), ""), "{name} {at}");
        for bit in 0..8 * frame.len() {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut connection = Connection::new(&layout);
            connection.receive(&flipped);
            let is_case = at.starts_with("hex") && flipped.eq_ignore_ascii_case(&frame);
            let is_masked = at.contains('&') && bit == 8 * 9 + 7;
            let expected = if is_case || is_masked {
                published("t", 0, &hex(&flipped), "")
            } else {
                Event::Bad(String::new())
            };
            assert_eq!(connection.events, [expected], "{name} {at}, bit {bit}");
        }
    }
    // By its parameters; several; and with the listener's secret.
    let crc = "check = { is = { width = 16, poly = 0x8005, refin = true, refout = true }, over = \"0..9\", at = \"u16 @ -2\" }";
    let frame = [&body[..], &[0xbb, 0x3d]].concat();
    let layout = of(&format!("topic = \"t\"\nsize = 11\n{crc}"));
    assert_eq!(one(&layout, &frame), published("t", 0, &hex(&frame), ""));
    let two = of(
        "topic = \"t\"\nsize = 12\ncheck = [{ is = \"xor-8\", over = \"0..9\", at = \"u8 @ 9\" }, { is = \"crc-16/arc\", over = \"0..9\", at = \"u16 @ -2\" }]\nreply = \"00 00 00 00 00 00 00 00 01 {seal} {seal}\"",
    );
    let frame = [&body[..], &[0x31, 0xbb, 0x3d]].concat();
    let Event::Published(.., reply) = one(&two, &frame) else { panic!() };
    assert_eq!(&reply[..20], "00000000000000000101");
    let wrong = [&body[..], &[0x32, 0xbb, 0x3d]].concat();
    assert_eq!(one(&two, &wrong), Event::Bad(String::new()));
    let keyed = of(
        "topic = \"t\"\nlength = \"u8 @ 0\"\ncheck = { is = \"hmac-sha-256\", over = \"0..-8\", at = \"bytes -8..\" }",
    );
    assert!(keyed.needs_secret() && !two.needs_secret());
    let body = b"\x0babc";
    let mac = Scheme::keyed(b"secret").digest(body);
    let frame = [&body[..], &mac[..8]].concat();
    assert_eq!(one(&keyed, &frame), published("t", 0, &hex(&frame), ""));
}

#[test]
fn no_device_publishes_where_it_likes() {
    let layout =
        of("topic = \"dev.{f}.x\"\nlength = \"u8 @ 0\"\ncheck = \"none\"\nf = \"text 1..\"\nrefuse = \"FF\"");
    let of = |text: &[u8]| one(&layout, &[&[text.len() as u8], text].concat());
    for (text, token) in [
        ("a.b", "a%2Eb"),
        ("*", "%2A"),
        (">", "%3E"),
        ("100%", "100%25"),
        ("a b\n", "a%20b%0A"),
        ("größe", "größe"),
        ("a\u{a0}b", "a%C2%A0b"),
        ("x \0 ", "x"),
    ] {
        let Event::Published(topic, ..) = of(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(topic, format!("dev.{token}.x"));
    }
    let refused = Event::Refused("FF".into());
    // Empty, no UTF-8, and longer than a topic.
    assert_eq!(
        [of(b""), of(b"  \0"), of(b"\xff"), of(&[b'a'; 250])],
        std::array::from_fn::<_, 4, _>(|_| refused.clone())
    );
}

#[test]
fn kept_fields() {
    let layout = of(r#"
        topic = "dev.{id}.{name}"
        key = "{id}"
        check = { is = "xor-8", over = "0..-1", at = "u8 @ -1" }
        refuse = "FF"
        [[layout.a.shape]]
        start = "01"
        size = 4
        id = "u16 @ 1"
        keep = ["id"]
        reply = "01 {id:u32le} {seal}"
        publish = false
        [[layout.a.shape]]
        start = "02"
        length = "u8 @ 1"
        name = "text 2..-1"
        counts = "2..-1"
        keep = ["name"]
        publish = false
        [[layout.a.shape]]
        start = "03"
        size = 3
        n = "u8 @ 1"
        reply = "{id} {n} {name}""#);
    let sealed = |bytes: &[u8]| [bytes, &[bytes.iter().fold(0, |sum, byte| sum ^ byte)]].concat();
    let (id, name, data) = (sealed(b"\x01\x01\x02"), sealed(b"\x02\x02ab"), sealed(b"\x03\x07"));
    let other = sealed(b"\x01\x00\x09");
    let mut wrong = sealed(b"\x01\x00\x05");
    wrong[3] ^= 1;
    let stream = [&data[..], &id, &data, &name, &data, &wrong, &data, &other, &data].concat();
    let refused = Event::Refused("FF".into());
    let silent = Event::Taken(String::new());
    assert_eq!(
        events(&layout, &stream),
        [
            refused.clone(),
            Event::Taken("0102010000 02".replace(' ', "")),
            refused,
            silent,
            published("dev.258.ab", 258, &hex(&data), "0102 07 6162"),
            // Of a frame that is wrong nothing is believed.
            Event::Bad("FF".into()),
            published("dev.258.ab", 258, &hex(&data), "0102 07 6162"),
            Event::Taken("0109000000 08".replace(' ', "")),
            published("dev.9.ab", 9, &hex(&data), "0009 07 6162"),
        ]
    );
    let mut connection = Connection::new(&layout);
    assert_eq!((connection.kept.size(), size_of::<Cutter>() + size_of::<Kept>()), (0, 56));
    connection.receive(&stream);
    assert!(connection.kept.size() > 0 && connection.kept.size() <= Kept::size_max(&layout));
    assert!(layout.keeps(0) && layout.keeps(1) && !layout.keeps(2) && layout.answers());
}

#[test]
fn what_a_stream_looks_like() {
    let expected = builtin().get("gt06").unwrap();
    for (bytes, alike) in [
        (&b"GET / HTTP/1.1\r\n"[..], Some("HTTP")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", Some("TLS")),
        (b"FG\x01\x00", Some("native frames")),
        (b"\x7e\x00\x02\x00\x00\x04\x30\x48\x32\x54\x65\x00\xb7\xca\x7e", Some("layout jt808")),
        (b"$GPGGA,123519,,,,*47\r\n", Some("layout lines-nmea")),
        (b"\xf9\xbe\xb4\xd9version", Some("layout bitcoin")),
        (b"\x01\x02\x03\x04", None),
        (b"", None),
    ] {
        let found = builtin().likeness(expected, bytes);
        assert_eq!(found.as_deref(), alike, "{}", bytes.escape_ascii());
    }
    assert_eq!(
        shown(b"GET / HTTP/1.1\r\nHost"),
        "47 45 54 20 2F 20 48 54 54 50 2F 31 2E 31 0D 0A … \"GET / HTTP/1.1\\r\\n …\""
    );
}

#[test]
fn layouts_of_a_file_hide_those_that_come_with_the_program() {
    let (mine, _) =
        Layouts::parse("[layout.gt06]\ntopic = \"x\"\nsize = 1\ncheck = \"none\"", "my.toml").unwrap();
    let all = mine.or(builtin());
    assert_eq!((all.len(), all.get("gt06").unwrap().shapes()), (builtin().len(), 1));
    assert!(all.iter().map(|layout| layout.name()).is_sorted() && !all.is_empty());
}

#[test]
fn starts_whose_end_does_not_come_are_not_each_waited_behind() {
    // As a gateway reads: never more than may be held, and on only where more is asked for.
    let layout =
        of("topic = \"t\"\ncheck = \"none\"\nstart = \"24\"\nuntil = \"0D 0A\"\non-malformed = \"scan\"");
    let stream = [vec![b'$'; 64 * READ_MAX], b"$good\r\n".to_vec()].concat();
    let (mut cutter, mut at, mut filled, mut reads) = (Cutter::default(), 0, 0, 0);
    let good = loop {
        match cutter.next(&layout, &stream[at..filled], 1 << 24) {
            Cut::More(_) => {
                assert!(filled < stream.len());
                (filled, reads) = ((at + READ_MAX).min(stream.len()), reads + 1);
            }
            Cut::Skip(bytes) => at += bytes,
            Cut::Malformed(_) => {}
            Cut::Frame { len, .. } => break &stream[at..at + len],
        }
    };
    assert!(good.ends_with(b"good\r\n") && good.len() < READ_MAX);
    assert!(reads <= 2 * 64 + 2, "{reads} reads");
}

#[test]
fn a_start_that_has_a_pair_and_stands_without_is_malformed() {
    let layout =
        of("topic = \"t\"\ncheck = \"none\"\nstart = \"02\"\nuntil = \"03\"\non-malformed = \"scan\"\n\
                     unescape = { \"10 42\" = \"02\", \"10 50\" = \"10\" }");
    // The first was cut short, and the one behind it is good.
    let stream = b"\x02ab\x02cd\x03\x02\x10\x42\x03";
    let whole = |frame: &[u8]| published("t", 0, &hex(frame), "");
    let expected = [Event::Malformed, Event::Skipped(3), whole(b"\x02cd\x03"), whole(b"\x02\x10\x42\x03")];
    assert_eq!(events(&layout, stream), expected);
}

#[test]
fn a_place_that_another_gives_is_not_read_out_of_the_check() {
    let layout =
        of("topic = \"t.{kind}\"\nstart = \"44\"\nlength = \"varint @ 1\"\ncounts = \"length..-1\"\n\
                     kind = \"u8 @ length\"\ncheck = { is = \"xor-8\", over = \"0..-1\", at = \"u8 @ -1\" }");
    assert_eq!(events(&layout, b"\x44\x00\x44"), [Event::Malformed]);
    assert_eq!(events(&layout, b"\x44\x01\x07\x42"), [published("t.7", 0, &hex(b"\x44\x01\x07\x42"), "")]);
}
