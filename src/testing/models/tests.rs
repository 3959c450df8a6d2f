//! The checks driven by random bytes, and by every file that a fuzz run left behind.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::simulation::check_schedule;

type Check = fn(&[u8]);

/// Each fuzz target's corpus, and what it is for.
const CORPORA: [(&str, &[Check]); 22] = [
    ("framer", &[check_framer]),
    ("decoder", &[check_decoder]),
    ("batch", &[check_batch]),
    ("pieces", &[check_pieces]),
    ("pairs", &[check_pairs]),
    ("draft", &[check_draft]),
    ("topics", &[check_topics]),
    ("reorder", &[check_reorder, check_steps]),
    ("memory", &[check_memory]),
    ("calls", &[check_calls]),
    ("parts", &[check_parts]),
    ("histogram", &[check_histogram]),
    ("settings", &[check_settings]),
    ("layouts", &[check_layouts]),
    ("access", &[check_access, check_covers]),
    ("outbox", &[check_outbox]),
    ("dedup", &[check_dedup]),
    ("store", &[check_any_store]),
    ("gateway", &[check_schedule]),
    ("http", &[check_http]),
    ("journal", &[check_journals]),
    ("archive", &[check_archive]),
];

#[test]
fn every_corpus_file_passes() {
    for (target, checks) in CORPORA {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut replayed = 0;
        for file in files {
            let path = file.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            // Shown with a failure alone: the last one named is the one that failed.
            println!("{}", path.display());
            checks.iter().for_each(|check| check(&data));
            replayed += 1;
        }
        assert!(replayed > 0, "{} is empty", folder.display());
    }
}

#[test]
fn every_fuzz_target_has_a_corpus_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut targets: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut named: Vec<&str> = CORPORA.iter().map(|(target, _)| *target).collect();
    targets.sort_unstable();
    named.sort_unstable();
    assert_eq!(targets, named);
}

/// A stranger's `cargo fuzz run framer` must not wait for the whole program.
#[test]
fn pure_targets_need_no_feature() {
    let manifest = include_str!("../../../fuzz/Cargo.toml");
    let bins: Vec<&str> = manifest.split("[[bin]]").skip(1).collect();
    assert_eq!(bins.len(), CORPORA.len());
    for bin in bins {
        let (_, rest) = bin.split_once("name = \"").unwrap();
        let target = &rest[..rest.find('"').unwrap()];
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{target}.rs"));
        let is_pure = std::fs::read_to_string(source).unwrap().contains("framegate_pure::");
        assert_eq!(bin.contains("required-features"), !is_pure, "{target}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_in_pieces_is_the_whole_stream(data in vec(any::<u8>(), 0..1500)) {
        check_decoder(&data);
    }

    #[test]
    fn a_short_stream_may_be_broken_anywhere(data in vec(any::<u8>(), 0..200)) {
        check_every_split(&data);
    }

    #[test]
    fn any_bytes_in_two_pieces_are_the_whole(data in vec(any::<u8>(), 0..400)) {
        check_framer(&data);
    }

    #[test]
    fn a_frame_that_is_made_is_the_one_that_is_encoded(data in vec(any::<u8>(), 0..300)) {
        check_draft(&data);
    }

    #[test]
    fn the_histogram_is_the_list(data in vec(any::<u8>(), 0..600)) {
        check_histogram(&data);
    }

    #[test]
    fn what_is_written_is_read(data in vec(any::<u8>(), 0..100)) {
        check_settings(&data);
    }

    #[test]
    fn a_layout_means_what_it_declares(data in vec(any::<u8>(), 0..500)) {
        check_layouts(&data);
    }

    #[test]
    fn an_access_file_means_what_it_says(data in vec(any::<u8>(), 0..300)) {
        check_access(&data);
    }

    #[test]
    fn a_pattern_is_covered_if_its_topics_are(data in vec(any::<u8>(), 0..16)) {
        check_covers(&data);
    }

    #[test]
    fn steps_keep_the_order(data in vec(any::<u8>(), 0..1500)) {
        check_steps(&data);
    }

    #[test]
    fn a_large_frame_in_pieces_is_the_whole_frame(data in vec(any::<u8>(), 0..400)) {
        check_pieces(&data);
    }

    #[test]
    fn each_of_two_hashed_at_once_is_itself(data in vec(any::<u8>(), 0..400)) {
        check_pairs(&data);
    }

    #[test]
    fn a_batch_is_its_frames(data in vec(any::<u8>(), 0..1500)) {
        check_batch(&data);
    }

    #[test]
    fn the_window_keeps_the_order(data in vec(any::<u8>(), 0..1500)) {
        check_reorder(&data);
    }

    #[test]
    fn calls_are_bounded_and_fair(data in vec(any::<u8>(), 0..1500)) {
        check_calls(&data);
    }

    #[test]
    fn the_deduplication_window_is_the_list(data in vec(any::<u8>(), 0..1500)) {
        check_dedup(&data);
    }

    #[test]
    fn the_tree_is_the_list(data in vec(any::<u8>(), 0..1500)) {
        check_topics(&data);
    }

    #[test]
    fn a_response_in_pieces_is_the_whole_response(data in vec(any::<u8>(), 0..800)) {
        check_http(&data);
    }

    #[test]
    fn a_short_response_may_be_broken_anywhere(data in vec(any::<u8>(), 0..200)) {
        check_every_http_split(&data);
    }

    #[test]
    fn the_outbox_is_the_list(data in vec(any::<u8>(), 0..1000)) {
        check_outbox(&data);
    }

    #[test]
    fn the_shares_are_the_arithmetic(data in vec(any::<u8>(), 0..1500)) {
        check_memory(&data);
    }

    #[test]
    fn the_store_holds_what_it_confirmed(data in vec(any::<u8>(), 0..1500)) {
        check_store(&data);
    }

    #[test]
    fn nothing_is_removed_early_whatever_clocks_do(data in vec(any::<u8>(), 0..600)) {
        check_clocks(&data);
    }

    #[test]
    fn any_bytes_are_recovered(data in vec(any::<u8>(), 0..600)) {
        check_recovery(&data);
    }

    #[test]
    fn misfiled_frames_come_where_they_belong(data in vec(any::<u8>(), 0..1500)) {
        check_repair(&data);
    }

    #[test]
    fn products_are_the_map(data in vec(any::<u8>(), 0..1500)) {
        check_parts(&data);
    }

    #[test]
    fn a_journal_knows_what_was_written(data in vec(any::<u8>(), 0..600)) {
        check_journal(&data);
    }

    #[test]
    fn any_bytes_as_a_journal(data in vec(any::<u8>(), 0..600)) {
        check_any_journal(&data);
    }

    #[test]
    fn an_archive_gives_what_was_put_into_it(data in vec(any::<u8>(), 0..1500)) {
        check_archive(&data);
    }
}
