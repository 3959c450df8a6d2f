//! An instant in half of the room.

use std::fmt;
use std::num::NonZeroI64;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// From this all are counted: a nanosecond before the first of them, so that none of them is at zero.
static EPOCH: OnceLock<Instant> = OnceLock::new();

/// An instant, to the nanosecond, within 292 years of this process. Ten thousand connections keep several each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(NonZeroI64);

impl Moment {
    /// The instant.
    pub fn get(self) -> Instant {
        let epoch = *EPOCH.get().expect("there was one when this was made");
        let away = Duration::from_nanos(self.0.get().unsigned_abs());
        if self.0.get() > 0 { epoch + away } else { epoch - away }
    }
}

impl From<Instant> for Moment {
    fn from(at: Instant) -> Moment {
        const ONE: NonZeroI64 = NonZeroI64::new(1).unwrap();
        let epoch = *EPOCH.get_or_init(|| at - Duration::from_nanos(1));
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let nanos = match at.checked_duration_since(epoch) {
            Some(after) => nanos(after),
            None => -nanos(epoch - at),
        };
        Moment(NonZeroI64::new(nanos).unwrap_or(ONE))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_its_instant() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let all = [now, now + Duration::from_nanos(1), now + second, now + 86_400 * second];
        let moments = all.map(Moment::from);
        assert_eq!(moments.map(Moment::get), all);
        assert!(moments.is_sorted());
        let before = all.map(|at| at - 2 * second);
        assert_eq!(before.map(|at| Moment::from(at).get()), before);
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }
}
