//! Places, slices and checks as a declaration has them: what is proposed to a person can be pasted.

use super::catalog;
use super::check::{Algorithm, Check};
use super::form::Shape;
use super::place::{Place, Pos, Slice, Term, Type};

impl Shape {
    /// A position, with the names of fields in it.
    fn pos_said(&self, pos: &Pos) -> String {
        let name = |term: &Term| match term {
            Term::Field(field) => &*self.fields[usize::from(*field)].name,
            Term::Length => "length",
        };
        let base = match (pos.base, pos.from_end) {
            (0, true) => Some("-0".to_string()),
            (0, false) if !pos.plus.is_empty() => None,
            (base, _) => Some(base.to_string()),
        };
        base.into_iter()
            .chain(pos.plus.iter().map(|term| name(term).to_string()))
            .collect::<Vec<_>>()
            .join(" + ")
    }

    /// `4..-2`
    pub(super) fn slice_said(&self, Slice { from, to }: &Slice) -> String {
        let is_end = to.from_end && to.base == 0 && to.plus.is_empty();
        let to = if is_end { String::new() } else { self.pos_said(to) };
        format!("{}..{to}", self.pos_said(from))
    }

    /// `u16le @ -2`, or `bytes -16..`
    pub(super) fn place_said(&self, place: &Place) -> String {
        let (kind, from) = (place.kind.name(), || self.pos_said(&place.from));
        match place.kind {
            Type::Uint { .. } | Type::Varint | Type::DigitsEnded if place.mask == u64::MAX => {
                format!("{kind} @ {}", from())
            }
            Type::Uint { .. } | Type::Varint | Type::DigitsEnded => {
                format!("{kind} @ {} & {:#x}", from(), place.mask)
            }
            _ => {
                let slice = Slice { from: place.from.clone(), to: place.to.clone() };
                format!("{kind} {}", self.slice_said(&slice))
            }
        }
    }

    /// `is = "crc-16/modbus", over = "2..-2", at = "u16le @ -2"`
    pub(super) fn check_said(&self, check: &Check) -> String {
        let (over, at) = (self.slice_said(&check.over), self.place_said(&check.at));
        format!("is = {}, over = \"{over}\", at = \"{at}\"", is_said(check))
    }
}

/// The name of a check; the parameters of a CRC that is called nothing.
fn is_said(check: &Check) -> String {
    match &check.algorithm {
        Algorithm::Crc(crc) if catalog::named(&check.name) != Some(*crc.parameters()) => {
            let of = crc.parameters();
            format!(
                "{{ width = {}, poly = {:#x}, init = {:#x}, refin = {}, refout = {}, xorout = {:#x} }}",
                of.width, of.poly, of.init, of.refin, of.refout, of.xorout
            )
        }
        _ => format!("\"{}\"", check.name),
    }
}
