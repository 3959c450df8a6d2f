//! What a declaration means, in the slowest and plainest way: the whole stream is there, every position is tried, and
//! every value is read anew.

use sha2::Digest as _;

use super::declared::{At, Declared, DeclaredField, DeclaredShape, Ends, Is, Kind};

/// What begins at a position of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slow {
    Frame {
        len: usize,
        shape: usize,
    },
    /// And how many bytes are skipped at least.
    Malformed {
        skip: usize,
    },
    More,
}

/// A frame without escapes, and its shape.
pub struct Plain<'a> {
    pub shape: &'a DeclaredShape,
    pub bytes: Vec<u8>,
}

impl Declared {
    pub fn cut(&self, rest: &[u8], max: usize) -> Slow {
        let malformed = Slow::Malformed { skip: 1 };
        if rest.is_empty() {
            return Slow::More;
        }
        for (number, shape) in self.shapes.iter().enumerate() {
            let start = &shape.start;
            if rest.len() < start.len() && start[..rest.len()] == *rest {
                return Slow::More;
            }
            if rest.len() < start.len() || rest[..start.len()] != start[..] {
                continue;
            }
            let is_counted = !matches!(shape.bound, Ends::Until(_));
            let found = match shape.escapes && is_counted {
                true => self.escaped_len(shape, rest, max),
                false => shape.frame_len(rest, max),
            };
            let len = match found {
                Ok(Some(len)) => len,
                Ok(None) => return Slow::More,
                Err(()) => return malformed,
            };
            if len > max as u128 || !shape.escapes && len < shape.least() as u128 {
                return malformed;
            }
            let len = len as usize;
            if rest.len() < len {
                return Slow::More;
            }
            let frame = &rest[..len];
            if shape.escapes
                && !is_counted
                && let Some(at) = shape.first_unescaped(frame)
                && self.shapes.iter().any(|shape| shape.start.is_empty() || shape.start[0] == 0x7e)
            {
                return Slow::Malformed { skip: at };
            }
            if !frame.ends_with(&shape.end) {
                return malformed;
            }
            return match shape.plain(frame) {
                Err(at) if !is_counted => Slow::Malformed { skip: at.max(1) },
                Err(_) => malformed,
                Ok(plain) if plain.bytes.len() < shape.least() || !plain.has_all_places() => malformed,
                Ok(_) => Slow::Frame { len, shape: number },
            };
        }
        malformed
    }

    /// The same of a frame whose length counts what its bytes stand for: they are unescaped one after the other, until a
    /// frame of so many is there.
    fn escaped_len(&self, shape: &DeclaredShape, rest: &[u8], max: usize) -> Result<Option<u128>, ()> {
        let mut plain = shape.start.clone();
        let mut at = shape.start.len();
        // Where each plain byte begins, and the next one.
        let mut begin: Vec<usize> = (0..=at).collect();
        loop {
            // All that is known already says how long it is, or nothing does.
            if let Some(total) = shape.frame_len(&plain, usize::MAX)? {
                if total > max as u128 || total < shape.least() as u128 {
                    return Err(());
                }
                if plain.len() + shape.end.len() >= total as usize {
                    let len = begin[total as usize - shape.end.len()] + shape.end.len();
                    return if rest.len().min(max) >= len { Ok(Some(len as u128)) } else { over(rest, max) };
                }
            }
            let begins =
                |byte: u8| self.shapes.iter().any(|shape| shape.start.is_empty() || shape.start[0] == byte);
            match &rest[at..rest.len().min(max)] {
                [] | [0x7d] => return over(rest, max),
                [0x7d, 0x01, ..] => plain.push(0x7d),
                [0x7d, 0x02, ..] => plain.push(0x7e),
                [0x7d, ..] => return Err(()),
                [0x7e, ..] if begins(0x7e) => return Err(()),
                [byte, ..] => {
                    plain.push(*byte);
                    at += 1;
                    begin.push(at);
                    continue;
                }
            }
            at += 2;
            begin.push(at);
        }
    }

    /// The shape that begins here, and what ends it, if that is to be looked for.
    pub fn begun_until(&self, rest: &[u8]) -> Option<(&DeclaredShape, &[u8])> {
        let shape = self
            .shapes
            .iter()
            .find(|shape| shape.start.starts_with(&rest[..rest.len().min(shape.start.len())]))?;
        match &shape.bound {
            Ends::Until(until) if rest.starts_with(&shape.start) && !rest.is_empty() => Some((shape, until)),
            _ => None,
        }
    }

