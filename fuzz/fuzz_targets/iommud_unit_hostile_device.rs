//! iommud's driver of a unit against one that lies in registers and memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::iommud_unit::run(data));
