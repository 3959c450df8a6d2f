//! The files of a zip, entry by entry along its directory: neither that nor a file is ever in memory whole.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use bzip2::read::BzDecoder;
use flate2::read::DeflateDecoder;
use lzma_rust2::{LzmaReader, XzReader, lzma_get_memory_usage_by_props};
use rawzip::{
    CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive, ZipFileHeaderRecord,
    ZipLocator,
};
use zstd::stream::read::Decoder as ZstdDecoder;

use super::walk::{Found, Visit, Walk, is_mac_metadata, shown};
use super::{Flaw, LeftOut};
use crate::core::limits::{POST_UNPACK_MEMORY, POST_UNPACK_WINDOW_LOG};

/// 128 KiB from the end on, in which the end of the directory is looked for: it, the longest comment that there can
/// be behind it, and as much that is no part of the zip.
const END_MAX: u64 = 128 * 1024;

/// How the first entry of a directory begins.
const ENTRY: &[u8; 4] = b"PK\x01\x02";

/// Whether the file ends as zips do, whatever it begins with.
pub(super) fn ends_one(file: &File) -> bool {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    file.try_clone().is_ok_and(|file| locate(file, &mut buffer).is_ok())
}

/// A file, read from where the zip in it begins: its offsets count from there, as a rule.
struct Within {
    file: FileReader,
    begins: u64,
}

impl ReaderAt for Within {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = self.begins.checked_add(offset).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.read_at(buffer, at)
    }
}

/// Finds the end of the directory. The mark that it begins with may stand in the comment behind it as well: of those
/// that are found from the end on, the first that leads to a directory counts.
fn locate(file: File, buffer: &mut [u8]) -> io::Result<ZipArchive<Within>> {
    let mut file = FileReader::from(file);
    let len = file.seek(SeekFrom::End(0))?;
    let mut reader = Within { file, begins: 0 };
    let mut before = len;
    loop {
        let space = END_MAX.saturating_sub(len - before);
        let locator = ZipLocator::new().max_search_space(space);
        let archive = match locator.locate_in_reader(reader, buffer, before) {
            Ok(archive) => archive,
            Err((back, why)) => match why.eocd_offset().filter(|_| space > 0) {
                Some(at) => {
                    (reader, before) = (back, at);
                    continue;
                }
                None => return Err(broken(&why)),
            },
        };
        let is_empty = is_empty(&archive)?;
        if is_empty && archive.end_offset() == len {
            return Ok(archive);
        }
        if is_empty || !is_directory(archive.get_ref(), archive.directory_offset()) {
            before = archive.eocd_offset();
            reader = archive.into_inner();
            continue;
        }
        // What its offsets lead to in this file may belong to another zip before it.
        let begins = begins(&archive)?;
        if begins == 0 {
            return Ok(archive);
        }
        reader = archive.into_inner();
        reader.begins = begins;
        return locator.locate_in_reader(reader, buffer, before - begins).map_err(|(_, why)| broken(&why));
    }
}

fn is_directory(reader: &Within, at: u64) -> bool {
    let mut mark = [0; ENTRY.len()];
    reader.read_exact_at(&mut mark, at).is_ok() && mark == *ENTRY
}

/// Whether there is nothing in it. A count of 0 alone may be one of 65,536.
fn is_empty(archive: &ZipArchive<Within>) -> io::Result<bool> {
    Ok(archive.entries_hint() == 0 && directory(archive)?.0 == 0)
}

/// How long its directory is, and where it says that this begins.
fn directory(archive: &ZipArchive<Within>) -> io::Result<(u64, u64)> {
    let mut numbers = [0; 8];
    archive.get_ref().read_exact_at(&mut numbers, archive.eocd_offset() + 12)?;
    let [a, b, c, d, rest @ ..] = numbers;
    Ok((u32::from_le_bytes([a, b, c, d]).into(), u32::from_le_bytes(rest).into()))
}

/// How many bytes there are before the zip: its directory stands right before its end.
fn begins(archive: &ZipArchive<Within>) -> io::Result<u64> {
    let (size, offset) = directory(archive)?;
    let at = archive.eocd_offset().checked_sub(size);
    Ok(match at.and_then(|at| at.checked_sub(offset)) {
        Some(begins) if size > 0 && is_directory(archive.get_ref(), begins + offset) => begins,
        _ => 0,
    })
}

