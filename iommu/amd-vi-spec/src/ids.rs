//! Names of devices and domains.

use std::fmt;

/// DeviceID: bus (bits 15:8), device (7:3) and function (2:0) that a request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// The function `function` (0–7) of device `device` (0–31) on `bus`; higher bits are ignored.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        DeviceId(u16::from_be_bytes([bus, (device & 0x1f) << 3 | function & 7]))
    }

    /// Bus number.
    pub const fn bus(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Device number, 0–31.
    pub const fn device(self) -> u8 {
        self.0.to_be_bytes()[1] >> 3
    }

    /// Function number, 0–7.
    pub const fn function(self) -> u8 {
        self.0.to_be_bytes()[1] & 7
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

/// DomainID: what translations are cached under. Devices with the same one must have the same page table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u16);

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_as_everywhere() {
        assert_eq!(DeviceId::new(0, 0x14, 2), DeviceId(0x00a2));
        assert_eq!(DeviceId(0x03_25).to_string(), "03:04.5");
        assert_eq!(DeviceId::new(0xff, 0xff, 0xff), DeviceId(u16::MAX));
    }
}
