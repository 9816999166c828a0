//! The virtio model against a driver that does anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::virtio_host::run(data));
