//! A shape as far as it can be compiled by itself: where it ends, its fields and its checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::DeValue;

use super::checks;
use super::judge::{self, Parts};
use super::table::{KEYS, OTHERS, Source, called, string, unquoted};
use super::text::{self, RawPlace, RawPos, RawSlice};
use crate::core::units::nearest;
use crate::wire::layout::check::Check;
use crate::wire::layout::crc::{Crc, Parameters};
use crate::wire::layout::escape::{Escapes, Pair};
use crate::wire::layout::form::{Bound, Field, From};
use crate::wire::layout::kept::{KEPT_MAX, KEPT_VALUE_MAX};
use crate::wire::layout::place::{Place, Pos, Slice, Term, Type};
use crate::wire::toml_file::Report;

/// What the shapes of a layout share.
pub(super) struct LayoutDraft<'a> {
    pub name: &'a str,
    pub scans: bool,
    pub untils: Vec<Vec<u8>>,
    pub kept: Vec<String>,
    crcs: Vec<Arc<Crc>>,
}

/// A shape without its templates. Where something is wrong that was said, it holds something harmless instead.
pub(super) struct Drafted {
    pub start: Vec<u8>,
    pub end: Vec<u8>,
    /// `None` where it was not said, or not rightly.
    pub bound: Option<Bound>,
    pub escapes: Option<Arc<Escapes>>,
    pub fields: Vec<Field>,
    /// Fields that are not what they should be: nothing more is said about them.
    pub broken: BTreeSet<String>,
    pub checks: Vec<Check>,
    /// Whether what is said of the checks was understood.
    pub are_checks_known: bool,
    pub keep: Vec<(u8, u16)>,
    pub publish: bool,
    pub least: usize,
    pub behind: usize,
    pub floats: bool,
}

/// What the names in positions stand for.
pub(super) struct Names<'a> {
    raw: &'a BTreeMap<&'a str, RawPlace>,
    broken: &'a BTreeSet<String>,
    has_length: bool,
}

