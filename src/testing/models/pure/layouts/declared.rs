//! Declarations made of choices, as text and as what they mean.

use std::fmt::Write as _;

use super::super::choices::Choices;

/// A layout as the model has it.
#[derive(Debug)]
pub struct Declared {
    pub shapes: Vec<DeclaredShape>,
    pub scans: bool,
}

#[derive(Debug)]
pub struct DeclaredShape {
    pub start: Vec<u8>,
    pub end: Vec<u8>,
    pub bound: Ends,
    pub escapes: bool,
    pub fields: Vec<DeclaredField>,
    pub check: Option<DeclaredCheck>,
    /// Fields that are kept, by their numbers.
    pub keep: Vec<usize>,
    pub publish: bool,
    /// Names of fields, by their numbers; each may be its own or kept.
    pub topic: Option<usize>,
    pub key: Option<usize>,
    pub reply: Option<usize>,
    pub seals: bool,
}

#[derive(Debug)]
pub enum Ends {
    Length { kind: Kind, at: usize, from: Option<usize>, after: usize },
    Size(usize),
    Until(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, and whether the lower comes first.
    Int(usize, bool),
    Varint,
    DigitsEnded,
    Digits,
    Hex,
    Bcd,
    Text,
    Bytes,
}

/// From the end where it is negative, or the end itself; and the number of a field whose value it adds.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub base: i64,
    pub from_end: bool,
    pub plus: Option<usize>,
}

/// Called `f` with its number.
#[derive(Debug)]
pub struct DeclaredField {
    pub number: usize,
    pub kind: Kind,
    pub from: At,
    pub to: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    Xor8,
    Sum8,
    Crc16Arc,
    Sha256,
}

#[derive(Debug)]
pub struct DeclaredCheck {
    pub is: Is,
    pub from: usize,
    /// So many bytes before the end it ends, and stands there.
    pub before: usize,
}

/// The pairs of a shape with escapes: `7D 01` for `7D`, and `7D 02` for `7E`.
pub const ESCAPES: &str = "{ \"7D 01\" = \"7D\", \"7D 02\" = \"7E\" }";

/// As many fields have names.
const FIELDS: usize = 4;

impl Is {
    pub fn width(self) -> usize {
        match self {
            Is::Xor8 | Is::Sum8 => 1,
            Is::Crc16Arc => 2,
            Is::Sha256 => 5,
        }
    }
}

impl Declared {
    pub fn choose(choices: &mut Choices<'_>) -> Declared {
        let shapes = 1 + choices.below(3);
        let (scans, escapes) = (choices.flip(), choices.below(4) == 0);
        let shapes =
            (0..shapes).map(|at| shape(choices, (at + 1 == shapes && !scans, scans), escapes)).collect();
        Declared { shapes, scans }
    }

    /// As a person would write it.
    pub fn text(&self) -> String {
        let mut text = String::from("[layout.a]\n");
        if self.scans {
            text.push_str("on-malformed = \"scan\"\n");
        }
        for shape in &self.shapes {
            text.push_str("[[layout.a.shape]]\n");
            shape.write(&mut text);
        }
        text
    }
}

fn shape(choices: &mut Choices<'_>, (may_be_bare, scans): (bool, bool), escapes: bool) -> DeclaredShape {
    const ALPHABET: [u8; 6] = [0x7e, 0x7d, 0x00, 0x01, b'1', b' '];
    let few = |choices: &mut Choices<'_>, least: usize, most: usize| -> Vec<u8> {
        let len = least + choices.below(most + 1 - least);
        (0..len).map(|_| ALPHABET[choices.below(6)]).collect()
    };
    let mut start = if may_be_bare && choices.flip() { Vec::new() } else { few(choices, 1, 3) };
    let bound = match choices.below(6) {
        0 => Ends::Until(few(choices, 1, 3)),
        1 => Ends::Size(1 + choices.below(24)),
        _ => {
            let at = choices.below(4);
            let kind = match choices.below(8) {
                0 => Kind::Varint,
                1 => Kind::DigitsEnded,
                2 => Kind::Digits,
                3 => Kind::Hex,
                4 => Kind::Bcd,
                5 => Kind::Int(1, false),
                n => Kind::Int([2, 3, 4, 8][choices.below(4)], n == 6),
            };
            let from = choices.flip().then(|| choices.below(12));
            Ends::Length { kind, at, from, after: choices.below(4) }
        }
    };
    if escapes && scans && !matches!(bound, Ends::Until(_)) {
        // The one that has a pair.
        start[0] = 0x7e;
    }
    let end = if choices.below(3) == 0 && !matches!(bound, Ends::Until(_)) {
        few(choices, 1, 2)
    } else {
        Vec::new()
    };
    let mut fields = Vec::new();
    for number in 0..FIELDS {
        if choices.flip() {
            fields.push(field(choices, number));
        }
    }
    let check = choices.flip().then(|| {
        let is = [Is::Xor8, Is::Sum8, Is::Crc16Arc, Is::Sha256][choices.below(4)];
        DeclaredCheck { is, from: choices.below(6), before: is.width() + choices.below(4) }
    });
    let some = |choices: &mut Choices<'_>| choices.flip().then(|| choices.below(FIELDS));
    DeclaredShape {
        start,
        end,
        bound,
        escapes,
        fields,
        check,
        keep: some(choices).into_iter().collect(),
        publish: choices.below(4) > 0,
        topic: some(choices),
        key: some(choices),
        reply: some(choices),
        seals: choices.below(4) == 0,
    }
}

