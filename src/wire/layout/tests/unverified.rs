//! What is warned of: topics and keys of bytes that no check covers. And what is accepted nowhere, since it does nothing.

use super::mistakes::{said, with};

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
        (counted("u8 @ 0", "n..-2"), itself),
        // A number that ends itself.
        (counted("varint @ 3", "0..-2"), None),
        (counted("varint @ 3", "0..5"), itself),
        (counted("digits @ 3", "0..-3"), itself),
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
