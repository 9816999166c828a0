//! The structures and numbers of Linux's ublk interface (`include/uapi/linux/ublk_cmd.h`, as of 6.16).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An ioctl-style number of type `u` (`include/uapi/asm-generic/ioctl.h`).
const fn operation(direction: u32, number: u32, size: usize) -> u32 {
    const TYPE: u32 = b'u' as u32;
    #[allow(clippy::cast_possible_truncation, reason = "sizes of the structures below")]
    let size = size as u32;
    direction << 30 | size << 16 | TYPE << 8 | number
}

const READ: u32 = 2;
const READ_WRITE: u32 = 3;

const fn control(direction: u32, number: u32) -> u32 {
    operation(direction, number, size_of::<ControlCommand>())
}

const fn io(number: u32) -> u32 {
    operation(READ_WRITE, number, size_of::<IoCommand>())
}

/// Reads the [`DeviceInfo`].
pub(super) const GET_DEV_INFO: u32 = control(READ, 0x02);
/// Makes a device.
pub(super) const ADD_DEV: u32 = control(READ_WRITE, 0x04);
/// Shows the disk to the system.
pub(super) const START_DEV: u32 = control(READ_WRITE, 0x06);
/// Takes the disk away from the system.
pub(super) const STOP_DEV: u32 = control(READ_WRITE, 0x07);
/// Sets the [`Parameters`].
pub(super) const SET_PARAMS: u32 = control(READ_WRITE, 0x08);
/// Reads the [`Parameters`].
pub(super) const GET_PARAMS: u32 = control(READ, 0x09);
/// Takes over a device whose server is gone.
pub(super) const START_USER_RECOVERY: u32 = control(READ_WRITE, 0x10);
/// Sets a device that was taken over to work again.
pub(super) const END_USER_RECOVERY: u32 = control(READ_WRITE, 0x11);
/// Asks what the kernel's driver can do.
pub(super) const GET_FEATURES: u32 = control(READ, 0x13);
/// Removes a device as soon as nobody holds it, without waiting for that.
pub(super) const DEL_DEV_ASYNC: u32 = control(READ, 0x14);
/// Changes the size of a disk that is shown.
pub(super) const UPDATE_SIZE: u32 = control(READ_WRITE, 0x15);

/// Waits for a request.
pub(super) const FETCH_REQ: u32 = io(0x20);
/// Answers a request and waits for the next one.
pub(super) const COMMIT_AND_FETCH_REQ: u32 = io(0x21);

/// Requests survive the server.
pub(super) const F_USER_RECOVERY: u64 = 1 << 3;
/// Requests that the old server had are given to the new one again.
pub(super) const F_USER_RECOVERY_REISSUE: u64 = 1 << 4;
/// Operations are numbered as ioctls.
pub(super) const F_CMD_IOCTL_ENCODE: u64 = 1 << 6;
/// The size of a disk can be changed (Linux 6.16).
pub(super) const F_UPDATE_SIZE: u64 = 1 << 10;

/// The device was made, but is not shown.
pub(super) const STATE_DEAD: u16 = 0;
/// The disk is served.
pub(super) const STATE_LIVE: u16 = 1;
/// The server is gone; requests wait for another one.
pub(super) const STATE_QUIESCED: u16 = 2;

/// Names no queue: the command is about the device.
pub(super) const NO_QUEUE: u16 = u16::MAX;
/// Lets the kernel choose the number of a new device.
pub(super) const ANY_DEVICE: u32 = u32::MAX;
/// Deepest queue that the kernel takes.
pub(super) const MAX_QUEUE_DEPTH: u16 = 4096;
/// Longest buffer of a request that the kernel takes.
pub(super) const MAX_IO_BYTES: u32 = 32 << 20;

/// A control command.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ControlCommand {
    pub(super) device: u32,
    pub(super) queue: u16,
    /// Length of the memory at `address`.
    pub(super) length: u16,
    pub(super) address: u64,
    /// The command's own value: process id, queue number, sectors.
    pub(super) data: u64,
    pub(super) path_length: u16,
    pub(super) pad: u16,
    pub(super) reserved: u32,
}
const _: () = assert!(size_of::<ControlCommand>() == 32);

/// What a device is made with, and what the kernel made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct DeviceInfo {
    pub(super) queues: u16,
    pub(super) depth: u16,
    pub(super) state: u16,
    pub(super) pad: u16,
    pub(super) max_io_bytes: u32,
    pub(super) device: u32,
    /// The process that serves the device, or served it last.
    pub(super) server: i32,
    pub(super) pad2: u32,
    pub(super) flags: u64,
    /// Kept by the kernel for the server.
    pub(super) server_flags: u64,
    pub(super) owner_uid: u32,
    pub(super) owner_gid: u32,
    pub(super) reserved: [u64; 2],
}
const _: () = assert!(size_of::<DeviceInfo>() == 64);

/// A request, in the array that the kernel shows of each queue.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct IoDescriptor {
    pub(super) op_flags: u32,
    pub(super) sectors: u32,
    pub(super) start_sector: u64,
    pub(super) address: u64,
}
const _: () = assert!(size_of::<IoDescriptor>() == 24);

