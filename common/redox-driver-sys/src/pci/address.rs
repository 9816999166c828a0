//! Where a PCI function is.

use std::{fmt, str::FromStr};

use crate::error::Error;

/// Segment, bus, device and function, written `0000:00:04.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    segment: u16,
    bus: u8,
    device: u8,
    function: u8,
}

impl PciAddress {
    /// Where a device model is found: `0000:00:04.0`.
    #[cfg(feature = "model")]
    pub(crate) const MODEL: PciAddress = PciAddress { segment: 0, bus: 0, device: 4, function: 0 };

    /// The address with these parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `device` exceeds 31 or `function` exceeds 7.
    pub fn new(segment: u16, bus: u8, device: u8, function: u8) -> Result<Self, Error> {
        let address = PciAddress { segment, bus, device, function };
        if device > 31 || function > 7 {
            return Err(Error::Invalid { what: "no such PCI address", value: address.to_string() });
        }
        Ok(address)
    }

    /// PCI segment group.
    pub const fn segment(self) -> u16 {
        self.segment
    }

    /// Bus number.
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// Device number, 0–31.
    pub const fn device(self) -> u8 {
        self.device
    }

    /// Function number, 0–7.
    pub const fn function(self) -> u8 {
        self.function
    }

    /// The name under which requests of the function come to an IOMMU: bus in bits 15:8, device in 7:3, function in 2:0.
    pub const fn requester(self) -> u16 {
        u16::from_be_bytes([self.bus, self.device << 3 | self.function])
    }

    /// The address as upstream's scheme names spell it: `0000-00-04.0`.
    pub fn scheme_name(self) -> String {
        let PciAddress { segment, bus, device, function } = self;
        format!("{segment:04x}-{bus:02x}-{device:02x}.{function}")
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciAddress { segment, bus, device, function } = self;
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl FromStr for PciAddress {
    type Err = Error;

    /// Reads `0000:00:04.0`, or `00:04.0` in segment 0, all in hexadecimal.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Invalid {
            what: "a PCI address looks like 0000:00:04.0, this does not",
            value: format!("'{text}'"),
        };
        let number = |digits: &str, most: usize| -> Result<u16, Error> {
            let hex = (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if hex { u16::from_str_radix(digits, 16).map_err(|_| invalid()) } else { Err(invalid()) }
        };
        let byte = |digits: &str| u8::try_from(number(digits, 2)?).map_err(|_| invalid());
        let (rest, function) = text.rsplit_once('.').ok_or_else(invalid)?;
        let mut parts = rest.rsplit(':');
        let device = byte(parts.next().ok_or_else(invalid)?)?;
        let bus = byte(parts.next().ok_or_else(invalid)?)?;
        let segment = parts.next().map_or(Ok(0), |digits| number(digits, 4))?;
        if parts.next().is_some() || function.len() != 1 {
            return Err(invalid());
        }
        PciAddress::new(segment, bus, device, byte(function)?).map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["0000:00:04.0", "ffff:ff:1f.7", "0001:0a:00.3"] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), text);
        }
        assert_eq!("00:1f.2".parse::<PciAddress>().unwrap().to_string(), "0000:00:1f.2");
        assert_eq!("00:1f.2".parse::<PciAddress>().unwrap().scheme_name(), "0000-00-1f.2");
    }

    #[test]
    fn a_requester_is_all_but_the_segment() {
        let requester = |text: &str| text.parse::<PciAddress>().unwrap().requester();
        assert_eq!(requester("0000:00:04.0"), 0x20);
        assert_eq!(requester("0001:0a:1f.7"), 0x0aff);
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ".",
            "4",
            "00:04",
            "0:0:0:4.0",
            "00:20.0",
            "00:04.8",
            "00:04.00",
            "g0:04.0",
            "+0:04.0",
            "00000:00:04.0",
        ] {
            let error = text.parse::<PciAddress>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }
}
