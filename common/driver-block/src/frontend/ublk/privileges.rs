//! What the daemon may do once its disks are served.
//!
//! The kernel scans a new disk's partitions only if the threads that fetch its requests have CAP_SYS_ADMIN, and control
//! commands need it, so that one stays; memory for a disk that appears later is pinned for DMA, which needs CAP_IPC_LOCK.
//! Everything else goes: a daemon that was taken over by what its device says cannot reach other processes, load modules,
//! speak to the network as an administrator or get anything back.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Keeps CAP_SYS_ADMIN and CAP_IPC_LOCK and gives up every other capability of the calling thread, and of the threads that it starts
/// later, for good.
///
/// # Errors
/// What the kernel answers.
pub fn drop_privileges() -> io::Result<()> {
    let kept = CapabilitySet::SYS_ADMIN | CapabilitySet::IPC_LOCK;
    set_no_new_privs(true)?;
    for capability in CapabilitySet::all().difference(kept).iter() {
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    Ok(())
}
