//! Some of the sinks, by their places, and whether subscribers had it.

/// Sinks at once: one bit each, and one for the subscribers.
pub const SINKS_MAX: usize = 7;

/// A set of sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkSet(u8);

impl SinkSet {
    /// None of them.
    pub const NONE: SinkSet = SinkSet(0);

    /// Every sink that can be, whether it is there or not.
    pub const ALL: SinkSet = SinkSet(u8::MAX);

    /// The subscribers of that moment, who get a frame once, whatever sinks say of it.
    pub const SUBSCRIBERS: SinkSet = SinkSet(1 << SINKS_MAX);

    /// The sink in a place.
    pub fn one(place: usize) -> SinkSet {
        assert!(place < SINKS_MAX, "as many sinks as there are bits");
        SinkSet(1 << place)
    }

    /// The sinks in the first places.
    pub fn first(count: usize) -> SinkSet {
        (0..count).fold(SinkSet::NONE, |set, place| set.with(SinkSet::one(place)))
    }

    /// Those of either set.
    pub fn with(self, other: SinkSet) -> SinkSet {
        SinkSet(self.0 | other.0)
    }

    /// Those that are not in the other set.
    pub fn without(self, other: SinkSet) -> SinkSet {
        SinkSet(self.0 & !other.0)
    }

    /// Whether it holds all of the other set.
    pub fn covers(self, other: SinkSet) -> bool {
        other.without(self).is_empty()
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many it holds.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sets() {
        let (first, second) = (SinkSet::one(0), SinkSet::one(1));
        let both = SinkSet::first(2);
        assert_eq!((first.with(second), both.without(first), both.len()), (both, second, 2));
        assert!(both.covers(first) && !first.covers(both) && SinkSet::ALL.covers(SinkSet::first(SINKS_MAX)));
        assert!(SinkSet::first(0).is_empty() && first.covers(SinkSet::NONE));
        let nobody = SinkSet::SUBSCRIBERS.without(SinkSet::first(SINKS_MAX));
        assert!(nobody == SinkSet::SUBSCRIBERS && SinkSet::ALL.covers(nobody));
    }
}
