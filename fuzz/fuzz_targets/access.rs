//! An access file, made of the input or the input itself, against what it says; and which patterns cover which.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_access(data);
    framegate_pure::models::check_covers(data);
});
