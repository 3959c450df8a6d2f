//! Archives, whole and damaged, against the list of what was put into them.

use std::io::Write;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::Choices;
use super::scratch::Scratch;
use crate::tools::records::{Cut, Flaw, Found, LeftOut, Walk};

const NAMES: [&str; 7] = ["a", "b/c.csv", "ü", "../d", "/e", "f", "__MACOSX/._a"];

/// Of more files nothing new is learned.
const FILES: usize = 5;

/// Bytes of a file: more than the largest record has.
const FILE_MAX: usize = 500;

/// `one` and `two`, a line each, as xz packs them: what packs is no part of this crate.
const XZ: &[u8] =
    b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0t/\xe5\xa3\x01\0\x07one\ntwo\n\0Q\xab\x9e\xafWupI\0\
    \x01 \x08\xbb\x19\xd9\xbb\x1f\xb6\xf3}\x01\0\0\0\0\x04YZ";

/// What was done to the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Cut,
    Damaged,
}

/// The files of an archive come in order, whole or with the reason why not, and of one that is cut at any byte none is
/// lost without a word; of any bytes at all no record is larger than allowed.
pub fn check_archive(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut files: Vec<(&str, Vec<u8>)> = (0..choices.below(FILES))
        .map(|_| (NAMES[choices.below(NAMES.len())], choices.payload(FILE_MAX)))
        .collect();
    let kind = choices.below(8);
    if kind < 3 {
        // The library writes no name that leads out.
        files.iter_mut().for_each(|(name, _)| *name = name.trim_start_matches(['.', '/']));
    }
    let (extension, mut bytes) = match kind {
        0 => ("zip", zip(&files, CompressionMethod::STORE)),
        1 => ("zip", zip(&files, CompressionMethod::DEFLATE)),
        2 => ("zip", [b"#!/bin/sh\n", &zip(&files, CompressionMethod::STORE)[..]].concat()),
        3 => ("tar", tar(&files)),
        4 => ("tgz", gzip(&tar(&files))),
        5 => ("tbz2", bzip2(&tar(&files))),
        6 => ("tar.zst", zstd(&tar(&files))),
        _ if choices.flip() => ("", XZ.to_vec()),
        _ => ("", choices.bytes(1000).to_vec()),
    };
    let cut = [None, Some(Cut::File), Some(Cut::Line), Some(Cut::Row)][choices.below(4)];
    let max = 1 + choices.below(300);
    let done = match choices.below(4) {
        0 if !bytes.is_empty() => {
            for _ in 0..choices.below(4) {
                let at = choices.below(bytes.len());
                bytes[at] ^= choices.byte();
            }
            bytes.extend_from_slice(choices.bytes(600));
            Done::Damaged
        }
        1 if !bytes.is_empty() => {
            bytes.truncate(choices.below(bytes.len()));
            Done::Cut
        }
        _ => Done::Nothing,
    };

    let scratch = Scratch::called(extension);
    scratch.write(&bytes);
    let mut found = Vec::new();
    let walk = Walk { keep_blank: choices.flip(), ..Walk::new(cut, max) };
    let walked = walk.file(scratch.path(), &mut |name, one| {
        if let Found::Record(_, body) = &one {
            assert!(body.len() <= max, "{name} is larger than {max}");
        }
        found.push((name.to_owned(), one));
        ControlFlow::Continue(())
    });
    if let Err(why) = &walked {
        assert!(why.to_string().lines().count() == 1, "{why}");
    }
    if extension.is_empty() || done == Done::Damaged || !matches!(cut, None | Some(Cut::File)) {
        return;
    }
    let expected: Vec<_> = files
        .into_iter()
        .map(|(name, body)| {
            let found = match body {
                _ if name.starts_with("__MACOSX") => Found::LeftOut(LeftOut::MacMetadata),
                body if body.len() > max => Found::Flawed(Flaw::TooLarge(max)),
                body => Found::Record(Cut::File, body),
            };
            (name.to_owned(), found)
        })
        .collect();
    if done == Done::Nothing {
        assert!(walked.is_ok(), "{walked:?}");
        assert_eq!(found, expected);
        return;
    }
    let whole = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
    assert!(found.len() <= whole + 1, "what came behind a flaw is none of it: {found:?}");
    match (found.get(whole), &walked) {
        // Of a piece with its name gone all is posted where it is said that a file is a record.
        (Some((_, Found::Record(..))), _) if cut.is_some() && bytes.len() < 512 => {}
        (None, Ok(_)) => assert_eq!(whole, expected.len(), "some are lost"),
        (Some((name, Found::Record(..) | Found::LeftOut(_))), _) => panic!("{name} was not in it"),
        _ => {}
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

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packed.write_all(bytes).expect("memory takes everything");
    packed.finish().expect("memory takes everything")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("memory takes everything")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory takes everything");
    packed.finish().expect("memory takes everything")
}
