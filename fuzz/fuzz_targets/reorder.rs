//! The reorder window, the memory that bounds what it holds, the calls that wait for their turn, and the window of
//! digests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_reorder(data);
    framegate::testing::models::check_memory(data);
    framegate::testing::models::check_calls(data);
    framegate::testing::models::check_dedup(data);
});
