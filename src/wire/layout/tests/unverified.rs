//! What is warned of: topics and keys of bytes that no check covers. And what is accepted nowhere, since it does nothing.

use super::mistakes::{said, with};
use super::*;

#[test]
fn a_field_is_verified_where_a_check_covers_it_in_every_frame() {
    let check =
        |over: &str, at: &str| format!("check = {{ is = \"crc-16/arc\", over = \"{over}\", at = \"{at}\" }}");
    let field = |place: &str| format!("topic = \"a.{{b}}\"\nb = \"{place}\"\n");
    let sized = |place: &str, over: &str, at: &str| {
        format!("- length\nsize = 12\n{}{}", field(place), check(over, at))
    };
    let counted =
        |place: &str, over: &str| format!("{}n = \"u8 @ 2\"\n{}", field(place), check(over, "u16 @ -2"));
    let itself = Some("no check covers it, so that a flipped bit makes another topic");
    let by = Some("no check covers n, which says where it stands, so that a flipped bit makes another topic");
    for (lines, expected) in [
        // Of frames of one size, both ends are the same bytes.
        (sized("u8 @ -5", "0..8", "u16 @ 10"), None),
        (sized("u8 @ -5", "0..7", "u16 @ 10"), itself),
        (sized("u8 @ 3", "-10..-2", "u16 @ -2"), None),
        (sized("u8 @ 1", "-10..-2", "u16 @ -2"), itself),
        (sized("u16 @ -4", "2..10", "u16 @ -2"), None),
        // Where another field says where it stands, that one is covered, too.
        (counted("text 3..3 + n", "0..-2"), None),
        (counted("text 3..3 + n", "3..-2"), by),
        (counted("u8 @ 3 + n", "3..-2"), by),
        (counted("u8 @ -4 + n", "2..-2"), itself),
        // It reaches as far as the place of the check, and not all of that is covered.
        (counted("text 3..3 + n", "0..-4"), itself),
        (counted("text 3..3 + n", "0..9"), itself),
        // The check reaches as far as the field, whose number moves both.
        (counted("text 3..3 + n", "0..3 + n"), None),
        (counted("text 3..4 + n", "0..3 + n"), itself),
        (counted("text 3..3 + n", "3..3 + n"), None),
        (counted("u8 @ 0", "0..3 + n"), None),
        (counted("u8 @ 3", "n..-2"), itself),
        // A number that ends itself.
        (counted("varint @ 3", "0..-2"), None),
        (counted("varint @ 3", "0..5"), itself),
        (counted("digits @ 3", "0..-4"), itself),
        // What ends them may be any other byte.
        (counted("digits @ 3", "0..-3"), None),
    ] {
        let said = said(&with(&lines));
        let expected: Vec<String> =
            expected.iter().map(|what| format!("layout a, b: b is not verified: {what}")).collect();
        let whats: Vec<&str> =
            said.iter().map(|said| said.splitn(3, ": ").nth(2).expect("a warning with its line")).collect();
        assert_eq!(whats, expected, "{lines}");
    }
}

#[test]
fn what_does_nothing_is_refused() {
    let empty = "its place is empty: write a slice of some bytes";
    for (lines, expected) in [
        ("b = \"text 5..5\"", format!("b: {empty}")),
        ("b = \"bytes -5..-5\"", format!("b: {empty}")),
        ("b = \"bcd 2 + n..2 + n\"\nn = \"u8 @ 2\"", format!("b: {empty}")),
        ("- length\nsize = 10\nb = \"hex 6..-4\"", format!("b: {empty}")),
        ("- length\nsize = 10\nb = \"bytes 10..\"", format!("b: {empty}")),
        (
            "check = { is = \"xor-8\", over = \"5..5\", at = \"u8 @ -1\" }",
            "check: what xor-8 covers is empty: give it the slice that is checked".into(),
        ),
        (
            "check = { is = \"xor-8\", over = \"-1..-1\", at = \"u8 @ -1\" }",
            "check: what xor-8 covers is empty: give it the slice that is checked".into(),
        ),
        ("topic = \"\"", "topic: it is empty: write a topic, or publish = false".into()),
        ("keep = []", "keep: it is empty: name the fields that are kept, or leave it out".into()),
        (
            "key = \"18446744073709551616\"",
            "key: it is larger than a key can be, 18446744073709551615 (64 bits): write a smaller one".into(),
        ),
        (
            "key = \"{b}00000000000\"\nb = \"u32 @ 2\"",
            "key: it may be larger than a key can be, 18446744073709551615 (64 bits): leave a part of it out, or put it into \
             the topic"
                .into(),
        ),
    ] {
        let said = said(&with(lines));
        assert!(said.len() == 1 && said[0].ends_with(&format!("layout a, {expected}")), "{lines}: {said:#?}");
    }
    for right in [
        "key = \"18446744073709551615\"",
        "key = \"{b}0000000000\"\nb = \"u24 @ 2\"",
        "key = \"{b}\"\nb = \"u64 @ 2\"",
    ] {
        assert_eq!(said(&with(right)), [""; 0], "{right}");
    }
}

