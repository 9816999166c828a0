//! The life of one disk as a ublk device.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use redox_driver_sys::{dma::DmaAllocator, pci::PciAddress};

use super::{
    control::Control,
    error::{DeviceNumber, UblkError},
    identity::Identity,
    parameters::parameters,
    plan::{Buffers, Found, Plan, plan},
    server::{Attach, Mailbox},
    sys, sysfs,
    uapi::{self, DeviceInfo, Parameters},
};
use crate::device::{Disk, DiskId};

/// How long a queue's thread may take to do its part.
const THREAD: Duration = Duration::from_secs(20);

/// The kernel gives a request that its server has held for this long back to its timeout handling, which is also what
/// notices that a server died with every request of a queue in its hands. A living server is only asked again.
const IO_TIMEOUT_MS: &str = "2000";

/// What devices are made of.
pub(super) struct Workshop<'a> {
    pub(super) control: &'a mut Control,
    pub(super) threads: &'a [Mailbox],
    pub(super) memory: &'a DmaAllocator,
    pub(super) address: PciAddress,
    pub(super) buffers: Buffers,
    /// Among how many disks the memory is shared.
    pub(super) disks: usize,
}

/// A disk that is served.
pub(super) struct UblkDevice {
    number: u32,
    queues: u16,
    ended: Receiver<()>,
    set: Parameters,
}

impl UblkDevice {
    /// Serves `disk`, by the device that was `found` if that can be.
    pub(super) fn open(
        workshop: &mut Workshop<'_>,
        disk: &Disk,
        found: Option<&Found>,
    ) -> Result<UblkDevice, UblkError> {
        let (bytes, depth) = workshop.buffers.share(workshop.disks);
        let bytes = bytes.max(disk.limits.block_size);
        let wanted =
            parameters(disk, bytes).map_err(|reason| UblkError::Unservable { disk: disk.id, reason })?;
        match (plan(found, &wanted), found) {
            (Plan::Busy(process), Some(found)) => {
                Err(UblkError::Busy { device: DeviceNumber(Some(found.info.device)), process })
            }
            (Plan::Recover, Some(found)) => Self::recover(workshop, disk, found),
            (Plan::Replace(reason), Some(found)) => {
                let number = found.info.device;
                log::warn!("{}: removed: {reason}", DeviceNumber(Some(number)));
                remove(workshop.control, number);
                Self::create(workshop, disk, wanted, bytes, depth)
            }
            _ => Self::create(workshop, disk, wanted, bytes, depth),
        }
    }

    fn create(
        workshop: &mut Workshop<'_>,
        disk: &Disk,
        wanted: Parameters,
        bytes: u32,
        depth: u16,
    ) -> Result<UblkDevice, UblkError> {
        let identity = Identity { address: workshop.address, disk: disk.id }.pack();
        let mut flags = uapi::F_CMD_IOCTL_ENCODE;
        if identity.is_some() {
            flags |= uapi::F_USER_RECOVERY | uapi::F_USER_RECOVERY_REISSUE;
        } else {
            log::warn!("disk {}: its number is too large: a restarted daemon will not find it", disk.id);
        }
        if workshop.control.can_resize() {
            flags |= uapi::F_UPDATE_SIZE;
        }
        let info = workshop.control.add(DeviceInfo {
            queues: u16::try_from(workshop.threads.len()).unwrap_or(u16::MAX),
            depth,
            max_io_bytes: bytes,
            device: uapi::ANY_DEVICE,
            flags,
            server_flags: identity.unwrap_or(0),
            ..DeviceInfo::default()
        })?;
        let made = (|| {
            let file = sysfs::open_character_device(info.device)?;
            workshop.control.set_parameters(info.device, wanted)?;
            let device = Self::attach(workshop, disk, &info, file, wanted)?;
            workshop.control.start(info.device)?;
            Ok(device)
        })();
        match made {
            Ok(device) => {
                device.tune(&info);
                Ok(device)
            }
            Err(error) => {
                remove(workshop.control, info.device);
                Err(error)
            }
        }
    }

    /// Takes over a device with the depth and buffer size that it was made with. When it fails the device stays, and its
    /// requests wait for the next daemon.
    fn recover(workshop: &mut Workshop<'_>, disk: &Disk, found: &Found) -> Result<UblkDevice, UblkError> {
        let info = found.info;
        workshop.control.start_recovery(info.device)?;
        let file = sysfs::open_character_device(info.device)?;
        let device = Self::attach(workshop, disk, &info, file, found.parameters)?;
        workshop.control.end_recovery(info.device)?;
        device.tune(&info);
        log::info!("{}: taken over for disk {}", DeviceNumber(Some(info.device)), disk.id);
        Ok(device)
    }

