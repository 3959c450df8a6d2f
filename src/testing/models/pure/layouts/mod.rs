//! Layouts: a declaration and a stream, both chosen by the bytes, against what the declaration means.

mod declared;
mod slow;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::choices::Choices;
use crate::core::memory::{Buffer, Memory, Share};
use crate::wire::layout::{Cut, Cutter, Kept, Layout, Layouts, Outcome, Run, Spot, builtin, explain, shown};
use crate::wire::{Batch, Scheme, verify};
use declared::{Declared, DeclaredShape, Ends, Kind};
use slow::{Plain, Slow};

/// Bytes of a declaration that is only read.
const TEXT_MAX: usize = 800;

/// Bytes of choices, of a stream, and the most that a frame may have.
const CHOICES_MAX: usize = 400;
const STREAM_MAX: usize = 600;
const FRAME_MAX: usize = 64;

/// What a connection saw: a frame with all that it became, or dirt.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Frame { shape: usize, len: usize, became: Became },
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
    if *first == 0 {
        return check_text(rest);
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
    let at_once = received(&layout, [&stream[..]].into_iter());
    assert_eq!(at_once, slow, "{text}\n{}", crate::core::units::hex(&stream));
    let mut rest = &stream[..];
    let mut sizes = pieces.iter().cycle();
    let pieces = std::iter::from_fn(|| {
        let (piece, more) = rest.split_at((*sizes.next().expect("it goes on for ever")).min(rest.len()));
        rest = more;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(received(&layout, pieces), slow, "{text}\n{}", crate::core::units::hex(&stream));
}

/// Frames that are made from a declaration are frames by the model, too. For one in eight: it takes its time.
fn made(layout: &Layout, declared: &Declared, choice: u8) {
    if !choice.is_multiple_of(8) {
        return;
    }
    let scheme = Scheme::Sha256;
    let Some(device) = layout.device(choice.into(), &scheme) else { return };
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

/// Any text is a declaration or is refused.
fn check_text(data: &[u8]) {
    let text = String::from_utf8_lossy(&data[..data.len().min(TEXT_MAX)]);
    for text in [
        format!("[layout.a]\n{text}"),
        format!("[layout.a]\ntopic=\"t\"\ncheck=\"none\"\nsize=9\nf=\"{text}\""),
    ] {
        match Layouts::parse(&text, "model.toml") {
            Ok((layouts, warnings)) => {
                assert!(warnings.iter().all(|warning| !warning.to_string().contains('\n')));
                layouts.iter().for_each(|layout| drop(received(layout, [data].into_iter())));
            }
            Err(problems) => assert!(problems.iter().all(|problem| !problem.to_string().contains('\n'))),
        }
    }
    check_builtin(data);
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
    let checked = Layouts::parse_within(CHECKED, "model.toml").expect("it is right").0.or(builtin());
    let layout = checked.iter().nth(choice % checked.len()).expect("there are some");
    assert!(!layout.topics().is_empty() && layout.checks().len() < 6 && shown(data).len() < 200);
    assert!(builtin().likeness(layout, data).is_none_or(|like| like != format!("layout {}", layout.name())));
    let device = layout.device(1, &Scheme::Sha256).expect("it has devices");
    let frame = device.frame(layout, 1, 40, &Scheme::Sha256).expect("it has frames");
    // The first frame is refused where it needs a login.
    let stream = [&frame[..], &device.logins.concat(), &frame, data].concat();
    drop(received(layout, [&stream[..]].into_iter()));
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
    loop {
        let rest = &stream[at..];
        match declared.cut(rest, FRAME_MAX) {
            Slow::More => return events,
            Slow::Frame { len, shape } => {
                let Ok(plain) = declared.shapes[shape].plain(&rest[..len]) else { panic!("it was cut") };
                events.push(Event::Frame { shape, len, became: became(&plain, &mut kept) });
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

fn became(plain: &Plain<'_>, kept: &mut Known) -> Became {
    let shape = plain.shape;
    if !plain.is_right() {
        return Became::BadCheck;
    }
    let mut now = kept.clone();
    for number in &shape.keep {
        let field = shape.field(*number).expect("the loader looked for it");
        let raw = plain.raw(field).expect("the places were looked at");
        now.insert(*number, (field.kind, raw.to_vec()));
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

/// By the code, as a gateway calls it.
fn received<'a>(layout: &Arc<Layout>, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let memory = Memory::new(Memory::least(1 << 20), 1 << 20);
    let (mut cutter, mut kept, mut bytes, mut events) =
        (Cutter::default(), Kept::default(), Vec::new(), Vec::new());
    for piece in pieces {
        bytes.extend_from_slice(piece);
        let (mut at, mut spots) = (0, Vec::new());
        let go_on = loop {
            match cutter.next(layout, &bytes[at..], FRAME_MAX) {
                Cut::Frame { len, shape } => {
                    spots.push(Spot { start: at as u32, end: (at + len) as u32, shape: shape as u16 });
                    at += len;
                    continue;
                }
                Cut::More(least) => {
                    assert!(least > bytes.len() - at && least <= FRAME_MAX.max(bytes.len() - at + 1) + 20);
                    break true;
                }
                dirt => {
                    convert(layout, &bytes, &mut spots, &mut kept, &memory, &mut events);
                    match dirt {
                        Cut::Skip(skipped) => {
                            at += skipped;
                            match events.last_mut() {
                                Some(Event::Skipped(before)) => *before += skipped,
                                _ => events.push(Event::Skipped(skipped)),
                            }
                        }
                        Cut::Malformed(why) => {
                            assert!(!why.to_string().is_empty());
                            events.push(Event::Malformed);
                            if !layout.scans() {
                                break false;
                            }
                        }
                        _ => unreachable!("these were matched"),
                    }
                }
            }
        };
        convert(layout, &bytes, &mut spots, &mut kept, &memory, &mut events);
        bytes.drain(..at);
        if !go_on {
            break;
        }
    }
    assert_eq!(memory.used(), 0);
    events
}

fn convert(
    layout: &Arc<Layout>,
    bytes: &[u8],
    spots: &mut Vec<Spot>,
    kept: &mut Kept,
    memory: &Arc<Memory>,
    events: &mut Vec<Event>,
) {
    if spots.is_empty() {
        return;
    }
    let spots = std::mem::take(spots);
    let len: usize = spots.iter().map(|spot| (spot.end - spot.start) as usize).sum();
    let room = memory.charge(Share::Small, layout.room(spots.len(), len));
    let reserved = room.bytes();
    let buffer = Buffer::charged(memory, bytes.into());
    let run = Run { layout: layout.clone(), buffer, frames: spots.clone(), kept: kept.clone(), room };
    let scheme = Scheme::Sha256;
    let done = run.convert(&scheme, memory);
    assert!(memory.used() <= reserved, "what was set aside is enough");
    let mut native = Vec::new();
    if let Some(batch) = &done.native {
        let bytes = batch.body().slices().collect::<Vec<_>>().concat();
        let batch =
            Batch::new(Buffer::charged(memory, bytes.clone().into()), bytes.len(), batch.frames(), None);
        for frame in verify(batch, &scheme).iter() {
            assert!(frame.intact, "every digest is right");
            let payload = &bytes[frame.at + 32 + frame.topic.len()..frame.end() - 32];
            native.push((frame.topic.to_vec(), frame.header.key, payload.to_vec()));
        }
    }
    let mut native = native.into_iter();
    for (spot, fate) in spots.iter().zip(&done.fates) {
        let frame = &bytes[spot.start as usize..spot.end as usize];
        let reply = done.reply(fate).to_vec();
        let became = match fate.outcome {
            Outcome::Published => {
                let (topic, key, payload) = native.next().expect("one for each");
                assert!(payload == frame && crate::wire::check_topic(&topic).is_ok());
                Became::Published { topic, key, reply }
            }
            Outcome::Taken => Became::Taken { reply },
            Outcome::BadCheck => Became::BadCheck,
            Outcome::Refused(why) => {
                assert!(!why.say(layout).is_empty());
                Became::Refused
            }
        };
        let shape = usize::from(spot.shape);
        let shown = explain(layout, shape, frame, 0, kept, &scheme);
        assert_eq!(shown.is_right(), became != Became::BadCheck);
        if !shown.is_right() && frame.len() < 24 {
            let found = layout.alike(shape, frame, 0, &scheme);
            assert!(found.is_none_or(|found| found.starts_with("is = ")));
        }
        assert!(shown.to_string().lines().count() > 1);
        events.push(Event::Frame { shape, len: frame.len(), became });
    }
    assert!(native.next().is_none());
    assert!(done.kept.size() <= Kept::size_max(layout));
    *kept = done.kept.clone();
}
