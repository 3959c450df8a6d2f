//! Frames that lie in the folder of another topic: found, said, and put where they belong.

use std::fs;
use std::path::Path;
use std::time::Duration;

use framegate::sinks::store::Stamp;
use framegate::sinks::store::index::Entry;
use framegate::wire::{Header, Kind, Scheme, encode};
use serde_json::Value;

use super::{Storing, files, framegate, run};
use crate::support::PATIENCE;
use crate::support::process::Process;

/// A segment of frames with these stamps, each of its topic, its payload its stamp.
pub(super) fn segment(store: &Path, folder: &str, frames: &[(u64, &str)]) {
    let (mut bytes, mut index) = (Vec::new(), Vec::new());
    for &(id, topic) in frames {
        let header = Header { id, ..Header::new(Kind::Data) };
        encode(header, topic.as_bytes(), id.to_string().as_bytes(), &Scheme::Sha256, &mut bytes);
        index.extend(Entry { first: Stamp(id), end: bytes.len() as u64, frames: 1 }.encode());
    }
    let base = store.join(folder).join(Stamp(frames[0].0).to_string());
    fs::create_dir_all(store.join(folder)).unwrap();
    // The fraction of the second is no extension.
    fs::write(format!("{}.frames", base.display()), bytes).unwrap();
    fs::write(format!("{}.index", base.display()), index).unwrap();
}

