mod pasted;

use super::*;

/// What is printed of a capture under a layout that comes with the program, and the totals.
fn printed(name: &str, bytes: &[u8], json: bool) -> (String, Totals) {
    let layout = builtin().get(name).expect("it comes with the program").clone();
    let check = Check { layout, all: builtin().clone(), scheme: Scheme::Sha256, max: 1 << 20 };
    let mut out = Vec::new();
    let capture = Capture::new(bytes, Some(Form::Binary));
    let totals = check.capture(capture, Vec::new(), &mut Printer::new(&mut out, json)).unwrap().unwrap();
    (String::from_utf8(out).unwrap(), totals)
}

fn unhex(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut capture = Capture::new(text.as_bytes(), Some(Form::Hex));
    while capture.read(&mut out).expect("it is hex") {}
    out
}

const LOGIN: &str = "78780D01086471700328358100093F040D0A";
const WRONG: &str = "78780C95130A0209321C91000112800D0A";
const POSITION: &str = "787822220F0C1D023305C9027AC8180C46586000140001CC00287D001F71000001000820860D0A";

#[test]
fn a_dirty_capture_is_shown_to_its_end() {
    let capture = unhex(&[LOGIN, "414243", WRONG, POSITION, "7878"].concat());
    let (text, totals) = printed("gt06", &capture, false);
    let login = "\
0..18  18 bytes, shape 1 (start 78 78 0D 01): right
    0..4  start                    78 78 0D 01
    2..3  length  u8               0D                       13
    3..4  type    u8               01                       1
   4..12  imei    bcd              08 64 71 70 03 28 35 81  0864717003283581 (kept)
  12..14  serial  u16              00 09                    9
  14..16  check   crc-16/ibm-sdlc  3F 04                    right, over 2..14
  16..18  end                      0D 0A
  topic gt06.864717003283581.1  key 864717003283581
  reply  78 78 05 01 00 09 55 94 0D 0A

18..  malformed: no shape of the layout starts so
  begins 41 42 43 78 78 0C 95 13 0A 02 09 32 1C 91 00 01 … \"ABCxx\\x0c\\x95\\x13\\n\\x02\\t2\\x1c\\x91\\x00\\x01 …\"
  a gateway looks for the next start (on-malformed = \"scan\")
18..21  skipped 3 bytes: 41 42 43 \"ABC\"

21..38  17 bytes, shape 2 (start 78 78): the check is wrong
    0..2  start                    78 78
    2..3  length  u8               0C       12
    3..4  type    u8               95       149
   4..11  -                        7 bytes
  11..13  serial  u16              00 01    1
  13..15  check   crc-16/ibm-sdlc  12 80    wrong, over 2..13: would be 48 5C
  15..17  end                      0D 0A
  dropped; if it were right: topic gt06.864717003283581.149  key 864717003283581
";
    let (before, after) = text.split_at(login.len());
    assert_eq!(before, login);
    assert!(after.contains("\n38..77  39 bytes, shape 2 (start 78 78): right\n"), "{text}");
    // As a gateway does, which looks for another start within it.
    let unfinished = "\n\n77..  malformed: the stream ends behind 2 bytes of a frame that takes 4 or more\n  begins 78 78 \"xx\"\n";
    assert!(after.contains(unfinished), "{text}");
    assert!(after.contains("\n77..79  skipped 2 bytes: 78 78 \"xx\"\n"), "{text}");
    let last =
        "3 frames of 74 bytes: 2 right, 1 with a wrong check; malformed in 2 places; skipped 5 bytes\n";
    assert!(text.ends_with(last), "{text}");
    assert!(!totals.are_right());
}

#[test]
fn each_line_of_json_is_what_is_shown() {
    let capture = unhex(&[LOGIN, "414243", WRONG, "7878"].concat());
    let (text, totals) = printed("gt06", &capture, true);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert_eq!((&lines[0]["verdict"], &lines[0]["frame"][1]), (&"right".into(), &18.into()));
    assert_eq!(lines[0]["topic"], "gt06.864717003283581.1");
    assert_eq!(lines[0]["reply"], "787805010009559 40d0a".replace(' ', ""));
    assert_eq!(lines[0]["fields"][1]["name"], "imei");
    assert_eq!((&lines[1]["malformed"], &lines[2]["skipped"][1]), (&18.into(), &21.into()));
    assert_eq!((&lines[3]["verdict"], &lines[3]["checks"][0]["expected"]), (&"wrong".into(), &"485c".into()));
    assert_eq!((&lines[4]["malformed"], &lines[5]["skipped"][1]), (&38.into(), &40.into()));
    assert_eq!(lines[6]["totals"]["frames"], totals.frames);
    // Of a frame that is dropped no reply is sent.
    assert!(lines[3]["reply"].is_null() && lines[3]["refuse"].is_null(), "{text}");
}

#[test]
fn where_a_gateway_closes_it_stops_and_says_why() {
    let (text, totals) = printed("teltonika", b"GET / HTTP/1.1\r\n\r\n", false);
    assert!(text.starts_with("0..  malformed: no shape of the layout starts so\n"), "{text}");
    assert!(text.contains("\n  looks like HTTP\n  a gateway closes the connection here"), "{text}");
    assert!(text.ends_with("\n0 frames of 0 bytes; malformed in 1 place\n"), "{text}");
    assert_eq!((totals.malformed, totals.skipped), (1, 0));
    let (text, _) = printed("teltonika", &unhex(LOGIN), false);
    assert!(text.contains("looks like layout gt06"), "{text}");
}

#[test]
fn another_check_that_would_agree_is_named() {
    // The sample is right under CRC-16/IBM-SDLC; the layout says another.
    let declared = "[layout.x]\ntopic = \"x\"\nstart = \"78 78\"\nlength = \"u8 @ 2\"\ncounts = \"3..-2\"\n\
                    check = { is = \"crc-16/arc\", over = \"2..-4\", at = \"u16 @ -4\" }";
    let layouts = Layouts::parse(declared, "x.toml").unwrap().0;
    let layout = layouts.get("x").unwrap().clone();
    let check = Check { layout, all: layouts, scheme: Scheme::Sha256, max: 1 << 20 };
    let (bytes, mut out) = (unhex(LOGIN), Vec::new());
    let capture = Capture::new(&bytes[..], Some(Form::Binary));
    check.capture(capture, Vec::new(), &mut Printer::new(&mut out, false)).unwrap().unwrap();
    let text = String::from_utf8(out).unwrap();
    let found =
        "it would agree with\n    check = { is = \"crc-16/ibm-sdlc\", over = \"2..-4\", at = \"u16 @ -4\" }";
    assert!(text.contains(found), "{text}");
}

#[test]
fn an_endless_capture_takes_bounded_memory() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_sub(buffer.len() as u64);
            buffer.fill(if self.0.is_multiple_of(3) { b'x' } else { b'y' });
            Ok(if self.0 == 0 { 0 } else { buffer.len() })
        }
    }
    // Dirt in a layout that scans, each byte of which may begin a frame (78 is an x), and a start without an end in one that looks for it.
    for (name, malformed) in [("gt06", 1), ("lines-nmea", 1)] {
        let layout = builtin().get(name).unwrap().clone();
        let check = Check { layout, all: builtin().clone(), scheme: Scheme::Sha256, max: 1 << 20 };
        let mut out = Vec::new();
        let mut bytes = b"$".to_vec();
        bytes.reserve(1 << 16);
        let capture = Capture::new(Endless(8 << 20), Some(Form::Binary));
        let totals = check.capture(capture, bytes, &mut Printer::new(&mut out, false)).unwrap().unwrap();
        assert_eq!(totals.malformed, malformed, "{name}");
        assert!(totals.skipped > 7 << 20 && out.len() < 1000, "{name}: {totals:?}");
    }
}

