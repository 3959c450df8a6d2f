//! A digest in the making, of bytes that come in pieces.

use super::header::DIGEST;
use super::pairs::{Block, Keying, Pairs, START, State, digest_of, pad};
use sha2::block_api::compress256;

/// SHA-256, or HMAC-SHA-256, of the bytes so far.
///
/// `len % 64` bytes of a block that is not whole yet are at the beginning of `open`.
pub(super) struct Stream {
    state: State,
    open: Block,
    /// Bytes hashed, with the block of the inner key.
    len: usize,
    outer: Option<State>,
}

impl Stream {
    pub(super) fn new(keying: &Keying) -> Stream {
        let (state, outer, len) = match *keying {
            Keying::None => (START, None, 0),
            Keying::Hmac { inner, outer } => (inner, Some(outer), size_of::<Block>()),
        };
        Stream { state, open: [0; 64], len, outer }
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let blocks = self.take(bytes);
        compress256(&mut self.state, blocks);
    }

    /// Adds bytes to each of two streams: with `pairs`, as many blocks as both have at the speed of one.
    pub(super) fn update_two(
        pairs: Option<Pairs>,
        (a, bytes_a): (&mut Stream, &[u8]),
        (b, bytes_b): (&mut Stream, &[u8]),
    ) {
        let (blocks_a, blocks_b) = (a.take(bytes_a), b.take(bytes_b));
        let mut both = 0;
        if let Some(pairs) = pairs {
            both = blocks_a.len().min(blocks_b.len());
            pairs.compress_two(&mut a.state, &blocks_a[..both], &mut b.state, &blocks_b[..both]);
        }
        compress256(&mut a.state, &blocks_a[both..]);
        compress256(&mut b.state, &blocks_b[both..]);
    }

    /// The digest.
    pub(super) fn finish(mut self) -> [u8; DIGEST] {
        let mut last = [[0; 64]; 2];
        let end = pad(&mut last, &self.open[..self.len % 64], self.len);
        compress256(&mut self.state, &last[..end]);
        if let Some(mut outer) = self.outer {
            let inner = digest_of(&self.state);
            let end = pad(&mut last, &inner, size_of::<Block>() + DIGEST);
            compress256(&mut outer, &last[..end]);
            self.state = outer;
        }
        digest_of(&self.state)
    }

    /// Takes in the bytes that belong to an open block, before and after the whole ones, which are
    /// returned to be compressed.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [Block] {
        let open = self.len % 64;
        self.len += bytes.len();
        let (first, bytes) = bytes.split_at(if open == 0 { 0 } else { bytes.len().min(64 - open) });
        self.open[open..open + first.len()].copy_from_slice(first);
        if open > 0 && open + first.len() == 64 {
            compress256(&mut self.state, &[self.open]);
        }
        let (blocks, rest) = bytes.as_chunks();
        if !bytes.is_empty() {
            self.open[..rest.len()].copy_from_slice(rest);
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Scheme;

    #[test]
    fn two_streams_in_any_pieces_agree_with_the_library() {
        let bytes: Vec<u8> = (0..2000u32).map(|i| (i * 7 + i / 256) as u8).collect();
        let schemes = [(Scheme::Sha256, Keying::None), (Scheme::keyed(b"secret"), Keying::hmac(b"secret"))];
        // Two at once, and where there is no way to.
        let ways = [Pairs::detect(), None];
        for ((scheme, keying), pairs) in schemes.iter().flat_map(|scheme| ways.map(|way| (scheme, way))) {
            for piece_a in [1, 7, 55, 56, 63, 64, 65, 128, 300, 2000] {
                for piece_b in [1, 9, 64, 127, 500] {
                    let (mut a, mut b) = (Stream::new(keying), Stream::new(keying));
                    let (bytes_a, bytes_b) = (&bytes[..1500], &bytes[3..]);
                    let (mut pieces_a, mut pieces_b) = (bytes_a.chunks(piece_a), bytes_b.chunks(piece_b));
                    loop {
                        match (pieces_a.next(), pieces_b.next()) {
                            (None, None) => break,
                            (Some(one), None) => a.update(one),
                            (None, Some(one)) => b.update(one),
                            (Some(one), Some(two)) => Stream::update_two(pairs, (&mut a, one), (&mut b, two)),
                        }
                    }
                    assert_eq!(a.finish(), scheme.digest(bytes_a), "{piece_a} {piece_b}");
                    assert_eq!(b.finish(), scheme.digest(bytes_b), "{piece_a} {piece_b}");
                }
            }
        }
    }
}
