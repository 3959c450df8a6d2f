//! Whether what a file holds is what its name says, and what its records are then.
//!
//! Where the two do not agree nothing is guessed: the file is refused, and `--record` can say what is meant. What is
//! no text is never cut into lines or rows, whatever is said.

use serde::de::IgnoredAny;

use super::Cut;
use super::kind::{Foreign, Sort};

/// What a name says that its file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Archive,
    Packed,
    Document,
    Table,
    Text,
    Nothing,
}

/// The part behind a name's last dot.
fn extension(name: &str) -> Option<&str> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.rsplit_once('.').map(|(_, extension)| extension)
}

fn said(name: &str) -> Said {
    let Some(extension) = extension(name) else { return Said::Nothing };
    match extension.to_ascii_lowercase().as_str() {
        "zip" | "jar" | "war" | "tar" | "tgz" | "taz" | "tbz" | "tbz2" | "txz" | "tzst" | "7z" | "rar"
        | "cab" | "cpio" | "iso" | "deb" | "rpm" => Said::Archive,
        "gz" | "bz2" | "xz" | "zst" | "zstd" | "lzma" | "lz" | "lz4" | "z" | "br" => Said::Packed,
        "xls" | "xlsx" | "xlsm" | "ods" | "doc" | "docx" | "odt" | "ppt" | "pptx" | "odp" | "epub"
        | "pdf" | "png" | "jpg" | "jpeg" | "gif" | "parquet" | "avro" => Said::Document,
        "csv" | "tsv" => Said::Table,
        "txt" | "text" | "log" | "json" | "jsonl" | "ndjson" | "xml" | "html" | "htm" | "md" | "yaml"
        | "yml" | "sql" => Said::Text,
        _ => Said::Nothing,
    }
}

/// The name of what is packed in a file of this name.
pub(super) fn unpacked_name(name: &str) -> String {
    let Some(extension) = extension(name) else { return name.to_owned() };
    let before = &name[..name.len() - extension.len() - 1];
    match extension.to_ascii_lowercase().as_str() {
        "tgz" | "taz" | "tbz" | "tbz2" | "txz" | "tzst" => format!("{before}.tar"),
        _ if said(name) == Said::Packed => before.to_owned(),
        _ => name.to_owned(),
    }
}

/// What a name says that stands between the fields of a table.
pub(super) fn delimiter(name: &str) -> Option<u8> {
    extension(name).filter(|extension| extension.eq_ignore_ascii_case("tsv")).map(|_| b'\t')
}

fn mend(name: &str) -> String {
    match extension(name) {
        Some(extension) => format!("its name ends in .{extension}"),
        None => "its name".to_owned(),
    }
}

/// Whether an archive may have this name.
pub(super) fn archive(name: &str, what: &str, cut: Option<Cut>) -> Result<(), String> {
    match said(name) {
        Said::Table | Said::Text | Said::Document if cut.is_none() => Err(format!(
            "{} and it is {what}: rename it, or say --record file to post the files in it",
            mend(name)
        )),
        _ => Ok(()),
    }
}

