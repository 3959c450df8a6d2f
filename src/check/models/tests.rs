//! The checks driven by random bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_in_pieces_is_the_whole_stream(data in vec(any::<u8>(), 0..1500)) {
        check_decoder(&data);
    }

    #[test]
    fn a_large_frame_in_pieces_is_the_whole_frame(data in vec(any::<u8>(), 0..400)) {
        check_pieces(&data);
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
    fn the_tree_is_the_list(data in vec(any::<u8>(), 0..1500)) {
        check_topics(&data);
    }

    #[test]
    fn the_outbox_is_the_list(data in vec(any::<u8>(), 0..1000)) {
        check_outbox(&data);
    }

    #[test]
    fn the_shares_are_the_arithmetic(data in vec(any::<u8>(), 0..1500)) {
        check_memory(&data);
    }
}
