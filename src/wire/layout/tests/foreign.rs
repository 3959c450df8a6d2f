//! Formats that are in no contract and come with no program, declared as a stranger would.

use super::*;

/// MQTT 3.1.1: lengths as varints, names whose length stands before them, answers by the kind of packet.
const MQTT: &str = "[layout.mqtt]\ntopic = \"mqtt.{name}\"\ncheck = \"none\"\nlength = \"varint @ 1\"\n\
    [[layout.mqtt.shape]]\nstart = \"10\"\nreply = \"20 02 00 00\"\npublish = false\n\
    [[layout.mqtt.shape]]\nstart = \"C0\"\nreply = \"D0 00\"\npublish = false\n\
    [[layout.mqtt.shape]]\nstart = \"30\"\nn = \"u16 @ length\"\nname = \"text length + 2..length + 2 + n\"\n\
    [[layout.mqtt.shape]]\nstart = \"32\"\nn = \"u16 @ length\"\nname = \"text length + 2..length + 2 + n\"\n\
    id = \"u16 @ length + 2 + n\"\nreply = \"40 02 {id}\"\n";

#[test]
fn mqtt_packets_are_published_and_acknowledged() {
    let connect = "10 10 0004 4D515454 04 02 003C 0004 64657631";
    let at_most_once = "30 09 0003 612F62 32312E35";
    let body = "78".repeat(140);
    let at_least_once = format!("32 93 01 0003 612F62 0007 {body}");
    let stream = unhex(&[connect, at_most_once, &at_least_once, "C0 00"].concat());
    let expected = vec![
        Event::Taken("20020000".into()),
        published("mqtt.a/b", 0, at_most_once, ""),
        published("mqtt.a/b", 0, &at_least_once, "40020007"),
        Event::Taken("D000".into()),
    ];
    assert_eq!(events(&layout(MQTT), &stream), expected);
    // A name that is longer than its packet.
    assert_eq!(events(&layout(MQTT), &unhex("30 04 0009 6161")), [Event::Malformed]);
}

/// HDLC over TCP: one flag ends a frame and begins the next, and more fill the time between.
#[test]
fn flags_of_hdlc_may_be_shared_and_fill() {
    let hdlc = layout(
        "[layout.hdlc]\ntopic = \"hdlc.{address}\"\nunescape = { \"7D 5E\" = \"7E\", \"7D 5D\" = \"7D\" }\n\
         [[layout.hdlc.shape]]\nstart = \"7E\"\nsize = 1\ncheck = \"none\"\npublish = false\n\
         [[layout.hdlc.shape]]\nuntil = \"7E\"\naddress = \"u8 @ 0\"\n\
         check = { is = \"crc-16/ibm-sdlc\", over = \"0..-3\", at = \"u16le @ -3\" }\n",
    );
    let [first, second] = ["0168656C6C6F6E087E", "02777D5E6F7D5D726C64D9647E"];
    let stream = unhex(&["7E7E", first, second, "7E7E7E", first].concat());
    let flag = || Event::Taken(String::new());
    let frame = |address: u8, bytes| published(&format!("hdlc.{address}"), 0, bytes, "");
    let expected =
        vec![flag(), flag(), frame(1, first), frame(2, second), flag(), flag(), flag(), frame(1, first)];
    assert_eq!(events(&hdlc, &stream), expected);
}

/// The Swift Binary Protocol: a check behind the payload that its length counts, among dirt.
#[test]
fn swift_binary_messages_are_found_in_dirt() {
    let sbp = layout(
        "[layout.sbp]\ntopic = \"sbp.{sender}.{type}\"\nstart = \"55\"\ntype = \"u16le @ 1\"\nsender = \"u16le @ 3\"\n\
         length = \"u8 @ 5\"\ncounts = \"6..-2\"\non-malformed = \"scan\"\n\
         check = { is = \"crc-16/xmodem\", over = \"1..-2\", at = \"u16le @ -2\" }\n",
    );
    let [first, second] = ["55FFFF420004000000007B2C", "55020142000661626364656690CD"];
    let stream = unhex(&[first, "6A756E6B", second].concat());
    let expected = vec![
        published("sbp.66.65535", 0, first, ""),
        Event::Malformed,
        Event::Skipped(4),
        published("sbp.66.258", 0, second, ""),
    ];
    assert_eq!(events(&sbp, &stream), expected);
}

/// Of what a stream ends with, whatever may be found is found, once it is known that it ends.
#[test]
fn the_end_of_a_stream_is_looked_through_once() {
    let scans = layout(
        "[layout.a]\ntopic = \"a\"\nstart = \"AA BB\"\nlength = \"u8 @ 2\"\ncheck = \"none\"\non-malformed = \"scan\"\n",
    );
    let bytes = unhex("AABB 40 00 AABB 01 07 AA");
    let mut cutter = Cutter::default();
    assert_eq!(cutter.next(&scans, &bytes, 1000), Cut::More(67));
    assert!(cutter.end(&scans) && !cutter.end(&scans), "it is looked through once");
    let unfinished = Malformed::Unfinished { len: 9, least: 67 };
    assert_eq!(cutter.next(&scans, &bytes, 1000), Cut::Malformed(unfinished));
    assert_eq!(cutter.next(&scans, &bytes, 1000), Cut::Skip(4));
    assert_eq!(cutter.next(&scans, &bytes[4..], 1000), Cut::Frame { len: 4, shape: 0 });
    assert_eq!(
        cutter.next(&scans, &bytes[8..], 1000),
        Cut::Malformed(Malformed::Unfinished { len: 1, least: 2 })
    );
    assert_eq!(cutter.next(&scans, &bytes[8..], 1000), Cut::Skip(1));
    assert!(matches!(cutter.next(&scans, &[], 1000), Cut::More(_)));
    // What looks for no start has nothing to look through.
    let closes =
        layout("[layout.a]\ntopic = \"a\"\nstart = \"AA BB\"\nlength = \"u8 @ 2\"\ncheck = \"none\"\n");
    let mut cutter = Cutter::default();
    assert!(!cutter.end(&closes));
    assert_eq!(cutter.next(&closes, &bytes, 1000), Cut::More(67));
}
