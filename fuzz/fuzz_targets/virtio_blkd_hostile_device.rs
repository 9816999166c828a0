//! virtio-blkd against a device that lies in registers, memory and interrupts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::virtio_driver::run(data));
