//! ahcid against a controller that lies in registers, memory and interrupts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redbear_fuzz::ahci_driver::run(data));
