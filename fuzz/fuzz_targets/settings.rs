//! Sizes, times and ranges as people write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_settings(data);
});