#[test]
fn a_check_that_layouts_have_not_is_not_taken_for_another() {
    for (name, expected) in [
        ("adler-32", "a layout has none of that name"),
        ("Adler32", "a layout has none of that name"),
        ("sha-512", "a layout has none of that name"),
        ("fletcher-16", "a layout has none of that name"),
        ("CRC16_ARC", "did you mean crc-16/arc?"),
        ("SHA256", "did you mean sha-256?"),
        ("crc32c", "did you mean crc-32c?"),
        ("md6", "did you mean md5?"),
    ] {
        let said =
            said(&with(&format!("check = {{ is = \"{name}\", over = \"0..-2\", at = \"u16 @ -2\" }}")));
        assert!(said.len() == 1 && said[0].contains(expected), "{name}: {said:?}");
    }
}

#[test]
fn coverage_is_known_for_every_way_to_bound_a_frame() {
    let check = |over: &str, at: &str| format!("{{ is = \"crc-16/arc\", over = \"{over}\", at = \"{at}\" }}");
    let itself = "no check covers it, so that a flipped bit makes another topic";
    for (bound, checks, field, expected) in [
        // As in NMEA: the digits end before the check, and so within what is covered.
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-7", "hex -6..-2")], "digits @ 3", None),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-6", "hex -6..-2")], "digits @ 3", None),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-8", "hex -6..-2")], "digits @ 3", Some(itself)),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-7", "hex -6..-2")], "varint @ 3", Some(itself)),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-6", "hex -6..-2")], "varint @ 3", None),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-7", "hex -6..-2")], "text 3..-7", None),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-7", "hex -6..-2")], "text 1..4", None),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("1..-7", "hex -6..-2")], "text 3..-6", Some(itself)),
        // What ends every frame is the same in all.
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("3..-2", "u16 @ 1")], "digits @ 3", None),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("3..-3", "u16 @ 1")], "digits @ 3", Some(itself)),
        ("start = \"24\"\nuntil = \"0D 0A\"", vec![check("3..-2", "u16 @ 1")], "text 3..", None),
        ("length = \"u8 @ 0\"\nend = \"0D 0A\"", vec![check("0..-4", "u16 @ -4")], "digits @ 1", None),
        ("length = \"u8 @ 0\"\nend = \"0D 0A\"", vec![check("0..-4", "u16 @ -4")], "text 1..-4", None),
        // So is what begins it.
        ("start = \"24 25\"\nlength = \"u8 @ 2\"", vec![check("3..-2", "u16 @ -2")], "u8 @ 1", None),
        ("start = \"24 25\"\nsize = 9", vec![check("2..7", "u16 @ 7")], "text 0..5", None),
        ("start = \"24 25\"\nsize = 9", vec![check("3..7", "u16 @ 7")], "text 0..5", Some(itself)),
        ("start = \"24 25\"\nsize = 9", vec![check("2..-2", "u16 @ -2")], "text 4..-2", None),
        ("start = \"24 25\"\nsize = 9", vec![check("2..-2", "u16 @ 7")], "digits @ 3", Some(itself)),
        // A length says where the check is.
        ("length = \"u16 @ 0\"", vec![check("2..-2", "u16 @ -2")], "u16 @ 0", None),
        ("length = \"u16 @ 0 & 0x3FF\"", vec![check("2..-2", "u16 @ -2")], "u16 @ 0", Some(itself)),
        ("length = \"u16 @ 0\"", vec![check("4..8", "u16 @ 2")], "u16 @ 0", Some(itself)),
        ("length = \"u16 @ 0\"", vec![check("4..", "u16 @ 2")], "u16 @ 0", None),
        ("length = \"varint @ 1\"", vec![check("0..-2", "u16 @ -2")], "u8 @ 0", None),
        (
            "length = \"varint @ 1\"\ncounts = \"length..\"",
            vec![check("1..-2", "u16 @ -2")],
            "u8 @ 0",
            Some(itself),
        ),
        ("length = \"u16 @ 2\"", vec![check("4..-2", "u16 @ -2")], "u8 @ length", None),
        ("length = \"u16 @ 2\"", vec![check("length..-2", "u16 @ -2")], "text 4..-2", None),
        // Two checks, each of a part.
        ("length = \"u8 @ 0\"", vec![check("0..6", "u16 @ 6"), check("4..6", "u16 @ -2")], "text 3..6", None),
        ("length = \"u8 @ 0\"", vec![check("0..4", "u16 @ 6"), check("4..6", "u16 @ -2")], "text 3..6", None),
        (
            "length = \"u8 @ 0\"",
            vec![check("0..4", "u16 @ 6"), check("5..6", "u16 @ -2")],
            "text 3..6",
            Some(itself),
        ),
        // As far as another field may move it.
        (
            "length = \"u8 @ 0\"\nn = \"u8 @ 1 & 0x0F\"",
            vec![check("0..20", "u16 @ -2")],
            "text 4..5 + n",
            None,
        ),
        (
            "length = \"u8 @ 0\"\nn = \"u8 @ 1 & 0x1F\"",
            vec![check("0..20", "u16 @ -2")],
            "text 4..5 + n",
            Some(itself),
        ),
        ("length = \"u8 @ 0\"\nn = \"u8 @ 1\"", vec![check("0..260", "u16 @ -2")], "text 4..5 + n", None),
        // As many digits as there may be.
        ("length = \"u8 @ 0\"", vec![check("0..21", "u16 @ -2")], "digits @ 1", None),
        ("length = \"u8 @ 0\"", vec![check("0..20", "u16 @ -2")], "digits @ 1", Some(itself)),
    ] {
        let text = format!(
            "[layout.a]\ntopic = \"a.{{b}}\"\n{bound}\ncheck = [{}]\nb = \"{field}\"\n",
            checks.join(", ")
        );
        let (_, warnings) =
            Layouts::parse(&text, "my.toml").unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let whats: Vec<&str> = warnings.iter().map(|warning| &*warning.what).collect();
        let expected: Vec<String> =
            expected.iter().map(|what| format!("b is not verified: {what}")).collect();
        assert_eq!(whats, expected, "{text}");
    }
}

