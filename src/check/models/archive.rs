//! Archives, whole and damaged, against the list of what was put into them.

use std::io::Write;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::choices::Choices;
use super::scratch::Scratch;
use crate::records::{Cut, Extent, Flaw, Walk};

const NAMES: [&str; 6] = ["a", "b/c.csv", "ü", "../d", "/e", "f"];

/// Of more files nothing new is learned.
const FILES: usize = 6;

/// The files of an archive come in order, whole or with the reason why not; of any bytes at all no record is
/// larger than allowed.
pub fn check_archive(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut files: Vec<(&str, Vec<u8>)> = (0..choices.below(FILES))
        .map(|_| (NAMES[choices.below(NAMES.len())], choices.payload(2000)))
        .collect();
    let kind = choices.below(5);
    if kind < 2 {
        // The library writes no name that leads out.
        files.iter_mut().for_each(|(name, _)| *name = name.trim_start_matches(['.', '/']));
    }
    let (is_archive, mut bytes) = match kind {
        0 => (true, zip(&files, CompressionMethod::STORE)),
        1 => (true, zip(&files, CompressionMethod::DEFLATE)),
        2 => (true, tar(&files)),
        3 => (true, gzip(&tar(&files))),
        _ => (false, choices.bytes(2000).to_vec()),
    };
    let cut = [None, Some(Cut::File), Some(Cut::Line), Some(Cut::Row)][choices.below(4)];
    let max = 1 + choices.below(300);
    let mut is_whole = is_archive && !files.is_empty();
    if choices.flip() && !bytes.is_empty() {
        is_whole = false;
        for _ in 0..choices.below(4) {
            let at = choices.below(bytes.len());
            bytes[at] ^= choices.byte();
        }
        bytes.truncate(bytes.len() - choices.below(bytes.len()) * usize::from(choices.flip()));
        bytes.extend_from_slice(choices.bytes(600));
    }

    let scratch = Scratch::new();
    scratch.write(&bytes);
    let mut found = Vec::new();
    let walk = Walk { cut, max, extent: Extent::default() };
    let walked = walk.file(scratch.path(), &mut |_, name, body| {
        assert!(body.as_ref().map_or(0, Vec::len) <= max, "{name} is larger than {max}");
        found.push((name.to_owned(), body));
        ControlFlow::Continue(())
    });
    if let Err(why) = &walked {
        assert!(!is_whole && why.to_string().lines().count() == 1, "{why}");
    }
    if is_whole && matches!(cut, None | Some(Cut::File)) {
        let expected: Vec<_> = files
            .into_iter()
            .map(|(name, body)| {
                let body = match body {
                    _ if name.starts_with(['.', '/']) => Err(Flaw::Name),
                    body if body.len() > max => Err(Flaw::TooLarge(max)),
                    body => Ok(body),
                };
                (name.to_owned(), body)
            })
            .collect();
        assert_eq!(found, expected);
    }
}

fn zip(files: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    const FITS: &str = "memory takes everything";
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, body) in files {
        let (mut entry, config) = archive.new_file(name).compression_method(method).start().expect(FITS);
        let descriptor = if method == CompressionMethod::DEFLATE {
            let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::fast()));
            writer.write_all(body).expect(FITS);
            let (encoder, descriptor) = writer.finish().expect(FITS);
            encoder.finish().expect(FITS);
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(body).expect(FITS);
            writer.finish().expect(FITS).1
        };
        entry.finish(descriptor).expect(FITS);
    }
    archive.finish().expect(FITS)
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        // As above.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory takes everything");
    packed.finish().expect("memory takes everything")
}
