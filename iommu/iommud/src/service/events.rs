//! Events, and whose they are.

use std::collections::{BTreeSet, VecDeque};

use amd_vi_spec::Event;
use iommu_protocol::{Device, DrainEvents, Drained, EventFlags, EventInfo, MOST_ELEMENTS};

use super::{ClientId, Service};
use crate::error::Result;

/// Events that are kept for a client.
const MOST_KEPT: usize = 256;
/// Events that are kept for `inspect`, and logged in a second.
const MOST_RECENT: usize = 32;
const LOGGED: u32 = 10;
/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// The last events, of whatever device.
#[derive(Debug, Default)]
pub(super) struct Recent {
    pub(super) last: VecDeque<String>,
    pub(super) total: u64,
    pub(super) lost: u64,
    /// Units whose logs could not be read when they were looked at last.
    unreadable: BTreeSet<usize>,
    /// The second that is being counted, and what was logged and not logged in it.
    second: u64,
    logged: u32,
    silent: u64,
}

impl Recent {
    fn add(&mut self, text: String, now: u64) {
        self.total += 1;
        let second = now / SECOND;
        if second != self.second {
            if self.silent > 0 {
                log::warn!("{} more events", self.silent);
            }
            (self.second, self.logged, self.silent) = (second, 0, 0);
        }
        if self.logged < LOGGED {
            self.logged += 1;
            log::warn!("{text}");
        } else {
            self.silent += 1;
        }
        if self.last.len() == MOST_RECENT {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }
}

impl Service {
    /// Takes what the units have logged, and gives it to the owners of the devices.
    pub fn take_events(&mut self) {
        let now = self.clock.now().as_nanos();
        for n in 0..self.units.len() {
            let mut events = Vec::new();
            let drained = self.units[n].drain_events(|event| events.push(event));
            let segment = self.units[n].firmware().segment;
            for event in events {
                self.attribute(n, segment, &event, now);
            }
            match drained {
                Ok(drained) => {
                    if self.recent.unreadable.remove(&n) {
                        log::info!("unit {n}: its events can be read again");
                    }
                    let lost = drained.missing as u64 + u64::from(drained.overflow);
                    if lost > 0 {
                        self.recent.lost += lost;
                        // Whose they were, nobody knows.
                        for client in self.clients.values_mut() {
                            client.lost += if client.devices.is_empty() { 0 } else { lost };
                        }
                    }
                }
                // Every look at the log fails then: the first one is told.
                Err(error) => {
                    if self.recent.unreadable.insert(n) {
                        log::error!("unit {n}: its events cannot be read: {error}");
                    }
                }
            }
        }
    }

    fn attribute(&mut self, unit: usize, segment: u16, event: &Event, now: u64) {
        let owner = event.device().and_then(|requester| {
            self.clients.values_mut().find_map(|client| {
                let of = |place: &&super::Place| place.unit == unit && place.requester == requester;
                let place = client.devices.keys().find(of).copied()?;
                Some((client, place))
            })
        });
        let name = owner.as_ref().map_or("nobody".to_string(), |(client, _)| client.caller.to_string());
        if let Some((client, place)) = owner {
            if client.events.len() == MOST_KEPT {
                client.lost += 1;
            } else {
                let device = Device { segment, function: place.device.0 };
                client.events.push_back(describe(event, device, now));
            }
        }
        self.recent.add(format!("{event} (device of {name})"), now);
    }

    pub(super) fn drain(&mut self, id: ClientId, wanted: DrainEvents) -> Result<(Drained, Vec<EventInfo>)> {
        self.take_events();
        let client = self.client(id)?;
        let most = (wanted.most as usize).min(MOST_ELEMENTS).min(client.events.len());
        let events: Vec<EventInfo> = client.events.drain(..most).collect();
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let lost = std::mem::take(&mut client.lost);
        Ok((Drained { events: count(events.len()), left: count(client.events.len()), lost }, events))
    }
}

fn describe(event: &Event, device: Device, time: u64) -> EventInfo {
    let (code, address, flags) = match *event {
        Event::IllegalDevTableEntry { address, flags, .. } => (1, address, Some(flags)),
        Event::IoPageFault { address, flags, .. } => (2, address, Some(flags)),
        Event::DevTabHardwareError { address, flags, .. } => (3, address, Some(flags)),
        Event::PageTabHardwareError { address, flags, .. } => (4, address, Some(flags)),
        Event::IllegalCommandError { address } => (5, address, None),
        Event::CommandHardwareError { address, .. } => (6, address, None),
        Event::IotlbInvTimeout { address, .. } => (7, address, None),
        Event::InvalidDeviceRequest { address, flags, .. } => (8, address, Some(flags)),
        Event::Other(entry) => (u32::from(entry.code().0), entry.address, Some(entry.flags)),
        _ => (0, 0, None),
    };
    let mut said = EventFlags::empty();
    if let Some(flags) = flags {
        said.set(EventFlags::WRITE, flags.write());
        said.set(EventFlags::PRESENT, flags.present());
        said.set(EventFlags::INTERRUPT, flags.interrupt());
    }
    EventInfo { address, time, device, code, flags: said, reserved: 0 }
}
