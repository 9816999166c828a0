//! Which devices have an owner, and what the others may.

use std::collections::{BTreeMap, BTreeSet};

use amd_vi_spec::{DeviceId, DomainId, page_table::entry_shift};
use iommu_protocol::Device;
use redox_driver_sys::dma::DmaAllocator;

use super::{Batch, Options, client::Owned, next_domain};
use crate::{
    domain::{ADDRESS_BITS, Domain},
    error::{Error, Result},
    unit::{Target, Unclaimed, Unit, UnitError},
};

/// A device and its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Number of the unit.
    pub(super) unit: usize,
    /// PCI segment.
    pub(super) segment: u16,
    /// The device.
    pub(super) device: DeviceId,
    /// The name that its requests carry.
    pub(super) requester: DeviceId,
}

impl Place {
    pub(super) fn find(units: &[Unit], device: Device) -> Result<Self> {
        let id = DeviceId(device.function);
        let of_segment = |(_, unit): &(usize, &Unit)| unit.firmware().segment == device.segment;
        for (n, unit) in units.iter().enumerate().filter(of_segment) {
            if unit.firmware().device == id {
                return Err(Error::Denied(format!("{id} is an IOMMU")));
            }
            if let Ok(requester) = unit.requester(id) {
                return Ok(Place { unit: n, segment: device.segment, device: id, requester });
            }
        }
        Err(UnitError::NotBehind { device: id }.into())
    }

    pub(super) fn device(self) -> Device {
        Device { segment: self.segment, function: self.device.0 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Devices {
    /// Claimed requesters of each unit, and the device that was claimed.
    claimed: BTreeMap<(usize, DeviceId), DeviceId>,
    /// For which firmware reserves memory: what they reach when nobody has claimed them.
    homes: BTreeMap<(usize, DeviceId), Domain>,
}

impl Devices {
    /// Prepares units that are not enabled yet: blocked devices reach what firmware reserves for them.
    pub(super) fn new(
        units: &mut [Unit],
        memory: &DmaAllocator,
        options: &Options,
        last_domain: &mut u16,
    ) -> Result<Self> {
        let mut devices = Devices::default();
        if options.unclaimed == Unclaimed::Pass {
            return Ok(devices);
        }
        for (n, unit) in units.iter_mut().enumerate() {
            let requesters = unit.firmware().devices.requesters();
            for requester in requesters.into_iter().map(|(device, _)| device).collect::<BTreeSet<_>>() {
                let reserved = unit.firmware().reserved(requester);
                if reserved.is_empty() {
                    continue;
                }
                let id = next_domain(last_domain, |_| false)?;
                let bits = ADDRESS_BITS.max(most_bits(unit));
                let mut domain = Domain::new(id, memory, bits, options.sizes)?;
                for range in reserved {
                    log::info!(
                        "{requester}: firmware has it use {:#x} to {:#x} at all times",
                        range.start,
                        range.last
                    );
                    // No unit has seen the domain yet.
                    domain.reserve(range, &mut Batch { units: &mut [], of: 0 })?;
                }
                unit.set_requester(requester, domain.target())?;
                devices.homes.insert((n, requester), domain);
            }
        }
        Ok(devices)
    }

    /// Whether a domain that no client has goes by this id.
    pub(super) fn uses(&self, id: DomainId) -> bool {
        self.homes.values().any(|domain| domain.id() == id)
    }

    /// Number of devices with an owner.
    pub(super) fn claimed(&self) -> usize {
        self.claimed.len()
    }

    /// Gives a device to a domain.
    pub(super) fn claim(&mut self, units: &mut [Unit], place: Place, owned: &mut Owned) -> Result<()> {
        let key = (place.unit, place.requester);
        if let Some(other) = self.claimed.get(&key) {
            return Err(Error::InUse { what: format!("{other}") });
        }
        let missing = || UnitError::NotBehind { device: place.device };
        let reserved = units.get(place.unit).ok_or_else(missing)?.firmware().reserved(place.requester);
        // Whatever happens from here on, the unit may have seen the domain.
        owned.units |= 1 << place.unit;
        for range in reserved {
            owned.domain.reserve(range, &mut Batch { units, of: owned.units })?;
        }
        let unit = units.get_mut(place.unit).ok_or_else(missing)?;
        unit.set_requester(place.requester, owned.domain.target())?;
        unit.sync()?;
        self.claimed.insert(key, place.device);
        Ok(())
    }

    /// Takes a device back: it reaches what it did before anybody claimed it, when this returns.
    pub(super) fn release(&mut self, units: &mut [Unit], place: Place, options: &Options) -> Result<()> {
        let key = (place.unit, place.requester);
        let unit = units.get_mut(place.unit).ok_or(UnitError::NotBehind { device: place.device })?;
        let target = match (self.homes.get(&key), options.unclaimed) {
            (Some(home), _) => home.target(),
            (None, Unclaimed::Block) => Target::Blocked,
            (None, Unclaimed::Pass) => Target::Pass,
        };
        unit.set_requester(place.requester, target)?;
        unit.sync()?;
        self.claimed.remove(&key);
        Ok(())
    }
}

/// Bits of the addresses of the largest domain that a unit can translate.
pub(super) fn most_bits(unit: &Unit) -> u32 {
    entry_shift(unit.capabilities().levels + 1).min(u64::BITS)
}
