//! Which check would agree in a frame whose declared one is wrong: for a person who develops a layout and knows that
//! "some CRC" stands there.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::catalog;
use super::check::{Algorithm, Check};
use super::crc::Crc;
use super::declare::{Parts, fits};
use super::form::{Declared, Layout, Shape};
use super::place::{Place, Pos, Slice, Type, View};
use super::template::Reply;
use crate::wire::digest::Scheme;

/// 64 KiB: a larger frame is not tried with every check that there is.
const FRAME_MAX: usize = 64 << 10;
/// A check may begin behind a start, a length or a small header.
const FROM_MAX: usize = 8;

/// What agrees by chance in one of so many captures is said to agree.
const CHANCE: f64 = 500.0;

/// Which checks would agree in the frames of a capture whose declared ones are wrong.
///
/// Of a hundred checks, one of 8 bits agrees with every other frame by chance. So it is counted in how many frames each
/// agrees, and one is named where that is hardly an accident.
#[derive(Debug, Default)]
pub struct Alikes(BTreeMap<(usize, usize), Counted>);

/// Of one check of a shape: the frames that were looked at, and in how many of them others agreed.
#[derive(Debug, Default)]
struct Counted {
    frames: u32,
    agreed: Vec<(Alike, u32)>,
}

/// A check that agrees in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alike {
    /// As a declaration has it: `is = "crc-16/modbus", over = "2..-2", at = "u16le @ -2"`.
    check: String,
    bits: u32,
    /// How many others were tried before it was found.
    tried: u32,
}

/// A check that would agree, or a length that would make frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// As a declaration has it: `check = { is = "crc-16/modbus", over = "2..-2", at = "u16le @ -2" }`, or the lines of a
    /// length and what it counts.
    pub lines: String,
    /// Whether that is hardly chance; else more frames would tell.
    pub is_sure: bool,
}

impl Alikes {
    /// What would agree where the check with this index of a frame is wrong. Nothing where it is likely chance.
    pub fn look(
        &mut self,
        layout: &Layout,
        shape: usize,
        frame: &[u8],
        check: usize,
        scheme: &Scheme,
    ) -> Option<Hint> {
        let counted = self.0.entry((shape, check)).or_default();
        counted.frames += 1;
        for alike in layout.alike(shape, frame, check, scheme) {
            match counted.agreed.iter().position(|(other, _)| other.check == alike.check) {
                Some(at) => counted.agreed[at].1 += 1,
                None if counted.agreed.len() < AGREED_MAX => counted.agreed.push((alike, 1)),
                None => {}
            }
        }
        let all = counted.frames;
        // Of those that agree as often, the one that was found first.
        let (alike, agreed) = counted.agreed.iter().min_by(|(a, a_frames), (b, b_frames)| {
            by_chance(a, *a_frames, all).total_cmp(&by_chance(b, *b_frames, all))
        })?;
        let is_sure = by_chance(alike, *agreed, all) * CHANCE <= 1.0;
        (is_sure || alike.bits >= 16)
            .then(|| Hint { lines: format!("check = {{ {} }}", alike.check), is_sure })
    }
}

/// So many checks that agreed at least once are remembered.
const AGREED_MAX: usize = 4096;

/// How many of the checks that were tried agree with as many frames by chance.
fn by_chance(alike: &Alike, agreed: u32, frames: u32) -> f64 {
    let choices: f64 = (0..agreed).map(|at| f64::from(frames - at) / f64::from(at + 1)).product();
    f64::from(alike.tried) * choices * (-f64::from(alike.bits) * f64::from(agreed)).exp2()
}

impl Layout {
    /// All that would agree where the check with this index of a frame is wrong, over the declared slice first.
    fn alike(&self, shape: usize, frame: &[u8], check: usize, scheme: &Scheme) -> Vec<Alike> {
        self.alike_within(shape, frame, check, scheme).unwrap_or_default()
    }

