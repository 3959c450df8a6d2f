//! Layouts: a declaration and a stream, both chosen by the bytes, against what the declaration means.

mod declared;
mod received;
mod slow;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::choices::Choices;
use crate::core::limits::{BUFFER_OVERHEAD, FRAME_MIN, READ_MAX, REPLY_MAX};
use crate::wire::Scheme;
use crate::wire::layout::{Layout, Layouts, builtin, shown};
use declared::{Declared, DeclaredShape, Ends, Kind};
use received::{Look, received};
use slow::{Plain, Slow};

/// Bytes of a declaration that is only read.
const TEXT_MAX: usize = 800;

/// Bytes of choices, of a stream, and the most that a frame may have.
const CHOICES_MAX: usize = 300;
const STREAM_MAX: usize = 400;
const FRAME_MAX: usize = 64;

/// The same of a frame of a declaration that is only read, and of one so large that it is not copied.
const TEXT_FRAME_MAX: usize = 600;
const LARGE_MAX: usize = 3 * READ_MAX;

/// What a connection saw: a frame with all that it became, or dirt.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Frame { shape: usize, len: usize, became: Became, refusal: Vec<u8> },
    Malformed,
    Skipped(usize),
}

#[derive(Debug, PartialEq, Eq)]
enum Became {
    Published { topic: Vec<u8>, key: u64, reply: Vec<u8> },
    Taken { reply: Vec<u8> },
    BadCheck,
    Refused,
}

