//! Any bytes as a stream, cut at once and decoded in two pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_framer(data);
});
