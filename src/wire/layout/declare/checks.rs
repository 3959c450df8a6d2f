//! The `check` of a shape.

use toml::de::{DeTable, DeValue};

use super::shape::{LayoutDraft, Names};
use super::table::{Source, called, string, unquoted};
use super::text;
use crate::core::units::nearest;
use crate::wire::layout::catalog;
use crate::wire::layout::check::{Algorithm, Check, SUM_MAX};
use crate::wire::layout::crc::{Parameters, WIDTH_MAX};
use crate::wire::layout::place::Type;
use crate::wire::toml_file::Report;

/// The checks beside the CRCs of the catalogue.
const NAMES: [&str; 11] = [
    "sha-256",
    "sha-256d",
    "sha-1",
    "md5",
    "blake3",
    "hmac-sha-256",
    "xor-8",
    "sum-8",
    "lrc-8",
    "fletcher-8",
    "crc-32c/masked",
];

/// The checks of a shape; `None` where they were not understood, which was said.
pub(super) fn read(
    draft: &mut LayoutDraft<'_>,
    source: &Source<'_>,
    names: &Names<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<Check>> {
    let Some(entry) = source.get("check") else {
        let what = "nothing says how a frame is checked: write check = \"none\" where nothing is";
        report.problem(source.place("check"), what);
        return None;
    };
    let tables: Vec<&DeTable<'_>> = match entry.value {
        DeValue::String(none) if none == "none" => return Some(Vec::new()),
        DeValue::String(name) => {
            let what = format!(
                "{name:?} alone is not a check: write {{ is = {name:?}, over = \"A..B\", at = \"PLACE\" }}, or \"none\""
            );
            report.problem(source.place("check"), what);
            return None;
        }
        DeValue::Table(table) => vec![table],
        DeValue::Array(all) if !all.is_empty() => {
            let tables: Vec<_> = all.iter().filter_map(|one| one.get_ref().as_table()).collect();
            if tables.len() < all.len() {
                report
                    .problem(source.place("check"), "each check is { is = NAME, over = SLICE, at = PLACE }");
                return None;
            }
            tables
        }
        DeValue::Array(_) => {
            report.problem(
                source.place("check"),
                "it is an empty list: write check = \"none\" where nothing is checked",
            );
            return None;
        }
        other => {
            let what = format!(
                "it is {}: write {{ is = NAME, over = SLICE, at = PLACE }}, or \"none\"",
                called(other)
            );
            report.problem(source.place("check"), what);
            return None;
        }
    };
    let before = report.problems.len();
    let checks: Vec<Check> =
        tables.into_iter().filter_map(|table| one(draft, source, names, table, report)).collect();
    (report.problems.len() == before).then_some(checks)
}

fn one(
    draft: &mut LayoutDraft<'_>,
    source: &Source<'_>,
    names: &Names<'_>,
    table: &DeTable<'_>,
    report: &mut Report<'_>,
) -> Option<Check> {
    let mut say = |what: String| report.problem(source.place("check"), what);
    for key in table.keys() {
        let key = &**key.get_ref();
        if !["is", "over", "at"].contains(&key) {
            say(match nearest(key, ["is", "over", "at"]) {
                Some(meant) => format!("unknown key {key} in a check: did you mean {meant}?"),
                None => format!("unknown key {key} in a check: it has is, over and at"),
            });
        }
    }
    let text_of = |key: &str| match table.get(key).map(|value| value.get_ref()) {
        Some(value) => string(value).ok_or(format!("{key} is {}: it is text", called(value))),
        None => Err(match key {
            "over" => "over is missing: say which slice it covers, as in over = \"0..-2\"".to_string(),
            _ => "at is missing: say where it stands, as in at = \"u16 @ -2\"".to_string(),
        }),
    };
    let found = match table.get("is").map(|value| value.get_ref()) {
        Some(DeValue::String(name)) => algorithm(draft, name).map(|found| (found, name.to_string())),
        Some(DeValue::Table(table)) => {
            parameters(table).map(|found| (Algorithm::Crc(draft.crc(found)), format!("crc-{}", found.width)))
        }
        Some(other) => Err(format!("is {}: write its name, or {{ width, poly, … }}", called(other))),
        None => Err("is is missing: say which check it is, as in is = \"crc-16/arc\"".into()),
    };
    let over = text_of("over").and_then(|text| {
        let slice = text::slice(text).and_then(|raw| names.slice(&raw));
        slice.map_err(|wrong| format!("over: {wrong}"))
    });
    let at = text_of("at").and_then(|text| {
        let place = text::place(text).and_then(|raw| names.place(&raw));
        place.map_err(|wrong| format!("at: {wrong}"))
    });
    let (found, over, at) = match (found, over, at) {
        (Ok(found), Ok(over), Ok(at)) => (found, over, at),
        (found, over, at) => {
            [found.err(), over.err(), at.err()].into_iter().flatten().for_each(say);
            return None;
        }
    };
    let (algorithm, name) = found;
    let check = Check { name: name.into(), algorithm, over, at };
    match fits(&check) {
        Ok(()) => Some(check),
        Err(wrong) => {
            say(wrong);
            None
        }
    }
}