    fn alike_within(&self, shape: usize, frame: &[u8], check: usize, scheme: &Scheme) -> Option<Vec<Alike>> {
        let layout = self.declared()?;
        let of = layout.shapes.get(shape)?;
        let declared = of.checks.get(check)?;
        let mut lent = Vec::new();
        let view = of.view(layout, frame, &mut lent);
        let at = view.place(&declared.at)?;
        if view.bytes.len() > FRAME_MAX {
            return None;
        }
        let slices = slices(declared, &view, of.tail(layout))?;
        let checks = candidates(at.len(), declared);
        let (each, bits) = (checks.len() as u32, bits(at.len(), &declared.at) as u32);
        let mut found = Vec::new();
        for (number, over) in slices.iter().enumerate() {
            let bytes = &view.bytes[view.slice(over)?];
            let tried = if number == 0 { each } else { each * slices.len() as u32 };
            let (mut of_name, mut sum) = ("", None);
            for candidate in &checks {
                // Those of one algorithm stand together.
                if of_name != &*candidate.name {
                    (of_name, sum) = (&candidate.name, Some(candidate.algorithm.of(bytes, scheme)));
                }
                let agrees = sum.as_ref().is_some_and(|sum| candidate.agrees(sum, &view.bytes[at.clone()]));
                if agrees {
                    let check_of = Check { over: over.clone(), ..candidate.clone() };
                    let alike = Alike { check: of.check_said(&check_of), bits, tried };
                    if !found.contains(&alike) && is_accepted(layout, of, check, &check_of, view.bytes.len())
                    {
                        found.push(alike);
                    }
                }
            }
        }
        Some(found)
    }
}

/// What a check may be over: what is declared first, then slices that begin near the start of the frame and end where the
/// declared one does, where the check begins, or at the end of the frame. They are said by the same positions, so that they are right in others.
fn slices(declared: &Check, view: &View<'_>, tail: usize) -> Option<Vec<Slice>> {
    let own = view.slice(&declared.over)?;
    let at = view.place(&declared.at)?;
    let mut known = vec![own];
    let mut slices = vec![declared.over.clone()];
    let end = |base: usize| Pos { base: -(base as i64), from_end: true, plus: Box::default() };
    let (before_tail, last) = (end(tail), end(0));
    for from in 0..=FROM_MAX {
        for to in [&declared.over.to, &declared.at.from, &before_tail, &last] {
            let slice = Slice { from: Pos::start(from as u32), to: to.clone() };
            let Some(range) = view.slice(&slice) else { continue };
            let is_apart = range.end <= at.start || at.end <= range.start;
            if !range.is_empty() && is_apart && !known.contains(&range) {
                known.push(range);
                slices.push(slice);
            }
        }
    }
    Some(slices)
}

/// Whether the layout would be accepted with a check in the place of another, and takes frames of so many bytes.
fn is_accepted(layout: &Declared, of: &Shape, index: usize, check: &Check, len: usize) -> bool {
    let mut parts = Parts::of(layout, of);
    parts.checks[index] = check;
    let judged = parts.judge();
    let within = |reply: &Reply| reply.takes_seal(of, &check.over);
    fits(check).is_ok()
        && judged.wrong.is_empty()
        && judged.least <= len
        && of.reply.iter().chain(&of.refuse).all(within)
}

/// The bits of a value that a place holds.
fn bits(bytes: usize, at: &Place) -> usize {
    match at.kind {
        Type::Uint { .. } if at.mask != u64::MAX => at.mask.trailing_ones() as usize,
        Type::Hex => 4 * bytes,
        // Three decimal digits hold a byte, five two.
        Type::Digits => 332 * bytes / 100 / 8 * 8,
        _ => 8 * bytes,
    }
}

