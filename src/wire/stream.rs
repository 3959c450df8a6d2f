//! A digest in the making, of bytes that come in pieces.

use super::hashing::Hashing;
use super::header::DIGEST;
use super::sha256::{Block, Keying, START, State, digest_of, pad};
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

    /// Adds bytes to each of several streams, as many blocks as all have side by side.
    pub(super) fn update_each(hashing: Hashing, streams: Vec<(&mut Stream, &[u8])>) {
        let mut streams: Vec<(&mut State, &[Block])> = streams
            .into_iter()
            .map(|(stream, bytes)| {
                let blocks = stream.take(bytes);
                (&mut stream.state, blocks)
            })
            .collect();
        let all = streams.iter().map(|(_, blocks)| blocks.len()).min().unwrap_or(0);
        hashing.compress_each(&mut streams, all);
        for (state, blocks) in streams {
            compress256(state, &blocks[all..]);
        }
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
    fn streams_in_any_pieces_agree_with_the_library() {
        let bytes: Vec<u8> = (0..2000u32).map(|i| (i * 7 + i / 256) as u8).collect();
        for (scheme, hashing) in [Scheme::Sha256, Scheme::keyed(b"secret")]
            .iter()
            .flat_map(|scheme| Hashing::all().into_iter().map(move |hashing| (scheme, hashing)))
        {
            for pieces in
                [[1, 9], [7, 64], [55, 127], [56, 500], [63, 1], [64, 64], [65, 9], [128, 500], [300, 127]]
            {
                for count in [2, 5, 19] {
                    // Each begins elsewhere, so that they end at different times.
                    let bytes_of = |at: usize| &bytes[7 * at..1500];
                    let mut streams: Vec<Stream> = (0..count).map(|_| Stream::new(scheme.keying())).collect();
                    let mut chunks: Vec<_> =
                        (0..count).map(|at| bytes_of(at).chunks(pieces[at % 2])).collect();
                    loop {
                        let next: Vec<_> = streams
                            .iter_mut()
                            .zip(&mut chunks)
                            .filter_map(|(stream, chunks)| Some((stream, chunks.next()?)))
                            .collect();
                        if next.is_empty() {
                            break;
                        }
                        Stream::update_each(hashing, next);
                    }
                    for (at, stream) in streams.into_iter().enumerate() {
                        assert_eq!(
                            stream.finish(),
                            scheme.digest(bytes_of(at)),
                            "{at} of {count}, {hashing:?}"
                        );
                    }
                }
            }
        }
    }
}