/// What becomes of the first frame of a stream, if it is accepted: its length and topic.
fn accepted(layout: &Arc<Layout>, stream: &[u8], scheme: &Scheme) -> Option<(usize, String)> {
    let Cut::Frame { len, shape } = Cutter::default().next(layout, stream, 1 << 20) else { return None };
    let shown = explain(layout, shape, &stream[..len], 0, &Kept::default(), scheme);
    let topic = if shown.is_taken() { shown.topic.ok() } else { None };
    topic.map(|topic| (len, topic))
}

/// The same frame with some other bytes, and its check right.
fn varied(layout: &Arc<Layout>, frame: &[u8], dice: &mut u64, scheme: &Scheme) -> Option<Vec<u8>> {
    let mut roll = |below: usize| {
        *dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (*dice >> 33) as usize % below
    };
    let mut frame = frame.to_vec();
    for _ in 0..1 + roll(3) {
        // Most fields begin at the eighth byte.
        let at = if roll(2) == 0 { 8.min(frame.len() - 1) } else { roll(frame.len()) };
        let byte = [0x80, b'7', b'a', 2, 1][roll(5)];
        frame[at..].iter_mut().take(1 + roll(2) * roll(8)).for_each(|of| *of = byte);
    }
    let Cut::Frame { len, shape } = Cutter::default().next(layout, &frame, 1 << 20) else { return None };
    for check in explain(layout, shape, &frame[..len], 0, &Kept::default(), scheme).checks {
        frame[check.at].copy_from_slice(&check.expected);
    }
    accepted(layout, &frame, scheme).filter(|(taken, _)| *taken == frame.len()).map(|_| frame)
}

