//! The IOMMU model against a host that does anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::amd_vi_host::run(data));
