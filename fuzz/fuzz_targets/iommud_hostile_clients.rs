//! iommud against clients that ask for anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::iommud_clients::run(data));
