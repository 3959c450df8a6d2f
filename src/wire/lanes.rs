//! The digests of many messages side by side: one schedule for every width.
//!
//! Lanes go on in step, as many blocks as the one has left that ends first; it takes the next message then. Where there
//! are no more messages, and so few lanes are left that something narrower is faster, that goes on with them from where
//! they are. What compresses blocks is another's: see [`Compress`].

use super::header::DIGEST;
use super::sha256::{Block, Keying, START, State, digest_of, pad};

/// Blocks left where there is no message: more than a lane hashes in its life.
const IDLE: usize = usize::MAX;

/// The last block of the outer hash of an HMAC, but for the inner hash at its beginning: its mark, and its length of 96
/// bytes, in bits, with the block of the key.
const OUTER_END: Block = {
    let mut block = [0; 64];
    block[DIGEST] = 0x80;
    block[62] = (8 * (64 + DIGEST) / 256) as u8;
    block
};

/// How `N` lanes are compressed: proof that it can be done on this processor.
pub(super) trait Compress<const N: usize>: Copy {
    /// Adds to the state of each lane its next `count` blocks. Of a lane that has fewer, the state is worth nothing then.
    fn compress(self, states: &mut [State; N], runs: &Runs<'_, N>, count: usize);
}

/// One lane, by the `sha2` crate.
#[derive(Clone, Copy)]
pub(super) struct Alone;

impl Compress<1> for Alone {
    fn compress(self, [state]: &mut [State; 1], runs: &Runs<'_, 1>, count: usize) {
        let body = runs.bodies[0].get(runs.at[0]..).unwrap_or_default();
        let body = &body[..body.len().min(count)];
        sha2::block_api::compress256(state, body);
        for ahead in body.len()..count {
            sha2::block_api::compress256(state, &[*runs.block(0, ahead)]);
        }
    }
}

/// One or two blocks, each in a cache line of its own: where two lie in three, reading what was just written waits.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct End([Block; 2]);

/// The blocks of each lane: those of its message, then one or two with its end and its length.
pub(super) struct Runs<'a, const N: usize> {
    bodies: [&'a [Block]; N],
    ends: [End; N],
    /// How many were compressed.
    at: [usize; N],
}

impl<'a, const N: usize> Runs<'a, N> {
    /// Blocks without an end; a lane without any is compressed for nobody.
    pub(super) fn of(bodies: [&'a [Block]; N]) -> Runs<'a, N> {
        Runs { bodies, ends: [End([[0; 64]; 2]); N], at: [0; N] }
    }

    /// The block of a lane that comes `ahead` blocks behind the next one. It is found without a branch, and where a lane
    /// has none any more it is any.
    #[inline(always)]
    pub(super) fn block(&self, lane: usize, ahead: usize) -> &Block {
        let (body, at) = (self.bodies[lane], self.at[lane].wrapping_add(ahead));
        let end = &self.ends[lane].0[at.wrapping_sub(body.len()) % 2];
        body.get(at).unwrap_or(end)
    }
}

/// What starts lanes.
pub(super) trait Source<'a, T> {
    /// Starts a lane that is idle; false if there is nothing more to do.
    fn start<const N: usize>(&mut self, lanes: &mut Lanes<'a, '_, T, N>, lane: usize) -> bool;
}

/// Messages that nobody has begun.
pub(super) struct Messages<I>(pub(super) I);

impl<'a, T: Copy, I: Iterator<Item = (&'a [u8], T)>> Source<'a, T> for Messages<I> {
    #[inline(always)]
    fn start<const N: usize>(&mut self, lanes: &mut Lanes<'a, '_, T, N>, lane: usize) -> bool {
        let Some((message, tag)) = self.0.next() else { return false };
        lanes.begin(lane, message, tag);
        true
    }
}

/// What is left in the lanes of another width.
pub(super) struct Left<'l, 'a, 'k, T, const M: usize> {
    from: &'l Lanes<'a, 'k, T, M>,
    next: usize,
}

