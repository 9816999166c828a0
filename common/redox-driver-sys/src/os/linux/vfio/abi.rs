//! VFIO's calls (linux/vfio.h), each as a function whose arguments cannot be wrong for it.
//!
//! The structures are those of `vfio-bindings`. Its companion `vfio-ioctls` is not used: it opens the container and the
//! group by itself, so that inherited descriptors cannot be given to it, its maps have no direction, and its
//! configuration accesses do not report errors.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::{
    ffi::c_void,
    ioctl::{Ioctl, IoctlOutput, Opcode, opcode},
};
use vfio_bindings::bindings::vfio;

/// Answers longer than this are not VFIO's.
const MOST_ANSWER: usize = 64 * 1024;

/// The numbers of the calls, added to `VFIO_BASE`.
#[derive(Clone, Copy)]
enum Number {
    GetApiVersion = 0,
    CheckExtension = 1,
    SetIommu = 2,
    GroupGetStatus = 3,
    GroupSetContainer = 4,
    GroupGetDeviceFd = 6,
    DeviceGetInfo = 7,
    DeviceGetRegionInfo = 8,
    DeviceGetIrqInfo = 9,
    DeviceSetIrqs = 10,
    DeviceReset = 11,
    IommuGetInfo = 12,
    IommuMapDma = 13,
    IommuUnmapDma = 14,
}

struct Call {
    number: Number,
    argument: *mut c_void,
}

// SAFETY: the opcode belongs to VFIO; what the argument must be is the business of `call`'s caller. VFIO's answer is a
// number that is not negative.
unsafe impl Ioctl for Call {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        #[allow(clippy::cast_possible_truncation, reason = "100 + 14")]
        opcode::none(vfio::VFIO_TYPE, vfio::VFIO_BASE as u8 + self.number as u8)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(
        answer: IoctlOutput,
        _argument: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(answer)
    }
}

/// # Safety
/// `argument` must be what the call expects: a pointer to its structure, valid for as many bytes as `argsz` in it
/// says, or the number that it takes instead.
unsafe fn call(fd: impl AsFd, number: Number, argument: *mut c_void) -> io::Result<IoctlOutput> {
    // SAFETY: the caller's promise.
    Ok(unsafe { rustix::ioctl::ioctl(fd, Call { number, argument }) }?)
}

fn call_with_number(fd: impl AsFd, number: Number, argument: u32) -> io::Result<IoctlOutput> {
    // SAFETY: used only for calls that take a number, which can be any.
    unsafe { call(fd, number, std::ptr::without_provenance_mut(argument as usize)) }
}

/// A call with a structure of fixed size that is its argument and its answer.
///
/// # Safety
/// `T` must be the structure of the call, with `argsz` at most its size.
unsafe fn exchange<T>(fd: impl AsFd, number: Number, argument: &mut T) -> io::Result<IoctlOutput> {
    // SAFETY: the caller's promise; the reference is valid for the whole structure.
    unsafe { call(fd, number, std::ptr::from_mut(argument).cast()) }
}

#[allow(clippy::cast_possible_truncation, reason = "VFIO's structures are below 100 bytes")]
const fn argsz<T>() -> u32 {
    size_of::<T>() as u32
}

pub(super) fn api_version(container: BorrowedFd<'_>) -> io::Result<i32> {
    call_with_number(container, Number::GetApiVersion, 0)
}

pub(super) fn has_extension(container: BorrowedFd<'_>, extension: u32) -> io::Result<bool> {
    Ok(call_with_number(container, Number::CheckExtension, extension)? > 0)
}

pub(super) fn set_iommu(container: BorrowedFd<'_>, kind: u32) -> io::Result<()> {
    call_with_number(container, Number::SetIommu, kind).map(drop)
}

/// The group's `VFIO_GROUP_FLAGS_…`.
pub(super) fn group_flags(group: BorrowedFd<'_>) -> io::Result<u32> {
    let mut status =
        vfio::vfio_group_status { argsz: argsz::<vfio::vfio_group_status>(), ..Default::default() };
    // SAFETY: the structure of VFIO_GROUP_GET_STATUS.
    unsafe { exchange(group, Number::GroupGetStatus, &mut status) }?;
    Ok(status.flags)
}

