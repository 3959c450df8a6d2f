//! What the devices of these worlds speak, declared and in code.

use std::sync::Arc;

use crate::wire::layout::{Boundary, Format, Layout, Parsed, Progress, Verdict};

/// A declaration: a login that is kept, a frame that is answered, one that is not, a ping; each with a number of so many
/// bytes, and under topics that begin so.
#[cfg(feature = "layouts")]
pub(in super::super) fn declared(topic: &str, number: usize, scans: bool) -> Arc<Layout> {
    let text = format!(
        r#"
[layout.devices]
on-malformed = "{}"
topic = "{topic}.{{who}}"
key = "{{number}}"
number = "u{} @ 3"
check = {{ is = "xor-8", over = "0..-1", at = "u8 @ -1" }}
[[layout.devices.shape]]
start = "A1"
size = {}
who = "u16 @ {}"
keep = ["who"]
publish = false
reply = "A1 {{number}}"
refuse = "EE {{number}}"
[[layout.devices.shape]]
start = "B2"
length = "u16 @ 1"
counts = "3.."
reply = "B2 {{number}}"
refuse = "EE {{number}}"
[[layout.devices.shape]]
start = "C3"
length = "u16 @ 1"
counts = "3.."
[[layout.devices.shape]]
start = "D4D4"
size = {}
publish = false
"#,
        if scans { "scan" } else { "close" },
        8 * number,
        6 + number,
        3 + number,
        4 + number,
    );
    let (layouts, _) =
        crate::wire::layout::Layouts::parse(&text, "devices").unwrap_or_else(|wrong| panic!("{wrong:?}"));
    layouts.get("devices").expect("it is declared").clone()
}

/// Where a frame has its number.
const NUMBER: std::ops::Range<usize> = 3..11;

/// The layout of a listener; in code, where declarations are not read.
pub(super) fn layout(scans: bool, in_code: bool) -> Arc<Layout> {
    #[cfg(feature = "layouts")]
    if !in_code {
        return declared("a", NUMBER.len(), scans);
    }
    let _ = in_code;
    Layout::of(InCode { scans })
}

/// A frame of a shape.
pub(super) fn frame(start: u8, number: u64, more: &[u8], is_right: bool) -> Vec<u8> {
    let mut bytes = vec![start];
    match start {
        0xA1 => bytes.extend([0, 0]),
        0xD4 => bytes.extend([0xD4, 0]),
        _ => bytes.extend(((8 + more.len() + 1) as u16).to_be_bytes()),
    }
    bytes.extend(number.to_be_bytes());
    bytes.extend(more);
    let sum = bytes.iter().fold(0, |sum, byte| sum ^ byte);
    bytes.push(sum ^ u8::from(!is_right));
    bytes
}

/// What is written back.
pub(super) fn answer(tag: u8, number: u64) -> Vec<u8> {
    [&[tag][..], &number.to_be_bytes()].concat()
}

/// The same as the declaration.
struct InCode {
    scans: bool,
}

impl Format for InCode {
    fn name(&self) -> &str {
        "devices"
    }

    fn cut(&self, bytes: &[u8], _: &mut Progress) -> Boundary {
        match *bytes {
            [0xA1, ..] => Boundary::Frame(14),
            [0xB2 | 0xC3, high, low, ..] => Boundary::Frame(3 + usize::from(u16::from_be_bytes([high, low]))),
            [0xD4, 0xD4, ..] => Boundary::Frame(12),
            [0xB2 | 0xC3, ..] | [0xD4] => Boundary::More,
            _ if !self.scans => Boundary::Malformed("no shape of the layout starts so"),
            _ => {
                let next = bytes.iter().position(|byte| matches!(byte, 0xA1 | 0xB2 | 0xC3 | 0xD4));
                Boundary::Skip(next.unwrap_or(bytes.len()).max(1))
            }
        }
    }

    fn keeps(&self, frame: &[u8]) -> bool {
        frame[0] == 0xA1
    }

    fn parse(&self, frame: &[u8], parsed: &mut Parsed) -> Verdict {
        let number = u64::from_be_bytes(frame[NUMBER].try_into().expect("eight bytes"));
        if matches!(frame[0], 0xA1 | 0xB2) {
            parsed.refusal = answer(0xEE, number);
            parsed.reply = answer(frame[0], number);
        }
        if frame.iter().fold(0u8, |sum, byte| sum ^ byte) != 0 {
            return Verdict::BadCheck;
        }
        match frame[0] {
            0xA1 => {
                parsed.kept = frame[11..13].to_vec();
                Verdict::Accept
            }
            0xD4 => Verdict::Accept,
            _ => match *parsed.kept {
                [high, low] => {
                    parsed.topic.push_str(&format!("a.{}", u16::from_be_bytes([high, low])));
                    parsed.key = number;
                    Verdict::Publish
                }
                _ => Verdict::Refuse("who is not known on this connection yet"),
            },
        }
    }
}
