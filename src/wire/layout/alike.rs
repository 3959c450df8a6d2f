//! Which check would agree in a frame whose declared one is wrong: for a person who develops a layout and knows that
//! "some CRC" stands there.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::catalog;
use super::check::{Algorithm, Check};
use super::crc::Crc;
use super::form::Layout;
use super::place::{Pos, Slice, Type, View};
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

/// A check that would agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// As a declaration has it: `is = "crc-16/modbus", over = "2..-2", at = "u16le @ -2"`.
    pub check: String,
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
        (is_sure || alike.bits >= 16).then(|| Hint { check: alike.check.clone(), is_sure })
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
        let own = view.slice(&declared.over)?;
        let len = view.bytes.len() as i64;
        // From the end, as people write it, where a frame's length is not fixed.
        let slice = |from: usize, to: usize| Slice {
            from: Pos::start(from as u32),
            to: Pos { base: to as i64 - len, from_end: true, plus: Box::default() },
        };
        let mut others: Vec<(usize, usize)> =
            (0..=FROM_MAX).flat_map(|from| [own.end, at.start].map(|to| (from, to))).collect();
        others.retain(|(from, to)| from < to && (*from, *to) != (own.start, own.end));
        others.dedup();
        let slices =
            std::iter::once(declared.over.clone()).chain(others.iter().map(|(from, to)| slice(*from, *to)));
        let (algorithms, places) = (candidates(at.len(), declared), places(declared));
        let each = (algorithms.len() * places.len()) as u32;
        let bits = 8 * width(at.len(), declared) as u32;
        let mut found = Vec::new();
        for (number, over) in slices.enumerate() {
            let bytes = &view.bytes[view.slice(&over)?];
            let tried = if number == 0 { each } else { each * (1 + others.len() as u32) };
            for (name, algorithm) in &algorithms {
                let sum = algorithm.of(bytes, scheme);
                for place in &places {
                    let check = Check { at: place.clone(), ..declared.clone() };
                    if check.agrees(&sum, &view.bytes[at.clone()]) {
                        let (over, at) = (said(&over, &view), placed(&check, &view));
                        let check = format!("is = \"{name}\", over = \"{over}\", at = \"{at}\"");
                        let alike = Alike { check, bits, tried };
                        // The declared one is among the others, too.
                        if !found.contains(&alike) {
                            found.push(alike);
                        }
                    }
                }
            }
        }
        Some(found)
    }
}

type Named = (String, Algorithm);

/// Bytes of a check that stands in so many.
fn width(bytes: usize, declared: &Check) -> usize {
    if declared.at.kind == Type::Hex { bytes / 2 } else { bytes }
}

/// The checks whose value fills so many bytes: the declared one first.
fn candidates(bytes: usize, declared: &Check) -> Vec<Named> {
    // Of each, the tables of a CRC are 16 KiB.
    static CRCS: OnceLock<Vec<Named>> = OnceLock::new();
    let crcs = CRCS.get_or_init(|| {
        let crcs = catalog::names().into_iter().filter_map(|name| Some((catalog::named(&name)?, name)));
        crcs.filter(|(parameters, _)| [8, 16, 24, 32, 64].contains(&parameters.width))
            .map(|(parameters, name)| (name, Algorithm::Crc(Arc::new(Crc::new(parameters)))))
            .collect()
    });
    let width = width(bytes, declared);
    let mut found = vec![(declared.name.to_string(), declared.algorithm.clone())];
    let simple =
        [("xor-8", Algorithm::Xor8), ("sum-8", Algorithm::Sum8), ("fletcher-8", Algorithm::Fletcher8)];
    let simple = simple.into_iter().filter(|(_, algorithm)| algorithm.bits() == 8 * width);
    found.extend(simple.map(|(name, algorithm)| (name.to_string(), algorithm)));
    found.extend(crcs.iter().filter(|(_, algorithm)| algorithm.bits() == 8 * width).cloned());
    // A digest may be cut; of fewer than 32 bits, it is hardly one.
    let digests = [
        ("md5", Algorithm::Md5),
        ("sha-1", Algorithm::Sha1),
        ("sha-256", Algorithm::Sha256),
        ("sha-256d", Algorithm::Sha256d),
        ("blake3", Algorithm::Blake3),
    ];
    let digests = digests.into_iter().filter(|(_, digest)| width >= 4 && digest.bits() >= 8 * width);
    found.extend(digests.map(|(name, digest)| (name.to_string(), digest)));
    found
}

/// The place, and the same bytes read the other way round.
fn places(declared: &Check) -> Vec<super::place::Place> {
    let mut places = vec![declared.at.clone()];
    if let Type::Uint { bytes, little } = declared.at.kind
        && bytes > 1
    {
        let kind = Type::Uint { bytes, little: !little };
        places.push(super::place::Place { kind, ..declared.at.clone() });
    }
    places
}

/// A slice as a declaration has it.
fn said(slice: &Slice, view: &View<'_>) -> String {
    let range = view.slice(slice).unwrap_or(0..0);
    match view.bytes.len() - range.end {
        0 => format!("{}..", range.start),
        before => format!("{}..-{before}", range.start),
    }
}

/// The place of a check as a declaration has it, from the end of the frame.
fn placed(check: &Check, view: &View<'_>) -> String {
    let range = view.place(&check.at).unwrap_or(0..0);
    let (from, to) = (view.bytes.len() - range.start, view.bytes.len() - range.end);
    match (check.at.kind, to) {
        (kind @ Type::Uint { .. }, _) => format!("{} @ -{from}", kind.name()),
        (kind, 0) => format!("{} -{from}..", kind.name()),
        (kind, to) => format!("{} -{from}..-{to}", kind.name()),
    }
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
        hints.last().flatten().map(|hint| (hint.check, hint.is_sure))
    }

    #[test]
    fn the_right_check_is_found_by_its_value() {
        // 4B37 is the checksum of 123456789 in CRC-16/MODBUS, 29B1 in CRC-16/IBM-3740.
        let modbus = b"\x09123456789\x37\x4b";
        let arc = "{ is = \"crc-16/arc\", over = \"1..-2\", at = \"u16 @ -2\" }";
        let found =
            |sure| Some(("is = \"crc-16/modbus\", over = \"1..-2\", at = \"u16le @ -2\"".to_string(), sure));
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
        let found = "is = \"crc-16/ibm-3740\", over = \"1..-2\", at = \"u16 @ -2\"";
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
        let found = "is = \"xor-8\", over = \"0..-1\", at = \"u8 @ -1\"";
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
        let found = "is = \"md5\", over = \"4..-16\", at = \"bytes -16..\"";
        assert_eq!(look(layout, &frame), Some(Hint { check: found.into(), is_sure: true }));
        let mut damaged = frame;
        damaged[5] ^= 1;
        assert_eq!(look(layout, &damaged), None);
        // An index that is not there is none.
        assert_eq!(look(builtin().get("syslog").expect("it is there"), b"1 a"), None);
    }
}
