//! The files of a zip, entry by entry along its directory: neither that nor a file is ever in memory whole.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::walk::{Visit, Walk};
use super::{Cut, Flaw};

pub(super) fn walk(file: File, walk: &Walk, visit: Visit<'_>) -> io::Result<ControlFlow<()>> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(|why| broken(&why))?;
    let announced = archive.entries_hint();
    walk.extent.set_entries(announced);
    let mut entries = archive.entries(&mut buffer);
    let mut seen = 0;
    while let Some(entry) = entries.next_entry().map_err(|why| broken(&why))? {
        seen += 1;
        if entry.is_dir() {
            continue;
        }
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        let method = entry.compression_method();
        let flaw = if entry.flags().is_encrypted() {
            Some(Flaw::Encrypted)
        } else if entry.uncompressed_size_hint() > walk.max as u64 && walk.is_whole() {
            // It need not be unpacked to see that; one that lies about it is caught as it unpacks.
            Some(Flaw::TooLarge(walk.max))
        } else {
            None
        };
        let wayfinder = entry.wayfinder();
        let ended = match (flaw, archive.get_entry(wayfinder)) {
            (Some(flaw), _) => visit(Cut::File, &name, Err(flaw)),
            (None, Err(why)) => visit(Cut::File, &name, Err(Flaw::Damaged(why.to_string()))),
            (None, Ok(found)) => match method {
                CompressionMethod::STORE => walk.member(&name, found.verifying_reader(found.reader()), visit),
                CompressionMethod::DEFLATE => {
                    walk.member(&name, found.verifying_reader(DeflateDecoder::new(found.reader())), visit)
                }
                method => visit(Cut::File, &name, Err(Flaw::Method(format!("{method:?}")))),
            },
        };
        if ended.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if seen < announced {
        return Err(io::Error::other(format!("its directory holds {seen} entries of {announced}")));
    }
    Ok(ControlFlow::Continue(()))
}

fn broken(why: &rawzip::Error) -> io::Error {
    io::Error::other(format!("this is no whole zip: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Extent;
    use rawzip::ZipArchiveWriter;
    use std::io::Write;

    fn zip(files: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
        let mut archive = ZipArchiveWriter::new(Vec::new());
        for (name, body, method) in files {
            let (mut entry, config) = archive.new_file(name).compression_method(*method).start().unwrap();
            let descriptor = if *method == CompressionMethod::DEFLATE {
                let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::best());
                let mut writer = config.wrap(encoder);
                writer.write_all(body).unwrap();
                let (encoder, descriptor) = writer.finish().unwrap();
                encoder.finish().unwrap();
                descriptor
            } else {
                let mut writer = config.wrap(&mut entry);
                writer.write_all(body).unwrap();
                writer.finish().unwrap().1
            };
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap()
    }

    type All = Vec<(String, Result<usize, Flaw>)>;

    fn all(bytes: &[u8], cut: Option<Cut>, max: usize) -> Result<All, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        let walk = Walk { cut, max, extent: Extent::default() };
        let walked = walk.file(&path, &mut |_, name, body| {
            all.push((name.to_owned(), body.map(|body| body.len())));
            ControlFlow::Continue(())
        });
        walked.map(|_| all).map_err(|why| why.to_string())
    }

    #[test]
    fn one_bad_file_does_not_hide_the_others() {
        let (stored, packed) = (CompressionMethod::STORE, CompressionMethod::DEFLATE);
        let zeros = vec![0; 1 << 20];
        let files: [(&str, &[u8], CompressionMethod); 5] = [
            ("a", b"stored", stored),
            ("b", &zeros, packed),
            ("c", b"to be damaged", stored),
            ("sub/d", b"last", packed),
            ("empty", b"", stored),
        ];
        let mut bytes = zip(&files);
        let at = bytes.windows(5).position(|window| window == b"to be").unwrap();
        bytes[at] ^= 1;
        let got = all(&bytes, None, 1000).unwrap();
        let names: Vec<&str> = got.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "sub/d", "empty"]);
        assert_eq!(got[0].1, Ok(6));
        assert_eq!(got[1].1, Err(Flaw::TooLarge(1000)));
        assert!(matches!(&got[2].1, Err(Flaw::Damaged(_))), "{:?}", got[2]);
        assert_eq!((&got[3].1, &got[4].1), (&Ok(4), &Ok(0)));
        assert_eq!(all(&bytes, None, 1 << 20).unwrap()[1].1, Ok(1 << 20));
        let lines = all(&bytes, Some(Cut::Line), 1000).unwrap();
        assert_eq!(lines[0], ("a line 1".to_owned(), Ok(6)));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let mut bytes = zip(&[("a", b"x", CompressionMethod::STORE), ("b", b"y", CompressionMethod::STORE)]);
        let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        // The flags and the method of the first entry of the directory.
        let (flags, method) = (directory + 8, directory + 10);
        bytes[flags] |= 1;
        assert_eq!(all(&bytes, None, 10).unwrap()[0].1, Err(Flaw::Encrypted));
        bytes[flags] &= !1;
        bytes[method] = 14;
        assert!(matches!(&all(&bytes, None, 10).unwrap()[0].1, Err(Flaw::Method(_))));
        let cut = all(&bytes[..bytes.len() - 30], None, 10).unwrap_err();
        assert!(cut.contains("no whole zip"), "{cut}");
    }

    #[test]
    fn a_liar_about_its_size_is_caught_as_it_unpacks() {
        let mut bytes = zip(&[("a", &vec![0; 1 << 20], CompressionMethod::DEFLATE)]);
        let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        bytes[directory + 24..directory + 28].copy_from_slice(&10u32.to_le_bytes());
        let got = all(&bytes, None, 1000).unwrap();
        assert!(matches!(&got[0].1, Err(Flaw::TooLarge(1000) | Flaw::Damaged(_))), "{got:?}");
    }
}
