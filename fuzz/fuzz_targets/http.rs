//! A response in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::check::models::check_http(data);
});
