//! Which check would agree in a frame whose declared one is wrong: for a person who develops a layout and knows that
//! "some CRC" stands there.

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

impl Layout {
    /// What would agree where the check with this index of a frame is wrong, as a declaration says it:
    /// `is = "crc-16/modbus", over = "2..-2", at = "u16le @ -2"`. With 16 bits and more, other slices are tried, too;
    /// with fewer, much would agree by chance.
    pub fn alike(&self, shape: usize, frame: &[u8], check: usize, scheme: &Scheme) -> Option<String> {
        let of = &self.shapes[shape];
        let declared = of.checks.get(check)?;
        let mut lent = Vec::new();
        let view = of.view(self, frame, &mut lent);
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
        let mut slices = vec![declared.over.clone()];
        if at.len() >= 2 {
            let others = (0..=FROM_MAX).flat_map(|from| [own.end, at.start].map(|to| (from, to)));
            let others = others.filter(|(from, to)| from < to && (*from, *to) != (own.start, own.end));
            slices.extend(others.map(|(from, to)| slice(from, to)));
        }
        let algorithms = candidates(at.len(), declared);
        for over in &slices {
            let bytes = &view.bytes[view.slice(over)?];
            for (name, algorithm) in &algorithms {
                let sum = algorithm.of(bytes, scheme);
                for place in places(declared) {
                    let check = Check { at: place, ..declared.clone() };
                    if check.agrees(&sum, &view.bytes[at.clone()]) {
                        let (over, at) = (said(over, &view), placed(&check, &view));
                        return Some(format!("is = \"{name}\", over = \"{over}\", at = \"{at}\""));
                    }
                }
            }
        }
        None
    }
}

type Named = (String, Algorithm);

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
    let width = if declared.at.kind == Type::Hex { bytes / 2 } else { bytes };
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
    use crate::wire::Scheme;
    use crate::wire::layout::{Layouts, builtin};

    fn alike(check: &str, frame: &[u8]) -> Option<String> {
        let text =
            format!("[layout.a]\ntopic = \"a\"\nlength = \"u8 @ 0\"\ncounts = \"1..-2\"\ncheck = {check}");
        let (layouts, _) = Layouts::parse(&text, "a.toml").unwrap_or_else(|wrong| panic!("{wrong:?}"));
        layouts.get("a").expect("it is declared").alike(0, frame, 0, &Scheme::Sha256)
    }

    #[test]
    fn the_right_check_is_found_by_its_value() {
        // 4B37 is the checksum of 123456789 in CRC-16/MODBUS, 29B1 in CRC-16/IBM-3740.
        let modbus = b"\x09123456789\x37\x4b";
        let arc = "{ is = \"crc-16/arc\", over = \"1..-2\", at = \"u16 @ -2\" }";
        let found = "is = \"crc-16/modbus\", over = \"1..-2\", at = \"u16le @ -2\"";
        assert_eq!(alike(arc, modbus).as_deref(), Some(found));
        // The declared slice was wrong, too.
        let over = "{ is = \"crc-16/arc\", over = \"0..-2\", at = \"u16 @ -2\" }";
        assert_eq!(alike(over, modbus).as_deref(), Some(found));
        let found = "is = \"crc-16/ibm-3740\", over = \"1..-2\", at = \"u16 @ -2\"";
        assert_eq!(alike(arc, b"\x09123456789\x29\xb1").as_deref(), Some(found));
        assert_eq!(alike(arc, b"\x09123456789\x12\x34"), None);
    }

    #[test]
    fn a_digest_is_found_and_a_damaged_one_is_not() {
        let text = "[layout.a]\ntopic = \"a\"\nlength = \"u32 @ 0\"\ncounts = \"4..-16\"\n\
                    check = { is = \"sha-256\", over = \"0..-16\", at = \"bytes -16..\" }";
        let layouts = Layouts::parse(text, "a.toml").expect("it is right").0;
        let layout = layouts.get("a").expect("it is declared");
        // MD5 of "abc".
        let md5 = b"\x90\x01\x50\x98\x3c\xd2\x4f\xb0\xd6\x96\x3f\x7d\x28\xe1\x7f\x72";
        let frame = [&b"\0\0\0\x03abc"[..], md5].concat();
        let found = layout.alike(0, &frame, 0, &Scheme::Sha256);
        assert_eq!(found.as_deref(), Some("is = \"md5\", over = \"4..-16\", at = \"bytes -16..\""));
        let mut damaged = frame;
        damaged[5] ^= 1;
        assert_eq!(layout.alike(0, &damaged, 0, &Scheme::Sha256), None);
        // Nothing is guessed of a check of 8 bits over other slices, and an index that is not there is none.
        assert_eq!(builtin().get("syslog").expect("it is there").alike(0, b"1 a", 0, &Scheme::Sha256), None);
    }
}
