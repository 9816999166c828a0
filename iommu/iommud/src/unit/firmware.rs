//! What firmware says of a unit and of the devices behind it.

use std::{collections::BTreeSet, ops::Bound};

use amd_vi_spec::{
    DeviceId, ExtendedFeatures,
    ivrs::{DeviceMap, IvhdFeatures, IvhdFlags, Ivmd, Ivrs},
};

/// One unit of the machine.
#[derive(Clone, Debug)]
pub struct UnitFirmware {
    /// Physical address of its registers.
    pub base: u64,
    /// The PCI segment of its devices.
    pub segment: u16,
    /// The PCI function that it is.
    pub device: DeviceId,
    /// Where its capability is in that function's configuration space.
    pub capability: u16,
    /// How it is to be set up.
    pub flags: IvhdFlags,
    /// Extended features as firmware has them.
    pub features: ExtendedFeatures,
    /// The devices behind it.
    pub devices: DeviceMap,
    /// Memory that firmware has devices of the segment use.
    pub memory: Vec<Ivmd>,
}

/// Memory that a device must reach under its physical address, whoever drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedMemory {
    /// First byte; a page starts there.
    pub start: u64,
    /// Last byte; a page ends there.
    pub last: u64,
    /// Whether the device reads.
    pub read: bool,
    /// Whether the device writes.
    pub write: bool,
}

impl UnitFirmware {
    /// The units that an IVRS names, in its order.
    pub fn units(ivrs: &Ivrs) -> Vec<Self> {
        let unit = |ivhd: &amd_vi_spec::ivrs::Ivhd| UnitFirmware {
            base: ivhd.base,
            segment: ivhd.segment,
            device: ivhd.device,
            capability: ivhd.capability,
            flags: ivhd.flags,
            features: features(&ivhd.features),
            devices: ivhd.devices(),
            memory: ivrs.memory.iter().filter(|memory| memory.segment == ivhd.segment).copied().collect(),
        };
        ivrs.units().into_iter().map(unit).collect()
    }

    /// Memory that must stay reachable for those who send requests as `requester`: ranges in order, none of which overlap.
    /// Where firmware names memory more than once, the device may what any of it says.
    ///
    /// An exclusion range is memory that may be read and written: the unit has registers for only one, which would be for
    /// all its devices alike.
    pub fn reserved(&self, requester: DeviceId) -> Vec<ReservedMemory> {
        let of = move |memory: &&Ivmd| {
            let (first, last) = memory.devices;
            self.devices.is_requester_of(requester, first, last)
        };
        let named = self.memory.iter().filter(of).filter_map(|memory| {
            let flags = memory.flags;
            let (read, write) = match (flags.exclusion(), flags.unity()) {
                (true, _) => (true, true),
                (false, true) => (flags.ir(), flags.iw()),
                (false, false) => return None,
            };
            Some(ReservedMemory { start: memory.start, last: memory.last, read, write })
        });
        disjoint(&named.collect::<Vec<_>>())
    }
}

/// The same memory in ranges that do not overlap.
fn disjoint(named: &[ReservedMemory]) -> Vec<ReservedMemory> {
    // Rights change where a range starts or has ended, and nowhere else.
    let borders = named.iter().flat_map(|range| [Some(range.start), range.last.checked_add(1)]);
    let borders: BTreeSet<u64> = borders.flatten().collect();
    let mut ranges: Vec<ReservedMemory> = Vec::new();
    for &start in &borders {
        let mut there = named.iter().filter(|range| (range.start..=range.last).contains(&start)).peekable();
        if there.peek().is_none() {
            continue;
        }
        let (read, write) =
            there.fold((false, false), |rights, range| (rights.0 | range.read, rights.1 | range.write));
        let next = borders.range((Bound::Excluded(start), Bound::Unbounded)).next();
        let last = next.map_or(u64::MAX, |next| next - 1);
        match ranges.last_mut() {
            Some(before) if before.last + 1 == start && (before.read, before.write) == (read, write) => {
                before.last = last;
            }
            _ => ranges.push(ReservedMemory { start, last, read, write }),
        }
    }
    ranges
}

/// What there is of the extended feature register in a block.
fn features(features: &IvhdFeatures) -> ExtendedFeatures {
    match features {
        IvhdFeatures::Registers { efr, .. } => *efr,
        IvhdFeatures::Legacy(legacy) => ExtendedFeatures::new()
            .with_xt_sup(legacy.xt_sup())
            .with_nx_sup(legacy.nx_sup())
            .with_gt_sup(legacy.gt_sup())
            .with_glx_sup(legacy.glx_sup())
            .with_ia_sup(legacy.ia_sup())
            .with_ga_sup(legacy.ga_sup())
            .with_he_sup(legacy.he_sup())
            .with_pas_max(legacy.pas_max())
            .with_gats(legacy.gats())
            .with_hats(legacy.hats()),
    }
}
