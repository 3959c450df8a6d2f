//! Byte pairs that stand for a byte which means something else: in the raw frame, between its `start` and its `until` or
//! `end`.

/// What is undone before places are looked at, and done to replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Escapes {
    pairs: Box<[Pair]>,
    /// The first bytes of the pairs.
    leads: [bool; 256],
    /// What they stand for.
    plains: [bool; 256],
}

/// Two bytes that stand for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub raw: [u8; 2],
    pub plain: u8,
}

impl Escapes {
    pub fn new(pairs: Vec<Pair>) -> Escapes {
        let mut leads = [false; 256];
        let mut plains = [false; 256];
        for pair in &pairs {
            leads[usize::from(pair.raw[0])] = true;
            plains[usize::from(pair.plain)] = true;
        }
        Escapes { pairs: pairs.into(), leads, plains }
    }

    /// Whether a byte begins a pair.
    pub fn leads(&self, byte: u8) -> bool {
        self.leads[usize::from(byte)]
    }

    /// Whether a byte stands second in a pair.
    pub fn follows(&self, byte: u8) -> bool {
        self.pairs.iter().any(|pair| pair.raw[1] == byte)
    }

    /// Whether a pair stands for a byte.
    pub fn has_pair_for(&self, byte: u8) -> bool {
        self.plains[usize::from(byte)]
    }

    /// What two bytes stand for, where they are a pair.
    pub fn plain(&self, raw: [u8; 2]) -> Option<u8> {
        self.pairs.iter().find(|pair| pair.raw == raw).map(|pair| pair.plain)
    }

    /// How many bytes `raw` stands for; or where a pair begins that is not listed.
    pub fn plain_len(&self, raw: &[u8]) -> Result<usize, usize> {
        let mut len = 0;
        self.each(raw, |bytes| len += bytes.len()).map(|()| len)
    }

    /// Where the first byte of `raw` is that has a pair, and stands there without: of those that `matters`. All pairs in it
    /// are listed.
    pub fn find_plain(&self, raw: &[u8], matters: impl Fn(u8) -> bool) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            match self.leads(byte) {
                true => at += 2,
                false if self.has_pair_for(byte) && matters(byte) => return Some(at),
                false => at += 1,
            }
        }
        None
    }

    /// Appends what `raw` stands for.
    ///
    /// # Panics
    /// If it holds a pair that is not listed, which [`plain_len`](Self::plain_len) has found.
    pub fn undo(&self, raw: &[u8], out: &mut Vec<u8>) {
        self.each(raw, |bytes| out.extend_from_slice(bytes)).expect("the cutter has looked at every pair");
    }

    /// Appends `plain` with pairs in it.
    pub fn apply(&self, plain: &[u8], out: &mut Vec<u8>) {
        for &byte in plain {
            match self.pairs.iter().find(|pair| pair.plain == byte) {
                Some(pair) => out.extend_from_slice(&pair.raw),
                None => out.push(byte),
            }
        }
    }

    /// Hands over what `raw` stands for, in pieces: most bytes stand for themselves.
    fn each(&self, raw: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), usize> {
        let mut at = 0;
        while at < raw.len() {
            let rest = &raw[at..];
            let lead = rest.iter().position(|byte| self.leads[usize::from(*byte)]).unwrap_or(rest.len());
            take(&rest[..lead]);
            at += lead;
            if let Some(lead) = raw.get(at) {
                let plain = raw.get(at + 1).and_then(|next| self.plain([*lead, *next]));
                take(&[plain.ok_or(at)?]);
                at += 2;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_undone_and_applied() {
        let pair = |second, plain| Pair { raw: [0x7d, second], plain };
        let escapes = Escapes::new(vec![pair(1, 0x7d), pair(2, 0x7e)]);
        for (raw, plain) in [
            (&[0x30, 0x7d, 2, 8, 0x7d, 1, 0x55][..], Ok(&[0x30, 0x7e, 8, 0x7d, 0x55][..])),
            (&[], Ok(&[])),
            (&[1, 0x7d, 3], Err(1)),
            (&[1, 2, 0x7d], Err(2)),
        ] {
            assert_eq!(escapes.plain_len(raw), plain.map(<[u8]>::len));
            if let Ok(plain) = plain {
                let (mut undone, mut applied) = (Vec::new(), Vec::new());
                escapes.undo(raw, &mut undone);
                escapes.apply(plain, &mut applied);
                assert_eq!((&undone[..], &applied[..]), (plain, raw));
            }
        }
    }
}
