use super::*;
use std::io::Write;

pub type All = Vec<(String, Result<String, Flaw>)>;

/// What is found in a file of this name, and why it is not read to its end; what is left out in angle brackets.
pub fn found(name: &str, bytes: &[u8], walk: &Walk) -> (All, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut all = Vec::new();
    let walked = walk.file(&path, &mut |name, found| {
        let found = match found {
            Found::Record(_, body) => Ok(String::from_utf8_lossy(&body).into_owned()),
            Found::Flawed(flaw) => Err(flaw),
            Found::LeftOut(what) => Ok(format!("<{what}>")),
        };
        all.push((name.to_owned(), found));
        ControlFlow::Continue(())
    });
    (all, walked.err().map(|why| why.to_string()))
}

pub fn walk(name: &str, bytes: &[u8], cut: Option<Cut>, max: usize) -> Result<All, String> {
    let (all, wrong) = found(name, bytes, &Walk::new(cut, max));
    wrong.map_or(Ok(all), Err)
}

fn ok(name: &str, body: &str) -> (String, Result<String, Flaw>) {
    (name.to_owned(), Ok(body.to_owned()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn lines_of_text() {
    assert_eq!(walk("a.log", b"\xef\xbb\xbfone\r\n", None, 5).unwrap(), [ok("line 1", "one")]);
    assert!(walk("a.log", b"one\n\xff\n", None, 5).unwrap_err().contains("its line 2 is no UTF-8"));
    let text = b"\xef\xbb\xbfone\r\n\r\nthree\nlong line\n\xff\n \nlast";
    let blank = |line: usize| (format!("line {line}"), Ok("<blank line>".to_owned()));
    let expected = [
        ok("line 1", "one"),
        blank(2),
        ok("line 3", "three"),
        ("line 4".to_owned(), Err(Flaw::TooLarge(5))),
        ("line 5".to_owned(), Err(Flaw::NotText)),
        blank(6),
        ok("line 7", "last"),
    ];
    assert_eq!(walk("a.log", text, Some(Cut::Line), 5).unwrap(), expected);
    let kept = Walk { keep_blank: true, ..Walk::new(None, 5) };
    let (all, _) = found("a.log", b"a\r\n\r\n \n", &kept);
    assert_eq!(all, [ok("line 1", "a"), ok("line 2", ""), ok("line 3", " ")]);
    assert_eq!(walk("a.log", b"", None, 5).unwrap(), []);
    let packed = gzip(b"one\ntwo\n");
    assert_eq!(walk("a.log.gz", &packed, None, 5).unwrap(), [ok("line 1", "one"), ok("line 2", "two")]);
    assert_eq!(walk("a.csv", &gzip(b"a\n1\n"), None, 50).unwrap(), [ok("row 1", r#"{"a":"1"}"#)]);
    assert_eq!(walk("a.log", b"one\ntwo\n", Some(Cut::File), 50).unwrap(), [ok("a.log", "one\ntwo\n")]);
    let mut nested = b"one\n".to_vec();
    for _ in 0..=DEPTH_MAX {
        nested = gzip(&nested);
    }
    assert!(walk("a", &nested, None, 5).unwrap_err().contains("packed more than 4 times"));
}

#[test]
fn what_is_cut_is_posted_as_far_as_it_is_whole() {
    // Whether it is small or not, and for the lack of a line break the last line is one.
    for lines in [3, 30_000] {
        let text: String = (0..lines).map(|n| format!("line of text {n}\n")).collect();
        let text = text.trim_end();
        let packed = gzip(text.as_bytes());
        let (all, wrong) = found("a.gz", &packed, &Walk::new(None, 100));
        assert_eq!((all.len(), wrong), (lines, None));
        let (all, wrong) = found("a.gz", &[&packed[..], b"garbage"].concat(), &Walk::new(None, 100));
        assert_eq!(all.len(), lines);
        assert!(all.iter().all(|(_, found)| found.is_ok()));
        let wrong = wrong.unwrap();
        assert!(
            wrong.contains("cannot read") && wrong.contains("behind the end of the gzip data"),
            "{wrong}"
        );
        let (all, wrong) = found("a.gz", &packed[..packed.len() - 9], &Walk::new(None, 100));
        assert!(wrong.unwrap().contains("to its end: the gzip data ends too early: it was cut off"));
        let whole = all.iter().filter(|(_, found)| found.is_ok()).count();
        assert_eq!(whole, all.len() - 1, "the last is not whole");
        assert!(matches!(&all[whole].1, Err(Flaw::Incomplete(_))), "{:?}", all[whole]);
        for (n, (name, body)) in all[..whole].iter().enumerate() {
            assert_eq!((name, body), (&format!("line {}", n + 1), &Ok(format!("line of text {n}"))));
        }
    }
    let table = gzip(b"a,b\n1,2\n3,4\n5,6\n");
    let (all, wrong) = found("a.csv.gz", &table[..table.len() - 9], &Walk::new(None, 100));
    assert!(wrong.is_some() && all.len() < 4, "{all:?}");
    let whole = all.iter().take_while(|(_, found)| found.is_ok()).count();
    assert!(whole >= all.len() - 1, "{all:?}");
    let (all, wrong) = found("a.gz", &table[..table.len() - 1], &Walk::new(Some(Cut::File), 100));
    assert!(matches!(&all[..], [(name, Err(Flaw::Incomplete(_)))] if name == "a"), "{all:?}");
    assert_eq!(wrong, None);
}

#[test]
fn rows_of_a_table() {
    let table = "id,name\n1,\"a\"\"b\"\n2\n\u{33},c\n";
    let all = walk("a.CSV", table.as_bytes(), None, 100).unwrap();
    let short = ("row 2".to_owned(), Err(Flaw::Fields { expected: 2, got: 1 }));
    assert_eq!(
        all,
        [ok("row 1", r#"{"id":"1","name":"a\"b"}"#), short, ok("row 3", r#"{"id":"3","name":"c"}"#)]
    );
    let all = walk("a.txt", b"a\n123456789\n1\n", Some(Cut::Row), 10).unwrap();
    assert_eq!(all, [("row 1".to_owned(), Err(Flaw::TooLarge(10))), ok("row 2", r#"{"a":"1"}"#)]);
    let all = walk("a.csv", b"a\n\xff\n", Some(Cut::Row), 10).unwrap();
    assert_eq!(all, [("row 1".to_owned(), Err(Flaw::NotText))]);
    let all = walk("a.tsv", b"a\tb\n1,5\t2\n", None, 100).unwrap();
    assert_eq!(all, [ok("row 1", r#"{"a":"1,5","b":"2"}"#)]);
    let tilde = Walk { delimiter: Some(b'~'), ..Walk::new(None, 100) };
    assert_eq!(found("a.csv", b"a~b\n1~2", &tilde).0, [ok("row 1", r#"{"a":"1","b":"2"}"#)]);
    let twice = walk("a.csv", b"a,b,a\n1,2,3\n", None, 100).unwrap_err();
    assert!(twice.contains("is not posted: two of its columns are called 'a': rename one"), "{twice}");
}

#[test]
fn a_quote_that_is_left_open_is_a_failed_row() {
    let open = |row: usize| (format!("row {row}"), Err(Flaw::OpenQuote));
    for (table, expected) in [
        (&b"a,b\n1,\"2\n3,4\n5,6\n"[..], vec![open(1)]),
        (b"a,b\n1,2\n3,\"4\"\"\n", vec![ok("row 1", r#"{"a":"1","b":"2"}"#), open(2)]),
        (b"a,b\n1,2\n\"", vec![ok("row 1", r#"{"a":"1","b":"2"}"#), open(2)]),
        (b"a,b\n1,\"2\n3\"\n", vec![ok("row 1", r#"{"a":"1","b":"2\n3"}"#)]),
        (b"a,b\n1,\"\"\"\"", vec![ok("row 1", r#"{"a":"1","b":"\""}"#)]),
        (b"a,b", vec![]),
    ] {
        assert_eq!(walk("a.csv", table, None, 100).unwrap(), expected, "{}", table.escape_ascii());
    }
    assert!(
        walk("a.csv", b"a,\"b\n1,2\n", None, 100).unwrap_err().contains("its header is not a complete row")
    );
    // One that is longer than a row may be is told of before all of it is in memory.
    let long = [&b"a,b\n1,\""[..], &[b'x'; 100_000]].concat();
    let (all, wrong) = found("a.csv", &long, &Walk::new(None, 100));
    assert_eq!(all, [open(1)]);
    assert!(wrong.unwrap().contains("larger than --max-record"));
}

#[test]
fn tapes() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let long = format!("{}/b", "long/".repeat(40));
    for (name, body) in [("a", "one\ntwo"), (long.as_str(), "second"), ("c", "much too large")] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_entry_type(::tar::EntryType::Regular);
        builder.append_data(&mut header, name, body.as_bytes()).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let large = ("c".to_owned(), Err(Flaw::TooLarge(10)));
    let expected = [ok("a", "one\ntwo"), ok(&long.replace("//", "/"), "second"), large];
    let tidy =
        |all: All| -> All { all.into_iter().map(|(name, body)| (name.replace("//", "/"), body)).collect() };
    assert_eq!(tidy(walk("a.tar", &bytes, None, 10).unwrap()), expected);
    assert_eq!(tidy(walk("a.tgz", &gzip(&bytes), None, 10).unwrap()), expected);
    let lines = walk("a.tar", &bytes, Some(Cut::Line), 10).unwrap();
    assert_eq!(lines[..2], [ok("a line 1", "one"), ok("a line 2", "two")]);
    // Whatever a tar is packed in, it is judged by the name.
    for (name, packed) in [("a.csv", bytes.clone()), ("a.txt.gz", gzip(&bytes)), ("a.xlsx", gzip(&bytes))] {
        let why = walk(name, &packed, None, 10).unwrap_err();
        assert!(why.contains("is not posted: its name ends in") && why.contains("it is a tar"), "{why}");
        assert_eq!(walk(name, &packed, Some(Cut::File), 10).unwrap().len(), 3);
    }
    let cut = |len: usize| found("a.tar", &bytes[..len], &Walk::new(None, 10));
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    for (len, whole, flawed) in [(at + 3, 1, 1), (at + 6, 2, 0), (at.next_multiple_of(512) + 512, 2, 0)] {
        let (all, wrong) = cut(len);
        assert_eq!(all.iter().filter(|(_, found)| found.is_ok()).count(), whole, "{len}: {all:?}");
        assert_eq!(all.len(), whole + flawed, "{len}: {all:?}");
        assert!(wrong.is_some(), "{len}");
    }
    // Tars one behind the other, with more zeros between them than headers may have bytes.
    let two = [&bytes[..], &vec![0; 2 << 20], &bytes].concat();
    assert_eq!(walk("a.tar", &two, None, 10).unwrap().len(), 6);
    let (all, wrong) = found("a.tar", &[&bytes[..], &[b'x'; 512]].concat(), &Walk::new(None, 10));
    assert!(all.len() == 3 && wrong.unwrap().contains("after c: "));
}

#[test]
fn a_name_of_any_bytes_is_shown_as_no_other() {
    assert_eq!(shown(b"a/\xc3\xbc"), "a/\u{fc}");
    assert_ne!(shown(b"\xe4"), shown(b"\xf6"));
    assert!(is_mac_metadata("__MACOSX/a/._b") && is_mac_metadata("a/.DS_Store") && !is_mac_metadata("a/._b"));
}