impl<'a> LayoutDraft<'a> {
    pub fn new(name: &'a str, scans: bool) -> LayoutDraft<'a> {
        LayoutDraft { name, scans, untils: Vec::new(), kept: Vec::new(), crcs: Vec::new() }
    }

    /// How many distinct ways to end its shapes have.
    pub fn untils(&self) -> usize {
        self.untils.len()
    }

    /// How many bytes end the frames of a shape that are the same in all of them.
    pub fn tail(&self, shape: &Drafted) -> usize {
        match shape.bound {
            Some(Bound::Until(until)) => self.untils.get(usize::from(until)).map_or(0, Vec::len),
            _ => shape.end.len(),
        }
    }

    /// The tables of a CRC, which shapes share.
    pub fn crc(&mut self, parameters: Parameters) -> Arc<Crc> {
        if let Some(crc) = self.crcs.iter().find(|crc| *crc.parameters() == parameters) {
            return crc.clone();
        }
        let crc = Arc::new(Crc::new(parameters));
        self.crcs.push(crc.clone());
        crc
    }

    /// Reads a shape.
    pub fn shape(&mut self, source: &Source<'_>, report: &mut Report<'_>) -> Drafted {
        let mut broken = BTreeSet::new();
        let raw = raw_fields(source, &mut broken, report);
        let names = Names { raw: &raw, broken: &broken, has_length: source.get("length").is_some() };
        let start = hex(source, "start", report);
        let end = hex(source, "end", report);
        let bound = self.bound(source, &raw, report);
        let mut fields = Vec::new();
        let mut failed = Vec::new();
        for (name, place) in &raw {
            let place = names.place(place).unwrap_or_else(|wrong| {
                report.problem(source.place(name), wrong);
                failed.push((*name).to_string());
                harmless()
            });
            fields.push(Field { name: (*name).into(), place });
        }
        let read = checks::read(self, source, &names, report);
        let are_checks_known = read.is_some();
        broken.extend(failed);
        let mut drafted = Drafted {
            start,
            end,
            bound,
            escapes: escapes(source, report).map(Arc::new),
            fields,
            broken,
            checks: read.unwrap_or_default(),
            are_checks_known,
            keep: Vec::new(),
            publish: publish(source, report),
            least: 0,
            behind: 0,
            floats: false,
        };
        self.keep(source, &mut drafted, report);
        judge::together(source, &drafted, report);
        let judged = Parts::drafted(&drafted, self.tail(&drafted)).judge();
        for (key, what) in judged.wrong {
            report.problem(source.place(&key), what);
        }
        (drafted.least, drafted.behind, drafted.floats) = (judged.least, judged.behind, judged.floats);
        drafted
    }

    /// Exactly one of `length`, `size` and `until`.
    fn bound(
        &mut self,
        source: &Source<'_>,
        raw: &BTreeMap<&str, RawPlace>,
        report: &mut Report<'_>,
    ) -> Option<Bound> {
        let given: Vec<&str> =
            ["length", "size", "until"].into_iter().filter(|key| source.get(key).is_some()).collect();
        if let [first, second, ..] = given[..] {
            let what = format!("{first} says already where a frame ends: leave one of them out");
            report.problem(source.place(second), what);
            return None;
        }
        if source.get("counts").is_some() && given != ["length"] {
            report.problem(source.place("counts"), "only a length counts: leave it out, or say length");
        }
        let Some(key) = given.first() else {
            let misspelled = raw.keys().find(|name| is_slip(name, "length"));
            match misspelled {
                Some(name) => report.problem(
                    source.place(name),
                    format!("a field {name}, and nothing says where a frame ends: did you mean length?"),
                ),
                None => report.problem(
                    source.whole(),
                    "nothing says where a frame ends: give it length, size or until",
                ),
            }
            return None;
        };
        let entry = source.get(key).expect("it was just found");
        let read = match (*key, entry.value) {
            ("size", DeValue::Integer(size)) => match size.as_str().parse::<u32>() {
                Ok(size) if size > 0 && size <= u32::MAX >> 1 => Ok(Bound::Size(size)),
                _ => Err(format!("{size} is not a size: write how many bytes a frame has")),
            },
            ("size", other) => {
                let mend =
                    unquoted("size", other).unwrap_or("write how many bytes a frame has, as a number".into());
                Err(format!("it is {}: {mend}", called(other)))
            }
            ("until", _) => {
                let bytes = hex(source, "until", report);
                if bytes.is_empty() {
                    return None;
                }
                let at = self.untils.iter().position(|until| *until == bytes).unwrap_or_else(|| {
                    self.untils.push(bytes);
                    self.untils.len() - 1
                });
                Ok(Bound::Until(u8::try_from(at).unwrap_or(u8::MAX)))
            }
            (_, value) => match string(value) {
                Some(text) => length(source, text, report),
                None => {
                    let size = matches!(value, DeValue::Integer(_));
                    let mend = if size { "; the length of frames that all have one is size" } else { "" };
                    Err(format!("it is {}: write a place, as in \"u16 @ 2\"{mend}", called(value)))
                }
            },
        };
        read.map_err(|wrong| report.problem(source.place(key), wrong)).ok()
    }

    fn keep(&mut self, source: &Source<'_>, drafted: &mut Drafted, report: &mut Report<'_>) {
        let Some(entry) = source.get("keep") else { return };
        let place = source.place("keep");
        let names: Option<Vec<&str>> = match entry.value {
            DeValue::String(name) => Some(vec![name]),
            DeValue::Array(names) => names.iter().map(|name| string(name.get_ref())).collect(),
            _ => None,
        };
        let Some(names) = names else {
            return report.problem(place, "it is not a list of fields: write keep = [\"imei\"]");
        };
        if names.is_empty() {
            return report.problem(place, "it is empty: name the fields that are kept, or leave it out");
        }
        for name in names {
            let index = drafted.fields.iter().position(|field| &*field.name == name);
            let Some(index) = index else {
                if !drafted.broken.contains(name) {
                    let all = drafted.fields.iter().map(|field| &*field.name);
                    report.problem(place, unknown_field(name, all, "of this shape"));
                }
                continue;
            };
            if drafted.fields[index].place.width().is_some_and(|width| width > KEPT_VALUE_MAX) {
                report.problem(
                    place,
                    format!("{name} is longer than {KEPT_VALUE_MAX} bytes: keep a part of it"),
                );
                continue;
            }
            let slot = self.kept.iter().position(|kept| kept == name).unwrap_or_else(|| {
                self.kept.push(name.to_string());
                self.kept.len() - 1
            });
            if slot >= KEPT_MAX {
                report.problem(place, format!("more than {KEPT_MAX} fields are kept: leave some out"));
                continue;
            }
            drafted.keep.push((slot as u8, index as u16));
        }
    }
}

/// A place that is in every frame.
fn harmless() -> Place {
    Place { kind: Type::Bytes, from: Pos::start(0), to: Pos::start(0), mask: u64::MAX }
}

/// Every key that is not one of the language is a field.
fn raw_fields<'a>(
    source: &Source<'a>,
    broken: &mut BTreeSet<String>,
    report: &mut Report<'_>,
) -> BTreeMap<&'a str, RawPlace> {
    let mut raw = BTreeMap::new();
    for (&name, entry) in &source.entries {
        if KEYS.contains(&name) || name == "publish" {
            continue;
        }
        let place = source.place(name);
        if OTHERS.contains(&name) {
            report.problem(
                place,
                format!("{name} is said of the layout: write it below [layout.{}]", source.layout),
            );
            continue;
        }
        let known = || nearest(name, KEYS.into_iter().chain(OTHERS)).filter(|meant| is_slip(name, meant));
        let wrong = match string(entry.value) {
            Some(text) => match text::place(text) {
                Ok(found) if text::is_name(name) => {
                    raw.insert(name, found);
                    continue;
                }
                Ok(_) => "a field's name begins with a letter and has letters, digits, _ and -".into(),
                Err(wrong) if text::looks_like_place(text) => wrong,
                Err(wrong) => match known() {
                    Some(meant) => format!("unknown key {name}: did you mean {meant}?"),
                    None => wrong,
                },
            },
            None => match known() {
                Some(meant) => format!("unknown key {name}: did you mean {meant}?"),
                None => {
                    let kind = called(entry.value);
                    format!("{name} is {kind}: a field is text, as in {name} = \"u16 @ 2\"")
                }
            },
        };
        report.problem(place, wrong);
        broken.insert(name.to_string());
    }
    raw
}

