//! What bytes are, as the first of them tell.

use super::unpack::Packing;

/// What something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Zip,
    Tar,
    Packed(Packing),
    /// Something that has a name, and that is not read here.
    Foreign(Foreign),
    /// Text, or bytes without a mark.
    Other,
}

/// What is not read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// With its article.
    pub what: &'static str,
    pub sort: Sort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Holds files, which would be the records.
    Archive,
    /// Holds one file.
    Packed,
    /// A picture, a document, a program: a record, if at all, as a whole.
    Document,
}

/// Marks at the beginning of what is not read here. What is as likely to begin a text has none here: its other
/// bytes tell.
const FOREIGN: [(&[u8], &str, Sort); 27] = [
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", Sort::Archive),
    (b"Rar!\x1a\x07", "a RAR archive", Sort::Archive),
    (b"MSCF\0\0\0\0", "a CAB archive", Sort::Archive),
    (b"!<arch>\n", "an ar archive", Sort::Archive),
    (b"\xed\xab\xee\xdb", "an RPM package", Sort::Archive),
    (b"\xc7\x71", "a cpio archive", Sort::Archive),
    (b"xar!\0\x1c", "a xar archive", Sort::Archive),
    (b"\x1f\x9d", "packed by compress", Sort::Packed),
    (b"LZIP\x01", "packed by lzip", Sort::Packed),
    (b"\x04\x22\x4d\x18", "packed by lz4", Sort::Packed),
    (b"\x89LZO\0", "packed by lzop", Sort::Packed),
    (b"\xff\x06\0\0sNaPpY", "packed by snappy", Sort::Packed),
    (b"]\0\0", "packed by lzma", Sort::Packed),
    (b"\x89PNG", "a PNG picture", Sort::Document),
    (b"\xff\xd8\xff", "a JPEG picture", Sort::Document),
    (b"GIF8", "a GIF picture", Sort::Document),
    (b"II*\0", "a TIFF picture", Sort::Document),
    (b"MM\0*", "a TIFF picture", Sort::Document),
    (b"%PDF-", "a PDF document", Sort::Document),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document", Sort::Document),
    (b"\x7fELF", "a program", Sort::Document),
    (b"\xca\xfe\xba\xbe", "a program", Sort::Document),
    (b"SQLite format 3\0", "an SQLite database", Sort::Document),
    (b"PAR1\x15", "a Parquet table", Sort::Document),
    (b"Obj\x01", "an Avro file", Sort::Document),
    (b"ARROW1\0\0", "an Arrow table", Sort::Document),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", Sort::Document),
];

impl Kind {
    /// What begins with these bytes, of which there are 512 unless it is shorter.
    pub fn of(head: &[u8]) -> Kind {
        match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 6, 6, ..] => Kind::Zip,
            // The mark of a zip in several pieces, or of one that was to be.
            [b'P', b'K', 7, 8, b'P', b'K', 3, 4, ..] => Kind::Zip,
            head => match Packing::of(head) {
                Some(packing) => Kind::Packed(packing),
                None if is_tar(head) => Kind::Tar,
                None => foreign(head).map_or(Kind::Other, Kind::Foreign),
            },
        }
    }
}

fn foreign(head: &[u8]) -> Option<Foreign> {
    // Its mark is of digits, as a table's first cell may be.
    let is_cpio = matches!(head, [b'0', b'7', b'0', b'7', b'0', b'1' | b'2' | b'7', ..])
        && head.get(6..76).is_some_and(|fields| fields.iter().all(u8::is_ascii_hexdigit));
    if is_cpio {
        return Some(Foreign { what: "a cpio archive", sort: Sort::Archive });
    }
    let found = FOREIGN.iter().find(|(mark, ..)| head.starts_with(mark));
    found.map(|&(_, what, sort)| Foreign { what, sort })
}

/// Whether a tar's first block stands there: with its mark, or as tars were before they had one; or its end.
fn is_tar(head: &[u8]) -> bool {
    if head.get(257..262) == Some(b"ustar") {
        return true;
    }
    let Some(block) = head.get(..512) else { return false };
    block.iter().all(|byte| *byte == 0) || has_sum(block)
}

/// A header holds the sum of its bytes, where those of the sum count as spaces.
fn has_sum(block: &[u8]) -> bool {
    let digits = block[148..156].trim_ascii_start();
    let len = digits.iter().take_while(|digit| matches!(digit, b'0'..=b'7')).count();
    let written = str::from_utf8(&digits[..len]).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    block[0] != 0 && written == Some(sum(&block[..148]) + sum(&block[156..]) + 8 * u32::from(b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_tell_what_they_are() {
        for (head, expected) in [
            (&b"PK\x03\x04\x14"[..], Kind::Zip),
            (b"PK\x05\x06", Kind::Zip),
            (b"PKs of text", Kind::Other),
            (b"\x1f\x8b\x08", Kind::Packed(Packing::Gzip)),
            (b"BZh91AY&SY", Kind::Packed(Packing::Bzip2)),
            (b"BZh9 is a name", Kind::Other),
            (b"\xfd7zXZ\0", Kind::Packed(Packing::Xz)),
            (b"\x28\xb5\x2f\xfd", Kind::Packed(Packing::Zstd)),
            (b"\x52\x2a\x4d\x18", Kind::Packed(Packing::Zstd)),
            (b"070701,price\n", Kind::Other),
            (&[0; 512], Kind::Tar),
            (&[0; 511], Kind::Other),
            (b"", Kind::Other),
        ] {
            assert_eq!(Kind::of(head), expected, "{head:?}");
        }
        let cpio = [&b"070701"[..], &[b'0'; 104]].concat();
        for (head, what) in [(&b"7z\xbc\xaf\x27\x1c\0\x04"[..], "a 7z archive"), (&cpio, "a cpio archive")] {
            assert!(matches!(Kind::of(head), Kind::Foreign(foreign) if foreign.what == what));
        }
    }

    #[test]
    fn a_tar_without_a_mark_has_a_sum() {
        let mut header = tar::Header::new_old();
        header.set_path("a").unwrap();
        header.set_size(4);
        header.set_cksum();
        assert_eq!(Kind::of(header.as_bytes()), Kind::Tar);
        header.as_mut_bytes()[0] ^= 1;
        assert_eq!(Kind::of(header.as_bytes()), Kind::Other);
    }
}