/// What the records of something are that is no archive: of `head`, which is all of it where `is_all` says so.
pub(super) fn other(
    name: &str,
    head: &[u8],
    is_all: bool,
    foreign: Option<Foreign>,
    cut: Option<Cut>,
) -> Result<Cut, String> {
    const AS_ONE: &str = "--record file posts it as one record";
    if let Some(Foreign { what, sort }) = foreign {
        match sort {
            Sort::Archive => {
                return Err(format!("it is {what}, which is not read here: unpack it and give the folder"));
            }
            Sort::Packed => {
                return Err(format!(
                    "it is {what}, which is not read here: unpack it, or pack it with gzip or zstd"
                ));
            }
            Sort::Document if cut == Some(Cut::File) => {}
            Sort::Document => return Err(format!("it is {what}, not lines of text: {AS_ONE}")),
        }
    }
    if cut == Some(Cut::File) {
        return Ok(Cut::File);
    }
    if let Some(encoding) = other_unicode(head) {
        return Err(format!("it is {encoding}: convert it, with iconv -f {encoding} -t UTF-8"));
    }
    if head.contains(&0) {
        return Err(format!(
            "it is neither text nor an archive that is read here, for it holds NULs: {AS_ONE}"
        ));
    }
    if let Some(cut) = cut {
        return Ok(cut);
    }
    let said = said(name);
    let is_empty = is_all && head.is_empty();
    match said {
        Said::Archive | Said::Packed | Said::Document => {
            let holds = if is_empty { "it is empty" } else { shown(head) };
            return Err(format!(
                "{} and {holds}: get it again, or rename it, or say with --record what a record is",
                mend(name)
            ));
        }
        _ if is_empty => {}
        _ if is_markup(head) => {
            return Err(format!(
                "{}, as a server sends one in place of a file, or as a document: get it again, or say with \
                 --record whether it is one record (file) or many (line)",
                shown(head)
            ));
        }
        Said::Table
            if matches!(first_line(head).trim_ascii_start(), [b'{' | b'[', ..])
                && is_json(first_line(head)) =>
        {
            return Err(format!("{} and it holds JSON: rename it, or say --record line", mend(name)));
        }
        _ if is_json_over_lines(name, head) => {
            return Err(format!(
                "it is one JSON document over several lines: {AS_ONE}, --record line its lines"
            ));
        }
        _ => {}
    }
    if let Err(why) = str::from_utf8(head)
        && (why.error_len().is_some() || is_all)
    {
        let line = head[..why.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        return Err(format!(
            "its line {line} is no UTF-8: convert it, with iconv -t UTF-8; or --record line posts the lines that \
             are, and {AS_ONE}"
        ));
    }
    if !head.contains(&b'\n')
        && let Some(at) = head.iter().position(|byte| *byte == b'\r')
        && at + 1 < head.len()
        && said != Said::Table
    {
        return Err(format!("its lines end in CR alone: convert it, with tr '\\r' '\\n'; or {AS_ONE}"));
    }
    Ok(if said == Said::Table { Cut::Row } else { Cut::Line })
}

/// UTF-16 or UTF-32, by its mark or by the NULs beside the letters.
fn other_unicode(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => Some("UTF-16LE"),
        [0, first, 0, second, ..] if *first != 0 && *second != 0 => Some("UTF-16BE"),
        _ => None,
    }
}

fn first_line(head: &[u8]) -> &[u8] {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    head.split(|byte| *byte == b'\n').next().unwrap_or(head)
}

fn is_markup(head: &[u8]) -> bool {
    let line = first_line(head);
    ["<!doctype", "<html", "<head", "<?xml"]
        .iter()
        .any(|mark| line.get(..mark.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(mark.as_bytes())))
}

fn shown(head: &[u8]) -> &'static str {
    let is_xml = first_line(head).starts_with(b"<?xml");
    match is_markup(head) {
        true if is_xml => "it holds an XML document",
        true => "it holds an HTML page",
        false if is_json(first_line(head)) => "it holds JSON",
        false => "it holds plain text",
    }
}