/// The checks whose value fills the place, which has so many bytes: the declared one first, and each as it may be read.
fn candidates(bytes: usize, declared: &Check) -> Vec<Check> {
    // Of each, the tables of a CRC are 16 KiB.
    static CRCS: OnceLock<Vec<(String, Algorithm)>> = OnceLock::new();
    let crcs = CRCS.get_or_init(|| {
        let crcs = catalog::names().into_iter().filter_map(|name| Some((catalog::named(&name)?, name)));
        crcs.filter(|(parameters, _)| parameters.width >= 8)
            .map(|(parameters, name)| (name, Algorithm::Crc(Arc::new(Crc::new(parameters)))))
            .collect()
    });
    let bits = bits(bytes, &declared.at);
    let mut found = vec![(declared.name.to_string(), declared.algorithm.clone())];
    let simple = [
        ("xor-8", Algorithm::Xor8),
        ("sum-8", Algorithm::Sum8),
        ("lrc-8", Algorithm::Lrc8),
        ("fletcher-8", Algorithm::Fletcher8),
    ];
    let simple = simple.into_iter().filter(|(_, algorithm)| algorithm.bits() == bits);
    found.extend(simple.map(|(name, algorithm)| (name.to_string(), algorithm)));
    // Of 15 bits, a CRC fills two bytes.
    let fills = |algorithm: &Algorithm| algorithm.bits() <= bits && algorithm.bits() + 8 > bits;
    found.extend(crcs.iter().filter(|(_, algorithm)| fills(algorithm)).cloned());
    // A digest may be cut; of fewer than 32 bits, it is hardly one.
    let digests = [
        ("md5", Algorithm::Md5),
        ("sha-1", Algorithm::Sha1),
        ("sha-256", Algorithm::Sha256),
        ("sha-256d", Algorithm::Sha256d),
        ("blake3", Algorithm::Blake3),
    ];
    let digests = digests.into_iter().filter(|(_, digest)| bits >= 32 && digest.bits() >= bits);
    found.extend(digests.map(|(name, digest)| (name.to_string(), digest)));
    let places = places(&declared.at);
    let each = found.into_iter().flat_map(|(name, algorithm)| {
        let check = |at: &Place| Check {
            name: name.as_str().into(),
            algorithm: algorithm.clone(),
            over: declared.over.clone(),
            at: at.clone(),
        };
        places.iter().map(check).collect::<Vec<_>>()
    });
    each.filter(|check| fits(check).is_ok()).collect()
}