#[test]
fn a_frame_whose_end_does_not_come_is_told_as_a_gateway_tells_it() {
    use crate::core::limits::READ_MAX;
    let sentence = |len: usize| {
        let body = "A".repeat(len - 6);
        let check = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{check:02X}\r\n")
    };
    let (_, totals) = printed("lines-nmea", sentence(READ_MAX).as_bytes(), false);
    assert!(totals.are_right(), "{totals:?}");
    for json in [false, true] {
        let (text, totals) = printed("lines-nmea", sentence(READ_MAX + 1).as_bytes(), json);
        let said = format!("no end within {READ_MAX} bytes");
        assert!(!totals.are_right() && text.contains(&said), "{text}");
    }
}

/// What is printed of a capture under a declaration.
fn shown(declared: &str, bytes: &[u8]) -> (String, Totals) {
    let layouts = Layouts::parse(declared, "x.toml").unwrap_or_else(|wrong| panic!("{wrong:?}")).0;
    let layout = layouts.iter().next().expect("one is declared").clone();
    let check = Check { layout, all: layouts, scheme: Scheme::Sha256, max: 1 << 20 };
    let mut out = Vec::new();
    let capture = Capture::new(bytes, Some(Form::Binary));
    let totals = check.capture(capture, Vec::new(), &mut Printer::new(&mut out, false)).unwrap().unwrap();
    (String::from_utf8(out).unwrap(), totals)
}