    /// Whether the start of a shape stands here as a whole.
    pub fn begins(&self, rest: &[u8]) -> bool {
        self.shapes.iter().any(|shape| rest.starts_with(&shape.start))
    }

    /// Where scanning goes on.
    pub fn next_start(&self, rest: &[u8], skip: usize) -> usize {
        let begins = |at: &usize| {
            let rest = &rest[*at..];
            self.shapes.iter().any(|shape| rest.starts_with(&shape.start) || shape.start.starts_with(rest))
        };
        (skip..rest.len()).find(begins).unwrap_or(rest.len())
    }
}

impl DeclaredShape {
    /// As far as the bytes say: `None` if more are needed.
    fn frame_len(&self, rest: &[u8], max: usize) -> Result<Option<u128>, ()> {
        match &self.bound {
            Ends::Size(size) => Ok(Some(*size as u128)),
            Ends::Until(until) => {
                let first = self.start.len() + until.len();
                for end in first..=rest.len().min(max) {
                    if rest[..end].ends_with(until) {
                        return Ok(Some(end as u128));
                    }
                }
                if rest.len() >= max { Err(()) } else { Ok(None) }
            }
            Ends::Length { kind, at, from, after } => {
                let Some(field) = rest.get(*at..) else { return Ok(None) };
                let end = match kind.extent(field) {
                    Ok(Some(len)) => at + len,
                    Ok(None) => return Ok(None),
                    Err(()) => return Err(()),
                };
                let value = kind.value(&rest[*at..end]).ok_or(())?;
                let from = from.unwrap_or(end);
                Ok(Some(u128::from(value) + from as u128 + *after as u128))
            }
        }
    }

    /// Whether a frame ends within so many bytes.
    pub fn ends_within(&self, rest: &[u8], until: &[u8], bytes: usize) -> bool {
        let first = self.start.len() + until.len();
        (first..=rest.len().min(bytes)).any(|end| rest[..end].ends_with(until))
    }

    /// What is counted from the beginning stands before what is counted from the end, in the shortest frame.
    fn least(&self) -> usize {
        let (mut before, mut behind, mut single) = (self.start.len(), self.end.len(), 0);
        let mut see = |from: (i64, bool), to: (i64, bool)| {
            for (base, from_end) in [from, to] {
                let side = if from_end { &mut behind } else { &mut before };
                *side = (*side).max(base.unsigned_abs() as usize);
            }
            let (a, b) = (from.0.unsigned_abs() as usize, to.0.unsigned_abs() as usize);
            single = single.max(if from.1 == to.1 { a.max(b) } else { a + b });
        };
        for field in &self.fields {
            let from = (field.from.base, field.from.from_end);
            let width = match field.kind {
                Kind::Int(bytes, _) => Some(bytes),
                Kind::Varint => Some(1),
                Kind::DigitsEnded => Some(2),
                _ => None,
            };
            see(
                from,
                width.map_or((field.to.base, field.to.from_end), |width| (from.0 + width as i64, from.1)),
            );
        }
        if let Some(check) = &self.check {
            let at = -(check.before as i64);
            see((check.from as i64, false), (at, true));
            see((at, true), (at + check.is.width() as i64, true));
        }
        let mut fixed = 0;
        match &self.bound {
            Ends::Length { kind, at, from, after } => {
                let width = match kind {
                    Kind::Int(bytes, _) => *bytes,
                    Kind::Varint | Kind::Bcd => 1,
                    _ => 2,
                };
                see((*at as i64, false), ((at + width) as i64, false));
                fixed = from.map_or(0, |from| from + after);
            }
            Ends::Until(until) => behind = behind.max(until.len()),
            Ends::Size(_) => {}
        }
        let ends = match &self.bound {
            Ends::Size(_) => single.max(self.start.len() + self.end.len()),
            _ => before + behind,
        };
        ends.max(single).max(fixed)
    }

    /// What stands last and is never escaped.
    pub fn tail(&self) -> &[u8] {
        match &self.bound {
            Ends::Until(until) => until,
            _ => &self.end,
        }
    }

