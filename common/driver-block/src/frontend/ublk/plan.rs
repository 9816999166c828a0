//! What is to be done about a disk, given what is left of an earlier daemon.

use super::{
    parameters,
    uapi::{self, DeviceInfo, Parameters},
};

/// What the kernel knows of a device that was made for the same disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) info: DeviceInfo,
    pub(super) parameters: Parameters,
    /// Whether the process that serves it is there, and is another one.
    pub(super) served: bool,
}

/// How to come to a device for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Make a new one.
    Create,
    /// Take over the one that is there, with its requests.
    Recover,
    /// The one that is there is of no use: remove it and make a new one.
    Replace(&'static str),
    /// Another process serves it.
    Busy(i32),
}

/// What to do about a disk that `wanted` describes.
pub(super) fn plan(found: Option<&Found>, wanted: &Parameters) -> Plan {
    const NEEDED: u64 = uapi::F_USER_RECOVERY | uapi::F_USER_RECOVERY_REISSUE;
    let Some(found) = found else { return Plan::Create };
    if found.served {
        return Plan::Busy(found.info.server);
    }
    match found.info.state {
        uapi::STATE_DEAD => Plan::Replace("its disk was never shown"),
        uapi::STATE_LIVE | uapi::STATE_QUIESCED => {
            if found.info.flags & NEEDED != NEEDED {
                Plan::Replace("it cannot be taken over")
            } else if !parameters::can_go_on(&found.parameters, wanted) {
                Plan::Replace("the disk is another one by now")
            } else {
                Plan::Recover
            }
        }
        _ => Plan::Replace("its state is not known"),
    }
}

/// How the data memory of one hardware queue is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Most bytes of one request. The kernel splits what is longer.
    pub max_io_bytes: u32,
    /// Most requests per queue of a disk.
    pub depth: u16,
    /// Bytes of data memory per hardware queue, over all disks that are there at the start.
    pub bytes_per_queue: usize,
}

impl Default for Buffers {
    /// 8 MiB per hardware queue: one disk gets 64 requests of 128 KiB.
    fn default() -> Self {
        Buffers { max_io_bytes: 128 << 10, depth: 64, bytes_per_queue: 8 << 20 }
    }
}

impl Buffers {
    /// Fewest requests of a disk, however many disks there are: two in flight, one parked in the kernel, one spare.
    const LEAST_DEPTH: usize = 4;

    /// The bytes of a request and the depth of the queues of one of `disks` disks.
    pub(super) fn share(&self, disks: usize) -> (u32, u16) {
        let page = 4096;
        let bytes = self.max_io_bytes.clamp(page, uapi::MAX_IO_BYTES) & !(page - 1);
        let fair = self.bytes_per_queue / disks.max(1) / bytes as usize;
        let most = usize::from(self.depth.min(uapi::MAX_QUEUE_DEPTH));
        let depth = fair.min(most).max(Self::LEAST_DEPTH);
        (bytes, u16::try_from(depth).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u64 = uapi::F_USER_RECOVERY | uapi::F_USER_RECOVERY_REISSUE | uapi::F_CMD_IOCTL_ENCODE;

    fn wanted() -> Parameters {
        let mut set = Parameters::default();
        set.basic.logical_block_shift = 9;
        set.basic.sectors = 2048;
        set
    }

    fn found(state: u16) -> Found {
        let info = DeviceInfo { state, flags: OURS, server: 42, ..DeviceInfo::default() };
        Found { info, parameters: wanted(), served: false }
    }

    #[test]
    fn nothing_there() {
        assert_eq!(plan(None, &wanted()), Plan::Create);
    }

    #[test]
    fn a_device_whose_server_died_is_taken_over() {
        assert_eq!(plan(Some(&found(uapi::STATE_QUIESCED)), &wanted()), Plan::Recover);
        // The kernel has not noticed the death yet.
        assert_eq!(plan(Some(&found(uapi::STATE_LIVE)), &wanted()), Plan::Recover);
    }

    #[test]
    fn a_device_that_is_served_is_left_alone() {
        let live = Found { served: true, ..found(uapi::STATE_LIVE) };
        assert_eq!(plan(Some(&live), &wanted()), Plan::Busy(42));
    }

    #[test]
    fn what_cannot_go_on_is_replaced() {
        assert!(matches!(plan(Some(&found(uapi::STATE_DEAD)), &wanted()), Plan::Replace(_)));
        assert!(matches!(plan(Some(&found(9)), &wanted()), Plan::Replace(_)));
        let mut other = found(uapi::STATE_QUIESCED);
        other.parameters.basic.logical_block_shift = 12;
        assert!(matches!(plan(Some(&other), &wanted()), Plan::Replace(_)));
        let mut other = found(uapi::STATE_QUIESCED);
        other.info.flags = uapi::F_CMD_IOCTL_ENCODE;
        assert!(matches!(plan(Some(&other), &wanted()), Plan::Replace(_)));
    }

    #[test]
    fn memory_is_shared_by_the_disks() {
        let usual = Buffers::default();
        assert_eq!(usual.share(1), (128 << 10, 64));
        assert_eq!(usual.share(2), (128 << 10, 32));
        assert_eq!(usual.share(0), (128 << 10, 64));
        assert_eq!(usual.share(1000), (128 << 10, 4));
        let deep = Buffers { max_io_bytes: 32 << 10, depth: 256, ..usual };
        assert_eq!(deep.share(1), (32 << 10, 256));
        let odd = Buffers { max_io_bytes: 5000, depth: u16::MAX, bytes_per_queue: usize::MAX };
        assert_eq!(odd.share(1), (4096, 4096));
        let none = Buffers { max_io_bytes: 0, depth: 0, bytes_per_queue: 0 };
        assert_eq!(none.share(1), (4096, 4));
    }
}