impl<'a, T: Copy, const M: usize> Source<'a, T> for Left<'_, 'a, '_, T, M> {
    fn start<const N: usize>(&mut self, lanes: &mut Lanes<'a, '_, T, N>, lane: usize) -> bool {
        let from = self.from;
        let Some(at) = (self.next..M).find(|&at| from.left[at] != IDLE) else { return false };
        self.next = at + 1;
        lanes.runs.bodies[lane] = from.runs.bodies[at];
        lanes.runs.ends[lane] = from.runs.ends[at];
        lanes.runs.at[lane] = from.runs.at[at];
        lanes.states[lane] = from.states[at];
        lanes.left[lane] = from.left[at];
        lanes.is_inner[lane] = from.is_inner[at];
        lanes.tags[lane] = from.tags[at];
        true
    }
}

/// Messages that are being hashed.
///
/// Between two steps, `left` is 0 in no lane, and [`IDLE`] where there is no message.
pub(super) struct Lanes<'a, 'k, T, const N: usize> {
    keying: &'k Keying,
    runs: Runs<'a, N>,
    states: [State; N],
    left: [usize; N],
    /// Whether what is hashed is the inner hash of an HMAC.
    is_inner: [bool; N],
    tags: [Option<T>; N],
}

impl<'a, 'k, T: Copy, const N: usize> Lanes<'a, 'k, T, N> {
    pub(super) fn new(keying: &'k Keying) -> Lanes<'a, 'k, T, N> {
        let runs = Runs::of([&[]; N]);
        Lanes { keying, runs, states: [START; N], left: [IDLE; N], is_inner: [false; N], tags: [None; N] }
    }

    /// Hands the digest of each message to `done`, in the order in which they are finished, until there is nothing more
    /// to start and fewer lanes are left than `least`. Says how many.
    pub(super) fn run(
        &mut self,
        with: impl Compress<N>,
        least: usize,
        source: &mut impl Source<'a, T>,
        done: &mut impl FnMut([u8; DIGEST], T),
    ) -> usize {
        let least = least.max(1);
        let mut busy = 0;
        // One place starts lanes, at the beginning as well as later, so that the source is compiled into it.
        let mut free = u32::MAX >> (u32::BITS as usize - N);
        loop {
            while free != 0 {
                let lane = free.trailing_zeros() as usize;
                free &= free - 1;
                if let Some(tag) = self.tags[lane] {
                    if self.is_inner[lane] {
                        self.begin_outer(lane);
                        continue;
                    }
                    done(digest_of(&self.states[lane]), tag);
                    busy -= 1;
                }
                if source.start(self, lane) {
                    busy += 1;
                } else {
                    self.stop(lane);
                }
            }
            if busy < least {
                return busy;
            }
            free = self.step(with);
        }
    }