fn is_json(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'{' | b'[')) && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// A `.json` whose first line is the beginning of a document, and no more of it.
fn is_json_over_lines(name: &str, head: &[u8]) -> bool {
    let line = first_line(head);
    extension(name).is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        && head.contains(&b'\n')
        && matches!(line.first(), Some(b'{' | b'['))
        && !is_json(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_is_in_them_agree_or_record_says_so() {
        let judge = |name: &str, head: &[u8], cut| other(name, head, true, None, cut);
        for (name, head, expected) in [
            ("a.txt", &b"one\n"[..], Ok(Cut::Line)),
            ("a", b"one", Ok(Cut::Line)),
            ("a.CSV", b"a,b\n", Ok(Cut::Row)),
            ("a.tsv", b"a\tb\n", Ok(Cut::Row)),
            ("a.csv", b"a\r1\r", Ok(Cut::Row)),
            ("a.jsonl", b"{\"a\":1}\n", Ok(Cut::Line)),
            ("a.json", b"{\"a\":1}\n{\"a\":2}\n", Ok(Cut::Line)),
            ("a.json", b"[\n1]\n", Err("one JSON document")),
            ("a.csv", b"{\"error\":\"denied\"}\n", Err("holds JSON")),
            ("a.csv", b"[id],name\n", Ok(Cut::Row)),
            ("", b"", Ok(Cut::Line)),
            ("a.zip", b"", Err("it is empty")),
            ("a.tar", b"one\n", Err("holds plain text")),
            ("a.csv.gz", b"a,b\n", Err("ends in .gz")),
            ("a.zip", b"\xef\xbb\xbf\n<!DOCTYPE html>", Err("an HTML page")),
            ("a.csv", b"<?xml version='1.0'?><Error/>", Err("an XML document")),
            ("a.xlsx", b"x", Err("ends in .xlsx")),
            ("a.txt", b"a\rb\r", Err("CR alone")),
            ("a.txt", b"a\r", Ok(Cut::Line)),
            ("a.txt", b"one\nM\xfcller\n", Err("its line 2 is no UTF-8")),
            ("a.txt", b"a\0b", Err("NULs")),
            ("a.txt", b"\xff\xfea\0", Err("UTF-16")),
            ("a.txt", b"a\0b\0", Err("UTF-16LE")),
            ("a.txt", b"\0a\0b", Err("UTF-16BE")),
        ] {
            match (judge(name, head, None), expected) {
                (Ok(cut), Ok(expected)) => assert_eq!(cut, expected, "{name}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{name}: {why}"),
                (got, expected) => panic!("{name}: {got:?}, not {expected:?}"),
            }
            assert_eq!(judge(name, head, Some(Cut::File)), Ok(Cut::File));
            let is_text = !head.contains(&0);
            assert_eq!(judge(name, head, Some(Cut::Line)).is_ok(), is_text, "{name}");
        }
        // A letter that the head ends within.
        assert_eq!(other("a", b"\xc3", false, None, None), Ok(Cut::Line));
    }

    #[test]
    fn an_archive_under_the_name_of_something_else_is_refused() {
        for name in ["a.csv", "a.txt", "a.JSONL", "a.xlsx"] {
            let why = archive(name, "a zip", None).unwrap_err();
            assert!(why.contains("and it is a zip") && why.contains("--record file"), "{why}");
            assert!(archive(name, "a zip", Some(Cut::File)).is_ok());
        }
        for name in ["a.zip", "a.tar", "a.tar.gz", "a", "a.bin", ""] {
            assert!(archive(name, "a zip", None).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_known_and_not_read_is_refused_by_name() {
        let png = Some(Foreign { what: "a PNG picture", sort: Sort::Document });
        let seven = Some(Foreign { what: "a 7z archive", sort: Sort::Archive });
        for cut in [None, Some(Cut::Line), Some(Cut::Row)] {
            assert!(other("a", b"x", true, png, cut).unwrap_err().contains("--record file"));
        }
        assert_eq!(other("a", b"x", true, png, Some(Cut::File)), Ok(Cut::File));
        for cut in [None, Some(Cut::File), Some(Cut::Line)] {
            assert!(other("a", b"x", true, seven, cut).unwrap_err().contains("unpack it"));
        }
    }

    #[test]
    fn names_of_what_is_packed() {
        for (name, expected) in [
            ("a.csv.gz", "a.csv"),
            ("a.tgz", "a.tar"),
            ("data.csv", "data.csv"),
            ("a.b/c", "a.b/c"),
            ("x", "x"),
        ] {
            assert_eq!(unpacked_name(name), expected);
        }
    }
}