    /// Where 7E stands in the body without its pair, before any pair that is not listed.
    fn first_unescaped(&self, frame: &[u8]) -> Option<usize> {
        let mut at = self.start.len();
        while at < frame.len() - self.tail().len() {
            match &frame[at..frame.len() - self.tail().len()] {
                [0x7e, ..] => return Some(at),
                [0x7d, 0x01 | 0x02, ..] => at += 2,
                [0x7d, ..] => return None,
                _ => at += 1,
            }
        }
        None
    }

    /// Without escapes; or where one begins that is not listed.
    pub fn plain(&self, frame: &[u8]) -> Result<Plain<'_>, usize> {
        if !self.escapes {
            return Ok(Plain { shape: self, bytes: frame.to_vec() });
        }
        let (head, tail) = (self.start.len(), frame.len() - self.tail().len());
        let mut bytes = frame[..head].to_vec();
        let mut at = head;
        while at < tail {
            match &frame[at..tail] {
                [0x7d, 0x01, ..] => bytes.push(0x7d),
                [0x7d, 0x02, ..] => bytes.push(0x7e),
                [0x7d, ..] => return Err(at),
                [byte, ..] => {
                    bytes.push(*byte);
                    at += 1;
                    continue;
                }
                [] => unreachable!("at is before the tail"),
            }
            at += 2;
        }
        bytes.extend_from_slice(&frame[tail..]);
        Ok(Plain { shape: self, bytes })
    }
}

/// More is needed; where there is as much as there may be, it never comes.
fn over(rest: &[u8], max: usize) -> Result<Option<u128>, ()> {
    if rest.len() >= max { Err(()) } else { Ok(None) }
}

impl Plain<'_> {
    fn has_all_places(&self) -> bool {
        let check = self.shape.check.as_ref();
        let fits = |field: &DeclaredField| {
            if field.kind.ends_itself() {
                let Some(from) = self.position(field.from) else { return false };
                let Some(bytes) = self.before_the_end(field).get(from..) else { return false };
                return field.kind.extent(bytes) != Ok(None);
            }
            let floats = field.from.plus.is_some() || !field.kind.is_at() && field.to.plus.is_some();
            let may_reach = field.from.from_end || !floats;
            self.range(field).is_some_and(|(_, to)| may_reach || to + self.behind() <= self.bytes.len())
        };
        self.shape.fields.iter().all(fits)
            && check.is_none_or(|check| check.from + check.before <= self.bytes.len())
    }

    /// How many bytes at the end are of places that are counted from there.
    fn behind(&self) -> usize {
        let at_end = self.shape.fields.iter().filter(|field| field.from.from_end);
        let behind = at_end.map(|field| field.from.base.unsigned_abs() as usize);
        behind.chain(self.shape.check.as_ref().map(|check| check.before)).max().unwrap_or(0)
    }

    /// The bytes in which a value may stand that says itself where it ends.
    fn before_the_end(&self, field: &DeclaredField) -> &[u8] {
        let behind = if field.from.from_end { 0 } else { self.behind() };
        &self.bytes[..self.bytes.len() - behind.min(self.bytes.len())]
    }

    fn position(&self, at: At) -> Option<usize> {
        let plus = match at.plus {
            None => 0,
            Some(number) => i128::from(self.number(self.shape.field(number)?)?),
        };
        let base = if at.from_end { self.bytes.len() as i128 } else { 0 };
        let position = base + i128::from(at.base) + plus;
        (0..=self.bytes.len() as i128).contains(&position).then_some(position as usize)
    }

    fn range(&self, field: &DeclaredField) -> Option<(usize, usize)> {
        let from = self.position(field.from)?;
        let to = match field.kind {
            kind if kind.ends_itself() => {
                from + kind.extent(self.before_the_end(field).get(from..)?).ok()??
            }
            kind if kind.is_at() => from + kind.extent(&self.bytes[from..]).ok()??,
            _ => self.position(field.to)?,
        };
        (from <= to && to <= self.bytes.len()).then_some((from, to))
    }

    pub fn raw(&self, field: &DeclaredField) -> Option<&[u8]> {
        self.range(field).map(|(from, to)| &self.bytes[from..to])
    }

    fn number(&self, field: &DeclaredField) -> Option<u64> {
        field.kind.value(self.raw(field)?)
    }

    pub fn is_right(&self) -> bool {
        let Some(check) = &self.shape.check else { return true };
        let at = self.bytes.len() - check.before;
        self.bytes[at..at + check.is.width()] == check.is.of(&self.bytes[check.from..at])
    }
}

