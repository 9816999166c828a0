//! The thread that makes and removes devices as the controller's disks come and go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    OnExit, UblkOptions,
    changes::Changes,
    control::Control,
    device::{UblkDevice, Workshop},
    error::{DeviceNumber, UblkError},
    found::left_over,
    names::Names,
    parameters,
    plan::Found,
    server::Mailbox,
    sysfs,
};
use crate::device::{Disk, DiskId};

/// How often a device that is in use is looked at again, when its disk has become another one.
const RETRY: Duration = Duration::from_secs(5);

/// What the thread owns.
pub(super) struct Caretaker {
    options: UblkOptions,
    control: Control,
    threads: Vec<Mailbox>,
    names: Option<Names>,
    left_over: BTreeMap<DiskId, Found>,
    served: BTreeMap<DiskId, UblkDevice>,
    /// Disks that changed while they were in use.
    pending: BTreeMap<DiskId, Disk>,
    disks_at_start: usize,
}

impl Caretaker {
    pub(super) fn new(options: UblkOptions, threads: Vec<Mailbox>) -> Result<Self, UblkError> {
        let mut control = Control::open()?;
        let mut found = BTreeMap::new();
        for (disk, device) in left_over(&mut control, options.address)? {
            if let Some(second) = found.insert(disk, device) {
                log::warn!("disk {disk} has a second {}", DeviceNumber(Some(second.info.device)));
            }
        }
        let names = options.names.as_deref().map(|root| Names::new(root, &options.controller));
        Ok(Caretaker {
            options,
            control,
            threads,
            names,
            left_over: found,
            served: BTreeMap::new(),
            pending: BTreeMap::new(),
            disks_at_start: 1,
        })
    }

    /// Serves the disks that are there at the start, and says what went wrong with which.
    pub(super) fn begin(&mut self, disks: &[Disk]) -> Vec<UblkError> {
        self.disks_at_start = disks.len().max(1);
        let mut errors = Vec::new();
        for disk in disks {
            match self.serve(disk) {
                // A device that was taken over has the size that it had.
                Ok(()) => self.changed(disk),
                Err(error) => errors.push(error),
            }
        }
        for (disk, found) in std::mem::take(&mut self.left_over) {
            if found.served {
                continue;
            }
            log::warn!("disk {disk} is no longer there: its {}", DeviceNumber(Some(found.info.device)));
            super::device::remove(&mut self.control, found.info.device);
        }
        errors
    }

    /// Follows the changes until the end.
    pub(super) fn run(mut self, changes: &Arc<Changes>) {
        loop {
            let timeout = if self.pending.is_empty() { Duration::from_secs(3600) } else { RETRY };
            let work = changes.take(timeout);
            for (id, disk) in work.disks {
                match disk {
                    Some(disk) => self.changed(&disk),
                    None => self.removed(id),
                }
            }
            for disk in self.pending.clone().into_values() {
                self.changed(&disk);
            }
            if work.end {
                return self.end();
            }
        }
    }

    fn serve(&mut self, disk: &Disk) -> Result<(), UblkError> {
        let found = self.left_over.remove(&disk.id);
        let mut workshop = Workshop {
            control: &mut self.control,
            threads: &self.threads,
            memory: &self.options.memory,
            address: self.options.address,
            buffers: self.options.buffers,
            disks: self.disks_at_start,
        };
        let device = UblkDevice::open(&mut workshop, disk, found.as_ref())?;
        let path = sysfs::block_device(device.number());
        log::info!(
            "disk {} of {} is {} ({}, {}-byte blocks)",
            disk.id,
            self.options.address,
            path.display(),
            Size(disk.blocks.saturating_mul(disk.limits.block_size.into())),
            disk.limits.block_size
        );
        if let Some(names) = &self.names {
            names.set(disk.id, &path);
        }
        self.served.insert(disk.id, device);
        Ok(())
    }

    /// A disk appeared, or became another one.
    fn changed(&mut self, disk: &Disk) {
        if let Some(device) = self.served.get_mut(&disk.id) {
            let served = device.parameters();
            if let Ok(new) = parameters::parameters(disk, served.max_io_bytes())
                && parameters::same_but_size(served, &new)
            {
                let sectors = new.basic.sectors;
                if served.basic.sectors == sectors {
                    self.pending.remove(&disk.id);
                    return;
                }
                if self.control.can_resize() {
                    match device.resize(&mut self.control, sectors) {
                        Ok(()) => {
                            log::info!(
                                "disk {}: /dev/ublkb{} has {sectors} sectors now",
                                disk.id,
                                device.number()
                            );
                            self.pending.remove(&disk.id);
                            return;
                        }
                        Err(error) => log::warn!("disk {}: {error}", disk.id),
                    }
                }
            }
            // Nothing else of a device can be changed, before Linux 6.16 not even the size: it has to go and to come
            // again, which is the end for whoever uses it.
            if sysfs::in_use(device.number()) {
                if self.pending.insert(disk.id, disk.clone()).as_ref() != Some(disk) {
                    log::warn!(
                        "disk {} has changed (now {} blocks of {} bytes): /dev/ublkb{} shows it when nobody uses it \
                         any more",
                        disk.id,
                        disk.blocks,
                        disk.limits.block_size,
                        device.number()
                    );
                }
                return;
            }
            self.removed(disk.id);
        }
        if let Err(error) = self.serve(disk) {
            log::error!("disk {}: {error}", disk.id);
        }
    }

    fn removed(&mut self, disk: DiskId) {
        self.pending.remove(&disk);
        let Some(device) = self.served.remove(&disk) else { return };
        if let Some(names) = &self.names {
            names.remove(disk);
        }
        if let Err(error) = device.close(&mut self.control, disk) {
            log::error!("disk {disk}: {error}");
        }
    }

    /// Removes what is not in use. A file system that is mounted would lose what it has not written back: Linux 6.12
    /// refuses I/O to a disk before it tells the file system that the disk goes.
    fn end(mut self) {
        let disks: Vec<_> = self.served.iter().map(|(disk, device)| (*disk, device.number())).collect();
        let (kept, removed): (Vec<_>, Vec<_>) = disks
            .into_iter()
            .partition(|&(_, number)| self.options.on_exit == OnExit::Keep || sysfs::in_use(number));
        for (disk, _) in removed {
            self.removed(disk);
        }
        if !kept.is_empty() && !sysfs::write_back() {
            log::warn!(
                "writing back took too long: what is not on the disks yet is written by the next daemon"
            );
        }
        for (disk, number) in kept {
            log::warn!("disk {disk}: /dev/ublkb{number} stays, and waits for the next daemon");
        }
    }
}

/// A number of bytes for people.
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut tenths = u128::from(self.0) * 10 / 1024;
        let mut unit = UNITS[0];
        for larger in &UNITS[1..] {
            if tenths < 10_240 {
                break;
            }
            tenths /= 1024;
            unit = larger;
        }
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(Size(1 << 30).to_string(), "1.0 GiB");
        assert_eq!(Size(512).to_string(), "0.5 KiB");
        assert_eq!(Size(1_500_000_000).to_string(), "1.3 GiB");
        assert_eq!(Size(0).to_string(), "0.0 KiB");
        assert_eq!(Size(u64::MAX).to_string(), "15.9 EiB");
    }
}