/// Whether a name is another one with a slip or two, and not a short word of its own.
fn is_slip(name: &str, meant: &str) -> bool {
    strsim::osa_distance(name, meant) <= (name.len().saturating_sub(1) / 2).min(2)
}

impl Names<'_> {
    pub fn pos(&self, raw: &RawPos) -> Result<Pos, String> {
        let mut plus = Vec::new();
        for name in &raw.names {
            if name == "length" {
                if !self.has_length {
                    return Err(
                        "length stands for its place, and this shape has no length: write a number".into()
                    );
                }
                plus.push(Term::Length);
                continue;
            }
            let Some(at) = self.raw.keys().position(|field| field == name) else {
                if self.broken.contains(name) {
                    return Err(format!("{name} stands in it, which is wrong itself"));
                }
                return Err(unknown_field(name, self.raw.keys().copied(), "of this shape"));
            };
            let place = &self.raw[name.as_str()];
            if place.kind == Type::Bytes {
                return Err(format!("{name} is bytes and stands for no number: declare it as an integer"));
            }
            let mut names = place.from.names.iter().chain(place.to.iter().flat_map(|to| &to.names));
            if names.any(|name| name != "length") {
                return Err(format!(
                    "{name} stands where another field says: a position needs a field at a fixed place"
                ));
            }
            plus.push(Term::Field(at as u16));
        }
        Ok(Pos { base: raw.base, from_end: raw.from_end, plus: plus.into() })
    }

    pub fn slice(&self, raw: &RawSlice) -> Result<Slice, String> {
        let slice = Slice { from: self.pos(&raw.from)?, to: self.pos(&raw.to)? };
        forwards(&slice.from, &slice.to)?;
        Ok(slice)
    }

    pub fn place(&self, raw: &RawPlace) -> Result<Place, String> {
        let from = self.pos(&raw.from)?;
        let to = match &raw.to {
            Some(to) => self.pos(to)?,
            None => from.clone(),
        };
        if raw.to.is_some() {
            forwards(&from, &to)?;
        }
        let place = Place { kind: raw.kind, from, to, mask: raw.mask };
        let width = place.width_min() as i64;
        if raw.to.is_none() && place.from.from_end && place.from.is_fixed() && -place.from.base < width {
            let wants = format!("{} needs {width} bytes", place.kind.name());
            return Err(format!("{wants} and begins {} before the end: write @ -{width}", -place.from.base));
        }
        Ok(place)
    }
}

fn forwards(from: &Pos, to: &Pos) -> Result<(), String> {
    if from.from_end && !to.from_end {
        return Err(
            "the slice begins at the end and ends at the beginning: write the smaller position first".into(),
        );
    }
    if from.is_fixed() && to.is_fixed() && from.from_end == to.from_end && from.base > to.base {
        return Err("the slice ends before it begins: write the smaller position first".into());
    }
    Ok(())
}

/// What is said of a field that does not exist.
pub(super) fn unknown_field<'a>(name: &str, all: impl Iterator<Item = &'a str> + Clone, of: &str) -> String {
    match nearest(name, all.clone()) {
        Some(meant) => format!("unknown field {name}: did you mean {meant}?"),
        None => {
            let all: Vec<&str> = all.collect();
            let all = if all.is_empty() { "none".into() } else { all.join(", ") };
            format!("unknown field {name}: the fields {of} are {all}")
        }
    }
}

/// The bytes of a key; none where it is not said, or not rightly.
fn hex(source: &Source<'_>, key: &str, report: &mut Report<'_>) -> Vec<u8> {
    let Some(entry) = source.get(key) else { return Vec::new() };
    let read = match string(entry.value) {
        Some(text) => text::bytes(text),
        None => Err(format!("it is {}: write bytes as text, as in \"7E 80\"", called(entry.value))),
    };
    match read {
        Ok(bytes) if bytes.is_empty() => {
            report.problem(source.place(key), "it is empty: write bytes, or leave it out")
        }
        Ok(bytes) if bytes.len() > 255 => {
            report.problem(source.place(key), "it has more than 255 bytes: shorten it")
        }
        Ok(bytes) => return bytes,
        Err(wrong) => report.problem(source.place(key), wrong),
    }
    Vec::new()
}