#[test]
fn what_is_misfiled_is_found_and_put_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    // So that it is a store.
    drop(Storing::start(folder.path(), PATIENCE));
    let second = |n: u64| 1_700_000_000_000_000_000 + n * 1_000_000_000;
    let at = |n, topic| (second(n), topic);
    segment(folder.path(), "b%2Fc", &[at(0, "b/c"), at(4, "b/c")]);
    segment(folder.path(), "a", &[at(1, "a"), at(2, "b/c"), at(3, "a"), at(5, "d")]);
    segment(folder.path(), "a", &[at(6, "b/c")]);
    segment(folder.path(), "b%2Fc", &[at(7, "b/c")]);

    let (code, text, _) = run(&["verify", store]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("2 frames of other topics in the folder of 'a', the first of 'b/c' at byte "),
        "{text}"
    );
    assert!(text.contains(&format!("framegate verify --repair {store} puts")), "{text}");
    let (_, text, _) = run(&["verify", "--json", store]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["misfiled"], &report["frames"]), (&3.into(), &8.into()));

    // Not while a gateway stores there, and nowhere else.
    let storing = Storing::start(folder.path(), PATIENCE);
    let (code, _, said) = run(&["verify", "--repair", store]);
    assert!(code == Some(2) && said.contains("a gateway stores there: stop it first"), "{said}");
    drop(storing);
    let (code, _, said) = run(&["verify", "--repair", folder.path().join("a").to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("this is no store"), "{said}");

    let (code, text, said) = run(&["verify", "--repair", store]);
    assert_eq!((code, said.as_str()), (Some(0), ""), "{text}");
    assert!(text.contains("moved 2 frames of 'b/c' out of the folder of 'a'\n"), "{text}");
    assert!(text.contains("moved 1 frame of 'd' out of the folder of 'a'\n"), "{text}");
    assert!(text.contains("8 frames") && text.ends_with("all intact\n"), "{text}");
    let printed = |args: &[&str]| {
        let (code, printed, said) = run(&[&["tail", "--store", store, "--format", "payload"], args].concat());
        assert_eq!((code, said.as_str()), (Some(0), ""));
        printed.lines().map(|line| line.parse().unwrap()).collect::<Vec<u64>>()
    };
    let seconds = |all: &[u64]| all.iter().map(|n| second(*n)).collect::<Vec<_>>();
    assert_eq!(printed(&[]), seconds(&[0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(printed(&["b/c"]), seconds(&[0, 2, 4, 6, 7]));
    assert_eq!(printed(&["d"]), seconds(&[5]));
    for from in 0..8 {
        let time = std::time::UNIX_EPOCH + Duration::from_nanos(second(from));
        let since = humantime::format_rfc3339(time).to_string();
        let left: Vec<u64> = (from..8).filter(|n| [0, 2, 4, 6, 7].contains(n)).collect();
        assert_eq!(printed(&["b/c", "--since", &since]), seconds(&left), "{since}");
    }
    let (code, text, _) = run(&["verify", "--repair", store]);
    assert!(code == Some(0) && !text.contains("moved"), "{text}");
}

#[test]
fn a_start_says_what_lies_in_the_folder_of_another_topic() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    drop(Storing::start(folder.path(), PATIENCE));
    let at = |n: u64, topic| (1_700_000_000_000_000_000 + n, topic);
    segment(folder.path(), "a", &[at(0, "a"), at(1, "b"), at(2, "b")]);
    // What a crash leaves.
    let [frames] = &files(folder.path(), "frames")[..] else { panic!("one segment") };
    fs::rename(frames, frames.with_extension("open")).unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--store", store];
    let process = Process::start(&mut framegate(&args));
    let line = process.says("lie in the folder of another topic");
    assert!(line.contains(": 2 frames lie") && line.contains("verify --repair"), "{line}");
    process.says(" listening on ");
    process.signal("TERM");
    assert_eq!(process.end().0, 0);
}

#[test]
fn a_repair_that_was_not_finished_is_said_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let mut storing = Storing::start(folder.path(), PATIENCE);
    storing.put("a");
    drop(storing);
    let base = files(folder.path(), "frames")[0].file_stem().unwrap().to_str().unwrap().to_owned();
    let list = folder.path().join(".repair");
    fs::write(&list, format!("put a/{base}\n")).unwrap();
    let (code, text, _) = run(&["verify", store]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("a repair was not finished: run framegate verify --repair once more"), "{text}");
    let (code, text, _) = run(&["verify", "--repair", store]);
    assert!(code == Some(0) && text.ends_with("all intact\n") && !list.exists(), "{text}");
}

#[test]
fn what_belongs_in_a_damaged_segment_stays_and_the_rest_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    drop(Storing::start(folder.path(), PATIENCE));
    let at = |n: u64, topic| (1_700_000_000_000_000_000 + n * 1_000_000_000, topic);
    segment(folder.path(), "b", &[at(0, "b"), at(4, "b")]);
    segment(folder.path(), "a", &[at(1, "a"), at(2, "b"), at(3, "d"), at(6, "b")]);
    segment(folder.path(), "c", &[at(5, "d")]);
    let [damaged] = &files(&folder.path().join("b"), "frames")[..] else { panic!("one segment") };
    let intact = fs::read(damaged).unwrap();
    let mut bytes = intact.clone();
    bytes[intact.len() / 2 + 4] ^= 0xff;
    fs::write(damaged, &bytes).unwrap();

    let left = format!("left {} as it is: byte ", damaged.display());
    for moved in [true, false] {
        let (code, text, said) = run(&["verify", "--repair", store]);
        assert_eq!((code, said.as_str()), (Some(1), ""), "{text}");
        // The frame of 6 s comes after all that the damaged segment holds, by its index.
        for line in [("b", "a"), ("d", "a"), ("d", "c")] {
            let line = format!("moved 1 frame of '{}' out of the folder of '{}'\n", line.0, line.1);
            assert_eq!(text.contains(&line), moved, "{text}");
        }
        assert!(text.contains(&left) && text.contains(": 1 frame that would go there not moved;"), "{text}");
        assert_eq!(fs::read(damaged).unwrap(), bytes);
        assert_eq!(files(&folder.path().join("b"), "frames").len(), 2);
    }
    let (_, text, _) = run(&["verify", "--repair", "--json", store]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["left"][0]["frames"], 1, "{text}");
    fs::write(damaged, intact).unwrap();
    let (code, text, _) = run(&["verify", "--repair", store]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("moved 1 frame of 'b' out of the folder of 'a'\n") && !text.contains("left"),
        "{text}"
    );
}