/// The place, and the same bytes read the other way round.
fn places(declared: &Place) -> Vec<Place> {
    let mut places = vec![declared.clone()];
    let other = match declared.kind {
        Type::Uint { bytes, little } if bytes > 1 => Some(Type::Uint { bytes, little: !little }),
        Type::Bytes => declared
            .width()
            .filter(|width| [2, 3, 4, 8].contains(width))
            .map(|width| Type::Uint { bytes: width as u8, little: true }),
        _ => None,
    };
    if let Some(kind) = other {
        let to = if declared.kind == Type::Bytes { declared.from.clone() } else { declared.to.clone() };
        places.push(Place { kind, to, ..declared.clone() });
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::layout::{Layouts, builtin};

    fn layout(check: &str, width: usize) -> std::sync::Arc<Layout> {
        let text = format!(
            "[layout.a]\ntopic = \"a\"\nlength = \"u8 @ 0\"\ncounts = \"1..-{width}\"\ncheck = {check}"
        );
        let (layouts, _) = Layouts::parse(&text, "a.toml").unwrap_or_else(|wrong| panic!("{wrong:?}"));
        layouts.get("a").expect("it is declared").clone()
    }

    /// What is said behind the last of these frames.
    fn alike(check: &str, width: usize, frames: &[&[u8]]) -> Option<(String, bool)> {
        let (layout, mut alikes) = (layout(check, width), Alikes::default());
        let hints = frames.iter().map(|frame| alikes.look(&layout, 0, frame, 0, &Scheme::Sha256));
        hints.last().flatten().map(|hint| (hint.lines, hint.is_sure))
    }

    #[test]
    fn the_right_check_is_found_by_its_value() {
        // 4B37 is the checksum of 123456789 in CRC-16/MODBUS, 29B1 in CRC-16/IBM-3740.
        let modbus = b"\x09123456789\x37\x4b";
        let arc = "{ is = \"crc-16/arc\", over = \"1..-2\", at = \"u16 @ -2\" }";
        let found = |sure| {
            Some((
                "check = { is = \"crc-16/modbus\", over = \"1..-2\", at = \"u16le @ -2\" }".to_string(),
                sure,
            ))
        };
        assert_eq!(alike(arc, 2, &[modbus]), found(true));
        // The declared slice was wrong, too: of one frame, that may be chance.
        let over = "{ is = \"crc-16/arc\", over = \"0..-2\", at = \"u16 @ -2\" }";
        assert_eq!(alike(over, 2, &[modbus]), found(false));
        // Of 12345678, A137 in that byte order.
        let other = [
            &b"\x0812345678"[..],
            &crate::wire::layout::crc::Crc::new(catalog::named("crc-16/modbus").unwrap())
                .of(b"12345678")
                .to_le_bytes()[..2],
        ]
        .concat();
        assert_eq!(alike(over, 2, &[modbus, &other]), found(true));
        let found = "check = { is = \"crc-16/ibm-3740\", over = \"1..-2\", at = \"u16 @ -2\" }";
        assert_eq!(alike(arc, 2, &[b"\x09123456789\x29\xb1"]), Some((found.to_string(), true)));
        assert_eq!(alike(arc, 2, &[b"\x09123456789\x12\x34"]), None);
    }

    #[test]
    fn of_8_bits_nothing_is_said_by_chance() {
        let declared = "{ is = \"sum-8\", over = \"1..-1\", at = \"u8 @ -1\" }";
        // Whatever stands there: some check of a hundred agrees.
        for last in 0..=255 {
            assert_eq!(alike(declared, 1, &[&[b"\x09123456789", &[last][..]].concat()]), None, "{last}");
        }
        // XOR of the digits and the length, in one frame after the other.
        let frame = |body: &str| {
            let mut frame = [&[body.len() as u8], body.as_bytes()].concat();
            frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
            frame
        };
        let frames: Vec<Vec<u8>> =
            ["12345", "hello", "a", "framegate", "xyz"].into_iter().map(frame).collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        assert_eq!(alike(declared, 1, &frames[..1]), None);
        let found = "check = { is = \"xor-8\", over = \"0..-1\", at = \"u8 @ -1\" }";
        assert_eq!(alike(declared, 1, &frames), Some((found.to_string(), true)));
    }

    #[test]
    fn a_digest_is_found_and_a_damaged_one_is_not() {
        let text = "[layout.a]\ntopic = \"a\"\nlength = \"u32 @ 0\"\ncounts = \"4..-16\"\n\
                    check = { is = \"sha-256\", over = \"0..-16\", at = \"bytes -16..\" }";
        let layouts = Layouts::parse(text, "a.toml").expect("it is right").0;
        let layout = layouts.get("a").expect("it is declared");
        let look =
            |layout: &Layout, frame: &[u8]| Alikes::default().look(layout, 0, frame, 0, &Scheme::Sha256);
        // MD5 of "abc".
        let md5 = b"\x90\x01\x50\x98\x3c\xd2\x4f\xb0\xd6\x96\x3f\x7d\x28\xe1\x7f\x72";
        let frame = [&b"\0\0\0\x03abc"[..], md5].concat();
        let found = "check = { is = \"md5\", over = \"4..-16\", at = \"bytes -16..\" }";
        assert_eq!(look(layout, &frame), Some(Hint { lines: found.into(), is_sure: true }));
        let mut damaged = frame;
        damaged[5] ^= 1;
        assert_eq!(look(layout, &damaged), None);
        // An index that is not there is none.
        assert_eq!(look(builtin().get("syslog").expect("it is there"), b"1 a"), None);
    }
}