fn length(source: &Source<'_>, text: &str, report: &mut Report<'_>) -> Result<Bound, String> {
    let raw = text::place(text)?;
    let is_fixed = |pos: &RawPos| !pos.from_end && pos.names.is_empty();
    if !is_fixed(&raw.from) || !raw.to.as_ref().is_none_or(is_fixed) {
        return Err(
            "a length stands in the header: write its offset from the beginning, as in \"u16 @ 2\"".into()
        );
    }
    if matches!(raw.kind, Type::Text | Type::Bytes) {
        let kind = raw.kind.name();
        return Err(format!("{kind} is not a length: write an integer, varint, digits, hex or bcd"));
    }
    let from = Pos { base: raw.from.base, from_end: false, plus: Box::default() };
    let to = raw.to.map_or(from.clone(), |to| Pos { base: to.base, from_end: false, plus: Box::default() });
    forwards(&from, &to)?;
    let place = Place { kind: raw.kind, from, to, mask: raw.mask };
    if place.width_min() == 0 {
        return Err("its place is empty: write a slice of some bytes".into());
    }
    let (mut from, mut after) = (From::Behind(0), 0);
    if let Some(entry) = source.get("counts") {
        let counts = match string(entry.value) {
            Some(text) => counts(text),
            None => Err(format!("it is {}: write a slice, as in \"4..-2\"", called(entry.value))),
        };
        match counts {
            Ok(counts) => (from, after) = counts,
            Err(wrong) => report.problem(source.place("counts"), wrong),
        }
    }
    Ok(Bound::Length { place, from, after })
}

/// What a length counts: where that begins, and how many bytes come behind it.
fn counts(text: &str) -> Result<(From, u32), String> {
    let RawSlice { from, to } = text::slice(text)?;
    if from.from_end {
        return Err(
            "what a length counts begins at a fixed position: write A.. from the beginning of the frame"
                .into(),
        );
    }
    if !to.from_end || !to.names.is_empty() {
        return Err(
            "what a length counts ends with the frame or before its last bytes: write A.. or A..-4".into()
        );
    }
    let more = u32::try_from(from.base).expect("positions were looked at");
    let from = match &from.names[..] {
        [] => From::Start(more),
        [name] if name == "length" => From::Behind(more),
        [name, ..] => {
            return Err(format!(
                "{name} cannot say where counting begins: write a number, or length for its place"
            ));
        }
    };
    Ok((from, u32::try_from(-to.base).expect("positions were looked at")))
}

fn escapes(source: &Source<'_>, report: &mut Report<'_>) -> Option<Escapes> {
    let entry = source.get("unescape")?;
    let place = source.place("unescape");
    let DeValue::Table(table) = entry.value else {
        report.problem(place, "it is not a table: write { \"7D 01\" = \"7D\" }");
        return None;
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for (raw, plain) in table {
        let read = (text::bytes(raw.get_ref()), string(plain.get_ref()).map(text::bytes));
        let pair = match (read.0.as_deref(), &read.1) {
            (Err(wrong), _) => Err(wrong.clone()),
            (_, Some(Err(wrong))) => Err(wrong.clone()),
            (Ok(&[lead, second]), Some(Ok(plain))) if plain.len() == 1 => {
                Ok(Pair { raw: [lead, second], plain: plain[0] })
            }
            _ => Err("a pair of bytes stands for one byte: write \"7D 01\" = \"7D\"".into()),
        };
        match pair {
            Ok(pair) if pairs.iter().any(|other| other.raw == pair.raw || other.plain == pair.plain) => {
                report.problem(
                    place,
                    format!("{:?} is there twice: each pair stands for a byte of its own", raw.get_ref()),
                );
            }
            Ok(pair) => pairs.push(pair),
            Err(wrong) => report.problem(place, wrong),
        }
    }
    if pairs.is_empty() {
        if table.is_empty() {
            report.problem(place, "it has no pairs: write { \"7D 01\" = \"7D\" }, or leave it out");
        }
        return None;
    }
    Some(Escapes::new(pairs))
}

fn publish(source: &Source<'_>, report: &mut Report<'_>) -> bool {
    match source.get("publish").map(|entry| entry.value) {
        None => true,
        Some(DeValue::Boolean(publish)) => *publish,
        Some(other) => {
            let mend = unquoted("publish", other).unwrap_or("write true or false".into());
            report.problem(source.place("publish"), format!("it is {}: {mend}", called(other)));
            true
        }
    }
}