/// A stream in any pieces becomes what the declaration says, or the declaration is refused with a line for each mistake.
pub fn check_layouts(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    match *first {
        0 => return check_text(&format!("[layout.a]\n{}", text_of(rest)), rest),
        1 => {
            return check_text(
                &format!("[layout.a]\ntopic=\"t\"\ncheck=\"none\"\nsize=9\nf=\"{}\"", text_of(rest)),
                rest,
            );
        }
        2 => return check_builtin(rest),
        3 => return check_large(rest),
        _ => {}
    }
    let mut choices = Choices::new(&data[..data.len().min(CHOICES_MAX)]);
    let declared = Declared::choose(&mut choices);
    let text = declared.text();
    let layout = match Layouts::parse(&text, "model.toml") {
        Ok((layouts, _)) => layouts.get("a").expect("it was declared").clone(),
        Err(problems) => {
            assert!(
                !problems.is_empty() && problems.iter().all(|problem| !problem.to_string().contains('\n'))
            );
            return;
        }
    };
    made(&layout, &declared, choices.byte());
    let pieces: Vec<usize> = (0..1 + choices.below(5)).map(|_| 1 + choices.below(40)).collect();
    let stream = stream(&declared, &mut choices);
    let slow = slowly(&declared, &stream);
    let at_once = received(&layout, [&stream[..]].into_iter(), FRAME_MAX, Look::Closely);
    assert_eq!(at_once, slow, "{text}\n{}", crate::core::units::hex(&stream));
    let mut rest = &stream[..];
    let mut sizes = pieces.iter().cycle();
    let pieces = std::iter::from_fn(|| {
        let (piece, more) = rest.split_at((*sizes.next().expect("it goes on for ever")).min(rest.len()));
        rest = more;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(
        received(&layout, pieces, FRAME_MAX, Look::Quickly),
        slow,
        "{text}\n{}",
        crate::core::units::hex(&stream)
    );
}

/// Frames that are made from a declaration are frames by the model, too. For one in eight: it takes its time.
fn made(layout: &Layout, declared: &Declared, choice: u8) {
    if !choice.is_multiple_of(8) {
        return;
    }
    let scheme = Scheme::Sha256;
    let Ok(device) = layout.device(choice.into(), 64, &scheme) else { return };
    let Some(frame) = device.frame(layout, 1, 20, &scheme) else { return };
    let frames = [device.logins, vec![frame]].concat();
    if frames.iter().all(|frame| frame.len() <= FRAME_MAX) {
        let events = slowly(declared, &frames.concat());
        let is_taken = |became: &Became| matches!(became, Became::Published { .. } | Became::Taken { .. });
        let are_taken =
            events.iter().all(|event| matches!(event, Event::Frame { became, .. } if is_taken(became)));
        assert!(are_taken && events.len() == frames.len(), "{frames:x?}: {events:?}");
    }
}

fn text_of(data: &[u8]) -> String {
    String::from_utf8_lossy(&data[..data.len().min(TEXT_MAX)]).into_owned()
}

/// Any text is a declaration, of which any bytes are a stream, or is refused.
fn check_text(text: &str, data: &[u8]) {
    let data = &data[..data.len().min(TEXT_MAX)];
    match Layouts::parse(text, "model.toml") {
        Ok((layouts, warnings)) => {
            assert!(warnings.iter().all(|warning| !warning.to_string().contains('\n')));
            for layout in layouts.iter() {
                received(layout, [data].into_iter(), TEXT_FRAME_MAX, Look::Closely);
            }
        }
        Err(problems) => assert!(problems.iter().all(|problem| !problem.to_string().contains('\n'))),
    }
}

/// Checks of kinds that the declarations of the model have not.
const CHECKED: &str = r#"
[layout.checked]
topic  = "checked"
length = "u8 @ 0"
counts = "length.."
check  = [
    { is = "crc-32c/masked", over = "0..-27", at = "u32le @ -27" },
    { is = "crc-82/darc", over = "0..-27", at = "bytes -23..-12" },
    { is = "hmac-sha-256", over = "0..-27", at = "bytes -12..-8" },
    { is = "md5", over = "0..-27", at = "hex -8..-4" },
    { is = "crc-16/arc", over = "0..-27", at = "hex -4.." },
]
"#;

/// Any bytes behind frames of a layout that comes with the program.
fn check_builtin(data: &[u8]) {
    let choice = data.first().map_or(0, |byte| usize::from(*byte));
    static ALL: OnceLock<Layouts> = OnceLock::new();
    let all = ALL.get_or_init(|| declared(CHECKED).or(builtin()));
    let layout = all.iter().nth(choice % all.len()).expect("there are some");
    assert!(!layout.topics().is_empty() && layout.checks().len() < 6 && shown(data).len() < 200);
    assert_eq!(layout.needs_secret(), layout.checks().iter().any(|check| check.starts_with("hmac")));
    // A read of 100 of the smallest native frames may be so many.
    let frames = layout.frames_max(100 * FRAME_MIN);
    assert!(frames == 1 || layout.room(frames, 0) <= 100 * REPLY_MAX + 2 * BUFFER_OVERHEAD);
    assert!(builtin().likeness(layout, data).is_none_or(|like| like != format!("layout {}", layout.name())));
    let device = layout.device(1, 64, &Scheme::Sha256).expect("it has devices");
    let frame = device.frame(layout, 1, 40, &Scheme::Sha256).expect("it has frames");
    // The first frame is refused where it needs a login.
    let stream = [&frame[..], &device.logins.concat(), &frame, data].concat();
    received(layout, [&stream[..]].into_iter(), TEXT_FRAME_MAX, Look::Closely);
}

fn declared(text: &str) -> Layouts {
    let (layouts, warnings) = Layouts::parse_within(text, "model.toml").expect("it is right");
    assert!(warnings.is_empty() && !layouts.is_empty());
    layouts
}

/// Frames of which one that is alone is too large to be copied.
const LARGE: &str = r#"
[layout.large]
topic  = "large.{kind}"
kind   = "u8 @ 4"
length = "u32 @ 0"
counts = "0.."
check  = { is = "xor-8", over = "0..-1", at = "u8 @ -1" }
reply  = "06 {kind}"
refuse = "15"
"#;

/// Frames around the size from which they are not copied, right or wrong, that come one by one or together.
fn check_large(data: &[u8]) {
    static LAYOUT: OnceLock<Layouts> = OnceLock::new();
    let layout = LAYOUT.get_or_init(|| declared(LARGE)).get("large").expect("it was declared");
    let mut choices = Choices::new(data);
    let mut frames = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..1 + choices.below(3) {
        let len = [READ_MAX - 128, READ_MAX, 6][choices.below(3)] + choices.below(256);
        let (kind, is_right) = (choices.byte(), choices.below(4) > 0);
        let mut frame = (len as u32).to_be_bytes().to_vec();
        frame.push(kind);
        let salt = choices.byte();
        frame.extend((5..len - 1).map(|at| at as u8 ^ salt));
        let sum = frame.iter().fold(u8::from(!is_right), |sum, byte| sum ^ byte);
        frame.push(sum);
        let became = match is_right {
            true => Became::Published { topic: format!("large.{kind}").into(), key: 0, reply: vec![6, kind] },
            false => Became::BadCheck,
        };
        expected.push(Event::Frame { shape: 0, len, became, refusal: vec![0x15] });
        frames.push(frame);
    }
    let pieces = if choices.flip() { vec![frames.concat()] } else { frames };
    assert_eq!(received(layout, pieces.iter().map(|piece| &piece[..]), LARGE_MAX, Look::Quickly), expected);
}

/// Frames of the layout, damaged or not, and bytes that are none.
fn stream(declared: &Declared, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !choices.is_empty() && stream.len() < STREAM_MAX {
        if choices.below(6) == 0 {
            stream.extend_from_slice(choices.bytes(12));
            continue;
        }
        let shape = &declared.shapes[choices.below(declared.shapes.len())];
        let mut frame = frame(shape, choices);
        if choices.below(5) == 0 && !frame.is_empty() {
            let at = choices.below(frame.len());
            frame[at] ^= choices.byte();
        }
        stream.extend_from_slice(&frame);
    }
    stream
}

/// What may well be a frame of a shape.
fn frame(shape: &DeclaredShape, choices: &mut Choices<'_>) -> Vec<u8> {
    let len = choices.below(40);
    let mut frame: Vec<u8> = choices.bytes(len).to_vec();
    frame.resize(
        if let Ends::Size(size) = shape.bound { size } else { len.max(shape.start.len() + 12) },
        b'7',
    );
    let put = |frame: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        let end = (at + bytes.len()).min(frame.len());
        frame[at.min(end)..end].copy_from_slice(&bytes[..end - at.min(end)]);
    };
    put(&mut frame, 0, &shape.start);
    if let Ends::Length { kind, at, from, after } = &shape.bound {
        let total = frame.len();
        let value = |end: usize| total.saturating_sub(from.unwrap_or(end) + after);
        let bytes = match kind {
            Kind::Int(bytes, little) => {
                let all = (value(at + bytes) as u64).to_be_bytes();
                let mut all = all[8 - bytes..].to_vec();
                if *little {
                    all.reverse();
                }
                all
            }
            Kind::Varint => vec![(value(at + 1) % 128) as u8],
            Kind::DigitsEnded => format!("{:02} ", value(at + 3)).into_bytes(),
            Kind::Digits => format!("{:02}", value(at + 2)).into_bytes(),
            Kind::Hex => format!("{:02x}", value(at + 2)).into_bytes(),
            _ => vec![(value(at + 1) / 10 % 10 * 16 + value(at + 1) % 10) as u8],
        };
        put(&mut frame, *at, &bytes);
    }
    let total = frame.len();
    put(&mut frame, total.saturating_sub(shape.end.len()), &shape.end);
    if let Some(check) = &shape.check
        && check.from + check.before <= frame.len()
    {
        let at = frame.len() - check.before;
        let sum = check.is.of(&frame[check.from..at]);
        put(&mut frame, at, &sum);
    }
    match &shape.bound {
        Ends::Until(until) => frame.extend_from_slice(until),
        _ if shape.escapes && choices.below(4) > 0 => frame = shape.escaped(&frame),
        _ => {}
    }
    frame
}

/// By the model.
fn slowly(declared: &Declared, stream: &[u8]) -> Vec<Event> {
    let (mut events, mut at) = (Vec::new(), 0);
    let mut kept = BTreeMap::new();
    // Where a frame began whose end did not come, by what it ends with.
    let mut endless: BTreeMap<&[u8], usize> = BTreeMap::new();
    loop {
        let rest = &stream[at..];
        let mut cut = declared.cut(rest, FRAME_MAX);
        if let Some((shape, until)) = declared.begun_until(rest) {
            let since = endless.get(until).copied().filter(|since| at - since < FRAME_MAX - FRAME_MAX / 2);
            let known = since.map_or(FRAME_MAX, |since| since + FRAME_MAX - at);
            if (since.is_some() || rest.len() >= FRAME_MAX) && !shape.ends_within(rest, until, known) {
                endless.entry(until).and_modify(|at_first| *at_first = since.unwrap_or(at)).or_insert(at);
                cut = Slow::Malformed { skip: 1 };
            }
        }
        match cut {
            Slow::More if rest.is_empty() || !declared.scans => return events,
            // Nothing more comes.
            Slow::More => {
                let skipped = declared.next_start(rest, 1);
                match events.last_mut() {
                    // Behind dirt, what may have become a start is of the same dirt.
                    Some(Event::Skipped(before)) if !declared.begins(rest) => *before += skipped,
                    _ => events.extend([Event::Malformed, Event::Skipped(skipped)]),
                }
                at += skipped;
            }
            Slow::Frame { len, shape } => {
                let Ok(plain) = declared.shapes[shape].plain(&rest[..len]) else { panic!("it was cut") };
                let refusal = plain.shape.escaped(&[0x00, 0x7d, 0x00]);
                events.push(Event::Frame {
                    shape,
                    len,
                    became: became(declared, &plain, &mut kept),
                    refusal,
                });
                at += len;
            }
            Slow::Malformed { .. } if !declared.scans => {
                events.push(Event::Malformed);
                return events;
            }
            Slow::Malformed { skip } => {
                let skipped = declared.next_start(rest, skip);
                events.extend([Event::Malformed, Event::Skipped(skipped)]);
                at += skipped;
            }
        }
    }
}

/// What is known of a connection: by the number of a field, its type and its bytes.
type Known = BTreeMap<usize, (Kind, Vec<u8>)>;

fn became(declared: &Declared, plain: &Plain<'_>, kept: &mut Known) -> Became {
    let shape = plain.shape;
    if !plain.is_right() {
        return Became::BadCheck;
    }
    let mut now = kept.clone();
    for number in &shape.keep {
        let field = shape.field(*number).expect("the loader looked for it");
        let Some(raw) = plain.raw(field) else { return Became::Refused };
        let known = now.insert(*number, (field.kind, raw.to_vec()));
        if known != Some((field.kind, raw.to_vec())) && !is_of_use(declared, *number, field.kind, raw) {
            return Became::Refused;
        }
    }
    let find = |number: usize| match shape.field(number) {
        Some(field) => Some((field.kind, plain.raw(field)?.to_vec())),
        None => now.get(&number).cloned(),
    };
    let topic = || -> Option<(Vec<u8>, u64)> {
        let key = match shape.key {
            None => 0,
            Some(number) => find(number).and_then(|(kind, raw)| kind.value(&raw))?,
        };
        let mut topic = b"t".to_vec();
        if let Some(number) = shape.topic {
            topic.push(b'.');
            let shown = find(number).and_then(|(kind, raw)| kind.shown(&raw))?;
            if shown.is_empty() {
                return None;
            }
            topic.extend(token(&shown));
        }
        (topic.len() <= 255).then_some((topic, key))
    };
    let reply = || -> Option<Vec<u8>> {
        let Some(number) = shape.reply else { return Some(Vec::new()) };
        let mut reply = vec![0x7e, 1, 2, 3, 4, 5, 6, 7];
        reply.extend(find(number)?.1);
        if shape.seals {
            let check = shape.check.as_ref().expect("the loader looked for it");
            let at = reply.len();
            reply.extend(vec![0; check.is.width()]);
            reply.push(0x7e);
            let end = reply.len() - check.before;
            let sum = check.is.of(&reply[check.from..end]);
            reply[at..at + sum.len()].copy_from_slice(&sum);
        } else {
            reply.push(0x7e);
        }
        Some(shape.escaped(&reply))
    };
    let became = match (shape.publish, topic(), reply()) {
        (false, _, Some(reply)) => Became::Taken { reply },
        (true, Some((topic, key)), Some(reply)) => Became::Published { topic, key, reply },
        _ => return Became::Refused,
    };
    *kept = now;
    became
}

/// Whether a kept value is one of its type, and what topics and keys of later frames may be made of.
fn is_of_use(declared: &Declared, number: usize, kind: Kind, raw: &[u8]) -> bool {
    let Some(shown) = kind.shown(raw) else { return false };
    let uses = |of: &DeclaredShape, named: Option<usize>| {
        of.publish && named == Some(number) && of.field(number).is_none()
    };
    declared.shapes.iter().all(|of| {
        let is_topic = !uses(of, of.topic) || !shown.is_empty() && token(&shown).len() <= 253;
        is_topic && (!uses(of, of.key) || kind.value(raw).is_some())
    })
}

impl DeclaredShape {
    fn escaped(&self, reply: &[u8]) -> Vec<u8> {
        let until = self.tail();
        if !self.escapes {
            return reply.to_vec();
        }
        let head = if reply.starts_with(&self.start) { self.start.len() } else { 0 };
        let tail = reply.len() - if reply[head..].ends_with(until) { until.len() } else { 0 };
        let escape = |at: usize| match reply[at] {
            0x7d if (head..tail).contains(&at) => vec![0x7d, 1],
            0x7e if (head..tail).contains(&at) => vec![0x7d, 2],
            byte => vec![byte],
        };
        (0..reply.len()).flat_map(escape).collect()
    }
}

/// What makes no token is percent-encoded.
fn token(shown: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in shown.utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '.' | '*' | '>' | '%') || c.is_control() || c.is_whitespace() {
                out.extend(c.to_string().bytes().flat_map(|byte| format!("%{byte:02X}").into_bytes()));
            } else {
                out.extend(c.to_string().bytes());
            }
        }
        out.extend(chunk.invalid().iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()));
    }
    out
}
