//! What the daemon asks of Linux.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use iommu_protocol::errno;
use iommud::{linux::Machine, service::System};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

fn memory(seals: SealFlags) -> OwnedFd {
    let memory = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memory, 4096).unwrap();
    fcntl_add_seals(&memory, seals).unwrap();
    memory
}

#[test]
fn memory_that_a_device_could_not_be_lent_is_refused_as_the_protocol_says() {
    let whole = memory(SealFlags::SHRINK);
    let reading = File::open(format!("/proc/self/fd/{}", whole.as_raw_fd())).unwrap();
    for (what, memory) in [
        ("no memfd", File::open("/dev/zero").unwrap().into()),
        ("not sealed", memory(SealFlags::empty())),
        ("sealed against writing", memory(SealFlags::SHRINK | SealFlags::WRITE)),
        ("sealed against more writing", memory(SealFlags::SHRINK | SealFlags::FUTURE_WRITE)),
        ("opened for reading", OwnedFd::from(reading)),
    ] {
        let error = Machine.adopt(memory.as_fd(), 1 << 20).unwrap_err();
        assert_eq!(error.errno(), errno::EACCES, "{what}: {error}");
    }
}
