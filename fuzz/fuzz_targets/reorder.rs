//! The reorder window, and the steps that may be overtaken by many.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate_pure::models::check_reorder(data);
    framegate_pure::models::check_steps(data);
});