fn field(choices: &mut Choices<'_>, number: usize) -> DeclaredField {
    let kind = match choices.below(10) {
        0 => Kind::Varint,
        1 => Kind::DigitsEnded,
        2 => Kind::Digits,
        3 => Kind::Hex,
        4 => Kind::Bcd,
        5 => Kind::Text,
        6 => Kind::Bytes,
        7 => Kind::Int(1, false),
        n => Kind::Int([2, 3, 4, 8][choices.below(4)], n == 8),
    };
    let base = choices.below(14) as i64;
    let plus = (choices.below(6) == 0).then(|| choices.below(FIELDS));
    let len = choices.below(6) as i64;
    let (from, to) = match (choices.below(4), choices.flip()) {
        // At the end, and from the beginning to the end.
        (0, _) => (
            At { base: -base, from_end: true, plus: None },
            At { base: (len - base).min(0), from_end: true, plus: None },
        ),
        (1, _) => (At { base, from_end: false, plus }, At { base: -len, from_end: true, plus: None }),
        (_, false) => {
            (At { base, from_end: false, plus: None }, At { base: base + len, from_end: false, plus })
        }
        (_, true) => {
            (At { base, from_end: false, plus: None }, At { base: base + len, from_end: false, plus: None })
        }
    };
    DeclaredField { number, kind, from, to }
}

impl DeclaredShape {
    fn write(&self, text: &mut String) {
        let hex = |bytes: &[u8]| crate::core::units::hex(bytes);
        let mut line =
            |key: &str, value: String| writeln!(text, "{key} = {value}").expect("a string takes all");
        let quoted = |value: String| format!("\"{value}\"");
        if !self.start.is_empty() {
            line("start", quoted(hex(&self.start)));
        }
        if !self.end.is_empty() {
            line("end", quoted(hex(&self.end)));
        }
        match &self.bound {
            Ends::Size(size) => line("size", size.to_string()),
            Ends::Until(until) => line("until", quoted(hex(until))),
            Ends::Length { kind, at, from, after } => {
                let place = match kind {
                    Kind::Digits | Kind::Hex => format!("{} {at}..{}", kind.name(), at + 2),
                    Kind::Bcd => format!("bcd {at}..{}", at + 1),
                    kind => format!("{} @ {at}", kind.name()),
                };
                line("length", quoted(place));
                let from = from.map_or("length".into(), |from| from.to_string());
                line("counts", quoted(format!("{from}..-{after}")));
            }
        }
        if self.escapes {
            line("unescape", ESCAPES.into());
        }
        for field in &self.fields {
            let place = match field.kind {
                kind if kind.is_at() => format!("{} @ {}", kind.name(), field.from.text()),
                kind => format!("{} {}..{}", kind.name(), field.from.text(), field.to.text()),
            };
            line(&format!("f{}", field.number), quoted(place));
        }
        line("check", self.check.as_ref().map_or("\"none\"".into(), DeclaredCheck::text));
        if !self.keep.is_empty() {
            line(
                "keep",
                format!(
                    "[{}]",
                    self.keep.iter().map(|at| format!("\"f{at}\"")).collect::<Vec<_>>().join(", ")
                ),
            );
        }
        if !self.publish {
            line("publish", "false".into());
        }
        line("topic", quoted(self.topic.map_or("t".into(), |at| format!("t.{{f{at}}}"))));
        if let Some(at) = self.key {
            line("key", quoted(format!("{{f{at}}}")));
        }
        let seal = if self.seals { " {seal}" } else { "" };
        if let Some(at) = self.reply {
            line("reply", quoted(format!("7E 01 02 03 04 05 06 07 {{f{at}}}{seal} 7E")));
        }
        line("refuse", quoted("00 7D 00".into()));
    }
}

impl DeclaredCheck {
    fn text(&self) -> String {
        let (is, width) = (self.is, self.is.width());
        let name = match is {
            Is::Xor8 => "xor-8",
            Is::Sum8 => "sum-8",
            Is::Crc16Arc => "crc-16/arc",
            Is::Sha256 => "sha-256",
        };
        let place = match is {
            Is::Sha256 => format!("bytes -{}..-{}", self.before, self.before - width),
            _ => format!("u{} @ -{}", 8 * width, self.before),
        };
        format!("{{ is = \"{name}\", over = \"{}..-{}\", at = \"{place}\" }}", self.from, self.before)
    }
}

impl At {
    fn text(&self) -> String {
        let plus = self.plus.map_or(String::new(), |field| format!("+f{field}"));
        match (self.base, self.from_end) {
            (0, true) => format!("-0{plus}"),
            (base, _) => format!("{base}{plus}"),
        }
    }
}

impl Kind {
    pub fn is_at(self) -> bool {
        matches!(self, Kind::Int(..) | Kind::Varint | Kind::DigitsEnded)
    }

    fn name(self) -> String {
        match self {
            Kind::Int(bytes, little) => format!("u{}{}", 8 * bytes, if little { "le" } else { "" }),
            Kind::Varint => "varint".into(),
            Kind::DigitsEnded | Kind::Digits => "digits".into(),
            Kind::Hex => "hex".into(),
            Kind::Bcd => "bcd".into(),
            Kind::Text => "text".into(),
            Kind::Bytes => "bytes".into(),
        }
    }
}