pub(super) fn walk(file: File, walk: &Walk, visit: Visit<'_>) -> io::Result<ControlFlow<()>> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = locate(file, &mut buffer)?;
    let announced = archive.entries_hint();
    walk.extent.set_entries(announced);
    let (mut seen, mut first) = (0, u64::MAX);
    let is_empty = is_empty(&archive)?;
    let mut entries = archive.entries(&mut buffer);
    while !is_empty && let Some(entry) = entries.next_entry().map_err(|why| broken(&why))? {
        seen += 1;
        first = first.min(entry.local_header_offset());
        if member(&archive, &entry, walk, visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if seen < announced {
        return Err(io::Error::other(format!("its directory holds {seen} entries of {announced}")));
    }
    around(&archive, &mut buffer, first)?;
    Ok(ControlFlow::Continue(()))
}

/// That there is no other zip before it, and nothing but zeros behind it.
fn around(archive: &ZipArchive<Within>, buffer: &mut [u8], first: u64) -> io::Result<()> {
    let reader = archive.get_ref();
    let before = first.checked_add(reader.begins).filter(|_| first < u64::MAX).unwrap_or(0);
    let mut mark = [0; 4];
    let begins_one = before > 0 && reader.file.read_exact_at(&mut mark, 0).is_ok() && mark == *b"PK\x03\x04";
    let locator = ZipLocator::new().max_search_space(END_MAX);
    if begins_one && locator.locate_in_reader(&reader.file, buffer, before).is_ok() {
        let why = format!("another zip stands in its first {before} bytes: take the two apart");
        return Err(io::Error::other(why));
    }
    let mut at = archive.end_offset();
    loop {
        let n = reader.read_at(buffer, at)?;
        if n == 0 {
            return Ok(());
        }
        if buffer[..n].iter().any(|byte| *byte != 0) {
            return Err(io::Error::other("there is data behind the end of the zip"));
        }
        at += n as u64;
    }
}

fn member(
    archive: &ZipArchive<Within>,
    entry: &ZipFileHeaderRecord<'_>,
    walk: &Walk,
    visit: Visit<'_>,
) -> ControlFlow<()> {
    let name = shown(entry.file_path().as_bytes());
    let size = entry.uncompressed_size_hint();
    // The kinds of files, as Unix has them.
    let left_out = match entry.mode().value() & 0o170_000 {
        _ if entry.is_dir() => Some(LeftOut::Folder),
        0o040_000 => Some(LeftOut::Folder),
        0o120_000 => Some(LeftOut::Link(String::new())),
        0o020_000 | 0o060_000 => Some(LeftOut::Device),
        0o010_000 | 0o140_000 => Some(LeftOut::Pipe),
        _ if is_mac_metadata(&name) => Some(LeftOut::MacMetadata),
        _ => None,
    };
    match left_out {
        Some(LeftOut::Folder) if size > 0 => {
            let why = format!("it is a folder, and holds {size} bytes");
            return visit(&name, Found::Flawed(Flaw::Damaged(why)));
        }
        Some(left_out) => return visit(&name, Found::LeftOut(left_out)),
        None => {}
    }
    if entry.flags().is_encrypted() {
        return visit(&name, Found::Flawed(Flaw::Encrypted));
    }
    if size > walk.max as u64 && walk.is_whole() {
        return visit(&name, Found::Flawed(Flaw::TooLarge(walk.max)));
    }
    let found = match archive.get_entry(entry.wayfinder()) {
        Ok(found) => found,
        Err(why) => return visit(&name, Found::Flawed(Flaw::Damaged(why.to_string()))),
    };
    match unpacked(entry.compression_method(), found.reader(), size) {
        Ok(Some(read)) => walk.member(&name, found.verifying_reader(read), size, visit),
        Ok(None) => {
            let method = entry.compression_method().to_string();
            visit(&name, Found::Flawed(Flaw::Method(method)))
        }
        Err(why) => visit(&name, Found::Flawed(Flaw::Damaged(why.to_string()))),
    }
}

/// What `read` holds, of `size` bytes, if it is packed in a way that is read here.
fn unpacked<'a>(
    method: CompressionMethod,
    read: impl Read + 'a,
    size: u64,
) -> io::Result<Option<Box<dyn Read + 'a>>> {
    let kib = u32::try_from(POST_UNPACK_MEMORY / 1024).unwrap_or(u32::MAX);
    Ok(Some(match method {
        CompressionMethod::STORE => Box::new(read),
        CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(read)),
        CompressionMethod::BZIP2 => Box::new(BzDecoder::new(read)),
        CompressionMethod::XZ => Box::new(XzReader::new_mem_limit(BufReader::new(read), false, kib)),
        CompressionMethod::ZSTD => {
            let mut decoder = ZstdDecoder::new(read)?;
            decoder.window_log_max(POST_UNPACK_WINDOW_LOG)?;
            Box::new(decoder)
        }
        CompressionMethod::LZMA => {
            // The version of what packed it, the length of the properties, and those.
            let (mut head, mut read) = ([0; 9], BufReader::new(read));
            read.read_exact(&mut head)?;
            let dictionary = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
            if head[2..4] != [5, 0] || lzma_get_memory_usage_by_props(dictionary, head[4])? > kib {
                return Ok(None);
            }
            Box::new(LzmaReader::new_with_props(read, size, head[4], dictionary, None)?)
        }
        _ => return Ok(None),
    }))
}

fn broken(why: &rawzip::Error) -> io::Error {
    io::Error::other(format!("this zip is not complete: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::records::Cut;
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
        let walked = Walk::new(cut, max).file(&path, &mut |name, found| {
            all.push((
                name.to_owned(),
                match found {
                    Found::Record(_, body) => Ok(body.len()),
                    Found::Flawed(flaw) => Err(flaw),
                    Found::LeftOut(what) => panic!("{what}"),
                },
            ));
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
        bytes[method] = 98;
        assert!(matches!(&all(&bytes, None, 10).unwrap()[0].1, Err(Flaw::Method(_))));
        let cut = all(&bytes[..bytes.len() - 30], None, 10).unwrap_err();
        assert!(cut.contains("this zip is not complete"), "{cut}");
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
