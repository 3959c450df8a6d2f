//! Topics, patterns and who is found.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_topics(data);
});
