//! The container and the group: who may reach the device, and what the device may reach.

use std::{
    ffi::CString,
    fs::OpenOptions,
    io,
    ops::RangeInclusive,
    os::fd::{AsFd, OwnedFd},
};

use rustix::io::Errno;
use vfio_bindings::bindings::vfio;

use super::{abi, attach, capability, sysfs};
use crate::{
    dma::{DmaDirection, PAGE_SIZE},
    error::{Error, Result},
    fd,
    pci::PciAddress,
};

const CONTAINER: &str = "/dev/vfio/vfio";
/// How a spawner tells which function the descriptors are for, and their numbers.
const ENV_DEVICE: &str = "PCID_DEVICE";
const ENV_CONTAINER: &str = "VFIO_CONTAINER_FD";
const ENV_GROUP: &str = "VFIO_GROUP_FD";

/// Where interrupt messages go on x86; an IOMMU does not translate it (Intel SDM volume 3, section 12.11.1).
const MESSAGES: RangeInclusive<u64> = 0xfee0_0000..=0xfeef_ffff;
/// The smallest address space that an IOMMU of this kind has: 39 bits (three levels).
const SMALLEST_SPACE: u64 = (1 << 39) - 1;

/// A container with one group in it. The kernel keeps both until the last descriptor is closed.
#[derive(Debug)]
pub(super) struct Container {
    fd: OwnedFd,
    group: OwnedFd,
    group_name: String,
}

impl Container {
    /// Takes the descriptors that the spawner passed for `address`, or opens the function's group.
    pub(super) fn open(address: PciAddress) -> Result<Self> {
        let container = match Self::inherited(address)? {
            Some(container) => container,
            None => Self::by_path(address)?,
        };
        container.attach(address)?;
        Ok(container)
    }

    fn inherited(address: PciAddress) -> Result<Option<Self>> {
        let Ok(device) = std::env::var(ENV_DEVICE) else { return Ok(None) };
        if device.parse::<PciAddress>()? != address {
            return Ok(None);
        }
        match (fd::from_env(ENV_CONTAINER)?, fd::from_env(ENV_GROUP)?) {
            (Some(fd), Some(group)) => {
                Ok(Some(Container { fd, group, group_name: format!("the IOMMU group of {address}") }))
            }
            (None, None) => Ok(None),
            _ => Err(attach(format!(
                "{address}: the spawner passed only one of {ENV_CONTAINER} and {ENV_GROUP}"
            ))),
        }
    }

