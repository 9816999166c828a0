//! Where the structures of a device are (section 4.1.4), read without trusting it.

use redox_driver_sys::{mmio::Mmio, pci::PciFunction};
use virtio_spec::pci::{capability, common, structure};

use crate::error::{Error, Result};

/// BARs that a capability may name.
const BARS: usize = 6;

/// The structures of a device, each inside its BAR.
#[derive(Debug)]
pub(super) struct Structures {
    pub(super) common: Mmio,
    pub(super) notify: Mmio,
    pub(super) notify_multiplier: u32,
    pub(super) isr: Mmio,
    /// Some types of devices have no configuration.
    pub(super) device: Option<Mmio>,
}

/// A capability of the right length, with a BAR that exists.
struct Found {
    kind: u8,
    bar: u8,
    offset: u32,
    len: u32,
    multiplier: u32,
}

impl Structures {
    /// Takes the first usable capability of each type, as the specification wants it (section 4.1.4.1).
    pub(super) fn find(function: &PciFunction) -> Result<Self> {
        let mut bars = [const { None }; BARS];
        let mut common = None;
        let mut notify = None;
        let mut isr = None;
        let mut device = None;
        let capabilities = function.capabilities().map_err(Error::machine("read the capabilities"))?;
        for vendor in capabilities.vendor.iter().filter(|vendor| vendor.len >= capability::LEN) {
            let found = read(function, vendor.offset, vendor.len)
                .map_err(Error::machine("read a virtio capability"))?;
            let (slot, least) = match found.kind {
                structure::COMMON => (&mut common, common::LEN),
                structure::NOTIFY if vendor.len >= capability::NOTIFY_LEN => (&mut notify, 2),
                structure::ISR => (&mut isr, 1),
                structure::DEVICE => (&mut device, 1),
                _ => continue,
            };
            if slot.is_some() {
                continue;
            }
            match map(function, &mut bars, &found, least) {
                Ok(region) => *slot = Some((region, found.multiplier)),
                // Another capability of the same type may be usable.
                Err(error) => {
                    log::warn!("{}: virtio structure {}: {error}", function.address(), found.kind);
                }
            }
        }
        let missing = |structure| Error::NoStructure { structure };
        let (notify, notify_multiplier) = notify.ok_or(missing("notification"))?;
        Ok(Structures {
            common: common.ok_or(missing("common configuration"))?.0,
            notify,
            notify_multiplier,
            isr: isr.ok_or(missing("ISR status"))?.0,
            device: device.map(|(region, _)| region),
        })
    }
}

fn read(function: &PciFunction, at: u16, len: u8) -> redox_driver_sys::Result<Found> {
    let multiplier = if len >= capability::NOTIFY_LEN {
        function.config_read_u32(at + capability::NOTIFY_OFF_MULTIPLIER)?
    } else {
        0
    };
    Ok(Found {
        kind: function.config_read_u8(at + capability::CFG_TYPE)?,
        bar: function.config_read_u8(at + capability::BAR)?,
        offset: function.config_read_u32(at + capability::OFFSET)?,
        len: function.config_read_u32(at + capability::LENGTH)?,
        multiplier,
    })
}

/// The region of a structure that is at least `least` bytes long and lies in a memory BAR.
fn map(
    function: &PciFunction,
    bars: &mut [Option<Mmio>; BARS],
    found: &Found,
    least: u64,
) -> redox_driver_sys::Result<Mmio> {
    let bar = found.bar;
    let reserved = || redox_driver_sys::Error::Bar { bar, reason: "there is no such register".to_string() };
    let slot = bars.get_mut(usize::from(bar)).ok_or_else(reserved)?;
    let region = match slot {
        Some(region) => region,
        None => slot.insert(function.map_bar(bar)?),
    };
    let (offset, len) = (u64::from(found.offset), u64::from(found.len));
    if len < least {
        return Err(redox_driver_sys::Error::OutOfBounds { offset, len: least, region: len });
    }
    region.subregion(offset, len)
}
