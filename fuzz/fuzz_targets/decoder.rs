//! A stream in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::models::check_decoder(data);
});
