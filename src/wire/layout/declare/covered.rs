//! Whether the checks of a shape cover a field, whatever frame it stands in: a topic or a key is made of others' bytes
//! otherwise.

use super::shape::Drafted;
use crate::wire::layout::form::Bound;
use crate::wire::layout::place::{DIGITS_MAX, Place, Pos, Term, Type, VARINT_MAX};

/// What makes a field unverified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uncovered {
    /// No check covers all of its bytes.
    Itself,
    /// None covers those of this field, which says where it stands.
    By(u16),
}

/// What makes a place unverified; nothing where no byte of it can change, in any frame of the shape, and all checks still
/// agree. `tail` bytes end its frames that are the same in all of them.
pub(super) fn uncovered(shape: &Drafted, tail: usize, place: &Place) -> Option<Uncovered> {
    let covering = Covering::new(shape, tail);
    if !covering.covers(place) {
        return Some(Uncovered::Itself);
    }
    let mut terms = place.from.plus.iter().chain(&place.to.plus).filter(|term| !covering.moves_check(term));
    terms.find_map(|term| match term {
        Term::Field(field) => {
            let place = &shape.fields[usize::from(*field)].place;
            (!covering.covers(place)).then_some(Uncovered::By(*field))
        }
        // Where a length is wrong, the frame is another one.
        Term::Length => None,
    })
}

/// Bytes that cannot change unseen.
struct Stretch {
    from: Pos,
    to: Pos,
}

/// All of those of a shape.
struct Covering<'a> {
    shape: &'a Drafted,
    stretches: Vec<Stretch>,
}