fn algorithm(draft: &mut LayoutDraft<'_>, name: &str) -> Result<Algorithm, String> {
    Ok(match name {
        "sha-256" => Algorithm::Sha256,
        "sha-256d" => Algorithm::Sha256d,
        "sha-1" => Algorithm::Sha1,
        "md5" => Algorithm::Md5,
        "blake3" => Algorithm::Blake3,
        "hmac-sha-256" => Algorithm::HmacSha256,
        "xor-8" => Algorithm::Xor8,
        "sum-8" => Algorithm::Sum8,
        "lrc-8" => Algorithm::Lrc8,
        "fletcher-8" => Algorithm::Fletcher8,
        "crc-32c/masked" => {
            Algorithm::Crc32cMasked(draft.crc(catalog::named("crc-32/iscsi").expect("the catalogue has it")))
        }
        _ => match catalog::named(name) {
            Some(parameters) => Algorithm::Crc(draft.crc(parameters)),
            None => {
                return Err(unknown(name));
            }
        },
    })
}

/// Checks that people use and that no layout has: none of those that it has is meant.
const OTHERS: [&str; 24] = [
    "adler-32",
    "blake2",
    "blake2b",
    "blake2s",
    "cmac",
    "fletcher-16",
    "fletcher-32",
    "fnv-1a",
    "hmac-md5",
    "hmac-sha-1",
    "hmac-sha-512",
    "md4",
    "murmur3",
    "poly1305",
    "sha-224",
    "sha-384",
    "sha-512",
    "sha3-256",
    "siphash",
    "sum-16",
    "sum-32",
    "xor-16",
    "xor-32",
    "xxhash",
];

/// What is said of a check that does not exist.
fn unknown(name: &str) -> String {
    let bare = |name: &str| {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<String>()
    };
    let given = bare(name);
    let crcs = catalog::names();
    let all = || NAMES.into_iter().chain(crcs.iter().map(String::as_str));
    // With other signs between its letters and digits, it is that one.
    let meant = all().find(|of| bare(of) == given);
    if meant.is_none() && OTHERS.iter().any(|of| bare(of) == given) {
        return format!(
            "unknown check {name:?}: a layout has none of that name; a format in Rust makes it, or a handler with check = \"none\""
        );
    }
    match meant.or_else(|| nearest(&name.to_ascii_lowercase(), all())) {
        Some(meant) => format!("unknown check {name:?}: did you mean {meant}?"),
        None => format!(
            "unknown check {name:?}: write {}, a CRC of the catalogue as crc-16/arc, or {{ width, poly, … }}",
            NAMES.join(", ")
        ),
    }
}

