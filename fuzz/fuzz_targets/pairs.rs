//! Messages hashed two at a time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_pairs(data);
});