impl<'a> Covering<'a> {
    fn new(shape: &'a Drafted, tail: usize) -> Covering<'a> {
        let end = |base: i64| Pos { base, from_end: true, plus: Box::default() };
        let mut covering = Covering { shape, stretches: Vec::new() };
        let mut add = |from, to| {
            let (from, to) = (covering.counted(from), covering.counted(to));
            covering.stretches.push(Stretch { from, to });
        };
        // A frame that begins or ends otherwise is none of this shape.
        add(Pos::start(0), Pos::start(shape.start.len() as u32));
        add(end(-(tail as i64)), end(0));
        for check in &shape.checks {
            add(check.over.from.clone(), check.over.to.clone());
        }
        // Where what a check is counted from is the end, and a length says where that is, another length is another check.
        let counts_from_end = shape
            .checks
            .iter()
            .any(|check| check.over.from.from_end || check.over.to.from_end || check.at.from.from_end);
        if let Some(Bound::Length { place, .. }) = &shape.bound
            && counts_from_end
            && place.mask == u64::MAX
            && matches!(place.kind, Type::Uint { .. })
        {
            let to = Pos { base: place.from.base + place.width_min() as i64, ..place.from.clone() };
            add(place.from.clone(), to);
        }
        covering
    }

    /// A field that moves what a check covers, or where it stands, is verified with it: the check is wrong where it is.
    fn moves_check(&self, term: &Term) -> bool {
        let moved = |pos: &Pos| pos.plus.contains(term);
        let checks = &self.shape.checks;
        checks.iter().any(|check| moved(&check.over.from) || moved(&check.over.to) || moved(&check.at.from))
    }

    fn covers(&self, place: &Place) -> bool {
        let from = self.counted(place.from.clone());
        let behind = |bytes: usize| Pos { base: place.from.base + bytes as i64, ..place.from.clone() };
        // Each of these is where it ends at the latest.
        let ends = match place.kind {
            Type::Uint { .. } if place.is_fixed() || place.from.from_end => vec![behind(place.width_min())],
            Type::Uint { .. } => vec![behind(place.width_min()), self.last(place, 0)],
            Type::Varint => vec![behind(VARINT_MAX), self.last(place, 0)],
            // What ends them may be changed for another that does, or makes them longer than they may be.
            Type::DigitsEnded => vec![behind(DIGITS_MAX), self.last(place, 1)],
            _ if place.is_fixed() || place.from.from_end => vec![place.to.clone()],
            _ => vec![place.to.clone(), self.last(place, 0)],
        };
        let ends: Vec<Pos> = ends.into_iter().map(|end| self.counted(end)).collect();
        // All up to each of these is covered.
        let (mut reached, mut is_used) = (vec![from], vec![false; self.stretches.len()]);
        loop {
            let is_over = |at: &Pos| ends.iter().any(|end| self.is_before(end, at));
            if reached.iter().any(is_over) {
                return true;
            }
            let next = self.stretches.iter().zip(&mut is_used).find(|(stretch, is_used)| {
                !**is_used && reached.iter().any(|at| self.is_before(&stretch.from, at))
            });
            let Some((stretch, is_used)) = next else { return false };
            *is_used = true;
            reached.push(stretch.to.clone());
        }
    }

    /// Where a place ends at the latest that only the frame bounds, which has so many bytes more behind what is read of it.
    fn last(&self, place: &Place, more: i64) -> Pos {
        let places = self.shape.fields.iter().map(|field| &field.place);
        let places = places.chain(self.shape.checks.iter().map(|check| &check.at));
        let behind = places.filter(|place| place.from.from_end).map(|place| place.from.base).min();
        // As a frame is judged: what is counted from its end may reach to it.
        let base = if place.from.from_end { 0 } else { behind.unwrap_or(0) };
        Pos { base: base - more, from_end: true, plus: Box::default() }
    }

    /// Whether one position is never behind another.
    fn is_before(&self, a: &Pos, b: &Pos) -> bool {
        // What both add is the same; of what one alone adds, the most counts where that is bounded, or nothing.
        let Some(more) =
            beside(&a.plus, &b.plus).into_iter().map(|term| self.most(term)).sum::<Option<i64>>()
        else {
            return false;
        };
        let (a_base, b_base) = (a.base + more, b.base);
        match (a.from_end, b.from_end) {
            (true, true) | (false, false) => a_base <= b_base,
            // In the shortest frame, and so in every one.
            (false, true) => {
                a_base <= i64::try_from(self.shape.least).unwrap_or(i64::MAX).saturating_add(b_base)
            }
            (true, false) => false,
        }
    }

    /// The most that a term may be, as far as the declaration says.
    fn most(&self, term: Term) -> Option<i64> {
        let place = match (term, &self.shape.bound) {
            (Term::Field(field), _) => &self.shape.fields[usize::from(field)].place,
            (Term::Length, Some(Bound::Length { place, .. })) => {
                let digits = if place.kind == Type::Varint { VARINT_MAX } else { DIGITS_MAX + 1 };
                return Some(place.from.base + digits as i64);
            }
            (Term::Length, _) => return None,
        };
        match place.kind {
            Type::Uint { bytes, .. } => i64::try_from(u64::MAX >> (64 - 8 * u32::from(bytes)) & place.mask)
                .ok()
                .filter(|most| *most < 1 << 32),
            _ => None,
        }
    }

    /// A position, counted from the beginning where all frames have one size, with a number for the end of the length
    /// where that is always the same.
    fn counted(&self, mut pos: Pos) -> Pos {
        match &self.shape.bound {
            Some(Bound::Size(size)) if pos.from_end => {
                (pos.base, pos.from_end) = (pos.base + i64::from(*size), false);
            }
            Some(Bound::Length { place, .. }) if !place.kind.ends_itself() => {
                let end = place.from.base + place.width_min() as i64;
                let (lengths, fields): (Vec<Term>, Vec<Term>) =
                    pos.plus.iter().copied().partition(|term| *term == Term::Length);
                (pos.base, pos.plus) = (pos.base + end * lengths.len() as i64, fields.into());
            }
            _ => {}
        }
        pos
    }
}

/// The terms that `others` has not.
fn beside(terms: &[Term], others: &[Term]) -> Vec<Term> {
    let mut others = others.to_vec();
    let is_alone = |term: &Term| match others.iter().position(|other| other == term) {
        Some(at) => {
            others.swap_remove(at);
            false
        }
        None => true,
    };
    let mut alone = terms.to_vec();
    alone.retain(is_alone);
    alone
}
