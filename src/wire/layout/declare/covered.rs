//! Whether a check covers a field, whatever frame it stands in: a topic or a key is made of others' bytes otherwise.

use super::shape::Drafted;
use crate::wire::layout::check::Check;
use crate::wire::layout::form::Bound;
use crate::wire::layout::place::{Place, Pos, Term, Type};

/// What makes a field unverified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uncovered {
    /// No check covers all of its bytes.
    Itself,
    /// None covers those of this field, which says where it stands.
    By(u16),
}

/// What makes a place unverified; nothing where a check covers it in every frame of the shape.
pub(super) fn uncovered(shape: &Drafted, place: &Place) -> Option<Uncovered> {
    let mut found = None;
    for check in &shape.checks {
        match (Covering { shape, check }).uncovered(place) {
            None => return None,
            Some(by) => found = found.filter(|other| *other != Uncovered::Itself).or(Some(by)),
        }
    }
    found.or(Some(Uncovered::Itself))
}

/// A check of a shape, and what is covered by it.
struct Covering<'a> {
    shape: &'a Drafted,
    check: &'a Check,
}

impl Covering<'_> {
    fn uncovered(&self, place: &Place) -> Option<Uncovered> {
        if !self.covers(place) {
            return Some(Uncovered::Itself);
        }
        // A field that moves the check's own slice, too, is verified with it: the check is wrong where it is.
        let over = &self.check.over;
        let moves_check = |term: &Term| over.from.plus.contains(term) || over.to.plus.contains(term);
        let mut terms = place.from.plus.iter().chain(&place.to.plus).filter(|term| !moves_check(term));
        terms.find_map(|term| match term {
            Term::Field(field) => {
                let place = &self.shape.fields[usize::from(*field)].place;
                (!self.covers(place)).then_some(Uncovered::By(*field))
            }
            // Where a length is wrong, the frame is another one.
            Term::Length => None,
        })
    }

    fn covers(&self, place: &Place) -> bool {
        let over = &self.check.over;
        let from = &place.from;
        let to = match place.kind {
            Type::Uint { .. } => Pos { base: from.base + place.width_min() as i64, ..from.clone() },
            _ => place.to.clone(),
        };
        let ends = match place.kind.ends_itself() || !is_part(&to.plus, &over.to.plus) {
            // Where it ends, only the frame says: somewhere before what stands at the frame's end.
            true => self.is_before(&self.last(from), &over.to),
            false => self.is_before(&to, &over.to),
        };
        is_part(&over.from.plus, &from.plus) && self.is_before(&over.from, from) && ends
    }

    /// Where a place ends at the latest that only the frame bounds.
    fn last(&self, from: &Pos) -> Pos {
        let places = self.shape.fields.iter().map(|field| &field.place);
        let places = places.chain(self.shape.checks.iter().map(|check| &check.at));
        let behind = places.filter(|place| place.from.from_end).map(|place| place.from.base).min();
        // As a frame is judged: what is counted from its end may reach to it.
        let base = if from.from_end { 0 } else { behind.unwrap_or(0) };
        Pos { base, from_end: true, plus: Box::default() }
    }

    /// Whether one position is never behind another, without what fields add to them.
    fn is_before(&self, a: &Pos, b: &Pos) -> bool {
        let [(a, a_from_end), (b, b_from_end)] = [a, b].map(|pos| self.counted(pos));
        match (a_from_end, b_from_end) {
            (true, true) | (false, false) => a <= b,
            // In the shortest frame, and so in every one.
            (false, true) => a <= i64::try_from(self.shape.least).unwrap_or(i64::MAX).saturating_add(b),
            (true, false) => false,
        }
    }

    /// A position, counted from the beginning where all frames have one size.
    fn counted(&self, pos: &Pos) -> (i64, bool) {
        match self.shape.bound {
            Some(Bound::Size(size)) if pos.from_end => (i64::from(size) + pos.base, false),
            _ => (pos.base, pos.from_end),
        }
    }
}

/// Whether `more` adds all that `terms` does.
fn is_part(terms: &[Term], more: &[Term]) -> bool {
    let count = |of: &[Term], term: &Term| of.iter().filter(|other| *other == term).count();
    terms.iter().all(|term| count(terms, term) <= count(more, term))
}