    /// What is left, for another width to go on with.
    pub(super) fn left(&self) -> Left<'_, 'a, 'k, T, N> {
        Left { from: self, next: 0 }
    }

    /// Compresses as many blocks as the shortest lane has. Says which have no more, a bit each.
    #[inline]
    fn step(&mut self, with: impl Compress<N>) -> u32 {
        const { assert!(N <= u32::BITS as usize) };
        let count = self.left.iter().fold(IDLE, |least, &left| least.min(left));
        with.compress(&mut self.states, &self.runs, count);
        let mut ended = 0;
        for lane in 0..N {
            self.runs.at[lane] = self.runs.at[lane].wrapping_add(count);
            // Where there is no message, as many are left as ever.
            self.left[lane] -= if self.left[lane] == IDLE { 0 } else { count };
            ended |= u32::from(self.left[lane] == 0) << lane;
        }
        ended
    }

    #[inline(always)]
    fn begin(&mut self, lane: usize, message: &'a [u8], tag: T) {
        let before = match self.keying {
            Keying::None => {
                self.states[lane] = START;
                0
            }
            Keying::Hmac { inner, .. } => {
                self.states[lane] = *inner;
                self.is_inner[lane] = true;
                size_of::<Block>()
            }
        };
        let (body, rest) = message.as_chunks();
        let ends = pad(&mut self.runs.ends[lane].0, rest, before + message.len());
        self.runs.bodies[lane] = body;
        self.runs.at[lane] = 0;
        self.left[lane] = body.len() + ends;
        self.tags[lane] = Some(tag);
    }

    /// What was hashed, to the last block, is the inner hash.
    #[inline]
    fn begin_outer(&mut self, lane: usize) {
        let Keying::Hmac { outer, .. } = self.keying else { unreachable!("there is an inner hash") };
        let end = &mut self.runs.ends[lane].0[0];
        *end = OUTER_END;
        end[..DIGEST].copy_from_slice(&digest_of(&self.states[lane]));
        self.states[lane] = *outer;
        self.is_inner[lane] = false;
        self.left[lane] = 1;
        self.runs.bodies[lane] = &[];
        self.runs.at[lane] = 0;
    }

    fn stop(&mut self, lane: usize) {
        self.runs.bodies[lane] = &[];
        self.left[lane] = IDLE;
        self.tags[lane] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Scheme;

    /// Any width, a block of a lane at a time: what the instructions do, for where they cannot run, as under Miri.
    #[derive(Clone, Copy)]
    struct Portable;

    impl<const N: usize> Compress<N> for Portable {
        fn compress(self, states: &mut [State; N], runs: &Runs<'_, N>, count: usize) {
            for (lane, state) in states.iter_mut().enumerate() {
                (0..count).for_each(|ahead| sha2::block_api::compress256(state, &[*runs.block(lane, ahead)]));
            }
        }
    }

    /// By lanes of one width, then by those of another, then one by one.
    fn check<const N: usize, const M: usize>(secret: Option<&[u8]>, least: [usize; 2], lengths: &[usize]) {
        let scheme = Scheme::new(secret);
        let bytes: Vec<u8> =
            (0..*lengths.iter().max().unwrap_or(&0)).map(|i| (i * 7 + i / 256) as u8).collect();
        let mut seen = vec![0; lengths.len()];
        let messages = lengths.iter().enumerate().map(|(i, &len)| (&bytes[..len], i));
        let mut done = |digest, i: usize| {
            assert_eq!(digest, scheme.digest(&bytes[..lengths[i]]), "{} of {lengths:?}", lengths[i]);
            seen[i] += 1;
        };
        let keying = scheme.keying();
        let mut wide = Lanes::<_, N>::new(keying);
        let left = wide.run(Portable, least[0], &mut Messages(messages), &mut done);
        assert!(left < least[0]);
        let mut narrow = Lanes::<_, M>::new(keying);
        assert!(narrow.run(Portable, least[1], &mut wide.left(), &mut done) < least[1]);
        assert_eq!(Lanes::<_, 1>::new(keying).run(Alone, 1, &mut narrow.left(), &mut done), 0);
        assert!(seen.iter().all(|&times| times == 1), "{lengths:?}: {seen:?}");
    }

    /// Miri takes a thousand times as long.
    const ROUNDS: usize = if cfg!(miri) { 2 } else { 60 };

    #[test]
    fn lanes_of_any_width_do_every_message_once() {
        let mut random = fastrand::Rng::with_seed(16);
        for round in 0..ROUNDS {
            let most = if cfg!(miri) { 150 } else { 700 };
            let lengths: Vec<usize> = (0..round * 5 % 41 + 5).map(|_| random.usize(..most)).collect();
            for secret in [None, Some(&b"secret"[..])] {
                check::<16, 8>(secret, [1 + round % 16, 1 + round % 8], &lengths);
                check::<8, 2>(secret, [8, 2], &lengths);
                check::<3, 5>(secret, [2, 1], &lengths);
                check::<2, 2>(secret, [2, 1], &lengths);
            }
        }
        check::<8, 2>(None, [2, 2], &[]);
        check::<16, 8>(None, [16, 8], &[5]);
        check::<2, 1>(None, [2, 1], &[1000, 1, 2, 3, 64, 0, 500]);
    }
}
