//! A declaration of foreign frames and a stream, both made of the input, against what the declaration means.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_layouts(data);
});
