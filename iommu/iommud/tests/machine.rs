//! What the daemon asks of Linux.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
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

/// Needs CAP_SYS_ADMIN, as pagemap does.
#[test]
fn memory_of_the_daemon_is_whole_and_stays_so() {
    const LEN: u64 = 3 * 4096;
    let (pages, memory) = match Machine.allocate(LEN) {
        Ok(made) => made,
        Err(error) => {
            assert_eq!(error.errno(), errno::ENOMEM, "{error}");
            eprintln!("not tested here: {error}");
            return;
        }
    };
    let len = u32::try_from(LEN).unwrap();
    let segments: Vec<_> = pages.segments(0, len).unwrap().collect();
    assert_eq!(segments.iter().map(|segment| segment.len).sum::<u32>(), len);
    assert!(segments.iter().all(|segment| segment.addr.get() != 0));
    let memory = File::from(memory);
    assert_eq!(memory.metadata().unwrap().len(), LEN);
    assert!(memory.set_len(0).is_err() && memory.set_len(2 * LEN).is_err());
    memory.write_all_at(b"whoever has the descriptor can", LEN - 4096).unwrap();
}
