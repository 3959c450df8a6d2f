//! Cyclic redundancy checks of any parameters, eight bytes at a time.
//!
//! One table of 64-bit entries serves every width up to 64: a checksum that is not reflected is kept at the upper end
//! of the word. Eight bytes then push the whole word out, so that the same few lines are right for CRC-3 and CRC-64.

/// The parameters that the catalogue names a CRC by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the catalogue")]
pub struct Parameters {
    pub width: u8,
    pub poly: u128,
    pub init: u128,
    pub refin: bool,
    pub refout: bool,
    pub xorout: u128,
}

/// A CRC, ready to be computed.
pub struct Crc {
    parameters: Parameters,
    /// None for more than 64 bits.
    tables: Option<Box<[[u64; 256]; 8]>>,
}

/// The widest that there is: CRC-82/DARC has 82 bits.
pub(super) const WIDTH_MAX: u8 = 128;

impl Crc {
    /// Prepares the tables, 16 KiB.
    pub fn new(parameters: Parameters) -> Crc {
        assert!((1..=WIDTH_MAX).contains(&parameters.width), "the loader checks this");
        let tables = (parameters.width <= 64).then(|| tables(&parameters));
        Crc { parameters, tables }
    }

    /// What it was made of.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The checksum of `bytes`.
    #[cfg(test)]
    pub fn of(&self, bytes: &[u8]) -> u128 {
        self.end(self.update(self.begin(), bytes))
    }

    /// The state before any byte.
    pub fn begin(&self) -> u128 {
        let Parameters { width, init, refin, .. } = self.parameters;
        match &self.tables {
            None => init << (128 - width),
            Some(_) if refin => reflect(init, width),
            Some(_) => init << (64 - width),
        }
    }

    /// The state after more bytes.
    pub fn update(&self, state: u128, bytes: &[u8]) -> u128 {
        match &self.tables {
            None => self.slowly(state, bytes),
            Some(tables) if self.parameters.refin => u128::from(reflected(tables, state as u64, bytes)),
            Some(tables) => u128::from(straight(tables, state as u64, bytes)),
        }
    }

    /// The checksum that a state stands for.
    pub fn end(&self, state: u128) -> u128 {
        let Parameters { width, refin, refout, xorout, .. } = self.parameters;
        let value = match &self.tables {
            None if refin => reflect(state >> (128 - width), width),
            None => state >> (128 - width),
            Some(_) if refin => state,
            Some(_) => state >> (64 - width),
        };
        // The value is as the input was read.
        (if refin != refout { reflect(value, width) } else { value }) ^ xorout
    }

    /// Bit by bit, for the one CRC that is wider than a word.
    fn slowly(&self, mut state: u128, bytes: &[u8]) -> u128 {
        let Parameters { width, poly, refin, .. } = self.parameters;
        let (top, shift) = (1u128 << 127, 128 - width);
        for &byte in bytes {
            state ^= u128::from(if refin { byte.reverse_bits() } else { byte }) << 120;
            for _ in 0..8 {
                state = if state & top == 0 { state << 1 } else { state << 1 ^ poly << shift };
            }
        }
        state
    }
}

impl std::fmt::Debug for Crc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parameters.fmt(f)
    }
}

fn reflect(value: u128, width: u8) -> u128 {
    value.reverse_bits() >> (128 - width)
}

fn tables(parameters: &Parameters) -> Box<[[u64; 256]; 8]> {
    let Parameters { width, poly, refin, .. } = *parameters;
    let mut tables = Box::new([[0u64; 256]; 8]);
    let poly = if refin { reflect(poly, width) as u64 } else { (poly as u64) << (64 - width) };
    for (byte, entry) in (0..).zip(&mut tables[0]) {
        *entry = (0..8).fold(if refin { byte } else { byte << 56 }, |value: u64, _| match refin {
            true => value >> 1 ^ if value & 1 == 1 { poly } else { 0 },
            false => value << 1 ^ if value >> 63 == 1 { poly } else { 0 },
        });
    }
    for table in 1..8 {
        for byte in 0..256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = match refin {
                true => before >> 8 ^ tables[0][(before & 255) as usize],
                false => before << 8 ^ tables[0][(before >> 56) as usize],
            };
        }
    }
    tables
}

fn reflected(tables: &[[u64; 256]; 8], mut state: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    for word in words {
        let [a, b, c, d, e, f, g, h] = (state ^ u64::from_le_bytes(*word)).to_le_bytes().map(usize::from);
        state = tables[7][a] ^ tables[6][b] ^ tables[5][c] ^ tables[4][d];
        state ^= tables[3][e] ^ tables[2][f] ^ tables[1][g] ^ tables[0][h];
    }
    rest.iter().fold(state, |state, byte| state >> 8 ^ tables[0][usize::from(state as u8 ^ byte)])
}

fn straight(tables: &[[u64; 256]; 8], mut state: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    for word in words {
        let [a, b, c, d, e, f, g, h] = (state ^ u64::from_be_bytes(*word)).to_be_bytes().map(usize::from);
        state = tables[7][a] ^ tables[6][b] ^ tables[5][c] ^ tables[4][d];
        state ^= tables[3][e] ^ tables[2][f] ^ tables[1][g] ^ tables[0][h];
    }
    rest.iter().fold(state, |state, byte| state << 8 ^ tables[0][usize::from((state >> 56) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: bit by bit, without a table.
    fn defined(parameters: &Parameters, bytes: &[u8]) -> u128 {
        let Parameters { width, poly, init, refin, refout, xorout } = *parameters;
        let bit = |at: usize| bytes[at / 8] >> if refin { at % 8 } else { 7 - at % 8 } & 1;
        let mask = u128::MAX >> (128 - width);
        let mut state = init;
        for at in 0..8 * bytes.len() {
            let out = (state >> (width - 1)) as u8 & 1 ^ bit(at);
            state = (state << 1 ^ if out == 1 { poly } else { 0 }) & mask;
        }
        (if refout { reflect(state, width) } else { state }) ^ xorout
    }

    #[test]
    fn every_width_agrees_with_the_definition() {
        let bytes: Vec<u8> = (0..40u32).map(|at| (at * 73 + 5) as u8).collect();
        for width in 1..=WIDTH_MAX {
            let mask = u128::MAX >> (128 - width);
            for (refin, refout) in [(false, false), (true, true), (false, true), (true, false)] {
                let poly = 0x8005_04c1_1db7_1021_0fed_cba9_8765_4321 & mask | 1;
                let (init, xorout) = (0x0123_4567_89ab_cdef_5555_aaaa_ffff_1d0f & mask, 0xa5a5_5a5a & mask);
                let parameters = Parameters { width, poly, init, refin, refout, xorout };
                let crc = Crc::new(parameters);
                for len in 0..bytes.len() {
                    let expected = defined(&parameters, &bytes[..len]);
                    assert_eq!(crc.of(&bytes[..len]), expected, "{parameters:?}, {len}");
                }
            }
        }
    }
}
