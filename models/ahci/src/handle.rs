//! The hand that a test keeps on the controller.

use std::sync::{Arc, Mutex};

use ahci_spec::registers::PxSsts;
use model_support::Medium;

use crate::{
    config::DeviceConfig,
    device::lock,
    disk::Disk,
    fault::{FaultPlan, Faults},
    hba::Hba,
    statistics::Statistics,
    target::Target,
    violation::Violation,
};

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The port.
    pub port: u8,
    /// The port of the port multiplier there; 0 without one.
    pub pm_port: u8,
}

impl From<u8> for Place {
    fn from(port: u8) -> Self {
        Place { port, pm_port: 0 }
    }
}

/// What a power cut leaves of the volatile write caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// Nothing.
    Lost,
    /// Each block or not, by chance.
    Torn,
}

/// Looks into a controller and changes it from outside, wherever it is. Clones are the same.
///
/// What happens here takes effect when the controller runs next: when time passes or a register is accessed.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Mutex<Hba>>);

impl Handle {
    pub(crate) fn new(shared: Arc<Mutex<Hba>>) -> Self {
        Handle(shared)
    }

    /// What was counted.
    pub fn statistics(&self) -> Statistics {
        lock(&self.0).shared.statistics.clone()
    }

    /// What the host did that it must not, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut lock(&self.0).shared.violations)
    }

    /// Installs a fault plan in place of the last one.
    pub fn set_faults(&self, plan: FaultPlan) {
        lock(&self.0).shared.faults = Faults::new(plan);
    }

    fn with_target<R>(&self, place: Place, work: impl FnOnce(&mut Target) -> R) -> Option<R> {
        let mut hba = lock(&self.0);
        let port = hba.ports.get_mut(usize::from(place.port))?.as_mut()?;
        Some(work(port.target.as_mut()?.at(place.pm_port)?))
    }

    fn with_disk<R>(&self, place: Place, work: impl FnOnce(&mut Disk) -> R) -> Option<R> {
        self.with_target(place, |target| match target {
            Target::Disk(disk) => Some(work(disk)),
            _ => None,
        })
        .flatten()
    }

    fn with_medium<R>(&self, place: Place, work: impl FnOnce(&mut Medium, usize) -> R) -> Option<R> {
        self.with_target(place, |target| match target {
            Target::Disk(disk) => {
                Some(work(&mut disk.medium, usize::try_from(disk.config.block_size).unwrap_or(512)))
            }
            Target::Cd(cd) => Some(work(&mut cd.medium, crate::cd::BLOCK)),
            Target::Multiplier(_) => None,
        })
        .flatten()
    }

    /// Data of blocks as the host would read them; nothing without a device.
    pub fn read(&self, place: impl Into<Place>, lba: u64, blocks: u64) -> Vec<u8> {
        self.blocks(place.into(), lba, blocks, Medium::read)
    }

    /// As [`Self::read`], of what would be left after a power cut.
    pub fn read_durable(&self, place: impl Into<Place>, lba: u64, blocks: u64) -> Vec<u8> {
        self.blocks(place.into(), lba, blocks, Medium::read_durable)
    }

    fn blocks(&self, place: Place, lba: u64, blocks: u64, read: impl Fn(&Medium, u64, &mut [u8])) -> Vec<u8> {
        let read_all = |medium: &mut Medium, bytes: usize| {
            let mut data = Vec::new();
            let mut block = vec![0; bytes];
            for lba in lba..lba.saturating_add(blocks) {
                read(medium, lba, &mut block);
                data.extend(&block);
            }
            data
        };
        self.with_medium(place, read_all).unwrap_or_default()
    }

    /// Puts data onto the medium, from block `lba` on. Only whole blocks are written.
    pub fn write(&self, place: impl Into<Place>, lba: u64, data: &[u8]) {
        self.with_medium(place.into(), |medium, bytes| {
            for (lba, block) in (lba..).zip(data.chunks_exact(bytes)) {
                medium.write(lba, block, true);
            }
        });
    }

    /// From now on a block of a disk cannot be read, until it is written.
    pub fn spoil(&self, place: impl Into<Place>, lba: u64) {
        self.with_disk(place.into(), |disk| disk.medium.spoil(lba));
    }

    /// Blocks of a disk that a power cut would lose.
    pub fn dirty_blocks(&self, place: impl Into<Place>) -> usize {
        self.with_medium(place.into(), |medium, _| medium.dirty()).unwrap_or(0)
    }

    /// Blocks of a disk that are allocated.
    pub fn allocated_blocks(&self, place: impl Into<Place>) -> u64 {
        self.with_medium(place.into(), |medium, _| medium.allocated()).unwrap_or(0)
    }

    /// Whether a disk is in standby.
    pub fn is_asleep(&self, place: impl Into<Place>) -> bool {
        self.with_disk(place.into(), |disk| disk.asleep).unwrap_or(false)
    }

    /// Pulls a device out, or plugs one in, in place of what is there.
    pub fn plug(&self, place: impl Into<Place>, device: Option<DeviceConfig>) {
        let place = place.into();
        let mut hba = lock(&self.0);
        hba.touched = true;
        let Hba { ports, shared, now, .. } = &mut *hba;
        let Some(port) = ports.get_mut(usize::from(place.port)).and_then(Option::as_mut) else { return };
        match (&mut port.target, device) {
            (Some(Target::Multiplier(multiplier)), device) => drop(multiplier.plug(place.pm_port, device)),
            (_, Some(device)) => port.plug(shared, Target::new(device), *now),
            (_, None) => port.unplug(),
        }
    }

    /// Puts another medium into a drive, or takes it out.
    pub fn insert(&self, place: impl Into<Place>, blocks: Option<u32>) {
        self.with_target(place.into(), |target| {
            if let Target::Cd(cd) = target {
                cd.insert(blocks);
            }
        });
    }

    /// SStatus of a port.
    pub fn link(&self, port: u8) -> PxSsts {
        let hba = lock(&self.0);
        hba.ports.get(usize::from(port)).and_then(Option::as_ref).map_or(PxSsts::new(), |port| port.ssts)
    }

    /// Commands of a port that were fetched and are not done.
    pub fn outstanding(&self, port: u8) -> usize {
        let hba = lock(&self.0);
        hba.ports.get(usize::from(port)).and_then(Option::as_ref).map_or(0, |port| port.commands.len())
    }

    /// Whether any port processes its command list.
    pub fn is_running(&self) -> bool {
        lock(&self.0).ports.iter().flatten().any(|port| port.cmd.cr())
    }

    /// Takes the power away and gives it back: what was not flushed is lost, and the controller is as after a reset.
    pub fn power_cut(&self, cut: PowerCut) {
        let mut guard = lock(&self.0);
        let hba = &mut *guard;
        for port in hba.ports.iter_mut().flatten() {
            let devices: &mut dyn Iterator<Item = u8> =
                if matches!(port.target, Some(Target::Multiplier(_))) { &mut (0..15) } else { &mut (0..1) };
            for pm_port in devices {
                if let Some(Target::Disk(disk)) = port.target.as_mut().and_then(|target| target.at(pm_port)) {
                    disk.medium.cut((cut == PowerCut::Torn).then_some(&mut hba.shared.rng));
                }
            }
        }
        hba.power_on_reset();
    }
}
