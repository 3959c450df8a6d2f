//! Topics, patterns and who is found.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_topics(data);
});
