//! How `tail` prints a frame.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::tail::Format;
use crate::client::Reply;
use crate::core::units::is_obeyed;
use crate::wire::Frame;

/// Prints frames in a format.
pub struct FramePrinter {
    format: Format,
    /// On a terminal, control characters are shown instead of obeyed: a payload is anybody's.
    terminal: bool,
    line: Vec<u8>,
}

/// A frame or a reply as a line of JSON, which holds UTF-8 alone: a payload that is none is in `payload_base64`.
#[derive(Serialize)]
pub struct JsonLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u64>,
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> JsonLine<'a> {
    fn new(id: u64, payload: &'a [u8]) -> JsonLine<'a> {
        let text = std::str::from_utf8(payload).ok();
        let payload_base64 = text.is_none().then(|| STANDARD.encode(payload));
        JsonLine { topic: None, key: None, id, status: None, payload: text, payload_base64 }
    }

    /// Of a frame.
    pub fn of_frame(frame: &Frame<'a>) -> JsonLine<'a> {
        let (topic, key) = (Some(String::from_utf8_lossy(frame.topic())), Some(frame.header.key));
        JsonLine { topic, key, ..JsonLine::new(frame.header.id, frame.payload()) }
    }

    /// Of a reply.
    pub fn of_reply(reply: &Reply<'a>) -> JsonLine<'a> {
        JsonLine { status: Some(reply.status.name()), ..JsonLine::new(reply.id, reply.payload) }
    }

    /// Appends it. On a terminal, characters that it would obey are escaped, too: JSON escapes control characters but
    /// for the last of ASCII and those beyond it.
    pub fn write(&self, terminal: bool, line: &mut Vec<u8>) {
        if !terminal {
            return serde_json::to_writer(line, self).expect("a Vec takes everything");
        }
        let text = serde_json::to_string(self).expect("it is numbers and text");
        for c in text.chars() {
            if is_obeyed(c) {
                // It is one unit of UTF-16.
                line.extend(format!("\\u{:04x}", u32::from(c)).into_bytes());
            } else {
                line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

impl FramePrinter {
    /// Prints in `format`, to a terminal or not.
    pub fn new(format: Format, terminal: bool) -> FramePrinter {
        FramePrinter { format, terminal, line: Vec::new() }
    }

    /// Prints a frame.
    pub fn frame(&mut self, frame: &Frame<'_>, out: &mut impl Write) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        match self.format {
            Format::Raw => return out.write_all(frame.bytes),
            Format::Payload if self.terminal => shown_lines(frame.payload(), line),
            Format::Payload => line.extend_from_slice(frame.payload()),
            Format::Text => {
                shown(frame.topic(), self.terminal, line);
                line.push(b' ');
                decimal(frame.header.key, line);
                line.push(b' ');
                decimal(frame.header.id, line);
                line.push(b' ');
                shown(frame.payload(), self.terminal, line);
            }
            Format::Json => JsonLine::of_frame(frame).write(self.terminal, line),
        }
        line.push(b'\n');
        out.write_all(line)
    }

    /// Says that frames are missing here, and how many where that is known; where the format has a way to.
    pub fn gap(&mut self, frames: Option<u64>, out: &mut impl Write) -> io::Result<()> {
        match (self.format, frames) {
            (Format::Json, Some(frames)) => writeln!(out, "{{\"gap\":{frames}}}"),
            (Format::Json, None) => writeln!(out, "{{\"gap\":null}}"),
            _ => Ok(()),
        }
    }
}

/// Appends bytes so that they stay on their line, and on a terminal in their place.
pub fn shown(bytes: &[u8], terminal: bool, line: &mut Vec<u8>) {
    if terminal {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                if is_obeyed(c) {
                    line.extend(c.escape_default().map(|c| c as u8));
                } else {
                    line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            line.extend(chunk.invalid().escape_ascii());
        }
    } else if bytes.contains(&b'\n') {
        for (index, part) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if index > 0 {
                line.extend_from_slice(b"\\n");
            }
            line.extend_from_slice(part);
        }
    } else {
        line.extend_from_slice(bytes);
    }
}

/// The same for a payload that may have lines.
fn shown_lines(bytes: &[u8], line: &mut Vec<u8>) {
    for (index, part) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if index > 0 {
            line.push(b'\n');
        }
        shown(part, true, line);
    }
}

/// Appends a number; `write!` takes three times as long, twice a frame.
pub fn decimal(mut number: u64, line: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, Kind, Scheme, encode};

    fn printed(format: Format, terminal: bool, topic: &str, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header { key: 7, id: u64::MAX, ..Header::new(Kind::Data) };
        encode(header, topic.as_bytes(), payload, &Scheme::Sha256, &mut bytes);
        let header = Header::decode(bytes.first_chunk().unwrap()).unwrap();
        let mut out = Vec::new();
        FramePrinter::new(format, terminal).frame(&Frame { header, bytes: &bytes }, &mut out).unwrap();
        out
    }

    #[test]
    fn text_stays_on_its_line() {
        for (terminal, payload, shown) in [
            (false, &b"hello"[..], &b"hello"[..]),
            (false, b"a\nb\n", b"a\\nb\\n"),
            (false, b"\x1b[2J\r\xff", b"\x1b[2J\r\xff"),
            (true, b"a\nb\t", b"a\\nb\\t"),
            (true, b"\x1b[2J\r\xff\0", b"\\u{1b}[2J\\r\\xff\\u{0}"),
            (true, "gr\u{fc}n \u{9b}".as_bytes(), "gr\u{fc}n \\u{9b}".as_bytes()),
        ] {
            let expected = [b"t 7 18446744073709551615 ", shown, b"\n"].concat();
            assert_eq!(printed(Format::Text, terminal, "t", payload), expected, "{payload:?}");
        }
    }

    #[test]
    fn the_other_formats() {
        let json = |payload| String::from_utf8(printed(Format::Json, false, "a.b", payload)).unwrap();
        let start = "{\"topic\":\"a.b\",\"key\":7,\"id\":18446744073709551615,";
        assert_eq!(json(b"say \"hi\"\n"), format!("{start}\"payload\":\"say \\\"hi\\\"\\n\"}}\n"));
        assert_eq!(json(b"\xff\xfe"), format!("{start}\"payload_base64\":\"//4=\"}}\n"));
        assert_eq!(printed(Format::Payload, true, "t", b"a\nb"), b"a\nb\n");
        // A terminal is not driven by a payload, in whatever format.
        assert_eq!(printed(Format::Payload, true, "t", b"a\n\x1b[2J"), b"a\n\\u{1b}[2J\n");
        assert_eq!(printed(Format::Payload, false, "t", b"\x1b[2J"), b"\x1b[2J\n");
        let shown = printed(Format::Json, true, "t", "\u{9b}2J\x7f".as_bytes());
        assert!(shown.ends_with(b"\"payload\":\"\\u009b2J\\u007f\"}\n"), "{}", shown.escape_ascii());
        assert_eq!(printed(Format::Raw, true, "t", b"x").len(), 32 + 1 + 1 + 32);
    }

    #[test]
    fn numbers() {
        for number in [0, 9, 10, 1_234_567, u64::MAX] {
            let mut line = Vec::new();
            decimal(number, &mut line);
            assert_eq!(line, number.to_string().into_bytes());
        }
    }
}
