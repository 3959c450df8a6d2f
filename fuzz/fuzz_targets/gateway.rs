//! The whole gateway in a schedule that the bytes choose.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    framegate::testing::simulation::check_schedule(data);
});