fn parameters(table: &DeTable<'_>) -> Result<Parameters, String> {
    const KEYS: [&str; 6] = ["width", "poly", "init", "refin", "refout", "xorout"];
    for key in table.keys() {
        let key = &**key.get_ref();
        if !KEYS.contains(&key) {
            return Err(match nearest(key, KEYS) {
                Some(meant) => format!("unknown key {key} of a CRC: did you mean {meant}?"),
                None => format!("unknown key {key} of a CRC: it has {}", KEYS.join(", ")),
            });
        }
    }
    let number = |key: &str| match table.get(key).map(|value| value.get_ref()) {
        None => Ok(None),
        Some(DeValue::Integer(number)) => match u128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                Err(format!("{key} of the CRC is {number}: it is not negative and has at most 128 bits"))
            }
        },
        Some(other) => {
            let mend = unquoted(key, other).unwrap_or("write a number, as in 0x8005".into());
            Err(format!("{key} of the CRC is {}: {mend}", called(other)))
        }
    };
    let flag = |key: &str| match table.get(key).map(|value| value.get_ref()) {
        None => Ok(false),
        Some(DeValue::Boolean(flag)) => Ok(*flag),
        Some(other) => {
            let mend = unquoted(key, other).unwrap_or("write true or false".into());
            Err(format!("{key} of the CRC is {}: {mend}", called(other)))
        }
    };
    let width = number("width")?.ok_or("width of the CRC is missing: say how many bits it has")?;
    if width == 0 || width > u128::from(WIDTH_MAX) {
        return Err(format!("width of the CRC is {width}: it has 1 to {WIDTH_MAX} bits"));
    }
    let poly = number("poly")?.ok_or("poly of the CRC is missing: say it as in 0x8005")?;
    let (init, xorout) = (number("init")?.unwrap_or(0), number("xorout")?.unwrap_or(0));
    for (key, value) in [("poly", poly), ("init", init), ("xorout", xorout)] {
        if value.checked_shr(width as u32).unwrap_or(0) != 0 {
            return Err(format!("{key} of the CRC has more than its {width} bits: leave out the highest"));
        }
    }
    if poly == 0 {
        return Err("poly of the CRC is 0, which checks nothing: say it as in 0x8005".into());
    }
    Ok(Parameters { width: width as u8, poly, init, refin: flag("refin")?, refout: flag("refout")?, xorout })
}

/// Whether the place of a check can hold it.
pub(in crate::wire::layout) fn fits(check: &Check) -> Result<(), String> {
    let Check { name, algorithm, at, .. } = check;
    let bits = algorithm.bits();
    let kind = at.kind.name();
    let Some(width) = at.width().filter(|_| !matches!(at.kind, Type::Bcd | Type::Text)) else {
        return Err(match at.kind {
            Type::Bytes | Type::Hex | Type::Digits => {
                format!("at: its place has no fixed width: write both ends, as in \"{kind} -4..\"")
            }
            _ => format!("at: {kind} holds no check: write an integer, bytes, hex or digits A..B"),
        });
    };
    if width == 0 {
        return Err("at: its place is empty: give it the bytes of the check".into());
    }
    if width > 2 * SUM_MAX {
        return Err(format!("at: its place has {width} bytes: no check is as long"));
    }
    if algorithm.is_digest() {
        let holds = match at.kind {
            Type::Uint { little: false, .. } if at.mask == u64::MAX => width,
            Type::Bytes => width,
            Type::Hex if width % 2 == 0 => width / 2,
            _ => return Err(format!("at: {name} is bytes, and {kind} is not: write bytes A..B or hex A..B")),
        };
        return match holds * 8 <= bits {
            true => Ok(()),
            false => {
                Err(format!("at: its place has {holds} bytes and {name} only {}: make it shorter", bits / 8))
            }
        };
    }
    let holds = match at.kind {
        Type::Uint { .. } if at.mask == u64::MAX => 8 * width,
        Type::Uint { .. } => at.mask.trailing_ones() as usize,
        Type::Hex => 4 * width,
        Type::Digits => 332 * width / 100,
        _ => 8 * width,
    };
    let is_enough = match at.kind {
        // Three digits hold a byte.
        Type::Digits => {
            width >= 20
                || 10u64.pow(width as u32) > u64::MAX.checked_shr(64 - bits.min(64) as u32).unwrap_or(0)
        }
        _ => holds >= bits,
    };
    match is_enough {
        true => Ok(()),
        false => Err(format!("at: {name} has {bits} bits and its place {holds}: make it wider")),
    }
}
