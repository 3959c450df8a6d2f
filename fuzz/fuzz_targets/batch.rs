//! Verdicts and views of batches and of large frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_batch(data);
    framegate::testing::models::check_pieces(data);
});
