//! A packed virtqueue whose memory the device scribbles over.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::virtio_ring::run(data, true));
