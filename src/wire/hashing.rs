//! How many messages are hashed side by side: what this processor was seen to be fastest at, for the whole process.

use std::array;
use std::sync::OnceLock;
use std::time::Duration;

use super::digest::Scheme;
use super::header::DIGEST;
use super::pairs::Pairs;
use super::sixteen::{LANES, Sixteen};

/// How many messages are hashed side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One after the other, by the `sha2` crate.
    One,
    /// Two, with the processor's SHA-256 instructions.
    Pairs,
    /// Sixteen, with AVX-512.
    Lanes16,
}

/// A width with what it needs of the processor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hashing {
    One,
    Pairs(Pairs),
    Sixteen(Sixteen),
}

static CHOSEN: OnceLock<Hashing> = OnceLock::new();

/// Lengths that are timed: a command, a reading of a sensor, a document.
const LENGTHS: [usize; 3] = [64, 300, 4096];

/// The best of so many is what the processor can do; others were interrupted. All together take less than 2 ms.
const TRIES: usize = 5;

/// Decides for the whole process how many messages are hashed side by side: what is fastest by `clock`, unless it is
/// decided already.
pub fn choose_fastest(clock: impl Fn() -> Duration) {
    CHOSEN.get_or_init(|| fastest(clock));
}

/// Decides the same, whatever is fastest.
///
/// # Errors
///
/// If the processor cannot do that, or something else was decided before: which.
pub fn choose(width: Width) -> Result<(), &'static str> {
    let chosen = of(width)?;
    match CHOSEN.get_or_init(|| chosen).width() == width {
        true => Ok(()),
        false => Err("how digests are made was decided before"),
    }
}

fn of(width: Width) -> Result<Hashing, &'static str> {
    match width {
        Width::One => Ok(Hashing::One),
        Width::Pairs => {
            Pairs::detect().map(Hashing::Pairs).ok_or("this processor has no instructions for SHA-256")
        }
        // What is forced is not measured: a step of all lanes is taken to last as long as ten messages by pairs.
        Width::Lanes16 => {
            Sixteen::detect(LANES / 2 + 2).map(Hashing::Sixteen).ok_or("this processor has no AVX-512")
        }
    }
}

fn fastest(clock: impl Fn() -> Duration) -> Hashing {
    let others = Pairs::detect().map_or(Hashing::One, Hashing::Pairs);
    let Some(sixteen) = Sixteen::detect(LANES) else { return others };
    let bytes = [0x5a; LENGTHS[LENGTHS.len() - 1]];
    let time = |hashing: Hashing, len| {
        let once = |_| {
            let since = clock();
            hashing.digest_each(&Scheme::Sha256, [(&bytes[..len], ()); LANES].into_iter(), |digest, ()| {
                std::hint::black_box(digest);
            });
            clock().saturating_sub(since)
        };
        array::from_fn::<_, TRIES, _>(once).into_iter().min().unwrap_or_default().as_secs_f64()
    };
    // What sixteen at once take of the time of as many the other way.
    let share = |len| time(Hashing::Sixteen(sixteen), len) / time(others, len).max(1e-9);
    let share = LENGTHS.map(share).iter().sum::<f64>() / LENGTHS.len() as f64;
    // Lanes that are empty cost as much as others.
    let least = ((share * LANES as f64).ceil() as usize).saturating_add(1);
    match Sixteen::detect(least) {
        Some(sixteen) if least <= LANES => Hashing::Sixteen(sixteen),
        _ => others,
    }
}

impl Hashing {
    /// What was chosen; until something was, pairs where the processor has them.
    pub(super) fn chosen() -> Hashing {
        CHOSEN.get().copied().unwrap_or_else(|| Pairs::detect().map_or(Hashing::One, Hashing::Pairs))
    }

    fn width(self) -> Width {
        match self {
            Hashing::One => Width::One,
            Hashing::Pairs(_) => Width::Pairs,
            Hashing::Sixteen(_) => Width::Lanes16,
        }
    }

    /// Every width that this processor has.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn all() -> Vec<Hashing> {
        let pairs = Pairs::detect().map(Hashing::Pairs);
        let sixteen = [2, LANES / 2, LANES].into_iter().filter_map(Sixteen::detect).map(Hashing::Sixteen);
        [Hashing::One].into_iter().chain(pairs).chain(sixteen).collect()
    }

    /// For two messages that come in pieces.
    pub(super) fn pairs(self) -> Option<Pairs> {
        match self {
            Hashing::One => None,
            Hashing::Pairs(pairs) => Some(pairs),
            Hashing::Sixteen(sixteen) => sixteen.rest(),
        }
    }

    /// Hands the digest of each message to `done`, in the order in which they are finished.
    pub(super) fn digest_each<'a, T: Copy>(
        self,
        scheme: &Scheme,
        messages: impl Iterator<Item = (&'a [u8], T)>,
        mut done: impl FnMut([u8; DIGEST], T),
    ) {
        match self {
            Hashing::One => messages.for_each(|(message, tag)| done(scheme.digest(message), tag)),
            Hashing::Pairs(pairs) => pairs.digest_each(scheme.keying(), messages, done),
            Hashing::Sixteen(sixteen) => sixteen.digest_each(scheme.keying(), messages, done),
        }
    }
}

/// What computes SHA-256 here, for the line at start.
pub fn implementation() -> &'static str {
    match Hashing::chosen() {
        Hashing::Sixteen(_) => "AVX-512, sixteen frames at a time",
        Hashing::Pairs(_) if cfg!(target_arch = "aarch64") => {
            "ARMv8 SHA-2 instructions, two frames at a time"
        }
        Hashing::Pairs(_) => "SHA-NI instructions, two frames at a time",
        Hashing::One => "the sha2 crate, one frame at a time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_can_be_done() {
        let start = std::time::Instant::now();
        match fastest(|| start.elapsed()) {
            Hashing::One => assert!(Pairs::detect().is_none()),
            Hashing::Pairs(_) => {}
            Hashing::Sixteen(sixteen) => assert!((2..=LANES).contains(&sixteen.least())),
        }
        // A clock that stands still chooses something all the same.
        fastest(|| Duration::ZERO);
    }

    #[test]
    fn a_width_is_what_it_says_or_cannot_be_had() {
        assert_eq!(of(Width::One).map(Hashing::width), Ok(Width::One));
        for (width, can) in
            [(Width::Pairs, Pairs::detect().is_some()), (Width::Lanes16, Sixteen::detect(LANES).is_some())]
        {
            assert_eq!(of(width).map(Hashing::width).ok(), can.then_some(width));
        }
    }
}
