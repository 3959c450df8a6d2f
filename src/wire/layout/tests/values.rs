//! What is said of values that are none: a frame is refused, or malformed where nothing else can be known of it, and the
//! reason is the true one.

use super::*;

fn of(lines: &str) -> Arc<Layout> {
    layout(&format!(
        "[layout.a]\ntopic = \"t.{{b}}\"\nstart = \"44\"\nlength = \"u8 @ 1\"\ncheck = \"none\"\n{lines}\n"
    ))
}

/// A frame with a body.
fn frame(body: &[u8]) -> Vec<u8> {
    [&[0x44, body.len() as u8], body].concat()
}

/// Why a frame is refused.
fn refused(layout: &Layout, frame: &[u8]) -> Option<String> {
    explain(layout, 0, frame, 0, &Kept::default(), &Scheme::Sha256).refused
}

#[test]
fn a_value_that_is_none_is_refused_and_named() {
    for (place, wrong, right) in [
        ("digits @ 2", &b"x1 "[..], &b"12 "[..]),
        ("digits @ 2", b" 12", b"1 2"),
        ("digits @ 2", b"\0\0\0", b"0\0\0"),
        ("digits @ 2", b"999999999999999999999 ", b"18446744073709551615 "),
        ("varint @ 2", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", b"\xff\x01"),
        ("digits 2..4", b"1x", b"12"),
        ("hex 2..4", b"0g", b"0F"),
        ("bcd 2..4", b"\x1a\x22", b"\x12\x34"),
        ("text 2..4", b"\xff\xfe", b"ok"),
    ] {
        let layout = of(&format!("b = \"{place}\""));
        let (wrong, right) = (frame(wrong), frame(right));
        let kind = place.split(' ').next().unwrap();
        let why = format!("b is not the {kind} or the number that it is declared to be");
        assert_eq!(refused(&layout, &wrong), Some(why), "{place}");
        // The connection goes on.
        let seen = events(&layout, &[&wrong[..], &right].concat());
        let is_right = matches!(&seen[..], [Event::Refused(_), Event::Published(..)]);
        assert!(is_right, "{place}: {seen:?}");
        let unused = of(&format!("b = \"u8 @ 2\"\nc = \"{place}\""));
        assert!(
            matches!(&events(&unused, &wrong)[..], [Event::Published(..)]),
            "nobody asks for it: {place}"
        );
    }
}

#[test]
fn where_a_frame_cannot_be_known_it_is_malformed_for_the_true_reason() {
    let malformed = |layout: &Layout, bytes: &[u8]| match Cutter::default().next(layout, bytes, 1 << 20) {
        Cut::Malformed(why) => why.say(layout),
        cut => panic!("{cut:?}"),
    };
    let of_length =
        |place: &str| layout(&format!("[layout.a]\ntopic = \"t\"\nlength = \"{place}\"\ncheck = \"none\"\n"));
    for (place, bytes, why) in [
        ("digits @ 0", &b"x"[..], "there is no digit where its digits should begin"),
        ("digits @ 0", b"99999999999999999999 ", "its length is more than 64 bits"),
        ("digits 0..2", b"1x", "its length is not decimal digits"),
        ("digits 0..21", b"999999999999999999999", "its length is more than 64 bits"),
        ("hex 0..2", b"0g", "its length is not hexadecimal digits"),
        ("hex 0..17", b"11111111111111111", "its length is more than 64 bits"),
        ("bcd 0..1", b"\x1b", "its length is not two decimal digits a byte"),
        ("varint @ 0", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "its varint is more than 64 bits"),
    ] {
        assert_eq!(malformed(&of_length(place), bytes), why, "{place}");
        let escaped = format!(
            "[layout.a]\ntopic = \"t\"\nlength = \"{place}\"\ncheck = \"none\"\nunescape = {{ \"7D 02\" = \"7E\" }}\n"
        );
        assert_eq!(malformed(&layout(&escaped), bytes), why, "{place}, escaped");
    }
    let kinds = [
        ("digits @ 2", "digits"),
        ("digits 2..4", "digits"),
        ("hex 2..4", "hex"),
        ("bcd 2..4", "bcd"),
        ("text 2..4", "text"),
    ];
    for (place, kind) in kinds {
        let layout = of(&format!("n = \"{place}\"\nb = \"text 4..4 + n\""));
        let why = format!("n, which says where another place is, is not a number ({kind})");
        assert_eq!(malformed(&layout, &frame(b"\xfa\xfbabc")), why);
    }
    // Within the frame, and where what stands at its end is not read as a part of it.
    let ends = of("b = \"digits @ 2\"\nc = \"u8 @ -1\"");
    assert_eq!(
        malformed(&ends, &frame(b"12 ")),
        "b (digits) does not end where it may within the 5 bytes of the frame"
    );
    assert_eq!(
        malformed(&of("b = \"varint @ 2\""), &frame(b"\xff")),
        "b (varint) does not end where it may within the 3 bytes of the frame"
    );
    let beyond = of("n = \"u8 @ 2\"\nb = \"text 3..3 + n\"");
    assert_eq!(
        malformed(&beyond, &frame(b"\x09ab")),
        "a place that another field gives is beyond the 5 bytes of the frame"
    );
}

/// A login, and a frame that needs what it kept.
fn device(login: &str, data: &str) -> Arc<Layout> {
    layout(&format!(
        "[layout.a]\ncheck = \"none\"\n[[layout.a.shape]]\nstart = \"01\"\nlength = \"u16 @ 1\"\n{login}\nkeep = [\"id\"]\n\
         publish = false\nreply = \"01\"\nrefuse = \"00\"\n[[layout.a.shape]]\nstart = \"02\"\nsize = 1\n{data}\n"
    ))
}

#[test]
fn a_login_that_later_frames_could_not_use_is_refused_and_says_which_field() {
    let login = |id: &[u8]| [&[1], &(id.len() as u16).to_be_bytes()[..], id].concat();
    let value = |kind: &str| format!("id is not the {kind} or the number that it is declared to be");
    let empty = "id is empty, and a topic has no empty token".to_string();
    for (place, data, wrong, right, why) in [
        ("text 3..", "topic = \"t\"\nkey = \"{id}\"", &b"none"[..], &b"867"[..], value("text")),
        ("text 3..", "topic = \"t\"\nkey = \"{id}\"", b"", b"1", value("text")),
        ("text 3..", "topic = \"t\"\nkey = \"{id}\"", b"86\x017", b"867", value("text")),
        ("text 3..", "topic = \"t.{id:int}\"", b"\x01", b"007", value("text")),
        ("text 3..", "topic = \"t.{id}\"", b"", b"a", empty.clone()),
        ("text 3..", "topic = \"t.{id}\"", b" \0", b"\x01", empty.clone()),
        ("text 3..", "topic = \"t.{id}\"", b"\xff", b"a", value("text")),
        ("text 3..", "topic = \"t\"\nkey = \"7{id}\"", b"x", b"", value("text")),
        (
            "text 3..",
            "topic = \"t\"\nkey = \"0{id}\"",
            &[b'9'; 30],
            b"9",
            "id makes keys that do not fit in 64 bits".into(),
        ),
        ("text 3..", "topic = \"t.{id}\"", &[b'.'; 90], b"a", "id makes topics longer than 255 bytes".into()),
        (
            "text 3..",
            "topic = \"t.{id}\"",
            &[b'a'; 256],
            b"a",
            "id is longer than 255 bytes: too long to be kept".into(),
        ),
        ("bytes 3..", "topic = \"t.{id}\"", b"", b"\xff", empty.clone()),
        ("bytes 3..", "topic = \"t.{id:hex}\"", b"", b"\0", empty),
        ("hex 3..", "topic = \"t.{id}\"", b"0g", b"0f", value("hex")),
        ("digits 3..", "topic = \"t.{id}\"", b"1x", b"1", value("digits")),
        ("digits @ 3", "topic = \"t.{id}\"", b"x ", b"1 ", value("digits")),
        ("bcd 3..", "topic = \"t.{id}\"", b"\xaa", b"\x10", value("bcd")),
        ("bcd 3..", "topic = \"t\"", b"\xaa", b"\x10", value("bcd")),
        (
            "varint @ 3",
            "topic = \"t.{id}\"",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x07",
            value("varint"),
        ),
        ("varint @ 3", "topic = \"t\"\nreply = \"{id:u8}\"", b"\xff\x7f", b"\x7f", value("varint")),
    ] {
        let layout = device(&format!("id = \"{place}\""), data);
        let (wrong, right) = (login(wrong), login(right));
        assert_eq!(refused(&layout, &wrong).as_deref(), Some(&*why), "{place}, {data}");
        let seen = events(&layout, &[&wrong[..], &right, b"\x02"].concat());
        let is_right =
            matches!(&seen[..], [Event::Refused(no), Event::Taken(_), Event::Published(..)] if no == "00");
        assert!(is_right, "{place}, {data}: {seen:?}");
    }
}

#[test]
fn all_bytes_and_an_lrc_add_up_to_nothing() {
    let layout = layout(
        "[layout.a]\ntopic = \"t\"\nsize = 4\ncheck = { is = \"lrc-8\", over = \"0..3\", at = \"u8 @ 3\" }\nreply = \"01 02 03 {seal}\"\n",
    );
    assert!(
        matches!(&events(&layout, &[1, 2, 3, 0xfa])[..], [Event::Published(_, _, _, reply)] if reply == "010203FA")
    );
    assert!(matches!(&events(&layout, &[0, 0, 0, 0])[..], [Event::Published(..)]));
    assert!(matches!(&events(&layout, &[1, 2, 3, 6])[..], [Event::Bad(_)]));
}
