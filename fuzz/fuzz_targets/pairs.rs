//! Messages hashed two at a time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_pairs(data);
});