impl DeclaredShape {
    pub fn field(&self, number: usize) -> Option<&DeclaredField> {
        self.fields.iter().find(|field| field.number == number)
    }
}

impl Is {
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Is::Xor8 => vec![bytes.iter().fold(0, |sum, byte| sum ^ byte)],
            Is::Sum8 => vec![(bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % 256) as u8],
            Is::Sha256 => sha2::Sha256::digest(bytes)[..5].to_vec(),
            Is::Crc16Arc => {
                let mut crc = 0u16;
                for byte in bytes {
                    crc ^= u16::from(*byte);
                    for _ in 0..8 {
                        crc = if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
                    }
                }
                crc.to_be_bytes().to_vec()
            }
        }
    }
}

impl Kind {
    fn ends_itself(self) -> bool {
        matches!(self, Kind::Varint | Kind::DigitsEnded)
    }

    /// How many bytes a value at the beginning takes; `None` if more are needed.
    fn extent(self, bytes: &[u8]) -> Result<Option<usize>, ()> {
        let known = |len: usize| Ok((bytes.len() >= len).then_some(len));
        match self {
            Kind::Int(len, _) => known(len),
            Kind::Digits | Kind::Hex => known(2),
            Kind::Bcd => known(1),
            Kind::Varint => {
                for (at, byte) in bytes.iter().enumerate() {
                    if at == 9 && *byte > 1 {
                        return Err(());
                    }
                    if *byte < 128 {
                        return Ok(Some(at + 1));
                    }
                }
                Ok(None)
            }
            Kind::DigitsEnded => {
                for (at, byte) in bytes.iter().enumerate() {
                    if !byte.is_ascii_digit() {
                        return if at == 0 { Err(()) } else { Ok(Some(at + 1)) };
                    }
                    if at == 20 {
                        return Err(());
                    }
                }
                Ok(None)
            }
            Kind::Text | Kind::Bytes => unreachable!("these stand in slices"),
        }
    }

    /// The value as an integer.
    pub fn value(self, bytes: &[u8]) -> Option<u64> {
        let ascii = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?.to_string();
            text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?.parse().ok()
        };
        match self {
            Kind::Int(_, little) => {
                let mut bytes = bytes.to_vec();
                if little {
                    bytes.reverse();
                }
                Some(bytes.iter().fold(0, |value, byte| value * 256 + u64::from(*byte)))
            }
            Kind::Varint => {
                let sum = |sum: u128, (at, byte): (usize, &u8)| sum + (u128::from(byte & 127) << (7 * at));
                u64::try_from(bytes.iter().enumerate().fold(0, sum)).ok()
            }
            Kind::DigitsEnded => ascii(&bytes[..bytes.len() - 1]),
            Kind::Digits => ascii(bytes),
            Kind::Text => ascii(text(bytes).as_bytes()),
            Kind::Bcd => crate::core::units::hex(bytes).parse().ok(),
            Kind::Hex => {
                let text = std::str::from_utf8(bytes).ok()?;
                let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_hex.then(|| u64::from_str_radix(text, 16).ok())?
            }
            Kind::Bytes => None,
        }
    }

    /// As it stands in a topic, before what is no token is encoded.
    pub fn shown(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let all = |is: fn(&u8) -> bool, bytes: &[u8]| bytes.iter().all(is).then(|| bytes.to_vec());
        match self {
            Kind::Int(..) | Kind::Varint => Some(self.value(bytes)?.to_string().into_bytes()),
            Kind::DigitsEnded => all(u8::is_ascii_digit, &bytes[..bytes.len() - 1]),
            Kind::Digits => all(u8::is_ascii_digit, bytes),
            Kind::Hex => all(u8::is_ascii_hexdigit, bytes),
            Kind::Bcd => all(u8::is_ascii_digit, crate::core::units::hex(bytes).as_bytes()),
            Kind::Text => std::str::from_utf8(bytes).ok().map(|_| text(bytes).into_bytes()),
            Kind::Bytes => Some(bytes.to_vec()),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_string()
}