pub(super) fn set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> io::Result<()> {
    let mut number: RawFd = container.as_raw_fd();
    // SAFETY: VFIO_GROUP_SET_CONTAINER takes a pointer to a descriptor number.
    unsafe { exchange(group, Number::GroupSetContainer, &mut number) }.map(drop)
}

/// Opens the function called `name` (`0000:00:04.0`) of the group.
pub(super) fn open_device(group: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: VFIO_GROUP_GET_DEVICE_FD takes a pointer to a string that ends with zero and only reads it.
    let fd = unsafe { call(group, Number::GroupGetDeviceFd, name.as_ptr().cast_mut().cast()) }?;
    // SAFETY: the answer is a descriptor that the call made for us (close-on-exec).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The device's `VFIO_DEVICE_FLAGS_…`.
pub(super) fn device_flags(device: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = vfio::vfio_device_info { argsz: argsz::<vfio::vfio_device_info>(), ..Default::default() };
    // SAFETY: the structure of VFIO_DEVICE_GET_INFO.
    unsafe { exchange(device, Number::DeviceGetInfo, &mut info) }?;
    Ok(info.flags)
}

/// What the device says of region `index`, with the capabilities behind it.
pub(super) fn region_info(device: BorrowedFd<'_>, index: u32) -> io::Result<Answer<vfio::vfio_region_info>> {
    Answer::get(device, Number::DeviceGetRegionInfo, |argsz| vfio::vfio_region_info {
        argsz,
        index,
        ..Default::default()
    })
}

/// What the IOMMU behind the container can do, with the capabilities behind it.
pub(super) fn iommu_info(container: BorrowedFd<'_>) -> io::Result<Answer<vfio::vfio_iommu_type1_info>> {
    Answer::get(container, Number::IommuGetInfo, |argsz| vfio::vfio_iommu_type1_info {
        argsz,
        ..Default::default()
    })
}

pub(super) fn irq_info(device: BorrowedFd<'_>, index: u32) -> io::Result<vfio::vfio_irq_info> {
    let mut info = vfio::vfio_irq_info { argsz: argsz::<vfio::vfio_irq_info>(), index, ..Default::default() };
    // SAFETY: the structure of VFIO_DEVICE_GET_IRQ_INFO.
    unsafe { exchange(device, Number::DeviceGetIrqInfo, &mut info) }?;
    Ok(info)
}

/// Connects vectors 0, 1, … of interrupt `index` with `eventfds`. More than 0 in the answer: so many vectors could be had,
/// and none was connected.
pub(super) fn connect_irqs(
    device: BorrowedFd<'_>,
    index: u32,
    eventfds: &[BorrowedFd<'_>],
) -> io::Result<u32> {
    let flags = vfio::VFIO_IRQ_SET_DATA_EVENTFD | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
    let fds = eventfds.iter().map(|fd| fd.as_raw_fd().cast_unsigned());
    set_irqs(device, flags, index, eventfds.len(), fds)
}

/// Disconnects all vectors of interrupt `index`.
pub(super) fn disconnect_irqs(device: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let flags = vfio::VFIO_IRQ_SET_DATA_NONE | vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
    set_irqs(device, flags, index, 0, std::iter::empty()).map(drop)
}

/// Unmasks INTx, which VFIO masks whenever it fires.
pub(super) fn unmask_intx(device: BorrowedFd<'_>) -> io::Result<()> {
    let flags = vfio::VFIO_IRQ_SET_DATA_NONE | vfio::VFIO_IRQ_SET_ACTION_UNMASK;
    set_irqs(device, flags, vfio::VFIO_PCI_INTX_IRQ_INDEX, 1, std::iter::empty()).map(drop)
}

fn set_irqs(
    device: BorrowedFd<'_>,
    flags: u32,
    index: u32,
    count: usize,
    data: impl Iterator<Item = u32>,
) -> io::Result<u32> {
    // struct vfio_irq_set: argsz, flags, index, start, count, data.
    let count = u32::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut words = vec![0, flags, index, 0, count];
    words.extend(data);
    words[0] = u32::try_from(size_of_val(words.as_slice())).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the structure of VFIO_DEVICE_SET_IRQS, `argsz` bytes long; with DATA_NONE no data are read, with
    // DATA_EVENTFD `count` numbers are there.
    let answer = unsafe { call(device, Number::DeviceSetIrqs, words.as_mut_ptr().cast()) }?;
    Ok(answer.unsigned_abs())
}

pub(super) fn reset(device: BorrowedFd<'_>) -> io::Result<()> {
    call_with_number(device, Number::DeviceReset, 0).map(drop)
}

/// Lets the device reach `size` bytes at `memory` under the address `iova`.
///
/// # Safety
/// The memory must be mapped in this process; until the range is unmapped again the device may read it, and with
/// `VFIO_DMA_MAP_FLAG_WRITE` write it.
pub(super) unsafe fn map_dma(
    container: BorrowedFd<'_>,
    memory: *mut u8,
    iova: u64,
    size: usize,
    flags: u32,
) -> io::Result<()> {
    let mut map = vfio::vfio_iommu_type1_dma_map {
        argsz: argsz::<vfio::vfio_iommu_type1_dma_map>(),
        flags,
        vaddr: memory.expose_provenance() as u64,
        iova,
        size: size as u64,
    };
    // SAFETY: the structure of VFIO_IOMMU_MAP_DMA; what the device may do is the caller's promise.
    unsafe { exchange(container, Number::IommuMapDma, &mut map) }.map(drop)
}

/// Takes a range away from the device; returns how many bytes were mapped.
pub(super) fn unmap_dma(container: BorrowedFd<'_>, iova: u64, size: usize) -> io::Result<u64> {
    unmap(container, 0, iova, size as u64)
}

/// Takes everything away from the device that the container maps.
pub(super) fn unmap_all(container: BorrowedFd<'_>) -> io::Result<()> {
    unmap(container, vfio::VFIO_DMA_UNMAP_FLAG_ALL, 0, 0).map(drop)
}

fn unmap(container: BorrowedFd<'_>, flags: u32, iova: u64, size: u64) -> io::Result<u64> {
    let mut unmap = vfio::vfio_iommu_type1_dma_unmap {
        argsz: argsz::<vfio::vfio_iommu_type1_dma_unmap>(),
        flags,
        iova,
        size,
        ..Default::default()
    };
    // SAFETY: the structure of VFIO_IOMMU_UNMAP_DMA; without GET_DIRTY_BITMAP nothing lies behind it.
    unsafe { exchange(container, Number::IommuUnmapDma, &mut unmap) }?;
    Ok(unmap.size)
}

/// A structure and the bytes that the kernel put behind it.
pub(super) struct Answer<T> {
    pub(super) fixed: T,
    /// The whole answer, the structure included: offsets in it count from its start.
    pub(super) bytes: Vec<u8>,
}

impl<T: Copy> Answer<T> {
    /// Asks with room for the structure alone, and again with as much room as the kernel wants.
    fn get(fd: BorrowedFd<'_>, number: Number, question: impl Fn(u32) -> T) -> io::Result<Self> {
        let mut room = size_of::<T>();
        loop {
            let words = room.div_ceil(size_of::<u64>());
            let mut buffer = vec![0u64; words];
            let len = u32::try_from(words * size_of::<u64>()).map_err(|_| io::ErrorKind::InvalidData)?;
            const { assert!(align_of::<T>() <= align_of::<u64>()) };
            // SAFETY: the buffer is at least as large and as aligned as `T`.
            unsafe { buffer.as_mut_ptr().cast::<T>().write(question(len)) };
            // SAFETY: `argsz` is the buffer's length; both users of this function give the structure of their call.
            unsafe { call(fd, number, buffer.as_mut_ptr().cast()) }?;
            // SAFETY: as above; the structures hold integers only.
            let fixed = unsafe { buffer.as_ptr().cast::<T>().read() };
            let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
            // Every such structure starts with `argsz`: how many bytes the whole answer has.
            let wanted = bytes.first_chunk().map_or(0, |first| u32::from_ne_bytes(*first) as usize);
            if wanted <= bytes.len() {
                return Ok(Answer { fixed, bytes });
            }
            if wanted > MOST_ANSWER || room > size_of::<T>() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            room = wanted;
        }
    }
}
