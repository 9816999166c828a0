//! Which devices are behind an IOMMU, and under which names.

use std::collections::BTreeMap;

use super::{DeviceEntry, DteSetting, ExtendedSetting};
use crate::DeviceId;

/// The devices of an IOMMU, from its device entries: later ones win over earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMap {
    /// For all devices that no range names.
    all: Option<DteSetting>,
    /// First device → last device and setting; no two overlap.
    ranges: BTreeMap<DeviceId, (DeviceId, DeviceSetting)>,
}

/// What firmware says of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceSetting {
    /// The DeviceID that its requests carry, if it is another than its own.
    pub alias: Option<DeviceId>,
    /// What is to be set in the device table.
    pub setting: DteSetting,
    /// More of that.
    pub extended: ExtendedSetting,
}

impl DeviceMap {
    pub(super) fn new(entries: &[DeviceEntry]) -> Self {
        let mut map = DeviceMap::default();
        let mut open = None;
        for entry in entries {
            match *entry {
                DeviceEntry::All { setting } => map.all = Some(setting),
                DeviceEntry::Select { device, setting, alias, extended } => {
                    map.add(device, device, DeviceSetting { alias, setting, extended });
                }
                DeviceEntry::StartRange { first, setting, alias, extended, .. } => {
                    open = Some((first, DeviceSetting { alias, setting, extended }));
                }
                DeviceEntry::EndRange { last, .. } => {
                    if let Some((first, setting)) = open.take() {
                        map.add(first, last, setting);
                    }
                }
                DeviceEntry::Special(special) => {
                    map.add(special.device, special.device, plain(special.setting));
                }
                DeviceEntry::Acpi(ref acpi) => map.add(acpi.device, acpi.device, plain(acpi.setting)),
            }
        }
        map
    }

    fn add(&mut self, first: DeviceId, last: DeviceId, setting: DeviceSetting) {
        if first > last {
            return;
        }
        self.split(first);
        if let Some(next) = last.0.checked_add(1) {
            self.split(DeviceId(next));
        }
        let covered: Vec<DeviceId> = self.ranges.range(first..=last).map(|(&start, _)| start).collect();
        for start in covered {
            self.ranges.remove(&start);
        }
        self.ranges.insert(first, (last, setting));
    }

    /// Divides the range that `device` lies within, so that one starts there.
    fn split(&mut self, device: DeviceId) {
        let before = self.ranges.range_mut(..device).next_back();
        if let Some((_, (last, setting))) = before
            && *last >= device
        {
            let rest = (*last, *setting);
            *last = DeviceId(device.0 - 1);
            self.ranges.insert(device, rest);
        }
    }

    /// What is said of `device`; `None`: it is not behind this IOMMU.
    pub fn get(&self, device: DeviceId) -> Option<DeviceSetting> {
        let range = self.ranges.range(..=device).next_back();
        let named = range.filter(|(_, (last, _))| device <= *last);
        named.map(|(_, (_, setting))| *setting).or_else(|| self.all.map(plain))
    }

    /// The DeviceID that requests of `device` carry; `None`: it is not behind this IOMMU.
    pub fn requester(&self, device: DeviceId) -> Option<DeviceId> {
        self.get(device).map(|setting| setting.alias.unwrap_or(device))
    }

    /// Whether a device from `first` to `last` sends requests under the name `requester`.
    pub fn is_requester_of(&self, requester: DeviceId, first: DeviceId, last: DeviceId) -> bool {
        let own = (first..=last).contains(&requester) && self.requester(requester) == Some(requester);
        own || self.ranges.iter().any(|(&start, &(end, setting))| {
            setting.alias == Some(requester) && start <= last && first <= end
        })
    }

    /// Every DeviceID that requests may carry, and what is to be set for it in the device table, in order.
    pub fn requesters(&self) -> Vec<(DeviceId, DteSetting)> {
        let mut requesters = BTreeMap::new();
        if let Some(setting) = self.all {
            requesters.extend((0..=u16::MAX).map(|device| (DeviceId(device), setting)));
        }
        for (&first, &(last, DeviceSetting { alias, setting, .. })) in &self.ranges {
            for device in (first.0..=last.0).map(DeviceId) {
                if alias.is_none_or(|alias| alias == device) {
                    requesters.insert(device, setting);
                } else {
                    requesters.remove(&device);
                }
            }
        }
        // A device that is another's alias carries its own name there, whether or not it exists itself.
        for (_, DeviceSetting { alias, setting, .. }) in self.ranges.values() {
            if let Some(alias) = alias {
                requesters.entry(*alias).or_insert(*setting);
            }
        }
        requesters.into_iter().collect()
    }
}

const fn plain(setting: DteSetting) -> DeviceSetting {
    DeviceSetting { alias: None, setting, extended: ExtendedSetting::new() }
}
