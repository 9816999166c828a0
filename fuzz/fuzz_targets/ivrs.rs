//! Any bytes as firmware's table of IOMMUs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::ivrs::run(data));