/// Whether some bit of a frame can flip so that the frame is accepted still, under another topic.
fn changes_unseen(layout: &Arc<Layout>, frame: &[u8], scheme: &Scheme) -> bool {
    // More comes behind it, so that it may be longer: it ends as some frames do.
    let mut stream = [frame, &[0x0d; 700]].concat();
    let (_, own) = accepted(layout, &stream, scheme).expect("it is right");
    (0..8 * frame.len()).any(|bit| {
        stream[bit / 8] ^= 1 << (bit % 8);
        let other = accepted(layout, &stream, scheme);
        stream[bit / 8] ^= 1 << (bit % 8);
        other.is_some_and(|(_, other)| other != own)
    })
}

/// What is warned of is what flipped bits show.
#[test]
fn where_nothing_is_warned_of_no_flipped_bit_makes_another_topic() {
    let bounds = [
        ("length = \"u16 @ 1\"", 0),
        ("start = \"24\"\nlength = \"u8 @ 1\"\ncounts = \"0..\"\nend = \"0D\"", 1),
        ("start = \"24 25\"\nsize = 24", 0),
        ("start = \"24\"\nuntil = \"0D 0A\"", 2),
        ("until = \"0A\"", 1),
    ];
    let scheme = Scheme::Sha256;
    let (mut warned, mut verified) = (0, 0);
    for (bound, tail) in bounds {
        let before = 4 + tail;
        let checks = [
            (format!("0..-{before}"), format!("u32 @ -{before}")),
            (format!("3..-{before}"), format!("u32 @ -{before}")),
            (format!("1..-{}", before + 1), format!("u32 @ -{before}")),
            (format!("2..-{}", before + 4), format!("u32 @ -{before}")),
            ("8..".into(), "u32 @ 4".into()),
            (format!("8..-{}", tail.max(1)), "u32 @ 4".into()),
            ("8..12".into(), "u32 @ 4".into()),
            ("8..9 + n".into(), "u32 @ 4".into()),
        ];
        for (over, at) in &checks {
            for field in [
                "u8 @ 0".to_string(),
                "text 0..3".into(),
                "u8 @ 1".into(),
                "text 8..11".into(),
                "text 9..10".into(),
                format!("bytes 8..-{before}"),
                format!("bytes 9..-{}", before + 2),
                "digits @ 8".into(),
                "varint @ 8".into(),
                "text 9..10 + n".into(),
                "u8 @ 8 + n".into(),
                format!("u8 @ -{}", before + 1),
                format!("bytes -{}..-{}", before + 3, before + 1),
            ] {
                let text = format!(
                    "[layout.a]\ntopic = \"a.{{b}}\"\n{bound}\ncheck = {{ is = \"crc-32\", over = \"{over}\", at = \"{at}\" }}\n\
                     b = \"{field}\"\nn = \"u8 @ 3 & 0x03\"\n"
                );
                let Ok((layouts, warnings)) = Layouts::parse(&text, "my.toml") else { continue };
                let layout = layouts.iter().next().expect("one is declared");
                let frames: Vec<Vec<u8>> = (0..12)
                    .filter_map(|seed| {
                        // Some that are as short as they may be.
                        let len = (24 + seed as usize) * (seed as usize % 2);
                        layout.sample(0, len, seed, &Kept::default(), &scheme)
                    })
                    .collect();
                if frames.is_empty() {
                    continue;
                }
                let mut dice = 1;
                let varied: Vec<Vec<u8>> = frames
                    .iter()
                    .flat_map(|frame| {
                        (0..40).filter_map(|_| varied(layout, frame, &mut dice, &scheme)).collect::<Vec<_>>()
                    })
                    .collect();
                let changes =
                    frames.iter().chain(&varied).any(|frame| changes_unseen(layout, frame, &scheme));
                assert_eq!(!warnings.is_empty(), changes, "{text}{warnings:?}");
                if changes { warned += 1 } else { verified += 1 }
            }
        }
    }
    assert!(warned > 50 && verified > 50, "{warned} {verified}");
}