#[test]
fn a_frame_that_is_refused_shows_what_would_be_sent() {
    let declared = "[layout.x]\ntopic = \"x.{who}\"\non-malformed = \"scan\"\nstart = \"AA\"\nsize = 4\nwho = \"text 1..3\"\n\
                    check = { is = \"xor-8\", over = \"0..3\", at = \"u8 @ 3\" }\nreply = \"01\"\nrefuse = \"0F {who}\"\n";
    let right = b"\xaaab\xa9";
    for (frame, line) in [
        (&right[..], "\n  reply  01\n"),
        (b"\xaaab\x00", "\n  refuse 0F 61 62\n"),
        // A topic has no empty token.
        (b"\xaa\0\0\xaa", "\n  refused: who is empty, and a topic has no empty token\n  refuse 0F 00 00\n"),
    ] {
        let (text, _) = shown(declared, frame);
        assert!(
            text.contains(line) && text.matches("0F").count() + text.matches("  reply").count() == 1,
            "{text}"
        );
    }
    let (text, _) = shown(&declared.replace("refuse = \"0F {who}\"\n", ""), b"\xaaab\x00");
    assert!(!text.contains("reply") && !text.contains("refuse"), "{text}");
}

#[test]
fn a_capture_that_ends_within_a_frame_is_looked_through_as_a_gateway_does() {
    let declared = "[layout.x]\ntopic = \"x\"\non-malformed = \"scan\"\nstart = \"AA\"\nlength = \"u8 @ 1\"\ncheck = \"none\"\n";
    // A damaged length, behind which two frames come.
    let (text, totals) = shown(declared, b"\xaa\x40z\xaa\x01a\xaa\x02bc\xaa");
    assert_eq!((totals.frames, totals.malformed, totals.skipped, totals.unfinished), (2, 2, 4, 0), "{text}");
    assert!(
        text.contains("0..  malformed: the stream ends behind 11 bytes of a frame that takes 66 or more\n"),
        "{text}"
    );
    // Within what is skipped, another start may be that of none: a gateway counts both.
    let (text, totals) = shown(declared, b"\xaa\x40z\xaa\x50z\xaa\x01a");
    assert_eq!((totals.frames, totals.malformed, totals.counted, totals.skipped), (1, 1, 2, 6), "{text}");
    assert!(text.ends_with("; malformed in 1 place (MALFORMED 2); skipped 6 bytes\n"), "{text}");
    // What looks for no start says what it has.
    let (text, totals) = shown(&declared.replace("scan", "close"), b"\xaa\x40z\xaa\x01a");
    assert_eq!((totals.frames, totals.malformed, totals.unfinished), (0, 0, 6), "{text}");
}

#[test]
fn a_length_that_would_make_frames_is_named() {
    let of = |length: &str| {
        format!(
            "[layout.x]\ntopic = \"x\"\nstart = \"AB CD\"\n{length}\n\
             check = {{ is = \"crc-16/ibm-3740\", over = \"4..-2\", at = \"u16 @ -2\" }}\n"
        )
    };
    // 29B1 is the checksum of 123456789.
    let capture = b"\xab\xcd\x09\x00123456789\x29\xb1".repeat(2);
    let named = "  it would make frames with\n    length = \"u16le @ 2\"\n    counts = \"4..-2\"\n";
    for wrong in [
        "length = \"u16 @ 2\"\ncounts = \"4..-2\"",
        "length = \"u16le @ 2\"",
        "length = \"u16le @ 2\"\ncounts = \"0..\"",
    ] {
        let (text, _) = shown(&of(wrong), &capture);
        assert!(text.contains(named), "{wrong}: {text}");
    }
    let (text, totals) = shown(&of("length = \"u16le @ 2\"\ncounts = \"4..-2\""), &capture);
    assert!(totals.are_right() && !text.contains("would make"), "{text}");
}

#[test]
fn of_a_check_of_8_bits_nothing_is_said_by_chance() {
    let declared = "[layout.x]\ntopic = \"x\"\nlength = \"u8 @ 0\"\n\
                    check = { is = \"sum-8\", over = \"0..-1\", at = \"u8 @ -1\" }\n";
    let frame = |body: &[u8]| {
        let mut frame = [&[body.len() as u8 + 1], body].concat();
        frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
        frame
    };
    let bodies = [&b"one"[..], b"another", b"a third", b"4", b"the fifth of them"];
    let said = "it would agree with\n    check = { is = \"xor-8\", over = \"0..-1\", at = \"u8 @ -1\" }\n";
    let (text, _) = shown(declared, &frame(bodies[0]));
    assert!(!text.contains("would agree"), "{text}");
    let (text, _) = shown(declared, &bodies.map(frame).concat());
    assert!(text.contains(said), "{text}");
}
