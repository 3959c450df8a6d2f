//! Large frames, hashed as they come.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_pieces(data);
});
