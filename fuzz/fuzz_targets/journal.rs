//! The journal of `post`, broken off and damaged, and any bytes as one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_journals(data);
});
