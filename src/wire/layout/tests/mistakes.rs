//! What is said of declarations that are wrong: one line each, with file, line, layout, shape, key and the mend.

use super::*;

/// All that is said of a declaration.
pub(super) fn said(text: &str) -> Vec<String> {
    match Layouts::parse(text, "my.toml") {
        Ok((_, warnings)) => warnings.iter().map(|warning| format!("warning: {warning}")).collect(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// A declaration that is right but for the lines that are given: those take the place of the ones with the same key.
pub(super) fn with(lines: &str) -> String {
    let right = [
        ("topic", "topic = \"a\""),
        ("length", "length = \"u16 @ 0\""),
        ("check", "check = { is = \"crc-16/arc\", over = \"0..-2\", at = \"u16 @ -2\" }"),
    ];
    let has = |key: &str| {
        lines.lines().any(|line| line.trim().trim_start_matches('-').trim_start().starts_with(key))
    };
    let kept = right.iter().filter(|(key, _)| !has(key)).map(|(_, line)| *line);
    let given = lines.lines().map(str::trim).filter(|line| !line.starts_with('-'));
    let all: Vec<&str> = ["[layout.a]"].into_iter().chain(kept).chain(given).collect();
    all.join("\n")
}

#[test]
fn each_mistake_of_a_shape_is_named() {
    let base = with("");
    assert_eq!(said(&base), Vec::<String>::new());
    for (lines, expected) in [
        // How a frame ends.
        ("- length", "a: nothing says where a frame ends: give it length, size or until"),
        (
            "- length\nlenght = \"u16 @ 0\"",
            "a, lenght: a field lenght, and nothing says where a frame ends: did you mean length?",
        ),
        ("size = 12", "a, size: length says already where a frame ends: leave one of them out"),
        ("until = \"0D\"", "a, until: length says already where a frame ends: leave one of them out"),
        ("- length\nsize = \"12\"", "a, size: it is text: write it without quotes: size = 12"),
        ("- length\nsize = \"all\"", "a, size: it is text: write how many bytes a frame has, as a number"),
        ("publish = \"false\"", "a, publish: it is text: write it without quotes: publish = false"),
        ("publish = \"no\"", "a, publish: it is text: write true or false"),
        ("b = \"2\"", "a, b: \"2\" is not a place: write its type, as in \"u16 @ 2\""),
        ("length = \"2\"", "a, length: \"2\" is not a place: write its type, as in \"u16 @ 2\""),
        ("- length\nsize = 0", "a, size: 0 is not a size: write how many bytes a frame has"),
        ("- length\nsize = -4", "a, size: -4 is not a size: write how many bytes a frame has"),
        (
            "- length\nsize = 12\ncounts = \"2..\"",
            "a, counts: only a length counts: leave it out, or say length",
        ),
        (
            "length = 2",
            "a, length: it is a number: write a place, as in \"u16 @ 2\"; the length of frames that all have one is size",
        ),
        (
            "length = \"u16 @ -2\"",
            "a, length: a length stands in the header: write its offset from the beginning, as in \"u16 @ 2\"",
        ),
        (
            "length = \"u16 @ b\"\nb = \"u8 @ 4\"",
            "a, length: a length stands in the header: write its offset from the beginning, as in \"u16 @ 2\"",
        ),
        (
            "length = \"text 0..2\"",
            "a, length: text is not a length: write an integer, varint, digits, hex or bcd",
        ),
        ("length = \"digits 2..2\"", "a, length: its place is empty: write a slice of some bytes"),
        (
            "length = \"digits 4..2\"",
            "a, length: the slice ends before it begins: write the smaller position first",
        ),
        (
            "counts = \"-4..\"",
            "a, counts: what a length counts begins at a fixed position: write A.. from the beginning of the frame",
        ),
        (
            "counts = \"2..8\"",
            "a, counts: what a length counts ends with the frame or before its last bytes: write A.. or A..-4",
        ),
        (
            "counts = \"b..\"\nb = \"u8 @ 2\"",
            "a, counts: b cannot say where counting begins: write a number, or length for its place",
        ),
        ("counts = \"2\"", "a, counts: \"2\" is not a slice: write A..B, as in \"4..-2\"; B may be left out"),
        (
            "- length\nuntil = \"0D\"\nend = \"0D\"",
            "a, end: until says already what stands last: leave end out",
        ),
        (
            "- length\nlength = \"digits 0..40\"\nunescape = { \"7D 01\" = \"7D\" }",
            "a, length: within escapes it has at most 32 bytes: leave out its leading zeros",
        ),
        // Bytes.
        (
            "start = \"7G\"",
            "a, start: \"7G\" holds 'G', which is no hexadecimal digit: write bytes as in \"7E 80\"",
        ),
        (
            "start = \"7E 8\"",
            "a, start: \"7E 8\" ends within a byte: write two hexadecimal digits a byte, as in \"7E 80\"",
        ),
        ("start = \"\"", "a, start: it is empty: write bytes, or leave it out"),
        ("end = 13", "a, end: it is a number: write bytes as text, as in \"7E 80\""),
        // Places.
        ("b = \"u16\"", "a, b: u16 stands at an offset: write u16 @ OFFSET, as in \"u16 @ 2\""),
        ("b = \"u16 4..6\"", "a, b: u16 stands at an offset: write u16 @ OFFSET, as in \"u16 @ 2\""),
        ("b = \"text @ 4\"", "a, b: text stands in a slice: write text A..B, as in \"text 4..16\""),
        ("b = \"text\"", "a, b: text where? write text A..B, as in \"text 4..16\""),
        (
            "b = \"u48 @ 4\"",
            "a, b: unknown type \"u48\": integers are u8, u16, u24, u32 and u64, with le behind if the lower byte comes first",
        ),
        ("b = \"txt 4..6\"", "a, b: unknown type \"txt\": did you mean text?"),
        ("b = \"u8 @ x\"", "a, b: unknown field x: the fields of this shape are b"),
        ("b = \"u8 @ cout\"\ncount = \"u8 @ 2\"", "a, b: unknown field cout: did you mean count?"),
        ("b = \"u8 @ 4 5\"", "a, b: \"4 5\" is not a position: write a number, or the name of a field"),
        ("b = \"u8 @ 99999999999\"", "a, b: 99999999999 is beyond every frame: a frame has at most 4 GiB"),
        ("b = \"u16 @ -1\"", "a, b: u16 needs 2 bytes and begins 1 before the end: write @ -2"),
        ("b = \"text 4..2\"", "a, b: the slice ends before it begins: write the smaller position first"),
        ("b = \"text -2..-4\"", "a, b: the slice ends before it begins: write the smaller position first"),
        (
            "b = \"text -2..4\"",
            "a, b: the slice begins at the end and ends at the beginning: write the smaller position first",
        ),
        ("b = \"u8 @ 2 & 0\"", "a, b: the mask leaves nothing of the integer: name the bits that count"),
        ("b = \"u8 @ 2 & 0x100\"", "a, b: the mask 0x100 has bits that u8 has not: take a wider type"),
        ("b = \"u8 @ 2 & ten\"", "a, b: \"ten\" is not a mask: write a number, as in 0x03FF"),
        ("b = \"digits @ 2 & 1\"", "a, b: digits takes no mask: only integers do"),
        (
            "b = \"text c..\"\nc = \"bytes 2..4\"",
            "a, b: c is bytes and stands for no number: declare it as an integer",
        ),
        (
            "b = \"u8 @ c\"\nc = \"u8 @ d\"\nd = \"u8 @ 2\"",
            "a, b: c stands where another field says: a position needs a field at a fixed place",
        ),
        (
            "b = \"u8 @ b\"",
            "a, b: b stands where another field says: a position needs a field at a fixed place",
        ),
        (
            "- length\nsize = 9\nb = \"u8 @ length\"",
            "a, b: length stands for its place, and this shape has no length: write a number",
        ),
        ("b = 7", "a, b: b is a number: a field is text, as in b = \"u16 @ 2\""),
        (
            "\"b c\" = \"u8 @ 2\"",
            "a, b c: a field's name begins with a letter and has letters, digits, _ and -",
        ),
        ("\"4\" = \"u8 @ 2\"", "a, 4: a field's name begins with a letter and has letters, digits, _ and -"),
        ("b = \"u16 @ 2\"\nc = \"u16 @ 3\"", "a, c: c overlaps b: both take byte 3; move one of them"),
        ("b = \"u16 @ 1\"", "a, b: b overlaps its length: both take byte 1; move one of them"),
        (
            "- length\nsize = 8\nb = \"u32 @ 3\"",
            "a, check: the place of crc-16/arc overlaps b: both take byte 6; move one of them",
        ),
        (
            "- length\nsize = 8\nb = \"u32 @ 6\"",
            "a, b: b is beyond the 8 bytes of the frame (size): it needs 10",
        ),
        (
            "- length\nsize = 8\nb = \"text -9..\"",
            "a, b: b is beyond the 8 bytes of the frame (size): it needs 9",
        ),
        (
            "- length\nsize = 2\nstart = \"00 00\"\nend = \"00\"\ncheck = \"none\"",
            "a, size: its start and end are longer than its 2 bytes: make size larger",
        ),
        // Keys that were meant.
        ("chekc = { is = \"md5\" }", "a, chekc: unknown key chekc: did you mean check?"),
        ("topci = \"x.y\"", "a, topci: unknown key topci: did you mean topic?"),
        ("kind = 2", "a, kind: kind is a number: a field is text, as in kind = \"u16 @ 2\""),
        ("publish = \"no\"", "a, publish: it is text: write true or false"),
        ("on-malformed = \"skip\"", "a, on-malformed: it is neither \"close\" nor \"scan\""),
        (
            "on-malformed = \"scan\"",
            "a, start: on-malformed = \"scan\" looks for the next start, and this shape has none: give it one, or say \"close\"",
        ),
        ("shape = 3", "a, shape: it is not a list of tables: write [[layout.a.shape]] for each"),
        // Escapes.
        (
            "- length\nuntil = \"7E\"\nunescape = { \"7D\" = \"7D\" }",
            "a, unescape: a pair of bytes stands for one byte: write \"7D 01\" = \"7D\"",
        ),
        (
            "- length\nuntil = \"7E\"\nunescape = { \"7D 0\" = \"7D\" }",
            "a, unescape: \"7D 0\" ends within a byte: write two hexadecimal digits a byte, as in \"7E 80\"",
        ),
        (
            "- length\nuntil = \"7E\"\nunescape = { \"7D 01\" = \"7D\", \"7D01\" = \"7E\" }",
            "a, unescape: \"7D01\" is there twice: each pair stands for a byte of its own",
        ),
        (
            "- length\nuntil = \"7E\"\nunescape = {}",
            "a, unescape: it has no pairs: write { \"7D 01\" = \"7D\" }, or leave it out",
        ),
        (
            "- length\nuntil = \"7E\"\nunescape = \"7D\"",
            "a, unescape: it is not a table: write { \"7D 01\" = \"7D\" }",
        ),
    ] {
        let said = said(&with(lines));
        let expected = format!("layout {expected}");
        let found = said.iter().any(|said| said.split_once(": ").is_some_and(|(_, what)| what == expected));
        assert!(
            found && said[0].starts_with("my.toml line "),
            "{lines}\nexpected {expected}\nsaid {said:#?}"
        );
    }
}

#[test]
fn each_mistake_of_a_check_is_named() {
    let check = |is: &str, over: &str, at: &str| {
        format!("check = {{ is = \"{is}\", over = \"{over}\", at = \"{at}\" }}")
    };
    for (lines, expected) in [
        ("- check".into(), "nothing says how a frame is checked: write check = \"none\" where nothing is"),
        (
            "check = \"md5\"".into(),
            "\"md5\" alone is not a check: write { is = \"md5\", over = \"A..B\", at = \"PLACE\" }, or \"none\"",
        ),
        ("check = 5".into(), "it is a number: write { is = NAME, over = SLICE, at = PLACE }, or \"none\""),
        ("check = []".into(), "it is an empty list: write check = \"none\" where nothing is checked"),
        ("check = [5]".into(), "each check is { is = NAME, over = SLICE, at = PLACE }"),
        (
            "check = { is = \"md5\", at = \"bytes -16..\" }".into(),
            "over is missing: say which slice it covers, as in over = \"0..-2\"",
        ),
        (
            "check = { is = \"md5\", over = \"0..-16\" }".into(),
            "at is missing: say where it stands, as in at = \"u16 @ -2\"",
        ),
        (
            "check = { over = \"0..-2\", at = \"u16 @ -2\" }".into(),
            "is is missing: say which check it is, as in is = \"crc-16/arc\"",
        ),
        (
            "check = { is = \"md5\", ovr = \"0..-2\", over = \"0..-16\", at = \"bytes -16..\" }".into(),
            "unknown key ovr in a check: did you mean over?",
        ),
        (check("crc-16/ark", "0..-2", "u16 @ -2"), "unknown check \"crc-16/ark\": did you mean crc-16/arc?"),
        (check("sha256", "0..-2", "bytes -2.."), "unknown check \"sha256\": did you mean sha-256?"),
        (
            check("crc-32/iso-hdlc", "0..-2", "u16 @ -2"),
            "at: crc-32/iso-hdlc has 32 bits and its place 16: make it wider",
        ),
        (
            check("crc-16/arc", "0..-1", "u8 @ -1"),
            "at: crc-16/arc has 16 bits and its place 8: make it wider",
        ),
        (
            check("crc-16/arc", "0..-2", "hex -2.."),
            "at: crc-16/arc has 16 bits and its place 8: make it wider",
        ),
        (check("sum-8", "0..-2", "digits -2.."), "at: sum-8 has 8 bits and its place 6: make it wider"),
        (
            check("crc-16/arc", "0..-2", "u16 @ -2 & 0xFF"),
            "at: crc-16/arc has 16 bits and its place 8: make it wider",
        ),
        (
            check("md5", "0..-20", "bytes -20.."),
            "at: its place has 20 bytes and md5 only 16: make it shorter",
        ),
        (
            check("md5", "0..-4", "u32le @ -4"),
            "at: md5 is bytes, and u32le is not: write bytes A..B or hex A..B",
        ),
        (check("md5", "0..-5", "hex -5.."), "at: md5 is bytes, and hex is not: write bytes A..B or hex A..B"),
        (
            check("xor-8", "0..-1", "text -1.."),
            "at: text holds no check: write an integer, bytes, hex or digits A..B",
        ),
        (
            check("xor-8", "2..4", "bytes 4.."),
            "at: its place has no fixed width: write both ends, as in \"bytes -4..\"",
        ),
        (
            check("crc-16/arc", "0..", "u16 @ -2"),
            "the check covers its own place: end its slice before it, or begin behind it",
        ),
        (
            check("crc-16/arc", "0..-1", "u16 @ -2"),
            "the check covers its own place: end its slice before it, or begin behind it",
        ),
        (
            check("crc-16/arc", "2..", "u16 @ 2"),
            "the check covers its own place: end its slice before it, or begin behind it",
        ),
        (
            check("crc-16/arc", "0..nope", "u16 @ -2"),
            "over: unknown field nope: the fields of this shape are none",
        ),
        (
            check("crc-16/arc", "0-4", "u16 @ -2"),
            "over: \"0-4\" is not a slice: write A..B, as in \"4..-2\"; B may be left out",
        ),
        (
            "check = { is = { poly = 0x8005 }, over = \"0..-2\", at = \"u16 @ -2\" }".into(),
            "width of the CRC is missing: say how many bits it has",
        ),
        (
            "check = { is = { width = 16 }, over = \"0..-2\", at = \"u16 @ -2\" }".into(),
            "poly of the CRC is missing: say it as in 0x8005",
        ),
        (
            "check = { is = { width = 16, poly = 0x18005 }, over = \"0..-2\", at = \"u16 @ -2\" }".into(),
            "poly of the CRC has more than its 16 bits: leave out the highest",
        ),
        (
            "check = { is = { width = 200, poly = 7 }, over = \"0..-2\", at = \"u16 @ -2\" }".into(),
            "width of the CRC is 200: it has 1 to 128 bits",
        ),
        (
            "check = { is = { width = 16, poly = 7, refinn = true }, over = \"0..-2\", at = \"u16 @ -2\" }"
                .into(),
            "unknown key refinn of a CRC: did you mean refin?",
        ),
        (
            "check = { is = { width = 16, poly = 7, refin = 1 }, over = \"0..-2\", at = \"u16 @ -2\" }"
                .into(),
            "refin of the CRC is a number: write true or false",
        ),
    ] {
        let said = said(&with(&lines));
        let expected = format!("layout a, check: {expected}");
        assert!(
            said.iter().any(|said| said.ends_with(&expected)),
            "{lines}\nexpected {expected}\nsaid {said:#?}"
        );
    }
}

#[test]
fn each_mistake_of_a_template_is_named() {
    for (lines, expected) in [
        ("- topic", "topic: nothing says the topic of its frames: write topic, or publish = false"),
        ("topic = 5", "topic: it is a number: write text, as in topic = \"…\""),
        (
            "topic = \"a..b\"",
            "topic: the topic has an empty token (a '.' at an end, or '..'): write tokens between single dots",
        ),
        (
            "topic = \"a.*\"",
            "topic: the topic has a token '*' or '>'; only patterns may: write tokens between single dots",
        ),
        ("topic = \"a.{imei}\"", "topic: unknown field imei: the fields of this shape are none"),
        ("topic = \"a.{imai}\"\nimei = \"text 2..9\"", "topic: unknown field imai: did you mean imei?"),
        ("topic = \"a.{imei\"", "topic: \"a.{imei\" has a { without its }: write {field}"),
        ("topic = \"a.imei}\"", "topic: \"a.imei}\" has a } without its {: write {field}"),
        ("topic = \"a.{}\"", "topic: {} names no field: write {field}"),
        (
            "topic = \"a.{b:dec}\"\nb = \"u8 @ 2\"",
            "topic: unknown format \"dec\": write {field}, {field:int} without leading zeros, or {field:hex}",
        ),
        ("topic = \"a.{b:int}\"\nb = \"bytes 2..4\"", "topic: b is bytes and has no decimal: write {b:hex}"),
        ("key = \"\"", "key: it is empty: write a field, or leave it out"),
        (
            "key = \"x{b}\"\nb = \"u8 @ 2\"",
            "key: \"x\" is no number, and a key is one of 64 bits: put it into the topic",
        ),
        (
            "key = \"{b}\"\nb = \"bytes 2..6\"",
            "key: b is bytes and no number: declare it as an integer, or put it into the topic",
        ),
        (
            "key = \"{b}\"\nb = \"bcd 2..12\"",
            "key: b has 20 digits and a key has 64 bits, 19 digits: put it into the topic",
        ),
        (
            "key = \"{b}\"\nb = \"digits 2..22\"",
            "key: b has 20 digits and a key has 64 bits, 19 digits: put it into the topic",
        ),
        (
            "key = \"{b}\"\nb = \"hex 2..19\"",
            "key: b has 17 hexadecimal digits and a key has 64 bits, 16 of them: put it into the topic",
        ),
        (
            "key = \"{b}\"\nb = \"text 2..23\"",
            "key: b has 21 characters and a key has 64 bits, 19 digits: put it into the topic",
        ),
        (
            "key = \"{b:hex}\"\nb = \"u8 @ 2\"",
            "key: hexadecimal is no key, which is a number: write {field} or {field:int}",
        ),
        (
            "key = \"{b}{b}\"\nb = \"u64 @ 2\"",
            "key: it may be larger than a key can be, 18446744073709551615 (64 bits): leave a part of it out, or put it into the topic",
        ),
        ("keep = [\"imei\"]", "keep: unknown field imei: the fields of this shape are none"),
        ("keep = 5", "keep: it is not a list of fields: write keep = [\"imei\"]"),
        ("keep = [\"b\"]\nb = \"bytes 2..300\"", "keep: b is longer than 255 bytes: keep a part of it"),
        (
            "reply = \"0G\"",
            "reply: \"0G\" holds 'G', which is no hexadecimal digit: write bytes as in \"7E 80\"",
        ),
        ("reply = \"\"", "reply: it is empty: write bytes, or leave it out for silence"),
        ("reply = \"01 {cout}\"\ncount = \"u8 @ 2\"", "reply: unknown field cout: did you mean count?"),
        (
            "reply = \"01 {check}\"",
            "reply: check is not a field: {seal} is the check of the reply; for the one that came declare a field at its place, as in sum = \"u16 @ -2\"",
        ),
        (
            "reply = \"01 {length}\"",
            "reply: length is not a field: declare one at its place, as in len = \"u16 @ 2\", and write {len}",
        ),
        (
            "reply = \"01 {seal:u32}\"",
            "reply: {seal} is the layout's check, as wide as its place: write {seal}",
        ),
        (
            "topic = \"a.{seal}\"",
            "topic: seal is not a field: declare a field at the place of the check, as in sum = \"u16 @ -2\", and write {sum}",
        ),
        (
            "reply = \"01 {payload}\"\ncount = \"u8 @ 2\"",
            "reply: unknown field payload: the fields of this shape are count",
        ),
        ("refuse = \"01 {cnt}\"", "refuse: unknown field cnt: the fields of this shape are none"),
        (
            "reply = \"{b:int}\"\nb = \"u8 @ 2\"",
            "reply: unknown type \"int\": write {b} for its bytes, or {b:u32} for its value",
        ),
        ("reply = \"{b:u8}\"\nb = \"u16 @ 2\"", "reply: b is u16 and may not fit in u8: write a wider type"),
        ("reply = \"{b:u8}\"\nb = \"bytes 2..3\"", "reply: b is bytes and no number: write {b}"),
        (
            "check = \"none\"\nreply = \"00 {seal}\"",
            "reply: {seal} is the layout's check, and this shape has none: write its bytes out",
        ),
        (
            "reply = \"00 {seal} {seal}\"",
            "reply: it has 2 of the layout's 1 checks: write {seal} for each, in their order",
        ),
        (
            "check = { is = \"xor-8\", over = \"8..-1\", at = \"u8 @ -1\" }\nreply = \"00 {seal}\"",
            "reply: {seal} covers the slice of the check, and that is not within the reply: write its bytes out",
        ),
        (
            "check = { is = \"xor-8\", over = \"b..-1\", at = \"u8 @ -1\" }\nb = \"u8 @ 2\"\nreply = \"00 {seal}\"",
            "reply: {seal} covers the slice of the check, and that depends on the frame: write its bytes out",
        ),
    ] {
        let said = said(&with(lines));
        let expected = format!("layout a, {expected}");
        assert!(
            said.iter().any(|said| said.ends_with(&expected)),
            "{lines}\nexpected {expected}\nsaid {said:#?}"
        );
    }
}

#[test]
fn shapes_and_layouts_that_do_not_go_together() {
    let shapes = |first: &str, second: &str| {
        format!(
            "[layout.a]\ntopic = \"a\"\ncheck = \"none\"\n[[layout.a.shape]]\n{first}\nsize = 4\n[[layout.a.shape]]\n{second}\nsize = 5\n"
        )
    };
    let twice = format!("{}\n{}", with(""), with(""));
    for (text, expected) in [
        (
            shapes("", ""),
            "my.toml line 7: layout a, shape 2, start: it has no start, as an earlier shape has none: give each but the last its start",
        ),
        (
            shapes("", "start = \"01\""),
            "my.toml line 8: layout a, shape 2, start: it is never reached, since shape 1 has no start: give that one its start, or put it last",
        ),
        (
            shapes("start = \"01\"", "start = \"01\""),
            "my.toml line 8: layout a, shape 2, start: it is never reached, since shape 1 starts with 01, too, and shapes are told apart by their first bytes alone: give each a start of its own, or make one shape of both",
        ),
        (
            shapes("start = \"01\"", "start = \"01 02\""),
            "my.toml line 8: layout a, shape 2, start: it is never reached, since shape 1 starts with 01: put the longer start first",
        ),
        (
            shapes("start = \"01\"", "topic = \"{b}\"\nstart = \"02\""),
            "my.toml line 8: layout a, shape 2, topic: unknown field b: the fields of this shape are none",
        ),
        (
            shapes("start = \"01\"\nb = \"u8 @ 2\"", "topic = \"{b}\"\nstart = \"02\""),
            "my.toml line 9: layout a, shape 2, topic: unknown field b: shape 1 has it and does not keep it: write keep = [\"b\"] there, or declare it here",
        ),
        (
            shapes("start = \"01\"\non-malformed = \"scan\"", "start = \"02\""),
            "my.toml line 6: layout a, shape 1, on-malformed: on-malformed is said of the layout: write it below [layout.a]",
        ),
        (
            twice,
            "my.toml line 5: duplicate key: a name stands once; give the second another, or leave it out",
        ),
        (
            "[layout.a]\ntopic = a".into(),
            "my.toml line 2: string values must be quoted, expected literal string: a declaration is NAME = \"TEXT\", below a line [layout.NAME]",
        ),
        ("[layuot.a]".into(), "my.toml line 1: unknown table layuot: did you mean [layout.NAME]?"),
        (
            "memory = 5".into(),
            "my.toml line 1: unknown name memory: a file of layouts holds [layout.NAME] tables alone",
        ),
        ("layout = 5".into(), "my.toml line 1: layout is not a table: write [layout.NAME]"),
        (
            "[layout]\ntopic = \"a\"\nlength = \"u16 @ 0\"\ncheck = \"none\"".into(),
            "my.toml line 1: [layout] has no name: write [layout.NAME], and its shapes below [[layout.NAME.shape]]",
        ),
        ("[layout]\na = 5".into(), "my.toml line 2: layout a: it is not a table: write [layout.a]"),
        (
            with("").replace(".a]", ".native]"),
            "my.toml line 1: layout native: a layout's name begins with a letter and has letters, digits, - and _; native is taken",
        ),
    ] {
        let said = said(&text);
        assert!(said.iter().any(|said| said == expected), "{text}\nexpected {expected}\nsaid {said:#?}");
    }
    let mut text = "[layout.a]\ntopic = \"a\"\ncheck = \"none\"\n".to_string();
    for at in 0..5 {
        text.push_str(&format!("[[layout.a.shape]]\nstart = \"0{at}\"\nuntil = \"1{at}\"\n"));
    }
    assert!(said(&text)[0].ends_with("its shapes end in 5 different ways (until): at most 4"));
    assert!(Layouts::parse_within("memory = 5", "my.toml").is_ok_and(|(layouts, _)| layouts.is_empty()));
}

#[test]
fn all_is_said_at_once() {
    let text = "[layout.a]\nlength = \"u16 @ -2\"\ncheck = { is = \"crc-16/ark\", over = \"0..\", at = \"u9 @ 1\" }\ntopic = \"a.{b}\"\nreply = \"0\"\n[layout.b]\n";
    let said = said(text);
    let lines: Vec<&str> = said.iter().map(|said| said.split(':').next().unwrap()).collect();
    assert_eq!(
        lines,
        ["2", "3", "3", "4", "5", "6", "6", "6"].map(|line| format!("my.toml line {line}")),
        "{said:#?}"
    );
    assert!(said.iter().all(|said| !said.contains('\n')));
    // Text from elsewhere does not command the terminal.
    let said = super::mistakes::said("[layout.a]\n\"\\u001b[31m\" = 5\n");
    assert!(said.iter().all(|said| !said.contains('\u{1b}')), "{said:?}");
}

#[test]
fn what_should_be_known_is_warned_of() {
    for (lines, expected) in [
        ("topic = \"a.{b}\"\nb = \"u8 @ 2\"", &[][..]),
        ("key = \"{b}\"\nb = \"u8 @ -3\"", &[]),
        (
            "topic = \"a.{b}\"\nb = \"u8 @ 2\"\ncheck = { is = \"crc-16/arc\", over = \"3..-2\", at = \"u16 @ -2\" }",
            &["b: b is not verified: no check covers it, so that a flipped bit makes another topic"],
        ),
        (
            "topic = \"a.{b}\"\nb = \"u8 @ -3\"\ncheck = { is = \"crc-16/arc\", over = \"0..-3\", at = \"u16 @ -2\" }",
            &["b: b is not verified: no check covers it, so that a flipped bit makes another topic"],
        ),
        (
            "key = \"{b}\"\nb = \"u8 @ 2\"\ncheck = \"none\"",
            &["b: b is not verified: its shape has no check, so that anyone can write any key of it"],
        ),
        (
            "key = \"{b}\"\nb = \"text 2..19\"",
            &[
                "key: a key is a number: frames whose b is not all digits (a VIN is not) are refused; else put it into the topic",
            ],
        ),
    ] {
        let said = said(&with(lines));
        let whats: Vec<&str> = said.iter().map(|said| said.split_once("layout a, ").unwrap().1).collect();
        assert_eq!(whats, expected, "{lines}");
    }
    let (_, text) = BUILTIN.iter().find(|(name, _)| *name == "bitcoin").unwrap();
    let said = said(text);
    assert!(said.len() == 1 && said[0].contains("command is not verified: no check covers it"), "{said:?}");
}