/// An I/O command.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct IoCommand {
    pub(super) queue: u16,
    pub(super) tag: u16,
    pub(super) result: i32,
    pub(super) address: u64,
}
const _: () = assert!(size_of::<IoCommand>() == 16);

/// What a request asks: the low eight bits of [`IoDescriptor::op_flags`].
pub(super) mod op {
    pub(in super::super) const READ: u32 = 0;
    pub(in super::super) const WRITE: u32 = 1;
    pub(in super::super) const FLUSH: u32 = 2;
    pub(in super::super) const DISCARD: u32 = 3;
    pub(in super::super) const WRITE_ZEROES: u32 = 5;
    pub(in super::super) const MASK: u32 = 0xff;
    /// Force unit access.
    pub(in super::super) const FUA: u32 = 1 << 13;
}

/// Bytes of a sector, in which ublk counts whatever the logical block size.
pub(super) const SECTOR: u32 = 512;
/// Its logarithm.
pub(super) const SECTOR_SHIFT: u32 = 9;

pub(super) const ATTR_READ_ONLY: u32 = 1 << 0;
pub(super) const ATTR_ROTATIONAL: u32 = 1 << 1;
pub(super) const ATTR_VOLATILE_CACHE: u32 = 1 << 2;
pub(super) const ATTR_FUA: u32 = 1 << 3;

pub(super) const PARAM_BASIC: u32 = 1 << 0;
pub(super) const PARAM_DISCARD: u32 = 1 << 1;

/// What the disk is like. The kernel takes the structure cut after what is used of it; the types that follow in it
/// (device numbers, zones, DMA) are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Parameters {
    pub(super) length: u32,
    /// Which of the parts below are set.
    pub(super) types: u32,
    pub(super) basic: BasicParameters,
    pub(super) discard: DiscardParameters,
    pub(super) pad: u32,
}
const _: () = assert!(size_of::<Parameters>() == 64);

impl Parameters {
    /// Most bytes of one request.
    pub(super) fn max_io_bytes(&self) -> u32 {
        self.basic.max_sectors.saturating_mul(SECTOR)
    }
}

/// Size, block sizes and attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BasicParameters {
    pub(super) attributes: u32,
    pub(super) logical_block_shift: u8,
    pub(super) physical_block_shift: u8,
    pub(super) optimal_io_shift: u8,
    pub(super) minimum_io_shift: u8,
    pub(super) max_sectors: u32,
    pub(super) chunk_sectors: u32,
    pub(super) sectors: u64,
    pub(super) virtual_boundary_mask: u64,
}
const _: () = assert!(size_of::<BasicParameters>() == 32);

/// Discard and write-zeroes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct DiscardParameters {
    pub(super) alignment: u32,
    pub(super) granularity: u32,
    pub(super) max_discard_sectors: u32,
    pub(super) max_write_zeroes_sectors: u32,
    pub(super) max_segments: u16,
    pub(super) reserved: u16,
}
const _: () = assert!(size_of::<DiscardParameters>() == 20);

/// Where the descriptors of queue `queue` are in the character device, for `mmap`: each queue has room for
/// [`MAX_QUEUE_DEPTH`] of them, in whole pages.
pub(super) const fn descriptor_offset(queue: u16) -> u64 {
    queue as u64 * descriptor_bytes(MAX_QUEUE_DEPTH) as u64
}

/// Length of the descriptors of a queue of `depth`, in whole pages.
pub(super) const fn descriptor_bytes(depth: u16) -> usize {
    (depth as usize * size_of::<IoDescriptor>()).next_multiple_of(4096)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn operations_have_the_numbers_of_the_header() {
        assert_eq!(FETCH_REQ, 0xc010_7520);
        assert_eq!(COMMIT_AND_FETCH_REQ, 0xc010_7521);
        assert_eq!(ADD_DEV, 0xc020_7504);
        assert_eq!(GET_DEV_INFO, 0x8020_7502);
        assert_eq!(DEL_DEV_ASYNC, 0x8020_7514);
    }

    #[test]
    fn fields_are_where_the_header_has_them() {
        assert_eq!(offset_of!(ControlCommand, address), 8);
        assert_eq!(offset_of!(ControlCommand, data), 16);
        assert_eq!(offset_of!(ControlCommand, path_length), 24);
        assert_eq!(offset_of!(DeviceInfo, max_io_bytes), 8);
        assert_eq!(offset_of!(DeviceInfo, device), 12);
        assert_eq!(offset_of!(DeviceInfo, server), 16);
        assert_eq!(offset_of!(DeviceInfo, flags), 24);
        assert_eq!(offset_of!(DeviceInfo, server_flags), 32);
        assert_eq!(offset_of!(DeviceInfo, owner_uid), 40);
        assert_eq!(offset_of!(Parameters, basic), 8);
        assert_eq!(offset_of!(Parameters, discard), 40);
        assert_eq!(offset_of!(BasicParameters, sectors), 16);
        assert_eq!(offset_of!(DiscardParameters, max_write_zeroes_sectors), 12);
    }

    #[test]
    fn descriptors_of_a_queue_start_on_a_page() {
        assert_eq!(descriptor_offset(0), 0);
        assert_eq!(descriptor_offset(1), 98_304);
        assert_eq!(descriptor_bytes(1), 4096);
        assert_eq!(descriptor_bytes(256), 8192);
    }
}