    fn by_path(address: PciAddress) -> Result<Self> {
        sysfs::check_present(address)?;
        let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
        let fd = open(CONTAINER).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                attach(format!("{address}: VFIO is not loaded ({CONTAINER} is missing): modprobe vfio-pci"))
            }
            _ => Error::os(format!("open {CONTAINER} for {address}"), error),
        })?;
        let number = sysfs::iommu_group(address)?;
        sysfs::check_driver(address)?;
        let path = format!("/dev/vfio/{number}");
        let group_name = format!("IOMMU group {number} of {address}");
        let group = open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => {
                attach(format!("{address} is in use: another process has opened {path}"))
            }
            io::ErrorKind::NotFound => {
                attach(format!("{path} is missing: no function of {group_name} is bound to vfio-pci"))
            }
            _ => Error::os(format!("open {path} for {address}"), error),
        })?;
        Ok(Container { fd: fd.into(), group: group.into(), group_name })
    }

    /// Puts the group into the container, unless a spawner did, and lets the IOMMU translate for it.
    fn attach(&self, address: PciAddress) -> Result<()> {
        let version = abi::api_version(self.fd.as_fd())
            .map_err(|error| Error::os(format!("ask for VFIO's version for {address}"), error))?;
        if u32::try_from(version) != Ok(vfio::VFIO_API_VERSION) {
            return Err(attach(format!(
                "{address}: this kernel's VFIO has version {version}, which is not known"
            )));
        }
        if !self.has_extension(vfio::VFIO_TYPE1v2_IOMMU, address)? {
            return Err(attach(format!(
                "{address}: VFIO has no IOMMU of type 1 version 2 here: modprobe vfio_iommu_type1"
            )));
        }
        let group = &self.group_name;
        let flags = abi::group_flags(self.group.as_fd())
            .map_err(|error| Error::os(format!("ask for the state of {group}"), error))?;
        if flags & vfio::VFIO_GROUP_FLAGS_VIABLE == 0 {
            return Err(attach(format!(
                "{group} is not viable: every function in it must be bound to vfio-pci or to no driver"
            )));
        }
        if flags & vfio::VFIO_GROUP_FLAGS_CONTAINER_SET == 0 {
            abi::set_container(self.group.as_fd(), self.fd.as_fd()).map_err(|error| {
                match Errno::from_io_error(&error) {
                    Some(Errno::BUSY) => {
                        attach(format!("{address} is in use: {group} is attached elsewhere"))
                    }
                    _ => Error::os(format!("put {group} into a container"), error),
                }
            })?;
        }
        // A container that a spawner keeps over restarts has its IOMMU, and the maps of the process that died.
        if abi::iommu_info(self.fd.as_fd()).is_ok() {
            return abi::unmap_all(self.fd.as_fd())
                .map_err(|error| Error::os(format!("remove the earlier maps of {group}"), error));
        }
        abi::set_iommu(self.fd.as_fd(), vfio::VFIO_TYPE1v2_IOMMU).map_err(|error| match Errno::from_io_error(
            &error,
        ) {
            Some(Errno::PERM) => attach(format!(
                "{address}: the IOMMU does not remap interrupts; where that is acceptable, \
                     load vfio_iommu_type1 with allow_unsafe_interrupts=1"
            )),
            _ => Error::os(format!("let the IOMMU translate for {group}"), error),
        })
    }

    fn has_extension(&self, extension: u32, address: PciAddress) -> Result<bool> {
        abi::has_extension(self.fd.as_fd(), extension)
            .map_err(|error| Error::os(format!("ask for VFIO's extensions for {address}"), error))
    }

    /// Opens the function itself.
    pub(super) fn open_device(&self, address: PciAddress) -> Result<OwnedFd> {
        let name = CString::new(address.to_string())
            .map_err(|error| Error::os(format!("spell {address}"), io::Error::from(error)))?;
        abi::open_device(self.group.as_fd(), &name).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::BUSY) => attach(format!("{address} is in use by another process")),
            Some(Errno::NODEV) => {
                attach(format!("{address} is not a vfio-pci device of {}", self.group_name))
            }
            _ => Error::os(format!("open {address} in {}", self.group_name), error),
        })
    }

    /// The addresses that may be given to the device.
    pub(super) fn usable_addresses(&self) -> Result<Vec<RangeInclusive<u64>>> {
        let info = abi::iommu_info(self.fd.as_fd())
            .map_err(|error| Error::os(format!("ask for the IOMMU of {}", self.group_name), error))?;
        if info.fixed.flags & vfio::VFIO_IOMMU_INFO_PGSIZES != 0
            && info.fixed.iova_pgsizes & PAGE_SIZE as u64 == 0
        {
            return Err(Error::Unsupported(format!(
                "the IOMMU of {} has no pages of {PAGE_SIZE} bytes (sizes {:#x})",
                self.group_name, info.fixed.iova_pgsizes
            )));
        }
        let mut ranges = Vec::new();
        if info.fixed.flags & vfio::VFIO_IOMMU_INFO_CAPS != 0 {
            let id = vfio::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
            if let Some(capability) = capability::find(&info.bytes, info.fixed.cap_offset, id) {
                ranges = capability::pairs(capability);
            }
        }
        if ranges.is_empty() {
            ranges.push((0, SMALLEST_SPACE));
        }
        Ok(without_messages(&ranges))
    }

    /// Lets the device reach `len` bytes at `memory` under the address `iova`.
    ///
    /// # Safety
    /// The memory must be mapped; until [`Self::unmap`] returns successfully nobody else may rely on its contents, as far as
    /// `direction` lets the device write.
    pub(super) unsafe fn map(
        &self,
        memory: *mut u8,
        iova: u64,
        len: usize,
        direction: DmaDirection,
    ) -> Result<()> {
        let read = if direction.device_reads() { vfio::VFIO_DMA_MAP_FLAG_READ } else { 0 };
        let write = if direction.device_writes() { vfio::VFIO_DMA_MAP_FLAG_WRITE } else { 0 };
        // SAFETY: the caller's promise.
        unsafe { abi::map_dma(self.fd.as_fd(), memory, iova, len, read | write) }.map_err(|error| {
            let step = format!("map {len} bytes for DMA at {iova:#x}");
            match Errno::from_io_error(&error) {
                Some(Errno::NOMEM) => Error::os(
                    format!("{step}: RLIMIT_MEMLOCK is too small (ulimit -l), or memory ran out"),
                    error,
                ),
                Some(Errno::NOSPC) => {
                    Error::os(format!("{step}: the container has no map entry left"), error)
                }
                _ => Error::os(step, error),
            }
        })
    }

    /// Takes a range away from the device; once this succeeds, the device cannot reach it.
    pub(super) fn unmap(&self, iova: u64, len: usize) -> Result<()> {
        let step = || format!("unmap {len} bytes of DMA at {iova:#x}");
        let unmapped =
            abi::unmap_dma(self.fd.as_fd(), iova, len).map_err(|error| Error::os(step(), error))?;
        if unmapped == len as u64 {
            return Ok(());
        }
        Err(Error::os(step(), io::Error::other(format!("the kernel unmapped {unmapped} bytes"))))
    }
}

/// `ranges` without the window of interrupt messages, which kernels that report ranges leave out by themselves.
fn without_messages(ranges: &[(u64, u64)]) -> Vec<RangeInclusive<u64>> {
    let (window, window_end) = (*MESSAGES.start(), *MESSAGES.end());
    let parts = ranges
        .iter()
        .flat_map(|&(start, end)| [start..=end.min(window - 1), start.max(window_end + 1)..=end]);
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_message_window_free() {
        assert_eq!(without_messages(&[(0, SMALLEST_SPACE)]), [0..=0xfedf_ffff, 0xfef0_0000..=SMALLEST_SPACE]);
        assert_eq!(without_messages(&[(0, 0xfff)]), [0..=0xfff]);
        assert_eq!(without_messages(&[(0xfee0_1000, 0xfee0_1fff)]), []);
        assert_eq!(
            without_messages(&[(0, 0xfedf_ffff), (0xfef0_0000, u64::MAX)]),
            [0..=0xfedf_ffff, 0xfef0_0000..=u64::MAX]
        );
    }
}
