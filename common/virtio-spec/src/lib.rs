//! Virtual I/O devices as they lie in registers and memory.
//!
//! Drivers and device models share these definitions, so that each field has one place and one citation. Sections are
//! those of Virtual I/O Device (VIRTIO) Version 1.2. Values that a device or a driver supplies are never enums: every bit
//! pattern is a value of its type, and what it means is asked by comparing with the named constants.
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("virtio structures are little-endian and are declared with the machine's integers");

pub mod blk;
mod features;
pub mod net;
pub mod packed;
pub mod pci;
pub mod split;
mod status;

pub use features::Features;
pub use status::DeviceStatus;

/// Whether a side that wants to hear of index `event` is to be notified, now that its counterpart has gone from index `old` to
/// `new` (section 2.7.7.1, `vring_need_event`). All of them wrap.
#[inline(always)]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::need_event;

    #[test]
    fn an_event_is_due_when_its_index_was_passed() {
        assert!(!need_event(5, 5, 0), "index 5 is not yet there");
        assert!(need_event(5, 6, 5));
        assert!(need_event(5, 9, 2));
        assert!(!need_event(5, 9, 6), "it was passed before");
        assert!(need_event(0xffff, 0, 0xfffe), "indexes wrap");
        assert!(!need_event(7, 3, 3), "nothing happened");
    }
}