    /// Has the threads ask for requests, and waits until all have.
    fn attach(
        workshop: &Workshop<'_>,
        disk: &Disk,
        info: &DeviceInfo,
        file: File,
        set: Parameters,
    ) -> Result<UblkDevice, UblkError> {
        const STEP: &str = "serving its queues";
        let number = info.device;
        let device = DeviceNumber(Some(number));
        let file = Arc::new(file);
        let (ready, readied) = sync_channel(usize::from(info.queues));
        let (ended, ends) = sync_channel(usize::from(info.queues));
        for queue in 0..info.queues {
            // A device that was taken over may have more queues than there are threads now.
            let index = usize::from(queue) % workshop.threads.len().max(1);
            let attach = Self::queue(workshop, disk, info, &file, queue, ready.clone(), ended.clone())?;
            if !workshop.threads.get(index).is_some_and(|thread| thread.attach(attach)) {
                return Err(UblkError::Thread { device, step: STEP, queue: index });
            }
        }
        let end = Instant::now() + THREAD;
        for _ in 0..info.queues {
            match readied.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(UblkError::step(number, STEP, source)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(UblkError::Timeout { device, step: STEP, after: THREAD });
                }
            }
        }
        Ok(UblkDevice { number, queues: info.queues, ended: ends, set })
    }

    fn queue(
        workshop: &Workshop<'_>,
        disk: &Disk,
        info: &DeviceInfo,
        file: &Arc<File>,
        queue: u16,
        ready: SyncSender<io::Result<()>>,
        ended: SyncSender<()>,
    ) -> Result<Attach, UblkError> {
        let number = info.device;
        let bytes = usize::from(info.depth) * info.max_io_bytes as usize;
        let buffers = workshop.memory.allocate(bytes).map_err(|source| UblkError::Memory {
            device: DeviceNumber(Some(number)),
            step: "memory for its requests",
            source,
        })?;
        let queue = sys::Queue::new(file.clone(), queue, info.depth, buffers, info.max_io_bytes)
            .map_err(|source| UblkError::step(number, "mapping its descriptors", source))?;
        Ok(Attach {
            queue,
            disk: disk.id,
            block_shift: disk.limits.block_size.trailing_zeros(),
            ready,
            ended,
        })
    }

    /// Makes sure that the kernel notices soon when this process dies. It does when one of a queue's commands is parked
    /// in the kernel: so one tag of each queue is never used. And where it was not, it does at a request's timeout.
    fn tune(&self, info: &DeviceInfo) {
        let requests = info.depth.saturating_sub(1).max(1).to_string();
        for (name, value) in [("nr_requests", requests.as_str()), ("io_timeout", IO_TIMEOUT_MS)] {
            if let Err(error) = sysfs::set_queue_attribute(self.number, name, value) {
                log::warn!("{error}; after a crash, requests may wait longer for the next daemon");
            }
        }
    }

    /// The number of `/dev/ublkbN`.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// What the kernel was told about the disk.
    pub(super) fn parameters(&self) -> &Parameters {
        &self.set
    }

    /// Gives the device another size, also while it is in use.
    pub(super) fn resize(&mut self, control: &mut Control, sectors: u64) -> Result<(), UblkError> {
        control.resize(self.number, sectors)?;
        self.set.basic.sectors = sectors;
        Ok(())
    }

    /// Takes the disk away from the system, for good. The threads must go on serving it meanwhile.
    pub(super) fn close(self, control: &mut Control, disk: DiskId) -> Result<(), UblkError> {
        const STEP: &str = "waiting for its queues' end";
        let device = DeviceNumber(Some(self.number));
        control.stop(self.number)?;
        let end = Instant::now() + THREAD;
        let mut outcome = Ok(());
        for _ in 0..self.queues {
            match self.ended.recv_timeout(end.saturating_duration_since(Instant::now())) {
                // Hung up: the thread has ended, and its ring with it.
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
                Err(RecvTimeoutError::Timeout) => {
                    outcome = Err(UblkError::Timeout { device, step: STEP, after: THREAD });
                }
            }
        }
        control.delete(self.number)?;
        log::info!("disk {disk}: /dev/ublkb{} is gone", self.number);
        outcome
    }
}

/// Removes a device that is of no use, as far as that can be done.
pub(super) fn remove(control: &mut Control, number: u32) {
    for outcome in [control.stop(number), control.delete(number)] {
        if let Err(error) = outcome {
            log::warn!("{error}");
        }
    }
}
