//! Streams of frames, damaged or not, in a few pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_decoder(data);
});
